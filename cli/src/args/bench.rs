//! What was typed of `shunt bench`.

use crate::output::Format;

/// `shunt bench`
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Tables of sysbench's shape are made in databases of their own, shunt_bench_source and shunt_bench_target, on the primaries of the two\n\
                  keyspaces, moved, changed, followed and compared; then both databases are dropped. The accounts need what a move needs, and may\n\
                  create and drop these. It loads both servers and writes their binlogs: replicas get all of it too."
)]
pub struct Bench {
    /// Keyspace whose primary is copied from
    #[arg(long, value_name = "KEYSPACE")]
    pub source: String,
    /// Keyspace whose primary is copied to
    #[arg(long, value_name = "KEYSPACE")]
    pub target: String,
    /// Tables
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..=64))]
    pub tables: u32,
    /// Rows of each
    #[arg(long, value_name = "N", default_value_t = 500_000, value_parser = clap::value_parser!(u64).range(1_000..=1_000_000_000))]
    pub rows: u64,
    /// Output format
    #[arg(long, value_enum, default_value_t)]
    pub format: Format,
}
