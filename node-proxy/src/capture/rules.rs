//! The rules that a captured pod has (Istio's, interfaces §3.6), as data.
use std::collections::BTreeMap;

use super::model::{Action, Chain, Family, Hook, Interface, Mark, Match, Protocol, Rule, Table};

/// Captured outbound connections.
pub const OUTBOUND: u16 = 15001;
/// Captured inbound plaintext.
pub const INBOUND: u16 = 15006;
/// HBONE, which is reached without redirection.
pub const HBONE: u16 = 15008;
/// The DNS proxy.
pub const DNS_PROXY: u16 = 15053;
const DNS: u16 = 53;
/// Where questions of the DNS proxy itself are tracked, apart from those of applications.
const DNS_ZONE: u16 = 1;

/// What may differ from pod to pod: its annotations.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Options {
    /// DNS questions go to the DNS proxy (`ambient.istio.io/dns-capture`).
    pub dns: bool,
    /// Inbound connections are left alone (`ambient.istio.io/bypass-inbound-capture`).
    pub ingress: bool,
    /// TCP that comes in by these is outbound traffic of what hides behind them, such as virtual machines
    /// (`istio.io/reroute-virtual-interfaces`).
    pub interfaces: Vec<Interface>,
}

/// The rules of each chain for one family, in order. A chain that is here must be hooked, be it empty.
pub type Rules = BTreeMap<Chain, Vec<Rule>>;

/// All rules for `family`.
#[must_use]
pub fn rules(options: &Options, family: Family) -> Rules {
    let mut rules = Rules::new();
    for hook in Hook::ALL {
        rules.insert(Chain::new(Table::Mangle, hook), mangle(hook));
        let nat = match hook {
            Hook::Prerouting => inbound(options, family),
            Hook::Output => outbound(options, family),
        };
        rules.insert(Chain::new(Table::Nat, hook), nat);
        if options.dns {
            rules.insert(Chain::new(Table::Raw, hook), vec![zone(hook)]);
        }
    }
    rules
}

/// Answers on connections that the proxy opened under a client's address find their way back to it.
fn mangle(hook: Hook) -> Vec<Rule> {
    vec![match hook {
        Hook::Prerouting => Rule::new([marked(Mark::PROXY)], Action::SetConnectionMark(Mark::BORROWED)),
        Hook::Output => Rule::new([Match::ConnectionMark(Mark::BORROWED)], Action::RestoreMark),
    }]
}

fn inbound(options: &Options, family: Family) -> Vec<Rule> {
    let mut rules = Vec::new();
    for interface in &options.interfaces {
        for action in [Action::Redirect(OUTBOUND), Action::Return] {
            rules.push(Rule::new([Match::Input(interface.clone()), tcp()], action));
        }
    }
    if !options.ingress {
        rules.push(Rule::new([Match::Source(family.probe()), tcp()], Action::Accept));
        let captured =
            [not_loopback(family), tcp(), Match::DestinationPort { port: HBONE, not: true }, unmarked()];
        rules.push(Rule::new(captured, Action::Redirect(INBOUND)));
    }
    rules
}

fn outbound(options: &Options, family: Family) -> Vec<Rule> {
    let probe = Match::Destination { address: family.probe(), not: false };
    let mut rules = vec![Rule::new([probe, tcp()], Action::Accept)];
    let lo = |not| Match::Output { interface: Interface::loopback(), not };
    if options.dns {
        let asked = Match::DestinationPort { port: DNS, not: false };
        let by_udp = [lo(true), udp(), asked.clone(), unmarked()];
        rules.push(Rule::new(by_udp, Action::Redirect(DNS_PROXY)));
        let by_tcp = [not_loopback(family), tcp(), asked, unmarked()];
        rules.push(Rule::new(by_tcp, Action::Redirect(DNS_PROXY)));
    }
    rules.push(Rule::new([tcp(), marked(Mark::BORROWED)], Action::Accept));
    rules.push(Rule::new([not_loopback(family), lo(false)], Action::Accept));
    rules.push(Rule::new([not_loopback(family), tcp(), unmarked()], Action::Redirect(OUTBOUND)));
    rules
}

fn zone(hook: Hook) -> Rule {
    match hook {
        Hook::Prerouting => Rule::new([udp(), Match::SourcePort(DNS), unmarked()], Action::Zone(DNS_ZONE)),
        Hook::Output => {
            let asked = Match::DestinationPort { port: DNS, not: false };
            Rule::new([udp(), asked, marked(Mark::PROXY)], Action::Zone(DNS_ZONE))
        }
    }
}

const fn tcp() -> Match {
    Match::Protocol(Protocol::Tcp)
}

const fn udp() -> Match {
    Match::Protocol(Protocol::Udp)
}

const fn marked(mark: Mark) -> Match {
    Match::Mark { mark, not: false }
}

/// Not of the proxy's own sockets.
const fn unmarked() -> Match {
    Match::Mark { mark: Mark::PROXY, not: true }
}

const fn not_loopback(family: Family) -> Match {
    Match::Destination { address: family.loopback(), not: true }
}
