//! Explanations as aligned text.

use alloc::string::String;
use core::fmt;

use super::{Arrival, EndpointSet, Explanation, Judged, Outcome, Path};
use crate::identity::Identity;

/// One line: what it is about, then what there is to say.
fn row(f: &mut fmt::Formatter<'_>, label: &str, value: impl fmt::Display) -> fmt::Result {
    writeln!(f, "{label:<12}{value}")
}

/// Several values of one label, each on its own line; `-` for none.
fn rows<T: fmt::Display>(
    f: &mut fmt::Formatter<'_>,
    label: &str,
    values: impl IntoIterator<Item = T>,
) -> fmt::Result {
    let mut values = values.into_iter();
    match values.next() {
        Some(first) => row(f, label, first)?,
        None => row(f, label, "-")?,
    }
    values.try_for_each(|value| row(f, "", value))
}

fn maybe<T: fmt::Display>(f: &mut fmt::Formatter<'_>, label: &str, value: Option<&T>) -> fmt::Result {
    rows(f, label, value)
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        row(f, "source", format_args!("{} {}", self.source, self.source_identity))?;
        row(f, "client", self.client)?;
        row(f, "target", self.target)?;
        maybe(f, "service", self.service.as_ref())?;
        maybe(f, "waypoint", self.waypoint.as_ref())?;
        self.endpoints.iter().try_for_each(|set| set.fmt(f))?;
        match &self.outcome {
            Outcome::Refused(error) => row(f, "refused", error)?,
            Outcome::Sent(path) => path.fmt(f)?,
        }
        rows(f, "because", &self.reasons)
    }
}

impl fmt::Display for EndpointSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:<12}{} port {}, {}", "endpoints", self.service, self.port, self.mode)?;
        for preference in &self.preferences {
            write!(f, " {preference}")?;
        }
        writeln!(f)?;
        let width = self.endpoints.iter().map(|line| line.workload.len()).max().unwrap_or(0);
        self.endpoints.iter().try_for_each(|line| {
            let (workload, port) = (&line.workload, line.port);
            let (weight, rank, standing) = (line.weight, line.rank, line.standing);
            let line = format_args!(
                "{workload:<width$}  port {port:<5}  weight {weight:<5}  rank {rank}  {standing}"
            );
            row(f, "", line)
        })
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        row(f, "protocol", self.protocol)?;
        maybe(f, "peer", self.peer.as_ref())?;
        match (&self.dial, &self.resolve) {
            (Some(dial), _) => row(f, "dial", dial)?,
            (None, Some(name)) => row(f, "dial", format_args!("an address of {name}"))?,
            (None, None) => {}
        }
        if let Some(authority) = &self.authority {
            row(f, "authority", authority)?;
            rows(f, "expected", &self.expected)?;
        }
        if let Some(inner) = &self.inner_expected {
            rows(f, "inside", inner)?;
        }
        if let Some(key) = &self.pool_key {
            let from = key.source_ip.map_or_else(String::new, |ip| alloc::format!(" ({ip})"));
            let expected = Accounts(&key.expected);
            row(f, "pool key", format_args!("{}{from} to {} as {expected}", key.source, key.destination))?;
        }
        self.arrival.fmt(f)
    }
}

/// Identities on one line.
struct Accounts<'a>(&'a [Identity]);

impl fmt::Display for Accounts<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, identity) in self.0.iter().enumerate() {
            let separator = if position == 0 { "" } else { " or " };
            write!(f, "{separator}{identity}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Arrival {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotJudged => row(f, "verdict", "nobody judges: the next peer has no proxy of the mesh"),
            Self::Elsewhere(who) => row(f, "verdict", who),
            Self::Refused { status: Some(status), error } => {
                row(f, "verdict", format_args!("answered {status}: {error}"))
            }
            Self::Refused { status: None, error } => row(f, "verdict", format_args!("closed: {error}")),
            Self::Judged(judged) => judged.fmt(f),
        }
    }
}

impl fmt::Display for Judged {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        row(f, "application", format_args!("{}, shown {}", self.application, self.shown_source))?;
        if !self.reasons.is_empty() {
            rows(f, "admitted", &self.reasons)?;
        }
        let policies = self.policies.iter().map(|policy| {
            let Some(action) = policy.action else {
                return alloc::format!("{}: listed by the workload, but not known", policy.name);
            };
            let (name, scope) = (&policy.name, policy.scope);
            let trial = if policy.dry_run { ", on trial" } else { "" };
            match policy.matched {
                Some(rule) => alloc::format!("{name} {action}, {scope}{trial}: rule {rule} matches"),
                None => alloc::format!("{name} {action}, {scope}{trial}: no rule matches"),
            }
        });
        rows(f, "policies", policies)?;
        let verdict = if self.allowed { "allowed" } else { "denied" };
        row(f, "verdict", format_args!("{verdict}: {}", self.because))?;
        self.dry_run.iter().try_for_each(|said| row(f, "", said))
    }
}
