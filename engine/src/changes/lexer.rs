//! The tokens of a statement in the binlog.
//!
//! Before this stands the decoder; [`super::statement`] tells from the tokens what a statement is. The text is in the client's
//! character set and depends on its `sql_mode`; where that leaves doubts, they are said ([`Legible`]). Nothing here fails.

use std::collections::HashSet;
use std::ops::Range;

use super::legible::{Client, Legible, NBSP};
use crate::mysql::binlog::event::QueryEvent;
use crate::mysql::names::lowered;
use crate::mysql::server::Flavor;

/// The bit of `sql_mode` that makes `\` an ordinary character.
pub(super) const NO_BACKSLASH_ESCAPES: u64 = 1 << 20;
/// The bit that makes `"…"` a name.
pub(super) const ANSI_QUOTES: u64 = 4;

/// A piece of a statement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Token {
    /// A bare word or number.
    Word(String),
    /// A name in backquotes or (as ANSI_QUOTES would have it) in double quotes.
    Quoted(String),
    /// A string literal; its text does not matter.
    Text,
    /// Any other character.
    Sign(char),
}

impl Token {
    pub(super) fn is(&self, word: &str) -> bool {
        matches!(self, Self::Word(text) if text.eq_ignore_ascii_case(word))
    }

    pub(super) fn name(&self) -> Option<&str> {
        match self {
            Self::Word(text) | Self::Quoted(text) => Some(text),
            Self::Text | Self::Sign(_) => None,
        }
    }
}

/// A statement taken apart.
#[derive(Clone, Debug)]
pub struct Parsed {
    pub(super) tokens: Vec<Token>,
    /// Where each token stands in the text.
    pub(super) spans: Vec<Range<usize>>,
    /// How far its text can be relied on.
    pub(crate) legible: Legible,
}

/// Takes the statement of an event apart, as its session's settings have it.
///
/// The settings are those of the moment at which it ran. It was read when it was prepared, or before the settings that SET STATEMENT
/// gave it; so if its strings could end elsewhere under another `sql_mode`, it is hardly legible.
pub fn parse_event(query: &QueryEvent) -> Parsed {
    let client = Client::of(query);
    let text = client.text(&query.sql);
    let sql_mode = query.variables.sql_mode.unwrap_or(0);
    let own = match (sql_mode & NO_BACKSLASH_ESCAPES, sql_mode & ANSI_QUOTES) {
        (0, 0) => ESCAPES[0],
        (0, _) => ESCAPES[1],
        _ => ESCAPES[2],
    };
    let dialect = Dialect { skips_nbsp: client == Client::Latin1, flavor: query.flavor };
    let read = |escapes: &str| lex(&text, escapes, dialect);
    let lexed = read(own);
    let elsewhere = |escapes: &&str| {
        let other = read(escapes);
        other.sound && other.parsed.spans != lexed.parsed.spans
    };
    let doubtful = !lexed.versions
        || text.contains('\\') && ESCAPES.iter().filter(|e| **e != own).any(elsewhere);
    let legible = if doubtful { Legible::Hardly } else { client.legible(&query.sql, lexed.bare) };
    Parsed { legible, ..lexed.parsed }
}

/// All words and quoted names of a text in UTF-8, in lower case as servers have it; what stands in double quotes counts as a name.
pub(crate) fn names(text: &str, backslash_escapes: bool) -> HashSet<String> {
    let escapes = if backslash_escapes { ESCAPES[0] } else { ESCAPES[2] };
    let tokens = lex(text, escapes, Dialect::default()).parsed.tokens;
    tokens.iter().filter_map(Token::name).map(lowered).collect()
}

/// All pairs of names with a dot between them of a text in UTF-8.
pub(crate) fn pairs(text: &str) -> Vec<(String, String)> {
    let tokens = lex(text, ESCAPES[0], Dialect::default()).parsed.tokens;
    let pair = |window: &[Token]| match window {
        [first, Token::Sign('.'), second] => {
            Some((first.name()?.to_owned(), second.name()?.to_owned()))
        }
        _ => None,
    };
    tokens.windows(3).filter_map(pair).collect()
}

