//! Host names: of workloads without an address, and of SOCKS5 clients.
use super::*;

#[test]
fn a_named_workload_is_dialled_at_an_address_of_the_clients_family() {
    let mut shard = shard(NAMED, |_| {});
    capture(&mut shard, 1, "10.1.0.1:80").expect("accepted");
    let asked = actions(&mut shard);
    let [Action::Resolve { ticket, name, scope: NameScope::Outside, .. }] = &asked[..] else {
        panic!("{asked:?}")
    };
    assert_eq!(&**name, "out.example");
    assert!(observed(&mut shard).is_empty(), "where it goes is not known yet");
    shard.handle_resolved(START, *ticket, Ok(vec![ip("fd00::7"), ip("10.7.7.7")]));
    assert_eq!(dials(&actions(&mut shard)), ["10.7.7.7:8080"]);
    let told = observed(&mut shard);
    let [Observed::ConnectionOpened(opened), Observed::Resolved { connection, hostname }] = &told[..] else {
        panic!("{told:?}")
    };
    assert_eq!((opened.destination.address, &**hostname), (Some(addr("10.7.7.7:8080")), "out.example"));
    assert!(Arc::ptr_eq(opened, connection));
    // Another family where there is no other.
    capture(&mut shard, 2, "10.1.0.1:80").expect("accepted");
    let [(ticket, _)] = questions(&mut shard)[..] else { panic!("asked anew: a shard remembers no answer") };
    shard.handle_resolved(START, ticket, Ok(vec![ip("fd00::7")]));
    assert_eq!(dials(&actions(&mut shard)), ["[fd00::7]:8080"]);
}

#[test]
fn those_who_need_the_same_name_share_a_question_and_its_failure() {
    let mut shard = shard(NAMED, |_| {});
    for port in 1..=3 {
        capture(&mut shard, port, "10.1.0.1:80").expect("accepted");
    }
    let asked = questions(&mut shard);
    assert_eq!(asked.len(), 1);
    shard.handle_resolved(START, asked[0].0, Err(NameError::NotFound));
    assert_eq!(
        errors(&mut shard),
        ["no ip addresses were resolved for workload: o (no such name (NXDOMAIN))"; 3]
    );
    assert_eq!(shard.connections(), 0);
    // The same answer again, or another, is late.
    shard.handle_resolved(START, asked[0].0, Ok(vec![ip("10.7.7.7")]));
    assert_eq!(dials(&actions(&mut shard)), [] as [&str; 0]);
    capture(&mut shard, 4, "10.1.0.1:80").expect("accepted");
    let again = questions(&mut shard)[0].0;
    assert_ne!(again, asked[0].0);
    shard.handle_resolved(START, again, Ok(vec![]));
    assert!(errors(&mut shard)[0].ends_with("(the name has no A or AAAA record)"));
}

/// Whether or not they share a question (`istio_on_demand_dns_total`).
#[test]
fn two_connections_to_a_workload_with_a_hostname_are_two_lookups() {
    let mut shard = shard(NAMED, |_| {});
    capture(&mut shard, 1, "10.1.0.1:80").expect("accepted");
    capture(&mut shard, 2, "10.1.0.1:80").expect("accepted");
    let asked = questions(&mut shard);
    shard.handle_resolved(START, asked[0].0, Ok(vec![ip("10.7.7.7")]));
    let told = observed(&mut shard);
    let lookups = told.iter().filter(|observed| matches!(observed, Observed::Resolved { .. }));
    assert_eq!((asked.len(), lookups.count()), (1, 2));
}

#[test]
fn a_client_that_goes_waits_no_longer() {
    let mut shard = shard(NAMED, |_| {});
    let socket = capture(&mut shard, 1, "10.1.0.1:80").expect("accepted");
    let ticket = questions(&mut shard)[0].0;
    shard.handle_error(START, socket, SocketError::Reset);
    assert_eq!(
        (shard.connections(), errors(&mut shard)),
        (0, vec!["io error: connection reset by peer".into()])
    );
    shard.handle_resolved(START, ticket, Ok(vec![ip("10.7.7.7")]));
    assert_eq!(dials(&actions(&mut shard)), [] as [&str; 0]);
}

#[test]
fn a_name_is_waited_for_until_its_deadline() {
    let mut shard = shard(NAMED, |config| config.resolve_timeout = Duration::from_secs(3));
    capture(&mut shard, 1, "10.1.0.1:80").expect("accepted");
    let ticket = questions(&mut shard)[0].0;
    shard.handle_timeout(START + Duration::from_millis(2_999));
    assert_eq!(shard.connections(), 1);
    assert!(shard.poll_timeout().is_some_and(|at| at <= START + Duration::from_secs(3)));
    shard.handle_timeout(START + Duration::from_secs(3));
    assert_eq!(shard.connections(), 0);
    assert!(errors(&mut shard)[0].contains("no answer in time"));
    shard.handle_resolved(START, ticket, Ok(vec![ip("10.7.7.7")]));
    assert_eq!(dials(&actions(&mut shard)), [] as [&str; 0]);
}

