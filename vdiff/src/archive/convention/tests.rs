//! Each type there and back, and what no type holds.

use proptest::prelude::*;

use super::*;

fn column(data_type: &str, column_type: &str, charset: Option<&str>) -> Column {
    Column {
        data_type: data_type.into(),
        column_type: column_type.into(),
        charset: charset.map(Into::into),
        ..Column::default()
    }
}

fn there_and_back(column: &Column, printed: &[&str]) {
    let convention = Convention::of(column, true);
    for text in printed {
        let cell = convention.parse(text.as_bytes());
        let back = cell.as_ref().and_then(|cell| convention.print(cell));
        let back = back.map(|back| String::from_utf8(back).unwrap());
        assert_eq!(back.as_deref(), Some(*text), "{}: {cell:?}", column.column_type);
    }
}

#[test]
fn what_is_written_comes_back() {
    let max = "18446744073709551615";
    let cases: &[(&str, &str, &[&str])] = &[
        ("tinyint", "tinyint(4)", &["-128", "127", "0"]),
        ("int", "int(10) unsigned", &["4294967295", "0"]),
        ("bigint", "bigint(20) unsigned", &[max, "9223372036854775808", "0"]),
        ("bigint", "bigint(20)", &["-9223372036854775808", "9223372036854775807"]),
        ("year", "year(4)", &["0", "1901", "2155"]),
        ("bit", "bit(64)", &[max, "0"]),
        ("decimal", "decimal(5,2)", &["-999.99", "0.01", "0.00", "-0.01"]),
        ("decimal", "decimal(38,0)", &["99999999999999999999999999999999999999", "-1"]),
        ("decimal", "decimal(10,10)", &["0.9999999999", "-0.0000000001"]),
        (
            "decimal",
            "decimal(65,30)",
            &["-99999999999999999999999999999999999.999999999999999999999999999999", "0.1"],
        ),
        ("date", "date", &["2020-02-29", "0001-01-01", "0000-00-00", "2020-00-00", "2021-02-30"]),
        ("datetime", "datetime(3)", &["2020-01-01 00:00:00.001", "0000-00-00 00:00:00.000"]),
        ("timestamp", "timestamp(6)", &["1970-01-01 00:00:01.000001"]),
        ("time", "time(4)", &["-838:59:59.0000", "838:59:59.9999", "-00:00:00.0001"]),
        ("enum", "enum('z','b,c','é')", &["0", "1", "2", "3"]),
        ("enum", "enum('z','')", &["0", "1", "2"]),
        ("set", "set('a','b','ö')", &["0", "1", "5", "7"]),
        (
            "double",
            "double",
            &["0.1", "-0", "5e-324", "1.7976931348623157e308", "0.30000000000000004"],
        ),
        ("float", "float", &["16777216", "0.10000000149011612", "-0"]),
    ];
    for (data_type, column_type, printed) in cases {
        there_and_back(&column(data_type, column_type, None), printed);
    }
    there_and_back(&column("varchar", "varchar(9)", Some("utf8mb4")), &["", "a ", "😀"]);
}

#[test]
fn what_is_not_a_value_of_the_column_is_none() {
    let cases: &[(&str, &str, &[u8])] = &[
        ("tinyint", "tinyint(4)", b"128"),
        ("int", "int(10) unsigned", b"4294967296"),
        ("float", "float", b"0.1"),
        ("decimal", "decimal(5,2)", b"1000.00"),
        ("decimal", "decimal(5,2)", b"0.001"),
        ("time", "time", b"00:00:00.1"),
        ("enum", "enum('z')", b"2"),
        ("set", "set('z')", b"2"),
        ("uuid", "uuid", b"short"),
    ];
    for (data_type, column_type, printed) in cases {
        let convention = Convention::of(&column(data_type, column_type, None), true);
        assert_eq!(convention.parse(printed), None, "{column_type}");
    }
    assert_eq!(Convention::Text.parse(b"\xff"), None);
}

#[test]
fn what_a_damaged_file_holds_is_like_no_value_of_the_column() {
    let print = |data_type, column_type, number| {
        let convention = Convention::of(&column(data_type, column_type, None), true);
        String::from_utf8(convention.print(&Cell::Integer(number)).unwrap()).unwrap()
    };
    assert_eq!(print("datetime", "datetime", 1), "1970-01-01 00:00:00.000001");
    assert_eq!(print("datetime", "datetime(3)", 1_000), "1970-01-01 00:00:00.001");
    assert_eq!(print("time", "time(3)", 1_001), "00:00:00.001001");
    assert_eq!(print("tinyint", "tinyint(3) unsigned", 256 + 7), "263");
    assert_eq!(print("tinyint", "tinyint(3) unsigned", -1), "-1");
    assert_eq!(print("int", "int(10) unsigned", -1), "4294967295");
    assert_eq!(print("int", "int(10) unsigned", 1 << 32), "4294967296");
}

#[test]
fn dates_outside_of_the_calendar_go_to_the_companion() {
    assert_eq!(Convention::Date.parse(b"0000-00-00"), Some(Cell::Odd(b"0000-00-00".to_vec())));
    assert_eq!(Convention::Date.parse(b"1970-01-02"), Some(Cell::Integer(1)));
}

#[test]
fn an_enum_with_an_empty_label_is_its_number() {
    let convention = Convention::of(&column("enum", "enum('a','')", None), true);
    assert_eq!(convention, Convention::Integer { bits: 64, signed: false });
}

proptest! {
    #[test]
    fn doubles_keep_every_bit(bits: u64) {
        let number = f64::from_bits(bits);
        prop_assume!(number.is_finite());
        let text = float_text(number);
        let Some(Cell::Double(back)) = Convention::Double.parse(text.as_bytes()) else {
            panic!("{text} is a number")
        };
        prop_assert_eq!(back.to_bits(), bits);
    }

    #[test]
    fn decimals_come_back(number: i64, scale in 0_u32..20) {
        let length = decimal_length(38);
        let text = decimal_text(&i128::from(number).to_be_bytes()[16 - length..], scale).unwrap();
        let convention = Convention::Decimal { precision: 38, scale };
        let cell = convention.parse(text.as_bytes()).unwrap();
        prop_assert_eq!(convention.print(&cell).unwrap(), text.into_bytes());
    }
}
