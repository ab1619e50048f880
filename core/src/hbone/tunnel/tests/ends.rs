//! How streams and tunnels end: refusals, resets, drains, errors, truncation.

use super::two::{NOW, established, fresh, open, request, settle};
use crate::hbone::{TunnelConfig, TunnelError, TunnelEvent};
use crate::http2::{ConnectionError, ErrorCode, Field, Initiator, OpenError};
use crate::tls::TlsError;

#[test]
fn a_refused_request_leaves_no_stream_at_either_end() {
    let (mut client, mut server) = established();
    let stream = client.tunnel.open(NOW, &request()).unwrap();
    settle(&mut client, &mut server);
    server.tunnel.reject(NOW, stream, 401, &mut server.pool);
    settle(&mut client, &mut server);
    let events = client.events();
    let [TunnelEvent::Response { response, .. }, TunnelEvent::Closed { .. }] = &events[..] else {
        panic!("{events:?}");
    };
    assert_eq!(response.status, 401);
    assert!(server.events().contains(&TunnelEvent::Closed { stream }));
    assert_eq!((client.tunnel.open_streams(), server.tunnel.open_streams()), (0, 0));
    assert!(client.tunnel.streams.is_empty() && server.tunnel.streams.is_empty());
}

#[test]
fn a_request_that_is_no_connect_is_answered_400_by_the_tunnel() {
    let (mut client, mut server) = established();
    let fields = [(":method", "GET"), (":scheme", "https"), (":authority", "a:1"), (":path", "/")];
    let fields = fields.map(|(name, value)| Field::new(name.as_bytes(), value.as_bytes()));
    let stream = client.tunnel.http2.open(NOW, &fields).unwrap();
    client.tunnel.streams.insert(stream, super::super::Stream::new());
    settle(&mut client, &mut server);
    let events = server.events();
    assert!(
        matches!(&events[..], [TunnelEvent::Request { request: Err(_), .. }, TunnelEvent::Closed { .. }]),
        "{events:?}"
    );
    let events = client.events();
    assert!(
        matches!(&events[..], [TunnelEvent::Response { response, .. }, ..] if response.status == 400),
        "{events:?}"
    );
    assert!(server.tunnel.streams.is_empty());
}

#[test]
fn an_end_asked_for_before_the_answer_follows_the_answer() {
    let (mut client, mut server) = established();
    let stream = client.tunnel.open(NOW, &request()).unwrap();
    client.tunnel.finish(stream);
    settle(&mut client, &mut server);
    server.tunnel.finish(stream);
    server.tunnel.accept(NOW, stream, None);
    settle(&mut client, &mut server);
    assert!(client.events().ends_with(&[TunnelEvent::Finished { stream }, TunnelEvent::Closed { stream }]));
    assert!(server.events().ends_with(&[TunnelEvent::Finished { stream }, TunnelEvent::Closed { stream }]));
}

#[test]
fn what_came_before_a_reset_can_still_be_delivered() {
    let (mut client, mut server) = established();
    let stream = open(&mut client, &mut server);
    client.send(stream, b"last words");
    let wire = client.output();
    client.tunnel.reset(NOW, stream, ErrorCode::CANCEL, &mut client.pool);
    server.input(&wire).unwrap();
    server.input(&client.output()).unwrap();
    server.tunnel.settle(&mut server.pool);
    let reset = TunnelEvent::Reset { stream, code: ErrorCode::CANCEL, by: Initiator::Remote };
    assert_eq!(server.events(), [TunnelEvent::Data { stream }, reset, TunnelEvent::Closed { stream }]);
    assert_eq!(server.pending(stream), b"last words");
    assert!(server.tunnel.lend_data(stream, &mut server.pool).is_none());
    // Dropping what is left instead of delivering it.
    server.tunnel.reset(NOW, stream, ErrorCode::CANCEL, &mut server.pool);
    assert_eq!((server.pool.lent(), server.tunnel.streams.len()), (0, 0));
    assert!(
        !client.events().iter().any(|event| matches!(event, TunnelEvent::Reset { .. })),
        "its own is not told"
    );
}

#[test]
fn what_came_before_the_transport_broke_can_still_be_delivered() {
    let (mut client, mut server) = established();
    let stream = open(&mut client, &mut server);
    client.send(stream, b"first, second");
    server.input(&client.output()).unwrap();
    // Taken in parts, in order.
    server.tunnel.delivered(stream, 7, &mut server.pool);
    server.tunnel.settle(&mut server.pool);
    assert_eq!(server.tunnel.handle_eof(NOW), TunnelError::Truncated);
    assert_eq!(server.pending(stream), b"second");
    server.tunnel.delivered(stream, 6, &mut server.pool);
    assert_eq!((server.pending(stream).len(), server.tunnel.held()), (0, 0));
    assert!(server.tunnel.lend_data(stream, &mut server.pool).is_none(), "nothing goes the other way");
}

#[test]
fn a_tunnel_drains_when_its_last_stream_has_ended() {
    let (mut client, mut server) = established();
    let stream = open(&mut client, &mut server);
    server.tunnel.drain(NOW);
    settle(&mut client, &mut server);
    // The warning and the final GOAWAY (RFC 9113 §6.8) are one event.
    assert_eq!(client.events(), [TunnelEvent::GoAway]);
    assert_eq!(client.tunnel.open(NOW, &request()), Err(OpenError::GoingAway));
    assert!(!server.events().contains(&TunnelEvent::Drained));
    client.tunnel.finish(stream);
    server.tunnel.finish(stream);
    settle(&mut client, &mut server);
    assert!(server.events().contains(&TunnelEvent::Drained));
}

