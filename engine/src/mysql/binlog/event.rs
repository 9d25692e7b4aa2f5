//! What the decoder gives out: an event's header and body.
//!
//! `decoder` makes them. Names and SQL text are slices of the event where they can be.

use std::sync::Arc;

use bytes::Bytes;

use super::rows::RowsEvent;
use super::table_map::TableMap;
use crate::mysql::gtid::{Gtid, GtidSet};
use crate::mysql::server::Flavor;

/// Bytes of an event's header.
pub const HEADER_LEN: usize = 19;

/// The 19 bytes that every event begins with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventHeader {
    /// Seconds since 1970; 0 in artificial events.
    pub timestamp: u32,
    /// The type's number.
    pub kind: u8,
    /// The server that wrote it first.
    pub server_id: u32,
    /// Length with header and checksum, as the server says; inner events of a payload have no checksum.
    pub size: u32,
    /// Where the next event begins in the file; 0 in artificial events. It wraps in files over 4 GiB.
    pub log_pos: u32,
    /// LOG_EVENT_..._F bits.
    pub flags: u16,
}

impl EventHeader {
    /// LOG_EVENT_ARTIFICIAL_F: made up by the sender, not in any file.
    pub const FLAG_ARTIFICIAL: u16 = 0x20;
    /// LOG_EVENT_IGNORABLE_F: who does not know it may pass over it.
    pub const FLAG_IGNORABLE: u16 = 0x80;

    /// Whether the sender made it up.
    pub fn is_artificial(&self) -> bool {
        self.flags & Self::FLAG_ARTIFICIAL != 0
    }
}

/// One event.
#[derive(Clone, Debug)]
pub struct Event {
    /// Its header.
    pub header: EventHeader,
    /// What it says.
    pub body: EventBody,
}

/// What an event says.
#[derive(Clone, Debug)]
pub enum EventBody {
    /// The log goes on in another file; also the first event of a dump, which names the file (artificial).
    Rotate {
        /// The next file.
        file: String,
        /// Where to begin in it.
        position: u64,
    },
    /// Begins a file: who wrote it and how.
    FormatDescription {
        /// The writer's version text.
        server_version: String,
        /// Whether the events after it carry a checksum.
        checksum: bool,
    },
    /// MySQL: all transactions in earlier files.
    PreviousGtids(GtidSet),
    /// MariaDB: the position at the start of the file (or of the dump, artificial).
    GtidList(GtidSet),
    /// Begins a transaction.
    Gtid(GtidEvent),
    /// MySQL: begins a transaction of a server that gives out no GTIDs.
    AnonymousGtid,
    /// A statement: BEGIN, COMMIT, DDL, or data in statement format.
    Query(QueryEvent),
    /// Gives a number to a table for the rows after it.
    TableMap(Arc<TableMap>),
    /// Changed rows.
    Rows(RowsEvent),
    /// Commits a transaction of a transactional engine.
    Xid(u64),
    /// Ends the first phase of an XA transaction, or commits it at once.
    XaPrepare {
        /// XA COMMIT ... ONE PHASE: it is committed here.
        one_phase: bool,
        /// Format id of the XID.
        format_id: i32,
        /// Its global part.
        gtrid: Bytes,
        /// Its branch part.
        bqual: Bytes,
    },
    /// Sent while there is nothing else to send; artificial.
    Heartbeat {
        /// The file the sender stands in.
        file: String,
        /// Its position there.
        position: u64,
    },
    /// MariaDB: the text of the statement that the next rows come from.
    Annotate(Bytes),
    /// MySQL: the text of the statement that the next rows come from.
    RowsQuery(Bytes),
    /// MariaDB: the oldest file that crash recovery needs; nothing to us.
    BinlogCheckpoint {
        /// That file.
        file: String,
    },
    /// The server stopped in an orderly way.
    Stop,
    /// MySQL: a whole transaction, compressed; these are its events. None of them is itself a payload.
    Payload(Vec<Event>),
    /// INTVAR, RAND or USER_VAR, by number: a value that the next statement, which is in statement format, uses.
    StatementContext(u8),
    /// The server marks it as one that may be passed over by who does not know it; or a row event without rows, which
    /// some servers end a statement with.
    Ignorable(u8),
}

/// The start of a transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GtidEvent {
    /// Its name.
    pub gtid: Gtid,
    /// MariaDB: a single statement follows, and no COMMIT or XID event after it. Always false on MySQL, where the
    /// statement itself shows it.
    pub standalone: bool,
    /// MariaDB: the statement is DDL. Always false on MySQL.
    pub ddl: bool,
    /// MariaDB: no table of a non-transactional engine is written. MySQL does not say; true.
    pub transactional: bool,
    /// MariaDB: begins an XA transaction that ends in a prepare.
    pub prepared_xa: bool,
    /// MariaDB: XA COMMIT or XA ROLLBACK of what was prepared before.
    pub completed_xa: bool,
    /// MariaDB: which part of a two-phase ALTER this is.
    pub alter: Option<AlterPhase>,
    /// The flags as they came: flags2 on MariaDB, the GTID flags on MySQL.
    pub flags: u8,
    /// MySQL 8.0: microseconds since 1970 at which the first server committed it.
    pub original_commit_us: Option<u64>,
}

/// MariaDB's two-phase ALTER (`binlog_alter_two_phase`): it takes effect at its commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AlterPhase {
    /// START ALTER: nothing has changed yet.
    Start,
    /// COMMIT ALTER of the START with that sequence number.
    Commit {
        /// Sequence number of the START.
        start_seq: u64,
    },
    /// ROLLBACK ALTER of the START with that sequence number.
    Rollback {
        /// Sequence number of the START.
        start_seq: u64,
    },
}

/// A statement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueryEvent {
    /// The default database; may be empty.
    pub database: Bytes,
    /// Its text, in the client's character set.
    pub sql: Bytes,
    /// The error the statement met on the server, 0 for none.
    pub error_code: u16,
    /// The connection.
    pub thread_id: u32,
    /// The session it was run in.
    pub variables: SessionVariables,
    /// What server ran it: each has comments of its own that it runs.
    pub flavor: Flavor,
}

/// What a server says of the session that ran a statement.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SessionVariables {
    /// `sql_mode`, where the event says.
    pub sql_mode: Option<u64>,
    /// Ids of `character_set_client`, `collation_connection` and `collation_server`, where the event says.
    pub charsets: Option<[u16; 3]>,
    /// `time_zone`, which a server says where the statement used it.
    pub time_zone: Option<Bytes>,
    /// `auto_increment_increment` and `auto_increment_offset`, where one of them is not 1.
    pub numbering: Option<[u16; 2]>,
    /// The part of the statement's time behind the second, where it used that.
    pub microseconds: u32,
}
