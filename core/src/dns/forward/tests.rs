//! The machine by script.
use std::string::ToString;
use std::vec;

use super::super::message::tests::question;
use super::*;

const SOURCE: IpAddr = IpAddr::V4(core::net::Ipv4Addr::new(10, 0, 0, 1));
const SECOND: Duration = Duration::from_secs(1);

fn server(n: u8) -> SocketAddr {
    SocketAddr::from(([192, 0, 2, n], 53))
}

fn at(seconds: u64) -> Instant {
    Instant::from_millis(seconds * 1000)
}

struct Rig {
    machine: Forwarder,
    next_id: u16,
}

impl Rig {
    fn new(change: impl FnOnce(&mut ForwarderConfig)) -> Self {
        let mut config = ForwarderConfig::new(vec![server(1), server(2)]);
        change(&mut config);
        Self { machine: Forwarder::new(config), next_id: 100 }
    }

    fn query(&mut self, now: u64, query: u64, transport: Transport) -> Result<(), ForwardError> {
        self.query_of(now, query, SOURCE, transport, &question("x.io", RecordType(16)))
    }

    fn query_of(
        &mut self,
        now: u64,
        query: u64,
        source: IpAddr,
        transport: Transport,
        octets: &[u8],
    ) -> Result<(), ForwardError> {
        let Self { machine, next_id } = self;
        let message = Query::parse(octets).unwrap();
        machine.handle_query(at(now), QueryId(query), source, transport, &message, &mut || bump(next_id))
    }

    fn response(&mut self, now: u64, query: u64, number: u32, from: SocketAddr, octets: &[u8]) {
        let Self { machine, next_id } = self;
        let attempt = Attempt { query: QueryId(query), number };
        machine.handle_response(at(now), attempt, from, octets.to_vec(), &mut || bump(next_id));
    }

    fn failure(&mut self, now: u64, query: u64, number: u32) {
        let Self { machine, next_id } = self;
        machine.handle_failure(at(now), Attempt { query: QueryId(query), number }, &mut || bump(next_id));
    }

    fn timeout(&mut self, now: u64) {
        let Self { machine, next_id } = self;
        machine.handle_timeout(at(now), &mut || bump(next_id));
    }

    /// What is to be done, one word each: `send QUERY.NUMBER SERVER ID`, `reply QUERY …`, `close QUERY`.
    fn actions(&mut self) -> Vec<std::string::String> {
        core::iter::from_fn(|| self.machine.poll_action()).map(|action| describe(&action)).collect()
    }

    fn is_empty(&self) -> bool {
        let machine = &self.machine;
        machine.pending.is_empty()
            && machine.deadlines.is_empty()
            && machine.per_source.is_empty()
            && machine.octets == 0
    }
}

fn bump(next: &mut u16) -> u16 {
    *next += 1;
    *next
}

fn describe(action: &ForwardAction) -> std::string::String {
    match action {
        ForwardAction::Send { attempt, server, message, .. } => {
            let id = u16::from_be_bytes([message[0], message[1]]);
            assert_eq!(message[2..], question("x.io", RecordType(message[19].into()))[2..]);
            std::format!("send {}.{} {} {id}", attempt.query.0, attempt.number, server.ip())
        }
        ForwardAction::Reply { query, outcome, message, .. } => {
            assert_eq!(message[..2], [0x12, 0x34], "the client's id");
            let said = match outcome {
                Outcome::Answered { server, took } => std::format!("{} {}s", server.ip(), took.as_secs()),
                Outcome::Failed(why) => why.to_string(),
            };
            std::format!("reply {} {said}", query.0)
        }
        ForwardAction::Close { query } => std::format!("close {}", query.0),
    }
}

/// A response with this id to the question that [`Rig::query`] asks.
fn response(id: u16) -> Vec<u8> {
    let mut octets = question("x.io", RecordType(16));
    octets[..4].copy_from_slice(&[0, 0, 0x81, 0x83]);
    octets[..2].copy_from_slice(&id.to_be_bytes());
    octets.extend_from_slice(b"anything at all");
    octets
}

