//! Our sessions against unmodified rustls connections.
use std::sync::Arc;
use std::vec;
use std::vec::Vec;

use rustls::{AlertDescription, Connection, Error};

use super::stock::*;
use super::support::*;
use crate::tls::{RecordMode, Session, Side, TlsContext, TlsError, TlsSettings};

/// Our side and a stock peer that have not spoken yet.
fn peers(side: Side, context: &Arc<TlsContext>, stock: Stock) -> (Ours, Connection) {
    match side {
        Side::Client => {
            (Ours::new(Session::client(context, &only(&identity("server"))).unwrap()), stock.server())
        }
        Side::Server => (Ours::new(Session::server(context).unwrap()), stock.client()),
    }
}

/// Data both ways, intact, in pieces of `step()`.
fn talk(
    ours: &mut Ours,
    stock: &mut Connection,
    seen: &mut Seen,
    mut step: impl FnMut() -> usize,
    octets: usize,
) {
    let payload: Vec<u8> = (0..octets).map(|i| (i * 7 % 253) as u8).collect();
    ours.data.clear();
    seen.data.clear();
    for piece in payload.chunks(10_000) {
        let record = sealed(&mut ours.session, piece);
        for chunk in record.chunks(step().max(1)) {
            give(stock, chunk, seen);
        }
    }
    let wire = write(stock, &payload);
    for chunk in wire.chunks(step().max(1)) {
        ours.feed(chunk);
    }
    exchange(ours, stock, seen, &mut step);
    assert_eq!(ours.error, None);
    assert_eq!(seen.error, None);
    assert!(ours.data == payload, "octets from the stock peer arrive intact");
    assert!(seen.data == payload, "octets to the stock peer arrive intact");
}

/// Both roles, modes, libraries and all suites; whole reads, single octets, random pieces; then KeyUpdates in every
/// direction, data again, and close_notify both ways. As a client this also skips the stock server's session tickets.
#[test]
fn stock_peers() {
    for library in Library::ALL {
        for suite in SUITES {
            for mode in [RecordMode::InPlace, RecordMode::Rustls] {
                let settings = TlsSettings { mode, ..TlsSettings::default() };
                let client = context(library, &[suite], "client", settings);
                let server = context(library, &[suite], "server", settings);
                for chunking in 0..3 {
                    let mut random = Random::new(chunking);
                    let mut step = move || match chunking {
                        0 => usize::MAX,
                        1 => 1,
                        _ => 1 + random.below(700),
                    };
                    let octets = if chunking == 1 { 3_000 } else { 60_000 };
                    for (side, context, name) in
                        [(Side::Client, &client, "server"), (Side::Server, &server, "client")]
                    {
                        let stock = Stock::of(library.provider(&[suite]), name);
                        let (mut ours, mut stock) = peers(side, context, stock);
                        let mut seen = Seen::default();
                        exchange(&mut ours, &mut stock, &mut seen, &mut step);
                        assert!(
                            ours.session.is_established(),
                            "{}: {:?} {seen:?}",
                            case(library, suite),
                            ours.error
                        );
                        assert_eq!(ours.session.peer(), Some(&identity(name)));
                        assert_eq!(stock.alpn_protocol(), Some(&b"h2"[..]));
                        talk(&mut ours, &mut stock, &mut seen, &mut step, octets);
                        // rustls asks for our update with its own (RFC 8446 §4.6.3).
                        stock.refresh_traffic_keys().unwrap();
                        talk(&mut ours, &mut stock, &mut seen, &mut step, octets);
                        for ask in [false, true, true] {
                            ours.session.update_keys(ask).unwrap();
                            talk(&mut ours, &mut stock, &mut seen, &mut step, octets);
                        }
                        stock.refresh_traffic_keys().unwrap();
                        stock.refresh_traffic_keys().unwrap();
                        talk(&mut ours, &mut stock, &mut seen, &mut step, octets);
                        ours.session.close();
                        stock.send_close_notify();
                        exchange(&mut ours, &mut stock, &mut seen, &mut step);
                        assert!(ours.closed && seen.closed && ours.error.is_none() && seen.error.is_none());
                    }
                }
            }
        }
    }
}

