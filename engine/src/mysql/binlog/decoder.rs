//! From bytes to events: the one list of what is understood.
//!
//! [`Decoder`] carries what later events need from earlier ones: whether there are checksums, and the table maps. All
//! other files of the folder read the body of one event.
//!
//! Invariant: an event of a type that is not listed here is an error, unless the server marks it as ignorable.

use bytes::Bytes;

use super::compress::{inflate, unpack_payload};
use super::cursor::{Cursor, cut_short, utf8};
use super::description::{
    CHECKSUM_LEN, Description, has_valid_checksum, parse_header, wrong_checksum,
};
use super::event::{Event, EventBody, EventHeader, HEADER_LEN};
use super::rows::{FLAG_STATEMENT_END, RowsEvent, RowsHead, RowsKind};
use super::table_maps::TableMaps;
use super::{gtid_event, query};
use crate::error::{Error, Result};
use crate::mysql::gtid::{GtidSet, UuidSets};
use crate::mysql::server::Flavor;

/// Type numbers.
mod kind {
    pub(super) const QUERY: u8 = 2;
    pub(super) const STOP: u8 = 3;
    pub(super) const ROTATE: u8 = 4;
    pub(super) const INTVAR: u8 = 5;
    pub(super) const RAND: u8 = 13;
    pub(super) const USER_VAR: u8 = 14;
    pub(super) const FORMAT_DESCRIPTION: u8 = 15;
    pub(super) const XID: u8 = 16;
    pub(super) const BEGIN_LOAD_QUERY: u8 = 17;
    pub(super) const EXECUTE_LOAD_QUERY: u8 = 18;
    pub(super) const TABLE_MAP: u8 = 19;
    pub(super) const WRITE_ROWS_V1: u8 = 23;
    pub(super) const UPDATE_ROWS_V1: u8 = 24;
    pub(super) const DELETE_ROWS_V1: u8 = 25;
    pub(super) const INCIDENT: u8 = 26;
    pub(super) const HEARTBEAT: u8 = 27;
    pub(super) const IGNORABLE: u8 = 28;
    pub(super) const ROWS_QUERY: u8 = 29;
    pub(super) const WRITE_ROWS: u8 = 30;
    pub(super) const UPDATE_ROWS: u8 = 31;
    pub(super) const DELETE_ROWS: u8 = 32;
    pub(super) const GTID: u8 = 33;
    pub(super) const ANONYMOUS_GTID: u8 = 34;
    pub(super) const PREVIOUS_GTIDS: u8 = 35;
    /// A member has joined or left a replication group: who is certified, and no rows.
    pub(super) const VIEW_CHANGE: u8 = 37;
    pub(super) const XA_PREPARE: u8 = 38;
    pub(super) const PARTIAL_UPDATE_ROWS: u8 = 39;
    pub(super) const TRANSACTION_PAYLOAD: u8 = 40;
    pub(super) const HEARTBEAT_V2: u8 = 41;
    pub(super) const GTID_TAGGED: u8 = 42;
    pub(super) const ANNOTATE_ROWS: u8 = 160;
    pub(super) const BINLOG_CHECKPOINT: u8 = 161;
    pub(super) const MARIADB_GTID: u8 = 162;
    pub(super) const GTID_LIST: u8 = 163;
    pub(super) const START_ENCRYPTION: u8 = 164;
    pub(super) const QUERY_COMPRESSED: u8 = 165;
    pub(super) const WRITE_ROWS_COMPRESSED_V1: u8 = 166;
    pub(super) const UPDATE_ROWS_COMPRESSED_V1: u8 = 167;
    pub(super) const DELETE_ROWS_COMPRESSED_V1: u8 = 168;
    pub(super) const WRITE_ROWS_COMPRESSED: u8 = 169;
    pub(super) const UPDATE_ROWS_COMPRESSED: u8 = 170;
    pub(super) const DELETE_ROWS_COMPRESSED: u8 = 171;
}

/// Decodes the events of one dump, or of one file, in order. After an error a new one is needed.
#[derive(Clone, Debug)]
pub struct Decoder {
    flavor: Flavor,
    description: Option<Description>,
    tables: TableMaps,
}

