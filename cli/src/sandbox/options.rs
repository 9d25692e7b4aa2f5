//! The options a sandboxed server runs with: durable, GTIDs and row binlog on, loopback only.
//!
//! The user's own options come last, so they win.

use std::path::Path;

use shunt_engine::mysql::server::{Flavor, Version};

use super::binary::Binary;
use super::layout::ServerLayout;
use crate::config::ServerType;

/// For every server. Durability is a production server's, or a crash would prove nothing.
const COMMON: &[&str] = &[
    "bind-address=127.0.0.1",
    "skip-name-resolve",
    "log-bin=binlog",
    "binlog-format=ROW",
    "binlog-row-image=FULL",
    "binlog-checksum=CRC32",
    "log-slave-updates=ON",
    "relay-log=relay",
    "sync-binlog=1",
    "innodb-flush-log-at-trx-commit=1",
    "innodb-buffer-pool-size=256M",
    "max-connections=500",
    "max-allowed-packet=1G",
    "local-infile=ON",
    "log-bin-trust-function-creators=ON",
    "character-set-server=utf8mb4",
    // Only where the server knows them.
    "loose-innodb-buffer-pool-dump-at-shutdown=OFF",
    "loose-innodb-buffer-pool-load-at-startup=OFF",
    "loose-mysqlx=OFF",
];

const MARIADB: &[&str] = &["gtid-strict-mode=ON", "gtid-domain-id=0"];

const MYSQL: &[&str] = &[
    "gtid-mode=ON",
    "enforce-gtid-consistency=ON",
    "relay-log-recovery=ON",
    "loose-master-info-repository=TABLE",
    "loose-relay-log-info-repository=TABLE",
];

/// MySQL 5.6 would take some 400 MiB for its performance schema.
const MYSQL_OLD: &[&str] = &["performance-schema=OFF"];

/// All arguments of one server but those that help its program find its own files.
pub(crate) fn arguments(
    binary: &Binary,
    folder: &Path,
    server: &ServerLayout,
    extra: &[(String, String)],
) -> Vec<String> {
    let flavored: &[&[&str]] = match binary.flavor {
        Flavor::MariaDb => &[MARIADB],
        Flavor::MySql if binary.version < Version(5, 7, 0) => &[MYSQL, MYSQL_OLD],
        Flavor::MySql => &[MYSQL],
    };
    let mut options = vec![
        format!("datadir={}", folder.join("data").display()),
        // A server that starts removes what it takes for its own leftovers; in a shared folder they may be another's.
        format!("tmpdir={}", folder.display()),
        format!("socket={}", folder.join("mysqld.sock").display()),
        format!("pid-file={}", folder.join("mysqld.pid").display()),
        format!("port={}", server.port),
        format!("server-id={}", server.server_id),
    ];
    options.extend([COMMON].iter().chain(flavored).copied().flatten().map(|&o| o.to_owned()));
    if server.server_type != ServerType::Primary {
        options.push("read-only=ON".to_owned());
    }
    options.extend(extra.iter().map(|(key, value)| match value.as_str() {
        "" => key.clone(),
        value => format!("{key}={value}"),
    }));
    options.into_iter().map(|option| format!("--{option}")).collect()
}