/// What a piece of a typed text is; see [`pieces`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Piece {
    /// A bare word or number.
    Word,
    /// A name in backquotes.
    Name,
    /// A string, in either quotes.
    Text,
    /// Any other character.
    Sign(char),
}

/// The pieces of a text in UTF-8 as sessions of ours read it (strings in either quotes, a backslash escapes), each with where it
/// stands; none if a quote or comment is not closed, or if a backslash stands outside of a string. Comments are no pieces.
pub fn pieces(text: &str) -> Option<Vec<(Piece, Range<usize>)>> {
    let lexed = lex(text, ESCAPES[0], Dialect::default());
    let piece = |(token, span): (Token, Range<usize>)| {
        let piece = match token {
            Token::Word(_) => Piece::Word,
            Token::Quoted(_) if text[span.start..].starts_with('`') => Piece::Name,
            Token::Quoted(_) | Token::Text => Piece::Text,
            Token::Sign(sign) => Piece::Sign(sign),
        };
        (piece, span)
    };
    let Parsed { tokens, spans, .. } = lexed.parsed;
    lexed.sound.then(|| tokens.into_iter().zip(spans).map(piece).collect())
}

/// Takes apart what is UTF-8 and has no unusual `sql_mode`.
pub(super) fn parse(sql: &[u8]) -> Parsed {
    lex(&String::from_utf8_lossy(sql), ESCAPES[0], Dialect::default()).parsed
}

/// The quotes between which a backslash escapes: by default, under ANSI_QUOTES, and under NO_BACKSLASH_ESCAPES.
const ESCAPES: [&str; 3] = ["'\"", "'", ""];

/// Whose text it is.
#[derive(Clone, Copy)]
struct Dialect {
    /// Its client's character set has spaces beyond ASCII.
    skips_nbsp: bool,
    flavor: Flavor,
}

impl Default for Dialect {
    fn default() -> Self {
        Self { skips_nbsp: false, flavor: Flavor::MariaDb }
    }
}

/// A text taken apart.
struct Lexed {
    parsed: Parsed,
    /// Whether other than ASCII stands outside of quotes and comments.
    bare: bool,
    /// Whether a server could have read it so: quotes and comments are closed, and no backslash stands outside of them.
    sound: bool,
    /// Whether comments that the server runs have versions of a length that all servers read alike.
    versions: bool,
}

type Chars<'a> = std::iter::Peekable<std::str::CharIndices<'a>>;

fn lex(text: &str, escapes: &str, dialect: Dialect) -> Lexed {
    // Servers pass over all that is no graphic character; of UTF-8, all that is not ASCII may stand in a name.
    let space = |c: char| c <= ' ' || c == '\u{7f}' || dialect.skips_nbsp && c == NBSP;
    let word = |c: char| {
        c.is_ascii_alphanumeric() || matches!(c, '_' | '$' | '@') || !c.is_ascii() && !space(c)
    };
    let (mut tokens, mut spans) = (Vec::new(), Vec::new());
    let (mut bare, mut sound, mut versions) = (false, true, true);
    let mut chars = text.char_indices().peekable();
    while let Some((start, c)) = chars.next() {
        let rest = &text[start..];
        if space(c) {
            continue;
        }
        let dashes = rest.strip_prefix("--");
        if c == '#' || dashes.is_some_and(|next| next.chars().next().is_none_or(space)) {
            skip_to(&mut chars, start + rest.find('\n').unwrap_or(rest.len()));
        } else if let Some(mark) = runs(rest, dialect.flavor) {
            // The server runs what is in it, so it is read. Its version is skipped; digits that are none are text.
            let digits = rest[mark..].chars().take_while(char::is_ascii_digit).count();
            versions &= matches!(digits, 0 | 5 | 6);
            skip_to(&mut chars, start + mark + digits);
        } else if let Some(comment) = rest.strip_prefix("/*") {
            let end = comment.find("*/");
            sound &= end.is_some();
            skip_to(&mut chars, start + end.map_or(rest.len(), |at| at + 4));
        } else if rest.starts_with("*/") {
            chars.next();
        } else if matches!(c, '\'' | '"' | '`') {
            let (name, closed) = quoted(c, escapes.contains(c), &mut chars);
            sound &= closed;
            tokens.push(if c == '\'' { Token::Text } else { Token::Quoted(name) });
        } else if word(c) {
            let mut name = String::from(c);
            while let Some((_, c)) = chars.next_if(|(_, c)| word(*c)) {
                name.push(c);
            }
            bare |= !name.is_ascii();
            tokens.push(Token::Word(name));
        } else {
            sound &= c != '\\';
            tokens.push(Token::Sign(c));
        }
        if tokens.len() > spans.len() {
            spans.push(start..chars.peek().map_or(text.len(), |(at, _)| *at));
        }
    }
    Lexed { parsed: Parsed { tokens, spans, legible: Legible::Whole }, bare, sound, versions }
}