impl Decoder {
    /// For a dump or a file from its start.
    pub fn new(flavor: Flavor) -> Self {
        Self { flavor, description: None, tables: TableMaps::default() }
    }

    /// Decodes one whole event, header first.
    pub fn decode(&mut self, event: Bytes) -> Result<Event> {
        if event.len() < HEADER_LEN {
            return Err(Error::stop("a binlog event is shorter than its header"));
        }
        let header = parse_header(&event)?;
        let body = if header.kind == kind::FORMAT_DESCRIPTION {
            self.begin_file(&event)
        } else {
            self.strip_checksum(&header, event).and_then(|body| self.decode_body(&header, body))
        };
        let body = body.map_err(|error| at_event(&header, error))?;
        Ok(Event { header, body })
    }

    fn begin_file(&mut self, event: &Bytes) -> Result<EventBody> {
        self.tables.begin_file();
        let description = Description::parse(event)?;
        let (server_version, checksum) = (description.server_version.clone(), description.checksum);
        self.description = Some(description);
        Ok(EventBody::FormatDescription { server_version, checksum })
    }

    /// Takes header and checksum off.
    ///
    /// The ROTATE that the server makes up at the start of a dump comes before the description that would tell whether it
    /// carries a checksum: there the bytes themselves have to tell, as they do for one that is made up between a file
    /// with checksums and one without. By chance four bytes fit once in four thousand million times.
    fn strip_checksum(&self, header: &EventHeader, event: Bytes) -> Result<Bytes> {
        let checksum = match &self.description {
            Some(description) if description.checksum => true,
            Some(_) if !(header.kind == kind::ROTATE && header.is_artificial()) => false,
            None if header.kind != kind::ROTATE => {
                return Err(Error::stop("it comes before the format description"));
            }
            _ => {
                let end = if has_valid_checksum(&event) { CHECKSUM_LEN } else { 0 };
                return body_of(event, end);
            }
        };
        if !checksum {
            return body_of(event, 0);
        }
        if !has_valid_checksum(&event) {
            return Err(wrong_checksum());
        }
        body_of(event, CHECKSUM_LEN)
    }

    /// What an event of that header says, without its checksum.
    pub(crate) fn decode_body(&mut self, header: &EventHeader, body: Bytes) -> Result<EventBody> {
        match header.kind {
            kind::ROTATE => self.rotate(body),
            kind::QUERY => Ok(EventBody::Query(query::parse(body, self.flavor)?)),
            kind::STOP => Ok(EventBody::Stop),
            kind::INTVAR | kind::RAND | kind::USER_VAR => {
                Ok(EventBody::StatementContext(header.kind))
            }
            kind::XID => {
                self.tables.end_statement();
                Ok(EventBody::Xid(Cursor::new(body).u64()?))
            }
            kind::TABLE_MAP => {
                let id_len = self.table_id_len(kind::TABLE_MAP);
                self.tables.take(&body, id_len).map(EventBody::TableMap)
            }
            kind::HEARTBEAT => heartbeat(self.flavor, header, body),
            kind::HEARTBEAT_V2 => heartbeat_v2(body),
            kind::XA_PREPARE => xa_prepare(body),
            kind::BEGIN_LOAD_QUERY | kind::EXECUTE_LOAD_QUERY => {
                Err(Error::stop("LOAD DATA was written in statement format: its rows are not in the binlog")
                    .advice("Set binlog_format=ROW on the source for every session, then cancel the workflow and create it again."))
            }
            kind::INCIDENT => Err(Error::stop("the source lost events (an INCIDENT event)")
                .advice("The binlog has a gap here; the tables have to be copied again.")),
            kind::WRITE_ROWS_V1..=kind::DELETE_ROWS_V1 | kind::WRITE_ROWS..=kind::DELETE_ROWS => {
                self.rows(header.kind, body)
            }
            _ => match self.flavor {
                Flavor::MySql => self.decode_mysql(header, body),
                Flavor::MariaDb => self.decode_mariadb(header, body),
            },
        }
    }

