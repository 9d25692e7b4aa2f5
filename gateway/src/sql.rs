//! What a statement is and which tables it names, by position in its bytes.
//!
//! [`lexer`] takes the bytes apart; [`finder`] finds the places where a table, a database or a routine is named; [`verb`]
//! says what kind of statement it is; [`set`] reads SET. None of it changes a statement: [`crate::route`] decides which
//! of the places must read otherwise, and [`splice`] writes them.
//!
//! A grammar of our own, and not a parser of all SQL: everything between the names passes as typed, so only the places
//! where names can stand have to be understood. Whatever is not understood is an error ([`finder::Unparsed`]), never a
//! guess; such a statement passes only if no name that matters is a token of it.

pub(crate) mod builtin;
pub(crate) mod finder;
pub(crate) mod lexer;
mod refs;
pub(crate) mod set;
pub(crate) mod verb;

use std::borrow::Cow;
use std::ops::Range;

use self::lexer::{Kind, Mode, Token};

/// A statement with its tokens.
#[derive(Clone, Debug)]
pub(crate) struct Sql<'a> {
    pub(crate) bytes: &'a [u8],
    pub(crate) tokens: Vec<Token>,
    /// What a server makes of it depends on what is not known here.
    pub(crate) uncertain: bool,
    /// The first token of the statement itself, behind MariaDB's SET STATEMENT … FOR.
    pub(crate) first: usize,
    /// Where the statements end: semicolons behind the last one are no tokens, but stay among the bytes.
    end: usize,
    mode: Mode,
}

impl<'a> Sql<'a> {
    pub(crate) fn new(bytes: &'a [u8], mode: Mode) -> Self {
        let mut tokens = lexer::lex(bytes, mode);
        let mut end = bytes.len();
        // Drivers send them, and servers take them.
        while let Some(last) = tokens.list.pop_if(|last| last.kind == Kind::Sign(b';')) {
            end = last.start;
        }
        let uncertain = tokens.uncertain;
        let mut sql = Self { bytes, tokens: tokens.list, uncertain, first: 0, end, mode };
        sql.skip_settings();
        sql
    }

    /// Skips `SET STATEMENT name = value, … FOR`, of which there may be several. The values hold no queries and call no stored
    /// functions (the server refuses those), so no table is passed over; a FOR in parentheses is part of a value. Without the
    /// FOR nothing is skipped, and the statement is not understood; nor is one with settings that may not be set at all.
    fn skip_settings(&mut self) {
        while self.has_settings() {
            let mut depth = 0_u32;
            let of_level = (self.first + 2..self.tokens.len()).find(|&at| {
                match self.kind(at) {
                    Some(Kind::Sign(b'(')) => depth += 1,
                    Some(Kind::Sign(b')')) => depth = depth.saturating_sub(1),
                    // What follows is another statement.
                    Some(Kind::Sign(b';')) => return true,
                    _ => {}
                }
                let is_set = depth == 0 && self.is_sign(at + 1, b'=');
                depth == 0 && self.is(at, "for")
                    || is_set && !self.name(at).is_some_and(|name| set::may_be_set(&name))
            });
            match of_level.filter(|at| self.is(*at, "for")) {
                Some(at) => self.first = at + 1,
                None => return,
            }
        }
    }

    /// Whether SET STATEMENT comes first, or next.
    pub(crate) fn has_settings(&self) -> bool {
        self.is(self.first, "set") && self.is(self.first + 1, "statement")
    }

    /// Whether this is where CALL names its procedure.
    pub(crate) fn is_called_by_name(&self, at: usize) -> bool {
        at == self.first + 1 && self.is(self.first, "call")
    }

