//! What a CONNECT and its answer say, as whole shards write and read them (datapath §3.1–3.3, §5.3, §5.5).
use std::net::SocketAddr;
use std::sync::Arc;

use adit_core::http2::hpack::{Decoder, Limits};
use adit_core::mesh::Mesh;
use adit_core::proxy::observed::{Connection, Observed};
use adit_core::proxy::{Listener, ProxyId};
use adit_testkit::sim::mesh::parse;
use adit_testkit::wire::Intruder;
use adit_testkit::wire::frames::{END_STREAM, headers};

/// `client` and `server`, and a service in front of the latter; `network` is that of both.
fn mesh(network: &str) -> Arc<Mesh> {
    parse(&format!(
        "
workloads:
- {{uid: c, name: client, namespace: ns, serviceAccount: client, network: '{network}', workloadIps: [10.0.0.1], protocol: HBONE, services: {{}},
   workloadName: shop, workloadType: deployment, canonicalName: shop, canonicalRevision: v2}}
- {{uid: s, name: server, namespace: ns, serviceAccount: server, network: '{network}', workloadIps: [10.0.0.2], protocol: HBONE,
   workloadName: web, workloadType: deployment, canonicalName: web, canonicalRevision: v1,
   services: {{ns/web.ns.svc: {{80: 80, 81: 80}}}}}}
services:
- {{name: web, namespace: ns, hostname: web.ns.svc, vips: ['{network}/10.1.0.1'], ports: {{80: 80, 81: 0}}}}
policies: []
"
    ))
}

fn addr(text: &str) -> SocketAddr {
    text.parse().expect("an address")
}

/// The fields that the shard sent on `stream`, and whether the stream ended there.
fn fields(it: &Intruder, stream: u32) -> (Vec<(String, String)>, bool) {
    let frames = it.frames();
    let frame = frames.iter().find(|frame| frame.kind == 1 && frame.stream == stream).expect("HEADERS");
    let limits = Limits { list_size: 1 << 16, fields: 100 };
    let fields = Decoder::new(4096).decode(&frame.payload, limits).expect("a block").expect("a short one");
    let text = |octets: &[u8]| String::from_utf8(octets.to_vec()).expect("text");
    let fields = fields.iter().map(|field| (text(&field.name), text(&field.value))).collect();
    (fields, frame.flags & END_STREAM != 0)
}

fn pairs(fields: &[(String, String)]) -> Vec<(&str, &str)> {
    fields.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect()
}

/// What is seen of an inbound connection whose CONNECT has these fields beside the method.
fn seen(it: &mut Intruder, stream: u32, more: &[(&str, &str)]) -> Arc<Connection> {
    let fields = [&[(":method", "CONNECT"), (":authority", "10.0.0.2:80")], more].concat();
    it.send(&headers(stream, 0, &fields));
    let opened = it.observed().iter().rev().find_map(|observed| match observed {
        Observed::ConnectionOpened(connection) => Some(Arc::clone(connection)),
        _ => None,
    });
    opened.expect("a connection")
}

fn refusals(it: &Intruder) -> Vec<&str> {
    it.observed()
        .iter()
        .filter_map(|observed| match observed {
            Observed::EarlyDenied { error, .. } => Some(error.as_str()),
            _ => None,
        })
        .collect()
}

