//! Applying twice, by another backend, over others' rules, and after somebody has changed something.
use adit_node::capture::{Backend, Choice, Done, Options, Problem, Request, apply, remove, verify};
use adit_testkit::netns::{Namespace, Result};

use crate::world::{BACKENDS, netns, request};

/// Everything that tools say of rules and routes, without counters, comments and empty tables of iptables-nft.
fn everything(namespace: &Namespace) -> Result<Vec<String>> {
    let mut lines = Vec::new();
    for tool in [
        "nft -s list ruleset inet",
        "iptables-nft-save",
        "ip6tables-nft-save",
        "iptables-legacy-save",
        "ip6tables-legacy-save",
        "ip -4 rule",
        "ip -6 rule",
        "ip -4 route show table all",
        "ip -6 route show table all",
    ] {
        let said = namespace.run(tool)?;
        let kept = said.lines().filter(|line| !line.starts_with(['#', '*', ':']) && *line != "COMMIT");
        lines.extend(kept.map(|line| format!("{tool}: {}", line.trim())));
    }
    Ok(lines)
}

/// Rules of somebody else, beside which ours must live.
fn others(namespace: &Namespace) -> Result<()> {
    for line in [
        "nft add table inet theirs",
        "nft add chain inet theirs output { type filter hook output priority 0 ; }",
        "nft add rule inet theirs output meta mark 7 drop",
        "iptables -t nat -N THEIRS",
        "iptables -t nat -A OUTPUT -p udp -j THEIRS",
        "iptables -t raw -A PREROUTING -p udp -m udp --dport 9 -j DROP",
        "ip6tables -t mangle -A OUTPUT -m mark --mark 0x7 -j DROP",
        "ip rule add fwmark 0x7 pref 32764 lookup 100",
        "ip route add 10.9.0.0/16 dev lo table 100",
    ] {
        namespace.run(line)?;
    }
    Ok(())
}

#[test]
fn twice_is_once_and_removing_leaves_what_was_there_before() -> Result<()> {
    for backend in BACKENDS {
        let namespace = Namespace::new("pod")?;
        others(&namespace)?;
        let before = everything(&namespace)?;
        let pod = netns(&namespace);
        let by = Some(if backend == Choice::Nftables { Backend::Nftables } else { Backend::Iptables });
        let request = request(backend);
        assert_eq!(apply(Some(&pod), &request), Ok(Done { backend: by, changed: true }));
        let applied = everything(&namespace)?;
        assert_eq!(apply(Some(&pod), &request), Ok(Done { backend: by, changed: false }));
        assert_eq!(everything(&namespace)?, applied);
        let verdict = verify(Some(&pod), &request).expect("verified");
        assert_eq!((verdict.backend, verdict.problems), (by, vec![]));
        assert_eq!(remove(Some(&pod)), Ok(Done { backend: by, changed: true }));
        assert_eq!(everything(&namespace)?, before);
        assert_eq!(remove(Some(&pod)), Ok(Done { backend: None, changed: false }));
    }
    Ok(())
}

#[test]
fn another_backend_takes_over() -> Result<()> {
    let namespace = Namespace::new("pod")?;
    let pod = netns(&namespace);
    for backend in [Choice::Iptables, Choice::Nftables, Choice::Iptables] {
        apply(Some(&pod), &request(backend)).expect("applied");
        let said = everything(&namespace)?;
        let (nft, iptables) = (
            said.iter().any(|line| line.contains("istio-ambient")),
            said.iter().any(|line| line.contains("ISTIO_")),
        );
        assert_eq!((nft, iptables), (backend == Choice::Nftables, backend == Choice::Iptables));
        let kept = apply(Some(&pod), &request(Choice::Auto)).expect("applied");
        assert!(!kept.changed, "what is there is kept");
    }
    Ok(())
}

/// What is printed can be run, also by a kind of iptables that is not the system's own: its rules are found and removed.
#[test]
fn a_plan_can_be_run_by_hand_and_rules_of_the_other_iptables_are_found() -> Result<()> {
    let namespace = Namespace::new("pod")?;
    let before = everything(&namespace)?;
    let plan = std::process::Command::new(env!("CARGO_BIN_EXE_adit-node"))
        .args(["capture", "apply", "--dry-run", "--backend", "iptables"])
        .output();
    let plan = String::from_utf8(plan.expect("the program").stdout).expect("text");
    let scratch = adit_testkit::netns::Scratch::new()?;
    let script = scratch.write("plan.sh", &plan.replace("tables-restore", "tables-legacy-restore"))?;
    namespace.run(&format!("sh -e {}", script.display()))?;
    let pod = netns(&namespace);
    let verdict = verify(Some(&pod), &request(Choice::Auto)).expect("verified");
    assert_eq!((verdict.backend, verdict.problems), (Some(Backend::Iptables), vec![]));
    remove(Some(&pod)).expect("removed");
    assert_eq!(everything(&namespace)?, before);
    Ok(())
}

#[test]
fn fewer_options_leave_fewer_rules() -> Result<()> {
    for backend in BACKENDS {
        let namespace = Namespace::new("pod")?;
        let pod = netns(&namespace);
        let plain = Request { options: Options::default(), backend, ipv4_only: false };
        apply(Some(&pod), &plain).expect("applied");
        let expected = everything(&namespace)?;
        let interfaces = vec!["net1".parse().expect("a name")];
        let more = Options { dns: true, ingress: true, interfaces };
        apply(Some(&pod), &Request { options: more, backend, ipv4_only: false }).expect("applied");
        assert_ne!(everything(&namespace)?, expected);
        apply(Some(&pod), &plain).expect("applied");
        assert_eq!(everything(&namespace)?, expected);
    }
    Ok(())
}

