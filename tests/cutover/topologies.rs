//! A configuration with another topology: it switches nothing and settles nothing of a move that was made under the first one, until it is
//! told to.

use shunt_engine::failpoints::SWITCH_AFTER_RAISE;

use super::adversaries::led_to;
use super::{moved, switch};
use crate::harness::binary::Binary;
use crate::harness::pair::Pair;
use crate::harness::site::Site;

/// The same configuration, but for the file of the topology.
fn elsewhere(site: &Site) -> String {
    let path = site.dir().join("shunt.toml");
    let toml = std::fs::read_to_string(&path).unwrap();
    let other = site.dir().join("other.toml");
    std::fs::write(&other, toml.replace("sqlite:topology.db", "sqlite:other.db")).unwrap();
    format!("--config {}", other.display())
}

async fn switch_row(site: &Site) -> (bool, String) {
    let mut source = site.on_source().await;
    let query = "SELECT settled, coordinator FROM _shunt.switch";
    let row = source.row(query).await.unwrap().unwrap();
    (row.text(0).unwrap() == "1", row.text(1).unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_move_is_switched_under_its_own_topology() {
    let pair = Pair::start().await;
    let (site, serving) = moved(&pair, "").await;
    serving.stop().await;
    let config = elsewhere(&site);
    let switching = format!("{} --force --tablet-types primary", switch(&site, "switchtraffic"));
    let verbs = [
        switching.clone(),
        "movetables complete customer.move".to_owned(),
        "movetables cancel customer.move".to_owned(),
        "movetables rehearse customer.move --no-gateway".to_owned(),
    ];
    for words in &verbs {
        let said = site.run(Binary::Plain, None, &format!("{config} {words}")).await;
        assert_eq!(said.code, Some(2), "{words}: {}", said.text);
        assert!(said.text.contains("was made under the topology"), "{}", said.text);
        assert!(said.text.contains("--adopt-topology"), "{}", said.text);
    }
    let said =
        site.run(Binary::Failpoints, Some(&format!("{SWITCH_AFTER_RAISE}:exit")), &switching).await;
    assert_eq!(said.code, Some(86), "{}", said.text);
    let before = switch_row(&site).await;
    assert!(!before.0);

    // It runs the stream, and so has looked at what is there.
    let mut other = site.start(Binary::Plain, None, &format!("{config} serve"));
    other.until_logged("stream").await;
    site.wait("caught-up").await;
    assert_eq!(switch_row(&site).await, before, "it is the other topology's");

    site.must(&format!("{config} workflow update customer.move --adopt-topology")).await;
    site.must_at_last(&format!("{config} {switching}")).await;
    let said = site.run(Binary::Plain, None, "movetables complete customer.move").await;
    assert!(said.text.contains("was made under the topology"), "{}", said.text);
    site.must_at_last(&format!("{config} movetables complete customer.move")).await;
    other.stop().await;
}

/// It would be asked for nothing by a switch, and know no rule.
#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_of_another_topology_does_not_start() {
    let pair = Pair::start().await;
    let (site, serving) = moved(&pair, "").await;
    serving.stop().await;
    let config = elsewhere(&site);
    let path = site.dir().join("other.toml");
    let settings = "\n[gateway]\nlisten = \"127.0.0.1:0\"\n";
    let toml = std::fs::read_to_string(&path).unwrap() + settings;
    std::fs::write(&path, toml).unwrap();
    let said = site.run(Binary::Plain, None, &format!("{config} gateway")).await;
    assert_eq!(said.code, Some(2), "{}", said.text);
    assert!(said.text.contains("was made under the topology"), "{}", said.text);
}

/// Without rules a name means the source, which is closed: the command that leads to the open side makes them again.
#[tokio::test(flavor = "multi_thread")]
async fn rules_that_are_missing_after_a_switch_are_made_again() {
    let pair = Pair::start().await;
    let (site, serving) = moved(&pair, "").await;
    site.must_at_last(&switch(&site, "switchtraffic")).await;
    let before = led_to(&site).await;
    let none = "routing-rules apply --rules {\"rules\":[]}";
    let said = site.run(Binary::Plain, None, none).await;
    assert!(said.code == Some(2) && said.text.contains("is switched to customer"), "{}", said.text);
    assert_eq!(led_to(&site).await, before);

    serving.stop().await;
    let config = elsewhere(&site);
    site.must(&format!("{config} workflow update customer.move --adopt-topology")).await;
    let rules = site.must(&format!("{config} routing-rules get")).await;
    assert!(!rules.contains("customer"), "{rules}");
    let serving = site.start(Binary::Plain, None, &format!("{config} serve"));
    site.must_at_last(&format!("{config} {}", switch(&site, "switchtraffic"))).await;
    std::fs::rename(site.dir().join("other.toml"), site.dir().join("shunt.toml")).unwrap();
    assert_eq!(led_to(&site).await, before);
    serving.stop().await;
}
