//! The table of interfaces §3.6 as nftables rules, and reading back what nft lists.
use std::collections::BTreeMap;

use super::*;
use crate::capture::model::Family;
use crate::capture::observed::Line;
use crate::capture::rules::{Options, Rules, rules};

fn all(options: &Options, families: &[Family]) -> BTreeMap<Family, Rules> {
    families.iter().map(|family| (*family, rules(options, *family))).collect()
}

fn virtual_interface() -> Options {
    Options { dns: true, ingress: false, interfaces: vec!["v0".parse().unwrap()] }
}

/// Of the script, the lines of one chain.
fn chain<'a>(script: &'a str, table: &str, chain: &str) -> Vec<&'a str> {
    let table = script.split(&format!("table inet istio-ambient-{table} {{\n")).nth(1).expect("the table");
    let body = table.split(&format!("  chain {chain} {{\n")).nth(1).expect("the chain");
    body.lines().map(str::trim).take_while(|line| *line != "}").collect()
}

#[test]
fn every_rule_of_the_table_is_there_in_its_order() {
    let script = script(&all(&virtual_interface(), &Family::ALL));
    for (table, own, expected) in [
        ("raw", "istio-prerouting", &["udp sport 53 meta mark & 0xfff != 0x539 counter ct zone set 1"][..]),
        ("raw", "istio-output", &["udp dport 53 meta mark & 0xfff == 0x539 counter ct zone set 1"]),
        (
            "mangle",
            "istio-prerouting",
            &["meta mark & 0xfff == 0x539 counter ct mark set ct mark & 0xfffff000 | 0x111"],
        ),
        ("mangle", "istio-output", &["ct mark & 0xfff == 0x111 counter meta mark set ct mark"]),
        (
            "nat",
            "istio-prerouting",
            &[
                "iifname \"v0\" meta l4proto tcp counter redirect to :15001",
                "iifname \"v0\" meta l4proto tcp counter return",
                "ip saddr 169.254.7.127 meta l4proto tcp counter accept",
                "ip6 saddr fd16:9254:7127:1337:ffff:ffff:ffff:ffff meta l4proto tcp counter accept",
                "ip daddr != 127.0.0.1 tcp dport != 15008 meta mark & 0xfff != 0x539 counter redirect to :15006",
                "ip6 daddr != ::1 tcp dport != 15008 meta mark & 0xfff != 0x539 counter redirect to :15006",
            ],
        ),
        (
            "nat",
            "istio-output",
            &[
                "ip daddr 169.254.7.127 meta l4proto tcp counter accept",
                "ip6 daddr fd16:9254:7127:1337:ffff:ffff:ffff:ffff meta l4proto tcp counter accept",
                "oifname != \"lo\" udp dport 53 meta mark & 0xfff != 0x539 counter redirect to :15053",
                "ip daddr != 127.0.0.1 tcp dport 53 meta mark & 0xfff != 0x539 counter redirect to :15053",
                "ip6 daddr != ::1 tcp dport 53 meta mark & 0xfff != 0x539 counter redirect to :15053",
                "meta l4proto tcp meta mark & 0xfff == 0x111 counter accept",
                "ip daddr != 127.0.0.1 oifname \"lo\" counter accept",
                "ip6 daddr != ::1 oifname \"lo\" counter accept",
                "ip daddr != 127.0.0.1 meta l4proto tcp meta mark & 0xfff != 0x539 counter redirect to :15001",
                "ip6 daddr != ::1 meta l4proto tcp meta mark & 0xfff != 0x539 counter redirect to :15001",
            ],
        ),
        (
            "raw",
            "prerouting",
            &["type filter hook prerouting priority -300; policy accept;", "jump istio-prerouting"],
        ),
        ("raw", "output", &["type filter hook output priority -300; policy accept;", "jump istio-output"]),
        (
            "mangle",
            "prerouting",
            &["type filter hook prerouting priority -150; policy accept;", "jump istio-prerouting"],
        ),
        ("mangle", "output", &["type route hook output priority -150; policy accept;", "jump istio-output"]),
        (
            "nat",
            "prerouting",
            &["type nat hook prerouting priority -100; policy accept;", "jump istio-prerouting"],
        ),
        ("nat", "output", &["type nat hook output priority -100; policy accept;", "jump istio-output"]),
    ] {
        assert_eq!(chain(&script, table, own), expected, "{table} {own}");
    }
}

