//! The suites, a line on each. Every test has its own servers (`harness`), waits on events, and judges equality by what
//! the servers' own clients print, never by shunt's word.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

/// Tables as Parquet files, and against them.
mod archive;
/// How fast a user finds it to be.
mod bench;
/// What a snapshot of MySQL 5.6 contains.
mod bracket;
/// Moves under writes: keys of all kinds, names of all kinds.
mod copy;
/// Switching the writes, to and fro.
mod cutover;
/// Crashes, cuts and races, with the real binary.
mod faults;
/// Clients behind a gateway, by rules and during switches.
mod gateway;
/// The seed guide from start to end, and a bank behind two gateways that is moved while it is open.
mod guide;
/// Servers, tables, load, comparison.
mod harness;
/// Rows that are changed where they are.
mod in_place;
/// Keys that are built after the copy.
mod keys;
/// Large transactions, large rows, and how much memory they take.
mod large;
/// The seed guide's tables, and larger ones, from MySQL 5.6 to MariaDB.
mod mysql56;
/// Two spellings of one name.
mod names;
/// Groups of changes that execute beside each other.
mod overlap;
/// Whose a table is.
mod owners;
/// A position while the source commits and begins new binlog files.
mod positions;
/// Random tables under random transactions.
mod random;
/// What `shunt serve` cannot look after, and what it does all the same.
mod serve;
/// What stops a stream, and what it says then.
mod stops;
/// The copy slows down and says why.
mod throttle;
/// Tables compared while they are written: what differs is found, nothing else, and mended.
mod vdiff;
/// Every column type, bit by bit, between every pair of servers.
mod zoo;
