//! The table of interfaces §3.6 as iptables rules, and reading them back in the forms that iptables-save has.
use std::collections::BTreeMap;

use super::*;
use crate::capture::model::{Chain, Family, Table};
use crate::capture::observed::{Line, Seen};
use crate::capture::rules::{Options, Rules, rules};

/// `HOST`, `PROBE`: the loopback and probe addresses of the family, with their length.
fn filled(lines: &[&str], family: Family) -> Vec<String> {
    let length = if family == Family::V4 { 32 } else { 128 };
    let host = |address| format!("{address}/{length}");
    let fill =
        |line: &&str| line.replace("HOST", &host(family.loopback())).replace("PROBE", &host(family.probe()));
    lines.iter().map(fill).collect()
}

fn options(dns: bool, ingress: bool, interfaces: &[&str]) -> Options {
    let interfaces = interfaces.iter().map(|name| name.parse().unwrap()).collect();
    Options { dns, ingress, interfaces }
}

const VIRTUAL: [&str; 4] = [
    "-i v0 -p tcp -j REDIRECT --to-ports 15001",
    "-i v0 -p tcp -j RETURN",
    "-i v1 -p tcp -j REDIRECT --to-ports 15001",
    "-i v1 -p tcp -j RETURN",
];
const INBOUND: [&str; 2] = [
    "-s PROBE -p tcp -j ACCEPT",
    "! -d HOST -p tcp ! --dport 15008 -m mark ! --mark 0x539/0xfff -j REDIRECT --to-ports 15006",
];
const TO_PROBE: [&str; 1] = ["-d PROBE -p tcp -j ACCEPT"];
const DNS: [&str; 2] = [
    "! -o lo -p udp --dport 53 -m mark ! --mark 0x539/0xfff -j REDIRECT --to-ports 15053",
    "! -d HOST -p tcp --dport 53 -m mark ! --mark 0x539/0xfff -j REDIRECT --to-ports 15053",
];
const OUTBOUND: [&str; 3] = [
    "-p tcp -m mark --mark 0x111/0xfff -j ACCEPT",
    "! -d HOST -o lo -j ACCEPT",
    "! -d HOST -p tcp -m mark ! --mark 0x539/0xfff -j REDIRECT --to-ports 15001",
];
const MANGLE: [&str; 2] = [
    "-m mark --mark 0x539/0xfff -j CONNMARK --set-xmark 0x111/0xfff",
    "-m connmark --mark 0x111/0xfff -j CONNMARK --restore-mark --nfmask 0xffffffff --ctmask 0xffffffff",
];
const RAW: [&str; 2] = [
    "-p udp --sport 53 -m mark ! --mark 0x539/0xfff -j CT --zone 1",
    "-p udp --dport 53 -m mark --mark 0x539/0xfff -j CT --zone 1",
];

#[test]
fn every_rule_of_the_table_is_there_in_its_order() {
    for family in Family::ALL {
        for (options, nat_in, nat_out, raw) in [
            (options(false, false, &[]), INBOUND.to_vec(), [&TO_PROBE[..], &OUTBOUND].concat(), false),
            (options(true, false, &[]), INBOUND.to_vec(), [&TO_PROBE[..], &DNS, &OUTBOUND].concat(), true),
            (options(false, true, &[]), vec![], [&TO_PROBE[..], &OUTBOUND].concat(), false),
            (
                options(true, true, &["v0", "v1"]),
                VIRTUAL.to_vec(),
                [&TO_PROBE[..], &DNS, &OUTBOUND].concat(),
                true,
            ),
            (
                options(false, false, &["v0", "v1"]),
                [&VIRTUAL[..], &INBOUND].concat(),
                [&TO_PROBE[..], &OUTBOUND].concat(),
                false,
            ),
        ] {
            let found = rules(&options, family);
            let lines = |table, hook| {
                found.get(&Chain::new(table, hook)).map(|rules| rules.iter().map(rule).collect::<Vec<_>>())
            };
            use crate::capture::model::Hook::{Output, Prerouting};
            let expect = |lines: &[&str]| Some(filled(lines, family));
            assert_eq!(lines(Table::Nat, Prerouting), expect(&nat_in), "{options:?}");
            assert_eq!(lines(Table::Nat, Output), expect(&nat_out), "{options:?}");
            assert_eq!(lines(Table::Mangle, Prerouting), expect(&MANGLE[..1]));
            assert_eq!(lines(Table::Mangle, Output), expect(&MANGLE[1..]));
            assert_eq!(lines(Table::Raw, Prerouting), raw.then(|| filled(&RAW[..1], family)));
            assert_eq!(lines(Table::Raw, Output), raw.then(|| filled(&RAW[1..], family)));
        }
    }
}

