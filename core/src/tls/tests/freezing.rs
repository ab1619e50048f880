//! Sessions as data, and that no key ever seals twice under one sequence number.
#![expect(
    clippy::disallowed_types,
    reason = "an AEAD key is Sync, and what its test double remembers is shared"
)]
use std::boxed::Box;
use std::collections::BTreeSet;
use std::format;
use std::sync::{Arc, Mutex};
use std::vec::Vec;

use super::stock::Random;
use super::support::*;
use crate::tls::{
    Aead, AeadError, AeadKey, FrozenSession, RecordMode, Session, Side, Suite, SymbolicOptions, TlsContext,
    TlsError, TlsPorts, TlsSettings,
};

/// Keys and nonces that have sealed.
type Sealed = Arc<Mutex<BTreeSet<(Vec<u8>, [u8; 12])>>>;

/// An AEAD that remembers every key and nonce it sealed with, and fails the test at the second time.
#[derive(Debug)]
struct Witness {
    real: Arc<dyn Aead>,
    sealed: Sealed,
}

struct WitnessKey {
    key: Vec<u8>,
    real: Box<dyn AeadKey>,
    sealed: Sealed,
}

impl Aead for Witness {
    fn key(&self, suite: Suite, key: &[u8]) -> Option<Box<dyn AeadKey>> {
        let real = self.real.key(suite, key)?;
        Some(Box::new(WitnessKey { key: key.to_vec(), real, sealed: Arc::clone(&self.sealed) }))
    }
}

impl AeadKey for WitnessKey {
    fn seal(&self, nonce: [u8; 12], aad: &[u8], in_out: &mut [u8]) -> Result<[u8; 16], AeadError> {
        let first = self.sealed.lock().unwrap().insert((self.key.clone(), nonce));
        assert!(first, "sealed twice with the same key and nonce");
        self.real.seal(nonce, aad, in_out)
    }
    fn open(&self, nonce: [u8; 12], aad: &[u8], in_out: &mut [u8]) -> Result<usize, AeadError> {
        self.real.open(nonce, aad, in_out)
    }
}

fn through_data(session: Session, ports: Option<&TlsPorts>) -> Session {
    let octets = postcard::to_allocvec(&session.freeze().unwrap()).unwrap();
    drop(session);
    let frozen: FrozenSession = postcard::from_bytes(&octets).unwrap();
    match ports {
        Some(ports) => Session::thaw(frozen, ports).unwrap(),
        None => Session::thaw_symbolic(frozen).unwrap(),
    }
}

/// One random life of a pair. Each side is frozen and thawed at any moment: between seals, with control messages
/// queued, in the middle of an incomplete handshake message.
fn life(mut pair: [Session; 2], ports: Option<&TlsPorts>, random: &mut Random, operations: usize) {
    let mut wires: [Vec<u8>; 2] = Default::default();
    let mut expected: [Vec<u8>; 2] = Default::default();
    let mut got: [Log; 2] = Default::default();
    for _ in 0..operations {
        let side = random.below(2);
        match random.below(8) {
            0..3 => {
                let payload: Vec<u8> = (0..random.below(60)).map(|_| random.next() as u8).collect();
                wires[side].extend(sealed(&mut pair[side], &payload));
                expected[1 - side].extend(&payload);
            }
            3 => pair[side].update_keys(random.below(2) == 0).unwrap(),
            4..6 => {
                let mut wire = std::mem::take(&mut wires[1 - side]);
                receive(&mut pair[side], &mut wire, &mut got[side]);
            }
            6 => {
                pair[side].poll_transmit(&mut wires[side]);
            }
            _ => {
                let [a, b] = pair;
                pair = if side == 0 { [through_data(a, ports), b] } else { [a, through_data(b, ports)] };
            }
        }
    }
    for side in [0, 1, 0, 1] {
        pair[side].poll_transmit(&mut wires[side]);
        let mut wire = std::mem::take(&mut wires[side]);
        receive(&mut pair[1 - side], &mut wire, &mut got[1 - side]);
    }
    for side in [0, 1] {
        assert_eq!(got[side].errors, Vec::new());
        assert!(got[side].data == expected[side]);
    }
}

/// Enough for any random sequence of KeyUpdates.
fn generous(key_update_after: u64) -> TlsSettings {
    let mut settings = TlsSettings { key_update_after, ..TlsSettings::default() };
    settings.budgets.key_updates = u32::MAX;
    settings.budgets.empty_records = u32::MAX;
    settings
}

