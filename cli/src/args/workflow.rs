//! What was typed of the verbs on workflows.
#![allow(
    rustdoc::invalid_html_tags,
    reason = "these comments are help texts, where <name> is a placeholder"
)]

use std::time::Duration;

use clap::{ArgAction, Subcommand, ValueEnum};
use shunt_engine::workflow::spec::OnDdl;
use shunt_engine::workflow::verbs;

use super::traffic::{Complete, Leaks, Rehearse, Reopen, Switch};
use super::values::{WorkflowName, duration};
use crate::config::{Override, ServerType};
use crate::output::Format;

/// `shunt movetables …`
#[derive(Debug, Subcommand)]
pub enum Movetables {
    /// Create a workflow and run it here, or leave it to a worker
    Create(Create),
    /// Start a workflow, after it was stopped or failed
    Start(Start),
    /// Stop a workflow; start goes on where it was
    Stop(Named),
    /// Remove a workflow and what it made on the target
    Cancel(Cancel),
    /// Show a workflow as JSON
    Show(Named),
    /// Show in a line how far each stream is
    Progress(Named),
    /// Show tables, rows, lanes and lag
    Status(Status),
    /// Wait until a workflow has reached a stage
    Wait(Wait),
    /// Let the target take the traffic: reads, then writes
    Switchtraffic(Switch),
    /// Let the source take the traffic again
    Reversetraffic(Switch),
    /// Do all of a switch of the writes but the switch, and measure the pause
    Rehearse(Rehearse),
    /// Let the source take writes again after the target was lost for good: what was not replicated back is lost
    Reopen(Reopen),
    /// List what was written on a side while it was closed, and acknowledge it
    Leaks(Leaks),
    /// End a move whose traffic is all at the target
    Complete(Complete),
}

/// `shunt workflow …`
#[derive(Debug, Subcommand)]
pub enum Workflow {
    /// List the workflows of a keyspace
    List(List),
    /// Show a workflow as JSON
    Show(Named),
    /// Start a workflow, after it was stopped or failed
    Start(Start),
    /// Stop a workflow; start goes on where it was
    Stop(Named),
    /// Change what a workflow does about DDL, and its tunables
    Update(Update),
    /// Remove a workflow and what it made on the target
    Delete(Cancel),
}

/// Which tables are moved, from where to where, and how; what `create` and `preflight` have in common.
#[derive(Debug, clap::Args)]
pub struct Selection {
    /// <target keyspace>.<name>
    #[arg(value_name = "WORKFLOW")]
    pub workflow: WorkflowName,
    /// Keyspace that the tables are in
    #[arg(long, value_name = "KEYSPACE")]
    pub source: String,
    /// Tables to move
    #[arg(
        long,
        value_name = "TABLE,…",
        value_delimiter = ',',
        required_unless_present = "all_tables"
    )]
    pub tables: Vec<String>,
    /// Move all tables of the source
    #[arg(long, conflicts_with = "tables")]
    pub all_tables: bool,
    /// Tables that stay
    #[arg(long, value_name = "TABLE,…", value_delimiter = ',', requires = "all_tables")]
    pub exclude_tables: Vec<String>,
    /// Server to read from
    #[arg(long, value_enum, value_name = "TYPE", default_value = "primary")]
    pub source_server_type: ServerType,
    /// Build keys that are not unique after the copy
    #[arg(long, value_name = "BOOL", action = ArgAction::Set, num_args = 0..=1, require_equals = true,
          default_value = "true", default_missing_value = "true")]
    pub defer_secondary_keys: bool,
    /// What is done about DDL on a moved table: STOP, IGNORE, EXEC or EXEC_IGNORE
    #[arg(long, value_name = "WHAT", default_value = "STOP")]
    pub on_ddl: OnDdl,
    /// Stop when all is copied and caught up
    #[arg(long)]
    pub stop_after_copy: bool,
    /// Move tables without a key that are larger than 1 GiB: each is copied in one transaction
    #[arg(long)]
    pub allow_large_keyless: bool,
    /// Settings for this workflow alone
    #[arg(long, value_name = "KEY=VALUE,…", value_delimiter = ',')]
    pub config_overrides: Vec<Override>,
    /// Output format
    #[arg(long, value_enum, default_value_t)]
    pub format: Format,
}

