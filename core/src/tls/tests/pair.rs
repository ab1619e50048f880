//! Our client against our server.
use std::vec;
use std::vec::Vec;

use super::support::*;
use crate::tls::{MAX_PAYLOAD, RecordMode, Session, TlsContext, TlsError, TlsSettings};

/// Each suite, library and way of protecting records: both sides know each other and carry data both ways.
#[test]
fn every_suite_library_and_mode() {
    for library in Library::ALL {
        for suite in SUITES {
            for mode in [RecordMode::InPlace, RecordMode::Rustls] {
                let settings = TlsSettings { mode, ..TlsSettings::default() };
                let (mut client, mut server) = established_pair(library, &[suite], settings);
                assert_eq!(client.peer(), Some(&identity("server")), "{}", case(library, suite));
                assert_eq!(server.peer(), Some(&identity("client")), "{}", case(library, suite));
                for size in [1, 2, 1000, MAX_PAYLOAD] {
                    let payload: Vec<u8> = (0..size).map(|i| (i % 251) as u8).collect();
                    for forth in [true, false] {
                        let (from, to) =
                            if forth { (&mut client, &mut server) } else { (&mut server, &mut client) };
                        let mut log = Log::default();
                        receive(to, &mut sealed(from, &payload), &mut log);
                        assert!(log.errors.is_empty(), "{} {mode:?}: {:?}", case(library, suite), log.errors);
                        assert_eq!(log.data, payload);
                    }
                }
            }
        }
    }
}

/// The handshake of one library with the records of another.
#[test]
fn libraries_mix() {
    let mut ports = Library::AwsLc.ports(&[AES_256]);
    ports.aead = Library::Ring.aead();
    let credentials = ca().credentials(&identity("client"));
    let mixed = TlsContext::new(ports, credentials, RecordMode::InPlace).unwrap();
    let server = context(Library::AwsLc, &[AES_256], "server", TlsSettings::default());
    let mut client = Session::client(&mixed, &only(&identity("server"))).unwrap();
    let mut server = Session::server(&server).unwrap();
    assert!(pump(&mut client, &mut server).errors.is_empty());
    let mut log = Log::default();
    receive(&mut server, &mut sealed(&mut client, b"hello"), &mut log);
    assert_eq!(log.data, b"hello");
}

#[test]
fn nothing_is_sealed_too_early_or_too_late() {
    let (mut client, mut server) = fresh_pair(Library::AwsLc, &SUITES, TlsSettings::default());
    let mut record = vec![0; 5 + 10 + 17];
    assert_eq!(client.seal(&mut record), Err(TlsError::NotEstablished));
    assert_eq!(server.seal(&mut record), Err(TlsError::NotEstablished));
    assert!(pump(&mut client, &mut server).errors.is_empty());
    assert_eq!(client.seal(&mut [0; 21]), Err(TlsError::RecordSpace(21)));
    let too_long = MAX_PAYLOAD + 1 + 22;
    assert_eq!(client.seal(&mut vec![0; too_long]), Err(TlsError::RecordSpace(too_long)));
    assert_eq!(client.seal(&mut record), Ok(()));
    client.close();
    assert_eq!(client.seal(&mut record), Err(TlsError::Closed));
}

/// A shard may be built on one thread and run on another.
#[test]
fn sessions_can_move_between_threads() {
    fn movable<T: Send>(_: &T) {}
    fn shared<T: Send + Sync>(_: &T) {}
    let (client, _) = fresh_pair(Library::AwsLc, &SUITES, TlsSettings::default());
    movable(&client);
    shared(&*context(Library::AwsLc, &SUITES, "client", TlsSettings::default()));
}

/// Closing before the handshake is complete is silent and final.
#[test]
fn closing_early() {
    let (mut client, _) = fresh_pair(Library::AwsLc, &SUITES, TlsSettings::default());
    client.close();
    assert!(!client.wants_transmit());
    assert_eq!(client.handle_record(&mut [22, 3, 3, 0, 1, 0]), Err(TlsError::Closed));
    assert_eq!(client.update_keys(true), Err(TlsError::Closed));
}