#[test]
fn no_nonce_twice_across_freezing() {
    for suite in SUITES {
        let mut ports = Library::AwsLc.ports(&[suite]);
        ports.aead = Arc::new(Witness { real: Library::AwsLc.aead(), sealed: Arc::default() });
        for seed in 0..20 {
            let mut random = Random::new(seed);
            let settings = generous(1 + random.next() % 9);
            let context = |name| {
                TlsContext::with_settings(ports.clone(), ca().credentials(&identity(name)), settings).unwrap()
            };
            let mut client = Session::client(&context("client"), &only(&identity("server"))).unwrap();
            let mut server = Session::server(&context("server")).unwrap();
            assert!(pump(&mut client, &mut server).errors.is_empty());
            life([client, server], Some(&ports), &mut random, 400);
        }
    }
}

#[test]
fn symbolic_sessions_freeze_alike() {
    for seed in 0..50 {
        let mut random = Random::new(seed);
        let (client, server) = super::symbolic::established(SymbolicOptions {
            // Updates come from `life` alone: the usual budget allows few without data.
            key_update_after: 1 << 20,
            ..SymbolicOptions::default()
        });
        life([client, server], None, &mut random, 100);
    }
}

/// The client's Finished may not have left yet when it is frozen.
#[test]
fn queued_flights_are_kept() {
    let settings = TlsSettings::default();
    let (mut client, mut server) = fresh_pair(Library::AwsLc, &SUITES, settings);
    let mut wire = Vec::new();
    client.poll_transmit(&mut wire);
    receive(&mut server, &mut wire, &mut Log::default());
    wire.clear();
    server.poll_transmit(&mut wire);
    receive(&mut client, &mut wire, &mut Log::default());
    assert!(client.is_established() && client.wants_transmit());
    let mut client = through_data(client, Some(&Library::Ring.ports(&SUITES)));
    assert!(pump(&mut client, &mut server).errors.is_empty());
    assert_eq!(server.peer(), Some(&identity("client")));
    assert_eq!(client.peer(), Some(&identity("server")));
}

#[test]
fn what_cannot_be_frozen() {
    let (client, _) = fresh_pair(Library::AwsLc, &SUITES, TlsSettings::default());
    assert!(matches!(client.freeze(), Err(TlsError::NotFreezable(_))));
    let settings = TlsSettings { mode: RecordMode::Rustls, ..TlsSettings::default() };
    let (client, _) = established_pair(Library::AwsLc, &SUITES, settings);
    assert!(matches!(client.freeze(), Err(TlsError::NotFreezable(_))));
    let (mut client, _) = established_pair(Library::AwsLc, &SUITES, TlsSettings::default());
    client.handle_record(&mut [23, 3, 3, 0, 0]).unwrap_err();
    assert!(matches!(client.freeze(), Err(TlsError::NotFreezable(_))));
    let ports = Library::AwsLc.ports(&SUITES);
    let (symbolic, _) = super::symbolic::established(SymbolicOptions::default());
    assert!(matches!(Session::thaw(symbolic.freeze().unwrap(), &ports), Err(TlsError::BadFrozen(_))));
    let (real, _) = established_pair(Library::AwsLc, &[AES_256], TlsSettings::default());
    assert!(matches!(Session::thaw_symbolic(real.freeze().unwrap()), Err(TlsError::BadFrozen(_))));
    let lacking = Library::AwsLc.ports(&[AES_128]);
    assert!(matches!(Session::thaw(real.freeze().unwrap(), &lacking), Err(TlsError::Crypto(_))));
}

/// Nothing that is printed holds key material.
#[test]
fn debug_shows_no_secret() {
    let (client, _) = established_pair(Library::AwsLc, &[AES_128], TlsSettings::default());
    let frozen = client.freeze().unwrap();
    let octets = postcard::to_allocvec(&frozen).unwrap();
    let shown = format!("{client:?} {frozen:?}");
    for window in octets.windows(8).filter(|window| window.iter().filter(|octet| **octet > 0x7f).count() > 3)
    {
        let list = format!("{window:?}");
        assert!(!shown.contains(list.trim_matches(['[', ']'])));
    }
    assert!(shown.contains("cluster.local") && shown.len() < 1500, "{shown}");
}

#[test]
fn nonces_are_unpredictable_before_and_after_a_hand_over() {
    let (client, server) = established_pair(Library::AwsLc, &[AES_256], TlsSettings::default());
    let ports = Library::AwsLc.ports(&[AES_256]);
    let mut nonces =
        BTreeSet::from([[0; 8], client.nonce().unwrap(), client.nonce().unwrap(), server.nonce().unwrap()]);
    let thawed = through_data(server, Some(&ports));
    nonces.extend([thawed.nonce().unwrap(), thawed.nonce().unwrap()]);
    assert_eq!(nonces.len(), 6, "{nonces:?}");
}

#[test]
fn a_symbolic_session_repeats_its_nonces_so_that_replays_are_replays() {
    let session = || Session::symbolic(Side::Server, identity("a"), identity("b"));
    assert_eq!(session().nonce(), session().nonce());
}
