//! What was typed of `shunt archive`.

use std::path::PathBuf;

use clap::Subcommand;

use crate::output::Format;

/// `shunt archive …`
#[derive(Debug, Subcommand)]
pub enum Archive {
    /// Write a table's rows at a known position to a Parquet file
    #[command(
        after_help = "All rows are read in one consistent snapshot, which stays open for the time of the archive: the server keeps old row\n\
                      versions, and an ALTER of this table waits. For a large table name a replica with --server.\n\
                      The file is DIR/TABLE.parquet; the position, the definition and how each type is written are in its metadata."
    )]
    Create(Create),
}

/// `shunt archive create`
#[derive(Debug, clap::Args)]
pub struct Create {
    /// Where the table is
    #[arg(value_name = "KEYSPACE")]
    pub keyspace: String,
    /// The table
    #[arg(value_name = "TABLE")]
    pub table: String,
    /// The folder of the archive; it is made if need be
    #[arg(long, value_name = "DIR")]
    pub to: PathBuf,
    /// Read this server of the keyspace, by its alias [default: the primary]
    #[arg(long, value_name = "ALIAS")]
    pub server: Option<String>,
    /// Output format
    #[arg(long, value_enum, default_value_t)]
    pub format: Format,
}