/// Each rule in turn is taken out; it, and nothing else, is missed; applying brings it back.
#[test]
fn every_missing_rule_of_iptables_is_named_and_comes_back() -> Result<()> {
    let namespace = Namespace::new("pod")?;
    let pod = netns(&namespace);
    let request = request(Choice::Iptables);
    apply(Some(&pod), &request).expect("applied");
    let mut seen = 0;
    for tool in ["iptables", "ip6tables"] {
        for (table, chain, count) in [
            ("raw", "ISTIO_PRERT", 1),
            ("raw", "ISTIO_OUTPUT", 1),
            ("mangle", "ISTIO_PRERT", 1),
            ("mangle", "ISTIO_OUTPUT", 1),
            ("nat", "ISTIO_PRERT", 2),
            ("nat", "ISTIO_OUTPUT", 6),
        ] {
            for number in 1..=count {
                namespace.run(&format!("{tool} -w -t {table} -D {chain} {number}"))?;
                let problems = verify(Some(&pod), &request).expect("verified").problems;
                assert!(
                    matches!(problems[..], [Problem::Missing(..)]),
                    "{tool} {table} {chain} {number}: {problems:?}"
                );
                assert!(apply(Some(&pod), &request).expect("applied").changed);
                seen += 1;
            }
            let builtin = if chain == "ISTIO_PRERT" { "PREROUTING" } else { "OUTPUT" };
            namespace.run(&format!("{tool} -w -t {table} -D {builtin} -j {chain}"))?;
            let problems = verify(Some(&pod), &request).expect("verified").problems;
            assert!(matches!(problems[..], [Problem::NotHooked(..)]), "{tool} {table} {chain}: {problems:?}");
            assert!(apply(Some(&pod), &request).expect("applied").changed);
        }
    }
    assert_eq!(seen, 2 * 12);
    assert_eq!(verify(Some(&pod), &request).expect("verified").problems, []);
    Ok(())
}

#[test]
fn every_missing_rule_of_nftables_is_named_and_comes_back() -> Result<()> {
    let namespace = Namespace::new("pod")?;
    let pod = netns(&namespace);
    let request = request(Choice::Nftables);
    apply(Some(&pod), &request).expect("applied");
    for (table, chain, count) in [
        ("raw", "istio-prerouting", 1),
        ("raw", "istio-output", 1),
        ("mangle", "istio-prerouting", 1),
        ("mangle", "istio-output", 1),
        ("nat", "istio-prerouting", 4),
        ("nat", "istio-output", 10),
        ("nat", "output", 1),
    ] {
        for number in 0..count {
            // Handles are others after each time that the table was written.
            let listed = namespace.run(&format!("nft -a list chain inet istio-ambient-{table} {chain}"))?;
            let rules = listed.lines().filter(|line| line.contains("# handle") && !line.contains('{'));
            let handles: Vec<&str> = rules.filter_map(|line| line.rsplit(' ').next()).collect();
            assert_eq!(handles.len(), count, "{listed}");
            namespace.run(&format!(
                "nft delete rule inet istio-ambient-{table} {chain} handle {}",
                handles[number]
            ))?;
            let problems = verify(Some(&pod), &request).expect("verified").problems;
            let named = match problems.as_slice() {
                // A rule without addresses is missed for both families.
                [Problem::Missing(..)] | [Problem::Missing(..), Problem::Missing(..)] => chain != "output",
                [Problem::NotHooked(..), Problem::NotHooked(..)] => chain == "output",
                _ => false,
            };
            assert!(named, "{table} {chain} {number}: {problems:?}");
            assert!(apply(Some(&pod), &request).expect("applied").changed);
        }
    }
    Ok(())
}

#[test]
fn missing_routes_are_named_and_come_back() -> Result<()> {
    for backend in BACKENDS {
        let namespace = Namespace::new("pod")?;
        let pod = netns(&namespace);
        apply(Some(&pod), &request(backend)).expect("applied");
        for (line, named) in [
            ("-4 route flush table 100", "IPv4 routing: missing: route"),
            ("-6 route flush table 100", "IPv6 routing: missing: route"),
            ("-4 rule del pref 32764", "IPv4 routing: missing: rule"),
            ("-6 rule del pref 32764", "IPv6 routing: missing: rule"),
        ] {
            namespace.ip(line)?;
            let verdict = verify(Some(&pod), &request(backend)).expect("verified").to_string();
            assert!(verdict.starts_with(named) && verdict.lines().count() == 1, "{verdict}");
            assert!(apply(Some(&pod), &request(backend)).expect("applied").changed);
        }
    }
    Ok(())
}

#[test]
fn without_ipv6_on_loopback_there_is_no_route_for_it_and_none_is_missed() -> Result<()> {
    for backend in BACKENDS {
        let namespace = Namespace::new("pod")?;
        let pod = netns(&namespace);
        let off = namespace.enter(|| std::fs::write("/proc/sys/net/ipv6/conf/lo/disable_ipv6", "1"))?;
        off.expect("the setting is there");
        apply(Some(&pod), &request(backend)).expect("applied");
        assert_eq!(verify(Some(&pod), &request(backend)).expect("verified").problems, []);
        let rules = namespace.ip("-6 rule")?;
        assert!(!rules.contains("lookup 100"), "{rules}");
        remove(Some(&pod)).expect("removed");
    }
    Ok(())
}
