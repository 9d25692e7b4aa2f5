//! Every bound and default of the engine, each with its reason.

use std::time::Duration;

/// Rows of one chunk at most: a chunk is one transaction on the target, and its rows are locked until it commits.
pub const CHUNK_ROWS_MAX: u64 = 100_000;
/// Rows of the first chunk of a table, before its row width and speed are known.
pub const CHUNK_ROWS_FIRST: u64 = 20_000;
/// Bytes of one chunk at which reading stops, as they are sent to the target. A chunk holds at least one row.
pub const CHUNK_BYTES_MAX: usize = 4 << 20;
/// Reading a chunk stops at this age of its snapshot: an open one makes an ALTER wait, and every write behind it.
pub const CHUNK_READ_MAX: Duration = Duration::from_millis(1200);
/// The reading time that the chunk size aims at.
pub const CHUNK_READ_TARGET: Duration = Duration::from_millis(400);
/// Ranges that a large table with an integer key is cut into at the start, so that lanes can share it.
pub const TABLE_PARTS: u16 = 8;
/// Bytes of one block of a chunk as it is handed on.
pub const BLOCK_BYTES: usize = 256 << 10;
/// A table with fewer rows and bytes than these gets its secondary keys at once: an ALTER, with its writes of the dictionary and
/// their fsyncs, would take longer than they save.
pub const DEFER_KEYS_ROWS_MIN: u64 = 50_000;
/// See [`DEFER_KEYS_ROWS_MIN`].
pub const DEFER_KEYS_BYTES_MIN: u64 = 16 << 20;
/// Tables made at the same time.
pub const CREATE_LANES: usize = 4;
/// Ranges read at the same time, over all tables.
pub const COPY_READERS: usize = 2;
/// Chunks written at the same time, over all tables.
pub const COPY_WRITERS: usize = 2;
/// How often the throttle looks at the servers, in milliseconds.
pub const THROTTLE_INTERVAL_MS: u64 = 250;
/// Operations that an open range may buffer before it is given up, in bytes.
pub const OPEN_BUFFER_BYTES_MAX: usize = 16 << 20;
/// How long a range waits for a snapshot that contains its R before it is given up: longer than a semi-sync time-out.
pub const BRACKET_WAIT_MAX: Duration = Duration::from_secs(60);
/// How long the start of a stream waits until what is in the source's binlog is visible to readers; less than a lease.
pub const VISIBLE_WAIT_MAX: Duration = Duration::from_secs(1);
/// How long nothing is written, and no commit waits for a replica, until a commit is over whose end cannot be seen.
pub const QUIET_MIN: Duration = Duration::from_millis(250);
/// How long a busy server's position is asked for in the way that reads no file, before the way that reads one from its start.
pub const POSITION_TRY_MAX: Duration = Duration::from_millis(100);
/// How long the start of a stream waits for XA transactions that are prepared then; what an operator waits for without a word.
pub const PREPARED_WAIT_MAX: Duration = Duration::from_millis(2500);
/// How often it looks for them.
pub const PREPARED_LOOK: Duration = Duration::from_millis(50);

/// Row events read from the binlog and not yet applied, in bytes.
pub const QUEUE_BYTES_MAX: usize = 48 << 20;
/// A transaction larger than this is handed on and applied in parts.
pub const TRANSACTION_BYTES_MAX: usize = 8 << 20;
/// The same of one with savepoints; beyond, going back to one of them ends the stream.
pub const SAVEPOINT_BYTES_MAX: usize = 32 << 20;
/// Transactions between the binlog reader and the stream.
pub const QUEUE_TRANSACTIONS_MAX: usize = 4096;
/// Transactions that the stream takes at once before it attends to anything else: a few hundred microseconds.
pub const CROWD_TRANSACTIONS_MAX: usize = 64;
/// The same in bytes, behind which no further one is taken.
pub const CROWD_BYTES_MAX: usize = 256 << 10;
/// Row events that one group applies at most, in bytes of their images.
pub const GROUP_BYTES_MAX: usize = 4 << 20;
/// Groups that are applied at the same time, after the copy.
pub const APPLY_LANES: usize = 2;
/// How long a group that has written its rows waits for the one before it to come to the position, before it tries for itself.
pub const POSITION_WAIT_MAX: Duration = Duration::from_millis(250);
/// Transactions that one group merges at most.
pub const GROUP_TRANSACTIONS_MAX: usize = 5000;
/// Text of one statement at which the next one is begun; well below any sensible `max_allowed_packet`.
pub const STATEMENT_BYTES_MAX: usize = 1 << 20;

