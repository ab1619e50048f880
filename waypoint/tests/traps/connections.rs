//! Connections that are not HTTP.
use std::io::{Read as _, Write as _};
use std::sync::LazyLock;

use adit_waypoint::demo::world::Plan;

use super::rig::servers::server;
use super::rig::{Client, Rig, route, soon};

/// Says its name, then back what it hears.
fn named(last: u8, name: &'static str) -> std::net::SocketAddr {
    server(last, move |mut stream| {
        let mut heard = Vec::new();
        let _ = stream.read_to_end(&mut heard);
        let _ = stream.write_all(&[name.as_bytes(), b":", &heard].concat());
    })
}

static RIG: LazyLock<Rig> = LazyLock::new(|| {
    let greets = server(22, |mut stream| {
        let _ = stream.write_all(b"220 welcome\r\n");
        let mut heard = [0; 5];
        let _ = stream.read_exact(&mut heard);
        let _ = stream.write_all(b"bye");
    });
    let plan = Plan {
        clients: vec!["web"],
        servers: vec![
            ("one", named(20, "one"), vec!["tcp", "one", "tls"]),
            ("two", named(21, "two"), vec!["two"]),
            ("greets", greets, vec!["greets", "shut", "narrow"]),
        ],
        ports: vec![80, 9000],
        ..Plan::default()
    };
    let service = |name: &str, port: &str| {
        format!(
            "---\napiVersion: v1\nkind: Service\nmetadata: {{ name: {name}, namespace: demo }}\nspec: {{ ports: [{{ name: {port}, port: 9000 }}, {{ name: other, port: 80 }}] }}\n"
        )
    };
    let split = "  rules: [{ backendRefs: [{ name: one, port: 9000, weight: 50 }, { name: two, port: 9000, weight: 50 }] }]";
    let sni = |host: &str, to: &str| {
        format!("  hostnames: [{host}]\n  rules: [{{ backendRefs: [{{ name: {to}, port: 9000 }}] }}]")
    };
    let manifests = [
        service("tcp", "tcp"),
        service("one", "tcp"),
        service("two", "tcp"),
        service("tls", "tls"),
        service("greets", "other"),
        service("shut", "tcp"),
        service("narrow", "tcp"),
        policy("nobody", "shut", "DENY", "9000"),
        policy("somebody", "narrow", "ALLOW", "9"),
        route("TCPRoute", "split", "tcp", split),
        route("TLSRoute", "a", "tls", &sni("a.example", "one")),
        route("TLSRoute", "b", "tls", &sni("\"*.b.example\"", "two")),
    ]
    .concat();
    Rig::new(&plan, &manifests)
});

fn policy(name: &str, service: &str, action: &str, port: &str) -> String {
    format!(
        "---\napiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: {{ name: {name}, namespace: demo }}\n\
         spec:\n  targetRefs: [{{ group: \"\", kind: Service, name: {service} }}]\n  action: {action}\n  \
         rules: [{{ to: [{{ operation: {{ ports: [\"{port}\"] }} }}] }}]\n"
    )
}

fn say(service: &str, octets: &[u8]) -> Vec<u8> {
    let mut client = Client::new(RIG.entry(service, 9000));
    client.send(octets);
    client.end();
    client.rest()
}

#[test]
fn each_side_ends_for_itself() {
    // The server answers only when the client has ended its own side.
    assert_eq!(say("one", b"hello"), b"one:hello");
    let large = vec![b'x'; 1 << 20];
    assert_eq!(say("one", &large).len(), large.len() + 4);
}

#[test]
fn connections_are_shared_by_weight() {
    let first = (0..100).filter(|_| say("tcp", b"x") == b"one:x").count();
    // 50 are expected; six times the standard deviation is 30.
    assert!((20..=80).contains(&first), "{first} of 100");
}

#[test]
fn a_server_may_speak_first_where_nobody_has_said_what_is_spoken() {
    let mut client = Client::new(RIG.entry("greets", 9000));
    let mut greeting = [0; 13];
    client.0.read_exact(&mut greeting).unwrap();
    assert_eq!(&greeting, b"220 welcome\r\n");
    client.send("QUIT\n");
    assert_eq!(client.rest(), b"bye");
}

/// A TLS client's greeting for `name` (RFC 8446 §4.1.2), with nothing in it but what it must have.
fn hello(name: &str) -> Vec<u8> {
    let two = |length: usize| u16::try_from(length).unwrap().to_be_bytes();
    let name = [&[0][..], &two(name.len()), name.as_bytes()].concat();
    let list = [&two(name.len())[..], &name].concat();
    let sni = [&[0, 0][..], &two(list.len()), &list].concat();
    let versions = [0, 43, 0, 3, 2, 3, 4];
    let groups = [0, 10, 0, 4, 0, 2, 0, 29];
    let signatures = [0, 13, 0, 4, 0, 2, 4, 3];
    let extensions = [&sni[..], &versions, &groups, &signatures].concat();
    let body =
        [&[3, 3][..], &[7; 32], &[0, 0, 2, 0x13, 1, 1, 0], &two(extensions.len()), &extensions].concat();
    let message = [&[1, 0][..], &two(body.len()), &body].concat();
    [&[22, 3, 1][..], &two(message.len()), &message].concat()
}

#[test]
fn tls_goes_by_the_name_it_asks_for() {
    for (name, server) in [("a.example", "one:"), ("x.b.example", "two:"), ("A.EXAMPLE", "one:")] {
        let hello = hello(name);
        assert_eq!(say("tls", &hello), [server.as_bytes(), &hello].concat(), "{name}");
    }
    // Nobody is for these.
    assert_eq!(say("tls", &hello("c.example")), b"");
    assert_eq!(say("tls", b"no tls at all"), b"");
}

#[test]
fn who_is_denied_hears_nothing_and_the_log_says_which_rule() {
    for (service, by) in [("shut", "ns[demo]-policy[nobody]-rule[0]"), ("narrow", "none")] {
        assert_eq!(Client::new(RIG.entry(service, 9000)).rest(), b"", "{service}");
        let details = format!("rbac_access_denied_matched_policy[{by}]");
        // The only one of its kind: no other test is denied anything.
        soon(|| RIG.records.lines().iter().any(|line| line.split(' ').any(|word| word == details)));
    }
}