/// `shunt movetables create`
#[derive(Debug, clap::Args)]
pub struct Create {
    /// What is moved.
    #[command(flatten)]
    pub selection: Selection,
    /// Leave it to a running `shunt serve`
    #[arg(long)]
    pub detach: bool,
    /// Run it at once
    #[arg(long, value_name = "BOOL", action = ArgAction::Set, num_args = 0..=1, require_equals = true,
          default_value = "true", default_missing_value = "true")]
    pub auto_start: bool,
    /// Leave the routing rules alone; clients are switched by other means
    #[arg(long)]
    pub no_routing_rules: bool,
    /// Say what would be done, and do nothing
    #[arg(long)]
    pub dry_run: bool,
}

/// `shunt preflight`
#[derive(Debug, clap::Args)]
pub struct Preflight {
    /// What is to be moved.
    #[command(flatten)]
    pub selection: Selection,
}

/// A verb that takes a workflow and nothing else.
#[derive(Debug, clap::Args)]
pub struct Named {
    /// <target keyspace>.<name>
    #[arg(value_name = "WORKFLOW")]
    pub workflow: WorkflowName,
}

/// `shunt movetables start`
#[derive(Debug, clap::Args)]
pub struct Start {
    /// <target keyspace>.<name>
    #[arg(value_name = "WORKFLOW")]
    pub workflow: WorkflowName,
    /// Run it here until it is stopped
    #[arg(long)]
    pub foreground: bool,
}

/// `shunt movetables cancel`, `shunt workflow delete`
#[derive(Debug, clap::Args)]
pub struct Cancel {
    /// <target keyspace>.<name>
    #[arg(value_name = "WORKFLOW")]
    pub workflow: WorkflowName,
    /// Leave the tables on the target as they are
    #[arg(long)]
    pub keep_data: bool,
    /// Say what would be done, and do nothing
    #[arg(long)]
    pub dry_run: bool,
}

/// `shunt movetables status`
#[derive(Debug, clap::Args)]
pub struct Status {
    /// <target keyspace>.<name>
    #[arg(value_name = "WORKFLOW")]
    pub workflow: WorkflowName,
    /// Output format
    #[arg(long, value_enum, default_value_t)]
    pub format: Format,
}

/// `shunt movetables wait`
#[derive(Debug, clap::Args)]
pub struct Wait {
    /// <target keyspace>.<name>
    #[arg(value_name = "WORKFLOW")]
    pub workflow: WorkflowName,
    /// What to wait for
    #[arg(long = "for", value_enum, value_name = "WHAT")]
    pub until: Until,
    /// For how long at most: 30s, 10m, 1h
    #[arg(long, value_name = "TIME", default_value = "10m", value_parser = duration)]
    pub timeout: Duration,
}

/// `--for`
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Until {
    /// All rows are copied
    Copied,
    /// The target is equal to the source at the stream's position
    Running,
    /// All that the source has committed by now is applied
    CaughtUp,
}

impl From<Until> for verbs::WaitFor {
    fn from(until: Until) -> Self {
        match until {
            Until::Copied => Self::Copied,
            Until::Running => Self::Running,
            Until::CaughtUp => Self::CaughtUp,
        }
    }
}

/// `shunt workflow list`
#[derive(Debug, clap::Args)]
pub struct List {
    /// Keyspace that the workflows move tables to
    #[arg(value_name = "KEYSPACE")]
    pub keyspace: String,
    /// Output format
    #[arg(long, value_enum, default_value_t)]
    pub format: Format,
}

/// `shunt workflow update`
#[derive(Debug, clap::Args)]
pub struct Update {
    /// <target keyspace>.<name>
    #[arg(value_name = "WORKFLOW")]
    pub workflow: WorkflowName,
    /// What is done about DDL on a moved table: STOP, IGNORE, EXEC or EXEC_IGNORE
    #[arg(long, value_name = "WHAT", required_unless_present_any = ["config_overrides", "adopt_topology"])]
    pub on_ddl: Option<OnDdl>,
    /// Settings for this workflow alone
    #[arg(long, value_name = "KEY=VALUE,…", value_delimiter = ',')]
    pub config_overrides: Vec<Override>,
    /// Its traffic is switched under this configuration's topology from now on; the one that it was made under is lost for good, and
    /// no gateway or worker has it open any more
    #[arg(long)]
    pub adopt_topology: bool,
}
