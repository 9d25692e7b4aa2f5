//! The condition of `--where`: what the operator typed, made to mean the same on both sides, whatever the sessions' settings.
//!
//! The sessions that compare take bytes as they are (`SET NAMES binary`), so a string would be compared with a column byte by byte: 'ä', typed
//! in UTF-8, finds nothing in latin1, and no string finds anything in utf16. *No row of either side* would be equality. Therefore strings
//! get the introducer `_utf8mb4`, with which they mean what they mean to a client in UTF-8. The grammar does not take it everywhere
//! (`DATE '2020-01-01'`, `USING`, `->`); it is written behind signs and the [`words`](TAKES) that take any expression. Where it is not
//! written, a string keeps its meaning as long as it is ASCII, and other ones are refused.
//!
//! A condition stands in parentheses in statements with others, so it must be whole: comments and parentheses that do not match are
//! refused, which would change what is compared. So are columns with another name on the target. What only servers
//! know (names, types) they say before anything is compared: [`check`].

use shunt_engine::mysql::names::lowered;
use std::ops::Range;

use shunt_engine::changes::lexer::{Piece, pieces};
use shunt_engine::mysql::sql;
use shunt_engine::mysql::wire::Wire;
use shunt_engine::{Error, ErrorKind, Result};

use crate::pair::{Pair, Side};
use crate::sides::Sides;

/// Words behind which any expression may stand, and so an introducer.
const TAKES: [&str; 21] = [
    "and", "between", "binary", "both", "case", "div", "else", "from", "in", "interval", "leading",
    "like", "mod", "not", "or", "regexp", "rlike", "then", "trailing", "when", "xor",
];

/// ER_NO_DB_ERROR.
const NO_DATABASE: u16 = 1046;

/// The condition as both sides are asked. `map` has the columns with another name on the target.
///
/// # Errors
/// Usage if it is not whole, or if it cannot mean the same on both sides.
pub(crate) fn read(text: &str, map: &[(String, String)]) -> Result<String> {
    let pieces = pieces(text).ok_or_else(|| {
        refused("has a quote or comment without an end, or a backslash outside of quotes")
    })?;
    check_whole(text, &pieces)?;
    check_names(text, &pieces, map)?;
    introduced(text, &pieces)
}

fn refused(why: &str) -> Error {
    Error::usage(format!("the condition of --where {why}"))
        .advice("Give --where one SQL condition without comments, such as: --where \"id < 1000\".")
}

fn check_whole(text: &str, pieces: &[(Piece, Range<usize>)]) -> Result<()> {
    let (mut end, mut depth) = (0, 0_usize);
    let is_space = |between: &str| between.chars().all(|c| c <= ' ' || c == '\u{7f}');
    for (piece, at) in pieces {
        if !is_space(&text[end..at.start]) {
            return Err(refused("has a comment"));
        }
        end = at.end;
        depth = match piece {
            Piece::Sign('(') => depth + 1,
            Piece::Sign(')') => {
                depth.checked_sub(1).ok_or_else(|| refused("closes a parenthesis too many"))?
            }
            Piece::Sign(';') => return Err(refused("has a semicolon")),
            _ => depth,
        };
    }
    match (pieces.is_empty(), depth) {
        _ if !is_space(&text[end..]) => Err(refused("has a comment")),
        (true, _) => Err(refused("is empty")),
        (false, 0) => Ok(()),
        (false, _) => Err(refused("leaves a parenthesis open")),
    }
}

fn check_names(
    text: &str,
    pieces: &[(Piece, Range<usize>)],
    map: &[(String, String)],
) -> Result<()> {
    for (piece, at) in pieces {
        let name = match piece {
            Piece::Word => text[at.clone()].to_owned(),
            Piece::Name => text[at.start + 1..at.end - 1].replace("``", "`"),
            Piece::Text | Piece::Sign(_) => continue,
        };
        let is = |other: &str| lowered(other) == lowered(&name);
        if let Some((source, target)) = map.iter().find(|(s, t)| is(s) != is(t)) {
            return Err(Error::usage(format!(
                "the condition of --where names {}, but --map says that column {} is {} on the target, and both sides are asked the same",
                sql::ident(&name),
                sql::ident(source),
                sql::ident(target)
            ))
            .advice("Name only columns in --where that have the same name on both sides."));
        }
    }
    Ok(())
}

/// With an introducer before each string that takes one.
fn introduced(text: &str, pieces: &[(Piece, Range<usize>)]) -> Result<String> {
    let (mut out, mut end) = (String::new(), 0);
    // Whether what stands before is a string that says its character set: one behind it is the rest of it.
    let mut goes_on = false;
    for (nth, (piece, at)) in pieces.iter().enumerate() {
        if *piece != Piece::Text {
            goes_on = false;
            continue;
        }
        let string = &text[at.clone()];
        let before = &pieces[..nth];
        let rest = matches!(before.last(), Some((Piece::Text, _)));
        let own = says_charset(text, before, at.start) || rest && goes_on;
        let takes = !rest && !own && takes_introducer(text, before);
        if takes {
            out.push_str(&text[end..at.start]);
            out.push_str("_utf8mb4");
            end = at.start;
        }
        if !takes && !own && !string.is_ascii() {
            return Err(Error::usage(format!(
                "the condition of --where has {string} where it cannot be told to be in UTF-8"
            ))
            .advice("Write it in hexadecimal, such as: --where \"name = _utf8mb4 x'c3a4'\"."));
        }
        goes_on = takes || own;
    }
    out.push_str(&text[end..]);
    Ok(out)
}

