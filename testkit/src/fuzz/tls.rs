//! Any octets before, in and after a TLS handshake.
use std::sync::{Arc, OnceLock};

use adit_core::tls::{
    FrozenSession, HEADROOM, Input, MAX_RECORD, RecordMode, Session, Side, TAILROOM, TlsContext, TlsPorts,
};

use super::Choices;
use crate::wire::{Authority, ports};

/// A server and a client that have met, as data, so that each run has them anew without a handshake.
struct Pair {
    context: Arc<TlsContext>,
    ports: TlsPorts,
    client: Vec<u8>,
    server: Vec<u8>,
}

fn pair() -> &'static Pair {
    static PAIR: OnceLock<Pair> = OnceLock::new();
    PAIR.get_or_init(|| {
        let authority = Authority::new();
        let context = authority.context("server", RecordMode::InPlace);
        let expected = adit_core::identity::IdentitySet::single(Authority::identity("server"));
        let mut client =
            Session::client(&authority.context("client", RecordMode::InPlace), &expected).expect("a client");
        let mut server = Session::server(&context).expect("a server");
        introduce(&mut client, &mut server);
        let freeze =
            |session: &Session| postcard::to_allocvec(&session.freeze().expect("established")).expect("data");
        Pair { context, ports: ports(), client: freeze(&client), server: freeze(&server) }
    })
}

/// Lets two sessions shake hands.
pub(crate) fn introduce(client: &mut Session, server: &mut Session) {
    while !(client.is_established() && server.is_established()) {
        let mut wire = vec![];
        client.poll_transmit(&mut wire);
        each_record(&mut wire, |record| server.handle_record(record).map(drop).expect("a good flight"));
        wire.clear();
        server.poll_transmit(&mut wire);
        each_record(&mut wire, |record| client.handle_record(record).map(drop).expect("a good flight"));
    }
}

fn each_record(mut wire: &mut [u8], mut handle: impl FnMut(&mut [u8])) {
    while let Ok(Some(length)) = Session::record_len(wire) {
        let (record, rest) = wire.split_at_mut(length);
        handle(record);
        wire = rest;
    }
}

fn thaw(frozen: &[u8]) -> Session {
    let frozen: FrozenSession = postcard::from_bytes(frozen).expect("what was frozen");
    Session::thaw(frozen, &pair().ports).expect("the same ports")
}

/// Hands octets over as a tunnel does: whole records, and a header that cannot be right at once.
fn feed(session: &mut Session, wire: &[u8]) {
    let mut wire = wire.to_vec();
    let mut rest = &mut wire[..];
    loop {
        let length = match Session::record_len(rest) {
            Ok(Some(length)) => length,
            Ok(None) => break,
            Err(_) => rest.len(),
        };
        let (record, behind) = rest.split_at_mut(length);
        match session.handle_record(record) {
            Ok(Input::Data(range)) => assert!(range.end <= record.len()),
            Ok(_) => {}
            Err(error) => {
                assert!(!error.reason().is_empty());
                break;
            }
        }
        rest = behind;
    }
    let mut out = vec![];
    session.poll_transmit(&mut out);
    assert!(out.len() <= wire.len() * 4 + 16_384, "answers are out of proportion");
}

/// Octets to a server that waits for a ClientHello, real and symbolic.
pub fn client_hello(data: &[u8]) {
    let mut server = Session::server(&pair().context).expect("a server");
    feed(&mut server, data);
    assert!(!server.is_established(), "nobody proved anything");
    let mut symbolic =
        Session::symbolic(Side::Server, Authority::identity("server"), Authority::identity("client"));
    feed(&mut symbolic, data);
}

/// Records to an established server: genuine ones (even octet), genuine ones with a change, and strange ones. Only what is
/// genuine and in order may be opened.
pub fn record_opener(data: &[u8]) {
    let mut choices = Choices::new(data);
    let (mut client, mut server) = (thaw(&pair().client), thaw(&pair().server));
    while !choices.is_empty() {
        let kind = choices.octet();
        let length = usize::from(choices.octet());
        let payload = choices.take(length);
        let mut record = vec![0; HEADROOM + payload.len() + TAILROOM];
        record[HEADROOM..HEADROOM + payload.len()].copy_from_slice(payload);
        match kind % 4 {
            0 | 1 => {
                client.seal(&mut record).expect("a live session");
                let place = usize::from(choices.octet()) % record.len();
                if kind % 4 == 1 {
                    record[place] ^= choices.octet().max(1);
                    // The header's length may have changed: then it is no whole record, or another.
                    feed(&mut server, &record);
                    let opened = server.handle_record(&mut [23, 3, 3, 0, 0]);
                    assert!(opened.is_err(), "{opened:?}");
                    return;
                }
                let opened = server.handle_record(&mut record);
                match opened.expect("a genuine record") {
                    Input::Data(range) => assert_eq!(&record[range], payload),
                    other => assert!(payload.is_empty() && other == Input::Nothing, "{other:?}"),
                }
                if payload.is_empty() {
                    return;
                }
            }
            2 => {
                if client.update_keys(kind & 4 == 0).is_err() {
                    return;
                }
                let mut wire = vec![];
                client.poll_transmit(&mut wire);
                let mut fine = true;
                each_record(&mut wire, |record| fine &= server.handle_record(record).is_ok());
                let mut back = vec![];
                server.poll_transmit(&mut back);
                each_record(&mut back, |record| fine &= client.handle_record(record).is_ok());
                if !fine {
                    // Whoever asks is answered, so either end may have had enough first.
                    let failure = server.failure().or_else(|| client.failure());
                    assert_eq!(failure.map(|error| error.reason()), Some("key_update_flood"));
                    return;
                }
            }
            _ => {
                feed(&mut server, payload);
                assert!(payload.len() < MAX_RECORD);
                return;
            }
        }
    }
}