#[test]
fn a_second_goaway_is_no_news_to_the_process_that_took_over() {
    let (mut client, mut server) = established();
    let _ = open(&mut client, &mut server);
    server.tunnel.drain(NOW);
    client.input(&server.output()).unwrap();
    client.tunnel.settle(&mut client.pool);
    assert_eq!(client.events(), [TunnelEvent::GoAway]);
    let frozen = client.tunnel.freeze(&mut client.pool).unwrap();
    let config = std::sync::Arc::new(TunnelConfig::client());
    client.tunnel = super::super::Tunnel::thaw_symbolic(&frozen, config, NOW, &mut client.pool).unwrap();
    settle(&mut client, &mut server);
    assert_eq!(client.events(), [], "the final GOAWAY");
}

#[test]
fn closing_says_goaway_then_close_notify() {
    let (mut client, mut server) = established();
    client.tunnel.close(NOW, ErrorCode::NO_ERROR);
    server.input(&client.output()).unwrap();
    assert_eq!(server.events(), [TunnelEvent::GoAway], "GOAWAY and close_notify say the same");
    assert_eq!(server.tunnel.handle_eof(NOW), TunnelError::Closed);
    assert!(!client.tunnel.wants_write());
    assert!(client.output().is_empty(), "nothing follows close_notify");
}

#[test]
fn a_transport_that_ends_in_the_middle_is_truncated() {
    let (mut client, mut server) = established();
    let _ = open(&mut client, &mut server);
    assert_eq!(client.tunnel.handle_eof(NOW), TunnelError::Truncated);
    assert_eq!(client.tunnel.handle_eof(NOW), TunnelError::Truncated, "told again");
    assert_eq!(client.tunnel.handle_input(NOW, 0, &mut client.pool), Err(TunnelError::Truncated));
}

#[test]
fn a_broken_record_is_answered_with_an_alert_and_nothing_else() {
    let (mut client, mut server) = established();
    let stream = open(&mut client, &mut server);
    client.send(stream, &[1; 500]);
    server.send(stream, &[2; 500]);
    let mut wire = client.output();
    let last = wire.len() - 1;
    wire[last] ^= 1;
    let error = server.input(&wire).unwrap_err();
    assert_eq!(error, TunnelError::Tls(TlsError::BadRecord));
    assert_eq!(error.reason(), "bad_record");
    // RFC 8446 §6: after the fatal alert nothing is sent.
    let error = client.input(&server.output()).unwrap_err();
    assert!(matches!(error, TunnelError::Tls(TlsError::AlertReceived(_))), "{error}");
    assert_eq!(client.pending(stream), b"");
    assert_eq!(server.input(b"more").unwrap_err(), TunnelError::Tls(TlsError::BadRecord), "told again");
}

#[test]
fn whoever_does_not_speak_tls_is_answered_with_an_alert() {
    let (_, mut server) = fresh(TunnelConfig::client(), TunnelConfig::server());
    let error = server.input(b"GET / HTTP/1.1\r\n\r\n").unwrap_err();
    assert_eq!(error, TunnelError::Tls(TlsError::NotTls(b'G')));
    assert_eq!(server.output().first(), Some(&21), "an alert record");
}

#[test]
fn a_violation_of_http2_is_answered_with_goaway_and_close_notify() {
    let (mut client, mut server) = established();
    // A frame for a stream nobody has opened.
    client.tunnel.staged.extend_from_slice(&[0, 0, 1, 0, 0, 0, 0, 0, 99, 1]);
    let error = server.input(&client.output()).unwrap_err();
    assert!(matches!(error, TunnelError::Http2(ConnectionError::IdleStream { .. })), "{error}");
    assert!(!error.is_attack(), "clumsy, not evil");
    client.input(&server.output()).unwrap();
    assert_eq!(client.events(), [TunnelEvent::GoAway]);
    assert_eq!(client.tunnel.handle_eof(NOW), TunnelError::Closed);
}

#[test]
fn a_stale_stream_is_ignored_everywhere() {
    let (mut client, mut server) = established();
    let stream = open(&mut client, &mut server);
    client.tunnel.reset(NOW, stream, ErrorCode::CANCEL, &mut client.pool);
    settle(&mut client, &mut server);
    client.tunnel.commit_data(stream, 10);
    client.tunnel.finish(stream);
    client.tunnel.delivered(stream, 10, &mut client.pool);
    client.tunnel.reset(NOW, stream, ErrorCode::CANCEL, &mut client.pool);
    client.tunnel.accept(NOW, stream, None);
    assert!(client.tunnel.lend_data(stream, &mut client.pool).is_none());
    assert_eq!(client.tunnel.pieces(stream).count(), 0);
    assert!(client.output().is_empty());
}

#[test]
fn frozen_octets_of_another_version_are_refused() {
    let (client, server) = established();
    let (mut client, config) = (client, std::sync::Arc::new(TunnelConfig::client()));
    let mut bytes = client.tunnel.freeze(&mut client.pool).unwrap();
    let thaw = |bytes: &[u8], pool: &mut _| {
        super::super::Tunnel::thaw_symbolic(bytes, config.clone(), NOW, pool).map(drop)
    };
    assert_eq!(thaw(&bytes, &mut client.pool), Ok(()));
    assert_eq!(thaw(&bytes[..bytes.len() - 1], &mut client.pool), Err(TunnelError::Frozen));
    bytes.push(0);
    assert_eq!(thaw(&bytes, &mut client.pool), Err(TunnelError::Frozen));
    bytes[0] = 77;
    assert_eq!(thaw(&bytes, &mut client.pool), Err(TunnelError::Frozen));
    assert_eq!(thaw(&[], &mut client.pool), Err(TunnelError::Frozen));
    drop(server);
}
