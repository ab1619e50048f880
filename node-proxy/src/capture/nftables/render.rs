//! Scripts for `nft -f`: all tables in one transaction.
use std::collections::BTreeMap;
use std::fmt::Write;
use std::net::IpAddr;

use super::{PREFIX, base, header, own};
use crate::capture::model::{Action, Chain, Family, Hook, Match, Rule, Table};
use crate::capture::rules::Rules;

/// The script that makes our tables into `rules` (a family that is not there is left out), whatever is in those that
/// there are. A table without chains goes; without any rules, all go.
#[must_use]
pub(crate) fn script(rules: &BTreeMap<Family, Rules>) -> String {
    let mut script = String::new();
    let only = match rules.keys().collect::<Vec<_>>()[..] {
        [family] => Some(*family),
        _ => None,
    };
    for table in Table::ALL {
        // A table that may not be there can be deleted in every version of nft only so.
        script += &format!("add table inet {PREFIX}{table}\ndelete table inet {PREFIX}{table}\n");
        let chains = Hook::ALL.map(|hook| Chain::new(table, hook));
        let chains: Vec<Chain> = chains
            .into_iter()
            .filter(|chain| rules.values().any(|rules| rules.contains_key(chain)))
            .collect();
        if chains.is_empty() {
            continue;
        }
        script += &format!("table inet {PREFIX}{table} {{\n");
        // A chain must be known before something jumps to it.
        for chain in &chains {
            script += &format!("  chain {} {{\n", own(chain.hook));
            script.extend(
                merged(rules, *chain).map(|rule| format!("    {}{}\n", guard(rule, only), self::rule(rule))),
            );
            script += "  }\n";
        }
        for chain in &chains {
            let (base, own, header) = (base(chain.hook), own(chain.hook), header(*chain));
            script += &format!("  chain {base} {{\n    {header}; policy accept;\n    jump {own}\n  }}\n");
        }
        script += "}\n";
    }
    script
}

/// The rules of `chain` for all families: those without addresses once.
fn merged(rules: &BTreeMap<Family, Rules>, chain: Chain) -> impl Iterator<Item = &Rule> {
    let of_family: Vec<&[Rule]> =
        rules.values().map(|rules| rules.get(&chain).map_or(&[][..], Vec::as_slice)).collect();
    let longest = of_family.iter().map(|rules| rules.len()).max().unwrap_or_default();
    (0..longest).flat_map(move |index| {
        let mut here: Vec<&Rule> = of_family.iter().filter_map(|rules| rules.get(index)).collect();
        here.dedup();
        here
    })
}

/// What keeps a rule without addresses from packets of other families than `only`.
fn guard(rule: &Rule, only: Option<Family>) -> &'static str {
    match only.filter(|_| rule.family().is_none()) {
        Some(Family::V4) => "meta nfproto ipv4 ",
        Some(Family::V6) => "meta nfproto ipv6 ",
        None => "",
    }
}

/// A rule.
#[must_use]
pub(crate) fn rule(rule: &Rule) -> String {
    let protocol = rule.protocol();
    let ports = |condition: &Match| matches!(condition, Match::SourcePort(_) | Match::DestinationPort { .. });
    let has_ports = rule.matches.iter().any(ports);
    let mut text = String::new();
    for condition in &rule.matches {
        // Writing to a String cannot fail.
        let _ = match condition {
            Match::Source(address) => write!(text, "{} saddr {address} ", ip(*address)),
            Match::Destination { address, not } => {
                write!(text, "{} daddr {}{address} ", ip(*address), bang(*not))
            }
            Match::Input(interface) => write!(text, "iifname \"{interface}\" "),
            Match::Output { interface, not } => write!(text, "oifname {}\"{interface}\" ", bang(*not)),
            // Ports say it.
            Match::Protocol(_) if has_ports => Ok(()),
            Match::Protocol(protocol) => write!(text, "meta l4proto {protocol} "),
            Match::SourcePort(port) => write!(text, "{} sport {port} ", transport(protocol)),
            Match::DestinationPort { port, not } => {
                write!(text, "{} dport {}{port} ", transport(protocol), bang(*not))
            }
            Match::Mark { mark, not } => {
                let is = if *not { "!=" } else { "==" };
                write!(text, "meta mark & {:#x} {is} {:#x} ", mark.mask, mark.value)
            }
            Match::ConnectionMark(mark) => {
                write!(text, "ct mark & {:#x} == {:#x} ", mark.mask, mark.value)
            }
        };
    }
    text += "counter ";
    text + &match rule.action {
        Action::Redirect(port) => format!("redirect to :{port}"),
        Action::Accept => "accept".to_owned(),
        Action::Return => "return".to_owned(),
        Action::SetConnectionMark(mark) => {
            format!("ct mark set ct mark & {:#x} | {:#x}", !mark.mask, mark.value)
        }
        Action::RestoreMark => "meta mark set ct mark".to_owned(),
        Action::Zone(zone) => format!("ct zone set {zone}"),
    }
}

fn transport(protocol: Option<crate::capture::model::Protocol>) -> String {
    protocol.map_or_else(|| "th".to_owned(), |protocol| protocol.to_string())
}

const fn ip(address: IpAddr) -> &'static str {
    if address.is_ipv4() { "ip" } else { "ip6" }
}

const fn bang(not: bool) -> &'static str {
    if not { "!= " } else { "" }
}
