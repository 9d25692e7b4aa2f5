//! Server variables that decide whether the source's binlog tells everything.

use super::facts::{Facts, Server};
use super::{Finding, Level, Side};
use crate::mysql::server::{Flavor, Version};

/// Binlogs kept for less than this are likely to be gone before a large copy ends.
const RETENTION_S_MIN: u64 = 24 * 3600;

fn source(level: Level, subject: &str, reason: impl Into<String>) -> Finding {
    Finding::new(level, Side::Source, subject, reason)
}

/// Versions whose binlog and snapshots the engine knows.
pub(super) fn server_versions(facts: &Facts) -> Vec<Finding> {
    let sides = [(Side::Source, &facts.source), (Side::Target, &facts.target)];
    let too_old = |server: &Server| match server.info.flavor {
        Flavor::MySql => server.info.version < Version(5, 6, 5),
        Flavor::MariaDb => server.info.version < Version(10, 2, 0),
    };
    let old = sides.into_iter().filter(|(_, server)| too_old(server));
    old.map(|(side, server)| {
        let reason = format!(
            "The server is version {}; MySQL 5.6.5 and MariaDB 10.2 are the oldest whose GTIDs can be followed.",
            server.info.version
        );
        Finding::new(Level::Error, side, "version", reason)
    })
    .collect()
}

/// Without a binlog there is nothing to follow.
pub(super) fn binlog_enabled(facts: &Facts) -> Vec<Finding> {
    if facts.source.is_on("log_bin") {
        return Vec::new();
    }
    let reason = "The binlog is off: changes made during the copy could not be followed. Start the server with log_bin.";
    vec![source(Level::Error, "log_bin", reason)]
}

/// Statements cannot be followed, rows can.
pub(super) fn binlog_format(facts: &Facts) -> Vec<Finding> {
    let format = facts.source.variable("binlog_format");
    // MySQL 9 may have no other format and no variable.
    if format.is_empty() || format == "ROW" {
        return Vec::new();
    }
    let reason = format!(
        "binlog_format is {format}: statements do not say which rows they changed. Sessions keep the old format until they reconnect."
    );
    vec![source(Level::Error, "binlog_format", reason).fix("SET GLOBAL binlog_format = 'ROW'")]
}

/// A change must carry the whole row, or it cannot be laid over a copied one.
pub(super) fn binlog_row_image(facts: &Facts) -> Vec<Finding> {
    let image = facts.source.variable("binlog_row_image");
    if image.is_empty() || image == "FULL" {
        return Vec::new();
    }
    let reason = format!(
        "binlog_row_image is {image}: changes do not carry whole rows. Sessions keep the old value until they reconnect."
    );
    vec![
        source(Level::Error, "binlog_row_image", reason)
            .fix("SET GLOBAL binlog_row_image = 'FULL'"),
    ]
}

/// Partial JSON says how a document changed and not what it is.
pub(super) fn binlog_row_value_options(facts: &Facts) -> Vec<Finding> {
    let options = facts.source.variable("binlog_row_value_options");
    if options.is_empty() {
        return Vec::new();
    }
    let reason = format!(
        "binlog_row_value_options is {options}: updates of JSON do not carry the whole document."
    );
    vec![
        source(Level::Error, "binlog_row_value_options", reason)
            .fix("SET GLOBAL binlog_row_value_options = ''"),
    ]
}

/// What a filter leaves out never reaches the binlog.
pub(super) fn binlog_filters(facts: &Facts) -> Vec<Finding> {
    match &facts.source.binlog_filters {
        None => vec![source(
            Level::NotChecked,
            "binlog_do_db",
            "The binlog's filters cannot be seen with this account; a filtered change would be missed.",
        )],
        Some(filters) if filters.is_empty() => Vec::new(),
        Some(filters) => vec![source(
            Level::Error,
            "binlog_do_db, binlog_ignore_db",
            format!(
                "The binlog is filtered ({filters}): changes of other databases, or made from them, never reach it. Remove binlog_do_db and binlog_ignore_db from the server's configuration and restart it."
            ),
        )],
    }
}

