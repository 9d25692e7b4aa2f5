//! The binlog as bytes: one event in, one decoded [`Event`] out. No I/O, and no waiting.
//!
//! Before it stands the connection that asks for the dump and takes the network's framing off; after it stands whoever
//! gathers events into transactions. Rows are not copied and not even looked at until somebody asks for them: a
//! [`RowsEvent`] is its header and a slice, so that rows of tables that are not moved cost nothing.
//!
//! Reading order: [`event`] (what there is), [`decoder`] (checksums, table maps, the one list of what is understood),
//! [`table_map`] (which of them are good: `table_maps`), [`rows`] (row images and their cells), [`value`] (a cell's value and its SQL literal).
//!
//! Invariants: bytes from the wire never panic, and lengths in them never size an allocation unchecked. An event that is
//! not understood is an error; only those that the server itself marks as ignorable are passed on as such.

mod compress;
mod cursor;
pub mod decoder;
mod description;
pub mod event;
mod gtid_event;
mod query;
pub mod rows;
pub mod table_map;
mod table_maps;
mod temporal;
pub mod value;

pub use decoder::Decoder;
pub use event::{Event, EventBody, EventHeader, GtidEvent, QueryEvent};
pub use rows::{Bitmap, RowChange, RowImage, RowsEvent, RowsKind};
pub use table_map::{ColumnType, TableMap};
pub use value::{SmallText, Value};
