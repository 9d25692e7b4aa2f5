//! The animals that the decoders are tried on: column types with the values at their edges, as SQL, each in one column `v`.

/// Who has a type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Has {
    /// MySQL 5.6 and MariaDB.
    Both,
    /// MariaDB alone.
    MariaDb,
    /// MySQL alone: MariaDB keeps no -0, whoever writes it.
    MySql,
}

/// A column type, its values, and how a value is shown bit by bit.
#[derive(Clone, Copy, Debug)]
pub(super) struct Type {
    pub(super) has: Has,
    pub(super) definition: &'static str,
    /// SQL expressions.
    pub(super) values: &'static [&'static str],
    pub(super) shown: Shown,
}

/// The expression that tells two values of a column `v` apart if any bit differs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shown {
    /// The stored bytes of strings.
    Hex,
    /// Numbers and dates, whose text is exact.
    Text,
    /// A number in DOUBLE's digits, which tell every bit of a FLOAT, and by the angle whether it is -0.
    Double,
    /// The number of an ENUM, SET or BIT.
    Number,
}

impl Shown {
    pub(super) fn expression(self) -> &'static str {
        match self {
            Self::Hex => "HEX(v)",
            Self::Text => "HEX(CAST(v AS CHAR))",
            Self::Double => "CONCAT(ABS(v * 1e0), ' ', ATAN2(v, -1) < 0)",
            Self::Number => "CAST(v AS UNSIGNED)",
        }
    }
}

