//! The operator's command before and after each step of a switch: what it is told, and what its failures do.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Instant;

use super::{moved, switch};
use crate::harness::binary::Binary;
use crate::harness::pair::{PATIENCE, Pair};
use crate::harness::shell::Said;
use crate::harness::site::{LOOK, Site};

/// Notes what it is called for; fails or hangs where a file of that name says so.
const HOOK: &str = r#"#!/bin/sh
at="$SHUNT_WHEN-$SHUNT_STEP"
echo "$at" >> hooks.log
env > "env-$at"
[ -e "hang-$at" ] && exec sleep 600
[ -e "fail-$at" ] && exit 3
exit 0
"#;

/// Gives a site's configuration hooks.
fn hook(site: &Site) {
    hook_with(site, HOOK);
}

fn hook_with(site: &Site, text: &str) {
    let (script, toml) = (site.dir().join("hook.sh"), site.dir().join("shunt.toml"));
    std::fs::write(&script, text).unwrap();
    std::fs::set_permissions(&script, PermissionsExt::from_mode(0o755)).unwrap();
    let text = std::fs::read_to_string(&toml).unwrap();
    std::fs::write(&toml, text + "\n[hooks]\ncommand = [\"./hook.sh\"]\n").unwrap();
}

/// What was called, and forgets it.
fn called(dir: &Path) -> Vec<String> {
    let log = dir.join("hooks.log");
    let text = std::fs::read_to_string(&log).unwrap_or_default();
    drop(std::fs::remove_file(log));
    text.lines().map(str::to_owned).collect()
}

