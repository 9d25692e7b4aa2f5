//! Every bound and default of a VDiff, each with its reason.

use std::time::Duration;

/// Ranges compared at the same time, each over two connections.
pub const PARALLELISM: usize = 2;
/// Rows of a range at most: one whose checksums differ is read by rows.
pub const RANGE_ROWS_MAX: u64 = 100_000;
/// Rows of a range at least, so that wide rows do not make a range of each.
pub const RANGE_ROWS_MIN: u64 = 100;
/// Bytes that a range aims at, by the source's statistics: what is read by rows, in a short snapshot.
pub const RANGE_BYTES: u64 = 16 << 20;
/// The time that comparing a range aims at: an open snapshot makes an ALTER wait, and every write behind it.
pub const RANGE_TIME: Duration = Duration::from_millis(400);
/// Rows of one side that are held (key and hash) while a range is read by rows. A range with more is cut first.
pub const NARROW_ROWS_MAX: u64 = 2 * RANGE_ROWS_MAX;
/// Bytes of the keys of one side that are held so; a range with more is cut, too.
pub const NARROW_BYTES_MAX: usize = 8 << 20;
/// Rows of a table without a key whose hashes are held to find which rows differ.
pub const KEYLESS_ROWS_MAX: usize = 4_000_000;
/// Bytes of rows that are hashed as one piece of work.
pub const BLOCK_BYTES: usize = 128 << 10;
/// A row larger than this is hashed where it was read, not copied.
pub const LARGE_ROW: usize = 1 << 20;
/// Pieces of hashing in flight for each hashing thread.
pub const BLOCKS_PER_THREAD: usize = 4;
/// Levels of nested checksums in an expression: beyond about 250 the servers' default stack is too small for them.
pub const SUM_DEPTH_MAX: usize = 120;
/// Keys of a range that are handed on at once, to be looked at again.
pub const ASK_KEYS_MAX: usize = 10_000;
/// Bytes of such keys.
pub const ASK_BYTES_MAX: usize = 1 << 20;
/// Such keys of so many ranges wait to be taken over; where two keys are one by their collation, all of a range are handed on at once.
pub const ASKS_AHEAD: usize = 2;
/// Ranges found ahead of those that are compared.
pub const RANGES_AHEAD: usize = 8;
/// Keys looked at again in one look.
pub const LOOK_KEYS_MAX: usize = 500;
/// Keys that are asked for at once by their collation: the server compares each row with all of them.
pub const COLLATION_KEYS_MAX: usize = 25;
/// Bytes of the keys looked at again in one look: they stand in its statements, twice as long.
pub const LOOK_BYTES_MAX: usize = 256 << 10;
/// Bytes of keys that wait for a look; comparing waits when there are more.
pub const LOOK_BYTES_WAITING: usize = 8 << 20;
/// Keys that wait for a look; comparing waits when there are more.
pub const LOOK_KEYS_WAITING: usize = 100_000;
/// How long a key may go on changing before it is given up as unsettled.
pub const RECHECK_FOR: Duration = Duration::from_secs(30);
/// How long writers of a hot row may wait for a lock of ours.
pub const HOT_LOCK: Duration = Duration::from_secs(1);
/// After how long without a word the server ends a session that holds the lock of a hot row, should its client have vanished.
pub const HOT_IDLE: Duration = Duration::from_secs(5);
/// The same of a session that repairs: more than what is read between two of its statements takes ([`REPAIR_SNAPSHOT`] and a thousand rows).
pub const REPAIR_IDLE: Duration = Duration::from_secs(300);
/// How often a repair looks whether the target is at a position, 20 ms apart.
pub const REPAIR_TRIES: u32 = 1000;
/// How long a repair waits for a snapshot of the source while it holds the stream's position; then it lets go and tries again.
pub const REPAIR_SNAPSHOT: Duration = Duration::from_secs(10);
/// Between looks at a key where no position ties the sides.
pub const LOOK_PAUSE: Duration = Duration::from_millis(300);
/// Looks that must agree where no position ties the sides.
pub const LOOKS_UNTIED: u32 = 3;
/// Between looks at the stream's position.
pub const POSITION_PAUSE: Duration = Duration::from_millis(20);
/// How long the target may be between two positions (a large transaction, DDL) or its stream not running.
pub const TARGET_WAIT: Duration = Duration::from_secs(60);
/// Progress is saved at least this often, and what the operator wants is looked at.
pub const SAVE_INTERVAL: Duration = Duration::from_millis(500);
/// How long the error of a task that has ended is waited for.
pub const TASKS_END: Duration = Duration::from_secs(10);
/// How often a range that met a lost connection is tried again before the VDiff ends in an error.
pub const RANGE_TRIES: u32 = 8;
/// Rows shown of each kind of difference.
pub const SAMPLE_ROWS: usize = 10;
/// Characters shown of a column in a sample.
pub const TRUNCATE_AT: usize = 128;
/// How long a VDiff rests after `--max-diff-duration`.
pub const REST: Duration = Duration::from_secs(5);
/// Keys repaired under one lock of the stream's position: applying waits meanwhile.
pub const FIX_KEYS_MAX: usize = 200;
/// Repaired keys that wait to be looked at again: they are saved with each record.
pub const CHECK_KEYS_MAX: usize = 1000;
/// Bytes of keys that wait for either, and of one query by the values of unique keys.
pub const FIX_BYTES_MAX: usize = 64 << 10;
/// Keys that are mended in one transaction because they have exchanged the values of a unique key.
pub const MEND_KEYS_MAX: usize = 20_000;
/// The least `max_allowed_packet` with which checksums over concatenated rows are safe.
pub const PACKET_MIN: u64 = 1 << 20;
/// Rows of a row group of a Parquet file: what is held in memory while one is written, or compared with a live table.
pub const GROUP_ROWS_MAX: usize = 50_000;
/// Bytes of a row group of a Parquet file, by its values; a single larger row is a group of its own.
pub const GROUP_BYTES_MAX: usize = 32 << 20;
/// Rows of a row group that are decoded at once.
pub const ARCHIVE_BATCH_ROWS: usize = 512;
/// Blocks of archived rows read ahead of those that are compared.
pub const ARCHIVE_BLOCKS_AHEAD: usize = 4;
/// Keys, of a table whose key order only servers know, that are held until all of an archive has been read.
pub const ARCHIVE_KEYS_MAX: usize = 1_000_000;
/// How long a position is waited for that a snapshot has exactly.
pub const ARCHIVE_POSITION_WAIT: Duration = Duration::from_secs(60);
/// Bytes of a cell in a report of all differences; what is longer is cut there.
pub const REPORT_CELL_MAX: usize = 1 << 20;
/// Keys looked at again in one look, and findings on their way, while a report keeps whole cells.
pub const REPORT_KEYS_MAX: usize = 32;