#[test]
fn a_response_goes_back_octet_for_octet_but_for_the_id() {
    let mut rig = Rig::new(|_| ());
    rig.query(0, 7, Transport::Udp).unwrap();
    assert_eq!(rig.actions(), ["send 7.0 192.0.2.1 101"]);
    rig.response(2, 7, 0, server(1), &response(101));
    let expected = response(0x1234);
    let reply = rig.machine.poll_action();
    assert!(
        matches!(&reply, Some(ForwardAction::Reply { message, last: true, .. }) if *message == expected),
        "{reply:?}"
    );
    assert_eq!(describe(&reply.unwrap()), "reply 7 192.0.2.1 2s");
    assert_eq!(rig.actions(), ["close 7"]);
    assert!(rig.is_empty());
}

#[test]
fn silence_moves_on_to_the_next_server_and_round_and_then_fails() {
    let mut rig = Rig::new(|_| ());
    rig.query(0, 1, Transport::Udp).unwrap();
    let mut seen = rig.actions();
    for (now, deadline) in [(5, 10), (10, 15), (15, 20)] {
        assert_eq!(rig.machine.poll_deadline(), Some(at(now)));
        rig.timeout(now - 1);
        assert_eq!(rig.actions(), [""; 0]);
        rig.timeout(now);
        assert_eq!(rig.machine.poll_deadline(), Some(at(deadline)));
        seen.extend(rig.actions());
    }
    let expected = [
        "send 1.0 192.0.2.1 101",
        "send 1.1 192.0.2.2 102",
        "send 1.2 192.0.2.1 103",
        "send 1.3 192.0.2.2 104",
    ];
    assert_eq!(seen, expected);
    rig.timeout(20);
    assert_eq!(rig.actions(), ["reply 1 no name server answered in time", "close 1"]);
    assert!(rig.is_empty());
}

#[test]
fn a_failure_moves_on_at_once_and_the_last_one_says_so() {
    let mut rig = Rig::new(|config| config.rounds = 0);
    rig.query(0, 1, Transport::Tcp).unwrap();
    rig.failure(0, 1, 0);
    rig.failure(0, 1, 0);
    assert_eq!(rig.actions(), ["send 1.0 192.0.2.1 101", "send 1.1 192.0.2.2 102"]);
    rig.failure(0, 1, 1);
    assert_eq!(rig.actions(), ["reply 1 no name server could be reached", "close 1"]);
    assert!(rig.is_empty());
}

#[test]
fn a_slow_server_may_still_be_the_first_to_respond() {
    let mut rig = Rig::new(|_| ());
    rig.query(0, 1, Transport::Udp).unwrap();
    rig.timeout(5);
    rig.actions();
    rig.response(6, 1, 0, server(1), &response(101));
    assert_eq!(rig.actions(), ["reply 1 192.0.2.1 6s", "close 1"]);
    // And the other one is late.
    rig.response(7, 1, 1, server(2), &response(102));
    rig.failure(7, 1, 1);
    rig.timeout(100);
    assert_eq!(rig.actions(), [""; 0]);
}

#[test]
fn spoofed_responses_do_not_count() {
    let mut rig = Rig::new(|_| ());
    rig.query(0, 1, Transport::Udp).unwrap();
    rig.timeout(5);
    rig.actions();
    let mut other_question = response(101);
    other_question[13] = b'y';
    let mut query = response(101);
    query[2] = 1;
    for (number, from, octets) in [
        (0, server(2), response(101)),
        (0, SocketAddr::new(server(1).ip(), 5353), response(101)),
        (0, server(1), response(102)),
        (1, server(2), response(101)),
        (2, server(1), response(101)),
        (0, server(1), other_question),
        (0, server(1), query),
        (0, server(1), vec![]),
    ] {
        rig.response(5, 1, number, from, &octets);
        assert_eq!(rig.actions(), [""; 0]);
    }
    let mapped = SocketAddr::new("::ffff:192.0.2.1".parse().unwrap(), 53);
    rig.response(5, 1, 0, mapped, &response(101));
    assert_eq!(rig.actions(), ["reply 1 192.0.2.1 5s", "close 1"]);
}

#[test]
fn an_attempt_with_too_many_guesses_is_given_up() {
    let mut rig = Rig::new(|config| config.rounds = 1);
    rig.query(0, 1, Transport::Udp).unwrap();
    rig.actions();
    for guess in 0..32 {
        assert_eq!(rig.actions(), [""; 0], "{guess}");
        rig.response(0, 1, 0, server(1), &response(5000 + guess));
    }
    assert_eq!(rig.actions(), ["send 1.1 192.0.2.2 102"]);
    // Even the right one is too late now.
    rig.response(0, 1, 0, server(1), &response(101));
    assert_eq!(rig.actions(), [""; 0]);
    for guess in 0..32 {
        rig.response(0, 1, 1, server(2), &response(5000 + guess));
    }
    let error = ForwardError::Wrong.to_string();
    assert_eq!(rig.actions(), [std::format!("reply 1 {error}"), "close 1".into()]);
    assert!(rig.is_empty());
}

