//! What a server runs by name (views, routines, events, triggers), and which tables each of them reaches.
//!
//! A statement that names a view, calls a routine or fires a trigger uses tables that it does not name. [`Programs::read`] reads
//! the definitions as the server gives them; [`Programs::reach_of`] and its sisters say which tables are behind a name. The
//! preflights warn of what reaches a moved table, and the gateway routes and refuses by it. [`text`] takes the definitions apart.
//!
//! More may be said to be reached than is, never less, as far as the texts are seen:
//! - A view's text is the server's own, where every table is `database`.`table`: only such pairs count.
//! - A body is the client's: every word of it counts that is the name of a table, view or routine of its own database, or of
//!   another database whose name is a word of it too. A column with the name of a table counts for it.
//! - Reaching is followed through views, routines and triggers. A trigger fires where its table may be written: by a statement
//!   that writes, and by a body that has any word that begins one.
//! - A definition that the account may not see, and a body that builds statements when it runs, may reach anything
//!   ([`Reach::unknown`]).
//!
//! What the account has no privilege on at all is not even listed; `preflight::needs` says what shows it.

mod text;

use crate::mysql::names::lowered;
use std::collections::{BTreeSet, HashMap, HashSet};
use std::fmt;

use crate::error::{Result, ResultExt};
use crate::mysql::control::Control;
use crate::mysql::schema::FENCE_TRIGGER_PREFIX;

/// A database and something in it, in lower case.
pub type Key = (String, String);

/// What a program is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// A view.
    View,
    /// A procedure or a function.
    Routine,
    /// An event of the scheduler.
    Event,
    /// A trigger.
    Trigger,
}

impl Kind {
    /// All of them, in the order in which they are read and shown.
    pub const ALL: [Self; 4] = [Self::View, Self::Routine, Self::Event, Self::Trigger];
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::View => "view",
            Self::Routine => "routine",
            Self::Event => "event",
            Self::Trigger => "trigger",
        })
    }
}

/// Why nobody can say what a program reaches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hidden {
    /// The account may not see its definition.
    Definition,
    /// It builds statements when it runs.
    Dynamic,
}

/// One program.
#[derive(Clone, Debug)]
pub struct Program {
    /// What it is.
    pub kind: Kind,
    /// Its database.
    pub database: String,
    /// Its name.
    pub name: String,
    /// The table of a trigger.
    pub on: Option<Key>,
    /// Why its text says too little.
    pub hidden: Option<Hidden>,
    /// It may write what it uses.
    writes: bool,
    /// Tables and views that it names.
    uses: BTreeSet<Key>,
    /// Routines that it names.
    calls: BTreeSet<Key>,
}

/// Which tables are behind a name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reach {
    /// The tables.
    pub tables: BTreeSet<Key>,
    /// A program on the way of which nobody can say what it reaches, and why.
    pub unknown: Option<String>,
}

/// A program that reaches one of some tables, or may.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// What it is.
    pub kind: Kind,
    /// Its name, with the database where that is not the tables' own.
    pub name: String,
    /// The tables that it reaches, as they were asked for.
    pub tables: Vec<String>,
    /// It builds statements when it runs: it may reach any of them.
    pub dynamic: bool,
}

/// All programs of a server that the account sees.
#[derive(Clone, Debug, Default)]
pub struct Programs {
    list: Vec<Program>,
    views: HashMap<Key, usize>,
    routines: HashMap<Key, Vec<usize>>,
    triggers: HashMap<Key, Vec<usize>>,
    /// Names of views, routines and tables with triggers, without their databases.
    names: HashSet<String>,
}

/// A program as it is listed, with its text.
#[derive(Debug)]
struct Listed {
    kind: Kind,
    database: String,
    name: String,
    on: Option<Key>,
    text: Option<String>,
    sql_mode: String,
}

/// Names of tables and views by database, in lower case.
type Names = HashMap<String, HashSet<String>>;

/// Databases of the server's own, of which no program is read.
const SYSTEM: [&str; 5] = ["mysql", "sys", "information_schema", "performance_schema", "_shunt"];

/// Whether a database is one of the server's own. Its programs are not read, and some of its procedures run text that they are
/// given: they may reach anything.
pub fn is_of_system(database: &str) -> bool {
    SYSTEM.iter().any(|system| system.eq_ignore_ascii_case(database))
}

fn key(database: &str, name: &str) -> Key {
    (lowered(database), lowered(name))
}

