//! What was typed of the verbs on traffic.
#![allow(
    rustdoc::invalid_html_tags,
    reason = "these comments are help texts, where <name> is a placeholder"
)]

use std::path::PathBuf;
use std::time::Duration;

use clap::{ArgAction, Subcommand};

use super::values::{WorkflowName, duration};
use crate::config::ServerType;
use crate::output::Format;

/// `shunt movetables switchtraffic|reversetraffic`
#[derive(Debug, clap::Args)]
pub struct Switch {
    /// <target keyspace>.<name>
    #[arg(value_name = "WORKFLOW")]
    pub workflow: WorkflowName,
    /// Which traffic
    #[arg(
        long,
        value_enum,
        value_name = "TYPE,…",
        value_delimiter = ',',
        default_value = "rdonly,replica,primary"
    )]
    pub tablet_types: Vec<ServerType>,
    /// How a switch of the writes is done.
    #[command(flatten)]
    pub pause: Pause,
    /// Replicate what is written on the new side back
    #[arg(long, value_name = "BOOL", action = ArgAction::Set, num_args = 0..=1, require_equals = true,
          default_value = "true", default_missing_value = "true")]
    pub enable_reverse_replication: bool,
    /// Switch even if no worker runs the reverse stream, if servers that are to be read are unreachable or too far behind, or if
    /// leaks are not acknowledged (writes to a closed side, which no stream carries over and which are then lost). Never skips the
    /// fence or the wait for open transactions
    #[arg(long)]
    pub force: bool,
    /// Say what would be done and what would break, and do nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Output format
    #[arg(long, value_enum, default_value_t)]
    pub format: Format,
}

/// What stops the writes of the side that closes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum FenceKind {
    /// Triggers on the moved tables
    #[default]
    Row,
    /// Not built: table locks end with their connection, and nothing would keep the side closed
    Locks,
    /// Not built: nothing would open the server again if the command dies
    ReadOnly,
    /// The command of the configuration's hooks, before the step `pause`
    External,
}

/// How long what may take.
#[derive(Debug, clap::Args)]
pub struct Pause {
    /// For how long writes may be held up at most; else all is taken back
    #[arg(long, value_name = "TIME", default_value = "2s", value_parser = duration)]
    pub max_pause: Duration,
    /// How long preparing may take
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = duration)]
    pub timeout: Duration,
    /// How far behind the other side may be
    #[arg(long, value_name = "TIME", default_value = "1s", value_parser = duration)]
    pub max_replication_lag_allowed: Duration,
    /// Clients connect to the servers directly; the fence alone stops them
    #[arg(long)]
    pub no_gateway: bool,
    /// What stops the writes
    #[arg(long, value_enum, value_name = "KIND", default_value_t)]
    pub fence: FenceKind,
}

/// `shunt movetables rehearse`
#[derive(Debug, clap::Args)]
pub struct Rehearse {
    /// <target keyspace>.<name>
    #[arg(value_name = "WORKFLOW")]
    pub workflow: WorkflowName,
    /// How it is done.
    #[command(flatten)]
    pub pause: Pause,
    /// Output format
    #[arg(long, value_enum, default_value_t)]
    pub format: Format,
}

/// `shunt movetables reopen`
#[derive(Debug, clap::Args)]
pub struct Reopen {
    /// <target keyspace>.<name>
    #[arg(value_name = "WORKFLOW")]
    pub workflow: WorkflowName,
    /// Do it; without this, say what would be lost
    #[arg(long)]
    pub yes: bool,
    /// The topology that the workflow was made under is lost, too, and no gateway or worker has it open any more
    #[arg(long)]
    pub adopt_topology: bool,
}

/// `shunt movetables leaks`
#[derive(Debug, clap::Args)]
pub struct Leaks {
    /// <target keyspace>.<name>
    #[arg(value_name = "WORKFLOW")]
    pub workflow: WorkflowName,
    /// Mark these GTIDs, or `all` that are listed now, as handled
    #[arg(long, value_name = "GTID,…", value_delimiter = ',')]
    pub acknowledge: Vec<String>,
    /// Output format
    #[arg(long, value_enum, default_value_t)]
    pub format: Format,
}

/// `shunt movetables complete`
#[derive(Debug, clap::Args)]
pub struct Complete {
    /// <target keyspace>.<name>
    #[arg(value_name = "WORKFLOW")]
    pub workflow: WorkflowName,
    /// Leave the source's tables as they are, closed to writes
    #[arg(long, conflicts_with = "drop_tables")]
    pub keep_data: bool,
    /// Drop the source's tables instead of renaming them
    #[arg(long)]
    pub drop_tables: bool,
    /// Leave the routing rules as they are
    #[arg(long)]
    pub keep_routing_rules: bool,
    /// How long to wait for the source's tables
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = duration)]
    pub timeout: Duration,
    /// Say what would be done, and do nothing
    #[arg(long)]
    pub dry_run: bool,
}

/// `shunt routing-rules …`
#[derive(Debug, Subcommand)]
pub enum RoutingRules {
    /// Print the rules as JSON
    Get,
    /// Replace all rules
    Apply(ApplyRules),
}

/// `shunt routing-rules apply`
#[derive(Debug, clap::Args)]
pub struct ApplyRules {
    /// The rules as JSON
    #[arg(
        long,
        value_name = "JSON",
        required_unless_present = "rules_file",
        conflicts_with = "rules_file"
    )]
    pub rules: Option<String>,
    /// A file with the rules as JSON
    #[arg(long, value_name = "FILE")]
    pub rules_file: Option<PathBuf>,
    /// Check them, print them, and change nothing
    #[arg(long)]
    pub dry_run: bool,
}
