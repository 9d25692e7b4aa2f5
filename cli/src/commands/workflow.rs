//! `shunt workflow …`: the verbs that `movetables` does not have.

pub(super) mod list;
pub(super) mod update;