/// A 24 KB certificate in records of 64 octets, and one whole; both roles.
#[test]
fn large_chains_and_fragmented_handshakes() {
    for fragment in [None, Some(64)] {
        for (side, us, them) in [(Side::Client, "client", "server"), (Side::Server, "server", "client")] {
            let (leaf, key) = ca().issue(Leaf { padding: 24_000, ..Leaf::of(&identity(them)) });
            let stock = Stock {
                chain: vec![leaf],
                key: Some(key),
                fragment,
                ..Stock::of(Library::AwsLc.provider(&SUITES), them)
            };
            let context = context(Library::AwsLc, &SUITES, us, TlsSettings::default());
            let (mut ours, mut stock) = peers(side, &context, stock);
            let mut seen = Seen::default();
            exchange(&mut ours, &mut stock, &mut seen, || 1000);
            assert!(ours.session.is_established(), "{side:?} {fragment:?}: {:?} {seen:?}", ours.error);
            talk(&mut ours, &mut stock, &mut seen, || 1000, 50_000);
        }
    }
}

/// A handshake beyond the cap is given up, whatever rustls would allow.
#[test]
fn endless_handshakes_are_cut() {
    let (leaf, key) = ca().issue(Leaf { padding: 60_000, ..Leaf::of(&identity("client")) });
    let stock = Stock {
        chain: vec![leaf],
        key: Some(key),
        fragment: Some(32),
        ..Stock::of(Library::AwsLc.provider(&SUITES), "client")
    };
    let context = context(Library::AwsLc, &SUITES, "server", TlsSettings::default());
    let (mut ours, mut stock) = peers(Side::Server, &context, stock);
    exchange(&mut ours, &mut stock, &mut Seen::default(), || usize::MAX);
    assert_eq!(ours.error, Some(TlsError::HandshakeTooLong(96 * 1024)));
}

/// RFC 7301 and datapath §4.1: no ALPN is accepted, only others is refused.
#[test]
fn alpn() {
    let context = context(Library::AwsLc, &SUITES, "server", TlsSettings::default());
    for (alpn, refused) in [
        (vec![], false),
        (vec![b"http/1.1".to_vec(), b"h2".to_vec()], false),
        (vec![b"http/1.1".to_vec()], true),
    ] {
        let stock = Stock { alpn, ..Stock::of(Library::AwsLc.provider(&SUITES), "client") };
        let (mut ours, mut stock) = peers(Side::Server, &context, stock);
        let mut seen = Seen::default();
        exchange(&mut ours, &mut stock, &mut seen, || usize::MAX);
        assert_eq!(ours.session.is_established(), !refused);
        if refused {
            assert_eq!(seen.error, Some(Error::AlertReceived(AlertDescription::NoApplicationProtocol)));
            assert_eq!(ours.error.unwrap().alert().unwrap().name(), "no_application_protocol");
        }
    }
}

/// Our own key changes after `key_update_after` records, without being asked, and a stock peer follows.
#[test]
fn keys_are_updated_in_time() {
    for mode in [RecordMode::InPlace, RecordMode::Rustls] {
        let settings = TlsSettings { mode, key_update_after: 3, ..TlsSettings::default() };
        let context = context(Library::AwsLc, &SUITES, "client", settings);
        let stock = Stock::of(Library::AwsLc.provider(&SUITES), "server");
        let (mut ours, mut stock) = peers(Side::Client, &context, stock);
        let mut seen = Seen::default();
        exchange(&mut ours, &mut stock, &mut seen, || usize::MAX);
        let mut updates = 0;
        for _ in 0..30 {
            updates += usize::from(ours.session.wants_transmit());
            give(&mut stock, &sealed(&mut ours.session, b"x"), &mut seen);
        }
        assert_eq!(seen.error, None);
        assert_eq!(seen.data.len(), 30);
        assert_eq!(updates, 9, "one before each record that would be the key's fourth");
    }
}

/// No tickets, no resumption, no 0-RTT: every connection proves who it is anew.
#[test]
fn nothing_to_resume_with() {
    let context = context(Library::AwsLc, &SUITES, "server", TlsSettings::default());
    let (mut ours, mut stock) =
        peers(Side::Server, &context, Stock::of(Library::AwsLc.provider(&SUITES), "client"));
    let mut seen = Seen::default();
    exchange(&mut ours, &mut stock, &mut seen, || usize::MAX);
    talk(&mut ours, &mut stock, &mut seen, || usize::MAX, 1_000);
    let Connection::Client(client) = &stock else { panic!("a client") };
    assert_eq!(client.tls13_tickets_received(), 0);
    assert_eq!(client.handshake_kind(), Some(rustls::HandshakeKind::Full));
    assert!(!client.is_early_data_accepted());
}
