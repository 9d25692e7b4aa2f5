//! What DDL on a moved table does to its rows, and its text as the target can run it.
//!
//! Before this stands [`super::statement`], which takes statements apart; after it the stream, which decides by `--on-ddl`.
//! Nothing is guessed: what is not known to keep the rows' images changes them, and a text that might mean something else
//! on the target is refused.

use std::borrow::Cow;
use std::fmt::Write as _;

use super::legible::Legible;
use super::lexer::{self, ANSI_QUOTES, NO_BACKSLASH_ESCAPES, Parsed, Token};
use super::stable;
use super::statement::{Cursor, Statement};
use crate::error::{Error, Result};
use crate::mysql::binlog::event::QueryEvent;
use crate::mysql::names::same;
use crate::mysql::server::ServerInfo;
use crate::mysql::sql;

/// A statement with what its text depends on.
#[derive(Clone, Debug)]
pub struct DdlStatement {
    query: QueryEvent,
    /// When it was run, in seconds since 1970.
    time: u32,
}

/// How far what a statement does on the source is what it does on the target.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kinship {
    /// One is MySQL, the other MariaDB.
    #[default]
    None,
    /// Of one flavour.
    Flavor,
    /// Of one flavour and version.
    Version,
}

impl Kinship {
    /// That of two servers.
    pub fn of(source: &ServerInfo, target: &ServerInfo) -> Self {
        match (source.flavor == target.flavor, source.version == target.version) {
            (true, true) => Self::Version,
            (true, false) => Self::Flavor,
            (false, _) => Self::None,
        }
    }
}

/// What is known of the table that DDL changes.
#[derive(Clone, Debug, Default)]
pub struct Known {
    /// The key that tells its rows apart.
    pub identity: Option<String>,
    /// Whether that key has a single column.
    pub single: bool,
    /// Keys and constraints that make no two rows collide, so that rows can do with or without them: names of keys that are not
    /// unique, of foreign keys and checks.
    pub loose: Vec<String>,
    /// Whether the target has, or is given after the copy, a unique key besides.
    pub spare_unique: bool,
    /// Whether it has a column of type TIME.
    pub has_time: bool,
    /// How far the two servers are the same.
    pub kinship: Kinship,
}

/// The names of the keys that a statement of ours adds and that are not unique, and whether it adds a unique one.
pub fn added_keys(keys_sql: &str) -> (Vec<String>, bool) {
    let tokens = lexer::parse(keys_sql.as_bytes()).tokens;
    let is_unique =
        |two: &[Token]| (two[0].is("unique") || two[0].is("primary")) && two[1].is("key");
    let unique = tokens.windows(2).any(is_unique);
    let loose = tokens.windows(3).filter(|three| {
        !three[0].is("unique") && three[1].is("key") && matches!(three[2], Token::Quoted(_))
    });
    (loose.filter_map(|three| three[2].name().map(str::to_owned)).collect(), unique)
}

/// What a statement does to a table, from the mildest to the worst.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Effect {
    /// Keys, comments, options: row images stay what they are, and so does what tells rows apart.
    Keeps,
    /// Columns, or the key that tells rows apart, may change.
    Reshapes,
    /// What no copy can follow, whatever `--on-ddl` says: for this reason.
    Stops(&'static str),
}

impl Effect {
    /// Rows or the whole table are replaced or removed.
    pub const REMOVES: Self = Self::Stops("it removes rows or the table itself");
    /// Which rows an ALTER IGNORE removes depends on the order in which the server meets them, and no event says.
    const DEDUPLICATES: Self =
        Self::Stops("IGNORE lets it remove rows, and the binlog does not say which");
    const CASCADES: Self = Self::Stops(
        "its foreign key changes rows by itself (ON DELETE or ON UPDATE), and such changes are in no binlog",
    );
    const OTHER_ENGINE: Self = Self::Stops(
        "it takes the table out of InnoDB, and without transactions its rows cannot be placed in the binlog",
    );
    const ILLEGIBLE: Self = Self::Stops(
        "where its strings end cannot be told, because of its character set or sql_mode; send DDL as utf8mb4",
    );
    const VERSIONS: Self = Self::Stops(
        "old versions of rows are not carried, and periods that come or go are not followed",
    );
}

/// Bits of `sql_mode` under which text means something else: `||`, `"…"`, `\`.
const PIPES_AS_CONCAT: u64 = 2;

impl DdlStatement {
    /// The statement of an event.
    pub fn of(query: &QueryEvent, time: u32) -> Self {
        Self { query: query.clone(), time }
    }

