//! What a statement is and which tables it names, by position in its bytes.
//!
//! [`lexer`] takes the bytes apart; [`finder`] finds the places where a table, a database or a routine is named; [`verb`]
//! says what kind of statement it is; [`set`] reads SET. None of it changes a statement: [`crate::route`] decides which
//! of the places must read otherwise, and [`splice`] writes them.
//!
//! A grammar of our own, and not a parser of all SQL: everything between the names passes as typed, so only the places
//! where names can stand have to be understood. Whatever is not understood is an error ([`finder::Unparsed`]), never a
//! guess; such a statement passes only if no name that matters is a token of it.

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
    mode: Mode,
}

impl<'a> Sql<'a> {
    pub(crate) fn new(bytes: &'a [u8], mode: Mode) -> Self {
        let tokens = lexer::lex(bytes, mode);
        Self { bytes, tokens: tokens.list, uncertain: tokens.uncertain, mode }
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
        if self.mode.charset != lexer::Charset::Utf8 && !text.is_ascii() {
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

    pub(crate) fn span(&self, at: usize) -> Range<usize> {
        self.tokens.get(at).map_or(0..0, |token| token.start..token.end)
    }

    /// Whether any token is this bare word.
    pub(crate) fn has(&self, word: &str) -> bool {
        (0..self.tokens.len()).any(|at| self.is(at, word))
    }

    /// The statements of a packet, by their bytes. Empty ones are left out. A body of a stored program is one statement.
    pub(crate) fn split(&self) -> Vec<Range<usize>> {
        let mut out = Vec::new();
        let mut start = 0;
        let mut first = 0;
        let mut push = |range: Range<usize>, tokens: usize| {
            if tokens > 0 {
                out.push(range);
            }
        };
        if verb::holds_statements(self) {
            return std::iter::once(0..self.bytes.len()).collect();
        }
        for (at, token) in self.tokens.iter().enumerate() {
            if token.kind == Kind::Sign(b';') {
                push(start..token.start, at - first);
                start = token.end;
                first = at + 1;
            }
        }
        push(start..self.bytes.len(), self.tokens.len() - first);
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
