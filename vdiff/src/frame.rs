//! The columns of a row framed as bytes, so that two rows have the same frame only if all their columns are the same, and the
//! expression with which a server makes 64 bits of it. What a column prints comes from [`crate::columns`]; ranges of rows are
//! folded in [`crate::fold`].
//!
//! # The binary frame (MariaDB from 10.8 on)
//! `words‖strings‖texts`: the words are 32 bits each and their number is that of the table: a bit for each column that may be NULL,
//! the whole numbers, the lengths of the strings. So where a string begins and ends is known before it is read. The texts are
//! those of which UTF-8 expects no byte above 0xF7; a separator stands between two of them: 0xFF in the frame that CRC32 reads, 0xFE
//! in the one that CRC32C reads. *Two rows that are the same in both frames are the same*, even where a text does hold such
//! bytes: words and strings are equal, so let the first text that differs be the shorter in the one row; where it ends, that row has
//! its separator and the other a byte of the text, which would have to be 0xFF and 0xFE. A text's length would say the same, but
//! costs another reading of the column, which is what time goes into (CHAR in UTF-8 most of all).
//!
//! No number is printed for a checksum: `CRC32(h ^ w, four zero bytes)` is the CRC32 of `h`'s bytes and the four of the word `w`, lowest
//! first, because a CRC adds the next 32 bits into its register before it shifts. The same holds for CRC32C.
//!
//! # The printed frame (MySQL, which has no CRC32C and no checksum that is carried on; older MariaDB)
//! `header‖payload`: the header is a list of fields of which none holds a comma, each followed by one; the payload is the bytes of all
//! strings without anything between, whose lengths are in the header. NULL is an `N` in the header.
//!
//! Its second sum is that of the bytes in reverse order *and one more*: without that the product would be the same for a text and for
//! the text in reverse, and both can be rows, (1, 'ab,6,1') and (1, 'ba,6,1').
//!
//! In both, ('a,b','c') is not ('a','b,c'), and NULL is neither '' nor 0.

use crate::columns::{Compared, Form};

/// Which two checksums are multiplied. Both sides use the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sums {
    /// CRC32 and CRC32C, carried on from column to column: MariaDB from 10.8 on.
    Chained,
    /// CRC32 of the framed row, and CRC32 of its bytes in reverse order: MySQL, which has no CRC32C, and older MariaDB.
    Reversed,
}

impl Sums {
    /// What the report says.
    pub fn name(self) -> &'static str {
        match self {
            Self::Chained => "CRC32 x CRC32C",
            Self::Reversed => "CRC32 x CRC32 of the reversed bytes and one more",
        }
    }

    /// How deeply the expression of a row is nested: a server's parser and evaluation take stack for each level.
    pub fn depth(self, columns: &[Compared]) -> usize {
        match self {
            Self::Chained => {
                let frame = Binary::new(columns, true);
                frame.words.len() + frame.strings.len() + 2 * frame.texts.len()
            }
            Self::Reversed => 0,
        }
    }

    /// The 64-bit value of a row.
    pub fn row(self, columns: &[Compared], of_source: bool) -> String {
        match self {
            Self::Chained => {
                let frame = Binary::new(columns, of_source);
                format!("{}*{}", frame.sum("CRC32", "x'FF'"), frame.sum("CRC32C", "x'FE'"))
            }
            Self::Reversed => {
                let whole = Printed::new(columns, of_source).whole();
                format!("CRC32({whole})*CRC32(CONCAT(REVERSE({whole}),'x'))")
            }
        }
    }
}

fn value(column: &Compared, of_source: bool) -> &str {
    if of_source { &column.source } else { &column.target }
}

fn or(column: &Compared, expression: &str, null: &str) -> String {
    if column.nullable { format!("IFNULL({expression},{null})") } else { expression.into() }
}

/// The parts of a binary frame.
struct Binary {
    words: Vec<String>,
    strings: Vec<String>,
    texts: Vec<String>,
}

impl Binary {
    fn new(columns: &[Compared], of_source: bool) -> Self {
        let mut words = null_words(columns, of_source);
        let (mut lengths, mut strings, mut texts) = (Vec::new(), Vec::new(), Vec::new());
        for column in columns {
            let value = value(column, of_source);
            match column.form {
                Form::Integer { wide } => {
                    let number = or(column, value, "0");
                    if wide {
                        words.push(format!("(({number})>>32)"));
                    }
                    words.push(format!("({number})"));
                }
                _ if column.utf8 => texts.push(or(column, value, "''")),
                _ => {
                    lengths.push(or(column, &format!("LENGTH({value})"), "0"));
                    strings.push(or(column, value, "''"));
                }
            }
        }
        words.append(&mut lengths);
        Self { words, strings, texts }
    }