/// Where each kind is listed: what it is called, its text, the mode it was made in, and a trigger's table.
const fn query(kind: Kind) -> &'static str {
    match kind {
        Kind::View => {
            "SELECT table_schema, table_name, view_definition, '' FROM information_schema.views \
             WHERE table_schema NOT IN ('mysql', 'sys', 'information_schema', 'performance_schema', '_shunt')"
        }
        Kind::Routine => {
            "SELECT routine_schema, routine_name, routine_definition, sql_mode FROM information_schema.routines \
             WHERE routine_schema NOT IN ('mysql', 'sys', 'information_schema', 'performance_schema', '_shunt')"
        }
        Kind::Event => {
            "SELECT event_schema, event_name, event_definition, sql_mode FROM information_schema.events \
             WHERE event_schema NOT IN ('mysql', 'sys', 'information_schema', 'performance_schema', '_shunt')"
        }
        Kind::Trigger => {
            "SELECT trigger_schema, trigger_name, action_statement, sql_mode, event_object_schema, event_object_table \
             FROM information_schema.triggers \
             WHERE trigger_schema NOT IN ('mysql', 'sys', 'information_schema', 'performance_schema', '_shunt')"
        }
    }
}

const TABLES: &str = "SELECT table_schema, table_name FROM information_schema.tables \
     WHERE table_schema NOT IN ('mysql', 'sys', 'information_schema', 'performance_schema', '_shunt')";

impl Programs {
    /// Reads all programs of a server, but the fence's triggers.
    ///
    /// # Errors
    /// Of the connection.
    pub async fn read(control: &mut Control) -> Result<Self> {
        let mut relations = Names::new();
        for row in control.rows(TABLES).await.context("list the server's tables")? {
            let (database, name) = key(&row.must(0)?, &row.must(1)?);
            relations.entry(database).or_default().insert(name);
        }
        let mut listed = Vec::new();
        for kind in Kind::ALL {
            let rows = control.rows(query(kind)).await;
            for row in rows.context(format_args!("list the server's {kind}s"))? {
                let on = match kind {
                    Kind::Trigger => Some(key(&row.must(4)?, &row.must(5)?)),
                    _ => None,
                };
                listed.push(Listed {
                    kind,
                    database: row.must(0)?,
                    name: row.must(1)?,
                    on,
                    text: row.text(2).filter(|text| !text.is_empty()),
                    sql_mode: row.text(3).unwrap_or_default(),
                });
            }
        }
        listed.retain(|program| !program.name.starts_with(FENCE_TRIGGER_PREFIX));
        Ok(Self::of(listed, &relations))
    }

    fn of(listed: Vec<Listed>, relations: &Names) -> Self {
        let mut routines = Names::new();
        for program in listed.iter().filter(|program| program.kind == Kind::Routine) {
            let (database, name) = key(&program.database, &program.name);
            routines.entry(database).or_default().insert(name);
        }
        let mut programs = Self::default();
        for program in listed {
            let found = text::names(&program, relations, &routines);
            let at = programs.list.len();
            let own = key(&program.database, &program.name);
            match (program.kind, &program.on) {
                (Kind::View | Kind::Routine, _) => drop(programs.names.insert(own.1.clone())),
                (_, Some((_, table))) => drop(programs.names.insert(table.clone())),
                (Kind::Event | Kind::Trigger, None) => {}
            }
            match (program.kind, &program.on) {
                (Kind::View, _) => drop(programs.views.insert(own, at)),
                (Kind::Routine, _) => programs.routines.entry(own).or_default().push(at),
                (Kind::Trigger, Some(on)) => {
                    programs.triggers.entry(on.clone()).or_default().push(at);
                }
                (Kind::Event | Kind::Trigger, _) => {}
            }
            programs.list.push(Program {
                kind: program.kind,
                database: program.database,
                name: program.name,
                on: program.on,
                hidden: found.hidden,
                writes: found.writes,
                uses: found.uses,
                calls: found.calls,
            });
        }
        programs
    }