#[test]
fn a_source_over_its_limit_is_refused_and_others_are_not() {
    let mut rig = Rig::new(|config| config.per_source = 2);
    let octets = question("x.io", RecordType(16));
    let mapped = "::ffff:10.0.0.1".parse().unwrap();
    rig.query(0, 1, Transport::Udp).unwrap();
    rig.query_of(0, 2, mapped, Transport::Udp, &octets).unwrap();
    assert_eq!(rig.query(0, 3, Transport::Tcp), Err(ForwardError::SourceBusy));
    let other = "10.0.0.2".parse().unwrap();
    rig.query_of(0, 4, other, Transport::Udp, &octets).unwrap();
    rig.actions();
    rig.response(0, 1, 0, server(1), &response(101));
    rig.query(0, 5, Transport::Udp).unwrap();
    assert_eq!(rig.machine.outstanding(), 3);
}

#[test]
fn queries_and_octets_under_way_are_bounded_and_what_waits_stays() {
    let mut rig = Rig::new(|config| config.total = 2);
    rig.query(0, 1, Transport::Udp).unwrap();
    assert_eq!(rig.query(0, 1, Transport::Udp), Err(ForwardError::Busy), "the same name twice");
    rig.query(0, 2, Transport::Udp).unwrap();
    assert_eq!(rig.query(0, 3, Transport::Udp), Err(ForwardError::Busy));
    assert_eq!(rig.machine.outstanding(), 2);
    let size = question("x.io", RecordType(16)).len();
    let mut rig = Rig::new(|config| config.octets = 2 * size);
    rig.query(0, 1, Transport::Udp).unwrap();
    rig.query(0, 2, Transport::Udp).unwrap();
    assert_eq!(rig.query(0, 3, Transport::Udp), Err(ForwardError::Busy));
    rig.machine.handle_gone(QueryId(1));
    rig.query(0, 3, Transport::Udp).unwrap();
}

#[test]
fn a_client_that_is_gone_frees_its_place() {
    let mut rig = Rig::new(|_| ());
    rig.query(0, 1, Transport::Tcp).unwrap();
    rig.actions();
    rig.machine.handle_gone(QueryId(1));
    rig.machine.handle_gone(QueryId(1));
    assert_eq!(rig.actions(), ["close 1"]);
    assert!(rig.is_empty());
}

#[test]
fn without_servers_nothing_is_relayed() {
    let mut rig = Rig::new(|config| config.servers.clear());
    assert_eq!(rig.query(0, 1, Transport::Udp), Err(ForwardError::NoServers));
    assert!(rig.is_empty());
}

#[test]
fn rotate_begins_with_another_server_each_time() {
    let mut rig = Rig::new(|config| config.rotate = true);
    for query in 1..=3 {
        rig.query(0, query, Transport::Udp).unwrap();
    }
    let expected = ["send 1.0 192.0.2.1 101", "send 2.0 192.0.2.2 102", "send 3.0 192.0.2.1 103"];
    assert_eq!(rig.actions(), expected);
    rig.failure(0, 2, 0);
    assert_eq!(rig.actions(), ["send 2.1 192.0.2.1 104"]);
}

#[test]
fn the_messages_of_a_zone_all_go_back_until_nothing_more_comes() {
    let mut rig = Rig::new(|_| ());
    let octets = question("x.io", RecordType::AXFR);
    rig.query_of(0, 1, SOURCE, Transport::Tcp, &octets).unwrap();
    rig.actions();
    let mut part = response(101);
    part[19] = 252;
    rig.response(1, 1, 0, server(1), &part);
    rig.response(4, 1, 0, server(1), &part);
    assert_eq!(rig.actions(), ["reply 1 192.0.2.1 1s", "reply 1 192.0.2.1 4s"]);
    assert_eq!(rig.machine.poll_deadline(), Some(at(4) + 5 * SECOND));
    // No other server is asked for the rest, and no error follows what was good.
    rig.failure(5, 1, 0);
    assert_eq!(rig.actions(), ["close 1"]);
    assert!(rig.is_empty());
}
