//! Random sends, half-closes, resets and slow readers on any network; cuts; hand-overs; stalled neighbours.
use std::time::Duration;

use adit_core::hbone::{TunnelConfig, TunnelError};
use adit_core::http2::{ErrorCode, Initiator};
use adit_core::time::Instant;
use adit_testkit::pair::{
    Chunks, Ending, Net, Outcome, Pair, Script, Sessions, Setup, StreamScript, Transcript,
};
use proptest::prelude::*;

fn script() -> impl Strategy<Value = Script> {
    let send =
        prop_oneof![2 => Just(0_usize), 4 => 1..3000_usize, 2 => 1..60_000_usize, 1 => 1..150_000_usize];
    let burst = prop_oneof![1 => Just(usize::MAX), 1 => 1000..50_000_usize];
    let read = prop_oneof![2 => Just(usize::MAX), 1 => 500..20_000_usize];
    let ending = prop_oneof![4 => Just(Ending::Finish), 1 => Just(Ending::Reset)];
    let stall = prop_oneof![3 => Just(0_u64), 1 => 1..2000_u64];
    (send, burst, ending, read, stall).prop_map(|(send, burst, ending, read, stall)| Script {
        send,
        burst,
        ending,
        read,
        stalls_until: Instant::from_millis(stall),
    })
}

fn stream() -> impl Strategy<Value = StreamScript> {
    let status = prop_oneof![8 => Just(200_u16), 1 => Just(503_u16)];
    (script(), script(), 0..100_u64, status).prop_map(|(client, server, at, status)| StreamScript {
        at: Instant::from_millis(at),
        client,
        server,
        status,
    })
}

fn net() -> impl Strategy<Value = Net> {
    let chunks = prop_oneof![
        2 => Just(Chunks::Whole),
        2 => (1..70_000_usize).prop_map(Chunks::Random),
        1 => (200..20_000_usize).prop_map(Chunks::Fixed),
    ];
    (0..20_u64, 1000..300_000_usize, chunks).prop_map(|(latency, buffer, chunks)| Net {
        latency: Duration::from_millis(latency),
        buffer,
        chunks,
        cut: [None; 2],
    })
}

fn setup() -> impl Strategy<Value = Setup> {
    let keys = prop_oneof![3 => Just(u64::MAX), 1 => 20..200_u64];
    (any::<u64>(), net(), 5_000..2_000_000_usize, 1..64_usize, 1000..4_000_000_u32, keys).prop_map(
        |(seed, net, max_queued, max_batch, window, key_update_after)| {
            let sessions = Sessions::Symbolic { key_update_after };
            let mut setup = Setup { seed, net, sessions, ..Setup::default() };
            for config in [&mut setup.client, &mut setup.server] {
                (config.max_queued, config.max_batch) = (max_queued, max_batch);
                config.http2.initial_window = window;
            }
            setup
        },
    )
}

/// What must hold of one direction of one stream.
fn check_direction(from: &Transcript, to: &Transcript, script: &Script, reader: &Script) {
    assert!(to.received <= from.sent && from.sent <= script.send);
    assert!(to.finished <= 1, "told twice that the other half ended");
    assert!(to.resets.len() <= 1, "told twice of a reset");
    if to.finished == 1 {
        assert_eq!(script.ending, Ending::Finish);
    }
    // Who resets has dropped what it had not read.
    if to.finished == 1 && reader.ending == Ending::Finish {
        assert_eq!((from.sent, to.received), (script.send, script.send), "the end came before the octets");
    }
}

fn check(outcome: &Outcome, scripts: &[StreamScript]) {
    for (index, script) in scripts.iter().enumerate() {
        let (client, server) = (&outcome.client[&index], &outcome.server[&index]);
        assert_eq!((client.closed, server.closed), (1, 1), "stream {index} ended at both ends, once");
        if script.status != 200 {
            // A client that resets at once does not see the answer.
            assert!(client.status == Some(script.status) || script.client.ending == Ending::Reset);
            assert_eq!((client.received, server.received), (0, 0));
            continue;
        }
        check_direction(client, server, &script.client, &script.server);
        check_direction(server, client, &script.server, &script.client);
        if script.client.ending == Ending::Finish && script.server.ending == Ending::Finish {
            assert_eq!((client.finished, server.finished), (1, 1), "stream {index}");
            assert!(client.resets.is_empty() && server.resets.is_empty());
        }
        for reset in client.resets.iter().chain(&server.resets) {
            assert_eq!(*reset, (ErrorCode::CONNECT_ERROR, Initiator::Remote));
        }
    }
}