    /// The checksum of the frame with this separator.
    fn sum(&self, sum: &str, separator: &str) -> String {
        let mut so_far = "0".to_owned();
        for word in &self.words {
            so_far = format!("{sum}({so_far}^{word},x'00000000')");
        }
        for string in &self.strings {
            so_far = format!("{sum}({so_far},{string})");
        }
        for (at, text) in self.texts.iter().enumerate() {
            if at > 0 {
                so_far = format!("{sum}({so_far},{separator})");
            }
            so_far = format!("{sum}({so_far},{text})");
        }
        so_far
    }
}

/// A bit for each column that may be NULL, 32 to a word.
fn null_words(columns: &[Compared], of_source: bool) -> Vec<String> {
    let nullable: Vec<&Compared> = columns.iter().filter(|column| column.nullable).collect();
    let words = nullable.chunks(32).map(|columns| {
        let bits = columns.iter().enumerate();
        let bits = bits.map(|(at, c)| format!("(({}) IS NULL)<<{at}", value(c, of_source)));
        format!("({})", bits.collect::<Vec<_>>().join("|"))
    });
    words.collect()
}

/// The parts of a printed frame.
struct Printed {
    header: Vec<String>,
    payload: Vec<String>,
}

impl Printed {
    fn new(columns: &[Compared], of_source: bool) -> Self {
        let (mut header, mut payload) = (Vec::new(), Vec::new());
        for column in columns {
            let value = value(column, of_source);
            match column.form {
                Form::Integer { .. } | Form::Plain => header.push(or(column, value, "'N'")),
                Form::Large => {
                    // Not concatenated: the whole could exceed max_allowed_packet, and would then be NULL. The sums of a
                    // NULL are left out, which the `N` before them says.
                    header.push(or(column, &format!("LENGTH({value})"), "'N'"));
                    header.push(format!("CRC32({value})"));
                    header.push(format!("CRC32(REVERSE(CAST({value} AS BINARY)))"));
                }
                Form::Bytes => {
                    header.push(or(column, &format!("LENGTH({value})"), "'N'"));
                    // Strings of several character sets cannot be concatenated as such.
                    payload.push(format!("CAST({} AS BINARY)", or(column, value, "''")));
                }
            }
        }
        Self { header, payload }
    }

    fn whole(&self) -> String {
        let header = format!("CONCAT_WS(',',{},'')", self.header.join(","));
        if self.payload.is_empty() {
            return header;
        }
        format!("CONCAT({header},{})", self.payload.join(","))
    }
}

#[cfg(test)]
mod tests {
    use shunt_engine::mysql::schema::Column;

    use super::*;

    fn column(name: &str, data_type: &str, charset: Option<&str>, nullable: bool) -> Compared {
        let column = Column {
            name: name.into(),
            data_type: data_type.into(),
            column_type: data_type.into(),
            charset: charset.map(Into::into),
            nullable,
            ..Column::default()
        };
        Compared::new(&column, &column).unwrap()
    }

    fn columns() -> Vec<Compared> {
        vec![
            column("id", "bigint", None, false),
            column("c", "char", Some("utf8mb4"), false),
            column("d", "date", None, true),
            column("b", "blob", None, true),
        ]
    }

    #[test]
    fn a_row_is_framed_in_binary() {
        let b = "IFNULL(LENGTH(`b`),0)";
        let mut words = "0^(((`d`) IS NULL)<<0|((`b`) IS NULL)<<1),x'00000000'".to_owned();
        for word in ["((`id`)>>32)", "(`id`)", b] {
            words = format!("CRC32({words})^{word},x'00000000'");
        }
        let strings = format!("CRC32(CRC32({words}),IFNULL(`b`,''))");
        let texts = format!("CRC32(CRC32(CRC32({strings},`c`),x'FF'),IFNULL(`d`,''))");
        let second = texts.replace("CRC32", "CRC32C").replace("FF", "FE");
        assert_eq!(Sums::Chained.row(&columns(), true), format!("{texts}*{second}"));
    }

    #[test]
    fn a_row_is_framed_in_print() {
        let header = "CONCAT_WS(',',`id`,LENGTH(`c`),IFNULL(`d`,'N'),IFNULL(LENGTH(`b`),'N'),CRC32(`b`),\
             CRC32(REVERSE(CAST(`b` AS BINARY))),'')";
        let whole = format!("CONCAT({header},CAST(`c` AS BINARY))");
        assert_eq!(
            Sums::Reversed.row(&columns(), true),
            format!("CRC32({whole})*CRC32(CONCAT(REVERSE({whole}),'x'))")
        );
    }

    #[test]
    fn the_depth_is_that_of_the_expression() {
        let depth = Sums::Chained.depth(&columns());
        assert_eq!(depth, 1 + 2 + 1 + 1 + 4);
        assert_eq!(Sums::Reversed.depth(&columns()), 0, "one list");
    }

    #[test]
    fn more_than_32_nullable_columns_need_a_second_word() {
        let columns: Vec<Compared> =
            (0..33).map(|at| column(&format!("c{at}"), "int", None, true)).collect();
        assert_eq!(null_words(&columns, true).len(), 2);
        assert_eq!(null_words(&columns, true)[1], "(((`c32`) IS NULL)<<0)");
    }
}
