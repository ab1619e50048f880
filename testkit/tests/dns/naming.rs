//! Names that the data plane looks up itself: in the mesh where that is meant, else at name servers.

use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use adit_control::dns::{Names, NamesConfig};
use adit_control::grpc::{Auth, Connector, Roots};
use adit_core::dns::{NameError, NameScope, Query, Transport};
use adit_core::mesh::Mesh;
use adit_testkit::istiod::Istiod;

use super::rig::{Call, Script, knows_nothing, mesh, name_server, response, script, setup, silent};

const A: u16 = 1;
const AAAA: u16 = 28;

/// Names on their way, and what name servers were asked.
type Seen = Arc<Mutex<Vec<String>>>;

/// A server that notes what it is asked, and answers as `says` for a name and a type.
fn knows(says: impl Fn(&str, u16) -> Option<(u32, Vec<IpAddr>)> + Send + Sync + 'static) -> (Script, Seen) {
    let seen = Seen::default();
    let note = Arc::clone(&seen);
    let server = script(move |call: &Call<'_>| {
        let query = Query::parse(call.octets).expect("a query");
        let question = query.question().expect("a question");
        let (name, kind) = (question.hostname().expect("a name"), question.record_type.0);
        note.lock().unwrap().push(format!("{name} {kind} {}", call.transport.label()));
        let Some((ttl, addresses)) = says(&name, kind) else {
            return vec![response(call.octets, 0x8183, &[])];
        };
        // Records go before the OPT record of the question.
        let (head, opt) = call.octets.split_at(call.octets.len() - 11);
        let mut message = head.to_vec();
        message[2..4].copy_from_slice(&[0x81, 0x80]);
        message[7] = u8::try_from(addresses.len()).unwrap();
        for address in addresses {
            message.extend([0xc0, 12, 0, if address.is_ipv4() { 1 } else { 28 }, 0, 1]);
            message.extend(ttl.to_be_bytes());
            match address {
                IpAddr::V4(address) => message.extend([&[0, 4][..], &address.octets()].concat()),
                IpAddr::V6(address) => message.extend([&[0, 16][..], &address.octets()].concat()),
            }
        }
        message.extend(opt);
        vec![message]
    });
    (server, seen)
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn start(mesh: Mesh, servers: Vec<SocketAddr>, change: impl FnOnce(&mut NamesConfig)) -> Names {
    let (sender, setup, _) = setup(mesh, servers);
    let mut config = NamesConfig::default();
    change(&mut config);
    let (names, server) = Names::new(setup, config);
    tokio::spawn(async move {
        // The mesh stays as it is.
        let _sender = sender;
        server.run().await
    });
    names
}

#[tokio::test]
async fn the_mesh_comes_first_where_that_is_meant() {
    let (server, seen) =
        knows(|name, kind| (name == "web.io" && kind == A).then(|| (60, vec![ip("9.9.9.9")])));
    let services: &[(&str, &[&str])] =
        &[("ns1/web.io", &["240.0.0.1", "2001:db8::1"]), ("ns1/db.ns1.svc.cluster.local", &["10.1.0.1"])];
    let names = start(mesh(services), vec![name_server(server).await], |_| ());
    let mut both = names.resolve("Web.IO", NameScope::Workload).await.unwrap();
    both.sort();
    assert_eq!(both, [ip("240.0.0.1"), ip("2001:db8::1")]);
    assert_eq!(names.resolve("db", NameScope::Workload).await, Ok(vec![ip("10.1.0.1")]), "a short name");
    assert!(seen.lock().unwrap().is_empty(), "name servers need not know");
    // The workload behind that service bears its name, and is elsewhere.
    assert_eq!(names.resolve("web.io", NameScope::Outside).await, Ok(vec![ip("9.9.9.9")]));
    let mut asked = seen.lock().unwrap().clone();
    asked.sort();
    assert_eq!(asked, ["web.io 1 udp", "web.io 28 udp"]);
}

#[tokio::test]
async fn both_families_are_asked_for_and_answers_are_kept_for_their_time() {
    let (server, seen) = knows(|name, kind| match (name, kind) {
        ("kept.io", A) => Some((300, vec![ip("1.1.1.1"), ip("1.1.1.2")])),
        ("kept.io", AAAA) => Some((300, vec![ip("2001:db8::1")])),
        ("short.io", A) => Some((0, vec![ip("1.1.1.3")])),
        ("none.io" | "short.io", _) => Some((300, vec![])),
        _ => None,
    });
    let names = start(mesh(&[]), vec![name_server(server).await], |_| ());
    let all = [ip("1.1.1.1"), ip("1.1.1.2"), ip("2001:db8::1")];
    for _ in 0..3 {
        assert_eq!(names.resolve("kept.io", NameScope::Outside).await, Ok(all.to_vec()));
    }
    assert_eq!(std::mem::take(&mut *seen.lock().unwrap()).len(), 2);
    for _ in 0..2 {
        assert_eq!(names.resolve("short.io", NameScope::Outside).await, Ok(vec![ip("1.1.1.3")]));
    }
    assert_eq!(std::mem::take(&mut *seen.lock().unwrap()).len(), 4, "a time of 0 is not kept");
    assert_eq!(names.resolve("none.io", NameScope::Outside).await, Err(NameError::NoAddress));
    assert_eq!(names.resolve("other.io", NameScope::Outside).await, Err(NameError::NotFound));
    assert_eq!(names.resolve("a b", NameScope::Outside).await, Err(NameError::Invalid));
}