/// What a hand-over must not change: everything but when things happened.
fn semantics(outcome: &Outcome) -> Vec<(usize, usize, u32, Option<u16>)> {
    let all = outcome.client.values().chain(outcome.server.values());
    all.map(|seen| (seen.sent, seen.received, seen.finished, seen.status)).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, max_shrink_iters: 500, failure_persistence: None, ..ProptestConfig::default() })]

    /// No octet is lost, duplicated or reordered, both ends are told once, every buffer comes back.
    #[test]
    fn streams_of_any_kind_end_as_they_must(setup in setup(), scripts in prop::collection::vec(stream(), 1..24)) {
        let outcome = Pair::new(setup, scripts.clone()).run().unwrap();
        check(&outcome, &scripts);
    }

    /// Freezing and thawing either end at any point changes nothing that an application can see.
    #[test]
    fn hand_overs_go_unseen(
        setup in setup(),
        scripts in prop::collection::vec(stream(), 1..12),
        once_in in 1..12_usize,
    ) {
        let with = Setup { hand_over_once_in: once_in, ..setup.clone() };
        let with = Pair::new(with, scripts.clone()).run().unwrap();
        check(&with, &scripts);
        let orderly = |script: &StreamScript| [script.client, script.server].map(|s| s.ending) == [Ending::Finish; 2];
        if scripts.iter().all(orderly) {
            let without = Pair::new(setup, scripts).run().unwrap();
            prop_assert_eq!(semantics(&with), semantics(&without));
        }
    }

    /// A connection that breaks at any octet: what arrived is a prefix, nothing panics, every buffer comes back.
    #[test]
    fn a_cut_at_any_octet_leaves_prefixes(
        mut setup in setup(),
        scripts in prop::collection::vec(stream(), 1..8),
        cut in 0..200_000_usize,
        server_side in any::<bool>(),
    ) {
        setup.net.cut[usize::from(server_side)] = Some(cut);
        let outcome = Pair::new(setup, scripts.clone()).run().unwrap();
        for (index, script) in scripts.iter().enumerate() {
            if let (Some(client), Some(server)) = (outcome.client.get(&index), outcome.server.get(&index)) {
                check_direction(client, server, &script.client, &script.server);
                check_direction(server, client, &script.server, &script.client);
            }
        }
    }
}

#[test]
fn a_cut_while_streams_are_open_is_told_from_an_orderly_end() {
    let net = Net { cut: [Some(300_000), None], ..Net::default() };
    let scripts = vec![StreamScript::new(Script::sends(3_000_000), Script::sends(3_000_000))];
    let outcome = Pair::new(Setup { net, ..Setup::default() }, scripts).run().unwrap();
    assert_eq!(outcome.errors, [Some(TunnelError::Truncated), Some(TunnelError::Truncated)]);
}

#[test]
fn a_stalled_stream_never_delays_its_neighbours() {
    // It fills its window and takes nothing for a minute; the others exchange a little, time and again.
    let stalled = Script { stalls_until: Instant::from_millis(60_000), ..Script::default() };
    let mut scripts = vec![StreamScript::new(Script::sends(6_000_000), stalled)];
    scripts.extend((0..99).map(|index| StreamScript {
        at: Instant::from_millis(100 + index * 5),
        ..StreamScript::new(Script::sends(40_000), Script::sends(40_000))
    }));
    let outcome = Pair::new(Setup::default(), scripts.clone()).run().unwrap();
    check(&outcome, &scripts);
    for (index, script) in scripts.iter().enumerate().skip(1) {
        for seen in [&outcome.client[&index], &outcome.server[&index]] {
            let took = seen.last.saturating_since(script.at);
            assert!(took < Duration::from_millis(50), "stream {index} took {took:?}");
        }
    }
    assert!(outcome.server[&0].last >= Instant::from_millis(60_000));
}

#[test]
fn who_holds_most_is_reset_when_slow_applications_hold_too_much() {
    let stalled = Script { stalls_until: Instant::from_millis(60_000), ..Script::default() };
    let scripts = vec![
        // More to send than the client's window takes: the stream stays open.
        StreamScript::new(Script { send: 2_000_000, ..stalled }, Script { send: 5_000_000, ..stalled }),
        StreamScript::new(Script::sends(100_000), stalled),
    ];
    let server = TunnelConfig { max_held: 1_000_000, ..TunnelConfig::server() };
    let outcome = Pair::new(Setup { server, ..Setup::default() }, scripts).run().unwrap();
    assert_eq!(outcome.server[&0].resets, [(ErrorCode::ENHANCE_YOUR_CALM, Initiator::Library)]);
    assert_eq!(outcome.client[&0].resets, [(ErrorCode::ENHANCE_YOUR_CALM, Initiator::Remote)]);
    assert_eq!(outcome.server[&1].received, 100_000, "the smaller one lives");
}

#[test]
fn one_octet_at_a_time_with_hand_overs() {
    let net = Net { chunks: Chunks::Fixed(1), ..Net::default() };
    let scripts = vec![StreamScript::new(Script::sends(3_000), Script::sends(2_000)); 3];
    let setup = Setup { net, hand_over_once_in: 3, ..Setup::default() };
    check(&Pair::new(setup, scripts.clone()).run().unwrap(), &scripts);
}
