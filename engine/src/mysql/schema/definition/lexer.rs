//! Tokens of a definition as servers print it: quoted names, strings, words, punctuation, versioned comments.

use crate::error::{Error, Result};

/// What a token is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A backquoted name; `value` is the name.
    Ident,
    /// A quoted string; `value` is its content.
    Text,
    /// A bare word or number; `value` is it in upper case.
    Word,
    /// One character of anything else; `value` is it.
    Punct,
    /// `/*!50100` or `/*M!100301`.
    CommentOpen,
    /// `*/`
    CommentClose,
}

/// One token and where it stands.
#[derive(Clone, Debug)]
pub(crate) struct Token {
    pub(crate) kind: Kind,
    pub(crate) value: String,
    pub(crate) start: usize,
    pub(crate) end: usize,
}

impl Token {
    pub(crate) fn is_word(&self, word: &str) -> bool {
        self.kind == Kind::Word && self.value == word
    }

    fn is_punct(&self, punct: char) -> bool {
        self.kind == Kind::Punct && self.value.starts_with(punct)
    }
}

/// All tokens of a text.
pub(crate) fn tokens(sql: &str) -> Result<Vec<Token>> {
    let mut out = Vec::new();
    let mut at = 0;
    while let Some(c) = sql[at..].chars().next() {
        let rest = &sql[at..];
        let (kind, value, length) = match c {
            _ if c.is_whitespace() => {
                at += c.len_utf8();
                continue;
            }
            '`' => quoted(rest, '`', Kind::Ident)?,
            '\'' | '"' => quoted(rest, c, Kind::Text)?,
            '/' if rest.starts_with("/*") => comment_open(rest)?,
            '*' if rest.starts_with("*/") => (Kind::CommentClose, "*/".to_owned(), 2),
            _ if is_word_char(c) => word(rest),
            _ => (Kind::Punct, c.to_string(), c.len_utf8()),
        };
        out.push(Token { kind, value, start: at, end: at + length });
        at += length;
    }
    Ok(out)
}

fn is_word_char(c: char) -> bool {
    c.is_alphanumeric() || c == '_' || c == '$'
}

fn word(rest: &str) -> (Kind, String, usize) {
    let length = rest.find(|c| !is_word_char(c)).unwrap_or(rest.len());
    (Kind::Word, rest[..length].to_uppercase(), length)
}

/// How MariaDB marks a column made with `mysql56_temporal_format=OFF`.
const OLD_TEMPORAL: &str = "/* mariadb-5.3 */";

fn comment_open(rest: &str) -> Result<(Kind, String, usize)> {
    if rest.starts_with(OLD_TEMPORAL) {
        return Err(Error::stop(
            "a TIME, DATETIME or TIMESTAMP column is kept in the format of before MariaDB 10.0 (mariadb-5.3), which is not carried",
        )
        .advice("With mysql56_temporal_format=ON, `ALTER TABLE … FORCE` gives it the format of today."));
    }
    let mark = ["/*!", "/*M!"].into_iter().find(|mark| rest.starts_with(mark));
    let mark = mark.ok_or_else(|| Error::stop("table definition holds a plain comment"))?;
    let digits = &rest[mark.len()..];
    let digits = digits.find(|c: char| !c.is_ascii_digit()).unwrap_or(digits.len());
    let length = mark.len() + digits;
    Ok((Kind::CommentOpen, rest[..length].to_owned(), length))
}

/// A quoted name or string. The quote is doubled inside; in strings a backslash escapes as well.
fn quoted(rest: &str, quote: char, kind: Kind) -> Result<(Kind, String, usize)> {
    let mut value = String::new();
    let mut chars = rest.char_indices().skip(1).peekable();
    while let Some((at, c)) = chars.next() {
        if c == quote {
            if chars.next_if(|&(_, next)| next == quote).is_none() {
                return Ok((kind, value, at + c.len_utf8()));
            }
            value.push(quote);
        } else if c == '\\' && kind == Kind::Text {
            value.extend(chars.next().map(|(_, escaped)| unescape(escaped)));
        } else {
            value.push(c);
        }
    }
    Err(Error::stop("table definition holds a quote without an end"))
}

fn unescape(escaped: char) -> char {
    match escaped {
        '0' => '\0',
        'n' => '\n',
        'r' => '\r',
        't' => '\t',
        'b' => '\u{8}',
        'Z' => '\u{1a}',
        other => other,
    }
}