#[test]
fn questions_are_bounded() {
    let mut shard = shard(NAMED, |config| config.max_questions = 1);
    capture(&mut shard, 1, "10.1.0.1:80").expect("accepted");
    assert!(capture(&mut shard, 2, "10.1.0.2:80").is_none());
    assert!(errors(&mut shard)[0].contains("too many names"));
    assert_eq!((shard.connections(), questions(&mut shard).len()), (1, 1));
}

#[test]
fn a_named_workload_of_the_mesh_is_reached_through_a_tunnel() {
    let mut room = room(5, Weather::default());
    let mesh = parse(NAMED);
    let client = add(&mut room, config("ns", "client", "client"), &mesh, ip("10.0.0.1"));
    add(&mut room, config("ns", "server", "server"), &mesh, ip("10.0.0.2"));
    room.name("server.example", &[ip("10.0.0.2")]);
    room.serve(addr("10.0.0.2:8080"), Script::echo());
    let app = room.connect(client, addr("10.0.0.1:40000"), addr("10.1.0.2:80"), Script::send("hello"));
    room.run(100_000);
    assert_eq!(room.app(app).got(), b"hello");
    assert_eq!(room.asked(), ["server.example"]);
}

// ---- SOCKS5 with a name

/// A SOCKS5 client that asks for `name` on port 80.
fn socks(shard: &mut Shard, from: &str, name: &str) -> SocketId {
    let (from, to) = (addr(from), addr("10.0.0.1:15080"));
    let socket =
        shard.handle_accepted(START, ProxyId::OWN, Listener::Socks5, from, to, to).expect("accepted");
    let length = u8::try_from(name.len()).expect("short");
    let hello = [&[5, 1, 0, 5, 1, 0, 3, length][..], name.as_bytes(), &[0, 80]].concat();
    let mut rest = &hello[..];
    while !rest.is_empty() {
        let mut lent = shard.lend(socket).expect("the handshake is read");
        let area = lent.iter_mut().next().expect("an area");
        let n = area.len().min(rest.len());
        area[..n].copy_from_slice(&rest[..n]);
        rest = &rest[n..];
        shard.handle_read(START, socket, n);
        assert!(n > 0, "the handshake is not over");
    }
    socket
}

/// What a shard writes to its sockets.
fn written(shard: &mut Shard) -> Vec<u8> {
    let mut octets = vec![];
    while let Some(socket) = shard.poll_urgent() {
        let wire: Vec<u8> = shard.wire(socket).flatten().copied().collect();
        shard.handle_written(START, socket, wire.len());
        octets.extend(wire);
    }
    octets
}

const CHOSEN: &[u8] = &[5, 0];
const SUCCESS: &[u8] = &[5, 0, 0, 1, 0, 0, 0, 0, 0, 0];

#[test]
fn a_socks_client_may_name_its_target() {
    for (from, dialled) in [("10.0.0.1:1", "10.7.7.7:80"), ("[fd00::1]:1", "[fd00::7]:80")] {
        let mut shard = shard(ALONE, |_| {});
        let socket = socks(&mut shard, from, "Web.Example");
        let asked = actions(&mut shard);
        let resolve = asked.iter().find_map(|action| match action {
            Action::Resolve { ticket, name, scope, .. } => Some((*ticket, name.to_string(), *scope)),
            _ => None,
        });
        let (ticket, name, scope) = resolve.expect("asked");
        assert_eq!((name.as_str(), scope), ("web.example", NameScope::Workload));
        assert_eq!(written(&mut shard), CHOSEN, "no success before there is an address");
        assert!(shard.lend(socket).is_none(), "what follows waits for its target");
        shard.handle_resolved(START, ticket, Ok(vec![ip("fd00::7"), ip("10.7.7.7")]));
        assert_eq!(written(&mut shard), SUCCESS);
        assert_eq!(dials(&actions(&mut shard)), [dialled]);
    }
}

#[test]
fn a_socks_client_is_told_that_there_is_no_such_host() {
    for (error, code) in [(NameError::NotFound, 4), (NameError::NoResolver, 8)] {
        let mut shard = shard(ALONE, |_| {});
        socks(&mut shard, "10.0.0.1:1", "web.example");
        let ticket = questions(&mut shard)[0].0;
        written(&mut shard);
        shard.handle_resolved(START, ticket, Err(error));
        assert_eq!(written(&mut shard)[..2], [5, code]);
        assert_eq!(errors(&mut shard), [format!("socks: web.example cannot be resolved: {error}")]);
        assert_eq!(shard.connections(), 0, "it ends when the refusal is written");
    }
    // Nobody answers.
    let mut shard = shard(ALONE, |_| {});
    socks(&mut shard, "10.0.0.1:1", "web.example");
    written(&mut shard);
    shard.handle_timeout(START + Duration::from_secs(10));
    assert_eq!((written(&mut shard)[..2] == [5, 4], shard.connections()), (true, 0));
}