/// The length of the mark of a comment that the server runs, if one begins here. To MySQL, MariaDB's are comments.
fn runs(text: &str, flavor: Flavor) -> Option<usize> {
    let own = flavor == Flavor::MariaDb && text.starts_with("/*M!");
    if own { Some(4) } else { text.starts_with("/*!").then_some(3) }
}

fn skip_to(chars: &mut Chars<'_>, end: usize) {
    while chars.next_if(|(at, _)| *at < end).is_some() {}
}

/// The text up to the closing quote, and whether there is one; a doubled quote stands for one, and a backslash escapes if it does so
/// between these quotes.
fn quoted(quote: char, escapes: bool, chars: &mut Chars<'_>) -> (String, bool) {
    let mut out = String::new();
    while let Some((_, c)) = chars.next() {
        if c == '\\' && escapes {
            out.extend(chars.next().map(|(_, c)| c));
        } else if c != quote {
            out.push(c);
        } else if chars.next_if(|(_, c)| *c == quote).is_some() {
            out.push(quote);
        } else {
            return (out, true);
        }
    }
    (out, false)
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::mysql::binlog::event::SessionVariables;
    use crate::mysql::server::Flavor;

    fn event(sql: &[u8], sql_mode: u64, client: u16) -> QueryEvent {
        QueryEvent {
            flavor: Flavor::MariaDb,
            database: Bytes::new(),
            sql: Bytes::copy_from_slice(sql),
            error_code: 0,
            thread_id: 1,
            variables: SessionVariables {
                sql_mode: Some(sql_mode),
                charsets: Some([client, client, 8]),
                ..SessionVariables::default()
            },
        }
    }

    #[test]
    fn a_backslash_escapes_only_where_the_session_says_so() {
        let sql = br"ALTER TABLE t COMMENT 'c:\', RENAME TO u; -- '";
        let renames = |sql_mode| {
            parse_event(&event(sql, sql_mode, 45)).tokens.iter().any(|token| token.is("rename"))
        };
        assert!(!renames(0) && renames(NO_BACKSLASH_ESCAPES));
    }

    #[test]
    fn a_typed_text_falls_into_pieces() {
        let text = "a>'it''s' or `b`=\"\\\"\u{e4}\" -- 'x";
        let found: Vec<(Piece, &str)> =
            pieces(text).unwrap().into_iter().map(|(piece, at)| (piece, &text[at])).collect();
        let expected = [
            (Piece::Word, "a"),
            (Piece::Sign('>'), ">"),
            (Piece::Text, "'it''s'"),
            (Piece::Word, "or"),
            (Piece::Name, "`b`"),
            (Piece::Sign('='), "="),
            (Piece::Text, "\"\\\"\u{e4}\""),
        ];
        assert_eq!(found, expected);
        for open in ["a='x", "a=\"x\\\"", "a=`x", "a=1 /* x", "a=\\'x'"] {
            assert_eq!(pieces(open), None, "{open}");
        }
    }

    #[test]
    fn text_in_another_character_set_is_not_relied_on() {
        let legible = |sql: &[u8], client| parse_event(&event(sql, 0, client)).legible;
        let (latin1, sjis, utf8mb4, cp850) = (8, 13, 45, 4);
        assert_eq!(legible(b"TRUNCATE t", sjis), Legible::Whole);
        assert_eq!(legible("TRUNCATE `b\u{e4}r`".as_bytes(), utf8mb4), Legible::Whole);
        assert_eq!(legible(b"TRUNCATE `b\xe4r`", utf8mb4), Legible::Hardly);
        assert_eq!(legible(b"TRUNCATE b\xe4r", latin1), Legible::Ascii);
        assert_eq!(legible(b"TRUNCATE `b\xe4r`", cp850), Legible::Ascii);
        assert_eq!(legible(b"TRUNCATE b\xa0r", cp850), Legible::Hardly);
        assert_eq!(legible("TRUNCATE `b\u{e4}r`".as_bytes(), latin1), Legible::Ascii);
        assert_eq!(
            legible(b"ALTER TABLE t COMMENT '\x95\x5c', ENGINE=Aria", sjis),
            Legible::Hardly
        );
    }

    #[test]
    fn what_is_space_to_the_server_is_space_to_us() {
        let (latin1, utf8mb4) = (8, 45);
        let words = |sql: &[u8], client| {
            let parsed = parse_event(&event(sql, 0, client));
            parsed.tokens.iter().filter(|token| matches!(token, Token::Word(_))).count()
        };
        assert_eq!(words(b"truncate\xa0t", latin1), 2);
        assert_eq!(words(b"truncate\x01t", latin1), 2);
        assert_eq!(words("truncate \u{3000}t".as_bytes(), utf8mb4), 2);
        assert_eq!(words("truncate\u{a0}t".as_bytes(), utf8mb4), 1);
        assert_eq!(
            words(b"alter table t --\xa0don't\n add x int --\x01don't\n, drop y", latin1),
            8
        );
        let parsed = parse_event(&event("truncate \u{3000}t".as_bytes(), 0, utf8mb4));
        assert!(!parsed.mentions("d", "t") && parsed.mentions("d", "\u{3000}t"));
    }

    #[test]
    fn a_text_that_another_sql_mode_would_end_elsewhere_is_doubtful() {
        let legible =
            |sql: &str, sql_mode| parse_event(&event(sql.as_bytes(), sql_mode, 45)).legible;
        for mode in [0, NO_BACKSLASH_ESCAPES, ANSI_QUOTES] {
            let hidden = r"ALTER TABLE t COMMENT 'c:\', DROP KEY u; -- '";
            assert_eq!(legible(hidden, mode), Legible::Hardly);
            assert_eq!(legible(r"ALTER TABLE t COMMENT 'c:\temp'", mode), Legible::Whole);
        }
        for plain in [
            r"ALTER TABLE t COMMENT 'it\'s'",
            r#"ALTER TABLE t COMMENT "a\"b", ADD x INT COMMENT 'c\'d'"#,
        ] {
            assert_eq!(legible(plain, 0), Legible::Whole, "{plain}");
        }
    }

    #[test]
    fn comments_that_the_server_runs_are_read_as_it_reads_them() {
        let read = |sql: &str, flavor| {
            let parsed = parse_event(&QueryEvent { flavor, ..event(sql.as_bytes(), 0, 45) });
            let names = parsed.tokens.iter().filter_map(Token::name);
            (names.collect::<Vec<_>>().join(" "), parsed.legible == Legible::Whole)
        };
        for (sql, flavor, names, whole) in [
            ("truncate /*!50001t*/", Flavor::MySql, "truncate t", true),
            ("truncate /*M!100500 t*/", Flavor::MariaDb, "truncate t", true),
            ("truncate /*! t*/", Flavor::MySql, "truncate t", true),
            ("truncate /*M! mysql. */ t", Flavor::MySql, "truncate t", true),
            // Is it a version, or a table's name?
            ("truncate /*!1t*/", Flavor::MySql, "truncate t", false),
            ("truncate /*M!1t*/", Flavor::MariaDb, "truncate t", false),
            ("truncate /*!1000001t*/", Flavor::MariaDb, "truncate t", false),
        ] {
            assert_eq!(read(sql, flavor), (names.to_owned(), whole), "{sql}");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_input_panics(bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..200)) {
            let parsed = parse(&bytes);
            parsed.statement();
            parsed.mentions("a", "b");
        }
    }
}