#[test]
fn without_ipv6_nothing_speaks_of_it() {
    let script = script(&all(&virtual_interface(), &[Family::V4]));
    assert!(!script.contains("ip6") && script.contains("ip daddr"), "{script}");
}

#[test]
fn rules_of_one_family_hold_for_no_other() {
    let script = script(&all(&virtual_interface(), &[Family::V4]));
    for table in ["raw", "mangle", "nat"] {
        for own in ["istio-prerouting", "istio-output"] {
            let rules = chain(&script, table, own);
            assert!(!rules.is_empty());
            for rule in rules {
                assert!(
                    rule.starts_with("meta nfproto ipv4 ")
                        || rule.contains("ip saddr")
                        || rule.contains("ip daddr"),
                    "{rule}"
                );
            }
        }
    }
}

#[test]
fn tables_that_should_not_be_are_removed_and_all_others_made_anew() {
    let without_dns = script(&all(&Options::default(), &Family::ALL));
    for table in ["raw", "mangle", "nat"] {
        // Adding what is there changes nothing, and what was not there can be deleted then.
        let anew = format!("add table inet istio-ambient-{table}\ndelete table inet istio-ambient-{table}\n");
        assert!(without_dns.contains(&anew));
        let made = without_dns.contains(&format!("\ntable inet istio-ambient-{table} {{"));
        assert_eq!(made, table != "raw");
    }
    assert!(!script(&BTreeMap::new()).contains('{'));
}

/// As nft 1.0.6 lists it with numbers, among somebody else's; newer versions bracket expressions, as in the last rule.
const LISTED: &str = "\
table inet theirs {
	set addresses {
		type ipv4_addr
		elements = { 10.0.0.1,
			     10.0.0.2 }
	}

	chain output {
		type nat hook output priority -100; policy accept;
		jump istio-output
	}
}
table inet istio-ambient-nat {
	chain istio-prerouting {
		ip saddr 169.254.7.127 meta l4proto 6 counter accept
		ip6 saddr fd16:9254:7127:1337:ffff:ffff:ffff:ffff meta l4proto 6 counter accept
		ip daddr != 127.0.0.1 tcp dport != 15008 meta mark & 0x00000fff != 0x00000539 counter packets 0 bytes 0 redirect to :15006
		ip6 daddr != ::1 tcp dport != 15008 meta mark & 0x00000fff != 0x00000539 counter redirect to :15006
	}

	chain istio-output {
		ip daddr 169.254.7.127 meta l4proto 6 counter accept
		ip6 daddr fd16:9254:7127:1337:ffff:ffff:ffff:ffff meta l4proto tcp counter accept
		meta l4proto 6 meta mark & 0x00000fff == 0x00000111 counter accept
		oifname \"lo\" ip daddr != 127.0.0.1 counter accept
		oifname \"lo\" ip6 daddr != ::1 counter accept
		meta l4proto 6 ip daddr != 127.0.0.1 meta mark & 0x00000fff != 0x00000539 counter redirect to :15001
		meta l4proto 6 ip6 daddr != ::1 meta mark & 0x00000fff != 0x00000539 counter redirect to :15001
	}

	chain prerouting {
		type nat hook prerouting priority -100; policy accept;
		jump istio-prerouting
	}

	chain output {
		type nat hook output priority -100; policy accept;
		jump istio-output
	}
}
table inet istio-ambient-mangle {
	chain istio-prerouting {
		meta mark & 0x00000fff == 0x00000539 counter ct mark set ct mark & 0xfffff111 | 0x00000111
	}

	chain istio-output {
		ct mark & 0x00000fff == 0x00000111 counter meta mark set ct mark
	}

	chain prerouting {
		type filter hook prerouting priority -150; policy accept;
		jump istio-prerouting
	}

	chain output {
		type route hook output priority -150; policy accept;
		jump istio-output
	}
}
";

