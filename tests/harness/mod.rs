//! Servers, tables, load and comparison for the suites.

pub(crate) mod compare;
pub(crate) mod load;
pub(crate) mod pair;
