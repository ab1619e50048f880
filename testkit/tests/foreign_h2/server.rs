//! Their client, our server.
use adit_core::hbone::{TunnelConfig, TunnelError};
use adit_core::http2::{ErrorCode, Initiator};
use adit_testkit::wire::{Answer, Script};
use bytes::Bytes;
use h2::Reason;
use h2::client::Builder;

use super::peer::*;

fn always(script: Script) -> Answer {
    Box::new(move |_| Ok(script.clone()))
}

#[test]
fn megabytes_there_and_back_and_keys_renewed() {
    for (key_updates, window) in [(0, 65_535), (40, 4 << 20)] {
        let mut settings = Builder::new();
        settings.initial_window_size(window).initial_connection_window_size(window.max(1 << 20));
        let sent = pattern(3 << 20);
        let answer = always(Script::echo());
        let (mut wire, peer) = to_our_server(
            TunnelConfig::server(),
            key_updates,
            settings,
            answer,
            |requests, connection| async {
                let driving = tokio::spawn(connection);
                let got = exchange(requests, pattern(3 << 20)).await;
                driving.await.expect("no panic").expect("an end in order");
                got
            },
        );
        wire.run_to_end();
        assert!(peer.join().expect("a content peer") == sent);
        assert_eq!(wire.open_streams(), 0);
    }
}

#[test]
fn tiny_windows() {
    for (window, octets) in [(1, 3_000), (7, 10_000), (100, 50_000)] {
        let mut settings = Builder::new();
        settings.initial_window_size(window);
        let mut config = TunnelConfig::server();
        config.http2.initial_window = window;
        let answer = always(Script::echo());
        let (mut wire, peer) =
            to_our_server(config, 0, settings, answer, move |requests, connection| async move {
                let driving = tokio::spawn(connection);
                let got = exchange(requests, pattern(octets)).await;
                driving.await.expect("no panic").expect("an end in order");
                got
            });
        wire.run_to_end();
        assert!(peer.join().expect("a content peer") == pattern(octets), "window {window}");
    }
}

#[test]
fn a_hundred_streams_at_once_and_more_behind_them() {
    let mut config = TunnelConfig::server();
    config.http2.max_concurrent_streams = 100;
    let answer = always(Script::echo());
    let (mut wire, peer) = to_our_server(config, 0, Builder::new(), answer, |requests, connection| async {
        let driving = tokio::spawn(connection);
        let tasks: Vec<_> =
            (0..300).map(|_| tokio::spawn(exchange(requests.clone(), pattern(20_000)))).collect();
        drop(requests);
        for task in tasks {
            assert!(task.await.expect("no panic") == pattern(20_000));
        }
        driving.await.expect("no panic").expect("an end in order");
    });
    wire.run_to_end();
    peer.join().expect("a content peer");
    assert_eq!(wire.seen().requests.len(), 300);
    assert_eq!(wire.open_streams(), 0);
}

#[test]
fn statuses_and_wrong_requests() {
    let answer: Answer = Box::new(|request| if request.traceparent.is_some() { Err(503) } else { Err(401) });
    let (mut wire, peer) =
        to_our_server(TunnelConfig::server(), 0, Builder::new(), answer, |requests, connection| async {
            let driving = tokio::spawn(connection);
            let mut requests = requests.ready().await.expect("a live connection");
            let mut statuses = vec![];
            let get = http::Request::builder().uri("https://10.0.0.1:80/").body(()).expect("a request");
            let nowhere =
                http::Request::builder().method("CONNECT").uri("10.0.0.1").body(()).expect("a request");
            let parent = "00-00000000000000000000000000000001-0000000000000002-00";
            let traced =
                http::Request::builder().method("CONNECT").uri("10.0.0.1:80").header("traceparent", parent);
            for request in [connect(), get, nowhere, traced.body(()).expect("a request")] {
                let (response, mut to) = requests.send_request(request, false).expect("a stream");
                let response = response.await.expect("an answer");
                statuses.push(response.status().as_u16());
                assert!(response.headers().is_empty(), "refusals have no headers");
                assert!(response.body().is_end_stream(), "and no body");
                // And the client is asked to stop.
                let reason = std::future::poll_fn(|cx| to.poll_reset(cx)).await.expect("a reset");
                assert_eq!(reason, Reason::NO_ERROR);
            }
            drop(requests);
            driving.await.expect("no panic").expect("an end in order");
            statuses
        });
    wire.run_to_end();
    assert_eq!(peer.join().expect("a content peer"), [401, 400, 400, 503]);
    let texts: Vec<_> = wire
        .seen()
        .requests
        .iter()
        .filter_map(|request| request.as_ref().err())
        .map(ToString::to_string)
        .collect();
    assert_eq!(texts, ["expected method CONNECT, got GET", "no valid authority pseudo header: 10.0.0.1"]);
}

