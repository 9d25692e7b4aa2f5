//! Cells and their values, as data.

use super::*;

fn column(kind: u8, meta: u16) -> ColumnType {
    ColumnType { kind, meta }
}

fn literal(kind: u8, meta: u16, unsigned: bool, cell: &[u8]) -> String {
    let value = decode(&column(kind, meta), unsigned, cell).unwrap();
    let mut out = Vec::new();
    push_literal(&value, &mut out).unwrap();
    String::from_utf8(out).unwrap()
}

#[test]
fn integers_keep_their_sign() {
    let cases: &[(u8, bool, &[u8], &str)] = &[
        (kind::TINY, false, &[0x80], "-128"),
        (kind::TINY, true, &[0x80], "128"),
        (kind::SHORT, false, &[0xff, 0xff], "-1"),
        (kind::INT24, false, &[0xff, 0xff, 0xff], "-1"),
        (kind::INT24, false, &[0, 0, 0x80], "-8388608"),
        (kind::INT24, true, &[0xff, 0xff, 0xff], "16777215"),
        (kind::LONG, false, &[0, 0, 0, 0x80], "-2147483648"),
        (kind::LONGLONG, false, &[0, 0, 0, 0, 0, 0, 0, 0x80], "-9223372036854775808"),
        (kind::LONGLONG, true, &[0xff; 8], "18446744073709551615"),
        (kind::YEAR, false, &[0], "0"),
        (kind::YEAR, false, &[255], "2155"),
    ];
    for &(kind, unsigned, cell, expected) in cases {
        assert_eq!(literal(kind, 0, unsigned, cell), expected);
    }
}

#[test]
fn floats_keep_every_bit() {
    assert_eq!(literal(kind::FLOAT, 4, false, &(-0.0_f32).to_le_bytes()), "'-0e0'");
    assert_eq!(literal(kind::FLOAT, 4, false, &0.1_f32.to_le_bytes()), "'1.0000000149011612e-1'");
    assert_eq!(
        literal(kind::DOUBLE, 8, false, &f64::MAX.to_le_bytes()),
        "'1.7976931348623157e308'"
    );
    assert_eq!(literal(kind::DOUBLE, 8, false, &5e-324_f64.to_le_bytes()), "'5e-324'");
}

#[test]
fn decimals_print_as_the_server_prints_them() {
    let cases: &[(u16, &[u8], &str)] = &[
        // The manual's own example: 1234567890.1234 in DECIMAL(14,4).
        (14 << 8 | 4, &[0x81, 0x0d, 0xfb, 0x38, 0xd2, 0x04, 0xd2], "'1234567890.1234'"),
        (14 << 8 | 4, &[0x7e, 0xf2, 0x04, 0xc7, 0x2d, 0xfb, 0x2d], "'-1234567890.1234'"),
        (2 << 8 | 2, &[0x85], "'0.05'"),
        (5 << 8, &[0x80, 0, 0], "'0'"),
    ];
    for &(meta, cell, expected) in cases {
        assert_eq!(literal(kind::NEWDECIMAL, meta, false, cell), expected);
    }
    // 100 is no number of two digits.
    assert!(decode(&column(kind::NEWDECIMAL, 2 << 8 | 2), false, &[0x80 + 100]).is_err());
}

#[test]
fn times_print_as_the_server_prints_them() {
    let cases: &[(u8, u16, &[u8], &str)] = &[
        (kind::DATE, 0, &[0, 0, 0], "'0000-00-00'"),
        (kind::DATE, 0, &[0x9f, 0x1f, 0x4e], "'9999-12-31'"),
        (kind::TIME2, 1, &[0x7f, 0xff, 0xfe, 0xce], "'-00:00:01.5'"),
        (kind::TIME2, 0, &[0x80, 0, 0], "'00:00:00'"),
        (kind::TIMESTAMP2, 0, &[0, 0, 0, 0], "'0000-00-00 00:00:00'"),
        (kind::TIMESTAMP2, 3, &[0, 0, 0, 0, 0, 0], "'0000-00-00 00:00:00.000'"),
        (kind::TIMESTAMP2, 0, &[0x7f, 0xff, 0xff, 0xff], "'2038-01-19 03:14:07'"),
        (kind::TIMESTAMP, 0, &[1, 0, 0, 0], "'1970-01-01 00:00:01'"),
        (kind::DATETIME2, 0, &[0x80, 0, 0, 0, 0], "'0000-00-00 00:00:00'"),
    ];
    for &(kind, meta, cell, expected) in cases {
        assert_eq!(literal(kind, meta, false, cell), expected);
    }
    assert_eq!(literal(kind::TIME, 0, false, &838_5959_u32.to_le_bytes()[..3]), "'838:59:59'");
    assert_eq!(literal(kind::TIME, 0, false, &(-8_385_959_i32).to_le_bytes()[..3]), "'-838:59:59'");
    let old = 20_261_122_174_005_u64.to_le_bytes();
    assert_eq!(literal(kind::DATETIME, 0, false, &old), "'2026-11-22 17:40:05'");
    assert!(decode(&column(kind::TIMESTAMP2, 2), false, &[0, 0, 0, 1, 100]).is_err());
}

