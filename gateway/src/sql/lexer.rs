//! Statements as tokens: where names, strings and signs stand in the bytes that the client typed.
//!
//! A server reads bytes by three settings of the session: the client's character set (in gbk, big5, sjis and gb18030 the
//! second byte of a character can be a backslash or a backquote), `ANSI_QUOTES` and `NO_BACKSLASH_ESCAPES`. So does this
//! lexer. What it cannot know (a comment that only some versions run, a string without an end) it says:
//! [`Tokens::uncertain`]; whoever routes then trusts no structure and only looks for names.
//!
//! Invariants: no input panics; tokens are in order, do not overlap and lie within the input.

/// How a character set's bytes are read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Charset {
    /// Every byte below 0x80 is that ASCII character; what is above is UTF-8.
    #[default]
    Utf8,
    /// As before, but what is above means something else.
    Ascii,
    /// gbk: the second byte can be 0x40 to 0x7e.
    Gbk,
    /// big5: the same.
    Big5,
    /// sjis and cp932: the same.
    Sjis,
    /// gb18030: as gbk, and characters of four bytes.
    Gb18030,
}

impl Charset {
    /// By its name on the server.
    pub(crate) fn named(name: &[u8]) -> Self {
        match name {
            b"utf8" | b"utf8mb3" | b"utf8mb4" => Self::Utf8,
            b"gbk" => Self::Gbk,
            b"big5" => Self::Big5,
            b"sjis" | b"cp932" => Self::Sjis,
            b"gb18030" => Self::Gb18030,
            _ => Self::Ascii,
        }
    }

    /// Length of the character at the start of `bytes`: more than one only where bytes below 0x80 can be part of it.
    fn length(self, bytes: &[u8]) -> usize {
        let (Some(&lead), Some(&trail)) = (bytes.first(), bytes.get(1)) else { return 1 };
        let two = match self {
            Self::Utf8 | Self::Ascii => false,
            Self::Gbk => matches!(lead, 0x81..=0xfe) && matches!(trail, 0x40..=0x7e | 0x80..=0xfe),
            Self::Big5 => matches!(lead, 0xa1..=0xf9) && matches!(trail, 0x40..=0x7e | 0xa1..=0xfe),
            Self::Sjis => {
                matches!(lead, 0x81..=0x9f | 0xe0..=0xfc)
                    && matches!(trail, 0x40..=0x7e | 0x80..=0xfc)
            }
            Self::Gb18030 => {
                if matches!(lead, 0x81..=0xfe)
                    && matches!(bytes, [_, 0x30..=0x39, 0x81..=0xfe, 0x30..=0x39, ..])
                {
                    return 4;
                }
                matches!(lead, 0x81..=0xfe) && matches!(trail, 0x40..=0x7e | 0x80..=0xfe)
            }
        };
        if two { 2 } else { 1 }
    }
}

/// The session's settings that change how bytes are read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Mode {
    /// `character_set_client`.
    pub(crate) charset: Charset,
    /// Double quotes hold names.
    pub(crate) ansi_quotes: bool,
    /// A backslash is a character like any other.
    pub(crate) no_backslash_escapes: bool,
}

/// What a token is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A bare word or number.
    Word,
    /// A quoted name.
    Name,
    /// A string literal.
    Text,
    /// `@name`.
    Variable,
    /// `@@`; the name follows.
    System,
    /// Any other byte.
    Sign(u8),
}

/// A piece of a statement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Token {
    pub(crate) kind: Kind,
    /// First byte.
    pub(crate) start: usize,
    /// Behind its last byte.
    pub(crate) end: usize,
}

/// A statement's tokens.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tokens {
    pub(crate) list: Vec<Token>,
    /// What a server makes of it depends on what is not known here.
    pub(crate) uncertain: bool,
}

