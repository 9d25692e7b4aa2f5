//! What was typed: the command tree. Each verb's arguments are a struct that its file under `commands/` takes; a new verb
//! is a variant here, an arm in `commands`, and a file.

pub mod archive;
pub mod bench;
pub mod traffic;
pub mod values;
pub mod vdiff;
pub mod workflow;

use std::path::PathBuf;

use clap::{Parser, Subcommand};

use self::archive::Archive;
use self::traffic::RoutingRules;
use self::vdiff::Vdiff;
use self::workflow::{Movetables, Preflight, Workflow};
use crate::output::Format;

/// Moves tables between live MySQL and MariaDB servers.
#[derive(Debug, Parser)]
#[command(name = "shunt", version, propagate_version = true, arg_required_else_help = true)]
#[command(after_help = "Exit codes: 0 done, 1 failed, 2 usage, 3 differs, 4 unknown.")]
pub struct Args {
    /// Configuration file [default: $SHUNT_CONFIG, else ./shunt.toml]
    #[arg(long, global = true, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// The command.
    #[command(subcommand)]
    pub command: Command,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Keyspaces of the configuration
    #[command(subcommand)]
    Keyspace(Keyspace),
    /// Move tables from one keyspace to another
    #[command(subcommand)]
    Movetables(Movetables),
    /// Workflows of a keyspace
    #[command(subcommand)]
    Workflow(Workflow),
    /// Look for what would make a move wrong or stuck; changes nothing
    Preflight(Preflight),
    /// Say which privileges the accounts of the configuration lack
    Grants(Grants),
    /// Which keyspace a table's name means
    #[command(subcommand)]
    RoutingRules(RoutingRules),
    /// Compare tables row by row, and repair what differs
    #[command(subcommand)]
    Vdiff(Vdiff),
    /// Tables as Parquet files
    #[command(subcommand)]
    Archive(Archive),
    /// Measure how fast shunt is between two servers
    Bench(bench::Bench),
    /// Run all streams and VDiffs that should run and that no other process runs, and the gateway if one is configured
    Serve,
    /// Route the sessions of MySQL clients by the routing rules
    Gateway,
    /// Throw-away local servers
    #[command(subcommand)]
    Sandbox(Sandbox),
}

/// `shunt keyspace …`
#[derive(Debug, Subcommand)]
pub enum Keyspace {
    /// List keyspaces and their servers
    List(KeyspaceList),
}

/// `shunt keyspace list`
#[derive(Debug, clap::Args)]
pub struct KeyspaceList {
    /// Output format
    #[arg(long, value_enum, default_value_t)]
    pub format: Format,
}

/// `shunt grants`
#[derive(Debug, clap::Args)]
pub struct Grants {
    /// Keyspace that tables are moved from
    #[arg(long, value_name = "KEYSPACE")]
    pub source: String,
    /// Keyspace that they are moved to
    #[arg(long, value_name = "KEYSPACE")]
    pub target: String,
    /// Print all that is needed, also what the accounts have
    #[arg(long)]
    pub print: bool,
    /// For what
    #[arg(
        long = "for",
        value_enum,
        value_name = "WHAT,…",
        value_delimiter = ',',
        default_value = "move,foreign-keys,vdiff,switch,reverse,gateway"
    )]
    pub features: Vec<Feature>,
}

/// What privileges are for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Feature {
    /// Copying and following
    Move,
    /// The same, where tables have foreign keys
    ForeignKeys,
    /// Comparing and repairing
    Vdiff,
    /// Switching the traffic, and complete
    Switch,
    /// Replicating back, and switching back
    Reverse,
    /// Looking after the servers of a gateway
    Gateway,
}

impl From<Feature> for shunt_engine::preflight::needs::Feature {
    fn from(feature: Feature) -> Self {
        match feature {
            Feature::Move => Self::Move,
            Feature::ForeignKeys => Self::ForeignKeys,
            Feature::Vdiff => Self::Vdiff,
            Feature::Switch => Self::Switch,
            Feature::Reverse => Self::Reverse,
            Feature::Gateway => Self::Gateway,
        }
    }
}

/// `shunt sandbox …`
#[derive(Debug, Subcommand)]
pub enum Sandbox {
    /// Start servers and print a shunt.toml for them
    Start(SandboxStart),
    /// Show the servers
    Status(SandboxStatus),
    /// Shut servers down cleanly; their data stays
    Stop(SandboxNames),
    /// Kill servers and remove their data
    Destroy(SandboxNames),
}

/// `shunt sandbox start`
#[derive(Debug, clap::Args)]
pub struct SandboxStart {
    /// Keyspaces to start, each with a database of the same name
    #[arg(required = true, value_name = "NAME")]
    pub names: Vec<String>,
    /// Replicas of each [default: 0, or as it was made]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(..=9))]
    pub replicas: Option<u16>,
    /// Rdonly servers of each [default: 0, or as it was made]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(..=9))]
    pub rdonly: Option<u16>,
    /// Server program [default: the installed mariadbd]
    #[arg(long, value_name = "PATH")]
    pub mysqld: Option<PathBuf>,
    /// More server options; may be repeated
    #[arg(long = "option", value_name = "KEY=VALUE", value_parser = server_option)]
    pub options: Vec<(String, String)>,
    /// Where the sandboxes are kept.
    #[command(flatten)]
    pub place: SandboxPlace,
}

/// `shunt sandbox status`
#[derive(Debug, clap::Args)]
pub struct SandboxStatus {
    /// Keyspaces to show [default: all]
    #[arg(value_name = "NAME")]
    pub names: Vec<String>,
    /// Output format
    #[arg(long, value_enum, default_value_t)]
    pub format: Format,
    /// Where the sandboxes are kept.
    #[command(flatten)]
    pub place: SandboxPlace,
}

/// `shunt sandbox stop|destroy`
#[derive(Debug, clap::Args)]
pub struct SandboxNames {
    /// Keyspaces
    #[arg(required = true, value_name = "NAME")]
    pub names: Vec<String>,
    /// Where the sandboxes are kept.
    #[command(flatten)]
    pub place: SandboxPlace,
}

/// Where the sandboxes are kept.
#[derive(Debug, clap::Args)]
pub struct SandboxPlace {
    /// Folder of the sandboxes [default: $XDG_STATE_HOME/shunt/sandbox]
    #[arg(long, value_name = "DIR")]
    pub dir: Option<PathBuf>,
}

fn server_option(text: &str) -> Result<(String, String), String> {
    let text = text.trim_start_matches("--");
    let (key, value) = text.split_once('=').unwrap_or((text, ""));
    if key.is_empty() {
        return Err("a server option is key=value".to_owned());
    }
    Ok((key.to_owned(), value.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_tree_is_sound() {
        Args::command().debug_assert();
    }

    #[test]
    fn server_options_are_split_at_the_first_equals_sign() {
        let pair = |key: &str, value: &str| (key.to_owned(), value.to_owned());
        assert_eq!(server_option("sql-mode=a=b"), Ok(pair("sql-mode", "a=b")));
        assert_eq!(server_option("--skip-innodb"), Ok(pair("skip-innodb", "")));
        assert!(server_option("=1").is_err());
    }
}
