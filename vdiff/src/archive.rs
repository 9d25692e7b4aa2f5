//! Parquet: a table's rows at a known position, a table against such an archive, and all differences of a VDiff as a file.
//!
//! # One snapshot
//! Elsewhere shunt holds snapshots for parts of a second only. An archive is different: it is worth something only if all its rows
//! are of one moment that can be named, and an archive has no stream that could bring ranges read at different moments to one
//! position. So [`create`] reads the whole table in **one** consistent snapshot whose exact GTID position is known by the bracket of
//! `shunt_engine::mysql::snapshot`, and so does [`compare`]. What that costs: the server keeps old row versions, and an ALTER
//! of this table (and what queues behind it) waits, for as long as it takes. Help and README say so; the way out is to
//! read a replica. A server on which the position of a snapshot cannot be told (MySQL while something is being committed) is asked
//! again for a while; an archive without a position is never written.
//!
//! # What is in a file
//! Rows in the order of the table's key, in row groups that are bounded in rows and bytes, which bounds memory on both ways. Each
//! column in the type that [`convention`] states, the definition, the position and the conventions in the file's key-value
//! metadata ([`meta`]). Every value that is written can be read back to the same value, by the same two functions that a comparison
//! uses on both of its sides; one that could not be is an error, not an archive.
//!
//! A file is written under another name, synced, and renamed ([`mod@file`]): what has the name of an archive is whole.
//!
//! # How a table is compared with an archive
//! The archive's columns are taken as the definition of a target table, so that [`crate::pair`] finds the expressions that print the
//! live table's values in the archive's form. A row group's last key is a boundary; the live rows of `(last group's, this group's]` are read
//! and looked up among the group's keys and hashes. Where key order is known here that settles each key. Where only a server knows
//! it, two servers may order differently; then a row may turn up in another range than its archived one, so keys that
//! found no partner are gathered and settled in one more pass over the archive, with the live rows looked up by key in the same
//! snapshot. Two keys that differ in their bytes are two rows, also where a collation calls them equal.
//!
//! Nothing is looked at twice: the archive does not move, and the table is read at one position. A row that changed after the
//! archive's position *is* a difference.

pub mod calendar;
pub mod convention;

pub mod meta;
pub mod schema;

pub mod buffer;
pub mod file;
pub mod write;

pub mod create;

pub mod read;

pub mod findings;

pub mod compare;
