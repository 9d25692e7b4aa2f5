//! Micro benches of the hot loops, each beside a peer or a limit in the same run: `cargo bench --package shunt-benches`.
//!
//! What is measured is what the released binary calls, over rows that sysbench wrote ([`recording`]). Throughput is in items
//! (row images, rows, statements, answers) and in bytes. A `limit` is what the same bytes cost if as good as nothing is done
//! with them; a `peer` is somebody else's code for the same work.

mod decode;
mod encode;
mod forward;
mod group;
mod hash;
mod recording;
mod route;

use std::time::Duration;

fn main() {
    // Long enough for the median to stand still on a busy machine, short enough for all of them to take a minute.
    let divan = divan::Divan::default().min_time(Duration::from_secs(1));
    divan.max_time(Duration::from_secs(3)).config_with_args().main();
}
