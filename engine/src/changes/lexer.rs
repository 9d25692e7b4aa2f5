//! The tokens of a statement in the binlog.
//!
//! Before this stands the decoder; [`super::statement`] tells from the tokens what a statement is. The text is in the client's
//! character set and depends on its `sql_mode`; where that leaves doubts, they are said ([`Legible`]). Nothing here fails.

use std::collections::HashSet;
use std::ops::Range;

use crate::mysql::binlog::event::QueryEvent;

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

/// How far a statement's text can be read: it is in its client's character set, and the tokens are taken from it as UTF-8.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Legible {
    /// All of it.
    Whole,
    /// A byte that looks like ASCII is ASCII, so its structure is right; names with other characters are not known.
    Ascii,
    /// Hardly: the second byte of a character may look like a quote or a backslash (Shift-JIS, Big5, GBK).
    Hardly,
}

impl Legible {
    fn of(query: &QueryEvent) -> Self {
        // MySQL's numbers of the collations of big5, sjis, gbk, cp932 and gb18030.
        // MariaDB's that do not pad have 1024 more.
        const TRAILING_ASCII: [u16; 11] = [1, 13, 28, 84, 87, 88, 95, 96, 248, 249, 250];
        let client = query.variables.charsets.map(|[client, ..]| client);
        let client = client.map(|id| if (1024..2048).contains(&id) { id - 1024 } else { id });
        match client {
            _ if query.sql.is_ascii() => Self::Whole,
            Some(client) if is_utf8(client) && std::str::from_utf8(&query.sql).is_ok() => {
                Self::Whole
            }
            Some(client) if !TRAILING_ASCII.contains(&client) => Self::Ascii,
            _ => Self::Hardly,
        }
    }
}

/// Ids of the collations of utf8mb3 and utf8mb4; from 2048 on they are those of Unicode 14.
fn is_utf8(collation: u16) -> bool {
    matches!(collation, 33 | 45 | 46 | 76 | 83 | 192..=247 | 255..=323 | 576..=640 | 2048..)
}

/// Takes the statement of an event apart, as its session's settings have it.
pub fn parse_event(query: &QueryEvent) -> Parsed {
    let sql_mode = query.variables.sql_mode.unwrap_or(0);
    let escapes: &[char] = match (sql_mode & NO_BACKSLASH_ESCAPES, sql_mode & ANSI_QUOTES) {
        (0, 0) => &['\'', '"'],
        (0, _) => &['\''],
        _ => &[],
    };
    Parsed { legible: Legible::of(query), ..lex(&String::from_utf8_lossy(&query.sql), escapes) }
}

/// All words and quoted names of a text in UTF-8, in lower case; what stands in double quotes counts as a name.
pub(crate) fn names(text: &str, backslash_escapes: bool) -> HashSet<String> {
    let escapes: &[char] = if backslash_escapes { &['\'', '"'] } else { &[] };
    let tokens = lex(text, escapes).tokens;
    tokens.iter().filter_map(Token::name).map(str::to_lowercase).collect()
}

/// All pairs of names with a dot between them of a text in UTF-8.
pub(crate) fn pairs(text: &str) -> Vec<(String, String)> {
    let tokens = lex(text, &['\'', '"']).tokens;
    let pair = |window: &[Token]| match window {
        [first, Token::Sign('.'), second] => {
            Some((first.name()?.to_owned(), second.name()?.to_owned()))
        }
        _ => None,
    };
    tokens.windows(3).filter_map(pair).collect()
}

/// Takes apart what is UTF-8 and has no unusual `sql_mode`.
pub(super) fn parse(sql: &[u8]) -> Parsed {
    lex(&String::from_utf8_lossy(sql), &['\'', '"'])
}

fn lex(text: &str, escapes: &[char]) -> Parsed {
    let mut tokens = Vec::new();
    let mut spans = Vec::new();
    let mut chars = text.char_indices().peekable();
    while let Some((start, c)) = chars.next() {
        let rest = &text[start..];
        let skip_to = |chars: &mut std::iter::Peekable<std::str::CharIndices<'_>>, end: usize| {
            while chars.next_if(|(at, _)| *at < end).is_some() {}
        };
        if c.is_whitespace() {
            continue;
        }
        if c == '#'
            || (rest.starts_with("--") && rest[2..].starts_with(|c: char| c.is_whitespace()))
        {
            let length = rest.find('\n').unwrap_or(rest.len());
            skip_to(&mut chars, start + length);
        } else if rest.starts_with("/*!") || rest.starts_with("/*M!") {
            // A versioned comment: the server may run what is in it, so it is read. Its version is skipped.
            let mark = if rest.starts_with("/*!") { 3 } else { 4 };
            let digits = rest[mark..].chars().take_while(char::is_ascii_digit).count();
            skip_to(&mut chars, start + mark + digits);
        } else if let Some(comment) = rest.strip_prefix("/*") {
            let length = comment.find("*/").map_or(rest.len(), |at| at + 4);
            skip_to(&mut chars, start + length);
        } else if rest.starts_with("*/") {
            chars.next();
        } else if matches!(c, '\'' | '"' | '`') {
            let name = quoted(c, escapes.contains(&c), &mut chars);
            tokens.push(match c {
                '\'' => Token::Text,
                _ => Token::Quoted(name),
            });
        } else if is_word(c) {
            let mut word = String::from(c);
            while let Some((_, c)) = chars.next_if(|(_, c)| is_word(*c)) {
                word.push(c);
            }
            tokens.push(Token::Word(word));
        } else {
            tokens.push(Token::Sign(c));
        }
        if tokens.len() > spans.len() {
            spans.push(start..chars.peek().map_or(text.len(), |(at, _)| *at));
        }
    }
    Parsed { tokens, spans, legible: Legible::Whole }
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || matches!(c, '_' | '$' | '@') || !c.is_ascii()
}

/// The text up to the closing quote; a doubled quote stands for one, and a backslash escapes if it does so between these quotes.
fn quoted(
    quote: char,
    escapes: bool,
    chars: &mut std::iter::Peekable<std::str::CharIndices<'_>>,
) -> String {
    let mut out = String::new();
    while let Some((_, c)) = chars.next() {
        if c == '\\' && escapes {
            out.extend(chars.next().map(|(_, c)| c));
        } else if c != quote {
            out.push(c);
        } else if chars.next_if(|(_, c)| *c == quote).is_some() {
            out.push(quote);
        } else {
            break;
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::mysql::binlog::event::SessionVariables;

    fn event(sql: &[u8], sql_mode: u64, client: u16) -> QueryEvent {
        QueryEvent {
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
    fn text_in_another_character_set_is_not_relied_on() {
        let legible = |sql: &[u8], client| parse_event(&event(sql, 0, client)).legible;
        let (latin1, sjis, utf8mb4) = (8, 13, 45);
        assert_eq!(legible(b"TRUNCATE t", sjis), Legible::Whole);
        assert_eq!(legible("TRUNCATE `b\u{e4}r`".as_bytes(), utf8mb4), Legible::Whole);
        assert_eq!(legible(b"TRUNCATE `b\xe4r`", utf8mb4), Legible::Ascii);
        assert_eq!(legible(b"TRUNCATE `b\xe4r`", latin1), Legible::Ascii);
        assert_eq!(legible("TRUNCATE `b\u{e4}r`".as_bytes(), latin1), Legible::Ascii);
        assert_eq!(
            legible(b"ALTER TABLE t COMMENT '\x95\x5c', ENGINE=Aria", sjis),
            Legible::Hardly
        );
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