    fn decode_mysql(&mut self, header: &EventHeader, body: Bytes) -> Result<EventBody> {
        match header.kind {
            kind::GTID => self.begin_transaction(gtid_event::parse_mysql(body)),
            kind::GTID_TAGGED => self.begin_transaction(gtid_event::parse_tagged(body)),
            kind::ANONYMOUS_GTID => {
                self.tables.end_statement();
                Ok(EventBody::AnonymousGtid)
            }
            kind::PREVIOUS_GTIDS => {
                Ok(EventBody::PreviousGtids(GtidSet::MySql(UuidSets::decode(&body)?)))
            }
            // Its length byte holds only the low bits of the length.
            kind::ROWS_QUERY => {
                let mut cursor = Cursor::new(body);
                cursor.skip(1)?;
                Ok(EventBody::RowsQuery(cursor.into_rest()))
            }
            kind::TRANSACTION_PAYLOAD => self.payload(body),
            kind::PARTIAL_UPDATE_ROWS => {
                Err(Error::stop("it holds partial JSON updates (PARTIAL_UPDATE_ROWS)")
                    .advice("binlog_row_value_options must be empty on the source."))
            }
            kind::IGNORABLE | kind::VIEW_CHANGE => Ok(EventBody::Ignorable(header.kind)),
            _ => unknown(header),
        }
    }

    fn decode_mariadb(&mut self, header: &EventHeader, body: Bytes) -> Result<EventBody> {
        match header.kind {
            kind::MARIADB_GTID => self.begin_transaction(gtid_event::parse_mariadb(header, body)),
            kind::GTID_LIST => Ok(EventBody::GtidList(gtid_event::parse_list(body)?)),
            kind::ANNOTATE_ROWS => Ok(EventBody::Annotate(body)),
            kind::BINLOG_CHECKPOINT => {
                let mut cursor = Cursor::new(body);
                cursor.skip(4)?;
                Ok(EventBody::BinlogCheckpoint { file: utf8(&cursor.into_rest(), "a file name")? })
            }
            kind::START_ENCRYPTION => Err(Error::stop("the binlog is encrypted")
                .advice("Read it from a running server, which sends it decrypted.")),
            kind::QUERY_COMPRESSED => Ok(EventBody::Query(query::parse_compressed(body)?)),
            kind::WRITE_ROWS_COMPRESSED_V1..=kind::DELETE_ROWS_COMPRESSED => {
                self.rows(header.kind, body)
            }
            _ => unknown(header),
        }
    }

    fn rotate(&mut self, body: Bytes) -> Result<EventBody> {
        self.tables.end_statement();
        let mut cursor = Cursor::new(body);
        let position = cursor.u64()?;
        Ok(EventBody::Rotate { position, file: utf8(&cursor.into_rest(), "a file name")? })
    }

    fn begin_transaction(&mut self, gtid: Result<super::GtidEvent>) -> Result<EventBody> {
        self.tables.end_statement();
        Ok(EventBody::Gtid(gtid?))
    }

    fn rows(&mut self, event_kind: u8, body: Bytes) -> Result<EventBody> {
        let (kind, version2, compressed) = rows_layout(event_kind)?;
        let id_len = self.table_id_len(event_kind);
        let head = RowsHead::parse(body, id_len, version2, kind)?;
        let end_of_statement = head.flags & FLAG_STATEMENT_END != 0;
        let Some(table) = self.tables.get(head.table_id) else {
            // A server ends a statement that changed nothing with an event without table and rows.
            if end_of_statement && head.columns_before.is_empty() && head.body.is_empty() {
                self.tables.end_statement();
                return Ok(EventBody::Ignorable(event_kind));
            }
            return Err(Error::stop(format!("its table number {} is unknown", head.table_id)));
        };
        if head.columns_before.len() != table.columns.len() {
            return Err(Error::stop(format!(
                "it has {} columns, and {}.{} has {}",
                head.columns_before.len(),
                table.database,
                table.table,
                table.columns.len()
            )));
        }
        if end_of_statement {
            self.tables.end_statement();
        }
        Ok(EventBody::Rows(RowsEvent {
            table,
            kind,
            columns_before: head.columns_before,
            columns_after: head.columns_after,
            body: if compressed { inflate(head.body)? } else { head.body },
            end_of_statement,
        }))
    }

