//! Our client, hyper's server.
use std::io::ErrorKind;
use std::sync::{Arc, Mutex};

use adit_core::hbone::TunnelError;
use adit_core::http2::{ErrorCode, Initiator, OpenError};
use adit_testkit::wire::Script;
use tokio::sync::mpsc::unbounded_channel;

use super::*;

fn never() -> Arc<Notify> {
    Arc::new(Notify::new())
}

fn echo(request: Request<Incoming>) -> Response<Empty<Bytes>> {
    upgrade(request, echoed)
}

#[test]
fn megabytes_there_and_back_and_keys_renewed() {
    for key_updates in [0, 40] {
        let (mut wire, peer) = to_hyper(key_updates, serving(), never(), echo);
        let sent = pattern(3 << 20);
        let stream = wire.open(&request(), Script::send(sent.clone())).expect("a stream");
        wire.run_until("everything to come back", |wire| wire.stream(stream).finished);
        assert!(wire.stream(stream).got == sent && wire.stream(stream).reset.is_none());
        wire.close(ErrorCode::NO_ERROR);
        wire.run_to_end();
        peer.join().expect("no panic").expect("an end in order");
    }
}

#[test]
fn tiny_windows() {
    for (window, octets) in [(1, 2_000), (100, 50_000), (16_384, 300_000)] {
        let mut settings = serving();
        settings.initial_stream_window_size(window);
        let (mut wire, _peer) = to_hyper(0, settings, never(), echo);
        for _ in 0..3 {
            wire.open(&request(), Script::send(pattern(octets))).expect("a stream");
        }
        wire.run_until("every stream", |wire| wire.streams().all(|stream| stream.finished));
        assert!(wire.streams().all(|stream| stream.got == pattern(octets)), "window {window}");
    }
}

#[test]
fn many_streams_and_more_behind_them() {
    let mut settings = serving();
    settings.max_concurrent_streams(50);
    let (mut wire, _peer) = to_hyper(0, settings, never(), echo);
    wire.run_until("SETTINGS", |wire| wire.seen().limit == Some(50));
    let mut opened = 0;
    while opened < 300 {
        match wire.open(&request(), Script::send(pattern(10_000))) {
            Ok(_) => opened += 1,
            Err(OpenError::Full(50)) => wire.run_until("a free place", |wire| wire.open_streams() < 50),
            Err(error) => panic!("{error}"),
        }
    }
    wire.run_until("every stream", |wire| wire.streams().all(|stream| stream.finished));
    assert!(wire.streams().all(|stream| stream.got == pattern(10_000) && stream.reset.is_none()));
}

#[test]
fn refusals_are_told() {
    let (mut wire, _peer) = to_hyper(0, serving(), never(), |_| {
        Response::builder().status(503).body(Empty::new()).expect("a response")
    });
    let stream = wire.open(&request(), Script::default()).expect("a stream");
    wire.run_until("the refusal", |wire| wire.stream(stream).closed);
    assert_eq!((wire.stream(stream).status, wire.open_streams()), (Some(503), 0));
}

/// hyper has no way to say a code. A stream that its server drops while the client sends is ended, and the client is asked
/// to stop (RFC 9113 §8.1).
#[test]
fn a_stream_that_hyper_drops_is_ended_and_reset() {
    let (mut wire, _peer) = to_hyper(0, serving(), never(), |request| {
        upgrade(request, |mut stream| async move {
            stream.read_exact(&mut [0; 4]).await.expect("four octets");
        })
    });
    let script = Script { send: b"some".to_vec(), ..Script::default() };
    let stream = wire.open(&request(), script).expect("a stream");
    wire.run_until("the end", |wire| wire.stream(stream).closed);
    let seen = wire.stream(stream);
    assert_eq!((seen.finished, seen.reset), (true, Some((ErrorCode::NO_ERROR, Initiator::Remote))));
}

