use proptest::prelude::*;

use crate::sql::Sql;
use crate::sql::finder::{Unparsed, find};
use crate::sql::lexer::Mode;

/// The tables that are opened, and behind a bar what names them again.
fn names(text: &str) -> Result<String, Unparsed> {
    let sql = Sql::new(text.as_bytes(), Mode::default());
    let found = find(&sql)?;
    let name = |at: usize| sql.name(at).unwrap_or_default().into_owned();
    let table = |table: &crate::sql::finder::TableRef| match table.qualifier {
        Some(qualifier) => format!("{}.{}", name(qualifier), name(table.name)),
        None => name(table.name),
    };
    let list = |tables: &[_]| tables.iter().map(table).collect::<Vec<_>>().join(" ");
    let mut out = list(&found.tables);
    if !found.columns.is_empty() {
        out += &format!(" | {}", list(&found.columns));
    }
    Ok(out)
}

/// An empty expectation is also met by what is not understood.
fn check(cases: &[(&str, &str)]) {
    for (text, expected) in cases {
        match names(text) {
            Ok(found) => assert_eq!(found, *expected, "{text}"),
            Err(Unparsed) => assert_eq!("", *expected, "{text} is not parsed"),
        }
    }
}

#[test]
fn tables_are_found() {
    let cases = [
        ("select 1", ""),
        ("select * from customer", "customer"),
        (
            "select a, (select max(x) from b) from c.d as e, f join g on e.x = g.y where z in (select 1 from h)",
            "b c.d f g h",
        ),
        (
            "select extract(year from d), trim(leading 'x' from y), substring(z from 2 for 3) from t",
            "t",
        ),
        ("(select * from a) union all (select * from b) order by 1", "a b"),
        (
            "select * from (a left join b on left(a.x, 1) = b.x), (select * from c) d, lateral (select 1) e",
            "a b c",
        ),
        ("select * from ((a join b using (x)) join c on true) straight_join d", "a b c d"),
        ("select q.t.c, q.t.* from q.t", "q.t | q.t q.t"),
        ("select * from t use index (i) ignore key for join (k) where x for update", "t"),
        ("select * from `a b` . `c``d` alias partition (p0), \"x\".y", ""),
        (
            "insert into a.b (x, y) select c.x, d.y from c join d on c.i = d.i on duplicate key update x = values(x)",
            "a.b c d",
        ),
        ("insert ignore t values (1, (select max(i) from u))", "t u"),
        ("replace into t set a = trim(both from 'x')", "t"),
        ("update low_priority a, b set a.x = b.x where a.i = (select i from c)", "a b c"),
        ("delete from a where i = 1", "a"),
        ("delete a, q.b from a join q.b on a.i = b.i", "a q.b | q.b"),
        ("delete from a, q.b using a join q.b on a.i = b.i where 1", "a q.b | q.b"),
        ("delete from t returning id", "t"),
        ("select * from a offset, b", "a b"),
        ("with c (x) as (select x from t) select * from c join u", "t c u"),
        ("with c as (select 1) update t join c set t.x = 1", "t c"),
        ("load data local infile 'x' replace into table a.b fields terminated by ','", "a.b"),
        ("explain format=json select * from t", "t"),
        ("desc t x", "t"),
        ("show columns from t from q like 'x%'", "q.t"),
        ("show create table q.t", "q.t"),
        ("truncate table t", "t"),
        (
            "create table if not exists t (i int, foreign key (i) references p (i)) select * from s",
            "t p s",
        ),
        ("create table a like b", "a b"),
        ("alter table t add column x int, rename column y to z", "t"),
        ("drop table if exists a, b.c cascade", "a b.c"),
        ("create unique index i on q.t (x)", "q.t"),
        ("lock tables a as b read, c write", "a c"),
        ("select next value for s", "s"),
        ("select nextval(q.s)", "q.s"),
        ("select @@session.sql_mode, @x.y, 1.5 from dual", ""),
        ("table t", "t"),
        ("select * from json_table('[]', '$[*]' columns (x int path '$.a')) j, t", "t"),
        ("select 1 into @x", ""),
        // Numbers end where the server ends them.
        ("select count(*)*1.0from corder", "corder"),
        ("select count(*)+0e0from corder", "corder"),
        ("select 1e+0from corder", "corder"),
        ("select 1.from corder", "corder"),
        ("select 2*.1from corder join 2nd.3rd", "corder 2nd.3rd"),
        ("select t.1x, 1.5, .5 from t limit 5", "t"),
        ("check table a, b", "a b"),
        ("select * from a union all table b", "a b"),
        ("table a union distinct table q.b", "a q.b"),
        ("create table a as table b", "a b"),
        ("alter table a convert table b to partition p0 values less than (9)", "a b"),
    ];
    check(&cases);
}

#[test]
fn what_stands_around_a_statement_hides_no_table() {
    let cases = [
        // What ends a statement, by drivers that send it.
        ("select * from a;", "a"),
        ("select * from a join b on a.x = b.x ; ; -- no more", "a b"),
        ("update t set a = 1 where i in (select i from u); /* no more */", "t u"),
        // MariaDB's settings of one statement.
        ("set statement max_statement_time = 1 for select * from a", "a"),
        (
            "set statement a = 1, b = substring('1' from 1 for 1) for set statement c = 2 for update t set x = 1;",
            "t",
        ),
        ("set statement a = 1 for call q.p()", ""),
    ];
    check(&cases);
}

#[test]
fn rows_that_are_locked_are_no_mere_read() {
    for (text, locks) in [
        ("select * from t", false),
        ("select * from t for update", true),
        ("(select * from t) for update", true),
        ("(select * from t) lock in share mode", true),
        ("select * from (select * from t for share) d", true),
        ("select substring(a from 2 for 3) from t", false),
    ] {
        assert_eq!(
            find(&Sql::new(text.as_bytes(), Mode::default())).unwrap().locking,
            locks,
            "{text}"
        );
    }
}

#[test]
fn what_is_not_understood_is_said() {
    for text in [
        "select * from a window, b",
        "select * from t for system_time as of now()",
        "select * from f(1)",
        "select * from {oj a left join b on 1}",
        "rename table a to b",
        "alter table a rename to b",
        "create view v as select * from a",
        "handler t open",
        "select * from a; select * from b",
        "select * from a /*!99999 , b */",
        "select * from 'x",
        "grant all on *.* to x",
        "prepare s from 'select 1'",
        "select * from .t",
        "select * from commerce 1.e.corder",
        "; select * from a",
        "set statement a = 1",
        "set statement max_statement_time = 1, sql_log_bin = 0 for update a set x = 1",
        "set statement `SQL_LOG_BIN` = 0 for update a set x = 1",
        "set statement a = (select 1 from t for update)",
        "set statement a = 1 for",
        "set statement a = 1; select * from t for update",
        "set statement a = 1 for rename table a to b",
    ] {
        assert_eq!(names(text), Err(Unparsed), "{text}");
    }
}

proptest! {
    #[test]
    fn any_words_are_read(words in proptest::collection::vec(proptest::sample::select(&[
        "select", "from", "join", "(", ")", ",", "a", "b", ".", "on", "union", "with", "as", "update", "set", "delete",
        "using", "insert", "into", "values", "*", "lateral", "for", "table", "show", "create", "like", "'x'", "@v", "@@",
        "left", "where", "natural", "explain", "`q`", "next", "value", "references",
    ][..]), 0..40)) {
        drop(names(&words.join(" ")));
    }
}