    /// The events in a payload have no checksums of their own: the payload's covers them.
    fn payload(&mut self, body: Bytes) -> Result<EventBody> {
        let mut cursor = Cursor::new(unpack_payload(body)?);
        let mut events = Vec::new();
        while !cursor.is_empty() {
            let mut ahead = cursor.clone();
            ahead.skip(9)?;
            let size = usize::try_from(ahead.u32()?).unwrap_or(usize::MAX);
            let event = cursor.take(size.max(HEADER_LEN))?;
            let header = parse_header(&event)?;
            let body = match header.kind {
                kind::TRANSACTION_PAYLOAD | kind::FORMAT_DESCRIPTION | kind::ROTATE => {
                    Err(Error::stop("it may not stand in a payload"))
                }
                _ => self.decode_body(&header, event.slice(HEADER_LEN..)),
            };
            let body = body.map_err(|error| at_event(&header, error).context("in a payload"))?;
            events.push(Event { header, body });
        }
        Ok(EventBody::Payload(events))
    }

    fn table_id_len(&self, kind: u8) -> usize {
        self.description.as_ref().map_or(6, |description| description.table_id_len(kind))
    }
}

/// What the rows are, whether the event has extra data, and whether its rows are compressed.
fn rows_layout(event_kind: u8) -> Result<(RowsKind, bool, bool)> {
    Ok(match event_kind {
        kind::WRITE_ROWS_V1 => (RowsKind::Insert, false, false),
        kind::UPDATE_ROWS_V1 => (RowsKind::Update, false, false),
        kind::DELETE_ROWS_V1 => (RowsKind::Delete, false, false),
        kind::WRITE_ROWS => (RowsKind::Insert, true, false),
        kind::UPDATE_ROWS => (RowsKind::Update, true, false),
        kind::DELETE_ROWS => (RowsKind::Delete, true, false),
        kind::WRITE_ROWS_COMPRESSED_V1 => (RowsKind::Insert, false, true),
        kind::UPDATE_ROWS_COMPRESSED_V1 => (RowsKind::Update, false, true),
        kind::DELETE_ROWS_COMPRESSED_V1 => (RowsKind::Delete, false, true),
        kind::WRITE_ROWS_COMPRESSED => (RowsKind::Insert, true, true),
        kind::UPDATE_ROWS_COMPRESSED => (RowsKind::Update, true, true),
        kind::DELETE_ROWS_COMPRESSED => (RowsKind::Delete, true, true),
        other => return Err(Error::stop(format!("event type {other} holds no rows"))),
    })
}

fn unknown(header: &EventHeader) -> Result<EventBody> {
    if header.flags & EventHeader::FLAG_IGNORABLE != 0 {
        return Ok(EventBody::Ignorable(header.kind));
    }
    Err(Error::stop("events of this type are not understood")
        .advice("Nothing in the binlog is skipped; this needs a version of this program that knows the type."))
}

/// MariaDB puts a position past 4 GiB, which the header cannot hold, before the file name.
fn heartbeat(flavor: Flavor, header: &EventHeader, body: Bytes) -> Result<EventBody> {
    let mut cursor = Cursor::new(body);
    let position = match (flavor, header.log_pos) {
        (Flavor::MariaDb, 0) => cursor.u64()?,
        (_, position) => u64::from(position),
    };
    Ok(EventBody::Heartbeat { file: utf8(&cursor.into_rest(), "a file name")?, position })
}

/// Since MySQL 8.0.26: numbered fields, because positions may pass 4 GiB.
fn heartbeat_v2(body: Bytes) -> Result<EventBody> {
    let mut cursor = Cursor::new(body);
    let (mut file, mut position) = (None, None);
    loop {
        let field = cursor.lenenc()?;
        if field == 0 {
            break;
        }
        let value = cursor.lenenc_bytes()?;
        match field {
            1 => file = Some(utf8(&value, "a file name")?),
            2 => position = Some(Cursor::new(value).lenenc()?),
            other => return Err(Error::stop(format!("heartbeat field {other} is not known"))),
        }
    }
    match (file, position) {
        (Some(file), Some(position)) => Ok(EventBody::Heartbeat { file, position }),
        _ => Err(Error::stop("a heartbeat is without file or position")),
    }
}

