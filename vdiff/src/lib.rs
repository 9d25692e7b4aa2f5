//! VDiff: proves that a table on the target is what it must be, finds the rows that are not, and repairs them.
//!
//! Two live tables are read in ranges of their key, many at once, without a lock and without a pause. A range is first
//! folded into a checksum on both sides ([`fold`]); one whose checksums differ is read by rows ([`narrow`]), and each key that
//! differs there is looked at again until it is equal or proven different ([`looks`]). Why that is right on tables that change
//! all the time is argued in [`sides`].
//!
//! Modules in reading order; each one's first lines say what comes before and after it.

pub mod limits;
pub mod spec;

pub mod columns;
pub(crate) mod condition;
mod definitions;
pub mod frame;
mod keys;
pub mod pair;

pub mod hash;
pub mod sides;

mod explain;
pub mod finder;
pub mod fold;
pub mod narrow;
pub mod touched;

mod hot;

pub mod keyless;
pub mod lane;
pub mod looks;
mod lookup;
mod net;
mod seen;
mod twice;
mod waiting;

pub mod date;
pub mod ledger;
pub mod report;
mod state;
pub mod store;

pub mod fix;
mod fixable;
mod mend;
pub mod run;
pub mod table;

pub mod workflow;

pub mod archive;