/// A place in a list of tokens.
#[derive(Debug)]
pub(crate) struct Cursor<'a> {
    sql: &'a str,
    tokens: &'a [Token],
    at: usize,
}

impl<'a> Cursor<'a> {
    pub(crate) fn new(sql: &'a str, tokens: &'a [Token]) -> Self {
        Self { sql, tokens, at: 0 }
    }

    pub(crate) fn peek(&self) -> Option<&'a Token> {
        self.peek_at(0)
    }

    pub(crate) fn peek_at(&self, ahead: usize) -> Option<&'a Token> {
        self.tokens.get(self.at + ahead)
    }

    pub(crate) fn skip(&mut self, tokens: usize) {
        self.at += tokens;
    }

    fn next(&mut self) -> Option<&'a Token> {
        let token = self.tokens.get(self.at)?;
        self.at += 1;
        Some(token)
    }

    fn next_of(&mut self, kind: Kind) -> Result<&'a Token> {
        match self.next() {
            Some(token) if token.kind == kind => Ok(token),
            _ => {
                self.at = self.at.saturating_sub(1);
                Err(self.not_understood())
            }
        }
    }

    pub(crate) fn next_word(&mut self) -> Result<String> {
        Ok(self.next_of(Kind::Word)?.value.clone())
    }

    pub(crate) fn expect_word(&mut self, word: &str) -> Result<()> {
        if self.next_word()? == word { Ok(()) } else { Err(self.not_understood()) }
    }

    pub(crate) fn expect_ident(&mut self) -> Result<String> {
        Ok(self.next_of(Kind::Ident)?.value.clone())
    }

    pub(crate) fn expect_comment_close(&mut self) -> Result<()> {
        self.next_of(Kind::CommentClose).map(drop)
    }

    pub(crate) fn expect_punct(&mut self, punct: char) -> Result<()> {
        if self.take_punct(punct) { Ok(()) } else { Err(self.not_understood()) }
    }

    pub(crate) fn take_punct(&mut self, punct: char) -> bool {
        let found = self.peek().is_some_and(|token| token.is_punct(punct));
        self.at += usize::from(found);
        found
    }

    /// `(a, b)`, quoted names only.
    pub(crate) fn ident_list(&mut self) -> Result<Vec<String>> {
        self.expect_punct('(')?;
        let mut names = vec![self.expect_ident()?];
        while self.take_punct(',') {
            names.push(self.expect_ident()?);
        }
        self.expect_punct(')')?;
        Ok(names)
    }

    /// An option's value: a word, a name, a string, or what stands in parentheses.
    pub(crate) fn value(&mut self) -> Result<String> {
        let start = self.peek().map_or(self.sql.len(), |token| token.start);
        if self.take_punct('(') {
            while self.take_part()?.1 {}
            return Ok(self.text_from(start).to_owned());
        }
        match self.next() {
            Some(token) if token.kind == Kind::Word => {
                Ok(self.sql[token.start..token.end].to_owned())
            }
            Some(token) if matches!(token.kind, Kind::Ident | Kind::Text) => {
                Ok(token.value.clone())
            }
            _ => Err(self.not_understood()),
        }
    }

    /// The tokens up to the next comma of this level, and whether there is one; else up to the closing parenthesis of
    /// this level. Both are passed over.
    pub(crate) fn take_part(&mut self) -> Result<(&'a [Token], bool)> {
        let first = self.at;
        let mut depth = 0_usize;
        while let Some(token) = self.next() {
            let part = &self.tokens[first..self.at - 1];
            if token.is_punct('(') {
                depth += 1;
            } else if depth == 0 && token.is_punct(',') {
                return Ok((part, true));
            } else if depth == 0 && token.is_punct(')') {
                return Ok((part, false));
            } else if token.is_punct(')') {
                depth -= 1;
            }
        }
        Err(self.not_understood())
    }

    /// The text from `start` to the last token passed over.
    pub(crate) fn text_from(&self, start: usize) -> &'a str {
        let end = self.at.checked_sub(1).and_then(|last| self.tokens.get(last));
        &self.sql[start..end.map_or(start, |token| token.end)]
    }

    /// The text from `start` to the end.
    pub(crate) fn rest_from(&self, start: usize) -> &'a str {
        &self.sql[start..]
    }

    pub(crate) fn not_understood(&self) -> Error {
        let at = self.peek().map_or(self.sql.len(), |token| token.start);
        let near: String = self.sql[at..].chars().take(40).collect();
        Error::stop(format!("table definition is not understood near {near:?}"))
            .advice("Leave this table out, or report its definition.")
    }
}
