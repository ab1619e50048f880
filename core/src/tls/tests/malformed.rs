//! Records a correct peer never sends: every record layer ends the session with the same error and alert.
use std::vec;
use std::vec::Vec;

use super::support::*;
use crate::tls::records::{Direction, FrozenRecords, InPlaceRecords, RecordLayer, tls13_suite};
use crate::tls::{
    Alert, Budgets, Flood, Input, MAX_PAYLOAD, RecordMode, Session, SymbolicOptions, TlsError, TlsSettings,
};

/// A peer that may send anything, and the session that must bear it.
struct Attack {
    peer: InPlaceRecords,
    victim: Session,
}

impl Attack {
    fn new(mode: RecordMode, victim_is_client: bool) -> Self {
        let context = |name, mode| {
            context(Library::AwsLc, &SUITES, name, TlsSettings { mode, ..TlsSettings::default() })
        };
        let (client_mode, server_mode) =
            if victim_is_client { (mode, RecordMode::InPlace) } else { (RecordMode::InPlace, mode) };
        let client = context("client", client_mode);
        let mut client = Session::client(&client, &only(&identity("server"))).unwrap();
        let mut server = Session::server(&context("server", server_mode)).unwrap();
        assert!(pump(&mut client, &mut server).errors.is_empty());
        let (peer, victim) = if victim_is_client { (server, client) } else { (client, server) };
        Self { peer: raw(&peer), victim }
    }

    /// Sends one record with this type inside.
    fn send(&mut self, content_type: u8, content: &[u8]) -> Result<Input, TlsError> {
        let inner = [content, &[content_type]].concat();
        self.send_raw([23, 3, 3], &inner)
    }

    fn send_raw(&mut self, outer: [u8; 3], inner: &[u8]) -> Result<Input, TlsError> {
        self.victim.handle_record(&mut self.peer.seal_raw(outer, inner))
    }

    /// The alert that the victim sends now.
    fn alert(&mut self) -> Option<Alert> {
        let mut wire = Vec::new();
        self.victim.poll_transmit(&mut wire);
        if wire.is_empty() {
            return None;
        }
        let opened = self.peer.open(&mut wire).unwrap();
        assert_eq!(opened.content_type, 21);
        let &[2, code] = &wire[opened.payload] else { panic!("alert is fatal") };
        Some(Alert(code))
    }
}

/// The record layer of an in-place session, out of its hands.
fn raw(session: &Session) -> InPlaceRecords {
    let frozen = session.freeze().unwrap();
    let FrozenRecords::InPlace { suite, send, receive } = &frozen.records else { panic!("in place") };
    let suite = tls13_suite(&Library::AwsLc.provider(&SUITES), *suite).unwrap();
    let send = Direction::new(suite, send.secret.clone(), send.sequence).unwrap();
    let receive = Direction::new(suite, receive.secret.clone(), receive.sequence).unwrap();
    InPlaceRecords::new(send, receive, Library::AwsLc.aead()).unwrap()
}

type Act = fn(&mut Attack) -> Result<Input, TlsError>;

