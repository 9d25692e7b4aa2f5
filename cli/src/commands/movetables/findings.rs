//! What a preflight found, for people and for programs.

use serde::Serialize;
use shunt_engine::preflight::{Finding, Level, Side};

/// A finding as JSON.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub(in crate::commands) struct FindingView<'a> {
    level: Level,
    check: &'a str,
    side: Side,
    subject: &'a str,
    reason: &'a str,
    fix: Option<&'a str>,
}

pub(in crate::commands) fn views(findings: &[Finding]) -> Vec<FindingView<'_>> {
    findings.iter().map(view).collect()
}

fn view(finding: &Finding) -> FindingView<'_> {
    FindingView {
        level: finding.level,
        check: finding.id,
        side: finding.side,
        subject: &finding.subject,
        reason: &finding.reason,
        fix: finding.fix.as_deref(),
    }
}

/// The findings, worst first, each with what changes it.
pub(in crate::commands) fn text(findings: &[Finding]) -> String {
    let mut out = String::new();
    for (level, heading) in
        [(Level::Error, "Errors"), (Level::Warning, "Warnings"), (Level::NotChecked, "Not checked")]
    {
        let of_level: Vec<&Finding> = findings.iter().filter(|f| f.level == level).collect();
        if of_level.is_empty() {
            continue;
        }
        out += &format!("{heading}:\n");
        for finding in of_level {
            let side = match finding.side {
                Side::Source => "source",
                Side::Target => "target",
            };
            out += &format!("  {side}  {}: {}\n", finding.subject, finding.reason);
            if let Some(fix) = &finding.fix {
                out += &format!("          fix: {}\n", fix.replace('\n', "\n               "));
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn findings_are_grouped_by_level_with_their_fix() {
        let finding = |level, fix: Option<&str>| Finding {
            id: "binlog_format",
            level,
            side: Side::Source,
            subject: "binlog_format".into(),
            reason: "it is STATEMENT".into(),
            fix: fix.map(Into::into),
        };
        let findings = [
            finding(Level::Warning, None),
            finding(Level::Error, Some("SET GLOBAL binlog_format=ROW")),
        ];
        let expected = "Errors:\n  source  binlog_format: it is STATEMENT\n          \
                        fix: SET GLOBAL binlog_format=ROW\n\
                        Warnings:\n  source  binlog_format: it is STATEMENT\n";
        assert_eq!(text(&findings), expected);
        let json = serde_json::to_value(views(&findings)).unwrap();
        let expected = serde_json::json!({
            "Level": "error", "Check": "binlog_format", "Side": "source",
            "Subject": "binlog_format", "Reason": "it is STATEMENT",
            "Fix": "SET GLOBAL binlog_format=ROW",
        });
        assert_eq!(json[1], expected);
    }
}
