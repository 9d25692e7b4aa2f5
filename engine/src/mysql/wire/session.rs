//! The session settings of a wire connection, so that nothing depends on a server's defaults.

use crate::mysql::server::{Flavor, ServerInfo};

/// The settings that every server has, as one statement.
///
/// Character sets are `binary`: bytes pass as they are. The write time-out is long because a reader that waits for its
/// target must not lose its snapshot.
pub(super) fn settings(info: &ServerInfo) -> String {
    // MariaDB before 11.1 and MySQL before 5.7.20 know the isolation level by its old name only.
    let isolation = match info.flavor {
        Flavor::MySql if info.version.0 >= 8 => "transaction_isolation",
        Flavor::MySql | Flavor::MariaDb => "tx_isolation",
    };
    format!(
        "SET NAMES binary, time_zone='+00:00', autocommit=1, net_read_timeout=600, \
         net_write_timeout=3600, wait_timeout=28800, lock_wait_timeout=30, \
         innodb_lock_wait_timeout=5, sql_select_limit=18446744073709551615, sql_big_selects=1, completion_type=0, \
         {isolation}='REPEATABLE-READ', sql_mode='STRICT_ALL_TABLES,NO_AUTO_VALUE_ON_ZERO'"
    )
}

/// Settings that only some versions have; the others answer with error 1193. Nothing ends a long statement or an open
/// snapshot.
pub(super) fn optional_settings(flavor: Flavor) -> &'static [&'static str] {
    match flavor {
        Flavor::MariaDb => &[
            "max_statement_time=0",
            "idle_transaction_timeout=0",
            "idle_readonly_transaction_timeout=0",
        ],
        Flavor::MySql => &["max_execution_time=0"],
    }
}
