//! Security §1, cheap frames and costly work: every flood ends its tunnel under its name, and only its tunnel.
use std::sync::Arc;
use std::time::Duration;

use adit_core::http2::{Allowance, Budgets, ErrorCode};
use adit_core::proxy::ShardConfig;
use adit_testkit::wire::Intruder;
use adit_testkit::wire::frames::*;

/// Default budgets, but for those whose default takes a test too long to spend.
fn budgets(change: impl FnOnce(&mut Budgets)) -> impl Fn(&mut ShardConfig) {
    let mut budgets = Budgets::default();
    change(&mut budgets);
    move |config| {
        let mut server = (*config.server).clone();
        server.http2.budgets = budgets;
        config.server = Arc::new(server);
    }
}

const FEW: Allowance = Allowance { burst: 2_000, per_second: 100 };

/// An authenticated client with SETTINGS exchanged and stream 1 carried to an application.
fn tunnel(change: impl Fn(&mut ShardConfig)) -> Intruder {
    let mut it = Intruder::client(change);
    it.hello(&[]);
    it.send(&connect(1));
    assert_eq!(it.apps().count(), 1, "the application was dialled");
    it
}

/// Repeats `step` until the tunnel ends, `most` times at the most; it must end as an attack called `reason`, leave nothing
/// behind and never hold much.
#[track_caller]
fn ends(mut it: Intruder, reason: &str, most: u32, step: impl Fn(u32) -> Vec<u8>) {
    let mut steps = 0;
    while it.send(&step(steps)) {
        steps += 1;
        assert!(steps < most, "{reason}: still alive after {most} steps");
    }
    assert_eq!(it.ended(), Some((reason, true)));
    let goaway = it.frames().into_iter().rfind(|frame| frame.kind == 7).expect("GOAWAY");
    assert_eq!(goaway.payload[4..8], ErrorCode::ENHANCE_YOUR_CALM.0.to_be_bytes(), "{reason}");
    leaves_nothing(&mut it);
    assert!(it.peak() < 3 << 20, "{reason}: {} octets were in use", it.peak());
}

/// No connection, tunnel or buffer outlives the attack.
#[track_caller]
fn leaves_nothing(it: &mut Intruder) {
    it.pass(Duration::from_secs(30));
    assert_eq!((it.shard.connections(), it.shard.tunnels(), it.shard.buffered()), (0, 0, 0));
    assert!(it.apps().all(|(_, app)| app.closed.is_some()), "an application was left connected");
}

#[test]
fn ping_flood() {
    // CVE-2019-9512.
    ends(tunnel(|_| {}), "ping_flood", 300, |_| ping(0));
}

#[test]
fn settings_floods() {
    // CVE-2018-11763, CVE-2019-9515; CVE-2020-11080.
    ends(tunnel(|_| {}), "settings_flood", 50, |_| settings(&[]));
    ends(tunnel(|_| {}), "settings_entries", 2, |_| settings(&[(0x99, 1); 33]));
}

#[test]
fn rapid_reset() {
    // CVE-2023-44487, CVE-2023-26964, CVE-2019-9514: opened and cancelled before the CONNECT was answered.
    let mut it = tunnel(|_| {});
    it.dials = false;
    ends(it, "reset_flood", 500, |n| [connect(3 + 2 * n), reset(3 + 2 * n, ErrorCode::CANCEL)].concat());
}

#[test]
fn a_cancelled_stream_costs_its_place_until_its_dial_ends() {
    // CVE-2023-44487: what was begun upstream stays on the books of whoever asked for it.
    let mut it = tunnel(|_| {});
    it.dials = false;
    for n in 0..100 {
        it.send(&[connect(3 + 2 * n), reset(3 + 2 * n, ErrorCode::CANCEL)].concat());
    }
    assert!(it.is_alive());
    let pending = it.apps().filter(|(_, app)| app.closed.is_none()).count();
    assert!(pending <= 200, "{pending} dials hang");
    assert!(it.shard.connections() <= 200);
}

