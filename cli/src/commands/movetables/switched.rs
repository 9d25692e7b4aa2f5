//! What is said at the end of a switch.

use std::time::Duration;

use serde::Serialize;
use shunt_engine::cutover::Outcome;
use shunt_engine::cutover::traffic::Traffic;
use shunt_engine::preflight::Finding;

use super::findings;
use crate::exit::Exit;
use crate::output::{self, Format};

/// How a switch ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Ended {
    /// The traffic is where it was to go.
    Switched,
    /// Nothing was begun: what stands in the way was found before.
    Refused,
    /// The writes are where they were. Of a rehearsal that is its end.
    TakenBack,
    /// It is past its point of no return, or cannot be seen.
    Unknown,
}

/// What is said at the end.
#[derive(Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) struct View {
    #[serde(skip)]
    pub(super) verb: String,
    pub(super) workflow: String,
    pub(super) outcome: Ended,
    pub(super) start_state: String,
    pub(super) current_state: String,
    pub(super) generation: Option<u64>,
    /// For how long writes were held up.
    pub(super) pause_ms: Option<u128>,
    pub(super) message: Option<String>,
    /// What failed of the operator's command after the point of no return.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) hook_failures: Vec<String>,
    /// What the operator should know.
    #[serde(skip_serializing_if = "Vec::is_empty", serialize_with = "as_views")]
    pub(super) findings: Vec<Finding>,
    #[serde(skip)]
    pub(super) exit: Exit,
}

fn as_views<S: serde::Serializer>(
    found: &[Finding],
    serializer: S,
) -> std::result::Result<S::Ok, S::Error> {
    findings::views(found).serialize(serializer)
}

pub(super) const READS_STAY: &str = "The reads were switched before, and stay where they are";

impl View {
    /// Of a switch that nothing has come of yet.
    pub(super) fn of(verb: &str, workflow: String, start: &Traffic) -> Self {
        Self {
            verb: verb.to_owned(),
            workflow,
            outcome: Ended::Switched,
            start_state: start.to_string(),
            current_state: String::new(),
            generation: None,
            pause_ms: None,
            message: None,
            hook_failures: Vec::new(),
            findings: Vec::new(),
            exit: Exit::Done,
        }
    }

    /// Takes up what became of the writes.
    pub(super) fn tell(&mut self, outcome: Outcome) {
        let ms = |pause: Option<Duration>| pause.map(|pause| pause.as_millis());
        match outcome {
            Outcome::Switched { generation, pause } => {
                self.generation = Some(generation);
                self.pause_ms = ms(Some(pause));
            }
            Outcome::Rehearsed { pause } => {
                self.pause_ms = ms(Some(pause));
                self.outcome = Ended::TakenBack;
            }
            Outcome::TakenBack { why, pause } => {
                self.pause_ms = ms(pause);
                (self.outcome, self.exit) = (Ended::TakenBack, Exit::Failed);
                self.message = Some(why.to_string());
            }
            Outcome::Unknown(why) => {
                (self.outcome, self.exit) = (Ended::Unknown, Exit::Unknown);
                self.message = Some(why.to_string());
            }
        }
    }

    /// Reads go first, and are not led back with the writes.
    pub(super) fn reads_stay(&mut self) {
        if let Some(message) = self.message.as_mut().filter(|_| self.outcome == Ended::TakenBack) {
            message.push_str(". ");
            message.push_str(READS_STAY);
        }
    }

    /// Says it.
    pub(super) fn say(&self, format: Format) -> anyhow::Result<()> {
        if format == Format::Json {
            return output::report_json(self);
        }
        output::report(&text(self));
        Ok(())
    }
}

fn text(view: &View) -> String {
    let View { verb, workflow, .. } = view;
    let mut text = match view.outcome {
        Ended::Switched => format!("\n{verb} was successful for workflow {workflow}\n"),
        Ended::Refused => format!("\n{verb} was refused for workflow {workflow}\n"),
        Ended::TakenBack => format!("\n{verb} was taken back for workflow {workflow}\n"),
        Ended::Unknown => format!("\n{verb} has an unknown outcome for workflow {workflow}\n"),
    };
    text += &format!("Start State: {}\nCurrent State: {}\n", view.start_state, view.current_state);
    if let Some(pause) = view.pause_ms {
        text += &format!("Write Pause: {pause} ms\n");
    }
    if let Some(message) = &view.message {
        text += &format!("Reason: {message}\n");
    }
    for failure in &view.hook_failures {
        text += &format!("Hook: {failure}\n");
    }
    if view.exit == Exit::Unknown {
        text += "A running `shunt serve`, or the same command again, settles it.\n";
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_switch_reads_as_in_the_guide() {
        let mut view = View {
            verb: "SwitchTraffic".into(),
            workflow: "customer.commerce2customer".into(),
            outcome: Ended::Switched,
            start_state: "Reads Not Switched. Writes Not Switched".into(),
            current_state: "All Reads Switched. Writes Switched".into(),
            generation: Some(1),
            pause_ms: None,
            message: None,
            hook_failures: Vec::new(),
            findings: Vec::new(),
            exit: Exit::Done,
        };
        let guide = "
SwitchTraffic was successful for workflow customer.commerce2customer
Start State: Reads Not Switched. Writes Not Switched
Current State: All Reads Switched. Writes Switched
";
        assert_eq!(text(&view), guide);
        view.pause_ms = Some(41);
        assert_eq!(text(&view), format!("{guide}Write Pause: 41 ms\n"));
        let json = serde_json::to_value(&view).unwrap();
        assert_eq!(
            (json["outcome"].as_str(), json["pause_ms"].as_u64()),
            (Some("switched"), Some(41))
        );
    }
}
