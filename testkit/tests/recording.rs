//! A recorder around a shard without sockets: what is in the recording, and how it ends.
use std::io::{self, Write};
use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use adit_core::dns::NameError;
use adit_core::proxy::{Action, Listener, ProxyId, Shard, SocketId, Unanswered};
use adit_core::time::{Instant, UnixTime, WallClock};
use adit_core::tls::{RecordMode, Revocations};
use adit_runtime::Engine;
use adit_runtime::record::{Call, Header, Reader, Recorder};
use adit_testkit::pki::Ca;
use adit_testkit::replay::{ReplayError, replay};
use adit_testkit::sim::mesh::{config, parse};

const MESH: &str = "
workloads:
- {uid: c, name: client, namespace: ns, serviceAccount: client, workloadIps: [10.0.0.1], services: {}}
services: []
policies: []
";

fn shard(seed: u64) -> Shard {
    let mut settings = config("ns", "client", "client");
    settings.seed = seed;
    Shard::new(Arc::new(settings), parse(MESH), Instant::ZERO)
}

fn recorder<W: Write>(sink: W) -> Recorder<Shard, W> {
    let header = Header { seed: 7, about: "a test".into() };
    Recorder::new(shard(7), sink, Arc::new(WallClock::new(UnixTime(5))), &header).expect("a header")
}

fn now(millis: u64) -> Instant {
    Instant::from_millis(millis)
}

fn accept(engine: &mut impl Engine, at: Instant) -> SocketId {
    let (from, to): (SocketAddr, _) =
        ("10.0.0.1:1".parse().expect("one"), "10.0.0.1:15080".parse().expect("one"));
    engine.handle_accepted(at, ProxyId::OWN, Listener::Socks5, from, to, to).expect("accepted")
}

/// A SOCKS5 client that asks for nonsense.
fn session(engine: &mut impl Engine) {
    let socket = accept(engine, now(1));
    let mut hello = &[5, 2, 0, 1][..];
    while !hello.is_empty() {
        let fill = |area: &mut [u8]| {
            let n = area.len().min(hello.len());
            area[..n].copy_from_slice(&hello[..n]);
            n
        };
        let n = engine.lend(socket, |areas| fill(&mut areas[0])).expect("room");
        engine.handle_read(now(2), socket, n);
        hello = &hello[n..];
    }
    while let Some(socket) = engine.poll_urgent() {
        let n = engine.wire(socket).map(<[u8]>::len).sum();
        engine.handle_written(now(3), socket, n);
    }
    engine.lend(socket, |_| ());
    engine.handle_eof(now(4), socket);
    engine.handle_timeout(now(60_000));
    while engine.poll_action().is_some() || engine.poll_observed().is_some() {}
}

#[test]
fn a_recording_is_replayed_and_a_changed_one_is_not() {
    let mut octets = Vec::new();
    let mut recorder = recorder(&mut octets);
    session(&mut recorder);
    drop(recorder);
    let entries: Vec<_> = Reader::new(octets.as_slice()).expect("a recording").map(Result::unwrap).collect();
    assert_eq!((entries[0].after, entries[0].clock, entries[1].clock), (1_000_000, Some(5), None));
    let lends: Vec<_> = entries
        .iter()
        .filter_map(|entry| match &entry.call {
            Call::Lend { octets, .. } => Some(octets.as_slice()),
            _ => None,
        })
        .collect();
    assert_eq!(lends.concat(), [5, 2, 0, 1], "what was read, and no more of what was lent");
    assert_eq!(lends.last(), Some(&&[][..]));
    let replayed = replay(octets.as_slice(), |header| shard(header.seed), []).expect("the same");
    assert_eq!(replayed.calls, entries.len() as u64);
    // Another greeting has another answer.
    let place = octets.windows(3).position(|window| window == [2, 5, 2]).expect("two octets of the greeting");
    octets[place + 1] = 4;
    let other = replay(octets.as_slice(), |header| shard(header.seed), []);
    assert!(matches!(other, Err(ReplayError::Diverged { .. })), "{other:?}");
}