/// Takes a statement apart.
pub(crate) fn lex(sql: &[u8], mode: Mode) -> Tokens {
    let mut lexer = Lexer { sql, mode, at: 0, in_versioned: 0, out: Tokens::default() };
    while lexer.at < sql.len() {
        lexer.step();
    }
    lexer.out.uncertain |= lexer.in_versioned > 0;
    lexer.out
}

/// Comments with this version or an older one are run by every server that is supported.
const ALWAYS_RUN: u32 = 50_600;

struct Lexer<'a> {
    sql: &'a [u8],
    mode: Mode,
    at: usize,
    /// Depth of comments whose content is run.
    in_versioned: usize,
    out: Tokens,
}

impl Lexer<'_> {
    fn rest(&self) -> &[u8] {
        &self.sql[self.at..]
    }

    fn step(&mut self) {
        let rest = self.rest();
        match rest[0] {
            byte if byte.is_ascii_whitespace() || byte < 0x20 => self.at += 1,
            b'#' => self.skip_line(),
            b'-' if rest.starts_with(b"--") && rest.get(2).is_none_or(|b| *b <= b' ') => {
                self.skip_line();
            }
            b'/' if rest.starts_with(b"/*") => self.comment(),
            b'*' if self.in_versioned > 0 && rest.starts_with(b"*/") => {
                self.in_versioned -= 1;
                self.at += 2;
            }
            b'\'' => self.quoted(self.at, b'\'', Kind::Text),
            b'"' if self.mode.ansi_quotes => self.quoted(self.at, b'"', Kind::Name),
            b'"' => self.quoted(self.at, b'"', Kind::Text),
            b'`' => self.quoted(self.at, b'`', Kind::Name),
            b'@' => self.variable(),
            byte if is_word(byte) => {
                let start = self.at;
                self.skip_word(false);
                self.push(Kind::Word, start);
            }
            sign => {
                self.at += 1;
                self.push(Kind::Sign(sign), self.at - 1);
            }
        }
    }

    fn push(&mut self, kind: Kind, start: usize) {
        self.out.list.push(Token { kind, start, end: self.at });
    }

    fn skip_line(&mut self) {
        let length = memchr::memchr(b'\n', self.rest());
        self.at = length.map_or(self.sql.len(), |length| self.at + length + 1);
    }

    fn skip_word(&mut self, dots: bool) {
        while let Some(&byte) = self.sql.get(self.at) {
            if !(is_word(byte) || dots && byte == b'.') {
                break;
            }
            self.at += self.mode.charset.length(self.rest());
        }
    }

    fn comment(&mut self) {
        let rest = self.rest();
        let mark = match rest {
            [_, _, b'!', ..] => 3,
            [_, _, b'M', b'!', ..] => 4,
            _ => {
                let end = memchr::memmem::find(&rest[2..], b"*/");
                self.out.uncertain |= end.is_none();
                self.at = end.map_or(self.sql.len(), |end| self.at + end + 4);
                return;
            }
        };
        let digits = rest[mark..].iter().take_while(|byte| byte.is_ascii_digit()).count();
        let version = rest[mark..mark + digits.min(6)]
            .iter()
            .fold(0, |version, digit| version * 10 + u32::from(digit - b'0'));
        let known = mark == 3 && (digits == 0 || (digits == 5 && version <= ALWAYS_RUN));
        self.out.uncertain |= !known;
        self.in_versioned += 1;
        self.at += mark + digits;
    }

    fn quoted(&mut self, start: usize, quote: u8, kind: Kind) {
        let escapes = quote != b'`' && kind == Kind::Text && !self.mode.no_backslash_escapes;
        self.at += 1;
        loop {
            match self.rest() {
                [] => {
                    self.out.uncertain = true;
                    break;
                }
                [b'\\', _, ..] if escapes => {
                    self.at += 1;
                    self.at += self.mode.charset.length(self.rest());
                }
                [byte, next, ..] if *byte == quote && *next == quote => self.at += 2,
                [byte, ..] if *byte == quote => {
                    self.at += 1;
                    break;
                }
                rest => self.at += self.mode.charset.length(rest),
            }
        }
        self.push(kind, start);
    }

    fn variable(&mut self) {
        let start = self.at;
        match self.rest() {
            [_, b'@', ..] => {
                self.at += 2;
                self.push(Kind::System, start);
            }
            [_, quote @ (b'\'' | b'"' | b'`'), ..] => {
                let quote = *quote;
                self.at += 1;
                self.quoted(start, quote, Kind::Variable);
            }
            _ => {
                self.at += 1;
                self.skip_word(true);
                self.push(Kind::Variable, start);
            }
        }
    }
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'$') || byte >= 0x80
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn words(sql: &[u8], mode: Mode) -> Vec<String> {
        let tokens = lex(sql, mode);
        let text = |t: &Token| String::from_utf8_lossy(&sql[t.start..t.end]).into_owned();
        tokens.list.iter().map(text).collect()
    }

    #[test]
    fn tokens_are_told_apart() {
        let mode = Mode::default();
        assert_eq!(
            words(b"select a.`b``c`,'it''s \\'x', @v.w -- x\n@@y;#", mode),
            ["select", "a", ".", "`b``c`", ",", "'it''s \\'x'", ",", "@v.w", "@@", "y", ";"]
        );
        assert_eq!(words(b"1--1/* x ' */2--", mode), ["1", "-", "-", "1", "2"]);
    }

    #[test]
    fn settings_change_what_quotes_mean() {
        let kinds = |sql: &[u8], mode| {
            lex(sql, mode).list.iter().map(|token| token.kind).collect::<Vec<_>>()
        };
        let ansi = Mode { ansi_quotes: true, ..Mode::default() };
        assert_eq!(kinds(b"\"a\"", Mode::default()), [Kind::Text]);
        assert_eq!(kinds(b"\"a\"", ansi), [Kind::Name]);
        let plain = Mode { no_backslash_escapes: true, ..Mode::default() };
        assert_eq!(kinds(b"'\\' x", plain), [Kind::Text, Kind::Word]);
        assert!(lex(b"'\\' x", Mode::default()).uncertain);
    }

    #[test]
    fn second_bytes_are_not_quotes() {
        // 0x815c is one character in gbk and sjis, 0x8160 too.
        let gbk = Mode { charset: Charset::Gbk, ..Mode::default() };
        assert_eq!(lex(b"'\x81\x5c' x", gbk).list.len(), 2);
        assert!(lex(b"'\x81\x5c' x", Mode::default()).uncertain);
        assert_eq!(lex(b"`\x81\x60` x", gbk).list.len(), 2);
        let gb18030 = Mode { charset: Charset::Gb18030, ..Mode::default() };
        assert_eq!(lex(b"'\x81\x30\x81\x30\x81\x5c' x", gb18030).list.len(), 2);
    }

    #[test]
    fn versioned_comments_are_read_and_doubted() {
        let old = lex(b"/*!40000 ALTER */ x", Mode::default());
        assert!(old.list.len() == 2 && !old.uncertain);
        for sql in
            [&b"/*!80000 x */ y"[..], b"/*M!100100 x */ y", b"/*!500001 x */", b"/*! x", b"/* x"]
        {
            assert!(lex(sql, Mode::default()).uncertain, "{sql:?}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_read(bytes in proptest::collection::vec(
            prop_oneof![any::<u8>(), proptest::sample::select(&b"'\"`\\/*!-#@; \n\x81\x5c.0a"[..])], 0..60),
            charset in 0..6_usize, ansi_quotes: bool, no_backslash_escapes: bool)
        {
            let charset = [Charset::Utf8, Charset::Ascii, Charset::Gbk, Charset::Big5, Charset::Sjis, Charset::Gb18030][charset];
            let tokens = lex(&bytes, Mode { charset, ansi_quotes, no_backslash_escapes });
            let mut at = 0;
            for token in &tokens.list {
                prop_assert!(token.start >= at && token.end > token.start && token.end <= bytes.len());
                at = token.end;
            }
        }
    }
}
