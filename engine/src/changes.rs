//! The source's changes as whole transactions, closed at their GTID.
//!
//! Before this stands the binlog (`mysql::wire` for the bytes, `mysql::binlog` for the events); after it the stream, which
//! routes every row operation. [`Assembler`] is pure: events in, items out. [`reader`] is the task around it.
//!
//! Invariants:
//! - Items come in binlog order, and every transaction of the source is one, also those that touch no moved table: the
//!   stream's position is made of them.
//! - A transaction is handed on when its commit has been read, except that one larger than
//!   [`TRANSACTION_BYTES_MAX`](crate::limits::TRANSACTION_BYTES_MAX) is handed on in parts, its position last.
//! - What is not understood is an error; no event that may concern a moved table is passed over.

mod assembler;
pub mod ddl;
mod legible;
pub mod lexer;
pub mod reader;
mod stable;
pub mod statement;
mod transaction;

pub use assembler::{Assembler, Followed};
#[cfg(test)]
pub(crate) use transaction::push_row_ops;
pub use transaction::{Item, Op, Row, RowOp, Transaction, Work};
