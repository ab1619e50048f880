//! The hot path allocates nothing: a counting allocator under two tunnels with real TLS.
//!
//! A test binary of its own, because the counter sees the whole process.
use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use adit_core::buffer::BufferPool;
use adit_core::hbone::{Authority, ConnectRequest, Tunnel, TunnelConfig, TunnelEvent};
use adit_core::http2::StreamId;
use adit_core::identity::IdentitySet;
use adit_core::time::Instant;
use adit_core::tls::{RecordMode, Session};
use adit_testkit::pki::Ca;

struct Counting;

static ALLOCATIONS: AtomicUsize = AtomicUsize::new(0);

#[expect(unsafe_code, reason = "a global allocator cannot be written without")]
// SAFETY: every call is passed on to the system's allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: as our caller promises.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, place: *mut u8, layout: Layout) {
        // SAFETY: as our caller promises.
        unsafe { System.dealloc(place, layout) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

const NOW: Instant = Instant::from_millis(1);

struct Half {
    tunnel: Tunnel,
    pool: BufferPool,
}

/// Flushes `from` and hands what is on its wire to `to`, as often as there is something.
fn carry(from: &mut Half, to: &mut Half) -> bool {
    let mut moved = false;
    from.tunnel.flush(NOW, &mut from.pool).unwrap();
    loop {
        let (mut taken, area) = (0, to.tunnel.lend_input(&mut to.pool));
        for slice in from.tunnel.wire() {
            let n = slice.len().min(area.len() - taken);
            area[taken..taken + n].copy_from_slice(&slice[..n]);
            taken += n;
        }
        from.tunnel.handle_written(taken, &mut from.pool);
        if taken > 0 {
            to.tunnel.handle_input(NOW, taken, &mut to.pool).unwrap();
        }
        while let Some(event) = to.tunnel.poll_event() {
            match event {
                TunnelEvent::Request { stream, .. } => to.tunnel.accept(NOW, stream, None),
                TunnelEvent::Data { stream } => {
                    let n = to.tunnel.pieces(stream).map(<[u8]>::len).sum();
                    to.tunnel.delivered(stream, n, &mut to.pool);
                }
                _ => {}
            }
        }
        to.tunnel.settle(&mut to.pool);
        if taken == 0 {
            return moved;
        }
        moved = true;
    }
}

/// One turn: each of `streams` sends one message of up to `octets`.
fn turn(from: &mut Half, to: &mut Half, streams: &[StreamId], octets: usize) -> usize {
    let mut sent = 0;
    for &stream in streams {
        if let Some(mut lend) = from.tunnel.lend_data(stream, &mut from.pool) {
            let n = lend.octets().min(octets);
            lend.areas().for_each(|area| area.fill(7));
            from.tunnel.commit_data(stream, n);
            sent += n;
        }
    }
    while carry(from, to) | carry(to, from) {}
    sent
}

#[test]
fn messages_small_and_large_cost_no_allocation() {
    let ca = Ca::new();
    let (at_client, at_server) =
        (ca.context("client", RecordMode::InPlace), ca.context("server", RecordMode::InPlace));
    let expected = IdentitySet::single(at_server.identity().clone());
    let half = |tunnel| Half { tunnel, pool: BufferPool::default() };
    let session = Session::client(&at_client, &expected).unwrap();
    let mut client = half(Tunnel::client(session, Arc::new(TunnelConfig::client()), NOW));
    let session = Session::server(&at_server).unwrap();
    let mut server = half(Tunnel::server(session, Arc::new(TunnelConfig::server()), NOW));
    let request = ConnectRequest {
        authority: Authority::Address("10.0.0.1:80".parse().unwrap()),
        baggage: None,
        forwarded: None,
        traceparent: None,
        forwarded_network: None,
    };
    let streams: Vec<_> = (0..16).map(|_| client.tunnel.open(NOW, &request).unwrap()).collect();
    while carry(&mut client, &mut server) | carry(&mut server, &mut client) {}

    for (name, octets) in [("1 KiB on each of 16 streams", 1024), ("bulk", usize::MAX)] {
        for _ in 0..8 {
            turn(&mut client, &mut server, &streams, octets);
            turn(&mut server, &mut client, &streams, octets);
        }
        let before = ALLOCATIONS.load(Ordering::Relaxed);
        let mut sent = 0;
        for _ in 0..50 {
            sent += turn(&mut client, &mut server, &streams, octets);
            sent += turn(&mut server, &mut client, &streams, octets);
        }
        let made = ALLOCATIONS.load(Ordering::Relaxed) - before;
        assert!(sent >= 100 * 16 * 1000, "{name}: only {sent} octets moved");
        assert_eq!(made, 0, "{name}: {made} allocations for {sent} octets");
    }
}