/// Gives a command until it ends like this: on a busy machine a switch may be taken back for other reasons.
async fn until_said(site: &Site, words: &str, code: i32, part: &str) -> Said {
    let started = Instant::now();
    loop {
        called(site.dir());
        let said = site.run(Binary::Plain, None, words).await;
        if said.code == Some(code) && said.text.contains(part) {
            return said;
        }
        let again = said.text.contains("another command is at work")
            || said.text.contains("taken back")
            || said.text.contains("taken_back");
        assert!(again && started.elapsed() < PATIENCE, "{words}: {}", said.text);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn hooks_are_called_before_and_after_each_step() {
    let pair = Pair::start().await;
    let (site, serving) = moved(&pair, "").await;
    hook(&site);
    let dir = site.dir().to_owned();
    let words = format!("{} --format json", switch(&site, "switchtraffic"));
    // Before the point of no return a failure takes the switch back, and so does a hook that hangs.
    for (trouble, part) in [
        ("fail-before-pause", "the hook before pause failed: exit status: 3"),
        ("fail-after-freeze", "the hook after freeze failed: exit status: 3"),
        ("hang-before-decide", "the hook before decide did not end within"),
    ] {
        std::fs::write(dir.join(trouble), "").unwrap();
        let said = until_said(&site, &words, 1, part).await;
        assert!(said.text.contains("\"outcome\": \"taken_back\""), "{}", said.text);
        let called = called(&dir);
        assert_eq!(called.last().map(String::as_str), Some("after-take-back"), "{called:?}");
        site.on_source().await.execute("UPDATE account SET balance = balance").await.unwrap();
        std::fs::remove_file(dir.join(trouble)).unwrap();
    }
    // After it a failure is reported, and nothing else.
    std::fs::write(dir.join("fail-after-open"), "").unwrap();
    let said = until_said(&site, &words, 0, "\"outcome\": \"switched\"").await;
    let shown: serde_json::Value = serde_json::from_str(
        &said.text[said.text.find('{').unwrap()..=said.text.rfind('}').unwrap()],
    )
    .unwrap();
    assert_eq!(shown["hook_failures"].as_array().unwrap().len(), 1, "{}", said.text);
    let failure = shown["hook_failures"][0].as_str().unwrap();
    assert!(failure.contains("the hook after open failed: exit status: 3"), "{failure}");
    let steps = ["pause", "freeze", "decide", "open", "rules", "release", "back"];
    let mut expected = Vec::new();
    for step in steps {
        expected.extend([format!("before-{step}"), format!("after-{step}")]);
    }
    let mut called = called(&dir);
    called.retain(|at| !at.ends_with("reads"));
    assert_eq!(called, expected);
    site.on_target().await.execute("UPDATE account SET balance = balance").await.unwrap();
    facts(&site, &dir);
    serving.stop().await;
}

/// What a hook finds in its environment.
fn facts(site: &Site, dir: &Path) {
    let env = std::fs::read_to_string(dir.join("env-after-open")).unwrap();
    for line in [
        "SHUNT_WORKFLOW=customer.move",
        "SHUNT_DIRECTION=forward",
        "SHUNT_TABLES=account,ledger",
        "SHUNT_TABLET_TYPES=primary",
        "SHUNT_SOURCE_KEYSPACE=commerce",
        "SHUNT_TARGET_DATABASE=customer",
        "SHUNT_REHEARSAL=0",
    ] {
        assert!(env.lines().any(|l| l == line), "{line}: {env}");
    }
    let toml = std::fs::read_to_string(site.dir().join("shunt.toml")).unwrap();
    for side in ["SOURCE", "TARGET"] {
        let begin = format!("SHUNT_{side}_ADDRESS=");
        let address = env.lines().find_map(|line| line.strip_prefix(&begin)).unwrap();
        assert!(toml.contains(&format!("address = \"{address}\"")), "{address}");
    }
    // What shunt itself was started with is not passed on: passwords may be in it.
    assert!(!env.contains("SHUNT_CONFIG"), "{env}");
    let reads = std::fs::read_to_string(dir.join("env-before-reads")).unwrap();
    assert!(reads.contains("SHUNT_TABLET_TYPES=rdonly,replica\n"), "{reads}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hook_that_is_not_there_is_named() {
    let pair = Pair::start().await;
    let (site, serving) = moved(&pair, "").await;
    hook(&site);
    std::fs::remove_file(site.dir().join("hook.sh")).unwrap();
    let said = site.run(Binary::Plain, None, &switch(&site, "switchtraffic")).await;
    assert_eq!(said.code, Some(1), "{}", said.text);
    assert!(said.text.contains("hook.sh") && said.text.contains("before reads"), "{}", said.text);
    serving.stop().await;
}

/// Numbers that the source has used up without a row, after the preparation: the reverse stream begins behind what makes up for them.
#[tokio::test(flavor = "multi_thread")]
async fn numbers_that_are_used_up_before_the_pause_do_not_stop_the_stream_back() {
    let pair = Pair::start().await;
    let (site, serving) = moved(&pair, "").await;
    let config = pair.source_config();
    let burn = format!(
        "#!/bin/sh\n[ $SHUNT_WHEN-$SHUNT_STEP = before-pause ] || exit 0\n\
         mariadb --no-defaults --protocol=TCP --host=127.0.0.1 --port={} --user={} --password={} commerce -e \
         'BEGIN; INSERT INTO ledger (client, n) SELECT 5, seq FROM seq_1_to_5000; ROLLBACK'\n",
        pair.source.primary().port(),
        config.user,
        config.password.expose()
    );
    hook_with(&site, &burn);
    site.must_at_last(&switch(&site, "switchtraffic")).await;
    site.must("movetables wait commerce.move_reverse --for caught-up --timeout 60s").await;
    let mut target = site.on_target().await;
    target.execute("INSERT INTO ledger (client, n) VALUES (77, 0)").await.unwrap();
    let row = target.row("SELECT LAST_INSERT_ID()").await.unwrap().unwrap();
    assert!(row.number::<u64>(0).unwrap() > 5000, "the numbers are not used again");
    site.must("movetables wait commerce.move_reverse --for caught-up --timeout 60s").await;
    assert_eq!(site.equal(&["ledger"]).await, Ok(()));
    serving.stop().await;
}

/// What a rehearsal is for is to fail where the switch would.
#[tokio::test(flavor = "multi_thread")]
async fn a_rehearsal_that_fails_behind_the_raise_says_why() {
    let pair = Pair::start().await;
    let (site, serving) = moved(&pair, "").await;
    hook(&site);
    let words = format!("movetables rehearse {} --no-gateway", site.workflow());
    std::fs::write(site.dir().join("fail-after-pause"), "").unwrap();
    let said = until_said(&site, &words, 1, "the hook after pause failed").await;
    assert!(!said.text.contains("was rehearsed"), "{}", said.text);
    std::fs::remove_file(site.dir().join("fail-after-pause")).unwrap();
    assert!(site.must_at_last(&words).await.contains("was rehearsed"));
    serving.stop().await;
}

/// Who ends a switch by force cannot know what becomes of it.
#[tokio::test(flavor = "multi_thread")]
async fn a_second_signal_in_a_switch_leaves_its_outcome_unknown() {
    let pair = Pair::start().await;
    let (site, serving) = moved(&pair, "").await;
    let slow = "#!/bin/sh\n[ $SHUNT_WHEN-$SHUNT_STEP = before-pause ] || exit 0\n\
                echo called >> hooks.log\nexec sleep 20\n";
    hook_with(&site, slow);
    let words = format!("{} --max-pause 30s", switch(&site, "switchtraffic"));
    let mut command = site.start(Binary::Plain, None, &words);
    let started = Instant::now();
    while called(site.dir()).is_empty() {
        assert!(command.runs() && started.elapsed() < PATIENCE, "{}", command.log());
        tokio::time::sleep(LOOK).await;
    }
    command.signal("-INT");
    tokio::time::sleep(LOOK * 25).await;
    command.signal("-INT");
    assert_eq!(command.ended().await.code(), Some(4), "{}", command.log());
    assert_eq!(super::steps::settled(&site, "a second signal").await, 0);
    serving.stop().await;
}