/// Name, what is sent, what must come of it. RFC 8446 §4.6, §5, §6.
fn cases() -> Vec<(&'static str, Act, TlsError)> {
    vec![
        ("all zero", |a| a.send_raw([23, 3, 3], &[0; 40]), TlsError::NoContentType),
        ("no inner plaintext", |a| a.send_raw([23, 3, 3], &[]), TlsError::NoContentType),
        ("too much inside", |a| a.send(23, &[7; MAX_PAYLOAD + 1]), TlsError::PlaintextTooLong),
        ("too much padding", |a| a.send(23, &[0; MAX_PAYLOAD + 1]), TlsError::PlaintextTooLong),
        ("inner change_cipher_spec", |a| a.send(20, &[1]), TlsError::UnexpectedRecord(20)),
        ("unknown inner type", |a| a.send(99, &[1]), TlsError::UnexpectedRecord(99)),
        ("outer handshake", |a| a.send_raw([22, 3, 3], &[1, 23]), TlsError::UnexpectedRecord(22)),
        (
            "outer alert",
            |a| a.victim.handle_record(&mut [21, 3, 3, 0, 2, 1, 0]),
            TlsError::UnexpectedRecord(21),
        ),
        (
            "change_cipher_spec",
            |a| a.victim.handle_record(&mut [20, 3, 3, 0, 1, 1]),
            TlsError::UnexpectedRecord(20),
        ),
        (
            "not TLS",
            |a| a.victim.handle_record(b"GET / HTTP/1.1\r\n".to_vec().as_mut()),
            TlsError::NotTls(b'G'),
        ),
        ("outer version 3.1", |a| a.send_raw([23, 3, 1], &[1, 23]), TlsError::RecordVersion(0x0301)),
        ("outer version 4.0", |a| a.send_raw([23, 4, 0], &[1, 23]), TlsError::RecordVersion(0x0400)),
        (
            "length beyond the maximum",
            |a| a.victim.handle_record(&mut [23, 3, 3, 0x41, 0x01]),
            TlsError::RecordTooLong(5 + 0x4101),
        ),
        ("shorter than a tag", |a| a.victim.handle_record(&mut [23, 3, 3, 0, 1, 5]), TlsError::BadRecord),
        ("empty", |a| a.victim.handle_record(&mut [23, 3, 3, 0, 0]), TlsError::BadRecord),
        (
            "flipped bit",
            |a| {
                let mut record = a.peer.seal_raw([23, 3, 3], &[1, 2, 3, 23]);
                record[6] ^= 4;
                a.victim.handle_record(&mut record)
            },
            TlsError::BadRecord,
        ),
        (
            "replay",
            |a| {
                let mut record = a.peer.seal_raw([23, 3, 3], &[1, 2, 3, 23]);
                assert!(a.victim.handle_record(&mut record.clone()).is_ok());
                a.victim.handle_record(&mut record)
            },
            TlsError::BadRecord,
        ),
        (
            "reordered",
            |a| {
                let _first = a.peer.seal_raw([23, 3, 3], &[1, 23]);
                a.send(23, &[2])
            },
            TlsError::BadRecord,
        ),
        (
            "truncated",
            |a| {
                let mut record = a.peer.seal_raw([23, 3, 3], &[1, 2, 3, 23]);
                record.pop();
                record[4] -= 1;
                a.victim.handle_record(&mut record)
            },
            TlsError::BadRecord,
        ),
        (
            "another type on the outside",
            |a| {
                let mut record = a.peer.seal_raw([23, 3, 3], &[1, 2, 3, 23]);
                record[0] = 22;
                a.victim.handle_record(&mut record)
            },
            TlsError::UnexpectedRecord(22),
        ),
        (
            "another version on the outside",
            |a| {
                let mut record = a.peer.seal_raw([23, 3, 3], &[1, 2, 3, 23]);
                record[2] = 1;
                a.victim.handle_record(&mut record)
            },
            TlsError::RecordVersion(0x0301),
        ),
        ("empty alert", |a| a.send(21, &[]), TlsError::EmptyRecord(21)),
        ("empty handshake", |a| a.send(22, &[]), TlsError::EmptyRecord(22)),
        ("alert of one octet", |a| a.send(21, &[2]), TlsError::MalformedAlert),
        ("two alerts in a record", |a| a.send(21, &[1, 90, 1, 0]), TlsError::MalformedAlert),
        ("fatal alert", |a| a.send(21, &[2, 40]), TlsError::AlertReceived(Alert::HANDSHAKE_FAILURE)),
        (
            "fatal alert of level warning",
            |a| a.send(21, &[1, 49]),
            TlsError::AlertReceived(Alert::ACCESS_DENIED),
        ),
        ("ClientHello", |a| a.send(22, &[1, 0, 0, 1, 0]), TlsError::UnexpectedHandshake(1)),
        ("CertificateRequest", |a| a.send(22, &[13, 0, 0, 1, 0]), TlsError::UnexpectedHandshake(13)),
        ("KeyUpdate of two octets", |a| a.send(22, &[24, 0, 0, 2, 0, 0]), TlsError::MalformedHandshake(24)),
        ("KeyUpdate with value 2", |a| a.send(22, &[24, 0, 0, 1, 2]), TlsError::KeyUpdateValue(2)),
        ("KeyUpdate and more", |a| a.send(22, &[24, 0, 0, 1, 0, 24]), TlsError::KeyUpdateNotLast),
        (
            "data inside a message",
            |a| {
                a.send(22, &[24, 0])?;
                a.send(23, b"data")
            },
            TlsError::Interleaved(23),
        ),
        (
            "close_notify inside a message",
            |a| {
                a.send(22, &[24, 0, 0, 1])?;
                a.send(21, &[1, 0])
            },
            TlsError::Interleaved(21),
        ),
        (
            "old key after KeyUpdate",
            |a| {
                a.send(22, &[24, 0, 0, 1, 0])?;
                a.send(23, b"data")
            },
            TlsError::BadRecord,
        ),
        (
            "empty records",
            |a| {
                for _ in 0..Budgets::default().empty_records {
                    a.send(23, &[])?;
                }
                a.send(23, &[])
            },
            TlsError::Flood(Flood::EmptyRecords),
        ),
        (
            "user_canceled",
            |a| {
                for _ in 0..Budgets::default().warnings {
                    a.send(21, &[1, 90])?;
                }
                a.send(21, &[1, 90])
            },
            TlsError::Flood(Flood::Warnings),
        ),
        (
            "KeyUpdates",
            |a| {
                for _ in 0..Budgets::default().key_updates {
                    a.send(22, &[24, 0, 0, 1, 1])?;
                    a.peer.update_send()?;
                }
                // One answer to all of them (RFC 8446 §4.6.3).
                let mut wire = Vec::new();
                a.victim.poll_transmit(&mut wire);
                assert_eq!(wire.len(), 5 + 5 + 17);
                assert_eq!(a.peer.open(&mut wire)?.content_type, 22);
                a.peer.update_receive()?;
                a.send(22, &[24, 0, 0, 1, 1])
            },
            TlsError::Flood(Flood::KeyUpdates),
        ),
    ]
}

