//! What kind of statement it is: what the gateway does itself, what ends or begins a transaction, what it cannot carry.

use super::Sql;
use super::lexer::Kind;

/// The kind of a statement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verb {
    /// Nothing but space and comments.
    Empty,
    /// Reads only, unless it locks.
    Read,
    /// Anything that may write, or is not known.
    Other,
    /// BEGIN, START TRANSACTION.
    Begin,
    /// START TRANSACTION WITH CONSISTENT SNAPSHOT.
    Snapshot,
    /// COMMIT.
    Commit,
    /// ROLLBACK of the transaction.
    Rollback,
    /// SAVEPOINT, RELEASE SAVEPOINT, ROLLBACK TO.
    Savepoint,
    /// SET.
    Set,
    /// USE.
    Use,
    /// KILL.
    Kill,
    /// CALL.
    Call,
    /// PREPARE, EXECUTE, DEALLOCATE: statements inside of values.
    Prepare,
    /// XA.
    Xa,
    /// LOCK TABLES.
    Lock,
    /// UNLOCK TABLES.
    Unlock,
    /// SHOW VITESS_TABLETS, SHOW SHUNT_SERVERS.
    ShowServers,
    /// SHOW WARNINGS, SHOW ERRORS.
    ShowWarnings,
    /// LOAD DATA.
    Load,
    /// CREATE TEMPORARY TABLE.
    Temporary,
    /// Statements in one, by MariaDB: BEGIN NOT ATOMIC, IF, CASE, LOOP, REPEAT, WHILE, FOR.
    Compound,
}

impl Verb {
    /// Whether a part of what it does may be committed although it fails: it runs other statements, or one row at a time.
    pub(crate) fn may_commit_a_part(self) -> bool {
        matches!(self, Self::Call | Self::Prepare | Self::Load | Self::Compound)
    }

    /// Whether statements that are not seen here run in it, which may set variables.
    pub(crate) fn runs_others(self) -> bool {
        matches!(self, Self::Call | Self::Prepare | Self::Compound)
    }
}

/// The kind of a statement.
pub(crate) fn verb(sql: &Sql<'_>) -> Verb {
    let mut at = sql.first;
    while sql.is_sign(at, b'(') {
        at += 1;
    }
    let Some(kind) = sql.kind(at) else { return Verb::Empty };
    if kind != Kind::Word {
        return Verb::Other;
    }
    let word = sql.text(at).to_ascii_lowercase();
    let next = |words: &[&str]| sql.is_any(at + 1, words);
    match word.as_slice() {
        b"select" | b"desc" | b"describe" | b"explain" | b"values" | b"table" | b"help" => {
            Verb::Read
        }
        // It may be that of an UPDATE or DELETE.
        b"with" if !(sql.has("update") || sql.has("delete")) => Verb::Read,
        b"show" if next(&["vitess_tablets", "shunt_servers"]) => Verb::ShowServers,
        b"show" if next(&["warnings", "errors", "count"]) => Verb::ShowWarnings,
        b"show" => Verb::Read,
        _ if is_compound(sql) => Verb::Compound,
        // With more behind it, it is a block of statements by sql_mode ORACLE.
        b"begin" if sql.tokens.len() == at + 1 + usize::from(next(&["work"])) => Verb::Begin,
        b"start" if next(&["transaction"]) && sql.has("snapshot") => Verb::Snapshot,
        b"start" if next(&["transaction"]) => Verb::Begin,
        b"commit" => Verb::Commit,
        b"rollback" if next(&["to"]) || (next(&["work"]) && sql.is(at + 2, "to")) => {
            Verb::Savepoint
        }
        b"rollback" => Verb::Rollback,
        b"savepoint" | b"release" => Verb::Savepoint,
        // SET STATEMENT without its FOR.
        b"set" if sql.has_settings() => Verb::Other,
        b"set" => Verb::Set,
        b"use" => Verb::Use,
        b"kill" => Verb::Kill,
        b"call" => Verb::Call,
        b"prepare" | b"execute" | b"deallocate" => Verb::Prepare,
        b"drop" if next(&["prepare"]) => Verb::Prepare,
        b"create" if next(&["temporary"]) || sql.is(at + 3, "temporary") => Verb::Temporary,
        b"xa" => Verb::Xa,
        b"lock" => Verb::Lock,
        b"unlock" => Verb::Unlock,
        b"load" => Verb::Load,
        _ => Verb::Other,
    }
}