#[test]
fn resets_both_ways_keep_their_code() {
    // Theirs: told with the code; and a dropped stream of h2 is CANCEL.
    let answer = always(Script { send: b"hello".to_vec(), ..Script::default() });
    let (mut wire, peer) =
        to_our_server(TunnelConfig::server(), 0, Builder::new(), answer, |requests, connection| async {
            let driving = tokio::spawn(connection);
            let mut requests = requests.ready().await.expect("a live connection");
            for code in [Some(Reason::CONNECT_ERROR), Some(Reason::NO_ERROR), None] {
                let (response, mut to) = requests.send_request(connect(), false).expect("a stream");
                let mut body = response.await.expect("an answer").into_body();
                let data = body.data().await.expect("data").expect("good data");
                assert_eq!(&data[..], b"hello");
                match code {
                    Some(code) => to.send_reset(code),
                    None => drop((to, body)),
                }
            }
            // Ours, on the last stream.
            let (response, to) = requests.send_request(connect(), false).expect("a stream");
            let mut body = response.await.expect("an answer").into_body();
            let (got, end) = receive_all(&mut body).await;
            drop((requests, to, body));
            driving.await.expect("no panic").expect("an end in order");
            (got, end.expect_err("a reset").reason())
        });
    wire.run_until("the last stream", |wire| {
        wire.streams().count() == 4 && wire.streams().all(|s| s.sent() == 5)
    });
    let last = adit_core::http2::StreamId(7);
    wire.run_until("three resets", |wire| wire.streams().filter(|stream| stream.closed).count() == 3);
    let codes: Vec<_> = wire.streams().filter_map(|stream| stream.reset).collect();
    let expected = [ErrorCode::CONNECT_ERROR, ErrorCode::NO_ERROR, ErrorCode::CANCEL];
    assert_eq!(codes, expected.map(|code| (code, Initiator::Remote)));
    wire.reset(last, ErrorCode::CONNECT_ERROR);
    assert_eq!(wire.run_to_end(), TunnelError::Closed);
    let (got, reason) = peer.join().expect("a content peer");
    assert_eq!((got.as_slice(), reason), (&b"hello"[..], Some(Reason::CONNECT_ERROR)));
}

#[test]
fn our_drain_lets_streams_end() {
    let (mut wire, peer) = to_our_server(
        TunnelConfig::server(),
        0,
        Builder::new(),
        always(Script::echo()),
        |requests, connection| async {
            let driving = tokio::spawn(connection);
            let mut requests = requests.ready().await.expect("a live connection");
            let (response, mut to) = requests.send_request(connect(), false).expect("a stream");
            let body = response.await.expect("an answer").into_body();
            // The second step of GOAWAY makes new requests fail.
            while requests.clone().ready().await.is_ok() {
                tokio::task::yield_now().await;
            }
            send_all(&mut to, pattern(500_000), true).await.expect("everything sent");
            let (got, end) = receive_all(&mut { body }).await;
            end.expect("an end in order");
            driving.await.expect("no panic").expect("NO_ERROR");
            got
        },
    );
    wire.run_until("the stream", |wire| wire.streams().count() == 1);
    wire.drain();
    wire.run_until("the drain", |wire| wire.seen().drained);
    wire.close(ErrorCode::NO_ERROR);
    assert_eq!(wire.run_to_end(), TunnelError::Closed);
    assert!(peer.join().expect("a content peer") == pattern(500_000));
}

#[test]
fn a_huge_request_is_read_up_to_our_limit() {
    let answer = always(Script::default());
    let (mut wire, peer) =
        to_our_server(TunnelConfig::server(), 0, Builder::new(), answer, |requests, connection| async {
            let driving = tokio::spawn(connection);
            let mut requests = requests.ready().await.expect("a live connection");
            let mut answers = vec![];
            let mut kept = vec![];
            for size in [100, 30_000, 60_000, 70_000, 100] {
                let request = http::Request::builder()
                    .method("CONNECT")
                    .uri("10.0.0.1:80")
                    .header("x", "y".repeat(size));
                // h2 checks the limit that we announced, too.
                match requests.send_request(request.body(()).expect("a request"), false) {
                    Ok((response, to)) => {
                        kept.push(to);
                        answers.push(response.await.map(|response| response.status().as_u16()).ok());
                    }
                    Err(_) => answers.push(None),
                }
            }
            drop((requests, kept));
            driving.await.expect("no panic").expect("an end in order");
            answers
        });
    wire.run_to_end();
    assert_eq!(peer.join().expect("a content peer"), [Some(200), Some(200), Some(200), None, Some(200)]);
}

#[test]
fn trailers_end_the_clients_half() {
    let answer = always(Script::echo());
    let (mut wire, peer) =
        to_our_server(TunnelConfig::server(), 0, Builder::new(), answer, |requests, connection| async {
            let driving = tokio::spawn(connection);
            let mut requests = requests.ready().await.expect("a live connection");
            let (response, mut to) = requests.send_request(connect(), false).expect("a stream");
            let response = response.await.expect("an answer");
            to.send_data(Bytes::from_static(b"body"), false).expect("a live stream");
            let mut trailers = http::HeaderMap::new();
            trailers.insert("x-sum", "1".parse().expect("a value"));
            to.send_trailers(trailers).expect("a live stream");
            let (got, end) = receive_all(&mut response.into_body()).await;
            end.expect("an end in order");
            drop((requests, to));
            driving.await.expect("no panic").expect("an end in order");
            got
        });
    wire.run_to_end();
    assert_eq!(peer.join().expect("a content peer"), b"body");
}

#[test]
fn a_client_that_vanishes_with_streams_open_cut_them() {
    let answer = always(Script::echo());
    let (mut wire, peer) =
        to_our_server(TunnelConfig::server(), 0, Builder::new(), answer, |requests, connection| async {
            let mut requests = requests.ready().await.expect("a live connection");
            let (response, to) = requests.send_request(connect(), false).expect("a stream");
            let driving = tokio::spawn(connection);
            let body = response.await.expect("an answer").into_body();
            // Without a word: the runtime drops the task and its socket.
            driving.abort();
            drop((body, to));
        });
    assert_eq!(wire.run_to_end(), TunnelError::Truncated);
    peer.join().expect("a content peer");
}
