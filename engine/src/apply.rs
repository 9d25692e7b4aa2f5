//! Transaction groups onto the target.
//!
//! Before this stands the stream, which decides what is applied and how far a group may reach; after it the target server.
//! A group merges whole source transactions. Each key keeps its last operation; the group becomes deletes, then upserts,
//! then the position, in one transaction under the stream's epoch. So the target is always at a real position of the
//! source.
//!
//! `group` merges; `upserts`, `in_place` and `runs` make statements: whole rows, columns of rows whose keys follow one another, deletes;
//! `statement` runs them and judges what the server says.
//!
//! Why deletes before upserts is right: every key that the group touches ends at its last full image or absent. Deletes
//! touch only keys that end absent (or, under a collation, a key that an upsert then writes again: 'a' deleted, 'A'
//! upserted). Upserts REPLACE, so a row that holds a unique value which moved to another row goes; if it still exists on the
//! source, it changed in the same group and is itself written. In what order does not matter. (Rows that are changed in place hold no
//! such value: `plan::in_place`.)

pub mod group;
mod in_place;
pub mod notes;
mod runs;
mod statement;
pub mod target;
pub mod touched;
mod upserts;
