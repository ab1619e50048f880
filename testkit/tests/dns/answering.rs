//! What the mesh answers, over both transports (datapath §7.8).

use std::sync::Arc;
use std::time::Duration;

use adit_core::dns::Transport;
use adit_core::mesh::Mesh;

use super::rig::{Proxy, describe, knows_nothing, mesh, name_server, query, query_with_edns};

const A: u16 = 1;
const NS: u16 = 2;
const AAAA: u16 = 28;

const BOTH: [Transport; 2] = [Transport::Udp, Transport::Tcp];

#[tokio::test]
async fn lookup_cases_over_both_transports() {
    let mesh = mesh(&[
        ("ns1/local.io", &["1.1.1.1"]),
        ("ns1/web.ns1.svc.cluster.local", &["2.2.2.2", "2001:db8::2"]),
        ("ns1/*.wildcard", &["3.3.3.3"]),
        ("ns2/other.ns2.svc.cluster.local", &["4.4.4.4"]),
    ]);
    let proxy = Proxy::start(mesh, vec![name_server(knows_nothing()).await]);
    let nothing = "theirs NXDomain";
    for (name, record_type, expected) in [
        ("local.io", A, "ours NoError local.io. 1.1.1.1"),
        ("LoCaL.iO", A, "ours NoError LoCaL.iO. 1.1.1.1"),
        ("local.io", AAAA, "ours NoError"),
        ("local.io", NS, nothing),
        (
            "local.io.ns1.svc.cluster.local",
            A,
            "ours NoError local.io. 1.1.1.1 local.io.ns1.svc.cluster.local. local.io.",
        ),
        ("web", A, "ours NoError web. 2.2.2.2"),
        ("web.ns1", AAAA, "ours NoError web.ns1. 2001:db8::2"),
        ("web.ns1.svc.cluster.local", A, "ours NoError web.ns1.svc.cluster.local. 2.2.2.2"),
        ("web.ns1.svc.cluster.local", NS, nothing),
        ("other", A, nothing),
        ("other.ns2", A, "ours NoError other.ns2. 4.4.4.4"),
        ("a.b.wildcard", A, "ours NoError a.b.wildcard. 3.3.3.3"),
        ("a.wildcard.ns1.svc.cluster.local", A, "ours NoError a.wildcard.ns1.svc.cluster.local. 3.3.3.3"),
        ("example.com", A, nothing),
    ] {
        for transport in BOTH {
            let answer = proxy.ask(transport, &query(name, record_type)).await;
            assert_eq!(describe(&answer), expected, "{name} over {}", transport.label());
            assert_eq!(answer[..2], [0x12, 0x34]);
        }
    }
}

#[tokio::test]
async fn of_256_records_tcp_carries_all_and_a_datagram_74() {
    let addresses: Vec<String> = (0..=255).map(|n| format!("10.0.0.{n}")).collect();
    let addresses: Vec<&str> = addresses.iter().map(String::as_str).collect();
    let proxy = Proxy::start(mesh(&[("ns1/large.com", &addresses)]), vec![]);
    let asked = query_with_edns("large.com", A, 1232);
    for (transport, count, flags) in [(Transport::Tcp, 256, 0x8580), (Transport::Udp, 74, 0x8780)] {
        let answer = proxy.ask(transport, &asked).await;
        assert_eq!(u16::from_be_bytes([answer[6], answer[7]]), count);
        assert_eq!(u16::from_be_bytes([answer[2], answer[3]]), flags);
        assert!(transport == Transport::Tcp || answer.len() <= 1232);
    }
}

#[tokio::test]
async fn a_client_in_ipv4_notation_of_ipv6_is_answered() {
    let mesh = mesh(&[("ns1/local.io", &["1.1.1.1"])]);
    let servers = vec![name_server(knows_nothing()).await];
    let proxy = Proxy::start_with(mesh, servers, "[::]:0", |_| ());
    for transport in BOTH {
        let answer = proxy.ask(transport, &query("local.io", A)).await;
        assert_eq!(describe(&answer), "ours NoError local.io. 1.1.1.1");
        assert_eq!(describe(&proxy.ask(transport, &query("x.io", A)).await), "theirs NXDomain");
    }
}

#[tokio::test]
async fn the_next_question_sees_a_push() {
    let proxy = Proxy::start(mesh(&[("ns1/local.io", &["1.1.1.1"])]), vec![]);
    let asked = query("local.io", A);
    assert_eq!(describe(&proxy.ask_udp(&asked).await), "ours NoError local.io. 1.1.1.1");
    proxy.mesh.send_replace(Arc::new(mesh(&[("ns1/local.io", &["2.2.2.2"])])));
    assert_eq!(describe(&proxy.ask_udp(&asked).await), "ours NoError local.io. 2.2.2.2");
}

#[tokio::test]
async fn a_question_waits_for_its_workload_and_others_do_not() {
    let proxy = Proxy::start(Mesh::default(), vec![name_server(knows_nothing()).await]);
    let asked = query("local.io", A);
    let later = async {
        // Not for the mesh to answer: relayed at once, whoever asks.
        assert_eq!(describe(&proxy.ask_udp(&query("local.io", NS)).await), "theirs NXDomain");
        proxy.mesh.send_replace(Arc::new(mesh(&[("ns1/local.io", &["1.1.1.1"])])));
    };
    let (answer, ()) = tokio::join!(proxy.ask_udp(&asked), later);
    assert_eq!(describe(&answer), "ours NoError local.io. 1.1.1.1");
}

#[tokio::test]
async fn a_question_whose_workload_stays_unknown_fails() {
    let proxy = Proxy::start_with(Mesh::default(), vec![], "127.0.0.1:0", |setup| {
        setup.patience = Duration::from_millis(10);
    });
    for transport in BOTH {
        assert_eq!(describe(&proxy.ask(transport, &query("local.io", A)).await), "theirs ServFail");
    }
}