/// A namespace with nothing: chains are made, hooked, filled.
#[test]
fn a_script_makes_chains_and_hooks_them() {
    let script = restore(&rules(&options(false, true, &[]), Family::V4), &BTreeMap::new());
    let expected = "\
*mangle
:ISTIO_PRERT - [0:0]
:ISTIO_OUTPUT - [0:0]
-A PREROUTING -j ISTIO_PRERT
-A ISTIO_PRERT -m mark --mark 0x539/0xfff -j CONNMARK --set-xmark 0x111/0xfff
-A OUTPUT -j ISTIO_OUTPUT
-A ISTIO_OUTPUT -m connmark --mark 0x111/0xfff -j CONNMARK --restore-mark --nfmask 0xffffffff --ctmask 0xffffffff
COMMIT
*nat
:ISTIO_PRERT - [0:0]
:ISTIO_OUTPUT - [0:0]
-A PREROUTING -j ISTIO_PRERT
-A OUTPUT -j ISTIO_OUTPUT
-A ISTIO_OUTPUT -d 169.254.7.127/32 -p tcp -j ACCEPT
-A ISTIO_OUTPUT -p tcp -m mark --mark 0x111/0xfff -j ACCEPT
-A ISTIO_OUTPUT ! -d 127.0.0.1/32 -o lo -j ACCEPT
-A ISTIO_OUTPUT ! -d 127.0.0.1/32 -p tcp -m mark ! --mark 0x539/0xfff -j REDIRECT --to-ports 15001
COMMIT
";
    assert_eq!(script, expected);
}

/// Jumps that are there are not made again, superfluous ones go, and so do chains that should not be.
#[test]
fn a_script_changes_only_what_must_be() {
    let mut seen = BTreeMap::new();
    for chain in Chain::all() {
        seen.insert(chain, Seen { jumps: 1, ..Seen::default() });
    }
    let nat = Chain::new(Table::Nat, Hook::Output);
    seen.get_mut(&nat).unwrap().jumps = 3;
    let script = restore(&rules(&options(false, false, &[]), Family::V4), &seen);
    let lines = |wanted: &str| script.lines().filter(|line| *line == wanted).count();
    assert_eq!((lines("-A OUTPUT -j ISTIO_OUTPUT"), lines("-A PREROUTING -j ISTIO_PRERT")), (0, 0));
    let raw = "*raw\n-D PREROUTING -j ISTIO_PRERT\n-F ISTIO_PRERT\n-X ISTIO_PRERT\n\
               -D OUTPUT -j ISTIO_OUTPUT\n-F ISTIO_OUTPUT\n-X ISTIO_OUTPUT\nCOMMIT\n";
    assert!(script.starts_with(raw), "{script}");
    assert_eq!(lines("-D OUTPUT -j ISTIO_OUTPUT"), 1 + 2, "{script}");
    let gone = restore(&Rules::new(), &seen);
    assert!(!gone.contains("-A ") && !gone.contains("\n:"), "{gone}");
    assert_eq!(gone.matches("-X ").count(), 6);
    assert_eq!(restore(&Rules::new(), &BTreeMap::new()), "");
}