#[test]
fn every_layer_and_side_answers_alike() {
    for (name, act, expected) in cases() {
        for mode in [RecordMode::InPlace, RecordMode::Rustls] {
            for victim_is_client in [true, false] {
                let mut attack = Attack::new(mode, victim_is_client);
                let answer = act(&mut attack);
                assert_eq!(answer, Err(expected.clone()), "{name}, {mode:?}");
                assert_eq!(attack.victim.failure(), Some(&expected), "{name}");
                assert_eq!(attack.alert(), expected.alert(), "{name}, {mode:?}");
                // Over: nothing is opened or sealed any more, and the alert is sent once.
                assert_eq!(attack.send(23, b"late"), Err(expected.clone()), "{name}");
                assert_eq!(attack.victim.seal(&mut [0; 30]), Err(expected.clone()), "{name}");
                assert_eq!(attack.alert(), None, "{name}");
            }
        }
    }
}

/// Tickets are a client's to skip, up to its budget, in any fragmentation; a server takes none (RFC 8446 §4.6.1).
#[test]
fn tickets() {
    let ticket = [&[4, 0, 1, 44][..], &[9; 300]].concat();
    let mut attack = Attack::new(RecordMode::InPlace, false);
    assert_eq!(attack.send(22, &ticket), Err(TlsError::UnexpectedHandshake(4)));
    let mut attack = Attack::new(RecordMode::InPlace, true);
    for _ in 0..Budgets::default().tickets {
        for piece in ticket.chunks(100) {
            assert_eq!(attack.send(22, piece), Ok(Input::Nothing));
        }
    }
    assert_eq!(attack.send(23, b"x"), Ok(Input::Data(5..6)));
    assert_eq!(attack.send(22, &ticket), Err(TlsError::Flood(Flood::Tickets)));
}

