//! Octets from nowhere into a handshake: errors, never a panic, bounded memory.
use std::vec::Vec;

use proptest::prelude::*;

use super::stock::{Ours, Random};
use super::support::*;
use crate::tls::{Session, Side, SymbolicOptions, TlsSettings};

/// Feeds octets in pieces and lets the session send what it then wants to.
fn feed(mut ours: Ours, bytes: &[u8], step: usize) -> Ours {
    for piece in bytes.chunks(step.max(1)) {
        ours.feed(piece);
    }
    let mut wire = Vec::new();
    ours.session.poll_transmit(&mut wire);
    ours
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn arbitrary_octets(bytes in proptest::collection::vec(any::<u8>(), 0..600), step in 1_usize..700) {
        let settings = TlsSettings::default();
        let server = context(Library::AwsLc, &SUITES, "server", settings);
        let ours = feed(Ours::new(Session::server(&server).unwrap()), &bytes, step);
        prop_assert!(!ours.session.is_established());
        let client = Session::client(&server, &only(&identity("server"))).unwrap();
        prop_assert!(!feed(Ours::new(client), &bytes, step).session.is_established());
    }

    /// Whole records with a good header, so that more than the header is reached.
    #[test]
    fn arbitrary_records(
        records in proptest::collection::vec((20_u8..=23, proptest::collection::vec(any::<u8>(), 0..200)), 0..6),
        step in 1_usize..700,
    ) {
        let mut bytes = Vec::new();
        for (content_type, body) in records {
            bytes.extend([content_type, 3, 3, 0, body.len() as u8]);
            bytes.extend(body);
        }
        let server = context(Library::AwsLc, &SUITES, "server", TlsSettings::default());
        prop_assert!(!feed(Ours::new(Session::server(&server).unwrap()), &bytes, step).session.is_established());
        let (symbolic, _) = super::symbolic::established(SymbolicOptions::default());
        feed(Ours::new(symbolic), &bytes, step);
        let fresh = Session::symbolic(Side::Server, identity("server"), identity("client"));
        prop_assert!(!feed(Ours::new(fresh), &bytes, step).session.is_established());
    }
}

/// Real handshakes with octets changed, cut, repeated or put in, in several chunkings. Whatever happens, nobody panics,
/// and whoever is established knows the right peer.
#[test]
fn disturbed_handshakes() {
    let client_context = context(Library::AwsLc, &SUITES, "client", TlsSettings::default());
    let server_context = context(Library::AwsLc, &SUITES, "server", TlsSettings::default());
    let mut failed = 0;
    for seed in 0..600 {
        let mut random = Random::new(seed);
        let mut ends = [
            Ours::new(Session::client(&client_context, &only(&identity("server"))).unwrap()),
            Ours::new(Session::server(&server_context).unwrap()),
        ];
        for turn in 0..6 {
            let mut wire = Vec::new();
            ends[turn % 2].session.poll_transmit(&mut wire);
            if wire.is_empty() {
                continue;
            }
            if random.below(3) == 0 {
                let place = random.below(wire.len());
                match random.below(4) {
                    0 => wire[place] = random.next() as u8,
                    1 => wire.truncate(place),
                    2 => {
                        let again = wire[place..].to_vec();
                        wire.extend(again);
                    }
                    _ => wire.insert(place, random.next() as u8),
                }
            }
            let step = [1, 7, 100, 5000][random.below(4)];
            for piece in wire.chunks(step) {
                ends[(turn + 1) % 2].feed(piece);
            }
        }
        failed += usize::from(ends.iter().any(|end| end.error.is_some()));
        for (end, peer) in ends.iter().zip(["server", "client"]) {
            if end.session.is_established() {
                assert_eq!(end.session.peer(), Some(&identity(peer)));
            }
        }
    }
    assert!((100..600).contains(&failed), "{failed} of 600 failed");
}