/// What `iptables-save` prints for our rules, by the kind on nf_tables, among rules of others.
const SAVED: &str = "\
# Generated by iptables-save v1.8.9 (nf_tables) on Sat Nov 21 19:07:35 2026
*mangle
:PREROUTING ACCEPT [0:0]
:OUTPUT ACCEPT [12:840]
:ISTIO_OUTPUT - [0:0]
:ISTIO_PRERT - [0:0]
-A PREROUTING -j ISTIO_PRERT
-A OUTPUT -j ISTIO_OUTPUT
-A ISTIO_OUTPUT -m connmark --mark 0x111/0xfff -j CONNMARK --restore-mark --nfmask 0xffffffff --ctmask 0xffffffff
-A ISTIO_PRERT -m mark --mark 0x539/0xfff -j CONNMARK --set-xmark 0x111/0xfff
COMMIT
# Completed on Sat Nov 21 19:07:35 2026
*filter
:INPUT ACCEPT [0:0]
-A INPUT -j ISTIO_OUTPUT
COMMIT
*nat
:PREROUTING ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
:POSTROUTING ACCEPT [0:0]
:ISTIO_OUTPUT - [0:0]
:ISTIO_PRERT - [0:0]
:THEIRS - [0:0]
-A PREROUTING -p tcp -j THEIRS
-A PREROUTING -j ISTIO_PRERT
-A OUTPUT -j ISTIO_OUTPUT
-A OUTPUT -m mark --mark 0x1 -j RETURN
-A ISTIO_OUTPUT -d 169.254.7.127/32 -p tcp -m tcp -j ACCEPT
-A ISTIO_OUTPUT -p tcp -m mark --mark 0x111/0xfff -j ACCEPT
-A ISTIO_OUTPUT ! -d 127.0.0.1/32 -o lo -j ACCEPT
-A ISTIO_OUTPUT ! -d 127.0.0.1/32 -p tcp -m mark ! --mark 0x539/0xfff -j REDIRECT --to-ports 15001
-A ISTIO_PRERT -s 169.254.7.127/32 -p tcp -m tcp -j ACCEPT
-A ISTIO_PRERT ! -d 127.0.0.1/32 -p tcp -m tcp ! --dport 15008 -m mark ! --mark 0x539/0xfff -j REDIRECT --to-ports 15006
COMMIT
";

#[test]
fn what_was_saved_is_what_was_meant() {
    let saved = parse(SAVED);
    assert_eq!(saved.sidecar, None);
    let wanted = rules(&options(false, false, &[]), Family::V4);
    assert_eq!(saved.chains.keys().collect::<Vec<_>>(), wanted.keys().collect::<Vec<_>>());
    for (chain, seen) in &saved.chains {
        let lines: Vec<Line> = wanted[chain].iter().cloned().map(Line::Rule).collect();
        assert_eq!((seen.jumps, &seen.lines), (1, &lines));
    }
}

#[test]
fn other_rules_in_our_chains_are_kept_as_text() {
    for rule in [
        "-j DROP",
        "-p tcp -j REDIRECT",
        "-p tcp -j REDIRECT --to-ports 15001-15003",
        "-p tcp -m multiport --dports 1,2 -j ACCEPT",
        "-s 10.0.0.0/8 -j ACCEPT",
        "! -s 10.0.0.1/32 -j ACCEPT",
        "-m mark --mark 0x539/0xfff -j MARK --set-xmark 0x0/0xffffffff",
        "-m connmark --mark 0x111/0xfff -j CONNMARK --restore-mark --nfmask 0xfff --ctmask 0xffffffff",
        "-m comment --comment \"a b\" -j ACCEPT",
        "-p icmp -j ACCEPT",
        "-g ISTIO_OUTPUT",
        "-j",
        "!",
    ] {
        let saved = parse(&format!("*nat\n:ISTIO_OUTPUT - [0:0]\n-A ISTIO_OUTPUT {rule}\nCOMMIT\n"));
        let lines = &saved.chains[&Chain::new(Table::Nat, Hook::Output)].lines;
        assert_eq!(lines, &[Line::Other(rule.to_owned())]);
    }
}

#[test]
fn rules_of_a_sidecar_are_recognized() {
    let text =
        "*nat\n:ISTIO_INBOUND - [0:0]\n:ISTIO_OUTPUT - [0:0]\n-A OUTPUT -p tcp -j ISTIO_OUTPUT\nCOMMIT\n";
    let saved = parse(text);
    assert_eq!(saved.sidecar.as_deref(), Some("ISTIO_INBOUND"));
    assert_eq!(saved.chains[&Chain::new(Table::Nat, Hook::Output)].jumps, 0, "not every packet");
}
