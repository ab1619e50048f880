//! The access log's lines, whole, against the documented order (interfaces §6.2, §6.3).
use std::sync::Arc;

use adit_core::hbone::Authority;
use adit_core::mesh::PolicyName;
use adit_core::policy::{DenyReason, DryRun, RuleName, Verdict};
use adit_core::proxy::observed::{Carrier, Flag, Labels, Names, Party, ServiceLabels, Traffic};

use super::*;
use crate::logging::Format;
use crate::logging::line_tests::capture;

fn connection() -> Arc<Connection> {
    Arc::new(Connection {
        id: 7,
        direction: Direction::Outbound,
        source: Party::new(
            Some("10.0.0.1:4242".parse().unwrap()),
            Names {
                workload: Some("curl-1".into()),
                namespace: Some("default".into()),
                identity: None,
                cluster: Some("Kubernetes".into()),
                labels: Labels::default(),
            },
        ),
        destination: Party::new(
            Some("10.0.0.2:15008".parse().unwrap()),
            Names {
                workload: Some("echo-1".into()),
                namespace: Some("shop".into()),
                identity: None,
                cluster: None,
                labels: Labels::default(),
            },
        ),
        hbone_authority: None,
        service: Some(ServiceLabels {
            hostname: "echo.shop.svc.cluster.local".into(),
            name: "echo".into(),
            namespace: "shop".into(),
        }),
        carrier: Carrier::Tcp,
        target: None,
        forwarded_host: None,
        trace: None,
        traffic: Traffic::default(),
    })
}

fn tail(line: &str) -> &str {
    line.split_once('\t').unwrap().1
}

fn close(error: Option<&str>) -> Observed {
    Observed::ConnectionClosed {
        connection: connection(),
        bytes_sent: 84,
        bytes_received: 390,
        duration: Duration::from_micros(12_900),
        error: error.map(str::to_owned),
        flag: Flag::None,
    }
}

const START: &str = "src.addr=10.0.0.1:4242 src.workload=\"curl-1\" src.namespace=\"default\" \
                     src.cluster=\"Kubernetes\" dst.addr=10.0.0.2:15008 \
                     dst.service=\"echo.shop.svc.cluster.local\" dst.workload=\"echo-1\" dst.namespace=\"shop\" \
                     direction=\"outbound\"";

#[test]
fn a_connection_that_ended_well_is_one_info_line() {
    let lines = capture("info", Format::Plain, || log(&close(None)));
    let expected = format!(
        "info\taccess\tconnection complete\t{START} bytes_sent=84 bytes_recv=390 duration=\"12ms\"\n"
    );
    assert_eq!(tail(&lines[0].1), expected);
    assert_eq!(lines.len(), 1);
}

#[test]
fn a_connection_that_failed_is_an_error_line_with_the_error_last() {
    let lines = capture("info", Format::Plain, || log(&close(Some("http status: 401 Unauthorized"))));
    let expected = format!(
        "error\taccess\tconnection complete\t{START} bytes_sent=84 bytes_recv=390 duration=\"12ms\" \
         error=\"http status: 401 Unauthorized\"\n"
    );
    assert_eq!(tail(&lines[0].1), expected);
}

#[test]
fn opening_is_debug_and_has_no_totals() {
    let opened = Observed::ConnectionOpened(connection());
    assert!(capture("info", Format::Plain, || log(&opened)).is_empty());
    let lines = capture("debug", Format::Plain, || log(&opened));
    assert_eq!(tail(&lines[0].1), format!("debug\taccess\tconnection opened\t{START}\n"));
}

#[test]
fn an_early_denial_is_a_warning_with_four_fields() {
    let denied = Observed::EarlyDenied {
        source: Some("10.0.0.1:4242".parse().unwrap()),
        destination: None,
        direction: Direction::Inbound,
        error: "tls handshake error: \"who?\"".to_owned(),
        flag: Flag::TlsFailure,
    };
    let lines = capture("info", Format::Plain, || log(&denied));
    assert_eq!(
        tail(&lines[0].1),
        "warn\taccess\tconnection failed\tsrc.addr=10.0.0.1:4242 direction=\"inbound\" \
         error=\"tls handshake error: \\\"who?\\\"\"\n"
    );
}

#[test]
fn json_keeps_dots_numbers_and_order() {
    let mut connection = Arc::unwrap_or_clone(connection());
    connection.hbone_authority = Some(Authority::Host { host: "echo.shop".into(), port: 80 });
    let observed = Observed::ConnectionClosed {
        connection: Arc::new(connection),
        bytes_sent: 1,
        bytes_received: 2,
        duration: Duration::from_secs(3),
        error: None,
        flag: Flag::None,
    };
    let lines = capture("info", Format::Json, || log(&observed));
    let line = &lines[0].1;
    let value: serde_json::Value = serde_json::from_str(line).unwrap();
    assert_eq!(value["src.addr"], "10.0.0.1:4242");
    assert_eq!(value["dst.hbone_addr"], "echo.shop:80");
    assert_eq!(value["bytes_recv"], 2);
    assert_eq!(value["duration"], "3000ms");
    assert_eq!(value["scope"], "access");
    let at =
        |key: &str| line.find(&format!("\"{key}\":")).unwrap_or_else(|| panic!("{key} missing in {line}"));
    let order = [
        "level",
        "time",
        "scope",
        "message",
        "src.addr",
        "src.workload",
        "src.namespace",
        "src.cluster",
        "dst.addr",
        "dst.hbone_addr",
        "dst.service",
        "dst.workload",
        "dst.namespace",
        "direction",
        "bytes_sent",
        "bytes_recv",
        "duration",
    ];
    assert!(order.windows(2).all(|pair| at(pair[0]) < at(pair[1])), "{line}");
}

