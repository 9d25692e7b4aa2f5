//! The commands that ask a server for its binlog, as packets.
//!
//! Dumps by GTID start with an empty file name: the server finds the place. For that it reads a file from its start, so that a
//! place that is known spares it much.

use mysql_common::packets::ComRegisterSlave;
use mysql_common::proto::MySerialize;

use crate::error::{Error, Result};

pub(super) const COM_BINLOG_DUMP: u8 = 0x12;
pub(super) const COM_REGISTER_SLAVE: u8 = 0x15;
pub(super) const COM_BINLOG_DUMP_GTID: u8 = 0x1e;

/// The first event of a binlog file.
pub(super) const START: u32 = 4;

/// The dump starts behind the GTID set that is sent along.
const THROUGH_GTID: u16 = 0x04;

/// The body of `COM_REGISTER_SLAVE`: under which id we show in `SHOW SLAVE HOSTS`.
pub(super) fn register(server_id: u32) -> Vec<u8> {
    let mut out = Vec::new();
    ComRegisterSlave::new(server_id).with_hostname(&b"shunt"[..]).serialize(&mut out);
    // The command's code is written by whoever sends it.
    out.remove(0);
    out
}

/// The body of `COM_BINLOG_DUMP`, from a place on; the first of all without a file.
pub(super) fn dump(server_id: u32, file: &str, offset: u32) -> Vec<u8> {
    let mut out = offset.to_le_bytes().to_vec();
    out.extend(0_u16.to_le_bytes());
    out.extend(server_id.to_le_bytes());
    out.extend(file.as_bytes());
    out
}

/// The body of `COM_BINLOG_DUMP_GTID`.
pub(super) fn dump_gtid(server_id: u32, gtid_set: &[u8]) -> Result<Vec<u8>> {
    let length = u32::try_from(gtid_set.len())
        .map_err(|_| Error::stop("GTID set is too long for a dump request"))?;
    let mut out = THROUGH_GTID.to_le_bytes().to_vec();
    out.extend(server_id.to_le_bytes());
    out.extend(0_u32.to_le_bytes());
    out.extend(u64::from(START).to_le_bytes());
    out.extend(length.to_le_bytes());
    out.extend(gtid_set);
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_laid_out_as_the_server_reads_them() {
        assert_eq!(dump(7, "", START), b"\x04\0\0\0\0\0\x07\0\0\0");
        assert_eq!(dump(7, "b.01", 513), b"\x01\x02\0\0\0\0\x07\0\0\0b.01");
        assert_eq!(
            dump_gtid(7, b"SIDS").unwrap(),
            b"\x04\0\x07\0\0\0\0\0\0\0\x04\0\0\0\0\0\0\0\x04\0\0\0SIDS"
        );
        assert_eq!(register(7), b"\x07\0\0\0\x05shunt\0\0\0\0\0\0\0\0\0\0\0\0");
    }
}
