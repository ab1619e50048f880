//! Scripts for `iptables-restore --noflush`, which changes each table at once or not at all.
use std::collections::BTreeMap;
use std::fmt::Write;
use std::net::IpAddr;

use super::{base, own};
use crate::capture::model::{Action, Chain, Hook, Match, Rule, Table};
use crate::capture::observed::Seen;
use crate::capture::rules::Rules;

/// The script that makes `seen` into `rules`; without rules, it removes everything of ours. Nothing else is touched.
#[must_use]
pub(crate) fn restore(rules: &Rules, seen: &BTreeMap<Chain, Seen>) -> String {
    let mut script = String::new();
    for table in Table::ALL {
        let chains = Hook::ALL.map(|hook| Chain::new(table, hook));
        let (mut declared, mut lines) = (String::new(), String::new());
        for chain in chains {
            let jumps = seen.get(&chain).map_or(0, |seen| seen.jumps);
            let (base, own) = (base(chain.hook), own(chain.hook));
            let superfluous = if let Some(rules) = rules.get(&chain) {
                // A chain that is declared and exists is emptied.
                declared += &format!(":{own} - [0:0]\n");
                if jumps == 0 {
                    lines += &format!("-A {base} -j {own}\n");
                }
                lines.extend(rules.iter().map(|rule| format!("-A {own} {}\n", self::rule(rule))));
                jumps.saturating_sub(1)
            } else {
                jumps
            };
            lines += &format!("-D {base} -j {own}\n").repeat(superfluous);
            if seen.contains_key(&chain) && !rules.contains_key(&chain) {
                lines += &format!("-F {own}\n-X {own}\n");
            }
        }
        if !declared.is_empty() || !lines.is_empty() {
            script += &format!("*{table}\n{declared}{lines}COMMIT\n");
        }
    }
    script
}

/// A rule, without table and chain.
#[must_use]
pub(crate) fn rule(rule: &Rule) -> String {
    let mut text = String::new();
    for condition in &rule.matches {
        // Writing to a String cannot fail.
        let _ = match condition {
            Match::Source(address) => write!(text, "-s {} ", host(*address)),
            Match::Destination { address, not } => write!(text, "{}-d {} ", bang(*not), host(*address)),
            Match::Input(interface) => write!(text, "-i {interface} "),
            Match::Output { interface, not } => write!(text, "{}-o {interface} ", bang(*not)),
            Match::Protocol(protocol) => write!(text, "-p {protocol} "),
            Match::SourcePort(port) => write!(text, "--sport {port} "),
            Match::DestinationPort { port, not } => write!(text, "{}--dport {port} ", bang(*not)),
            Match::Mark { mark, not } => write!(text, "-m mark {}--mark {mark} ", bang(*not)),
            Match::ConnectionMark(mark) => write!(text, "-m connmark --mark {mark} "),
        };
    }
    text + &match rule.action {
        Action::Redirect(port) => format!("-j REDIRECT --to-ports {port}"),
        Action::Accept => "-j ACCEPT".to_owned(),
        Action::Return => "-j RETURN".to_owned(),
        Action::SetConnectionMark(mark) => format!("-j CONNMARK --set-xmark {mark}"),
        Action::RestoreMark => {
            "-j CONNMARK --restore-mark --nfmask 0xffffffff --ctmask 0xffffffff".to_owned()
        }
        Action::Zone(zone) => format!("-j CT --zone {zone}"),
    }
}

const fn bang(not: bool) -> &'static str {
    if not { "! " } else { "" }
}

fn host(address: IpAddr) -> String {
    format!("{address}/{}", if address.is_ipv4() { 32 } else { 128 })
}