#[test]
fn what_is_listed_is_what_was_meant() {
    let brackets = LISTED.replace("ct mark & 0xfffff111 | 0x00000111", "(ct mark & 0xfffff000) | 0x00000111");
    for text in [LISTED, &brackets] {
        let listed = parse(text, &Family::ALL);
        assert!(listed.foreign.is_empty() && listed.tables == [Table::Nat, Table::Mangle]);
        for family in Family::ALL {
            let wanted = rules(&Options::default(), family);
            assert_eq!(
                listed.observed.0[&family].keys().collect::<Vec<_>>(),
                wanted.keys().collect::<Vec<_>>()
            );
            for (chain, seen) in &listed.observed.0[&family] {
                let lines: Vec<Line> = wanted[chain].iter().cloned().map(Line::Rule).collect();
                assert_eq!(
                    (seen.jumps, &seen.lines, seen.beside.len()),
                    (1, &lines, 0),
                    "{family} {chain:?}"
                );
            }
        }
    }
}

#[test]
fn a_base_chain_of_another_kind_and_rules_beside_the_jump_are_told() {
    let text = LISTED
        .replace(
            "type nat hook output priority -100; policy accept;",
            "type nat hook output priority -90; policy accept;",
        )
        .replace(
            "type route hook output priority -150; policy accept;\n",
            "type route hook output priority -150; policy accept;\n\t\tdrop\n",
        );
    let observed = parse(&text, &[Family::V4]).observed;
    let beside = |table| observed.0[&Family::V4][&Chain::new(table, Hook::Output)].beside.clone();
    assert_eq!(beside(Table::Nat), ["type nat hook output priority -90; policy accept;"]);
    assert_eq!(beside(Table::Mangle), ["drop"]);
}

#[test]
fn what_a_node_has_in_the_same_table_is_not_a_pod_s() {
    let text = "table inet istio-ambient-nat {\n\tset istio-inpod-probes-v4 {\n\t\ttype ipv4_addr\n\t}\n\n\tchain postrouting {\n\
                \t\ttype nat hook postrouting priority 100; policy accept;\n\t}\n}\n";
    assert_eq!(parse(text, &Family::ALL).foreign, ["set istio-inpod-probes-v4", "chain postrouting"]);
}

#[test]
fn other_rules_in_our_chains_are_kept_as_text() {
    for rule in [
        "drop",
        "counter packets 1 bytes 2 drop",
        "tcp dport { 1, 2 } counter accept",
        "tcp dport 1-5 counter accept",
        "ip saddr 10.0.0.0/8 counter accept",
        "meta mark 0x00000539 counter accept",
        "meta mark set 0x00000539",
        "ct mark set 0x00000111",
        "ct mark & 0x00000fff != 0x00000111 counter meta mark set ct mark",
        "redirect",
        "redirect to :15001 random",
        "accept comment \"x\"",
        "meta nfproto 7 accept",
        "",
    ] {
        let text =
            format!("table inet istio-ambient-nat {{\n\tchain istio-output {{\n\t\t{rule}\n\t}}\n}}\n");
        let observed = parse(&text, &[Family::V6]).observed;
        let lines = &observed.0[&Family::V6][&Chain::new(Table::Nat, Hook::Output)].lines;
        let expected: Vec<Line> =
            (!rule.is_empty()).then(|| Line::Other(rule.to_owned())).into_iter().collect();
        assert_eq!(lines, &expected);
    }
}