/// Whether an introducer, or one of `N`, `X` and `B` right before it, says of what character set a string is.
fn says_charset(text: &str, before: &[(Piece, Range<usize>)], start: usize) -> bool {
    let Some((Piece::Word, at)) = before.last() else { return false };
    let word = text[at.clone()].to_ascii_lowercase();
    word.starts_with('_') || at.end == start && matches!(&*word, "n" | "x" | "b")
}

fn takes_introducer(text: &str, before: &[(Piece, Range<usize>)]) -> bool {
    match before {
        [] => true,
        // `->` and `->>` want a bare string.
        [.., (Piece::Sign('-'), dash), (Piece::Sign('>'), sign)] if dash.end == sign.start => false,
        [.., (Piece::Sign('>'), one), (Piece::Sign('>'), two)] if one.end == two.start => false,
        [.., (Piece::Sign(sign), _)] => !matches!(sign, ')' | '.'),
        [.., (Piece::Word, at)] => TAKES.contains(&&*text[at.clone()].to_ascii_lowercase()),
        _ => false,
    }
}

/// Asks both sides whether they understand the condition.
///
/// # Errors
/// Usage if one does not; of the servers.
pub(crate) async fn check(sides: &mut Sides, pair: &Pair) -> Result<()> {
    for (side, name) in [(Side::Source, "source"), (Side::Target, "target")] {
        let Some(query) = pair.condition_query(side) else { return Ok(()) };
        let wire = if side == Side::Source { &mut sides.source } else { &mut sides.target };
        understood(wire, query).await.map_err(|error| explained(error, name))?;
    }
    Ok(())
}

async fn understood(wire: &mut Wire, query: Vec<u8>) -> Result<()> {
    wire.rows(query).await.map(drop)
}

fn explained(error: Error, side: &str) -> Error {
    if error.kind() == ErrorKind::Retry || error.server_code().is_none() {
        return error;
    }
    let advice = match error.server_code() {
        Some(NO_DATABASE) => {
            "Name the database of every table in a subquery: --where \"id IN (SELECT id FROM db.other)\"."
        }
        _ => "Mend --where: one SQL condition that both sides understand.",
    };
    Error::usage(format!("the condition of --where is not understood by the {side}: {error}"))
        .advice(advice)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_say_that_they_are_in_utf8() {
        for (typed, asked) in [
            ("v='ä'", "v=_utf8mb4'ä'"),
            ("v = \"ä\" or w like 'x%'", "v = _utf8mb4\"ä\" or w like _utf8mb4'x%'"),
            ("v in ('a','ä' 'ö')", "v in (_utf8mb4'a',_utf8mb4'ä' 'ö')"),
            ("v=_latin1'x' and u=x'ff' and w=N'ä'", "v=_latin1'x' and u=x'ff' and w=N'ä'"),
            ("v=_utf8mb4 'ä' 'ö'", "v=_utf8mb4 'ä' 'ö'"),
            ("d>=DATE '2020-01-01'", "d>=DATE '2020-01-01'"),
            (
                "d < now() - interval '1:1' minute_second",
                "d < now() - interval _utf8mb4'1:1' minute_second",
            ),
            (
                "j->'$.a'>'1' and j->>'$.b' > '2'",
                "j->'$.a'>_utf8mb4'1' and j->>'$.b' > _utf8mb4'2'",
            ),
            ("`größe`='\\'' and größe>5", "`größe`=_utf8mb4'\\'' and größe>5"),
            ("id<5", "id<5"),
        ] {
            assert_eq!(read(typed, &[]).unwrap(), asked);
        }
        for typed in
            ["d = date 'ä'", "j->'$.ä'=1", "v = 'a' collate 'ä'", "v=x 'ä'", "'a' = date 'a' 'ä'"]
        {
            let error = read(typed, &[]).unwrap_err();
            assert!(error.to_string().contains("UTF-8"), "{typed}: {error}");
        }
    }

    #[test]
    fn only_a_whole_condition_is_taken() {
        for typed in [
            "",
            "  ",
            "id<5 #",
            "id<5 -- ",
            "id<5) -- ",
            "id<5) or (1=1",
            "(id<5",
            "id<5)",
            "id /* x */ <5",
            "id<5 /*!50000 or 1*/",
            "id='",
            "id<5; drop table t",
            "# x",
            "id<5 */",
            "id<5 --",
        ] {
            let error = read(typed, &[]).unwrap_err();
            assert!(error.to_string().contains("--where"), "{typed}: {error}");
            assert_eq!(error.kind(), ErrorKind::Usage, "{typed}");
        }
        for typed in ["id<--5", "id in (1,(2))", "v='-- #' or v=\"/*\"", "id*/*x*/1=1"] {
            assert_eq!(read(typed, &[]).is_ok(), !typed.contains("x*"), "{typed}");
        }
    }

    #[test]
    fn a_column_with_another_name_there_is_not_asked_for() {
        let map = [("b".to_owned(), "c".to_owned()), ("d".to_owned(), "D".to_owned())];
        for typed in ["b=1", "id=1 or `B`=2", "c=1", "t.c=1"] {
            let error = read(typed, &map).unwrap_err();
            assert!(error.to_string().contains("--map"), "{typed}: {error}");
        }
        assert!(read("d=1 and v='b'", &map).is_ok());
    }
}