/// What is unusual but allowed.
#[test]
fn tolerated() {
    for mode in [RecordMode::InPlace, RecordMode::Rustls] {
        let mut attack = Attack::new(mode, true);
        // Padding up to the limit (RFC 8446 §5.4).
        let mut padded = vec![0; MAX_PAYLOAD + 1];
        padded[0] = b'a';
        padded[1] = 23;
        assert_eq!(attack.send_raw([23, 3, 3], &padded), Ok(Input::Data(5..6)));
        assert_eq!(attack.send(23, &[7; MAX_PAYLOAD]), Ok(Input::Data(5..5 + MAX_PAYLOAD)));
        // Data earns back empty records and KeyUpdates.
        for _ in 0..200 {
            assert_eq!(attack.send(23, &[]), Ok(Input::Nothing));
            assert_eq!(attack.send(23, &[1]), Ok(Input::Data(5..6)));
        }
        // close_notify; then whatever comes is ignored, and we may still send.
        assert_eq!(attack.send(21, &[1, 0]), Ok(Input::CloseNotify));
        assert_eq!(attack.victim.handle_record(&mut [23, 3, 3, 0, 0]), Ok(Input::Nothing));
        assert_eq!(attack.victim.seal(&mut [0; 5 + 1 + 17]), Ok(()));
    }
}

#[test]
fn key_updates_are_earned_back_by_data() {
    let mut attack = Attack::new(RecordMode::InPlace, true);
    for _ in 0..200 {
        for _ in 0..Budgets::REFILL {
            assert_eq!(attack.send(23, &[1]), Ok(Input::Data(5..6)));
        }
        assert_eq!(attack.send(22, &[24, 0, 0, 1, 0]), Ok(Input::Nothing));
        attack.peer.update_send().unwrap();
    }
}

/// Sends something wrong from the first session to the second.
type Tamper = fn(&mut Session, &mut Session) -> Result<Input, TlsError>;

/// The symbolic layer has the same judgement of what it can express.
#[test]
fn symbolic_layer_detects_the_same() {
    let tamper: [(&str, Tamper); 4] = [
        ("flipped", |from, to| {
            let mut record = sealed(from, b"abc");
            record[6] ^= 1;
            to.handle_record(&mut record)
        }),
        ("replayed", |from, to| {
            let mut record = sealed(from, b"abc");
            to.handle_record(&mut record.clone())?;
            to.handle_record(&mut record)
        }),
        ("reordered", |from, to| {
            sealed(from, b"abc");
            to.handle_record(&mut sealed(from, b"def"))
        }),
        ("reflected", |from, _| {
            let mut record = sealed(from, b"abc");
            from.handle_record(&mut record)
        }),
    ];
    for (name, act) in tamper {
        let (mut client, mut server) = super::symbolic::established(SymbolicOptions::default());
        assert_eq!(act(&mut client, &mut server), Err(TlsError::BadRecord), "{name}");
    }
}

/// Metrics tell errors apart by their reason: one word each.
#[test]
fn reasons_are_distinct() {
    let errors: Vec<TlsError> = cases().into_iter().map(|(_, _, error)| error).collect();
    for a in &errors {
        for b in &errors {
            let same_kind = std::mem::discriminant(a) == std::mem::discriminant(b);
            let both_floods = matches!((a, b), (TlsError::Flood(a), TlsError::Flood(b)) if a != b);
            assert_eq!(a.reason() == b.reason(), same_kind && !both_floods, "{a:?} {b:?}");
        }
    }
}

/// A header that cannot be right before or during the handshake: our error names it, and the peer gets an alert.
#[test]
fn bad_headers_in_the_handshake() {
    for (bytes, error) in [
        (&b"GET / HTTP/1.1\r\n"[..], TlsError::NotTls(b'G')),
        (&[22, 4, 0, 0, 5], TlsError::RecordVersion(0x0400)),
        (&[22, 3, 1, 0x50, 0], TlsError::RecordTooLong(5 + 0x5000)),
    ] {
        let (_, mut server) = fresh_pair(Library::AwsLc, &SUITES, TlsSettings::default());
        assert_eq!(Session::record_len(bytes), Err(error.clone()));
        assert_eq!(server.handle_record(&mut bytes.to_vec()), Err(error));
        let mut wire = Vec::new();
        server.poll_transmit(&mut wire);
        assert_eq!(wire, [21, 3, 3, 0, 2, 2, Alert::DECODE_ERROR.0]);
    }
    let (_, mut server) = fresh_pair(Library::AwsLc, &SUITES, TlsSettings::default());
    assert_eq!(server.handle_record(&mut [22, 3, 1, 0, 9, 1]), Err(TlsError::NotOneRecord), "half a record");
}
