//! `SHOW VITESS_TABLETS`: the servers of all keyspaces.

use std::time::SystemTime;

use shunt_engine::mysql::server::Address;
use shunt_engine::routing::ServerType;

use crate::servers::Servers;

pub(crate) const COLUMNS: [&str; 8] = [
    "Cell",
    "Keyspace",
    "Shard",
    "TabletType",
    "State",
    "Alias",
    "Hostname",
    "PrimaryTermStartTime",
];

/// The rows: by keyspace, the primary first.
pub(crate) fn rows(servers: &Servers) -> Vec<Vec<Option<String>>> {
    let mut out = Vec::new();
    for (at, keyspace) in servers.keyspaces.iter().enumerate() {
        let primary = servers.primary(at);
        let mut members: Vec<_> = servers
            .members(at)
            .iter()
            .map(|member| {
                let is_primary = Some(member.server) == primary;
                let server_type = match member.server_type {
                    _ if is_primary => ServerType::Primary,
                    // One that is not in charge any more.
                    ServerType::Primary => ServerType::Replica,
                    other => other,
                };
                (server_type, member)
            })
            .collect();
        members.sort_by_key(|(server_type, member)| (*server_type, member.alias.clone()));
        for (server_type, member) in members {
            let health = servers.health(member.server);
            let serves = match server_type {
                ServerType::Primary => health.alive && !health.read_only,
                other => servers.serving(at, other).contains(&member.server),
            };
            let hostname = match &servers.config(member.server).address {
                Address::Tcp { host, .. } => host.clone(),
                Address::Unix(_) => "localhost".to_owned(),
            };
            let since = (server_type == ServerType::Primary).then_some(health.started).flatten();
            let cells = [
                "zone1".to_owned(),
                keyspace.name.clone(),
                "0".to_owned(),
                server_type.to_string().to_uppercase(),
                if serves { "SERVING" } else { "NOT_SERVING" }.to_owned(),
                member.alias.clone(),
                hostname,
                since.map(rfc3339).unwrap_or_default(),
            ];
            out.push(cells.map(Some).into());
        }
    }
    out
}

/// `2023-01-04T17:59:37Z`.
fn rfc3339(time: SystemTime) -> String {
    let seconds = time.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let (days, rest) = (seconds / 86_400, seconds % 86_400);
    // Years that begin in March, in cycles of 400.
    let days = days + 719_468;
    let (cycle, day) = (days / 146_097, days % 146_097);
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let of_year = day - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    let year = year + cycle * 400 + u64::from(month <= 2);
    format!(
        "{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}Z",
        rest / 3600,
        rest / 60 % 60,
        rest % 60
    )
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn times_are_written() {
        let at = |seconds| rfc3339(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds));
        assert_eq!(at(0), "1970-01-01T00:00:00Z");
        assert_eq!(at(1_672_855_177), "2023-01-04T17:59:37Z");
        assert_eq!(at(1_709_164_800), "2024-02-29T00:00:00Z");
    }
}