    /// Whether there is none at all.
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// Names of views, routines and tables with triggers, without their databases, in lower case.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.names.iter().map(String::as_str)
    }

    /// Whether there is one of this kind in a database whose definition the account may not see.
    pub fn has_unseen(&self, kind: Kind, database: &str) -> bool {
        let unseen = |p: &&Program| p.hidden == Some(Hidden::Definition) && p.kind == kind;
        self.list.iter().filter(unseen).any(|p| p.database.eq_ignore_ascii_case(database))
    }

    /// What is behind the name of a table or a view, if anything but the table itself; `writes`: for a statement that may write.
    pub fn reach_of(&self, database: &str, name: &str, writes: bool) -> Option<Reach> {
        if self.list.is_empty() {
            return None;
        }
        let key = key(database, name);
        let fires = writes && self.triggers.contains_key(&key);
        if !fires && !self.views.contains_key(&key) {
            return None;
        }
        Some(self.walk(vec![Step::Relation(key, writes)]))
    }

    /// What is behind the name of a procedure or function.
    pub fn reach_of_routine(&self, database: &str, name: &str) -> Option<Reach> {
        if self.routines.is_empty() {
            return None;
        }
        let runs = self.routines.get(&key(database, name))?;
        Some(self.walk(runs.iter().map(|at| Step::Run(*at, true)).collect()))
    }

    /// What is behind a name whatever it is and wherever it stands: of a view, a routine, or a table with triggers.
    pub fn reach_of_any(&self, name: &str) -> Option<Reach> {
        let name = lowered(name);
        if !self.names.contains(&name) {
            return None;
        }
        let runs = (0..self.list.len()).filter(|&at| {
            let program = &self.list[at];
            match (&program.on, program.kind) {
                (Some((_, table)), _) => *table == name,
                (None, Kind::View | Kind::Routine) => lowered(&program.name) == name,
                (None, Kind::Event | Kind::Trigger) => false,
            }
        });
        let steps: Vec<Step> = runs.map(|at| Step::Run(at, true)).collect();
        (!steps.is_empty()).then(|| self.walk(steps))
    }

    /// Who reaches any of these tables of a database. The tables' own triggers are not listed.
    pub fn users(&self, database: &str, tables: &[String]) -> Vec<User> {
        let own = |on: &Key| tables.iter().any(|table| *on == key(database, table));
        let mut users = Vec::new();
        for (at, program) in self.list.iter().enumerate() {
            if program.on.as_ref().is_some_and(own) {
                continue;
            }
            let reach = self.walk(vec![Step::Run(at, false)]);
            let reached = |table: &&String| reach.tables.contains(&key(database, table));
            let here = program.database.eq_ignore_ascii_case(database);
            let dynamic = program.hidden == Some(Hidden::Dynamic) && here;
            let found: Vec<String> = tables.iter().filter(reached).cloned().collect();
            if found.is_empty() && !dynamic {
                continue;
            }
            let name = &program.name;
            let name = if here { name.clone() } else { format!("{}.{name}", program.database) };
            users.push(User { kind: program.kind, name, tables: found, dynamic });
        }
        users
    }

    fn walk(&self, mut steps: Vec<Step>) -> Reach {
        let mut reach = Reach::default();
        let mut seen: HashSet<Step> = HashSet::new();
        while let Some(step) = steps.pop() {
            if !seen.insert(step.clone()) {
                continue;
            }
            match step {
                Step::Relation(key, fires) => match self.views.get(&key) {
                    Some(view) => steps.push(Step::Run(*view, fires)),
                    None => {
                        let triggers = self.triggers.get(&key).filter(|_| fires);
                        steps.extend(triggers.into_iter().flatten().map(|t| Step::Run(*t, true)));
                        reach.tables.insert(key);
                    }
                },
                Step::Run(at, fires) => {
                    let program = &self.list[at];
                    // A view is written by a statement that names it, a body by itself.
                    let fires = (fires && program.kind == Kind::View) || program.writes;
                    if let Some(hidden) = program.hidden {
                        reach.unknown = Some(program.doubt(hidden));
                    }
                    steps.extend(program.uses.iter().map(|u| Step::Relation(u.clone(), fires)));
                    let called = program.calls.iter().filter_map(|call| self.routines.get(call));
                    steps.extend(called.flatten().map(|routine| Step::Run(*routine, true)));
                }
            }
        }
        reach
    }
}

impl Program {
    fn doubt(&self, hidden: Hidden) -> String {
        let Self { kind, database, name, .. } = self;
        match hidden {
            Hidden::Definition => {
                format!("the definition of {kind} {database}.{name} cannot be seen")
            }
            Hidden::Dynamic => {
                format!("{kind} {database}.{name} builds statements when it runs")
            }
        }
    }
}

/// A step on the way from a name to tables; the flag: what is reached may be written.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Step {
    Relation(Key, bool),
    Run(usize, bool),
}

#[cfg(test)]
mod tests;