/// Why an abort is CONNECT_ERROR on the wire: hyper reads CANCEL and NO_ERROR as an end in order.
#[test]
fn what_hyper_makes_of_our_resets() {
    let (told, mut ends) = unbounded_channel();
    let (mut wire, _peer) = to_hyper(0, serving(), never(), move |request| {
        let told = told.clone();
        upgrade(request, |mut stream| async move {
            let mut got = vec![];
            let end = stream.read_to_end(&mut got).await;
            told.send((got, end.map(|_| ()).map_err(|error| error.kind()))).expect("a listener");
        })
    });
    for (code, expected) in [
        (ErrorCode::CONNECT_ERROR, Err(ErrorKind::Other)),
        (ErrorCode::INTERNAL_ERROR, Err(ErrorKind::Other)),
        (ErrorCode::STREAM_CLOSED, Err(ErrorKind::BrokenPipe)),
        (ErrorCode::CANCEL, Ok(())),
        (ErrorCode::NO_ERROR, Ok(())),
    ] {
        let script = Script { send: b"some".to_vec(), ..Script::default() };
        let stream = wire.open(&request(), script).expect("a stream");
        wire.run_until("the answer", |wire| {
            wire.stream(stream).status.is_some() && wire.stream(stream).sent() == 4
        });
        wire.reset(stream, code);
        let mut end = None;
        wire.run_until("hyper to see the end", |_| {
            end = ends.try_recv().ok();
            end.is_some()
        });
        assert_eq!(end, Some((b"some".to_vec(), expected)), "{code:?}");
    }
    assert_eq!(wire.open_streams(), 0);
}

#[test]
fn goaway_in_flight_lets_streams_end_and_opens_no_more() {
    let stop = never();
    let (mut wire, peer) = to_hyper(0, serving(), Arc::clone(&stop), echo);
    let sent = pattern(1 << 20);
    let script = Script { send: sent.clone(), ..Script::default() };
    let stream = wire.open(&request(), script).expect("a stream");
    wire.run_until("the first octets", |wire| !wire.stream(stream).got.is_empty());
    stop.notify_one();
    wire.run_until("GOAWAY", |wire| wire.seen().goaway);
    assert_eq!(wire.open(&request(), Script::default()), Err(OpenError::GoingAway));
    wire.run_until("the echo", |wire| wire.stream(stream).got.len() == sent.len());
    assert!(wire.stream(stream).got == sent && !wire.stream(stream).finished);
    wire.reset(stream, ErrorCode::CANCEL);
    assert_eq!(wire.run_to_end(), TunnelError::Closed);
    peer.join().expect("no panic").expect("an end in order");
}

#[test]
fn huge_headers_both_ways() {
    let mut settings = serving();
    settings.max_header_list_size(64 << 10);
    let sizes = Mutex::new([10_000, 15_000, 20_000, 10].into_iter());
    let (mut wire, _peer) = to_hyper(0, settings, never(), move |request| {
        let asked = request.headers()["baggage"].len();
        let size = sizes.lock().expect("no panic").next().expect("as many streams as sizes");
        let mut response = upgrade(request, echoed);
        response.headers_mut().insert("x-asked", asked.into());
        response.headers_mut().insert("x-big", "x".repeat(size).parse().expect("a value"));
        response
    });
    // Ours reach it over several frames; what is above its limit it answers 431. Its answers above ours are never sent,
    // or cost their stream.
    for (ours, expected) in
        [(10_000, Some(200)), (40_000, Some(200)), (50_000, None), (80_000, Some(431)), (10, Some(200))]
    {
        let stream = wire.open(&huge_request(ours), Script::default()).expect("a stream");
        wire.run_until("an answer", |wire| {
            wire.stream(stream).status.is_some() || wire.stream(stream).closed
        });
        assert_eq!(wire.stream(stream).status, expected, "{ours}");
        assert_eq!(wire.seen().over, None);
    }
}