    /// The token's bytes.
    pub(crate) fn text(&self, at: usize) -> &'a [u8] {
        self.tokens.get(at).map_or(&[], |token| &self.bytes[token.start..token.end])
    }

    pub(crate) fn kind(&self, at: usize) -> Option<Kind> {
        self.tokens.get(at).map(|token| token.kind)
    }

    /// Whether the token is this bare word.
    pub(crate) fn is(&self, at: usize, word: &str) -> bool {
        self.kind(at) == Some(Kind::Word) && self.text(at).eq_ignore_ascii_case(word.as_bytes())
    }

    /// Whether the token is one of these bare words.
    pub(crate) fn is_any(&self, at: usize, words: &[&str]) -> bool {
        words.iter().any(|word| self.is(at, word))
    }

    pub(crate) fn is_sign(&self, at: usize, sign: u8) -> bool {
        self.kind(at) == Some(Kind::Sign(sign))
    }

    pub(crate) fn is_name(&self, at: usize) -> bool {
        matches!(self.kind(at), Some(Kind::Word | Kind::Name))
    }

    /// The name that a token holds; `None` if it cannot be compared with names that are UTF-8.
    pub(crate) fn name(&self, at: usize) -> Option<Cow<'a, str>> {
        let text = self.text(at);
        if !self.is_utf8() && !text.is_ascii() {
            return None;
        }
        let text = std::str::from_utf8(text).ok()?;
        if self.kind(at) != Some(Kind::Name) || text.len() < 2 {
            return Some(Cow::Borrowed(text));
        }
        let quote = &text[..1];
        let inner = &text[1..text.len() - 1];
        if inner.contains(quote) {
            return Some(Cow::Owned(inner.replace(&quote.repeat(2), quote)));
        }
        Some(Cow::Borrowed(inner))
    }

    /// The name of a user variable, as servers compare it: without its quotes, in lower case, behind its `@`.
    pub(crate) fn variable(&self, at: usize) -> Vec<u8> {
        let text = self.text(at).to_ascii_lowercase();
        let [b'@', quote @ (b'\'' | b'"' | b'`'), inner @ .., last] = text.as_slice() else {
            return text;
        };
        let inner = if last == quote { inner } else { &text[2..] };
        let mut name = vec![b'@'];
        let mut bytes = inner.iter().peekable();
        while let Some(&byte) = bytes.next() {
            let is_escape = byte == b'\\' && self.mode.escapes_in(*quote);
            if is_escape || (byte == *quote && bytes.peek() == Some(&quote)) {
                name.extend(bytes.next());
            } else {
                name.push(byte);
            }
        }
        name
    }

    /// Whether the session's bytes are UTF-8.
    pub(crate) fn is_utf8(&self) -> bool {
        self.mode.charset == lexer::Charset::Utf8
    }

    pub(crate) fn span(&self, at: usize) -> Range<usize> {
        self.tokens.get(at).map_or(0..0, |token| token.start..token.end)
    }

    /// Whether any token is this bare word.
    pub(crate) fn has(&self, word: &str) -> bool {
        (0..self.tokens.len()).any(|at| self.is(at, word))
    }

    /// The statements of a packet, by their bytes. Empty ones are left out. From a body of statements on, the rest is one: only
    /// the server knows where that ends.
    pub(crate) fn split(&self) -> Vec<Range<usize>> {
        let mut out = Vec::new();
        let mut start = 0;
        let mut first = 0;
        let mut push = |range: Range<usize>, tokens: usize| {
            if tokens > 0 {
                out.push(range);
            }
        };
        let mut whole = verb::holds_statements(self, self.first);
        for (at, token) in self.tokens.iter().enumerate() {
            if token.kind == Kind::Sign(b';') && !whole {
                push(start..token.start, at - first);
                start = token.end;
                first = at + 1;
                whole = verb::holds_statements(self, first);
            }
        }
        // The semicolon behind a body is part of it.
        let end = if whole { self.bytes.len() } else { self.end };
        push(start..end, self.tokens.len() - first);
        out
    }
}

/// A place of a statement, and what it must read instead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Edit {
    pub(crate) at: Range<usize>,
    pub(crate) text: Vec<u8>,
}

