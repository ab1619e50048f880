//! What a check found, for people and as JSON.
use std::fmt;

use adit_ops::capture::{Outcome, PodCapture};
use serde::Serialize;

/// How one thing is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) enum Verdict {
    /// As it should be.
    Ok,
    /// It could not be found out.
    Unknown,
    /// Not as it should be.
    Problem,
}

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
pub(super) struct Finding {
    /// What was looked at.
    pub(super) subject: String,
    /// How it is.
    pub(super) verdict: Verdict,
    /// What was seen.
    pub(super) detail: String,
    /// What to do, where something is wrong.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) fix: Option<String>,
}

impl Finding {
    pub(super) fn ok(subject: impl Into<String>, detail: impl Into<String>) -> Self {
        Self { subject: subject.into(), verdict: Verdict::Ok, detail: detail.into(), fix: None }
    }

    pub(super) fn problem(subject: &str, detail: impl Into<String>, fix: impl Into<String>) -> Self {
        let fix = Some(fix.into());
        Self { subject: subject.to_owned(), verdict: Verdict::Problem, detail: detail.into(), fix }
    }

    pub(super) fn unknown(subject: &str, detail: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { verdict: Verdict::Unknown, ..Self::problem(subject, detail, fix) }
    }

    /// What became of a probe.
    pub(super) fn of_probe(subject: &str, outcome: &Outcome, fix: &str) -> Self {
        match outcome {
            Outcome::Captured | Outcome::NoRoute => Self::ok(subject, outcome.to_string()),
            Outcome::NotCaptured { .. } => Self::problem(subject, outcome.to_string(), fix),
            Outcome::Unknown { .. } => Self::unknown(subject, outcome.to_string(), fix),
        }
    }
}

/// Everything that was looked at.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize)]
pub(super) struct Report {
    /// In the order in which to read it.
    pub(super) findings: Vec<Finding>,
}

impl Report {
    /// What a running proxy last found of its pods.
    pub(super) fn of_pods(pods: &[PodCapture]) -> Self {
        let fix = "on the pod's node: `adit-node check --netns /proc/PID/ns/net`, with PID of one of the pod's processes";
        let finding = |pod: &PodCapture| {
            let (subject, detail) = (format!("{}/{}", pod.namespace, pod.name), pod.state.to_string());
            if pod.state.is_missing() {
                return Finding::problem(&subject, detail, fix);
            }
            let unknown =
                [&pod.state.ipv4, &pod.state.ipv6].iter().any(|it| matches!(it, Outcome::Unknown { .. }));
            if unknown { Finding::unknown(&subject, detail, fix) } else { Finding::ok(subject, detail) }
        };
        Self { findings: pods.iter().map(finding).collect() }
    }

    /// The worst of all. Of nothing, nothing is known.
    pub(super) fn verdict(&self) -> Verdict {
        self.findings.iter().map(|finding| finding.verdict).max().unwrap_or(Verdict::Unknown)
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width =
            self.findings.iter().map(|finding| finding.subject.chars().count()).max().unwrap_or_default();
        for Finding { subject, verdict, detail, fix } in &self.findings {
            let verdict = match verdict {
                Verdict::Ok => "ok",
                Verdict::Unknown => "unknown",
                Verdict::Problem => "PROBLEM",
            };
            writeln!(f, "{verdict:<7}  {subject:<width$}  {detail}")?;
            if let Some(fix) = fix {
                writeln!(f, "{:<7}  {:<width$}  fix: {fix}", "", "")?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use adit_ops::capture::CaptureState;

    use super::*;

    #[test]
    fn the_table_lines_up_and_names_the_fix() {
        let findings =
            vec![Finding::ok("rules", "all there"), Finding::problem("IPv4 probe", "no answer", "do x")];
        let report = Report { findings };
        let table = "ok       rules       all there\nPROBLEM  IPv4 probe  no answer\n                     fix: do x\n";
        assert_eq!(report.to_string(), table);
        assert_eq!(report.verdict(), Verdict::Problem);
        let json = serde_json::to_value(&report).unwrap();
        assert_eq!(json["findings"][1]["verdict"], "problem");
        assert!(json["findings"][0].get("fix").is_none());
    }

    #[test]
    fn pods_are_as_their_worse_family() {
        let pod = |ipv6| PodCapture {
            uid: "u".into(),
            namespace: "shop".into(),
            name: "web".into(),
            state: CaptureState { ipv4: Outcome::Captured, ipv6 },
        };
        let why = || "x".to_owned();
        for (ipv6, verdict) in [
            (Outcome::NoRoute, Verdict::Ok),
            (Outcome::Unknown { why: why() }, Verdict::Unknown),
            (Outcome::NotCaptured { why: why() }, Verdict::Problem),
        ] {
            let report = Report::of_pods(&[pod(ipv6)]);
            assert_eq!((report.verdict(), report.findings[0].subject.as_str()), (verdict, "shop/web"));
        }
        assert_eq!(Report::of_pods(&[]).verdict(), Verdict::Unknown, "nothing proves nothing");
    }
}