fn xa_prepare(body: Bytes) -> Result<EventBody> {
    let mut cursor = Cursor::new(body);
    let one_phase = cursor.u8()? != 0;
    let format_id = cursor.u32()?.cast_signed();
    let gtrid_len = usize::try_from(cursor.u32()?).unwrap_or(usize::MAX);
    let bqual_len = usize::try_from(cursor.u32()?).unwrap_or(usize::MAX);
    let gtrid = cursor.take(gtrid_len)?;
    let bqual = cursor.take(bqual_len)?;
    Ok(EventBody::XaPrepare { one_phase, format_id, gtrid, bqual })
}

fn body_of(event: Bytes, end: usize) -> Result<Bytes> {
    match event.len().checked_sub(end) {
        Some(to) if to >= HEADER_LEN => Ok(event.slice(HEADER_LEN..to)),
        _ => Err(cut_short()),
    }
}

fn at_event(header: &EventHeader, error: Error) -> Error {
    error.context(format!(
        "binlog event of type {}, ending at position {}",
        header.kind, header.log_pos
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(kind: u8, log_pos: u32, body: &[u8]) -> (EventHeader, Bytes) {
        let header = EventHeader { timestamp: 0, kind, server_id: 1, size: 0, log_pos, flags: 0 };
        (header, Bytes::copy_from_slice(body))
    }

    fn check_heartbeat(flavor: Flavor, kind: u8, log_pos: u32, body: &[u8], expected: u64) {
        let (header, body) = event(kind, log_pos, body);
        let EventBody::Heartbeat { file, position } =
            Decoder::new(flavor).decode_body(&header, body).unwrap()
        else {
            panic!("not a heartbeat");
        };
        assert_eq!((file.as_str(), position), ("bin.000001", expected));
    }

    #[test]
    fn heartbeats_tell_positions_past_four_gib() {
        check_heartbeat(Flavor::MySql, kind::HEARTBEAT, 77, b"bin.000001", 77);
        check_heartbeat(Flavor::MariaDb, kind::HEARTBEAT, 77, b"bin.000001", 77);
        let long = b"\0\0\0\0\x02\0\0\0bin.000001";
        check_heartbeat(Flavor::MariaDb, kind::HEARTBEAT, 0, long, 2 << 32);
        let fields = b"\x01\x0abin.000001\x02\x09\xfe\0\0\0\0\x02\0\0\0\0";
        check_heartbeat(Flavor::MySql, kind::HEARTBEAT_V2, 0, fields, 2 << 32);
    }

    /// Table 9 is `d.t` with one INT.
    const TABLE: &[u8] = b"\x09\0\0\0\0\0\0\0\x01d\0\x01t\0\x01\x03\0\x01";

    fn rows(table: u8, flags: u8, columns: u8) -> Vec<u8> {
        [&[table, 0, 0, 0, 0, 0, flags, 0, columns, 1, 0][..], &[5, 0, 0, 0]].concat()
    }

    #[test]
    fn table_maps_end_with_their_statement() {
        let mut decoder = Decoder::new(Flavor::MySql);
        let mut decode = |kind: u8, body: &[u8]| {
            let (header, body) = event(kind, 0, body);
            decoder.decode_body(&header, body)
        };
        assert!(decode(kind::WRITE_ROWS_V1, &rows(9, 0, 1)).is_err());
        decode(kind::TABLE_MAP, TABLE).unwrap();
        let wrong_width = decode(kind::WRITE_ROWS_V1, &rows(9, 0, 2)).unwrap_err();
        assert!(wrong_width.to_string().contains("d.t"), "{wrong_width}");
        for (flags, again) in [(0, true), (1, false)] {
            let EventBody::Rows(rows_event) =
                decode(kind::WRITE_ROWS_V1, &rows(9, flags, 1)).unwrap()
            else {
                panic!("not rows");
            };
            assert_eq!(rows_event.changes().filter(Result::is_ok).count(), 1);
            assert_eq!(rows_event.end_of_statement, !again);
        }
        assert!(decode(kind::WRITE_ROWS_V1, &rows(9, 1, 1)).is_err());
        for ending in [kind::XID, kind::ROTATE] {
            decode(kind::TABLE_MAP, TABLE).unwrap();
            decode(ending, &[0; 8]).unwrap();
            assert!(decode(kind::WRITE_ROWS_V1, &rows(9, 1, 1)).is_err());
        }
    }
}