/// The statement with its edits, which do not overlap. Without edits it is the same bytes.
pub(crate) fn splice<'a>(bytes: &'a [u8], edits: &mut Vec<Edit>) -> Cow<'a, [u8]> {
    if edits.is_empty() {
        return Cow::Borrowed(bytes);
    }
    edits.sort_by_key(|edit| (edit.at.start, edit.at.end));
    edits.dedup();
    let mut out = Vec::with_capacity(bytes.len() + edits.len() * 16);
    let mut at = 0;
    for edit in edits {
        out.extend_from_slice(&bytes[at..edit.at.start]);
        out.extend_from_slice(&edit.text);
        at = edit.at.end;
    }
    out.extend_from_slice(&bytes[at..]);
    Cow::Owned(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sql::verb::{Verb, verb};

    fn sql(text: &str) -> Sql<'_> {
        Sql::new(text.as_bytes(), Mode::default())
    }

    #[test]
    fn a_packet_is_taken_apart_and_keeps_its_bytes() {
        let cases: [(&str, &[&str]); 11] = [
            ("select 1", &["select 1"]),
            ("select 1; ", &["select 1"]),
            ("select 1 ; ; -- x\n;", &["select 1 "]),
            ("select 1; select ';' ;/* x */", &["select 1", " select ';' "]),
            (";;select 1;;select 2", &["select 1", "select 2"]),
            (" ; -- x", &[]),
            (
                "drop procedure if exists p; create or replace definer = a@'%' procedure p() begin select 1; end;",
                &[
                    "drop procedure if exists p",
                    " create or replace definer = a@'%' procedure p() begin select 1; end;",
                ],
            ),
            (
                "create table ev1 (id int, event varchar(9)); insert ev1 values (1, 'x')",
                &["create table ev1 (id int, event varchar(9))", " insert ev1 values (1, 'x')"],
            ),
            (
                "create definer=current_user() event e on schedule every 1 day do begin end; select 1",
                &[
                    "create definer=current_user() event e on schedule every 1 day do begin end; select 1",
                ],
            ),
            (
                "begin not atomic select 1; select 2; end;",
                &["begin not atomic select 1; select 2; end;"],
            ),
            (
                "set statement a = 1 for begin not atomic select 1; end; select 2",
                &["set statement a = 1 for begin not atomic select 1; end; select 2"],
            ),
        ];
        for (text, expected) in cases {
            let parts: Vec<&str> = sql(text).split().into_iter().map(|part| &text[part]).collect();
            assert_eq!(parts, expected, "{text}");
            assert_eq!(splice(text.as_bytes(), &mut Vec::new()), text.as_bytes());
        }
    }

    #[test]
    fn settings_of_one_statement_do_not_change_what_it_is() {
        for (text, expected) in [
            ("select 1;", Verb::Read),
            (";", Verb::Empty),
            ("update t set a = 1", Verb::Other),
            ("call p", Verb::Call),
            ("begin", Verb::Begin),
            ("begin work", Verb::Begin),
            ("begin truncate table t", Verb::Other),
            ("begin not atomic call p; end", Verb::Compound),
            ("if a then call p; end if", Verb::Compound),
            ("set a = 1", Verb::Set),
            ("use a", Verb::Use),
            ("start transaction with consistent snapshot", Verb::Snapshot),
            ("execute immediate 'call p'", Verb::Prepare),
            ("load data infile 'x' into table t", Verb::Load),
        ] {
            assert_eq!(verb(&sql(text)), expected, "{text}");
            for settings in
                ["set statement a = 1 for", "SET STATEMENT a=(1), b=2 FOR set statement c=f(1) for"]
            {
                let text = format!("{settings} {text}");
                assert_eq!(verb(&sql(&text)), expected, "{text}");
            }
        }
        assert_eq!(verb(&sql("set statement a = 1")), Verb::Other);
        assert_eq!(verb(&sql("set statement = 1")), Verb::Other);
    }

    #[test]
    fn a_variable_is_the_same_in_all_quotes() {
        for (text, name) in [
            ("@Res", "@res"),
            ("@`res`", "@res"),
            ("@'RES'", "@res"),
            ("@\"res\"", "@res"),
            ("@`a``b`", "@a`b"),
            ("@'a\\'b'", "@a'b"),
            ("@'a''b'", "@a'b"),
            ("@", "@"),
            ("@'a", "@a"),
        ] {
            assert_eq!(sql(text).variable(0), name.as_bytes(), "{text}");
        }
    }

    #[test]
    fn a_set_is_read_behind_settings_and_before_semicolons() {
        for text in [
            "set @a = 5, b = 1",
            "set @a = 5, b = 1;",
            "set statement c = 1 for set @a = 5, b = 1 ;",
        ] {
            let set = set::read(&sql(text)).unwrap();
            assert_eq!(set.names, ["b"], "{text}");
            assert_eq!(set.variables, [(b"@a".to_vec(), Some(b"5".to_vec()))], "{text}");
        }
        let text = "set statement c = @c for set @a = @b + 1, @d = f(@e, @a), x = @a;";
        let used: Vec<_> = set::used(&sql(text)).into_iter().map(|at| sql(text).text(at)).collect();
        assert_eq!(used, ["@c", "@b", "@e", "@a", "@a"].map(str::as_bytes));
    }
}
