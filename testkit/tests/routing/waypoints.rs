//! Waypoints of services and of workloads, however they are named, with whole shards on both sides of the hop
//! (datapath §2.6, §2.8, §5.3, §5.10).
use std::net::SocketAddr;

use adit_core::proxy::observed::{Connection, Observed};
use adit_testkit::sim::mesh::{add, config, parse, room};
use adit_testkit::sim::{NodeId, Room, Script, Weather};

fn addr(text: &str) -> SocketAddr {
    text.parse().expect("an address")
}

/// How the waypoint is named, what of its own it says, and what goes through it.
struct Case {
    /// `service` or `workload`: whose waypoint it is.
    of: &'static str,
    /// What the reference says.
    reference: &'static str,
    /// Fields of the waypoint's workload.
    own: &'static str,
    /// The ports of the waypoint's service.
    ports: &'static str,
    /// Where the waypoint's application listens.
    application: &'static str,
}

const CASES: [Case; 7] = [
    Case {
        of: "service",
        reference: "/10.0.0.100",
        own: "",
        ports: "15008: 15008",
        application: "10.0.0.100:80",
    },
    Case {
        of: "service",
        reference: "/10.1.0.100",
        own: "",
        ports: "15008: 15008",
        application: "10.0.0.100:80",
    },
    Case {
        of: "service",
        reference: "ns/waypoint",
        own: "",
        ports: "15008: 15008",
        application: "10.0.0.100:80",
    },
    // By the hostname of a workload, which no service has.
    Case {
        of: "service",
        reference: "ns/waypoint.example",
        own: ", hostname: waypoint.example",
        ports: "15008: 15008",
        application: "10.0.0.100:80",
    },
    Case {
        of: "workload",
        reference: "/10.0.0.100",
        own: "",
        ports: "15008: 15008",
        application: "10.0.0.100:80",
    },
    // An application tunnel without PROXY header, on a port of its own.
    Case {
        of: "service",
        reference: "ns/waypoint",
        own: ", applicationTunnel: {protocol: NONE, port: 15088}",
        ports: "15008: 15008",
        application: "10.0.0.100:15088",
    },
    // And one with it, behind a service that has no ports.
    Case {
        of: "service",
        reference: "ns/waypoint",
        own: ", applicationTunnel: {protocol: PROXY, port: 15088}",
        ports: "",
        application: "127.0.0.1:15088",
    },
];

impl Case {
    /// What the client calls.
    const fn target(&self) -> &'static str {
        if self.of.len() == "service".len() { "10.1.0.1:80" } else { "10.0.0.2:80" }
    }

    fn mesh(&self) -> String {
        let Self { of, reference, own, ports, .. } = self;
        let waypoint = format!(", waypoint: {{destination: {reference}, hboneMtlsPort: 15008}}");
        let by = |kind: &str| if *of == kind { waypoint.as_str() } else { "" };
        format!(
            "
workloads:
- {{uid: c, name: client, namespace: ns, serviceAccount: client, workloadIps: [10.0.0.1], protocol: HBONE, services: {{}}}}
- {{uid: s, name: server, namespace: ns, serviceAccount: server, workloadIps: [10.0.0.2], protocol: HBONE, services: {{ns/web: {{}}}}{}}}
- {{uid: w, name: waypoint, namespace: ns, serviceAccount: waypoint, workloadIps: [10.0.0.100], protocol: HBONE, services: {{ns/waypoint: {{}}}}{own}}}
services:
- {{name: web, namespace: ns, hostname: web, vips: [/10.1.0.1], ports: {{80: 80}}{}}}
- {{name: waypoint, namespace: ns, hostname: waypoint, vips: [/10.1.0.100], ports: {{{ports}}}}}
policies: []
",
            by("workload"),
            by("service")
        )
    }
}

/// The first connection that a node saw.
fn opened(room: &Room, node: NodeId) -> &Connection {
    let opened = room.observed(node).iter().find_map(|observed| match observed {
        Observed::ConnectionOpened(connection) => Some(&**connection),
        _ => None,
    });
    opened.unwrap_or_else(|| panic!("no connection: {:?}", room.observed(node)))
}

#[test]
fn connections_go_to_the_waypoint_and_on_from_there() {
    for (seed, case) in (100..).zip(&CASES) {
        let context = format!("{} by {}{}", case.of, case.reference, case.own);
        let mesh = parse(&case.mesh());
        let mut room = room(seed, Weather::default());
        let [client, waypoint, server] =
            [("client", "10.0.0.1:0"), ("waypoint", "10.0.0.100:0"), ("server", "10.0.0.2:0")]
                .map(|(name, ip)| add(&mut room, config("ns", name, name), &mesh, addr(ip).ip()));
        room.serve(addr(case.application), Script::echo());
        room.serve(addr("10.0.0.2:80"), Script::echo());

        let app = room.connect(client, addr("10.0.0.1:40000"), addr(case.target()), Script::send("through"));
        room.run(100_000);
        let got = room.app(app).got();
        assert!(got.ends_with(b"through"), "{context}: {got:?} {:?}", room.observed(client));
        let (asked, taken) = (opened(&room, client), opened(&room, waypoint));
        assert_eq!(asked.destination.workload.as_deref(), Some("waypoint"), "{context}");
        let service = asked.service.as_ref().map(|service| &*service.hostname);
        assert_eq!(service, (case.of == "service").then_some("web"), "{context}");
        for seen in [asked, taken] {
            let authority = seen.hbone_authority.as_ref().map(ToString::to_string);
            assert_eq!(authority.as_deref(), Some(case.target()), "{context}");
        }
        let identity = taken.source.identity.as_ref().map(ToString::to_string);
        assert_eq!(identity.as_deref(), Some("spiffe://cluster.local/ns/ns/sa/client"), "{context}");
        assert!(room.observed(server).is_empty(), "{context}: nothing goes around the waypoint");

        // What the waypoint sends on is captured in turn, and goes to the workload directly.
        let from = addr("10.0.0.100:41000");
        let app = room.connect(waypoint, from, addr("10.0.0.2:80"), Script::send("onwards"));
        room.run(100_000);
        assert_eq!(room.app(app).got(), b"onwards", "{context}: {:?}", room.observed(waypoint));
        let arrived = opened(&room, server).source.identity.as_ref().map(ToString::to_string);
        assert_eq!(arrived.as_deref(), Some("spiffe://cluster.local/ns/ns/sa/waypoint"), "{context}");
    }
}