#[test]
fn made_you_reset() {
    // CVE-2025-8671, RUSTSEC-2024-0003: resets that we are made to send.
    ends(tunnel(|_| {}), "reset_flood", 500, |n| [connect(3 + 2 * n), window_update(3 + 2 * n, 0)].concat());
    ends(tunnel(|_| {}), "reset_flood", 500, |n| {
        [connect(3 + 2 * n), window_update(3 + 2 * n, 0x7fff_ffff)].concat()
    });
    let trailers = |n| [connect(3 + 2 * n), headers(3 + 2 * n, 0, &[("not", "at the end")])].concat();
    ends(tunnel(|_| {}), "reset_flood", 500, trailers);
}

#[test]
fn ten_thousand_short_connections_never_cut_a_tunnel() {
    let mut it = tunnel(|_| {});
    for n in 0..10_000 {
        it.send(&connect(3 + 2 * n));
        assert!(it.send(&reset(3 + 2 * n, ErrorCode::CANCEL)), "cut after {n}: {:?}", it.ended());
    }
    assert_eq!(it.shard.connections(), 1);
}

#[test]
fn refused_requests() {
    ends(tunnel(|_| {}), "refused_flood", 500, |n| headers(3 + 2 * n, 0, &[("no", "pseudo-headers")]));
}

#[test]
fn refused_connects() {
    // Design §6: well-formed HTTP/2, answered 400 because it is no CONNECT that HBONE knows; or refused by the shard.
    let bad = |fields: &'static [(&'static str, &'static str)]| {
        ends(tunnel(|_| {}), "refused_flood", 500, move |n| headers(3 + 2 * n, 0, fields));
    };
    bad(&[(":method", "GET"), (":scheme", "https"), (":authority", "10.0.0.2:80"), (":path", "/")]);
    bad(&[(":method", "CONNECT"), (":authority", "10.0.0.2")]);
    let ours = [(":method", "CONNECT"), (":authority", "10.0.0.2:15008")];
    let it = tunnel(budgets(|budgets| budgets.denied = FEW));
    ends(it, "denied_flood", 3_000, move |n| headers(3 + 2 * n, 0, &ours));
}

#[test]
fn an_application_that_is_refused_again_and_again_does_not_cost_the_tunnel() {
    // 12 000 within six seconds: a loop without pause behind an honest proxy, whose other streams go on.
    let mut it = tunnel(|_| {});
    let ours = [(":method", "CONNECT"), (":authority", "10.0.0.2:15008")];
    for n in 0..600 {
        let wire: Vec<u8> = (0..20).flat_map(|k| headers(3 + 2 * (20 * n + k), 0, &ours)).collect();
        assert!(it.send(&wire), "cut after {n}: {:?}", it.ended());
        it.pass(Duration::from_millis(10));
    }
    assert_eq!(it.shard.connections(), 1);
}

#[test]
fn empty_frames() {
    // CVE-2019-9518, RUSTSEC-2026-0258.
    ends(tunnel(|_| {}), "empty_frame_flood", 3_000, |_| data(1, 0, b""));
    ends(tunnel(|_| {}), "empty_frame_flood", 3_000, |_| data(1, PADDED, &[2, 0, 0]));
}

#[test]
fn tiny_data() {
    // CVE-2019-9511, CVE-2020-12603.
    ends(tunnel(budgets(|budgets| budgets.tiny_data = FEW)), "tiny_data_flood", 300, |_| {
        data(1, 0, b"x").repeat(10)
    });
}

#[test]
fn window_updates() {
    // CVE-2019-9517's sibling.
    let it = tunnel(budgets(|budgets| budgets.window_updates = FEW));
    ends(it, "window_update_flood", 300, |_| window_update(0, 1).repeat(10));
}

#[test]
fn priority_unknown_and_stray_frames() {
    // CVE-2019-9513 and frames that mean nothing.
    ends(tunnel(|_| {}), "priority_flood", 3_000, |n| frame(2, 0, 3 + n, &[0; 5]));
    ends(tunnel(|_| {}), "unknown_frame_flood", 3_000, |_| frame(0x42, 0, 0, b"x"));
    ends(tunnel(|_| {}), "stray_frame_flood", 6_000, |_| ping(ACK));
}

#[test]
fn continuation_floods() {
    // CVE-2024-27316, RUSTSEC-2024-0332 and kin: by number, and by octets.
    let fragment = |len: usize| {
        move |n| if n == 0 { frame(1, 0, 3, &vec![0x80; len]) } else { frame(9, 0, 3, &vec![0x80; len]) }
    };
    ends(tunnel(|_| {}), "continuation_flood", 40, fragment(1));
    ends(tunnel(|_| {}), "header_block_too_long", 10, fragment(16_000));
}