    /// The text for messages; values in it are the operator's own DDL.
    pub fn text(&self) -> Cow<'_, str> {
        String::from_utf8_lossy(&self.query.sql)
    }

    /// What it does to a table.
    pub fn effect(&self, known: &Known) -> Effect {
        let parsed = lexer::parse_event(&self.query);
        if parsed.legible == Legible::Hardly {
            return Effect::ILLEGIBLE;
        }
        // Names that cannot be read may be those of unique keys.
        let guarded = Known { loose: Vec::new(), spare_unique: true, ..known.clone() };
        let known = if parsed.legible == Legible::Whole { known } else { &guarded };
        let mut at = parsed.cursor();
        let dropped = |at: &mut Cursor<'_>| {
            at.existence();
            dropped_effect(at.one_name(), known)
        };
        match at.word().as_deref() {
            Some("alter") => {
                let mut ignores = false;
                while at.take("online") || at.take("offline") || at.take("ignore") {
                    ignores |= at.tokens[at.at - 1].is("ignore");
                }
                if !at.take("table") || at.table().is_none() {
                    return Effect::REMOVES;
                }
                let worst = clauses(&mut at.clone(), known).max(anywhere(&at));
                if ignores { Effect::DEDUPLICATES } else { worst }
            }
            Some("create") => {
                let replaces = at.take("or") && at.take("replace");
                let unique = at.take("unique");
                while at.take("fulltext") || at.take("spatial") {}
                match (at.take("index"), replaces) {
                    (false, _) => Effect::REMOVES,
                    (true, true) => dropped(&mut at).max(unique_effect(unique, known)),
                    (true, false) => unique_effect(unique, known),
                }
            }
            Some("drop") if at.take("index") => dropped(&mut at),
            _ => Effect::REMOVES,
        }
    }

    /// The settings to run it with, as a replica does: what of the session a statement may depend on.
    pub fn settings(&self) -> String {
        let variables = &self.query.variables;
        let time_zone = sql::literal(self.offset().unwrap_or("+00:00"));
        let [increment, offset] = variables.numbering.unwrap_or([1, 1]);
        let mut out = format!(
            "time_zone={time_zone}, auto_increment_increment={increment}, auto_increment_offset={offset}"
        );
        if let Some(sql_mode) = variables.sql_mode {
            write!(out, ", sql_mode={sql_mode}").expect("a string takes all");
        }
        out
    }

    /// The moment to run it at, in seconds since 1970.
    pub fn timestamp(&self) -> String {
        format!("{}.{:06}", self.time, self.query.variables.microseconds)
    }

    /// Whether its result may depend on the moment: on that by which a TIME or a NULL becomes a date.
    pub fn heeds_moment(&self) -> bool {
        stable::heeds_time_zone(&lexer::parse_event(&self.query))
    }

    /// The id of the collation in which the session read literals.
    pub fn collation(&self) -> Option<u16> {
        self.query.variables.charsets.map(|[_, connection, _]| connection)
    }

    /// The time zone, if it is an offset and means the same everywhere. A server that did not use its time zone says none.
    fn offset(&self) -> Option<&str> {
        let Some(zone) = &self.query.variables.time_zone else { return Some("+00:00") };
        let zone = std::str::from_utf8(zone).ok()?;
        let offset = zone.strip_prefix(['+', '-'])?;
        offset.bytes().all(|byte| byte.is_ascii_digit() || byte == b':').then_some(zone)
    }

    /// The text for the target: names qualified by the source's database are given the target's, the rest stays as typed.
    ///
    /// # Errors
    /// Stop, with the reason, where the text may mean something else there.
    pub fn for_target(
        &self,
        known: &Known,
        source_database: &str,
        target_database: &str,
    ) -> Result<String> {
        let refuse = |why: String| Err(Error::stop(why));
        let parsed = lexer::parse_event(&self.query);
        let text = std::str::from_utf8(&self.query.sql).ok();
        let Some(text) = text.filter(|_| parsed.legible == Legible::Whole) else {
            return refuse(
                "its text is not ASCII, and the client's character set was not UTF-8".into(),
            );
        };
        let variables = &self.query.variables;
        let sql_mode = variables.sql_mode.unwrap_or(0);
        for (bit, sign) in
            [(PIPES_AS_CONCAT, "||"), (ANSI_QUOTES, "\""), (NO_BACKSLASH_ESCAPES, "\\")]
        {
            if sql_mode & bit != 0 && text.contains(sign) {
                return refuse(format!("its sql_mode gives {sign} another meaning"));
            }
        }
        stable::check(&parsed, text, known)?;
        if self.offset().is_none() && stable::heeds_time_zone(&parsed) {
            return refuse(format!(
                "it was run in the time zone {}, which may be another one on the target",
                String::from_utf8_lossy(variables.time_zone.as_deref().unwrap_or_default())
            ));
        }
        let foreign = parsed.tokens.iter().any(|token| token.is("references"));
        let default = String::from_utf8_lossy(&self.query.database);
        if foreign && !same(&default, source_database) {
            return refuse("it names another table from another default database".into());
        }
        requalified(text, &parsed, source_database, target_database)
    }
}

