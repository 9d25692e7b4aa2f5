//! `shunt vdiff …`: what its verbs share.

mod archive;
pub(super) mod create;
pub(super) mod display;
mod here;
pub(super) mod run;
mod server;
pub(super) mod show;
pub(super) mod verbs;

use shunt_vdiff::report::Record;

use crate::exit::Exit;

/// How a VDiff that has ended counts: what was repaired no longer differs.
pub(super) fn exit_of(record: &Record) -> Exit {
    let left: u64 = record
        .tables
        .iter()
        .map(|t| (t.mismatched + t.extra_source + t.extra_target).saturating_sub(t.repaired))
        .sum();
    if left > 0 {
        Exit::Differs
    } else if record.unsettled() {
        Exit::Unknown
    } else {
        Exit::Done
    }
}
