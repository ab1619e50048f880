//! hyper's client, our server.
use adit_core::hbone::TunnelError;
use adit_core::http2::{ErrorCode, Initiator};
use adit_testkit::wire::Script;

use super::*;

fn always(script: Script) -> Answer {
    Box::new(move |_| Ok(script.clone()))
}

#[test]
fn megabytes_there_and_back_and_keys_renewed() {
    for key_updates in [0, 40] {
        let answer = always(Script::echo());
        let (mut wire, peer) =
            from_hyper(TunnelConfig::server(), key_updates, asking(), answer, |mut requests| async move {
                there_and_back(tunnel(&mut requests).await, pattern(3 << 20)).await
            });
        wire.run_to_end();
        let (got, end) = peer.join().expect("a content peer");
        end.expect("an end in order");
        assert!(got == pattern(3 << 20), "{} octets came back", got.len());
        assert_eq!(wire.open_streams(), 0);
    }
}

#[test]
fn tiny_windows() {
    for (window, octets) in [(1, 2_000), (100, 50_000), (16_384, 300_000)] {
        let mut settings = asking();
        settings.initial_stream_window_size(window);
        let mut config = TunnelConfig::server();
        config.http2.initial_window = window;
        let (mut wire, peer) =
            from_hyper(config, 0, settings, always(Script::echo()), move |mut requests| async move {
                there_and_back(tunnel(&mut requests).await, pattern(octets)).await
            });
        wire.run_to_end();
        assert!(peer.join().expect("a content peer").0 == pattern(octets), "window {window}");
    }
}

#[test]
fn many_streams_and_more_behind_them() {
    let mut config = TunnelConfig::server();
    config.http2.max_concurrent_streams = 50;
    // Or it opens a hundred before it has heard of our limit, and the rest of them are refused.
    let mut settings = asking();
    settings.initial_max_send_streams(50);
    let (mut wire, peer) = from_hyper(config, 0, settings, always(Script::echo()), |requests| async move {
        let each = (0..300).map(|_| {
            let mut requests = requests.clone();
            tokio::spawn(async move { there_and_back(tunnel(&mut requests).await, pattern(10_000)).await })
        });
        let each: Vec<_> = each.collect();
        drop(requests);
        for exchanged in each {
            assert!(exchanged.await.expect("no panic") == pattern(10_000));
        }
    });
    wire.run_to_end();
    peer.join().expect("a content peer").1.expect("an end in order");
    assert_eq!((wire.seen().requests.len(), wire.open_streams()), (300, 0));
}

#[test]
fn a_stream_that_hyper_drops_is_cancelled() {
    let answer = always(Script { send: b"hello".to_vec(), ..Script::default() });
    let (mut wire, peer) =
        from_hyper(TunnelConfig::server(), 0, asking(), answer, |mut requests| async move {
            let mut stream = tunnel(&mut requests).await;
            stream.read_exact(&mut [0; 5]).await.expect("five octets");
        });
    wire.run_to_end();
    peer.join().expect("a content peer").1.expect("an end in order");
    let codes: Vec<_> = wire.streams().filter_map(|stream| stream.reset).collect();
    assert_eq!(codes, [(ErrorCode::CANCEL, Initiator::Remote)]);
}

/// As with its server: only CONNECT_ERROR and its like are an error to who reads.
#[test]
fn what_hyper_makes_of_our_resets() {
    let codes = [ErrorCode::CONNECT_ERROR, ErrorCode::CANCEL, ErrorCode::NO_ERROR];
    let answer = always(Script { send: b"hello".to_vec(), ..Script::default() });
    let (mut wire, peer) =
        from_hyper(TunnelConfig::server(), 0, asking(), answer, move |mut requests| async move {
            let mut ends = vec![];
            for _ in codes {
                let mut got = vec![];
                let end = tunnel(&mut requests).await.read_to_end(&mut got).await;
                ends.push((got, end.is_ok()));
            }
            ends
        });
    for code in codes {
        let fresh = |stream: &adit_testkit::wire::Stream| stream.sent() == 5 && !stream.closed;
        wire.run_until("the octets to leave", |wire| wire.find(fresh).is_some());
        wire.reset(wire.find(fresh).expect("it is there"), code);
        wire.run_until("the place to be free", |wire| wire.find(fresh).is_none());
    }
    wire.run_to_end();
    let (ends, _) = peer.join().expect("a content peer");
    assert_eq!(ends, [false, true, true].map(|in_order| (b"hello".to_vec(), in_order)));
}

#[test]
fn our_drain_lets_streams_end() {
    let (mut wire, peer) =
        from_hyper(TunnelConfig::server(), 0, asking(), always(Script::echo()), |mut requests| async move {
            let stream = tunnel(&mut requests).await;
            // The second step of GOAWAY makes hyper take no more requests.
            while requests.ready().await.is_ok() && requests.send_request(ask()).await.is_ok() {
                tokio::task::yield_now().await;
            }
            drop(requests);
            there_and_back(stream, pattern(500_000)).await
        });
    wire.run_until("the stream", |wire| wire.streams().count() > 0);
    wire.drain();
    wire.run_until("the drain", |wire| wire.seen().drained);
    wire.close(ErrorCode::NO_ERROR);
    assert_eq!(wire.run_to_end(), TunnelError::Closed);
    let (got, end) = peer.join().expect("a content peer");
    end.expect("NO_ERROR");
    assert!(got == pattern(500_000), "{} octets came back", got.len());
}

#[test]
fn huge_headers_both_ways() {
    let mut answers = [10_000, 50_000, 10].into_iter();
    let answer: Answer = Box::new(move |_| {
        let baggage = answers.next().map(huge_baggage);
        Ok(Script { baggage, finish: true, ..Script::default() })
    });
    let mut settings = asking();
    settings.max_header_list_size(32 << 10);
    let (mut wire, peer) =
        from_hyper(TunnelConfig::server(), 0, settings, answer, |mut requests| async move {
            let mut seen = vec![];
            for size in [100, 60_000, 70_000, 100] {
                requests.ready().await.expect("a live connection");
                let mut request = ask();
                request.headers_mut().insert("x", "y".repeat(size).parse().expect("a value"));
                let response = requests.send_request(request).await;
                seen.push(response.ok().map(|response| response.headers()["baggage"].len()));
            }
            seen
        });
    wire.run_to_end();
    let name = "service.name=".len();
    // Its own request of 70 000 octets is above what we announced; our answer of 50 000 is above what it did.
    assert_eq!(peer.join().expect("a content peer").0, [Some(10_000 + name), None, None, Some(10 + name)]);
    assert_eq!(wire.seen().requests.len(), 3);
}