#[test]
fn header_bombs() {
    // CVE-2016-6581, CVE-2026-47774: a small block that decodes to a large list costs its stream; many cost the tunnel.
    let mut it = Intruder::client(|_| {});
    // Before SETTINGS are acknowledged the peer may still use a table of 4096 octets.
    it.send(&[PREFACE, &settings(&[])].concat());
    let mut seed = vec![0x40, 6];
    seed.extend(b"cookie");
    seed.extend([0x7f, 0xa1, 0x1e]);
    seed.extend(vec![b'c'; 4000]);
    it.send(&frame(1, END_HEADERS, 1, &[block(CONNECT)[1..].to_vec(), seed].concat()));
    assert!(it.is_alive(), "{:?}", it.ended());
    let bomb = vec![0xbe; 16_000];
    ends(it, "refused_flood", 500, move |n| frame(1, END_HEADERS, 3 + 2 * n, &bomb));
}

#[test]
fn crumbs_count_one_by_one() {
    // CVE-2026-47774: a cap on fields beside the cap on octets.
    let crumbs: Vec<_> = CONNECT.iter().copied().chain(std::iter::repeat_n(("cookie", "a"), 200)).collect();
    ends(tunnel(|_| {}), "refused_flood", 500, move |n| headers(3 + 2 * n, 0, &crumbs));
}

#[test]
fn tables_are_never_shared_between_connections() {
    // CVE-2024-7246: what one connection put into its table is unknown to the next.
    let seed = [block(CONNECT)[1..].to_vec(), vec![0x40, 1, b'x', 1, b'y']].concat();
    let mut first = Intruder::client(|_| {});
    first.send(&[PREFACE.to_vec(), settings(&[]), frame(1, END_HEADERS, 1, &seed)].concat());
    assert!(first.send(&frame(1, END_HEADERS, 3, &[&block(CONNECT)[1..], &[0xbe]].concat())));
    assert_eq!(first.apps().count(), 2);
    let mut second = Intruder::client(|_| {});
    second.send(&[PREFACE.to_vec(), settings(&[])].concat());
    second.send(&frame(1, END_HEADERS, 1, &[&block(CONNECT)[1..], &[0xbe]].concat()));
    assert_eq!(second.ended(), Some(("compression", false)));
}

#[test]
fn violations_end_the_tunnel_by_name_too() {
    // Arithmetic of padding (h2 0.4.15), pushes, overflown windows, wrong order.
    for (reason, wire) in [
        ("padding", data(1, PADDED, &[9, 0])),
        ("push", frame(5, END_HEADERS, 1, &[0, 0, 0, 2])),
        ("window_overflow", window_update(0, 0x7fff_ffff)),
        ("zero_increment", window_update(0, 0)),
        ("wrong_stream", data(0, 0, b"x")),
        ("idle_stream", data(9, 0, b"x")),
        ("frame_too_long", frame(0, 0, 1, &vec![0; (1 << 20) + 1])),
        ("setting", settings(&[(2, 7)])),
        ("stream_order", [connect(9), connect(7)].concat()),
    ] {
        let mut it = tunnel(|_| {});
        assert!(!it.send(&wire), "{reason}");
        assert_eq!(it.ended(), Some((reason, false)));
        leaves_nothing(&mut it);
    }
}

#[test]
fn resets_then_goaway_leave_nothing() {
    // CVE-2023-35945, CVE-2021-32778: the tables are empty when the connection is, and emptying is linear.
    let mut it = tunnel(|_| {});
    let requests: Vec<u8> = (1..150).flat_map(|n| connect(1 + 2 * n)).collect();
    it.send(&requests);
    assert_eq!(it.shard.connections(), 150);
    let resets: Vec<u8> = (1..150).flat_map(|n| reset(1 + 2 * n, ErrorCode::CANCEL)).collect();
    it.send(&[resets, goaway(0, ErrorCode::NO_ERROR)].concat());
    assert_eq!(it.shard.connections(), 1);
    it.send(&reset(1, ErrorCode::CANCEL));
    assert_eq!(it.shard.connections(), 0);
}
