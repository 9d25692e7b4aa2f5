//! The copy phase: ranges are read in key order in short snapshots and written in one transaction each.
//!
//! Before this stands the stream, which opens and closes ranges (`ranges`); after it the target. Readers and writers are
//! lanes: tasks with one connection each. A reader asks the stream for work, reads a chunk under the bracket
//! (`mysql::snapshot`) into bounded memory and hands it to the stream; the stream closes the range and hands rows and buffer to a
//! writer. Neither ever waits for the other while a snapshot is open.

pub mod encode;
pub mod keyless;
pub mod keys;
pub mod queue;
pub mod reader;
pub mod sizer;
pub mod writer;
