use super::*;

#[test]
fn ids_of_checks_are_distinct() {
    let mut ids: Vec<_> = CHECKS.iter().map(|check| check.0).collect();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), CHECKS.len());
}

#[test]
fn a_finding_is_written_as_json() {
    let finding = Finding::new(Level::NotChecked, Side::Target, "disk", "It cannot be seen.");
    let json = serde_json::to_string(&finding).unwrap();
    assert_eq!(
        json,
        r#"{"id":"","level":"not-checked","side":"target","subject":"disk","reason":"It cannot be seen.","fix":null}"#
    );
}