const fn both(definition: &'static str, shown: Shown, values: &'static [&'static str]) -> Type {
    Type { has: Has::Both, definition, values, shown }
}

const fn mariadb(definition: &'static str, shown: Shown, values: &'static [&'static str]) -> Type {
    Type { has: Has::MariaDb, definition, values, shown }
}

const fn mysql(definition: &'static str, shown: Shown, values: &'static [&'static str]) -> Type {
    Type { has: Has::MySql, definition, values, shown }
}

use Shown::{Double, Hex, Number, Text};

/// All of them.
pub(super) const TYPES: &[Type] = &[
    both("TINYINT", Text, &["-128", "127", "0", "1", "-1"]),
    both("TINYINT UNSIGNED", Text, &["0", "255", "128", "127"]),
    both("TINYINT(3) UNSIGNED ZEROFILL", Text, &["0", "255", "7"]),
    both("SMALLINT", Text, &["-32768", "32767", "0", "-1"]),
    both("SMALLINT UNSIGNED", Text, &["0", "65535", "32768"]),
    both("MEDIUMINT", Text, &["-8388608", "8388607", "0", "-1", "1"]),
    both("MEDIUMINT UNSIGNED", Text, &["0", "16777215", "8388608"]),
    both("INT", Text, &["-2147483648", "2147483647", "0", "-1", "1"]),
    both("INT UNSIGNED", Text, &["0", "4294967295", "2147483648"]),
    both("BIGINT", Text, &["-9223372036854775808", "9223372036854775807", "0", "-1", "1"]),
    both("BIGINT UNSIGNED", Text, &["0", "18446744073709551615", "9223372036854775808", "1"]),
    both(
        "FLOAT",
        Double,
        &[
            "16777217",
            "0",
            "3.4028234663852886e38",
            "-3.4028234663852886e38",
            "1.17549435e-38",
            "1.401298464e-45",
            "0.1",
            "1e0/3e0",
            "123456.789e0",
            "1e10",
        ],
    ),
    both("FLOAT UNSIGNED", Double, &["0", "3.4028234663852886e38", "0.3"]),
    both(
        "DOUBLE",
        Double,
        &[
            "0",
            "1.7976931348623157e308",
            "-1.7976931348623157e308",
            "2.2250738585072014e-308",
            "4.9406564584124654e-324",
            "0.1",
            "1e0/3e0",
            "0.30000000000000004e0",
            "9007199254740993",
            "123456789.12345678e0",
        ],
    ),
    both("FLOAT(7,3)", Double, &["0", "1234.567", "-9999.999", "0.001"]),
    both("DOUBLE(20,5)", Text, &["0", "123456789012345.12345", "-0.00001"]),
    both(
        "DECIMAL(65,30)",
        Text,
        &[
            "0",
            "99999999999999999999999999999999999.999999999999999999999999999999",
            "-99999999999999999999999999999999999.999999999999999999999999999999",
            "0.000000000000000000000000000001",
            "-0.000000000000000000000000000001",
        ],
    ),
    both(
        "DECIMAL(65,0)",
        Text,
        &["0", "99999999999999999999999999999999999999999999999999999999999999999", "-1"],
    ),
    both("DECIMAL(10,10)", Text, &["0", "0.9999999999", "-0.0000000001"]),
    both("DECIMAL(5,2) UNSIGNED", Text, &["0", "999.99", "0.01"]),
    both(
        "DATE",
        Text,
        &["'0000-00-00'", "'1000-01-01'", "'9999-12-31'", "'2020-00-00'", "'2020-02-30'"],
    ),
    both(
        "DATETIME",
        Text,
        &[
            "'0000-00-00 00:00:00'",
            "'1000-01-01 00:00:00'",
            "'9999-12-31 23:59:59'",
            "'2020-00-00 12:00:00'",
            "'2020-03-29 02:30:00'",
        ],
    ),
    both("DATETIME(1)", Text, &["'2020-01-01 00:00:00.9'", "'9999-12-31 23:59:59.9'"]),
    both("DATETIME(3)", Text, &["'2020-01-01 00:00:00.001'", "'1000-01-01 00:00:00.999'"]),
    both(
        "DATETIME(6)",
        Text,
        &["'2020-01-01 00:00:00.000001'", "'9999-12-31 23:59:59.999999'", "'0000-00-00 00:00:00'"],
    ),
    both(
        "TIMESTAMP NULL",
        Text,
        &[
            "'1970-01-01 00:00:01'",
            "'2038-01-19 03:14:07'",
            "'0000-00-00 00:00:00'",
            "'2020-10-25 02:30:00'",
        ],
    ),
    both("TIMESTAMP(2) NULL", Text, &["'1970-01-01 00:00:01.01'", "'2038-01-19 03:14:07.99'"]),
    both(
        "TIMESTAMP(6) NULL",
        Text,
        &["'1970-01-01 00:00:01.000001'", "'2038-01-19 03:14:07.999999'"],
    ),
    both(
        "TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP ON UPDATE CURRENT_TIMESTAMP",
        Text,
        &["'1970-01-01 00:00:01'", "'2000-01-01 00:00:00'"],
    ),
    both(
        "TIME",
        Text,
        &["'00:00:00'", "'838:59:59'", "'-838:59:59'", "'-00:00:01'", "'23:59:59'", "'-01:02:03'"],
    ),
    both("TIME(1)", Text, &["'-00:00:00.1'", "'00:00:00.9'", "'-12:34:56.7'"]),
    both("TIME(4)", Text, &["'-00:00:00.0001'", "'00:00:00.9999'", "'-12:34:56.7001'"]),
    both(
        "TIME(6)",
        Text,
        &[
            "'838:59:58.999999'",
            "'-838:59:58.999999'",
            "'-00:00:00.000001'",
            "'00:00:00.000001'",
            "'-00:00:01'",
        ],
    ),
    both("YEAR", Text, &["0", "1901", "2155", "2000"]),
    both("BIT(1)", Number, &["b'0'", "b'1'"]),
    both("BIT(9)", Number, &["b'0'", "b'111111111'", "b'100000000'"]),
    both("BIT(64)", Number, &["0", "18446744073709551615", "9223372036854775808", "10"]),
    both("ENUM('z','a','','é','b,c')", Number, &["1", "2", "3", "4", "5"]),
    both("SET('z','a','ö','b')", Number, &["0", "1", "15", "10"]),
    both(
        "SET('1','2','3','4','5','6','7','8','9','10','11','12','13','14','15','16','17','18','19','20','21','22','23','24',\
         '25','26','27','28','29','30','31','32','33','34','35','36','37','38','39','40','41','42','43','44','45','46','47',\
         '48','49','50','51','52','53','54','55','56','57','58','59','60','61','62','63','64')",
        Number,
        &["0", "18446744073709551615", "9223372036854775808"],
    ),
    both(
        "BINARY(4)",
        Hex,
        &["x'00000000'", "x'61000000'", "x'ffffffff'", "x'20202020'", "'a '", "x'0a0d5c27'"],
    ),
    both("BINARY(255)", Hex, &["REPEAT(x'00', 255)", "REPEAT(x'5c', 255)"]),
    both(
        "VARBINARY(300)",
        Hex,
        &[
            "''",
            "x'00'",
            "x'0000'",
            "x'61'",
            "x'6100'",
            "x'6120'",
            "REPEAT(x'ff27', 150)",
            "x'5c6e5c745c4e0a090d1a'",
        ],
    ),
    both(
        "CHAR(10) CHARACTER SET latin1",
        Hex,
        &["''", "'a'", "x'e4f6fc'", "'a  '", "'A'", "x'5c27220a'"],
    ),
    both("CHAR(255) CHARACTER SET utf8mb4", Hex, &["''", "REPEAT('😀', 180)", "'ä'"]),
    both(
        "VARCHAR(20) CHARACTER SET latin1",
        Hex,
        &["'a'", "'b '", "x'80ff'", "''", "'B '", "'a '"],
    ),
    both(
        "VARCHAR(60) CHARACTER SET latin1 COLLATE latin1_german2_ci",
        Hex,
        &["'b'", "x'e4'", "x'df'", "'ss'", "'ae'"],
    ),
    both("VARCHAR(60) CHARACTER SET utf8", Hex, &["'b'", "'ä'", "'€'", "'z'", "'Ä'", "'a '"]),
    both("VARCHAR(60) CHARACTER SET utf8mb4", Hex, &["'a'", "'😀'", "'ß'", "''", "'A'", "x'c3a4'"]),
    both(
        "VARCHAR(60) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin",
        Hex,
        &["'a'", "'A'", "'😀'", "'ß'", "'ss'"],
    ),
    both(
        "VARCHAR(60) CHARACTER SET utf8mb4 COLLATE utf8mb4_unicode_ci",
        Hex,
        &["'a'", "'ß'", "'z'", "'ss'", "'Æ'"],
    ),
    both("VARCHAR(20) CHARACTER SET gbk", Hex, &["_gbk x'b0a1'", "_gbk x'815c'", "'a'"]),
    both("VARCHAR(20) CHARACTER SET sjis", Hex, &["_sjis x'835c'", "_sjis x'8250'", "'a'"]),
    both(
        "VARCHAR(20) CHARACTER SET utf16",
        Hex,
        &["_utf16 x'd83dde00'", "_utf16 x'0061'", "_utf16 x'005c'"],
    ),
    both(
        "VARCHAR(20) CHARACTER SET ucs2",
        Hex,
        &["_ucs2 x'00e4'", "_ucs2 x'0062'", "_ucs2 x'0a09'"],
    ),
    both("VARCHAR(20) CHARACTER SET koi8r", Hex, &["x'c1c2'", "'z'"]),
    both("TINYBLOB", Hex, &["''", "REPEAT(x'00', 255)"]),
    both("BLOB", Hex, &["''", "x'00'", "REPEAT(x'5c000a', 21845)"]),
    both("MEDIUMBLOB", Hex, &["''", "REPEAT(x'1a27', 100000)"]),
    both("LONGBLOB", Hex, &["''", "REPEAT(x'0d22', 200000)"]),
    both("TINYTEXT CHARACTER SET latin1", Hex, &["''", "REPEAT(x'e4', 255)", "'a '"]),
    both("TEXT CHARACTER SET utf8mb4", Hex, &["''", "REPEAT('😀', 10000)", "' '", "'\\\\N'"]),
    both("MEDIUMTEXT CHARACTER SET utf16", Hex, &["''", "_utf16 x'd83dde00005c000a'"]),
    both("LONGTEXT CHARACTER SET gbk", Hex, &["''", "REPEAT(_gbk x'815c', 3000)"]),
    both(
        "GEOMETRY",
        Hex,
        &[
            "GeomFromText('POINT(1 -2)', 4326)",
            "GeomFromText('POLYGON((0 0,1 0,1 1,0 0))')",
            "GeomFromText('GEOMETRYCOLLECTION(POINT(1 1),LINESTRING(0 0,1e-300 1e300))', 7)",
        ],
    ),
    both("POINT", Hex, &["GeomFromText('POINT(0.1 -0.3)', 3857)"]),
    mariadb(
        "JSON",
        Hex,
        &[
            "'{\"a\": 1.10, \"ä\": [null, true, 12345678901234567890123], \"b\":{}}'",
            "'1'",
            "'\"😀\"'",
        ],
    ),
    mariadb(
        "VARCHAR(60) CHARACTER SET utf8mb4 COLLATE uca1400_ai_ci",
        Hex,
        &["'a'", "'ß'", "'z'", "'ä'"],
    ),
    mariadb(
        "INET6",
        Text,
        &[
            "'::'",
            "'::1'",
            "'2001:db8::'",
            "'ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff'",
            "'::ffff:1.2.3.0'",
        ],
    ),
    mariadb("INET4", Text, &["'0.0.0.0'", "'10.0.0.0'", "'255.255.255.255'", "'1.2.3.4'"]),
    mariadb(
        "UUID",
        Text,
        &[
            "'00000000-0000-0000-0000-000000000000'",
            "'123e4567-e89b-12d3-a456-426655440000'",
            "'ffffffff-ffff-ffff-ffff-ffffffffffff'",
            "'00000000-0000-0000-0000-000000000100'",
        ],
    ),
    mariadb(
        "VARCHAR(200) CHARACTER SET latin1 COMPRESSED",
        Hex,
        &["''", "REPEAT('a', 200)", "x'e4'"],
    ),
    mariadb("BLOB COMPRESSED", Hex, &["''", "REPEAT('a', 2000)", "x'e4'"]),
    mysql("FLOAT", Double, &["-0e0", "0e0"]),
    mysql("DOUBLE", Double, &["-0e0", "0e0"]),
];
