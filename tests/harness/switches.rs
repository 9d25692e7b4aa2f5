//! The steps of a switch, and what became of one by the rows on both sides.

use std::time::Instant;

use shunt_engine::failpoints::{SWITCH_AFTER_NO_RETURN, SWITCH_STEPS};

use super::pair::PATIENCE;
use super::site::{LOOK, Place};
use super::soak::soak;

/// Every step in the long version.
pub(crate) fn steps(few: &[&'static str]) -> Vec<&'static str> {
    if soak() { SWITCH_STEPS.to_vec() } else { few.to_vec() }
}

/// Whether the point of no return is passed at a step.
pub(crate) fn is_decided(point: &str) -> bool {
    let at = |name| SWITCH_STEPS.iter().position(|step| *step == name).unwrap();
    at(point) >= at(SWITCH_AFTER_NO_RETURN)
}

/// Waits until the switch is settled; the side that takes writes then. `incoming` are the workflows into both sides.
pub(crate) async fn settled(places: &[Place; 2], incoming: &[String; 2], what: &str) -> usize {
    let started = Instant::now();
    loop {
        let mut open = Vec::new();
        let mut unsettled = 0;
        for (side, place) in places.iter().enumerate() {
            let mut control = place.connect().await;
            let query = format!(
                "SELECT f.state, s.settled FROM _shunt.fence f JOIN _shunt.switch s USING (workflow) \
                 WHERE f.workflow = '{}'",
                incoming[side]
            );
            let row = control.row(query).await.unwrap();
            if row.as_ref().is_none_or(|row| row.text(0).as_deref() == Some("open")) {
                open.push(side);
            }
            unsettled += usize::from(row.is_some_and(|row| row.text(1).as_deref() == Some("0")));
        }
        if unsettled == 0 {
            assert_eq!(open.len(), 1, "{what}: open are {open:?}");
            return open[0];
        }
        assert!(started.elapsed() < PATIENCE, "{what}: the switch is not settled");
        tokio::time::sleep(LOOK * 5).await;
    }
}
