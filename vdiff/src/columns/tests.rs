use super::*;

fn column(name: &str, data_type: &str, column_type: &str, charset: Option<&str>) -> Column {
    Column {
        name: name.into(),
        data_type: data_type.into(),
        column_type: column_type.into(),
        charset: charset.map(Into::into),
        nullable: true,
        ..Column::default()
    }
}

#[test]
fn columns_are_compared_by_the_value_after_the_move() {
    let cases = [
        (column("f", "float", "float", None), column("f", "double", "double", None), "`f`*1E0"),
        (column("i", "int", "int(11)", None), column("i", "bigint", "bigint(20)", None), "`i`"),
        (
            column("d", "decimal", "decimal(5,2)", None),
            column("d", "decimal", "decimal(9,4)", None),
            "CAST(`d` AS DECIMAL(65,4))",
        ),
        (
            column("v", "varchar", "varchar(9)", Some("latin1")),
            column("v", "varchar", "varchar(9)", Some("utf8mb4")),
            "CONVERT(`v` USING utf8mb4)",
        ),
        (
            column("v", "varchar", "varchar(9)", Some("utf8")),
            column("v", "varchar", "varchar(9)", Some("utf8mb3")),
            "`v`",
        ),
        (column("e", "enum", "enum('a')", None), column("e", "enum", "enum('a')", None), "`e`|0"),
        (column("e", "enum", "enum('a')", None), column("e", "enum", "enum('b')", None), "`e`"),
        (
            column("e", "enum", "enum('a')", None),
            column("e", "enum", "enum('a','b')", None),
            "`e`|0",
        ),
        (
            column("a", "date", "date", None),
            column("a", "datetime", "datetime(3)", None),
            "CONCAT(`a`,' 00:00:00.000')",
        ),
    ];
    for (source, target, expected) in cases {
        assert_eq!(Compared::new(&source, &target).unwrap().source, expected);
    }
    for (source, target) in [
        ("decimal(65,0)", "decimal(65,4)"),
        ("float", "text"),
        ("int", "float"),
        ("double", "decimal"),
        ("bit", "text"),
        ("datetime", "date"),
        ("int", "date"),
        ("time", "datetime"),
        ("uuid", "inet6"),
    ] {
        let column = |word: &str| column("x", word.split('(').next().unwrap(), word, None);
        assert!(Compared::new(&column(source), &column(target)).is_err(), "{source} {target}");
    }
}

#[test]
fn a_key_is_named_only_by_a_value_of_its_own_kind() {
    let typed = |word: &str| {
        let data_type = word.split(['(', ' ']).next().unwrap();
        let text = matches!(data_type, "char" | "varchar").then_some("utf8mb4");
        column("k", data_type, word, text)
    };
    let names = |source: &str, target: &str| {
        Compared::new(&typed(source), &typed(target)).unwrap().names_key
    };
    for (source, target) in [
        ("varchar(9)", "int(4) zerofill"),
        ("varchar(9)", "decimal(12,2)"),
        ("varchar(9)", "datetime(3)"),
        ("varchar(9)", "date"),
        ("varchar(9)", "varbinary(9)"),
        ("varbinary(9)", "varchar(9)"),
        ("int", "varchar(9)"),
        ("datetime", "varchar(30)"),
        ("int", "decimal(12,2)"),
        ("year", "int"),
        ("float", "double"),
        ("int", "bit(8)"),
    ] {
        assert!(!names(source, target), "{source} {target}");
    }
    for (source, target) in [
        ("int", "bigint unsigned"),
        ("int", "int(8) zerofill"),
        ("varchar(9)", "varchar(20)"),
        ("char(9)", "varchar(9)"),
        ("datetime", "timestamp"),
        ("decimal(9,2)", "decimal(12,4)"),
        ("binary(3)", "varbinary(9)"),
        ("double", "double"),
    ] {
        assert!(names(source, target), "{source} {target}");
    }
}

#[test]
fn what_a_character_set_cannot_hold_is_marked() {
    let text = |charset: &str| column("v", "varchar", "varchar(9)", Some(charset));
    let mut lossy = Compared::new(&text("utf8mb4"), &text("latin1")).unwrap();
    assert!(!lossy.names_key && !lossy.stands);
    lossy.guard();
    assert!(lossy.source.starts_with("IF(CAST(CONVERT(CONVERT(`v` USING latin1)"));
    assert!(lossy.source.ends_with(",CAST(`v` AS BINARY)),CONVERT(`v` USING latin1))"));
    let cell = [charsets::mark(), b"x"].concat();
    assert_eq!((lossy.lost(&cell), lossy.lost(b"x")), (Some(b"x".as_slice()), None));
    let mut sure = Compared::new(&text("latin1"), &text("utf8mb4")).unwrap();
    sure.guard();
    assert_eq!(sure.source, "CONVERT(`v` USING utf8mb4)");
    assert!(sure.names_key && !sure.stands && sure.lost(&cell).is_none());
    assert!(Compared::new(&text("utf8"), &text("utf8mb3")).unwrap().stands);
}

