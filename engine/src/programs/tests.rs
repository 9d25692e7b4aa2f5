use super::*;

fn listed(kind: Kind, name: &str, on: Option<&str>, text: Option<&str>) -> Listed {
    Listed {
        kind,
        database: "Shop".to_owned(),
        name: name.to_owned(),
        on: on.map(|table| key("Shop", table)),
        text: text.map(str::to_owned),
        sql_mode: String::new(),
    }
}

fn shop() -> Programs {
    let tables = ["orders", "items", "audit", "v", "vv", "w"];
    let relations = Names::from([
        ("shop".to_owned(), tables.map(str::to_owned).into()),
        ("other".to_owned(), HashSet::from(["orders".to_owned(), "x".to_owned()])),
    ]);
    use Kind::{Event, Routine, Trigger, View};
    Programs::of(
        vec![
            listed(
                View,
                "v",
                None,
                Some("select `shop`.`orders`.`items` AS `audit` from `shop`.`orders`"),
            ),
            listed(
                View,
                "VV",
                None,
                Some("select 1 from (`shop`.`V` join `other`.`x`) where `shop`.`f`(1)"),
            ),
            listed(View, "w", None, None),
            listed(Routine, "f", None, Some("BEGIN RETURN (SELECT `a``b` FROM Items); END")),
            listed(
                Routine,
                "p",
                None,
                Some("BEGIN -- orders\n SELECT 'items', \"audit\" FROM other.x; END"),
            ),
            listed(Routine, "w", None, Some("DELETE FROM audit")),
            listed(Routine, "d", None, Some("BEGIN PREPARE s FROM @text; EXECUTE s; END")),
            listed(Routine, "given", None, Some("CALL sys.execute_prepared_stmt(@text)")),
            listed(Event, "e", None, Some("CALL f()")),
            listed(Trigger, "t", Some("audit"), Some("INSERT INTO orders SELECT 1")),
        ],
        &relations,
    )
}

fn tables(reach: Option<Reach>) -> Vec<String> {
    let reach = reach.unwrap();
    let names = reach.tables.iter().map(|(database, name)| format!("{database}.{name}"));
    names.chain(reach.unknown).collect()
}

#[test]
fn tables_are_reached_through_views_routines_and_triggers() {
    let shop = shop();
    assert_eq!(tables(shop.reach_of("SHOP", "V", false)), ["shop.orders"]);
    assert_eq!(
        tables(shop.reach_of("shop", "vv", false)),
        ["other.x", "shop.items", "shop.orders"]
    );
    assert_eq!(shop.reach_of("shop", "orders", true), None);
    assert_eq!(shop.reach_of("shop", "audit", false), None);
    assert_eq!(tables(shop.reach_of("shop", "audit", true)), ["shop.audit", "shop.orders"]);
    assert_eq!(shop.reach_of("other", "v", true), None);
    assert_eq!(tables(shop.reach_of_routine("shop", "F")), ["shop.items"]);
    // A string and a comment are none, what double quotes hold may be one; who only reads fires no trigger.
    assert_eq!(tables(shop.reach_of_routine("shop", "p")), ["other.x", "shop.audit"]);
    assert_eq!(tables(shop.reach_of_routine("shop", "w")), ["shop.audit", "shop.orders"]);
    assert_eq!(shop.reach_of_any("e"), None);
    assert_eq!(tables(shop.reach_of_any("AUDIT")), ["shop.orders"]);
}

#[test]
fn what_cannot_be_seen_may_reach_anything() {
    let shop = shop();
    let view = "the definition of view Shop.w cannot be seen";
    assert_eq!(tables(shop.reach_of("shop", "w", false)), [view]);
    let routine = "routine Shop.d builds statements when it runs";
    assert_eq!(tables(shop.reach_of_routine("shop", "d")), [routine]);
    let routine = "routine Shop.given builds statements when it runs";
    assert_eq!(tables(shop.reach_of_routine("shop", "given")), [routine]);
    assert!(shop.has_unseen(Kind::View, "shop") && !shop.has_unseen(Kind::Routine, "shop"));
}

#[test]
fn users_of_tables_are_listed_but_not_their_own_triggers() {
    let shop = shop();
    let users = |tables: &[&str]| {
        let tables: Vec<String> = tables.iter().map(|&t| t.to_owned()).collect();
        let users = shop.users("shop", &tables).into_iter();
        users.map(|u| format!("{} {} {}", u.kind, u.name, u.tables.join(","))).collect::<Vec<_>>()
    };
    assert_eq!(
        users(&["items"]),
        ["view VV items", "routine f items", "routine d ", "routine given ", "event e items"]
    );
    assert_eq!(
        users(&["audit", "orders"]),
        [
            "view v orders",
            "view VV orders",
            "routine p audit",
            "routine w audit,orders",
            "routine d ",
            "routine given "
        ]
    );
}

/// Letter by letter: where a language has another letter at the end of a word, servers have not.
#[test]
fn names_in_bodies_are_folded_as_servers_do() {
    let (database, table) = key("Shop", "ΟΔΟΣ");
    let relations = Names::from([(database, HashSet::from([table]))]);
    for body in ["BEGIN DELETE FROM ΟΔΟΣ; END", "BEGIN DELETE FROM Οδοσ; END"] {
        let programs = Programs::of(vec![listed(Kind::Routine, "p", None, Some(body))], &relations);
        assert_eq!(tables(programs.reach_of_routine("shop", "p")), ["shop.οδοσ"], "{body}");
    }
}
