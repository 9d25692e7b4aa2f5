//! Routing rules: which keyspace a table's name means, by type of server.
//!
//! One versioned document of the topology, [`RoutingRules`], in the form and with the names of Vitess. [`moved`] says which
//! rules a workflow has at each of its stages, and whether its reads and writes are switched; [`document`] reads and changes
//! the document by compare-and-swap. Both are followed by gateways, which know nothing else of workflows.
//!
//! Invariants:
//! - A workflow adds, changes and removes rules of its own tables only; what others wrote stays as it is.
//! - The rules are derived: which side is open to writes is said by the fences and the journal (`cutover`). A rule that is
//!   late or wrong leads a client to a closed side, which refuses it; never to two open sides.

pub mod document;
pub mod moved;
pub mod rules;

pub use moved::{MovedTables, Side};
pub use rules::{RoutingRules, RuleName, ServerType, TableName};
