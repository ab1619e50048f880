//! Our client, their server.
use std::time::Duration;

use adit_core::hbone::{TunnelConfig, TunnelError};
use adit_core::http2::{ErrorCode, Initiator, OpenError};
use adit_testkit::wire::Script;
use bytes::Bytes;
use h2::Reason;
use h2::server::{Builder, Connection};

use super::peer::*;

/// Echoes on every stream until the client goes.
async fn echo_server(mut connection: Connection<Io, Bytes>) {
    while let Some(Ok((request, mut respond))) = connection.accept().await {
        assert_eq!(
            (request.method().as_str(), request.uri().to_string().as_str()),
            ("CONNECT", "10.0.0.1:80")
        );
        let to = accept(&mut respond);
        tokio::spawn(echo(request.into_body(), to));
    }
}

#[test]
fn megabytes_there_and_back_and_keys_renewed_by_both() {
    for (key_updates, window) in [(0, 65_535), (40, 4 << 20)] {
        let mut settings = Builder::new();
        settings.initial_window_size(window).initial_connection_window_size(window.max(1 << 20));
        let (mut wire, peer) = to_h2_server(TunnelConfig::client(), key_updates, settings, echo_server);
        let sent = pattern(3 << 20);
        let stream = wire.open(&request(), Script::send(sent.clone())).expect("a stream");
        wire.run_until("everything to come back", |wire| wire.stream(stream).finished);
        let seen = wire.stream(stream);
        assert_eq!((seen.status, seen.reset), (Some(200), None));
        assert!(seen.got == sent, "{} octets came back", seen.got.len());
        assert_eq!(wire.open_streams(), 0);
        assert!(wire.seen().most_buffered <= (2 << 20) + (1 << 20), "{}", wire.seen().most_buffered);
        wire.close(ErrorCode::NO_ERROR);
        wire.run_to_end();
        peer.join().expect("a content peer");
    }
}

#[test]
fn tiny_windows() {
    for (window, octets) in [(1, 3_000), (7, 10_000), (100, 50_000), (16_384, 300_000)] {
        let mut settings = Builder::new();
        settings.initial_window_size(window);
        let (mut wire, _peer) = to_h2_server(TunnelConfig::client(), 0, settings, echo_server);
        let sent = pattern(octets);
        let streams: Vec<_> =
            (0..3).map(|_| wire.open(&request(), Script::send(sent.clone())).expect("a stream")).collect();
        wire.run_until("every stream", |wire| wire.streams().all(|stream| stream.finished));
        for stream in streams {
            assert!(wire.stream(stream).got == sent, "window {window}");
        }
    }
}

#[test]
fn a_hundred_streams_at_once_and_more_behind_them() {
    let mut settings = Builder::new();
    settings.max_concurrent_streams(100);
    let (mut wire, _peer) = to_h2_server(TunnelConfig::client(), 0, settings, echo_server);
    wire.run_until("SETTINGS", |wire| wire.seen().limit == Some(100));
    let sent = pattern(20_000);
    let mut opened = 0;
    while opened < 300 {
        match wire.open(&request(), Script::send(sent.clone())) {
            Ok(_) => opened += 1,
            Err(OpenError::Full(100)) => {
                assert_eq!(wire.open_streams(), 100);
                wire.run_until("a free place", |wire| wire.open_streams() < 100);
            }
            Err(error) => panic!("{error}"),
        }
    }
    wire.run_until("every stream", |wire| wire.streams().all(|stream| stream.finished));
    assert!(wire.streams().all(|stream| stream.got == sent && stream.reset.is_none()));
    assert_eq!(wire.open_streams(), 0);
}

#[test]
fn refusals_are_told_and_free_the_stream() {
    let (mut wire, peer) =
        to_h2_server(TunnelConfig::client(), 0, Builder::new(), |mut connection| async move {
            let mut statuses = [401, 503].into_iter();
            let mut bodies = vec![];
            while let Some(Ok((request, mut respond))) = connection.accept().await {
                let status = statuses.next().expect("two requests");
                let response = http::Response::builder().status(status).body(()).expect("a response");
                respond.send_response(response, true).expect("a live stream");
                bodies.push(request.into_body());
            }
            let mut reasons = vec![];
            for mut body in bodies {
                reasons.push(receive_all(&mut body).await.1.expect_err("a reset").reason());
            }
            reasons
        });
    for status in [401, 503] {
        let stream = wire.open(&request(), Script::default()).expect("a stream");
        wire.run_until("the refusal", |wire| wire.stream(stream).closed);
        assert_eq!(wire.stream(stream).status, Some(status));
        assert_eq!(wire.open_streams(), 0);
    }
    wire.close(ErrorCode::NO_ERROR);
    wire.run_to_end();
    assert_eq!(peer.join().expect("a content peer"), [Some(Reason::CANCEL); 2]);
}

