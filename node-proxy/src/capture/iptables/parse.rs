//! What `iptables-save` prints, as far as it is about our chains.
use std::collections::BTreeMap;
use std::net::IpAddr;

use super::{base, own};
use crate::capture::model::{Action, Chain, Hook, Mark, Match, Protocol, Rule, Table};
use crate::capture::observed::{Line, Seen};

/// Chains of nat that only the rules of a sidecar have.
const SIDECAR: [&str; 3] = ["ISTIO_REDIRECT", "ISTIO_INBOUND", "ISTIO_IN_REDIRECT"];

/// What was saved.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Saved {
    /// Our chains.
    pub chains: BTreeMap<Chain, Seen>,
    /// A chain that tells of a sidecar's rules, in which a chain of ours may have another meaning.
    pub sidecar: Option<String>,
}

/// Reads `text`; lines about others' chains are passed over.
#[must_use]
pub(crate) fn parse(text: &str) -> Saved {
    let mut saved = Saved::default();
    let mut table = None;
    for line in text.lines() {
        if let Some(name) = line.strip_prefix('*') {
            table = Table::ALL.into_iter().find(|table| table.to_string() == name.trim());
        }
        let Some(table) = table else { continue };
        if let Some(name) = line.strip_prefix(':').and_then(|rest| rest.split_whitespace().next()) {
            if let Some(hook) = hook_of(name) {
                saved.chains.entry(Chain::new(table, hook)).or_default();
            } else if table == Table::Nat && SIDECAR.contains(&name) {
                saved.sidecar = Some(name.to_owned());
            }
        } else if let Some((name, rest)) = line.strip_prefix("-A ").and_then(|rest| rest.split_once(' ')) {
            if let Some(hook) = hook_of(name) {
                let line = rule(rest).map_or_else(|| Line::Other(rest.to_owned()), Line::Rule);
                saved.chains.entry(Chain::new(table, hook)).or_default().lines.push(line);
            } else if let Some(hook) = Hook::ALL.into_iter().find(|hook| base(*hook) == name)
                && rest.trim() == format!("-j {}", own(hook))
            {
                saved.chains.entry(Chain::new(table, hook)).or_default().jumps += 1;
            }
        }
    }
    saved
}

fn hook_of(name: &str) -> Option<Hook> {
    Hook::ALL.into_iter().find(|hook| own(*hook) == name)
}

/// A rule of the kinds that we write, else `None`. Which match extension is loaded matters for `--mark` alone.
fn rule(text: &str) -> Option<Rule> {
    let mut matches = Vec::new();
    let mut action = None;
    let (mut not, mut connection) = (false, false);
    let (mut nfmask, mut ctmask) = (u32::MAX, u32::MAX);
    let mut words = text.split_whitespace();
    while let Some(word) = words.next() {
        if word == "!" {
            not = true;
            continue;
        }
        if word == "--restore-mark" {
            action = Some(Action::RestoreMark);
            continue;
        }
        let value = words.next()?;
        match (word, not) {
            ("-m", false) => connection = value == "connmark",
            ("-s", false) => matches.push(Match::Source(host(value)?)),
            ("-d", not) => matches.push(Match::Destination { address: host(value)?, not }),
            ("-i", false) => matches.push(Match::Input(value.parse().ok()?)),
            ("-o", not) => matches.push(Match::Output { interface: value.parse().ok()?, not }),
            ("-p", false) => matches.push(Match::Protocol(protocol(value)?)),
            ("--sport", false) => matches.push(Match::SourcePort(value.parse().ok()?)),
            ("--dport", not) => matches.push(Match::DestinationPort { port: value.parse().ok()?, not }),
            ("--mark", false) if connection => matches.push(Match::ConnectionMark(mark(value)?)),
            ("--mark", not) if !connection => matches.push(Match::Mark { mark: mark(value)?, not }),
            ("-j", false) => match value {
                "ACCEPT" => action = Some(Action::Accept),
                "RETURN" => action = Some(Action::Return),
                // Said by the option that follows.
                "REDIRECT" | "CONNMARK" | "CT" => {}
                _ => return None,
            },
            ("--to-ports", false) => action = Some(Action::Redirect(value.parse().ok()?)),
            ("--set-xmark", false) => action = Some(Action::SetConnectionMark(mark(value)?)),
            ("--zone", false) => action = Some(Action::Zone(value.parse().ok()?)),
            ("--nfmask", false) => nfmask = number(value)?,
            ("--ctmask", false) => ctmask = number(value)?,
            _ => return None,
        }
        not = false;
    }
    let whole = (nfmask, ctmask) == (u32::MAX, u32::MAX);
    // A target of which nothing more was said has no action here.
    Some(Rule::new(matches, action.filter(|_| whole && !not)?))
}

fn protocol(text: &str) -> Option<Protocol> {
    match text {
        "tcp" => Some(Protocol::Tcp),
        "udp" => Some(Protocol::Udp),
        _ => None,
    }
}

fn host(text: &str) -> Option<IpAddr> {
    let (address, length) = text.split_once('/').unwrap_or((text, ""));
    let address: IpAddr = address.parse().ok()?;
    let whole = if address.is_ipv4() { "32" } else { "128" };
    (length.is_empty() || length == whole).then_some(address)
}

fn mark(text: &str) -> Option<Mark> {
    let (value, mask) = text.split_once('/').unwrap_or((text, "0xffffffff"));
    Some(Mark { value: number(value)?, mask: number(mask)? })
}

fn number(text: &str) -> Option<u32> {
    text.strip_prefix("0x").map_or_else(|| text.parse().ok(), |hex| u32::from_str_radix(hex, 16).ok())
}