/// Replaces qualifiers by their place in the text.
fn requalified(text: &str, parsed: &Parsed, source: &str, target: &str) -> Result<String> {
    let mut out = String::with_capacity(text.len() + 16);
    let mut copied = 0;
    let own = match parsed.statement() {
        Statement::TableDdl(tables) => tables.into_iter().next().map(|table| table.table),
        _ => None,
    };
    for at in 1..parsed.tokens.len() {
        if parsed.tokens[at] != Token::Sign('.') {
            continue;
        }
        let inner = at >= 2 && parsed.tokens[at - 2] == Token::Sign('.');
        let Some(name) = parsed.tokens[at - 1].name().filter(|_| !inner) else { continue };
        let digits = |token: Option<&Token>| {
            token.and_then(Token::name).is_some_and(|n| n.starts_with(|c: char| c.is_ascii_digit()))
        };
        // `1.5` and `DEFAULT .5` are numbers, and `t.c` is a column of the statement's own table.
        let before_digits =
            digits(parsed.tokens.get(at + 1)) && parsed.spans[at - 1].end < parsed.spans[at].start;
        if name.bytes().all(|byte| byte.is_ascii_digit()) || before_digits {
            continue;
        }
        if own.as_deref().is_some_and(|own| same(own, name)) && !same(name, source) {
            continue;
        }
        if !same(name, source) {
            return Err(Error::stop(format!("it names {}, which is not moved", sql::ident(name))));
        }
        let span = &parsed.spans[at - 1];
        out.push_str(&text[copied..span.start]);
        out.push_str(&sql::ident(target));
        copied = span.end;
    }
    out.push_str(&text[copied..]);
    Ok(out)
}

/// A key that is renamed. Where the target has unique keys, its names would no longer say which key it is that is dropped later.
fn renamed_effect(name: Option<String>, known: &Known) -> Effect {
    match (name, &known.identity) {
        _ if known.spare_unique => Effect::Reshapes,
        (Some(name), Some(identity)) if !same(&name, identity) => Effect::Keeps,
        (Some(_), None) => Effect::Keeps,
        _ => Effect::Reshapes,
    }
}

/// A key or constraint that is dropped. Where the target keeps a unique key that the source has not any more, two rows that the
/// source holds side by side replace each other; a name that is not known may be that key's newer one.
fn dropped_effect(name: Option<String>, known: &Known) -> Effect {
    let Some(name) = name else { return Effect::Reshapes };
    let name_is_identity = known.identity.as_deref().is_some_and(|identity| same(identity, &name));
    let loose = known.loose.iter().any(|loose| same(loose, &name));
    if !name_is_identity && (loose || !known.spare_unique) {
        Effect::Keeps
    } else {
        Effect::Reshapes
    }
}

/// A unique key that is added may become what tells rows apart, unless a primary key does.
fn unique_effect(unique: bool, known: &Known) -> Effect {
    let primary = known.identity.as_deref().is_some_and(|identity| same(identity, "PRIMARY"));
    if unique && !primary { Effect::Reshapes } else { Effect::Keeps }
}

/// What stands inside of a column's definition as well as in a clause of its own.
fn anywhere(at: &Cursor<'_>) -> Effect {
    let tokens = &at.tokens[at.at.min(at.tokens.len())..];
    let pair = |a: &str, b: &str| tokens.windows(2).any(|two| two[0].is(a) && two[1].is(b));
    let cascades = tokens.windows(3).any(|three| {
        three[0].is("on")
            && (three[1].is("delete") || three[1].is("update"))
            && (three[2].is("cascade") || three[2].is("set"))
    });
    if cascades {
        Effect::CASCADES
    } else if pair("system", "versioning") || pair("period", "for") || pair("without", "overlaps") {
        Effect::VERSIONS
    } else {
        Effect::Keeps
    }
}

/// The clauses of ALTER TABLE, from behind the table's name on: the worst counts.
fn clauses(at: &mut Cursor<'_>, known: &Known) -> Effect {
    if at.take("wait") {
        at.at += 1;
    }
    at.take("nowait");
    let tokens = &at.tokens[at.at.min(at.tokens.len())..];
    let mut depth = 0_u32;
    let commas = |token: &Token| {
        match token {
            Token::Sign('(') => depth += 1,
            Token::Sign(')') => depth = depth.saturating_sub(1),
            _ => {}
        }
        depth == 0 && *token == Token::Sign(',')
    };
    tokens.split(commas).map(|clause| clause_effect(clause, known)).max().unwrap_or(Effect::Keeps)
}