#[tokio::test]
async fn without_ipv6_only_a_is_asked_for() {
    let (server, seen) = knows(|_, _| Some((60, vec![ip("1.1.1.1")])));
    let (_sender, mut setup, _) = setup(mesh(&[]), vec![name_server(server).await]);
    setup.resolver.ipv6 = false;
    let (names, server) = Names::new(setup, NamesConfig::default());
    tokio::spawn(server.run());
    assert_eq!(names.resolve("a.io", NameScope::Outside).await, Ok(vec![ip("1.1.1.1")]));
    assert_eq!(*seen.lock().unwrap(), ["a.io 1 udp"]);
}

#[tokio::test]
async fn search_domains_are_for_relative_names_of_clients() {
    let (server, seen) =
        knows(|name, kind| (name == "host.corp.example" && kind == A).then(|| (60, vec![ip("1.1.1.1")])));
    let names = start(mesh(&[]), vec![name_server(server).await], |config| {
        config.search = vec!["lab.example".into(), "corp.example".into()];
    });
    assert_eq!(names.resolve("host", NameScope::Workload).await, Ok(vec![ip("1.1.1.1")]));
    let asked: Vec<_> = seen.lock().unwrap().drain(..).filter(|asked| asked.ends_with("1 udp")).collect();
    assert_eq!(asked, ["host 1 udp", "host.lab.example 1 udp", "host.corp.example 1 udp"]);
    for (name, scope) in [("host.", NameScope::Workload), ("host", NameScope::Outside)] {
        assert_eq!(names.resolve(name, scope).await, Err(NameError::NotFound));
        assert_eq!(seen.lock().unwrap().drain(..).len(), 2, "{name}");
    }
}

#[tokio::test]
async fn a_truncated_answer_is_asked_for_over_tcp() {
    let (whole, seen) = knows(|_, kind| Some((60, if kind == A { vec![ip("1.1.1.1"); 50] } else { vec![] })));
    let server = script(move |call| match call.transport {
        Transport::Udp => vec![response(call.octets, 0x8380, &[])],
        Transport::Tcp => whole(call),
    });
    let names = start(mesh(&[]), vec![name_server(server).await], |_| ());
    assert_eq!(names.resolve("many.io", NameScope::Outside).await.unwrap().len(), 50);
    assert!(seen.lock().unwrap().contains(&"many.io 1 tcp".to_owned()));
}

#[tokio::test]
async fn silence_ends_in_time_and_the_next_server_is_asked() {
    let (server, _) = knows(|_, _| Some((60, vec![ip("1.1.1.1")])));
    let servers = vec![name_server(silent()).await, name_server(server).await];
    let names = start(mesh(&[]), servers, |_| ());
    assert_eq!(names.resolve("a.io", NameScope::Outside).await.unwrap()[0], ip("1.1.1.1"));
    // Two rounds of 100 ms are more than there is time for.
    let names = start(mesh(&[]), vec![name_server(silent()).await], |config| {
        config.limit = Duration::from_millis(50);
    });
    assert_eq!(names.resolve("a.io", NameScope::Outside).await, Err(NameError::TimedOut));
    let names = start(mesh(&[]), vec![name_server(silent()).await], |_| ());
    assert_eq!(names.resolve("a.io", NameScope::Outside).await, Err(NameError::ServerFailure));
    assert_eq!(
        start(mesh(&[]), vec![], |_| ()).resolve("a.io", NameScope::Outside).await,
        Err(NameError::ServerFailure)
    );
}

#[tokio::test]
async fn every_request_is_answered_when_the_server_ends() {
    let (_sender, setup, _) = setup(mesh(&[]), vec![name_server(knows_nothing()).await]);
    let (names, server) = Names::new(setup, NamesConfig::default());
    drop(server);
    assert_eq!(names.resolve("a.io", NameScope::Workload).await, Err(NameError::GivenUp));
}

#[tokio::test]
async fn a_control_plane_is_found_without_the_machines_resolver() {
    let istiod = Istiod::start("istiod.example").await;
    let (server, seen) =
        knows(|name, kind| (name == "istiod.example" && kind == A).then(|| (60, vec![ip("127.0.0.1")])));
    let names = start(Mesh::default(), vec![name_server(server).await], |_| ());
    let connector = Connector {
        server: format!("https://istiod.example:{}", istiod.address().port()).parse().unwrap(),
        roots: Roots::Pem(istiod.root().to_owned()),
        alternative_name: None,
        auth: Arc::new(Auth::default()),
        post_quantum_only: false,
        mark: None,
        names: Some(names),
    };
    connector.connect().await.expect("a connection");
    assert!(seen.lock().unwrap().iter().any(|asked| asked.starts_with("istiod.example 1 ")));
}