#[test]
fn resets_reach_us_with_their_code_and_what_came_before() {
    let codes = [
        Reason::CONNECT_ERROR,
        Reason::NO_ERROR,
        Reason::CANCEL,
        Reason::STREAM_CLOSED,
        Reason::INTERNAL_ERROR,
    ];
    let (mut wire, _peer) =
        to_h2_server(TunnelConfig::client(), 0, Builder::new(), move |mut connection| async move {
            let mut codes = codes.into_iter();
            let mut bodies = vec![];
            while let Some(Ok((request, mut respond))) = connection.accept().await {
                let code = codes.next().expect("as many streams as codes");
                let mut to = accept(&mut respond);
                bodies.push(request.into_body());
                tokio::spawn(async move {
                    to.send_data(Bytes::from_static(b"before"), false).expect("a live stream");
                    // h2 drops what is queued when it resets: let it leave first.
                    tokio::time::sleep(Duration::from_millis(20)).await;
                    to.send_reset(code);
                });
            }
        });
    for code in codes {
        let stream = wire.open(&request(), Script::default()).expect("a stream");
        wire.run_until("the reset", |wire| wire.stream(stream).closed);
        let seen = wire.stream(stream);
        assert_eq!(seen.reset, Some((ErrorCode(code.into()), Initiator::Remote)));
        assert_eq!((seen.got.as_slice(), seen.finished), (&b"before"[..], false));
    }
}

#[test]
fn our_resets_reach_them_with_their_code() {
    let (mut wire, peer) =
        to_h2_server(TunnelConfig::client(), 0, Builder::new(), |mut connection| async move {
            let (told, mut ends) = tokio::sync::mpsc::unbounded_channel();
            while let Some(Ok((request, mut respond))) = connection.accept().await {
                let to = accept(&mut respond);
                let told = told.clone();
                tokio::spawn(async move {
                    let (got, end) = receive_all(&mut request.into_body()).await;
                    drop(to);
                    told.send((got, end.err().and_then(|error| error.reason()))).expect("a listener");
                });
            }
            drop(told);
            let mut all = vec![];
            while let Some(end) = ends.recv().await {
                all.push(end);
            }
            all
        });
    let codes = [ErrorCode::CONNECT_ERROR, ErrorCode::CANCEL, ErrorCode::NO_ERROR];
    for code in codes {
        let script = Script { send: b"some".to_vec(), ..Script::default() };
        let stream = wire.open(&request(), script).expect("a stream");
        wire.run_until("the answer", |wire| {
            wire.stream(stream).status.is_some() && wire.stream(stream).sent() == 4
        });
        wire.reset(stream, code);
        wire.run_until("the place to be free", |wire| wire.open_streams() == 0);
    }
    wire.close(ErrorCode::NO_ERROR);
    wire.run_to_end();
    let ends = peer.join().expect("a content peer");
    let reasons: Vec<_> = ends.iter().map(|(_, reason)| *reason).collect();
    assert_eq!(reasons, codes.map(|code| Some(Reason::from(code.0))));
}

#[test]
fn goaway_in_flight_lets_streams_end_and_opens_no_more() {
    let (mut wire, peer) =
        to_h2_server(TunnelConfig::client(), 0, Builder::new(), |mut connection| async move {
            let (request, mut respond) = connection.accept().await.expect("a request").expect("a good one");
            let to = accept(&mut respond);
            tokio::spawn(echo(request.into_body(), to));
            connection.graceful_shutdown();
            // Until the stream has ended and the connection with it.
            assert!(connection.accept().await.is_none());
        });
    let sent = pattern(1 << 20);
    let stream = wire.open(&request(), Script { send: sent.clone(), ..Script::default() }).expect("a stream");
    wire.run_until("GOAWAY", |wire| wire.seen().goaway);
    assert_eq!(wire.open(&request(), Script::default()), Err(OpenError::GoingAway));
    wire.run_until("the echo", |wire| wire.stream(stream).got.len() == sent.len());
    assert!(wire.stream(stream).got == sent && !wire.stream(stream).finished);
    wire.reset(stream, ErrorCode::CANCEL);
    assert_eq!(wire.run_to_end(), TunnelError::Closed);
    peer.join().expect("a content peer");
}