#[test]
fn labels_that_stand_elsewhere_are_compared_by_the_targets_number() {
    let set = |labels: &str| column("s", "set", &format!("set({labels})"), Some("latin1"));
    let pair = Compared::new(&set("'','a','b'"), &set("'','b','c'")).unwrap();
    // The empty label is a member like any other; `a`, which the target lacks, is a bit that the target has not.
    assert_eq!(
        pair.source,
        "IF(`s` IS NULL,NULL,IF((`s`|0)&1,1,0)|IF((`s`|0)&2,9223372036854775808,0)|IF((`s`|0)&4,2,0))"
    );
    assert_eq!((pair.target.as_str(), pair.form), ("`s`|0", Form::Integer { wide: true }));
    let word = |labels: &str| column("e", "enum", &format!("enum({labels})"), Some("latin1"));
    assert!(Compared::new(&word("'a','b'"), &word("'b','a'")).is_ok());
    assert!(Compared::new(&word("'a',''"), &word("'','a'")).is_err());
    assert!(Compared::new(&word("'a','b'"), &word("'b',''")).is_err());
    let full: Vec<String> = (0..64).map(|at| format!("'l{at}'")).collect();
    assert!(Compared::new(&set("'x'"), &set(&full.join(","))).is_err());
}

#[test]
fn labels_that_servers_cannot_print_are_refused() {
    let labels = |labels: &str, charset: Option<&str>, collation: Option<&str>| Column {
        collation: collation.map(Into::into),
        ..column("e", "enum", &format!("enum({labels})"), charset)
    };
    let refused = |source: &Column, target: &Column| Compared::new(source, target).is_err();
    let known = labels("'?','b'", Some("latin1"), Some("latin1_swedish_ci"));
    assert!(!refused(&known, &known));
    // Of an archive, whose texts are in another character set.
    let archived = labels("'?','b'", Some("utf8mb4"), Some("latin1_swedish_ci"));
    assert!(!refused(&known, &archived));
    for (charset, collation) in [
        (Some("utf8mb4"), Some("utf8mb4_uca1400_ai_ci")),
        (Some("gb18030"), Some("gb18030_chinese_ci")),
        (Some("utf16le"), Some("utf16le_bin")),
        (Some("binary"), Some("binary")),
        (None, None),
    ] {
        let unknown = labels("'b','a?c'", charset, collation);
        assert!(refused(&unknown, &unknown) && refused(&known, &unknown), "{charset:?}");
        let plain = labels("'b','ac'", charset, collation);
        assert!(!refused(&plain, &plain), "{charset:?}");
    }
    let set = column("e", "set", "set('?')", Some("utf32"));
    assert!(refused(&set, &set));
    let text = column("e", "varchar", "varchar(9)", Some("utf8mb4"));
    assert!(!refused(&set, &text), "by its text");
}

#[test]
fn an_error_value_is_printed_as_no_text_is() {
    let label = column("e", "enum", "enum('a')", Some("utf8mb4"));
    let text = column("e", "varchar", "varchar(9)", Some("utf8mb4"));
    let printed = |source: &Column, target: &Column| {
        let mut pair = Compared::new(source, target).unwrap();
        pair.guard();
        (pair.source, pair.target)
    };
    let (source, target) = printed(&label, &text);
    assert!(source.starts_with("IF((`e`|0)=0,CONCAT(x'ff") && target == "`e`", "{source}");
    let (source, target) = printed(&text, &label);
    assert!(target.starts_with("IF((`e`|0)=0,CONCAT(x'ff") && source == "`e`", "{target}");
    let empty = column("e", "enum", "enum('','a')", Some("utf8mb4"));
    assert!(Compared::new(&empty, &text).is_err() && Compared::new(&text, &empty).is_err());
}

#[test]
fn a_wide_text_is_compared_with_a_number_as_text() {
    let wide = column("c", "varchar", "varchar(9)", Some("utf16"));
    let number = column("c", "int", "int(11)", None);
    let printed = |source: &Column, target: &Column| Compared::new(source, target).unwrap().source;
    assert_eq!(printed(&wide, &number), "CONVERT(`c` USING utf8mb4)");
    assert_eq!(printed(&number, &wide), "CONVERT(`c` USING utf16)");
}
