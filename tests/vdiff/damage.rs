//! What the target has wrongly is found under load, all of it and nothing else: a thousand rows damaged at random, and events that
//! it lost.

use std::collections::BTreeSet;
use std::time::{SystemTime, UNIX_EPOCH};

use shunt_engine::mysql::control::Control;
use shunt_engine::workflow::spec::Tuning;
use shunt_engine::workflow::verbs::WaitFor;
use shunt_vdiff::fix::Fixer;
use shunt_vdiff::spec::{Spec, Strength};

use super::{CREATE, STRENGTHS, fill, found, load, spec, standalone, vdiff};
use crate::harness::compare::assert_equal;
use crate::harness::load::{Load, Random};
use crate::harness::pair::{Pair, mysql56};
use crate::harness::soak::scaled;
use crate::harness::until::until;

/// How many rows are damaged at random; two more change places.
const DAMAGED: usize = 1000;
/// Keys up to here may be damaged; the load writes above 10,000.
const HIGHEST: u64 = 9900;
/// Two rows whose values, of equal length, change places: what exclusive ors of checksums do not see.
const SWAPPED: [i64; 2] = [9951, 9952];

/// What must be found, in the order of `found`.
type Expected = [BTreeSet<i64>; 3];

/// Damages the row, or adds one.
fn damage_row(id: i64, random: &mut Random, expected: &mut Expected) -> String {
    let change = match random.below(8) {
        // One bit of the FLOAT's fraction.
        0 => format!("f = {}", (1 << 24) + (2 << random.below(23))),
        1 => "d = 0.30000000000000004".to_owned(),
        2 => {
            let (at, bit) = (1 + random.below(16), 1 << random.below(8));
            format!("b = INSERT(b, {at}, 1, CHAR(ORD(SUBSTR(b, {at}, 1)) ^ {bit}))")
        }
        3 => "c = CONCAT(c, ' ')".to_owned(),
        4 => "c = UPPER(c)".to_owned(),
        5 => "n = IF(n IS NULL, '', NULL)".to_owned(),
        6 => {
            expected[1].insert(id);
            return format!("DELETE FROM t WHERE id = {id}");
        }
        _ => {
            expected[2].insert(-id);
            return format!("INSERT INTO t VALUES (-{id}, 1, 2, 'x', 'y', NULL, 0)");
        }
    };
    expected[0].insert(id);
    format!("UPDATE t SET {change} WHERE id = {id}")
}

/// Damages the target at random keys; returns what must be found.
async fn damage(target: &mut Control) -> Expected {
    let seed = match std::env::var("SHUNT_SEED") {
        Ok(seed) => seed.parse().unwrap(),
        Err(_) => SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs(),
    };
    println!("damaged with SHUNT_SEED={seed}");
    let mut random = Random(seed);
    let mut ids = BTreeSet::new();
    while ids.len() < DAMAGED {
        ids.insert(i64::try_from(1 + random.below(HIGHEST)).unwrap());
    }
    let mut expected = Expected::default();
    for id in ids {
        let statement = damage_row(id, &mut random, &mut expected);
        assert_eq!(target.execute(&statement).await.unwrap().affected, 1, "{statement}");
    }
    let [one, other] = SWAPPED;
    let swap = format!(
        "UPDATE t SET c = CONCAT('row ', IF(id = {one}, {other}, {one}) % 90 + 10) WHERE id IN ({one}, {other})"
    );
    assert_eq!(target.execute(swap).await.unwrap().affected, 2);
    expected[0].extend(SWAPPED);
    expected
}

#[tokio::test(flavor = "multi_thread")]
async fn exactly_the_damaged_rows_are_found_and_mended_under_load() {
    let pair = Pair::start().await;
    let mut source = pair.on_source().await;
    source.execute(CREATE).await.unwrap();
    source.execute(fill(20_000)).await.unwrap();
    let mut moved = pair.create(&["t"], Tuning::default()).await;
    moved.run().await;
    moved.wait(WaitFor::Running).await.unwrap();
    let load = Load::start(&pair.source_config(), "commerce", 1, load);
    for strength in STRENGTHS {
        let clean = vdiff(&pair, &spec(strength)).await;
        assert!(!clean.differs() && clean.unsettled == 0, "a false alarm: {clean:?}");
        assert!(clean.matching > 10_000, "{clean:?}");
    }
    let expected = damage(&mut pair.on_target().await).await;
    let counts = [0, 1, 2].map(|kind| u64::try_from(expected[kind].len()).unwrap());
    for strength in STRENGTHS {
        let damaged = vdiff(&pair, &spec(strength)).await;
        assert_eq!(found(&damaged), expected, "{strength:?}");
        assert_eq!([damaged.mismatched, damaged.extra_source, damaged.extra_target], counts);
    }
    let repaired = vdiff(&pair, &Spec { repair: true, ..spec(Strength::Auto) }).await;
    assert_eq!(repaired.repaired, counts.iter().sum::<u64>(), "{:?}", repaired.strength);
    let clean = vdiff(&pair, &spec(Strength::Strong)).await;
    assert!(!clean.differs() && clean.unsettled == 0, "{clean:?}");
    load.stop().await;
    moved.wait(WaitFor::CaughtUp).await.unwrap();
    assert_equal(pair.source.primary(), pair.target.primary(), "t");
    moved.cancel().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_that_is_lost_while_the_table_is_written_is_found() {
    let pair = Pair::start().await;
    let mut source = pair.on_source().await;
    source.execute(CREATE).await.unwrap();
    source.execute(fill(20_000)).await.unwrap();
    let mut moved = pair.create(&["t"], Tuning::default()).await;
    moved.run().await;
    moved.wait(WaitFor::Running).await.unwrap();
    let load = Load::start(&pair.source_config(), "commerce", 1, load);
    let rounds = scaled(3, 50);
    let mut lost = BTreeSet::new();
    let mut target = pair.on_target().await;
    for round in 1..=rounds {
        let id = -round;
        source
            .execute(format!("INSERT INTO t VALUES ({id}, 1, 2, 'x', 'y', NULL, 0)"))
            .await
            .unwrap();
        let delete = format!("DELETE FROM t WHERE id = {id}");
        until("the row", async || target.execute(&delete).await.unwrap().affected == 1).await;
        lost.insert(id);
        let strength = STRENGTHS[usize::try_from(round % 2).unwrap()];
        let table = vdiff(&pair, &spec(strength)).await;
        assert_eq!(found(&table), [BTreeSet::new(), lost.clone(), BTreeSet::new()], "{strength:?}");
    }
    load.stop().await;
    moved.cancel().await.unwrap();
}

/// Two rows whose printed frames are one another in reverse: `1,6,ab,6,1` and `1,6,ba,6,1`.
#[tokio::test(flavor = "multi_thread")]
async fn rows_that_are_printed_in_reverse_differ() {
    let pair = Pair::with(Some(mysql56()), None, &[], &[]).await;
    let create = "CREATE TABLE t (id INT PRIMARY KEY, c VARCHAR(20) CHARACTER SET latin1 NOT NULL) ENGINE=InnoDB";
    for (mut control, text) in
        [(pair.on_source().await, "ab,6,1"), (pair.on_target().await, "ba,6,1")]
    {
        control.execute(create).await.unwrap();
        control.execute(format!("INSERT INTO t VALUES (1, '{text}')")).await.unwrap();
    }
    for strength in STRENGTHS {
        let table = standalone(&pair, spec(strength), &mut Fixer::Nothing).await;
        assert_eq!(table.mismatched, 1, "{strength:?}: {table:?}");
    }
}