#[test]
fn an_abrupt_goaway_ends_every_stream() {
    let (mut wire, peer) =
        to_h2_server(TunnelConfig::client(), 0, Builder::new(), |mut connection| async move {
            let (request, mut respond) = connection.accept().await.expect("a request").expect("a good one");
            let to = accept(&mut respond);
            connection.abrupt_shutdown(Reason::INTERNAL_ERROR);
            let _ = connection.accept().await;
            drop((request, to));
        });
    let stream = wire.open(&request(), Script::default()).expect("a stream");
    wire.run_to_end();
    assert!(wire.seen().goaway);
    assert!(!wire.stream(stream).finished);
    let _ = peer.join();
}

#[test]
fn trailers_end_the_peers_half() {
    let (mut wire, _peer) =
        to_h2_server(TunnelConfig::client(), 0, Builder::new(), |mut connection| async move {
            let (request, mut respond) = connection.accept().await.expect("a request").expect("a good one");
            let mut to = accept(&mut respond);
            to.send_data(Bytes::from_static(b"body"), false).expect("a live stream");
            let mut trailers = http::HeaderMap::new();
            trailers.insert("grpc-status", "0".parse().expect("a value"));
            to.send_trailers(trailers).expect("a live stream");
            drop(request);
            let _ = connection.accept().await;
        });
    let stream = wire.open(&request(), Script { finish: true, ..Script::default() }).expect("a stream");
    wire.run_until("the end", |wire| wire.stream(stream).closed);
    let seen = wire.stream(stream);
    assert_eq!((seen.got.as_slice(), seen.finished), (&b"body"[..], true));
}

#[test]
fn big_answers_are_read_up_to_our_limit_and_cost_their_stream_beyond() {
    let sizes = [10_000, 20_000, 15_000];
    let (mut wire, _peer) =
        to_h2_server(TunnelConfig::client(), 0, Builder::new(), move |mut connection| async move {
            let mut sizes = sizes.into_iter();
            let mut kept = vec![];
            while let Some(Ok((request, mut respond))) = connection.accept().await {
                let mut response = http::Response::new(());
                let value = "x".repeat(sizes.next().expect("as many streams as sizes"));
                response.headers_mut().insert("x-big", value.parse().expect("a value"));
                // h2 itself may refuse what is above the limit that we announced.
                match respond.send_response(response, false) {
                    Ok(to) => kept.push((request, Some(to))),
                    Err(_) => respond.send_reset(Reason::INTERNAL_ERROR),
                }
            }
        });
    for size in sizes {
        let stream = wire.open(&request(), Script::default()).expect("a stream");
        wire.run_until("an answer", |wire| {
            wire.stream(stream).status.is_some() || wire.stream(stream).closed
        });
        assert_eq!(wire.stream(stream).status.is_some(), size < 16_384, "{size}");
        assert_eq!(wire.seen().over, None);
    }
}

#[test]
fn pings_of_both_are_answered() {
    let mut config = TunnelConfig::client();
    config.http2.ping_interval = Duration::from_millis(30);
    config.http2.ping_timeout = Duration::from_secs(5);
    let (mut wire, peer) = to_h2_server(config, 0, Builder::new(), |mut connection| async move {
        let mut pings = connection.ping_pong().expect("not taken yet");
        let pinging = tokio::spawn(async move {
            for _ in 0..20 {
                pings.ping(h2::Ping::opaque()).await.expect("an answer");
            }
        });
        let (request, mut respond) = connection.accept().await.expect("a request").expect("a good one");
        tokio::select! {
            _ = connection.accept() => panic!("the connection ended"),
            done = pinging => done.expect("twenty answers"),
        }
        let to = accept(&mut respond);
        tokio::spawn(echo(request.into_body(), to));
        let _ = connection.accept().await;
    });
    let stream = wire.open(&request(), Script::send("x")).expect("a stream");
    wire.run_until("the answer", |wire| wire.stream(stream).finished);
    let until = std::time::Instant::now() + Duration::from_millis(200);
    wire.run_until("several of our PINGs", |_| std::time::Instant::now() > until);
    assert_eq!(wire.seen().over, None);
    wire.close(ErrorCode::NO_ERROR);
    wire.run_to_end();
    peer.join().expect("a content peer");
}
