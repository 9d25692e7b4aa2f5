//! The one error type of the engine, and the one place where a failure's kind is decided.
//!
//! A kind exists only because somebody acts on it differently; see [`ErrorKind`]. Messages carry no row values and no
//! secrets. They are bare phrases without a full stop; advice is a sentence for the operator.

use std::fmt;

/// The engine's result.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What is to be done about an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorKind {
    /// The same work may succeed later: a lost connection, a deadlock, a lock wait. The stream starts again by itself.
    Retry,
    /// An operator has to act first; the stream stops and its message says how.
    Stop,
    /// Source and target differ where they must not. The stream stops; nothing is repaired silently.
    Divergence,
    /// The outcome on the server is unknown (the reply to a COMMIT was lost). It is settled by reading again, never by
    /// trying again.
    Ambiguous,
    /// Another process owns the stream now. This process ends its part and touches nothing more.
    LeaseLost,
    /// What the user typed or configured cannot be used.
    Usage,
}

/// An error with its kind, the chain of what was being done, and what the operator can do.
#[derive(Debug)]
pub struct Error {
    kind: ErrorKind,
    message: String,
    advice: Option<String>,
    server_code: Option<u16>,
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl Error {
    /// An error of the given kind.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), advice: None, server_code: None, source: None }
    }

    /// A failure that may pass by itself.
    pub fn retry(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Retry, message)
    }

    /// A failure that needs the operator.
    pub fn stop(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Stop, message)
    }

    /// A mistake in arguments or configuration.
    pub fn usage(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Usage, message)
    }

    /// Adds what the operator can do about it, as a sentence.
    #[must_use]
    pub fn advice(mut self, advice: impl Into<String>) -> Self {
        self.advice = Some(advice.into());
        self
    }

    /// Adds the underlying error.
    #[must_use]
    pub fn source(mut self, source: impl std::error::Error + Send + Sync + 'static) -> Self {
        self.source = Some(Box::new(source));
        self
    }

    /// Adds the server's error code, so that callers can tell e.g. a missing table from other failures. Where a privilege lacks, the
    /// advice is the same everywhere.
    #[must_use]
    pub fn code(mut self, code: u16) -> Self {
        self.server_code = Some(code);
        if matches!(code, 1044 | 1142 | 1143 | 1227 | 1370) {
            self.advice.get_or_insert_with(|| {
                "`shunt grants` prints the GRANT statements for what the account lacks.".to_owned()
            });
        }
        self
    }

    /// Says what was being done, in front of the message.
    #[must_use]
    pub fn context(mut self, doing: impl fmt::Display) -> Self {
        self.message = format!("{doing}: {}", self.message);
        self
    }

    /// The same failure under another kind, where the caller knows more than the place that made it.
    #[must_use]
    pub fn with_kind(mut self, kind: ErrorKind) -> Self {
        self.kind = kind;
        self
    }

    /// What is to be done about it.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// What the operator can do, if anything is known.
    pub fn advice_text(&self) -> Option<&str> {
        self.advice.as_deref()
    }

    /// The MySQL error code, where a server answered with one.
    pub fn server_code(&self) -> Option<u16> {
        self.server_code
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        if let Some(source) = &self.source {
            write!(f, ": {source}")?;
        }
        if let Some(advice) = &self.advice {
            write!(f, ". {advice}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Error {}

/// What a server's code says; those that only one place asks for are numbers there.
impl Error {
    /// No such database, or no such table: of the sidecar, that there is none.
    pub fn is_absent(&self) -> bool {
        matches!(self.server_code, Some(1049 | 1146))
    }

    /// No such table.
    pub fn is_no_table(&self) -> bool {
        self.server_code == Some(1146)
    }

    /// A value of a unique key that is taken.
    pub fn is_duplicate(&self) -> bool {
        self.server_code == Some(1062)
    }

    /// A deadlock, or a lock that was waited for too long.
    pub fn is_lock_conflict(&self) -> bool {
        matches!(self.server_code, Some(1205 | 1213))
    }

    /// No such connection, of a KILL: it ended by itself.
    pub fn is_no_thread(&self) -> bool {
        self.server_code == Some(1094)
    }

    /// The account may not see the database or the table. Into the sidecar of a source it need not look before a switch.
    pub fn is_denied(&self) -> bool {
        matches!(self.server_code, Some(1044 | 1142))
    }

    /// The account lacks a privilege for the whole server.
    pub fn is_unprivileged(&self) -> bool {
        self.server_code == Some(1227)
    }
}

/// Adds context to a result's error.
pub trait ResultExt<T> {
    /// Says what was being done when the error happened.
    fn context(self, doing: impl fmt::Display) -> Result<T>;
}

impl<T> ResultExt<T> for Result<T> {
    fn context(self, doing: impl fmt::Display) -> Result<T> {
        self.map_err(|error| error.context(doing))
    }
}

/// The kind of a server's error code: the one match from code to what is done about it.
pub fn kind_of_server_code(code: u16) -> ErrorKind {
    match code {
        // Too many connections, shutdown, lost or killed connections, interrupted statements, deadlock, lock wait,
        // a snapshot overtaken by TRUNCATE or ALTER (1412), no place for another prepared statement (1461) or for its tables (1615),
        // and "WSREP not ready".
        1040 | 1042 | 1043 | 1047 | 1053 | 1077 | 1079 | 1152 | 1158 | 1159 | 1160 | 1161
        | 1184 | 1203 | 1205 | 1213 | 1317 | 1412 | 1461 | 1615 | 1927 | 1969 | 2002 | 2003
        | 2006 | 2013 | 3024 | 3032 | 4031 => ErrorKind::Retry,
        _ => ErrorKind::Stop,
    }
}

impl From<std::io::Error> for Error {
    fn from(error: std::io::Error) -> Self {
        Error::retry("input or output failed").source(error)
    }
}
