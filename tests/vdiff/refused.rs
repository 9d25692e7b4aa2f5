//! Tables whose rows a repair must not write: nothing of them is changed, and what is in the way is named.

use shunt_engine::sidecar::wanted::Wanted;
use shunt_engine::workflow::spec::Tuning;
use shunt_engine::workflow::verbs::WaitFor;
use shunt_vdiff::fix::Fixer;
use shunt_vdiff::spec::{Spec, Strength};
use shunt_vdiff::table::Progress;
use shunt_vdiff::workflow;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::{register, spec, try_standalone, unique, vdiff};
use crate::harness::binary::Binary;
use crate::harness::pair::{Pair, WORKFLOW};
use crate::harness::site::Site;

#[tokio::test(flavor = "multi_thread")]
async fn triggers_and_fences_of_the_target_refuse_a_repair() {
    let pair = Pair::start().await;
    let site = Site::new(&pair, "").await;
    let mut source = pair.on_source().await;
    source.execute("CREATE TABLE t (id INT NOT NULL PRIMARY KEY, v INT)").await.unwrap();
    source.execute("INSERT INTO t SELECT seq, 0 FROM seq_1_to_100").await.unwrap();
    let mut moved = pair.create(&["t"], Tuning::default()).await;
    moved.run().await;
    moved.wait(WaitFor::CaughtUp).await.unwrap();
    let mut target = pair.on_target().await;
    target.execute("UPDATE t SET v = 7 WHERE id = 5").await.unwrap();
    let counted = "CREATE TRIGGER counted AFTER DELETE ON t FOR EACH ROW SET @deleted = OLD.id";
    target.execute(counted).await.unwrap();
    let repairing = Spec { repair: true, ..spec(Strength::Strong) };
    let work = register(&pair, &repairing).await;
    let (progress, _) = watch::channel(Progress::default());
    let cancel = CancellationToken::new();
    let ended = Box::pin(workflow::execute(&work, &progress, &cancel)).await;
    let error = ended.expect_err("it would fire the trigger").to_string();
    assert!(error.contains("counted"), "{error}");
    let ended = try_standalone(&pair, spec(Strength::Fast), &mut Fixer::repair()).await;
    let error = ended.expect_err("so would this").to_string();
    assert!(error.contains("counted"), "{error}");
    let run = "vdiff run --source commerce --target customer --tables t --state s.json";
    let said = site.run(Binary::Plain, None, &format!("{run} --emit-sql fix.sql")).await;
    assert_eq!(said.code, Some(2), "{}", said.text);
    let said = site.run(Binary::Plain, None, run).await;
    assert_eq!(said.code, Some(3), "comparing writes nothing: {}", said.text);
    // A side that a switch has closed, as its sidecar and its triggers say.
    for statement in [
        "DROP TRIGGER counted".to_owned(),
        format!(
            "INSERT INTO _shunt.fence (workflow, generation, state, closed_until_s) VALUES ('{WORKFLOW}', 1, 'closed', 9223372036854775807)"
        ),
        format!(
            "CREATE TRIGGER _shunt_fence_1_0_I BEFORE INSERT ON t FOR EACH ROW SET @fence = '{WORKFLOW}'"
        ),
    ] {
        target.execute(statement).await.unwrap();
    }
    let uuid = format!("closed-{}", unique());
    let created =
        workflow::create(&mut target, WORKFLOW, &uuid, &repairing, &[], Wanted::Run).await;
    let error = created.expect_err("the fence would refuse it").to_string();
    assert!(error.contains("is closed by the fence"), "{error}");
    let said = site.run(Binary::Plain, None, &format!("{run} --repair")).await;
    assert_eq!(said.code, Some(2), "{}", said.text);
    assert_eq!(vdiff(&pair, &spec(Strength::Strong)).await.mismatched, 1);
    // An open one keeps its triggers.
    target.execute("UPDATE _shunt.fence SET state = 'open', closed_until_s = 0").await.unwrap();
    assert_eq!(vdiff(&pair, &repairing).await.repaired, 1);
    target.execute("DELETE FROM _shunt.fence").await.unwrap();
    target.execute("DROP TRIGGER _shunt_fence_1_0_I").await.unwrap();
    moved.cancel().await.unwrap();
}
