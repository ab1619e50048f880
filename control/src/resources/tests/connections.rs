//! Routes of connections (waypoint.md §10.10).
use adit_core::l7::Kind;

use super::*;

fn tls(name: &str, hostnames: &str, port: u16) -> String {
    route(
        "TLSRoute",
        name,
        &format!("  hostnames: [{hostnames}]\n  rules: [{{backendRefs: [{{name: echo-v1, port: {port}}}]}}]"),
    )
}

/// The port of the backend that a connection goes to: 0 if it is closed; `None`: there is no route.
fn goes(given: &Given, name: Option<&str>) -> Option<u16> {
    let service = World::new(NS, "waypoint").service(NS, "echo");
    let table = given.compiled.snapshot.frontends.connections(&service, 443, None)?;
    let Some(route) = table.find(name) else { return Some(0) };
    Some(route.backends.draw(&mut Rng::new(1)).map_or(0, |(_, target)| target.port))
}

#[test]
fn server_names_choose_the_route() {
    let manifests = tls("a", "abc.example.com", 80)
        + &tls("b", "'*.example.com'", 8080)
        + &tls("c", "'*.b.example.com', other.org", 443);
    let given = given(&manifests).fine();
    for (name, expected) in [
        (Some("abc.example.com"), 80),
        (Some("x.example.com"), 8080),
        (Some("x.b.example.com"), 443),
        (Some("OTHER.org"), 443),
        (Some("example.com"), 0),
        (None, 0),
    ] {
        assert_eq!(goes(&given, name), Some(expected), "{name:?}");
    }
    let all = super::given(&(tls("a", "a.com", 80) + &tls("b", "'*'", 8080))).fine();
    assert_eq!(
        [goes(&all, Some("a.com")), goes(&all, Some("b.com")), goes(&all, None)],
        [Some(80), Some(8080), Some(8080)]
    );
    assert_eq!(goes(&super::given(""), Some("a.com")), None);
}

#[test]
fn a_tcp_route_shares_connections_out_by_weight() {
    let rules = "  rules: [{name: only, backendRefs: [{name: echo-v1, port: 80, weight: 9}, {name: echo-v2, port: 80}, {kind: None, name: x}]}]";
    let given = given(&route("TCPRoute", "r", rules));
    given.one_problem("InvalidKind");
    let service = World::new(NS, "waypoint").service(NS, "echo");
    let table = given.compiled.snapshot.frontends.connections(&service, 9090, None).unwrap();
    let (found, mut rng, mut counts) = (table.find(None).unwrap(), Rng::new(1), [0, 0]);
    assert_eq!(found.id.kind, Kind::Tcp);
    for _ in 0..11_000 {
        counts[usize::from(found.backends.draw(&mut rng).is_err())] += 1;
    }
    assert!((800..1200).contains(&counts[1]), "{counts:?}");
    assert!(!table.needs_name());
}

#[test]
fn what_makes_no_sense_closes_connections() {
    for (kind, spec, said) in [
        ("TCPRoute", "  rules: []", "missing or empty"),
        ("TCPRoute", "  rules: [{backends: []}]", "no such field is known"),
        (
            "TCPRoute",
            "  hostnames: [a.b]\n  rules: [{backendRefs: [{name: echo-v1, port: 80}]}]",
            "a TCPRoute has none",
        ),
        (
            "TLSRoute",
            "  hostnames: ['a*b']\n  rules: [{backendRefs: [{name: echo-v1, port: 80}]}]",
            "is no host name",
        ),
    ] {
        let given = given(&route(kind, "r", spec));
        given.one_problem(said);
        assert_eq!(goes(&given, Some("a.b")), Some(0), "{spec}");
        assert!(!given.status("r").0);
    }
    let two =
        "  rules: [{backendRefs: [{name: echo-v1, port: 80}]}, {backendRefs: [{name: echo-v2, port: 80}]}]";
    given(&route("TCPRoute", "r", two)).one_problem("the others have no effect");
}