#[test]
fn only_a_tunnel_that_broke_a_budget_is_worth_a_warning() {
    let closed = |attack| Observed::TunnelClosed {
        id: 1,
        direction: Direction::Inbound,
        reason: "pings",
        attack,
        streams_served: 4,
    };
    assert!(capture("info", Format::Plain, || log(&closed(false))).is_empty());
    let lines = capture("info", Format::Plain, || log(&closed(true)));
    assert!(lines[0].1.contains("\twarn\ttunnel\t") && lines[0].1.contains("reason=\"pings\""), "{lines:?}");
}

#[test]
fn a_policy_update_says_whom_it_closes() {
    let closed = || {
        let reason = DenyReason::NoneAllowed;
        log(&Observed::NoLongerAllowed { connection: connection(), reason });
    };
    let lines = capture("info", Format::Plain, closed);
    let expected = "info\trbac\tconnection closed because it's no longer allowed after a policy update\t\
                    src.addr=10.0.0.1:4242 dst.addr=10.0.0.2:15008 \
                    reason=\"allow policies exist, but none allowed\"\n";
    assert_eq!(tail(&lines[0].1), expected);
}

// Envoy's CVE-2026-47220, and log injection: names come from peers' baggage, errors quote what peers said.
#[test]
fn whatever_a_peer_says_stays_in_its_field_and_on_one_line() {
    let long = "x".repeat(10_000);
    let texts = [
        "\n",
        "a\r\nb",
        "\u{1b}[2J",
        "\"",
        "\\",
        "a\tb",
        "\" direction=\"inbound",
        "\",\"direction\":\"inbound",
        "\0\u{7f}\u{85}",
        "\u{2028}\u{feff}\u{202e}é",
        "{} %s {0:?}",
        "",
        &long,
    ];
    for text in texts {
        let mut hostile = Connection::clone(&connection());
        Arc::make_mut(&mut hostile.source.names).workload = Some(text.into());
        Arc::make_mut(&mut hostile.destination.names).namespace = Some(text.into());
        hostile.hbone_authority = Some(Authority::Host { host: text.into(), port: 80 });
        let observed = Observed::ConnectionClosed {
            connection: Arc::new(hostile),
            bytes_sent: 1,
            bytes_received: 2,
            duration: Duration::ZERO,
            error: Some(text.to_owned()),
            flag: Flag::Connect,
        };
        let lines = capture("trace", Format::Json, || log(&observed));
        let [(_, line)] = lines.as_slice() else { panic!("{lines:?}") };
        let value: serde_json::Value = serde_json::from_str(line).unwrap();
        for (field, expected) in [
            ("src.workload", text.to_owned()),
            ("dst.namespace", text.to_owned()),
            ("dst.hbone_addr", format!("{text}:80")),
            ("error", text.to_owned()),
            ("direction", "outbound".to_owned()),
        ] {
            assert_eq!(value[field].as_str(), Some(&*expected), "{field} of {line}");
        }
        let lines = capture("trace", Format::Plain, || log(&observed));
        let [(_, line)] = lines.as_slice() else { panic!("{lines:?}") };
        let controls: String = line.chars().filter(|c| c.is_control()).collect();
        assert_eq!(controls, "\t\t\t\t\n", "{line:?}");
        assert!(line.contains(&format!("src.workload={text:?} ")), "{line}");
    }
}

#[test]
fn decisions_of_policies_are_debug_unless_they_are_to_be_loud() {
    let rule =
        |name: &str| RuleName { policy: PolicyName { namespace: "ns".into(), name: name.into() }, rule: 1 };
    let unknown = DenyReason::UnknownPolicy("ns/gone".into());
    let judged = |verdict| Observed::Judged { connection: connection(), verdict };
    let said = [
        (judged(Verdict::Allow { by: None }), "no allow policies, allow"),
        (judged(Verdict::Allow { by: Some(rule("p")) }), "allow policy match: ns/p (rule 1)"),
        (judged(Verdict::Deny(DenyReason::Explicit(rule("q")))), "deny policy match: ns/q (rule 1)"),
        (judged(Verdict::Deny(DenyReason::NoneAllowed)), "no allow policies match, deny"),
        (judged(Verdict::Deny(unknown)), "workload lists unknown policy ns/gone, deny"),
        (
            Observed::DryRun { connection: connection(), said: DryRun::Deny(rule("t")) },
            "dry-run: deny policy match: ns/t (rule 1)",
        ),
    ];
    for (observed, text) in &said {
        assert!(capture("info", Format::Plain, || log(observed)).is_empty(), "{text}");
        for (level, decisions) in [("debug", Decisions::Quiet), ("info", Decisions::Loud)] {
            let lines = capture(level, Format::Plain, || log_with(observed, decisions));
            let expected = format!("{level}\trbac\t{text}\tsrc.addr=10.0.0.1:4242 dst.addr=10.0.0.2:15008\n");
            assert_eq!(tail(&lines[0].1), expected);
        }
    }
}