/// Whether semicolons can be part of the statement that begins here: a stored program, or a compound statement.
pub(crate) fn holds_statements(sql: &Sql<'_>, first: usize) -> bool {
    if !sql.is_any(first, &["create", "alter"]) {
        return compound_at(sql, first);
    }
    let mut at = first + 1;
    while sql.is_any(at, &["or", "replace", "aggregate", "definer"]) {
        at += 1;
        if sql.is(at - 1, "definer") {
            // `= user@host`, `= current_user`, `= current_user()`.
            at += 2;
            at += usize::from(sql.kind(at) == Some(Kind::Variable));
            at += 2 * usize::from(sql.is_sign(at, b'('));
        }
    }
    sql.is_any(at, &["procedure", "function", "trigger", "event", "package"])
}

fn is_compound(sql: &Sql<'_>) -> bool {
    compound_at(sql, sql.first)
}

fn compound_at(sql: &Sql<'_>, first: usize) -> bool {
    let begins = sql.is(first, "begin") && sql.is(first + 1, "not");
    begins || sql.is_any(first, &["if", "case", "loop", "repeat", "while", "for"])
}

/// What a statement asks of the session that only one server can answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Asks {
    /// FOUND_ROWS, ROW_COUNT, the diagnostics of the statement before.
    pub(crate) last_statement: bool,
    /// LAST_INSERT_ID.
    pub(crate) insert_id: bool,
    /// User locks.
    pub(crate) user_lock: bool,
    /// DATABASE().
    pub(crate) database: bool,
    /// User variables.
    pub(crate) variables: bool,
    /// Assigns user variables.
    pub(crate) assigns: bool,
    /// Sequences as functions.
    pub(crate) sequence: bool,
}

/// What a statement asks of the session.
pub(crate) fn asks(sql: &Sql<'_>) -> Asks {
    let mut asks = Asks::default();
    for (at, token) in sql.tokens.iter().enumerate() {
        match token.kind {
            Kind::Variable => {
                asks.variables = true;
                asks.assigns |= sql.is_sign(at + 1, b':') || (at > 0 && sql.is(at - 1, "into"));
            }
            Kind::Word if token.end - token.start >= 6 => word(sql, at, &mut asks),
            _ => {}
        }
    }
    asks
}

fn word(sql: &Sql<'_>, at: usize, asks: &mut Asks) {
    let behind_system = at > 0
        && (sql.kind(at - 1) == Some(Kind::System)
            || (sql.is_sign(at - 1, b'.') && at > 2 && sql.kind(at - 3) == Some(Kind::System)));
    if behind_system {
        asks.insert_id |= sql.is_any(at, &["last_insert_id", "identity"]);
        asks.last_statement |= sql.is_any(at, &["warning_count", "error_count"]);
    } else if sql.is_sign(at + 1, b'(') {
        asks.last_statement |= sql.is_any(at, &["found_rows", "row_count"]);
        asks.insert_id |= sql.is(at, "last_insert_id");
        asks.database |= sql.is_any(at, &["database", "schema"]);
        asks.sequence |= sql.is_any(at, &["nextval", "lastval", "setval"]);
        asks.user_lock |= sql.is_any(
            at,
            &["get_lock", "release_lock", "is_free_lock", "is_used_lock", "release_all_locks"],
        );
    }
}
