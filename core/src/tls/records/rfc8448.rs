//! RFC 8448 §3 (simple 1-RTT handshake, TLS_AES_128_GCM_SHA256): keys and records from the traffic secrets.
use std::sync::Arc;
use std::vec::Vec;

use super::*;
use crate::tls::tests::support::{AES_128, AwsLc, Library, Ring};
use crate::tls::{Aead, TlsError};

fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.bytes().filter(u8::is_ascii_hexdigit).collect();
    digits.chunks(2).map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap()).collect()
}

const CLIENT_SECRET: &str =
    "9e 40 64 6c e7 9a 7f 9d c0 5a f8 88 9b ce 65 52 87 5a fa 0b 06 df 00 87 f7 92 eb b7 c1 75 04 a5";
const SERVER_SECRET: &str =
    "a1 1a f9 f0 55 31 f8 56 ad 47 11 6b 45 a9 50 32 82 04 b4 f4 4b fb 6b 3a 4b 4f 1f 3f cb 63 16 43";
/// Sequence 0.
const CLIENT_DATA: &str = "17 03 03 00 43 a2 3f 70 54 b6 2c 94 d0 af fa fe 82 28 ba 55 cb ef ac ea 42 f9 14 aa 66 bc ab 3f
    2b 98 19 a8 a5 b4 6b 39 5b d5 4a 9a 20 44 1e 2b 62 97 4e 1f 5a 62 92 a2 97 70 14 bd 1e 3d ea e6 3a ee bb 21 69 49 15
    e4";
/// Sequence 1: a session ticket was 0.
const SERVER_DATA: &str = "17 03 03 00 43 2e 93 7e 11 ef 4a c7 40 e5 38 ad 36 00 5f c4 a4 69 32 fc 32 25 d0 5f 82 aa 1b 36
    e3 0e fa f9 7d 90 e6 df fc 60 2d cb 50 1a 59 a8 fc c4 9c 4b f2 e5 f0 a2 1c 00 47 c2 ab f3 32 54 0d d0 32 e1 67 c2 95
    5d";
/// close_notify of the client, sequence 1.
const CLIENT_ALERT: &str = "17 03 03 00 13 c9 87 27 60 65 56 66 b7 4d 7f f1 15 3e fd 6d b6 d0 b0 e3";
/// close_notify of the server, sequence 2.
const SERVER_ALERT: &str = "17 03 03 00 13 b5 8f d6 71 66 eb f5 99 d2 47 20 cf be 7e fa 7a 88 64 a9";

fn direction(library: Library, secret: &str, sequence: u64) -> Direction {
    let suite = library.provider(&[AES_128]).cipher_suites[0].tls13().unwrap();
    Direction::new(suite, Secret::new(&hex(secret)), sequence).unwrap()
}

fn aeads() -> [(Library, Arc<dyn Aead>); 2] {
    [(Library::AwsLc, Arc::new(AwsLc)), (Library::Ring, Arc::new(Ring))]
}

#[test]
fn keys() {
    for library in Library::ALL {
        let client = direction(library, CLIENT_SECRET, 0).keys().unwrap();
        assert_eq!(client.key(), hex("17 42 2d da 59 6e d5 d9 ac d8 90 e3 c6 3f 50 51"));
        assert_eq!(client.iv[..], hex("5b 78 92 3d ee 08 57 90 33 e5 23 d9"));
        let server = direction(library, SERVER_SECRET, 0).keys().unwrap();
        assert_eq!(server.key(), hex("9f 02 28 3b 6c 9c 07 ef c2 6b b9 f2 ac 92 e3 56"));
        assert_eq!(server.iv[..], hex("cf 78 2b 88 dd 83 54 9a ad f1 e9 84"));
    }
}

/// Either end's records: sealed they are the RFC's octets, opened they are its plaintext.
#[test]
fn records() {
    let payload: Vec<u8> = (0..50).collect();
    for (library, aead) in aeads() {
        let client = |send, receive| {
            let send = direction(library, CLIENT_SECRET, send);
            InPlaceRecords::new(send, direction(library, SERVER_SECRET, receive), Arc::clone(&aead)).unwrap()
        };
        let server = |send, receive| {
            let send = direction(library, SERVER_SECRET, send);
            InPlaceRecords::new(send, direction(library, CLIENT_SECRET, receive), Arc::clone(&aead)).unwrap()
        };
        check(client(0, 0), server(0, 0), content::APPLICATION_DATA, &payload, CLIENT_DATA);
        check(server(1, 0), client(0, 1), content::APPLICATION_DATA, &payload, SERVER_DATA);
        check(client(1, 0), server(0, 1), content::ALERT, &[1, 0], CLIENT_ALERT);
        check(server(2, 0), client(0, 2), content::ALERT, &[1, 0], SERVER_ALERT);
    }
}

fn check(mut from: InPlaceRecords, mut to: InPlaceRecords, content_type: u8, payload: &[u8], expected: &str) {
    let mut record = vec_of(payload);
    from.seal(content_type, &mut record).unwrap();
    assert_eq!(record, hex(expected));
    let opened = to.open(&mut record).unwrap();
    assert_eq!(opened.content_type, content_type);
    assert_eq!(&record[opened.payload], payload);
}

fn vec_of(payload: &[u8]) -> Vec<u8> {
    [&[0; HEADROOM], payload, &[0; TAILROOM]].concat()
}

#[test]
fn secrets_of_wrong_length_are_refused() {
    let suite = Library::AwsLc.provider(&[AES_128]).cipher_suites[0].tls13().unwrap();
    for length in [0, 31, 33, 48, 100] {
        let direction = Direction::new(suite, Secret::new(&std::vec![1; length]), 0);
        assert!(matches!(direction.map(drop), Err(TlsError::Crypto(_))));
    }
}

/// RFC 8446 §5.5: not one record more than the key may protect.
#[test]
fn a_key_ends_at_its_limit() {
    let limit = direction(Library::AwsLc, CLIENT_SECRET, 0).suite().common.confidentiality_limit;
    let send = direction(Library::AwsLc, CLIENT_SECRET, limit - 1);
    let receive = direction(Library::AwsLc, SERVER_SECRET, 0);
    let mut records = InPlaceRecords::new(send, receive, Arc::new(AwsLc)).unwrap();
    assert_eq!(records.seal(content::APPLICATION_DATA, &mut vec_of(b"last")), Ok(()));
    assert_eq!(records.seal(content::APPLICATION_DATA, &mut vec_of(b"over")), Err(TlsError::KeyLimit));
    records.update_send().unwrap();
    assert_eq!(records.sealed(), 0);
    assert_eq!(records.seal(content::APPLICATION_DATA, &mut vec_of(b"next")), Ok(()));
}

#[test]
fn secrets_are_not_shown() {
    assert_eq!(std::format!("{:?}", Secret::new(&[0x5a; 32])), "Secret(..)");
}
