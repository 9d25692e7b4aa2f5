//! Where the traffic of a move is: from fences, switch rows and rules together.

use super::namesake;
use super::sides::Sides;
use crate::error::Result;
use crate::routing::{RoutingRules, RuleName, ServerType, Side, TableName, document};
use crate::sidecar::fence::{self, FenceState};
use crate::sidecar::switch;
use crate::topology::Store;
use crate::topology::locks::{self, Locks};

/// Where the traffic of a move is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Traffic {
    /// The side whose primary takes the writes: the fences say so.
    pub writes: Side,
    /// The side that replica reads are led to, where rules say.
    pub replica: Option<Side>,
    /// The side that rdonly reads are led to, where rules say.
    pub rdonly: Option<Side>,
    /// The side that a primary's traffic is led to, where rules say.
    pub led: Option<Side>,
    /// A rule of its tables that leads to the source; of writes, if there is one. Tables may disagree, by `routing-rules apply`.
    pub to_source: Option<String>,
    /// Whether rules are to lead the tables, though none may be there.
    pub routed: bool,
    /// The generation of a switch that is not settled.
    pub unsettled: Option<u64>,
    /// Whether each side refuses client writes now: source, target.
    pub refuses: [bool; 2],
}

/// Asks both sides and the topology.
///
/// # Errors
/// Of the connections or the store.
pub async fn read(sides: &Sides, store: &dyn Store) -> Result<Traffic> {
    let mut closed = [false; 2];
    let mut refuses = [false; 2];
    let mut unsettled = None;
    for (at, place) in [&sides.source, &sides.target].into_iter().enumerate() {
        let mut control = place.connect().await?;
        // What another move of this name has there says nothing about this one.
        if place.side == Side::Source && namesake::find(&mut control, &sides.spec).await?.is_some()
        {
            control.close().await;
            continue;
        }
        if let Some(row) = fence::read(&mut control, &place.incoming).await? {
            closed[at] = row.state == FenceState::Closed;
            refuses[at] = row.refuses;
        }
        let row = switch::read(&mut control, &place.incoming).await?;
        unsettled = row.filter(|row| !row.settled).map(|row| row.generation).max(unsettled);
        control.close().await;
    }
    let (_, rules) = document::read(store).await?;
    let moved = sides.moved();
    Ok(Traffic {
        // The source is closed for good from the point of no return on.
        writes: if closed[0] { Side::Target } else { Side::Source },
        replica: moved.reads_at(&rules, ServerType::Replica),
        rdonly: moved.reads_at(&rules, ServerType::Rdonly),
        led: moved.writes_at(&rules),
        to_source: rule_to(sides, &rules, Side::Source, &[ServerType::Primary])
            .or_else(|| rule_to(sides, &rules, Side::Source, &ServerType::READS)),
        routed: sides.is_routed(&rules),
        unsettled,
        refuses,
    })
}

/// The first rule of the move's names, for servers of these types, that leads to its table on a side. One is enough for a client to come
/// there, whatever the other tables' rules say.
pub fn rule_to(
    sides: &Sides,
    rules: &RoutingRules,
    side: Side,
    types: &[ServerType],
) -> Option<String> {
    let (source, target) = (&sides.source.keyspace, &sides.target.keyspace);
    let leads_there = |(name, to): &(&RuleName, &TableName)| {
        name.keyspace.as_ref().is_none_or(|one| one == source || one == target)
            && name.table == to.table
            && types.contains(&name.server_type)
            && to.keyspace == sides.place(side).keyspace
            && sides.spec.tables.contains(&to.table)
    };
    rules.iter().find(leads_there).map(|(name, _)| name.to_string())
}

/// Why the stream into the source is frozen though the target takes the writes, and what is to be done: a `complete` was begun, and has
/// not come to its end.
pub fn half_completed(sides: &Sides) -> (String, String) {
    let name = sides.spec.name();
    (
        format!(
            "`complete` of {name} was begun and did not end: the stream into the source, {}, is frozen, and what is written at the target is not replicated back any more",
            sides.source.incoming
        ),
        format!(
            "Give `shunt movetables complete {name}` again. Where it is refused or fails before it has removed anything, the stream goes on, and the traffic can be reversed."
        ),
    )
}

/// Leads the rules of a primary's traffic to a side, which must be the one that takes the writes. They are derived from the fences:
/// what they say themselves may be of another time, when the topology was restored from a backup.
///
/// # Errors
/// Of the store, or LeaseLost.
pub async fn lead_writes(sides: &Sides, store: &dyn Store, locks: &Locks, to: Side) -> Result<()> {
    let moved = sides.moved();
    document::change_as(store, &locks.workflow, locks::TTL, |rules| {
        moved.lead_writes(rules, to);
        Ok(())
    })
    .await
    .map(drop)
}

impl Traffic {
    /// Whether the rules of a primary's traffic lead to a side, and none to the other one.
    pub fn leads_writes_only_to(&self, side: Side) -> bool {
        // The rules of reads have a type behind their names.
        let is_of_writes = |rule: &String| !rule.contains('@');
        let astray = side == Side::Target && self.to_source.as_ref().is_some_and(is_of_writes);
        self.led == Some(side) && !astray
    }

    /// Whether everything is led to the target.
    pub fn all_at_target(&self) -> bool {
        let there = |side: Option<Side>| side.is_none_or(|side| side == Side::Target);
        self.writes == Side::Target
            && !self.refuses[1]
            && there(self.replica)
            && there(self.rdonly)
            && there(self.led)
            && self.to_source.is_none()
            && self.unsettled.is_none()
    }
}

impl std::fmt::Display for Traffic {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Without rules reads go where writes go.
        let at = |side: Option<Side>| side.unwrap_or(self.writes);
        f.write_str(match (at(self.replica), at(self.rdonly)) {
            (Side::Target, Side::Target) => "All Reads Switched. ",
            (Side::Source, Side::Source) => "Reads Not Switched. ",
            (Side::Target, Side::Source) => "Reads partially switched: replica. ",
            (Side::Source, Side::Target) => "Reads partially switched: rdonly. ",
        })?;
        f.write_str(match self.writes {
            Side::Target => "Writes Switched",
            Side::Source => "Writes Not Switched",
        })?;
        match self.unsettled {
            Some(generation) => write!(f, ". Switch {generation} is not settled"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn states_read_as_in_the_guide() {
        let mut traffic = Traffic {
            writes: Side::Source,
            replica: Some(Side::Source),
            rdonly: Some(Side::Source),
            led: Some(Side::Source),
            to_source: None,
            routed: false,
            unsettled: None,
            refuses: [true, false],
        };
        assert_eq!(traffic.to_string(), "Reads Not Switched. Writes Not Switched");
        traffic.rdonly = Some(Side::Target);
        assert_eq!(traffic.to_string(), "Reads partially switched: rdonly. Writes Not Switched");
        traffic.replica = Some(Side::Target);
        assert_eq!(traffic.to_string(), "All Reads Switched. Writes Not Switched");
        assert!(!traffic.all_at_target());
        (traffic.writes, traffic.led) = (Side::Target, Some(Side::Target));
        assert_eq!(traffic.to_string(), "All Reads Switched. Writes Switched");
        assert!(traffic.all_at_target());
        traffic.to_source = Some("corder@replica".to_owned());
        assert!(!traffic.all_at_target(), "one table is read on the source");
        traffic.to_source = None;
        traffic.refuses = [true; 2];
        assert!(!traffic.all_at_target(), "nobody may write");
        (traffic.refuses, traffic.unsettled) = ([true, false], Some(7));
        assert!(!traffic.all_at_target());
    }
}
