//! What control and wire connections have in common: they run statements, and every session begins with its settings pinned.

use std::future::Future;

use super::control::{Control, Outcome, Row, Session};
use super::server::{Flavor, ServerInfo};
use super::wire::Wire;
use crate::error::{Error, Result};

/// Seconds after which a server ends a session of ours that says nothing: a week.
pub(crate) const WAIT_TIMEOUT_S: u32 = 604_800;

/// A connection that runs statements. What runs in a transaction of either kind of connection is written against this.
pub trait Statements: Send {
    /// Runs one statement, or several separated by semicolons; the outcome is that of the last.
    ///
    /// # Errors
    /// By the server's code; see [`kind_of_server_code`](crate::error::kind_of_server_code).
    fn execute(
        &mut self,
        sql: impl AsRef<[u8]> + Send,
    ) -> impl Future<Output = Result<Outcome>> + Send;

    /// Runs a query and returns all its rows. For small results only.
    ///
    /// # Errors
    /// By the server's code; see [`kind_of_server_code`](crate::error::kind_of_server_code).
    fn rows(
        &mut self,
        sql: impl AsRef<[u8]> + Send,
    ) -> impl Future<Output = Result<Vec<Row>>> + Send;

    /// The server's id of the connection, for KILL.
    fn id(&self) -> u32;
}

impl Statements for Control {
    async fn execute(&mut self, sql: impl AsRef<[u8]> + Send) -> Result<Outcome> {
        Self::execute(self, sql).await
    }

    async fn rows(&mut self, sql: impl AsRef<[u8]> + Send) -> Result<Vec<Row>> {
        Self::rows(self, sql).await
    }

    fn id(&self) -> u32 {
        Self::id(self)
    }
}

impl Statements for Wire {
    async fn execute(&mut self, sql: impl AsRef<[u8]> + Send) -> Result<Outcome> {
        Self::execute(self, sql).await
    }

    async fn rows(&mut self, sql: impl AsRef<[u8]> + Send) -> Result<Vec<Row>> {
        Self::rows(self, sql).await
    }

    fn id(&self) -> u32 {
        Self::id(self)
    }
}

/// A statement that a session begins with, and the error codes that it may answer with where a server lacks it or an account may not.
pub(super) struct Setting {
    pub(super) sql: String,
    pub(super) without: &'static [u16],
}

impl Setting {
    /// Whether a session can do without it, by the server's answer.
    pub(super) fn may_lack(&self, answer: &Error) -> bool {
        answer.server_code().is_some_and(|code| self.without.contains(&code))
    }
}

/// The variable of the isolation level: MariaDB before 11.1 and MySQL before 5.7.20 know it by its old name only.
pub(super) fn isolation(info: &ServerInfo) -> &'static str {
    match info.flavor {
        Flavor::MySql if info.version.0 >= 8 => "transaction_isolation",
        Flavor::MySql | Flavor::MariaDb => "tx_isolation",
    }
}

/// What a session begins with, so that nothing depends on a server's defaults.
pub(super) fn settings(session: Session, info: &ServerInfo) -> Vec<Setting> {
    let mut settings = vec![Setting { sql: known_to_all(session, info), without: &[] }];
    let mut set = |what: &str, without| {
        settings.push(Setting { sql: format!("SET {what}"), without });
    };
    match info.flavor {
        Flavor::MariaDb => {
            set("max_statement_time=0", &[]);
            if session == Session::Apply {
                // What the source holds is admitted past the checks of the target, too; MySQL has no such setting.
                set("check_constraint_checks=0", &[]);
                // The text of statements that hold megabytes of rows tells nobody anything, and doubles the binlog.
                set("binlog_annotate_row_events=0", &[1227]);
            }
        }
        // No invisible primary key is generated, and nothing times out; older versions know neither setting.
        Flavor::MySql => {
            set("max_execution_time=0", &[1193]);
            set("sql_generate_invisible_primary_key=OFF", &[1193]);
        }
    }
    settings
}

fn known_to_all(session: Session, info: &ServerInfo) -> String {
    let names = match session {
        Session::Control => "utf8mb4",
        Session::Apply => "binary",
    };
    let sql_mode = match session {
        Session::Control => "'STRICT_ALL_TABLES,NO_AUTO_VALUE_ON_ZERO'",
        // What the source holds is admitted: zero and invalid dates, zero in AUTO_INCREMENT. Anything that would be
        // changed on its way in is an error.
        Session::Apply => {
            "'STRICT_ALL_TABLES,ALLOW_INVALID_DATES,NO_AUTO_VALUE_ON_ZERO', \
             foreign_key_checks=0, unique_checks=1, sql_safe_updates=0"
        }
    };
    format!(
        "SET NAMES {names}, time_zone='+00:00', autocommit=1, net_read_timeout=600, net_write_timeout=600, \
         wait_timeout={WAIT_TIMEOUT_S}, lock_wait_timeout=30, innodb_lock_wait_timeout=5, \
         sql_notes=1, max_error_count=65535, lc_messages='en_US', sql_select_limit=18446744073709551615, sql_big_selects=1, completion_type=0, \
         {}='READ-COMMITTED', sql_mode={sql_mode}",
        isolation(info)
    )
}