/// Questions with and without an answer, for a shard that is `on_demand`.
fn questions(engine: &mut impl Engine) {
    let (from, to): (SocketAddr, SocketAddr) =
        ("10.0.0.1:1".parse().expect("one"), "10.9.9.9:80".parse().expect("one"));
    for (port, answer) in
        [(1, Ok(())), (2, Err(Unanswered::Refused("no".into()))), (3, Err(Unanswered::GivenUp))]
    {
        let from = SocketAddr::new(from.ip(), port);
        engine.handle_accepted(now(1), ProxyId::OWN, Listener::Outbound, from, to, to);
        while let Some(action) = engine.poll_action() {
            if let Action::Demand { ticket, .. } = action {
                engine.handle_demanded(now(2), ticket, answer.clone());
            }
        }
    }
    for answer in [Ok(vec!["10.9.9.9".parse().expect("one")]), Err(NameError::NotFound)] {
        let socket = accept(engine, now(3));
        let mut hello = &[5, 1, 0, 5, 1, 0, 3, 1, b'a', 0, 80][..];
        while !hello.is_empty() {
            let fill = |area: &mut [u8]| {
                let n = area.len().min(hello.len());
                area[..n].copy_from_slice(&hello[..n]);
                n
            };
            let n = engine.lend(socket, |areas| fill(&mut areas[0])).expect("room");
            engine.handle_read(now(3), socket, n);
            hello = &hello[n..];
        }
        while let Some(action) = engine.poll_action() {
            if let Action::Resolve { ticket, .. } = action {
                engine.handle_resolved(now(4), ticket, answer.clone());
            }
        }
    }
    engine.handle_timeout(now(60_000));
    while engine.poll_action().is_some() || engine.poll_observed().is_some() {}
}

#[test]
fn answers_to_questions_are_recorded_and_given_again() {
    let careful = |seed| {
        let mut settings = config("ns", "client", "client");
        (settings.seed, settings.on_demand) = (seed, true);
        Shard::new(Arc::new(settings), parse(MESH), Instant::ZERO)
    };
    let mut octets = Vec::new();
    let header = Header { seed: 7, about: "a test".into() };
    let clock = Arc::new(WallClock::new(UnixTime(5)));
    let mut recorder = Recorder::new(careful(7), &mut octets, clock, &header).expect("a header");
    questions(&mut recorder);
    drop(recorder);
    let calls: Vec<_> =
        Reader::new(octets.as_slice()).expect("a recording").map(|e| e.unwrap().call).collect();
    assert_eq!(calls.iter().filter(|call| matches!(call, Call::Demanded { .. })).count(), 3);
    assert_eq!(calls.iter().filter(|call| matches!(call, Call::Resolved { .. })).count(), 2);
    let replayed = replay(octets.as_slice(), |header| careful(header.seed), []).expect("the same");
    assert_eq!(replayed.calls, calls.len() as u64);
    // A shard that asks nobody does otherwise.
    let other = replay(octets.as_slice(), |header| shard(header.seed), []);
    assert!(matches!(other, Err(ReplayError::Diverged { .. })), "{other:?}");
}

#[test]
fn the_call_that_panics_is_the_last_entry() {
    let mut octets = Vec::new();
    let ended = catch_unwind(AssertUnwindSafe(|| {
        let mut recorder = recorder(&mut octets);
        let socket = accept(&mut recorder, now(1));
        recorder.lend(socket, |_| panic!("on purpose"));
    }));
    assert!(ended.is_err());
    let calls: Vec<_> =
        Reader::new(octets.as_slice()).expect("a recording").map(|e| e.unwrap().call).collect();
    assert!(matches!(calls[..], [Call::Accepted { .. }, Call::Lend { .. }]), "{calls:?}");
}

#[test]
fn a_disk_that_is_full_ends_the_recording_and_not_the_shard() {
    /// Takes the header and a little more.
    struct Full(usize);
    impl Write for Full {
        fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
            self.0 = self.0.checked_sub(octets.len()).ok_or(io::ErrorKind::StorageFull)?;
            Ok(octets.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    session(&mut recorder(Full(60)));
}

/// Whoever was checked by lists is checked by the same ones when it is replayed.
#[test]
fn revocation_lists_are_in_the_recording() {
    let ca = Ca::new();
    let plain = ca.context("client", RecordMode::InPlace);
    let identity = plain.identity().clone();
    let list = ca.crl(&[&plain.chain()[0]]);
    let contexts = [
        Arc::clone(&plain),
        plain.with_revocations(Arc::new(Revocations::parse(&list).expect("a list"))),
        plain.with_revocations(Arc::new(Revocations::missing("it is nonsense".into()))),
    ];
    let mut octets = Vec::new();
    let mut recorder = recorder(&mut octets);
    for context in contexts {
        recorder.handle_certificate(now(1), &identity, Ok(context));
    }
    drop(recorder);
    let told = |entry| match entry {
        Call::Certificate { answer: Ok(certificate), .. } => Some(certificate.revocations),
        _ => None,
    };
    let entries = Reader::new(octets.as_slice()).expect("a recording");
    let told: Vec<_> = entries.filter_map(|entry| told(entry.expect("an entry").call)).collect();
    assert_eq!(told, [None, Some(Ok(list)), Some(Err("it is nonsense".to_owned()))]);
}