#[test]
fn everything_else_has_a_literal_or_an_error() {
    assert_eq!(literal(kind::BIT, 1 << 8 | 2, false, &[1, 0b1000_0001]), "b'0000000110000001'");
    assert_eq!(literal(kind::ENUM, 2, false, &[1, 1]), "257");
    assert_eq!(literal(kind::SET, 8, false, &[0xff; 8]), "18446744073709551615");
    assert_eq!(literal(kind::VARCHAR, 20, false, b"it's"), r"'it\'s'");
    assert_eq!(literal(kind::VARCHAR_COMPRESSED, 5, false, b"\0it's"), r"'it\'s'");
    assert_eq!(literal(kind::BLOB_COMPRESSED, 1, false, b""), "''");
    assert_eq!(literal(kind::BLOB_COMPRESSED, 1, false, b"\x89\x05\x4b\x4c\x04\x02\0"), "'aaaaa'");
    let error = decode(&column(kind::VARCHAR_COMPRESSED, 4), false, b"\0it's").unwrap_err();
    assert!(error.to_string().contains("longer than its column"), "{error}");
    for (kind, word) in [(0, "type 0"), (253, "253"), (244, "244")] {
        let error = decode(&column(kind, 1), false, b"x").unwrap_err();
        assert!(error.to_string().contains(word), "{error}");
    }
    assert!(push_literal(&Value::Json(b"x"), &mut Vec::new()).is_err());
}

#[test]
fn cells_of_a_wrong_length_are_errors() {
    for kind in 0..=255 {
        for meta in [0, 1, 4, 6, 8, 0x4126, 0xffff] {
            for len in 0..40 {
                let _ = decode(&column(kind, meta), len % 2 == 0, &[0x5a; 40][..len]);
            }
        }
    }
}

#[test]
fn uuids_and_addresses_are_whole_and_in_order() {
    let native =
        |native, meta, cell: &[u8]| match decode_native(native, &column(kind::STRING, meta), cell)?
        {
            Value::Native(native) => Ok::<_, Error>(native.as_bytes().to_vec()),
            other => panic!("{other:?}"),
        };
    assert_eq!(native(Native::Address, 4, &[10]).unwrap(), [10, 0, 0, 0]);
    assert_eq!(native(Native::Address, 16, &[]).unwrap(), [0; 16]);
    // 123e4567-e89b-12d3-a456-426655440000 as it is kept.
    let kept = b"\x42\x66\x55\x44\0\0\xa4\x56\x12\xd3\xe8\x9b\x12\x3e\x45\x67";
    let written = b"\x12\x3e\x45\x67\xe8\x9b\x12\xd3\xa4\x56\x42\x66\x55\x44\0\0";
    assert_eq!(native(Native::Uuid, 16, kept).unwrap(), written);
    // Version 7 is kept as it is written.
    let seven = b"\x01\x8f\0\0\0\0\x70\0\x80\0\0\0\0\0\0\x01";
    assert_eq!(native(Native::Uuid, 16, seven).unwrap(), seven);
    for (kind, meta, cell) in [
        (Native::Address, 4, &[1, 2, 3, 4, 5][..]),
        (Native::Uuid, 4, &[1]),
        (Native::Address, 17, &[1]),
    ] {
        assert!(native(kind, meta, cell).is_err());
    }
}