/// A binlog inside InnoDB (MariaDB 12.3) has no file positions, which the bracket compares.
pub(super) fn binlog_storage(facts: &Facts) -> Vec<Finding> {
    let engine = facts.source.variable("binlog_storage_engine");
    if engine.is_empty() {
        return Vec::new();
    }
    let reason = format!(
        "binlog_storage_engine is {engine}: such a binlog has no file positions to order snapshots by. Start the server without it."
    );
    vec![source(Level::Error, "binlog_storage_engine", reason)]
}

/// A server without an id serves no binlog.
pub(super) fn server_id(facts: &Facts) -> Vec<Finding> {
    if facts.source.variable("server_id") != "0" {
        return Vec::new();
    }
    let reason = "server_id is 0: the server refuses to send its binlog. Give it an id that no other server of its replication has, in \
                  its configuration as well: SET GLOBAL is forgotten at a restart.";
    vec![source(Level::Error, "server_id", reason)]
}

/// Positions are GTID sets.
pub(super) fn gtid_mode(facts: &Facts) -> Vec<Finding> {
    if facts.source.info.flavor != Flavor::MySql {
        return Vec::new();
    }
    // No statement to paste: with a step left out, or taken here before it is on the replicas, they stop replicating.
    let advice = if facts.source.info.version >= Version(5, 7, 6) {
        "On a running topology each step is taken on all servers before the next one: enforce_gtid_consistency = WARN (mend what the error log \
         then names), ON; gtid_mode = OFF_PERMISSIVE, ON_PERMISSIVE, and ON when every Ongoing_anonymous_transaction_count is 0 and the \
         replicas have caught up. Write both into the configuration."
    } else {
        "Before 5.7.6 all servers of the topology are restarted with both in their configuration."
    };
    let mut findings = Vec::new();
    for name in ["enforce_gtid_consistency", "gtid_mode"] {
        if !facts.source.is_on(name) {
            let value = facts.source.variable(name);
            let reason =
                format!("{name} is {value}: transactions have no GTID to be followed by. {advice}");
            findings.push(source(Level::Error, name, reason));
        }
    }
    findings
}

/// Without strict mode a GTID may be used twice on MariaDB.
pub(super) fn gtid_strict_mode(facts: &Facts) -> Vec<Finding> {
    let source_server = &facts.source;
    if source_server.info.flavor != Flavor::MariaDb || source_server.is_on("gtid_strict_mode") {
        return Vec::new();
    }
    let reason = "gtid_strict_mode is OFF: a write on a replica or a failover can give a GTID twice, and a position would then not say which of the two it means.";
    vec![source(Level::Warning, "gtid_strict_mode", reason).fix("SET GLOBAL gtid_strict_mode = ON")]
}

/// A replica that does not log what it applies has an incomplete binlog.
pub(super) fn log_slave_updates(facts: &Facts) -> Vec<Finding> {
    let server = &facts.source;
    let logs = server.is_on("log_slave_updates") || server.is_on("log_replica_updates");
    match server.replica_channels {
        Some(0) => Vec::new(),
        _ if logs => Vec::new(),
        None => vec![source(
            Level::NotChecked,
            "log_slave_updates",
            "Whether the server is a replica cannot be seen with this account, and it does not log what it applies.",
        )],
        Some(_) => vec![source(
            Level::Error,
            "log_slave_updates",
            "The server is a replica and log_slave_updates is OFF: what it applies is not in its binlog. Start it with log_slave_updates, or read from its primary.",
        )],
    }
}

/// Rows that come in by replication pass every fence.
pub(super) fn upstream(facts: &Facts) -> Vec<Finding> {
    if facts.source.replica_channels.unwrap_or(0) == 0 {
        return Vec::new();
    }
    let reason = "The server is itself a replica. It can be read from; but the writes of a keyspace are only switched away from a primary that takes no rows by replication: if this is the primary, the switch will be refused until its channel is removed.";
    vec![source(Level::Warning, "replica status", reason)]
}

