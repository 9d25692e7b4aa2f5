//! The settings of a session that reads, so that nothing depends on a server's defaults.

use crate::mysql::server::{Flavor, ServerInfo};
use crate::mysql::statements::{Setting, WAIT_TIMEOUT_S, isolation};

/// What a session that reads begins with.
///
/// Character sets are `binary`: bytes pass as they are. The write time-out is long because a reader that waits for its target must not
/// lose its snapshot, and the binlog's not its place while the keys of a large table are built, for hours; nothing ends a long statement
/// or an open snapshot.
pub(super) fn settings(info: &ServerInfo) -> Vec<Setting> {
    let optional: &[&str] = match info.flavor {
        Flavor::MariaDb => &[
            "max_statement_time=0",
            "idle_transaction_timeout=0",
            "idle_readonly_transaction_timeout=0",
        ],
        Flavor::MySql => &["max_execution_time=0"],
    };
    let all = format!(
        "SET NAMES binary, time_zone='+00:00', autocommit=1, net_read_timeout=600, \
         net_write_timeout={WAIT_TIMEOUT_S}, wait_timeout={WAIT_TIMEOUT_S}, lock_wait_timeout=30, \
         innodb_lock_wait_timeout=5, sql_select_limit=18446744073709551615, sql_big_selects=1, completion_type=0, \
         {}='REPEATABLE-READ', sql_mode='STRICT_ALL_TABLES,NO_AUTO_VALUE_ON_ZERO'",
        isolation(info)
    );
    let optional =
        optional.iter().map(|what| Setting { sql: format!("SET {what}"), without: &[1193] });
    std::iter::once(Setting { sql: all, without: &[] }).chain(optional).collect()
}
