//! SET: which settings of the session it changes. The values are not read here: after a SET the server is asked for them.

use super::Sql;
use super::lexer::Kind;

/// What a SET changes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Set {
    /// System variables of the session, in lower case; those of every session are not listed.
    pub(crate) names: Vec<String>,
    /// User variables, each with its value where that is a plain literal.
    pub(crate) variables: Vec<(Vec<u8>, Option<Vec<u8>>)>,
    /// Variables of the server.
    pub(crate) global: bool,
    /// SET TRANSACTION without SESSION: for the next transaction.
    pub(crate) next_transaction: bool,
}

/// What cannot be carried from one server to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Refused(pub(crate) &'static str);

/// Settings that hold for a moment, or that would make a server's binlog lie.
const MOMENTARY: &[&str] = &[
    "timestamp",
    "insert_id",
    "last_insert_id",
    "identity",
    "rand_seed1",
    "rand_seed2",
    "gtid_next",
    "gtid_seq_no",
    "gtid_domain_id",
    "server_id",
    "pseudo_thread_id",
    "pseudo_slave_mode",
    "sql_log_bin",
    "skip_replication",
];

/// Whether a variable of this name may be set by clients.
pub(super) fn may_be_set(name: &str) -> bool {
    !MOMENTARY.contains(&name.to_ascii_lowercase().as_str())
}

/// Reads a SET statement.
///
/// # Errors
/// If it sets what cannot be carried.
pub(crate) fn read(sql: &Sql<'_>) -> Result<Set, Refused> {
    let mut set = Set::default();
    let behind = sql.first + 1;
    if sql.is_any(behind, &["role", "default", "resource", "password"]) {
        return Err(Refused("SET ROLE, SET PASSWORD and SET RESOURCE GROUP"));
    }
    if sql.is(behind, "transaction") {
        set.next_transaction = true;
        return Ok(set);
    }
    let mut start = behind;
    let mut depth = 0_u32;
    for at in behind..=sql.tokens.len() {
        match sql.kind(at) {
            Some(Kind::Sign(b'(')) => depth += 1,
            Some(Kind::Sign(b')')) => depth = depth.saturating_sub(1),
            Some(Kind::Sign(b',')) if depth == 0 => {
                assignment(sql, start, at, &mut set)?;
                start = at + 1;
            }
            None => assignment(sql, start, at, &mut set)?,
            _ => {}
        }
    }
    Ok(set)
}

/// Where a SET uses the values of user variables: everywhere but where it assigns them.
pub(crate) fn used(sql: &Sql<'_>) -> Vec<usize> {
    let mut depth = 0_u32;
    let mut used = Vec::new();
    for at in 0..sql.tokens.len() {
        match sql.kind(at) {
            Some(Kind::Sign(b'(')) => depth += 1,
            Some(Kind::Sign(b')')) => depth = depth.saturating_sub(1),
            Some(Kind::Variable) => {
                let follows = depth == 0 && at > sql.first && sql.is_sign(at - 1, b',');
                if at != sql.first + 1 && !follows {
                    used.push(at);
                }
            }
            _ => {}
        }
    }
    used
}

fn assignment(sql: &Sql<'_>, mut at: usize, end: usize, set: &mut Set) -> Result<(), Refused> {
    if sql.kind(at) == Some(Kind::Variable) {
        let value = at + 2 + usize::from(sql.is_sign(at + 1, b':'));
        let literal =
            (value + 1 == end && is_literal(sql, value)).then(|| sql.text(value).to_vec());
        set.variables.push((sql.variable(at), literal));
        return Ok(());
    }
    if sql.kind(at) == Some(Kind::System) {
        at += 1;
    }
    if sql.is_any(at, &["global", "persist", "persist_only"]) {
        set.global = true;
        return Ok(());
    }
    if sql.is_any(at, &["session", "local"]) {
        at += 1 + usize::from(sql.is_sign(at + 1, b'.'));
    }
    // SET NAMES and SET CHARACTER SET change three settings that are always carried.
    if sql.is_any(at, &["names", "charset", "character"]) || sql.is(at, "transaction") {
        return Ok(());
    }
    let name =
        sql.name(at).ok_or(Refused("a variable whose name is not ASCII"))?.to_ascii_lowercase();
    if sql.is_sign(at + 1, b'.') {
        return Err(Refused("variables of a component"));
    }
    if !may_be_set(&name) {
        return Err(Refused("a variable of one moment or of the binlog"));
    }
    if !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_') {
        return Err(Refused("a variable whose name is not understood"));
    }
    set.names.push(name);
    Ok(())
}

fn is_literal(sql: &Sql<'_>, at: usize) -> bool {
    match sql.kind(at) {
        Some(Kind::Text) => true,
        Some(Kind::Number) => sql.text(at).iter().all(u8::is_ascii_digit),
        Some(Kind::Word) => sql.is(at, "null"),
        _ => false,
    }
}
