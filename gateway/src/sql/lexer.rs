//! Statements as tokens: where names, strings and signs stand in the bytes that the client typed.
//!
//! A server reads bytes by three settings of the session: the client's character set (in gbk, big5, sjis and gb18030 the
//! second byte of a character can be a backslash or a backquote), `ANSI_QUOTES` and `NO_BACKSLASH_ESCAPES`. So does this
//! lexer. What it cannot know (a comment that only some versions run, a string without an end, a byte that may be a letter or a
//! space by the character set) it says: [`Tokens::uncertain`]; whoever routes then trusts no structure and only looks for names.
//!
//! Where a number ends is the server's rule, odd as it is: `1.0from` is a number and a word, `1from` is a word.
//!
//! Invariants: no input panics; tokens are in order, do not overlap and lie within the input.

/// How a character set's bytes are read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Charset {
    /// Every byte below 0x80 is that ASCII character; what is above is UTF-8.
    #[default]
    Utf8,
    /// As before, but what is above means something else: letters, signs, even spaces.
    Ascii,
    /// latin1: as before, but from 0xc0 on there are letters, and two signs.
    Latin1,
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
            b"latin1" => Self::Latin1,
            b"gbk" => Self::Gbk,
            b"big5" => Self::Big5,
            b"sjis" | b"cp932" => Self::Sjis,
            b"gb18030" => Self::Gb18030,
            _ => Self::Ascii,
        }
    }

    /// Whether a byte outside of quotes may be something else than part of a word.
    fn doubts(self, byte: u8) -> bool {
        match self {
            Self::Ascii => byte >= 0x80,
            Self::Latin1 => matches!(byte, 0x80..0xc0 | 0xd7 | 0xf7),
            Self::Utf8 | Self::Gbk | Self::Big5 | Self::Sjis | Self::Gb18030 => false,
        }
    }

    /// Length of the character at the start of `bytes`: more than one only where bytes below 0x80 can be part of it.
    fn length(self, bytes: &[u8]) -> usize {
        let (Some(&lead), Some(&trail)) = (bytes.first(), bytes.get(1)) else { return 1 };
        let two = match self {
            Self::Utf8 | Self::Ascii | Self::Latin1 => false,
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

impl Mode {
    /// Whether a backslash stands for the character behind it, between these quotes; in a variable's name as in a string.
    pub(crate) fn escapes_in(self, quote: u8) -> bool {
        let is_string = quote == b'\'' || (quote == b'"' && !self.ansi_quotes);
        is_string && !self.no_backslash_escapes
    }
}

/// What a token is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A bare word, which may begin with digits.
    Word,
    /// A number.
    Number,
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
            // At the end some drivers send it; elsewhere no server reads on behind it.
            0 => {
                self.out.uncertain |= rest.len() > 1;
                self.at += 1;
            }
            byte if byte.is_ascii_whitespace() || byte < 0x20 => self.at += 1,
            b'#' => self.skip_line(),
            b'-' if rest.starts_with(b"--")
                && rest.get(2).is_none_or(|b| *b <= b' ' || *b == 0x7f) =>
            {
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
            b'0'..=b'9' | b'.' => self.number_or_name(),
            byte if is_word(byte) => self.word(),
            sign => {
                self.at += 1;
                self.push(Kind::Sign(sign), self.at - 1);
            }
        }
    }

    /// At a digit or a dot. Right behind a dot, digits are the beginning of a name, and so is a dot right behind a word.
    fn number_or_name(&mut self) {
        let before = self.out.list.last().filter(|token| token.end == self.at);
        let part_of_name = match self.sql[self.at] {
            b'.' => before.is_some_and(|token| token.kind == Kind::Word),
            _ => before.is_some_and(|token| token.kind == Kind::Sign(b'.')),
        };
        let length = if part_of_name { None } else { number(self.rest()) };
        match length {
            Some(length) => {
                let start = self.at;
                self.at += length;
                // The server forgets what it has read of it.
                self.out.uncertain |= is_broken(&self.sql[start..]);
                self.push(Kind::Number, start);
            }
            None if self.sql[self.at] == b'.' => {
                self.at += 1;
                self.push(Kind::Sign(b'.'), self.at - 1);
            }
            None => self.word(),
        }
    }

    fn word(&mut self) {
        let start = self.at;
        self.skip_word(false);
        self.push(Kind::Word, start);
    }

    fn push(&mut self, kind: Kind, start: usize) {
        self.out.list.push(Token { kind, start, end: self.at });
    }

    fn skip_line(&mut self) {
        let rest = self.rest();
        let length = memchr::memchr(b'\n', rest).map_or(rest.len(), |length| length + 1);
        // A server ends the comment there.
        self.out.uncertain |= memchr::memchr(0, &rest[..length]).is_some();
        self.at += length;
    }

    fn skip_word(&mut self, dots: bool) {
        while let Some(&byte) = self.sql.get(self.at) {
            if !(is_word(byte) || dots && byte == b'.') {
                break;
            }
            // A variable's name is read byte by byte.
            let doubted = self.mode.charset.doubts(byte);
            self.out.uncertain |= doubted || (dots && self.mode.charset.length(self.rest()) > 1);
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
        let escapes = self.mode.escapes_in(quote);
        self.at += 1;
        loop {
            match self.rest() {
                [] => {
                    self.out.uncertain = true;
                    break;
                }
                // One byte, though it may be the first one of a character.
                [b'\\', _, ..] if escapes => self.at += 2,
                [byte, next, ..] if *byte == quote && *next == quote => self.at += 2,
                [byte, ..] if *byte == quote => {
                    self.at += 1;
                    break;
                }
                rest => {
                    // Some servers end a name there.
                    let ends = rest[0] == 0 && kind != Kind::Text;
                    self.at += self.mode.charset.length(rest);
                    self.out.uncertain |= ends;
                }
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

/// How long the number is that begins here, as servers read it; none if it is a name, or a dot.
///
/// Digits end at a letter only with a dot or an exponent: `1.0from` is `1.0` and `from`, `1e0from` is `1e0` and `from`, while `1from`
/// and `0x1g` are names.
fn number(bytes: &[u8]) -> Option<usize> {
    let digits = |from: usize| count(bytes, from, u8::is_ascii_digit);
    let ends = |at: usize| !bytes.get(at).is_some_and(|byte| is_word(*byte));
    match bytes {
        [b'0', b'x', ..] => {
            let length = count(bytes, 2, u8::is_ascii_hexdigit);
            return (length > 0 && ends(2 + length)).then_some(2 + length);
        }
        [b'0', b'b', ..] => {
            let length = count(bytes, 2, |byte| matches!(byte, b'0' | b'1'));
            return (length > 0 && ends(2 + length)).then_some(2 + length);
        }
        _ => {}
    }
    let whole = digits(0);
    let behind = match bytes.get(whole) {
        Some(b'.') => whole + 1 + digits(whole + 1),
        _ => whole,
    };
    let exponent = exponent(&bytes[behind..]);
    let has_dot = behind > whole;
    let is_number = behind > 1 && has_dot || whole > 0 && (ends(behind) || exponent > 0);
    is_number.then_some(behind + exponent)
}

/// The length of an exponent; 0 if it is none.
fn exponent(bytes: &[u8]) -> usize {
    let signed = usize::from(matches!(bytes.get(1), Some(b'+' | b'-')));
    let digits = count(bytes, 1 + signed, u8::is_ascii_digit);
    if matches!(bytes.first(), Some(b'e' | b'E')) && digits > 0 { 1 + signed + digits } else { 0 }
}

/// Whether a number with a dot has an exponent without digits. A server then takes the sign behind it, and nothing before that.
fn is_broken(bytes: &[u8]) -> bool {
    let whole = count(bytes, 0, u8::is_ascii_digit);
    if bytes.get(whole) != Some(&b'.') {
        return false;
    }
    let behind = whole + 1 + count(bytes, whole + 1, u8::is_ascii_digit);
    matches!(bytes.get(behind), Some(b'e' | b'E')) && exponent(&bytes[behind..]) == 0
}

/// How many bytes from here on are such ones.
fn count(bytes: &[u8], from: usize, is: impl Fn(&u8) -> bool) -> usize {
    bytes.iter().skip(from).take_while(|byte| is(byte)).count()
}

#[cfg(test)]
mod tests;
