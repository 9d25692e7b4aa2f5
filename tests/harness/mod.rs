//! Servers, tables, load and comparison for the suites.

pub(crate) mod binary;
pub(crate) mod binlog;
pub(crate) mod cells;
pub(crate) mod compare;
pub(crate) mod gate;
pub(crate) mod load;
pub(crate) mod pair;
pub(crate) mod proxy;
pub(crate) mod routed;
pub(crate) mod shell;
pub(crate) mod site;
pub(crate) mod soak;
pub(crate) mod switches;
pub(crate) mod until;
pub(crate) mod writers;