fn clause_effect(clause: &[Token], known: &Known) -> Effect {
    let mut at = Cursor { tokens: clause, at: 0 };
    if changes_engine(clause) {
        return Effect::OTHER_ENGINE;
    }
    if changes_charset(clause) {
        // What later clauses leave out is taken from it.
        return Effect::Reshapes;
    }
    let Some(first) = at.word() else {
        return if clause.is_empty() { Effect::Keeps } else { Effect::Reshapes };
    };
    match first.as_str() {
        "add" => added(at, known),
        "drop" => {
            if at.take("partition") {
                return Effect::REMOVES;
            }
            let key = ["index", "key", "constraint", "check"].into_iter().any(|word| at.take(word));
            let foreign = !key && at.take("foreign") && at.take("key");
            if !key && !foreign {
                return Effect::Reshapes;
            }
            at.existence();
            let name = at.one_name();
            if foreign { Effect::Keeps } else { dropped_effect(name, known) }
        }
        "alter" => {
            let key = at.take("index") || at.take("key");
            let default = at
                .tokens
                .windows(2)
                .any(|pair| (pair[0].is("set") || pair[0].is("drop")) && pair[1].is("default"));
            if key || default { Effect::Keeps } else { Effect::Reshapes }
        }
        "rename" if at.take("index") || at.take("key") => renamed_effect(at.one_name(), known),
        "rename" if at.take("column") => Effect::Reshapes,
        "rename" | "truncate" | "exchange" | "discard" | "import" => Effect::REMOVES,
        "convert" if at.take("table") || at.take("partition") => Effect::REMOVES,
        "comment" | "auto_increment" | "force" | "algorithm" | "lock" | "row_format"
        | "key_block_size" | "avg_row_length" | "checksum" | "page_checksum" | "max_rows"
        | "min_rows" | "pack_keys" | "stats_persistent" | "stats_auto_recalc"
        | "stats_sample_pages" | "enable" | "disable" | "compression" | "page_compressed"
        | "engine" | "coalesce" | "reorganize" | "rebuild" | "analyze" | "check" | "optimize"
        | "repair" | "remove" | "partition" => Effect::Keeps,
        _ => Effect::Reshapes,
    }
}

/// What ADD adds: a key (other than the primary), a constraint or a partition, or else a column.
fn added(mut at: Cursor<'_>, known: &Known) -> Effect {
    const KEYS: [&str; 7] = ["index", "key", "unique", "fulltext", "spatial", "foreign", "check"];
    let unnamed = |token: &Token| token.is("primary") || KEYS.iter().any(|word| token.is(word));
    if at.take("constraint") && !at.tokens.get(at.at).is_some_and(unnamed) {
        at.at += 1;
    }
    if at.take("unique") {
        return unique_effect(true, known);
    }
    let keeps = KEYS.into_iter().any(|word| at.take(word)) || at.take("partition");
    if keeps { Effect::Keeps } else { Effect::Reshapes }
}

/// The table's default character set, as an option beside others. Inside of brackets it is an expression's or a column's.
fn changes_charset(clause: &[Token]) -> bool {
    let mut depth = 0_u32;
    clause.windows(2).any(|two| {
        match &two[0] {
            Token::Sign('(') => depth += 1,
            Token::Sign(')') => depth = depth.saturating_sub(1),
            _ => {}
        }
        let set = two[0].is("character") && two[1].is("set");
        depth == 0 && (set || two[0].is("charset") || two[0].is("collate"))
    })
}

/// Options need no comma between them, so an engine may hide behind a comment. A column may be called engine.
fn changes_engine(clause: &[Token]) -> bool {
    const NAMED: [&str; 11] = [
        "add", "after", "alter", "change", "column", "drop", "exists", "key", "modify", "rename",
        "to",
    ];
    clause.iter().enumerate().any(|(at, token)| {
        let equals = clause.get(at + 1) == Some(&Token::Sign('='));
        let value = clause.get(at + 1 + usize::from(equals));
        let before = at.checked_sub(1).map(|before| &clause[before]);
        let column = before.is_some_and(|before| {
            matches!(before, Token::Sign('(' | ',')) || NAMED.iter().any(|word| before.is(word))
        });
        token.is("engine")
            && (equals || !column)
            && !value.is_some_and(|value| value.name().is_some_and(|n| same(n, "innodb")))
    })
}

#[cfg(test)]
mod tests;