#[test]
fn a_connect_says_whom_it_is_from_and_for() {
    let mut it = Intruder::server(|_| {});
    it.hello(&[(3, 100)]);
    let now = it.now();
    it.shard.handle_mesh(now, mesh(""));
    for (port, target) in [(40_001, "10.1.0.1:80"), (40_002, "10.0.0.2:8080")] {
        let peer = SocketAddr::new(addr("10.0.0.1:0").ip(), port);
        let socket =
            it.shard.handle_accepted(now, ProxyId::OWN, Listener::Outbound, peer, addr(target), addr(target));
        assert!(socket.is_some());
        it.pump();
    }
    let baggage = "k8s.cluster.name=Kubernetes,k8s.namespace.name=ns,k8s.deployment.name=shop,service.name=shop,service.version=v2";
    let mut traces = vec![];
    for (stream, authority, forwarded) in [
        (3, "10.0.0.2:80", r#"for="10.0.0.1:40001";host=web.ns.svc"#),
        (5, "10.0.0.2:8080", r#"for="10.0.0.1:40002""#),
    ] {
        let (asked, ended) = fields(&it, stream);
        let trace = asked.iter().find(|(name, _)| name == "traceparent").expect("a trace").1.clone();
        let expected = [
            (":method", "CONNECT"),
            (":authority", authority),
            ("baggage", baggage),
            ("forwarded", forwarded),
            ("traceparent", &trace),
        ];
        // Nothing else: above all no `x-forwarded-network`, which is for tunnels inside tunnels.
        assert_eq!((pairs(&asked), ended), (expected.to_vec(), false));
        traces.push(trace);
    }
    assert!(traces[0].len() == 55 && traces[0] != traces[1], "{traces:?}");
}

#[test]
fn the_answer_describes_the_workload_unless_that_is_off() {
    let baggage = "k8s.cluster.name=Kubernetes,k8s.namespace.name=ns,k8s.deployment.name=web,service.name=web,service.version=v1";
    for on in [true, false] {
        let mut it = Intruder::client(|config| config.baggage = on);
        it.hello(&[]);
        let now = it.now();
        it.shard.handle_mesh(now, mesh(""));
        seen(&mut it, 1, &[]);
        let (answer, ended) = fields(&it, 1);
        let expected =
            if on { vec![(":status", "200"), ("baggage", baggage)] } else { vec![(":status", "200")] };
        assert_eq!((pairs(&answer), ended), (expected, false));
    }
}

#[test]
fn baggage_names_a_source_that_no_address_does_unless_that_is_off() {
    let far = ("baggage", "k8s.namespace.name=far,k8s.job.name=crawl,service.name=crawler");
    for on in [true, false] {
        let mut it = Intruder::client(|config| config.baggage = on);
        it.hello(&[]);
        // The address is known: what the peer says of itself does not count.
        let known = seen(&mut it, 1, &[far]);
        assert_eq!(known.source.workload.as_deref(), Some("client"));
        assert_eq!(known.source.namespace.as_deref(), Some("ns"));
        // A network in which nobody is known.
        let now = it.now();
        it.shard.handle_mesh(now, mesh("n2"));
        let unknown = seen(&mut it, 3, &[far]);
        assert_eq!(unknown.source.namespace.as_deref(), on.then_some("far"));
        assert_eq!(unknown.source.labels.workload.as_deref(), on.then_some("crawl"));
        assert_eq!(unknown.source.labels.canonical_service.as_deref(), on.then_some("crawler"));
        // Who it is, the certificate says, in either case.
        let identity = unknown.source.identity.as_ref().map(ToString::to_string);
        assert_eq!(identity.as_deref(), Some("spiffe://cluster.local/ns/ns/sa/client"));
        // Without any baggage nobody is named.
        assert_eq!(seen(&mut it, 5, &[]).source.namespace, None);
    }
}

// datapath §5.5: the address is that of a gateway.
#[test]
fn who_comes_from_another_network_is_not_looked_up_by_address() {
    let mut it = Intruder::client(|config| config.network = "Here".into());
    let now = it.now();
    it.shard.handle_mesh(now, mesh("Here"));
    it.hello(&[]);
    let far = ("baggage", "k8s.namespace.name=far,k8s.job.name=crawl,service.name=crawler");
    for (stream, network, expected) in [
        (1, Some("there"), Some("far")),
        (3, Some(""), Some("far")),
        (5, Some("hERE"), Some("ns")),
        (7, None, Some("ns")),
    ] {
        let mut more = vec![far];
        more.extend(network.map(|network| ("x-forwarded-network", network)));
        let seen = seen(&mut it, stream, &more);
        assert_eq!(seen.source.namespace.as_deref(), expected, "{network:?}");
        assert_eq!(seen.source.identity.as_ref().map(|it| it.service_account()), Some("client"));
    }
}

// datapath §5.10: over the wire.
#[test]
fn an_address_that_is_not_ours_is_answered_400_and_told() {
    let mut it = Intruder::client(|_| {});
    it.hello(&[]);
    it.send(&headers(1, 0, &[(":method", "CONNECT"), (":authority", "10.0.0.9:80")]));
    let (answer, ended) = fields(&it, 1);
    assert_eq!((pairs(&answer), ended), (vec![(":status", "400")], true));
    assert_eq!(refusals(&it), ["ip mismatch: 10.0.0.2 != 10.0.0.9"]);
    assert_eq!((it.apps().count(), it.is_alive()), (0, true));
}

#[test]
fn hostnames_with_a_number_and_with_a_name_for_their_port_are_answered_200() {
    let mut it = Intruder::client(|_| {});
    it.hello(&[]);
    let now = it.now();
    it.shard.handle_mesh(now, mesh(""));
    for (stream, authority, status) in [
        (1, "web.ns.svc:80", "200"),
        (3, "web.ns.svc:81", "200"),
        (5, "web.ns.svc:82", "503"),
        (7, "other.ns.svc:80", "503"),
    ] {
        it.send(&headers(stream, 0, &[(":method", "CONNECT"), (":authority", authority)]));
        assert_eq!(fields(&it, stream).0[0], (":status".to_owned(), status.to_owned()), "{authority}");
    }
    assert_eq!(
        refusals(&it),
        [
            "requested service web.ns.svc:82 found, but cannot resolve port",
            "no service or workload for hostname: other.ns.svc"
        ]
    );
}