/// A row that is larger goes by another way than a bulk command, which must fit the `max_allowed_packet` of any sensible server.
pub const BULK_ROW_MAX: usize = 512 << 10;

/// Heartbeats asked of the source while it has nothing to send.
pub const HEARTBEAT: Duration = Duration::from_millis(500);
/// The source is given up as lost when nothing has come for this long.
pub const SOURCE_SILENCE_MAX: Duration = Duration::from_secs(30);

/// How long a lease lasts unless it is renewed. A worker that dies is replaced after this.
pub const LEASE_TTL: Duration = Duration::from_secs(4);
/// How often a lease is renewed, and what others asked of the stream is looked at.
pub const LEASE_RENEW: Duration = Duration::from_millis(400);
/// How often the position is saved while only transactions that touch no moved table come.
pub const SAVE_INTERVAL: Duration = Duration::from_millis(100);
/// How long an attempt may take to begin: thousands of tables far away, and not a server that vanished.
pub const SETUP_MAX: Duration = Duration::from_secs(900);
/// The target is given up as lost when no lease could be renewed for this long: one that vanished without a word would be waited for, for a
/// quarter of an hour.
pub const TARGET_SILENCE_MAX: Duration = Duration::from_secs(60);
/// How often the source's position is sampled for the lag.
pub const LAG_SAMPLE: Duration = Duration::from_millis(100);
/// Lag samples kept; beyond it every other one is dropped.
pub const LAG_SAMPLES_MAX: usize = 4096;
/// Pauses between attempts after an error that may pass: doubled from the first to the last.
pub const RETRY_FIRST: Duration = Duration::from_millis(100);
/// The longest pause between attempts.
pub const RETRY_LAST: Duration = Duration::from_secs(5);
/// How often a transaction that met a deadlock or a lock wait is tried again before the stream starts over.
pub const TRANSACTION_TRIES: u32 = 5;
/// A table without a key that holds more bytes needs `--allow-large-keyless`: it is copied in one transaction.
pub const KEYLESS_BYTES_MAX: u64 = 1 << 30;
/// Row images that one transaction on keyless tables may hold, in bytes.
pub const KEYLESS_TRANSACTION_BYTES_MAX: usize = 128 << 20;
/// Events kept while a keyless table is read, in bytes, before its copy starts again.
pub const KEYLESS_BUFFER_BYTES_MAX: usize = 64 << 20;
/// How often the copy of a keyless table starts again after rows of it were read.
pub const KEYLESS_REOPENINGS_MAX: u32 = 20;
/// For how long the snapshot of a keyless table is opened anew until it is known what exactly it holds: a source that nobody leaves alone
/// for a moment does not tell.
pub const KEYLESS_EXACT_WAIT_MAX: Duration = Duration::from_mins(10);
/// The pause between two such snapshots: at first, and at most.
pub const KEYLESS_EXACT_PAUSE: [Duration; 2] = [Duration::from_millis(20), Duration::from_secs(1)];
/// How much of the end of a binlog is read to count transactions that a switch would tear: some minutes of a busy server.
pub const BINLOG_SAMPLE_BYTES: u64 = 64 << 20;
/// How long that may take: an operator waits for it.
pub const BINLOG_SAMPLE_TIME: Duration = Duration::from_secs(3);
/// Findings of one kind that are shown one by one.
pub const FINDINGS_SHOWN: usize = 10;
