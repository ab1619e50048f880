//! Octets through a tunnel: early requests, pieces lent and copied, credit, batches.
use std::vec;
use std::vec::Vec;

use super::two::{NOW, established, fresh, open, request, settle};
use crate::buffer::Class;
use crate::hbone::{TunnelConfig, TunnelEvent};
use crate::tls::MAX_PAYLOAD;

#[test]
fn the_first_request_rides_in_the_clients_last_flight() {
    let (mut client, mut server) = fresh(TunnelConfig::client(), TunnelConfig::server());
    let stream = client.tunnel.open(NOW, &request()).unwrap();
    assert!(
        client.tunnel.lend_data(stream, &mut client.pool).is_none(),
        "nothing is sealed before TLS is complete"
    );
    server.input(&client.output()).unwrap();
    client.input(&server.output()).unwrap();
    // One round trip: now preface, SETTINGS and the request follow the client's Finished at once.
    server.input(&client.output()).unwrap();
    let events = server.events();
    assert!(
        events
            .iter()
            .any(|event| matches!(event, TunnelEvent::Request { stream: s, request: Ok(_) } if *s == stream)),
        "{events:?}"
    );
}

#[test]
fn nothing_is_held_while_nothing_moves() {
    let (mut client, mut server) = established();
    let stream = open(&mut client, &mut server);
    client.send(stream, &[1; 100_000]);
    settle(&mut client, &mut server);
    server.tunnel.delivered(stream, 100_000, &mut server.pool);
    settle(&mut client, &mut server);
    assert_eq!((client.pool.lent(), server.pool.lent()), (0, 0));
    assert_eq!((client.tunnel.buffered(), server.tunnel.buffered()), (0, 0));
    assert!(!client.tunnel.wants_write() && !server.tunnel.wants_write());
}

#[test]
fn pieces_are_lent_first_and_copied_when_nobody_takes_them() {
    let (mut client, mut server) = established();
    let stream = open(&mut client, &mut server);
    let data: Vec<u8> = (0..40_000_u32).map(|i| ((i * 7) >> 3) as u8).collect();
    assert_eq!(client.send(stream, &data), data.len());
    server.input(&client.output()).unwrap();
    assert_eq!(server.events(), [TunnelEvent::Data { stream }], "told once");
    assert_eq!(server.tunnel.held(), 0, "nothing is copied while it is lent");
    assert!(server.tunnel.pieces(stream).count() >= 3, "a piece per record");
    // The application takes some; the rest is copied, more arrives behind it.
    server.tunnel.delivered(stream, 12_345, &mut server.pool);
    server.tunnel.settle(&mut server.pool);
    assert!(server.tunnel.held() > 0);
    assert_eq!(server.pending(stream), data[12_345..]);
    client.send(stream, b"more");
    server.input(&client.output()).unwrap();
    assert_eq!(server.events(), [], "it was not empty");
    assert_eq!(server.pending(stream), [&data[12_345..], b"more"].concat());
    server.tunnel.delivered(stream, usize::MAX, &mut server.pool);
    server.tunnel.settle(&mut server.pool);
    assert_eq!((server.tunnel.held(), server.pool.lent()), (0, 0));
    client.send(stream, b"again");
    server.input(&client.output()).unwrap();
    assert_eq!(server.events(), [TunnelEvent::Data { stream }]);
}

#[test]
fn credit_is_returned_only_for_what_was_delivered() {
    let (mut client, mut server) = established();
    let stream = open(&mut client, &mut server);
    let window = 4 << 20;
    let mut sent = 0;
    for _ in 0..20 {
        sent += client.send(stream, &vec![0; window]);
        settle(&mut client, &mut server);
    }
    assert_eq!(sent, window, "a stalled application stops its own stream at the window");
    client.events();
    server.tunnel.delivered(stream, window / 2, &mut server.pool);
    settle(&mut client, &mut server);
    assert_eq!(client.events(), [TunnelEvent::Writable { stream }]);
    let mut more = 0;
    for _ in 0..4 {
        more += client.send(stream, &vec![0; window]);
        settle(&mut client, &mut server);
    }
    assert_eq!(more, window / 2);
}

#[test]
fn a_full_queue_pauses_applications_and_wakes_them_when_half_has_left() {
    let (mut client, mut server) = established();
    let stream = open(&mut client, &mut server);
    let most = TunnelConfig::client().max_queued;
    let sent = client.send(stream, &vec![0; 4 << 20]);
    assert!(sent <= most && sent > most - 2 * MAX_PAYLOAD, "{sent}");
    client.tunnel.flush(NOW, &mut client.pool).unwrap();
    client.tunnel.handle_written(1000, &mut client.pool);
    assert_eq!(client.events(), []);
    client.tunnel.handle_written(most / 2 + 5000, &mut client.pool);
    assert_eq!(client.events(), [TunnelEvent::Writable { stream }]);
}

#[test]
fn a_stream_in_bulk_is_lent_sixty_three_records_and_an_idle_one_a_single_record() {
    let (mut client, mut server) = established();
    let (bulk, idle) = (open(&mut client, &mut server), open(&mut client, &mut server));
    let mut lent = Vec::new();
    for _ in 0..5 {
        let Some(lend) = client.tunnel.lend_data(bulk, &mut client.pool) else {
            panic!("window and queue are open")
        };
        let n = lend.octets();
        lent.push(n.div_ceil(MAX_PAYLOAD));
        client.tunnel.commit_data(bulk, n);
        settle(&mut client, &mut server);
        server.tunnel.delivered(bulk, n, &mut server.pool);
        settle(&mut client, &mut server);
    }
    assert_eq!(lent, [1, 4, 16, 63, 63]);
    let lend = client.tunnel.lend_data(idle, &mut client.pool).unwrap();
    assert!(lend.octets() < MAX_PAYLOAD);
}

#[test]
fn a_peer_that_stops_in_the_middle_of_a_record_pins_one_small_buffer() {
    let (mut client, mut server) = established();
    let stream = open(&mut client, &mut server);
    let mut wire = Vec::new();
    while client.send(stream, &vec![0; 200_000]) == 200_000 && wire.len() < 1 << 20 {
        wire.extend(client.output());
    }
    server.input(&wire[..wire.len() - 10]).unwrap();
    server.tunnel.delivered(stream, usize::MAX, &mut server.pool);
    server.tunnel.settle(&mut server.pool);
    assert!(server.pool.lent() <= Class::Small.octets());
    server.input(&wire[wire.len() - 10..]).unwrap();
    assert!(!server.pending(stream).is_empty());
}

#[test]
fn reads_and_writes_of_nothing_change_nothing() {
    // A driver that is woken for nothing must not be kept awake by it.
    let (mut client, mut server) = established();
    let stream = open(&mut client, &mut server);
    client.tunnel.lend_input(&mut client.pool);
    client.tunnel.handle_input(NOW, 0, &mut client.pool).unwrap();
    client.tunnel.handle_written(0, &mut client.pool);
    assert!(client.tunnel.lend_data(stream, &mut client.pool).is_some());
    client.tunnel.commit_data(stream, 0);
    client.tunnel.delivered(stream, 0, &mut client.pool);
    assert!(client.output().is_empty() && client.events().is_empty());
    assert!(!client.tunnel.wants_write());
    assert_eq!(client.pool.lent(), 0);
}

#[test]
fn an_idle_stream_is_small() {
    // Design §5: what a tunnel keeps per stream beside HTTP/2's own.
    assert!(size_of::<super::super::Stream>() <= 64, "{}", size_of::<super::super::Stream>());
}