/// Without ordered commits MariaDB's snapshot position does not say what the snapshot sees.
pub(super) fn thread_scheduling(facts: &Facts) -> Vec<Finding> {
    if facts.source.variable("binlog_optimize_thread_scheduling") != "OFF" {
        return Vec::new();
    }
    let reason = "binlog_optimize_thread_scheduling is OFF: transactions may become visible in another order than the binlog's, so no snapshot can be placed in it. Start the server without that setting.";
    vec![source(Level::Error, "binlog_optimize_thread_scheduling", reason)]
}

/// Several writers that certify each other order commits in ways that one binlog does not show.
pub(super) fn cluster(facts: &Facts) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (side, server) in [(Side::Source, &facts.source), (Side::Target, &facts.target)] {
        if server.is_on("wsrep_on") {
            let reason = "The server is a Galera node (wsrep_on): its commits are certified by other nodes and may be rolled back after a COMMIT was sent.";
            findings.push(Finding::new(Level::Error, side, "wsrep_on", reason));
        }
        let grouped = !server.variable("group_replication_group_name").is_empty();
        if grouped && server.variable("group_replication_single_primary_mode") == "OFF" {
            let reason = "The server is in a multi-primary replication group: rows may be written on several servers at once.";
            findings.push(
                Finding::new(Level::Error, side, "group_replication_single_primary_mode", reason)
                    .fix("SELECT group_replication_switch_to_single_primary_mode()"),
            );
        }
    }
    findings
}

/// A binlog that is purged before it was read ends the move.
pub(super) fn retention(facts: &Facts) -> Vec<Finding> {
    let server = &facts.source;
    let held = server.binlogs.map_or(String::new(), |(files, bytes)| {
        format!(" It holds {files} binlog files of {} MiB together now.", bytes >> 20)
    });
    let mut findings = Vec::new();
    let seconds: u64 = server.variable("binlog_expire_logs_seconds").parse().unwrap_or(0);
    let days: f64 = server.variable("expire_logs_days").parse().unwrap_or(0.0);
    let by_days = std::time::Duration::try_from_secs_f64(days * 86_400.0).unwrap_or_default();
    let kept_s = if seconds > 0 { seconds } else { by_days.as_secs() };
    if kept_s > 0 && kept_s < RETENTION_S_MIN {
        let reason = format!(
            "Binlogs are purged after {kept_s} s: a copy or a pause longer than that loses its place and must start again.{held}"
        );
        let (name, value) = if seconds > 0 {
            ("binlog_expire_logs_seconds", RETENTION_S_MIN * 7)
        } else {
            ("expire_logs_days", 7)
        };
        findings
            .push(source(Level::Warning, name, reason).fix(format!("SET GLOBAL {name} = {value}")));
    }
    let total: u64 = server.variable("max_binlog_total_size").parse().unwrap_or(0);
    if total > 0 {
        let reason = format!(
            "Binlogs are purged beyond {} MiB together: a copy during which more is written loses its place.{held}",
            total >> 20
        );
        findings.push(source(Level::Warning, "max_binlog_total_size", reason));
    }
    findings
}

/// A crash of a server that does not sync can take back what was already followed.
pub(super) fn durability(facts: &Facts) -> Vec<Finding> {
    let mut findings = Vec::new();
    for name in ["sync_binlog", "innodb_flush_log_at_trx_commit"] {
        let value = facts.source.variable(name);
        if value == "1" {
            continue;
        }
        let reason = format!(
            "{name} is {value}: a crash of the source's machine can lose transactions that were already followed, and reuse their GTIDs."
        );
        findings.push(source(Level::Warning, name, reason).fix(format!("SET GLOBAL {name} = 1")));
    }
    findings
}
