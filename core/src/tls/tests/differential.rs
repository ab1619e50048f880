//! Our record protection against rustls's own, as each other's peers, over long random lives.
use std::collections::VecDeque;
use std::vec::Vec;

use super::stock::Random;
use super::support::*;
use crate::tls::{RecordMode, Session, TlsError, TlsSettings};

/// Operations in all, key updates included; each life ends in an alert. A few seconds, also without optimisation.
const OPERATIONS: usize = 1_000_000;
/// Operations in the life of one pair, so that ends are tried often.
const LIFE: usize = 5_000;

/// One end, the wire towards it (record by record), and what it must still receive.
struct End {
    session: Session,
    inbox: VecDeque<Vec<u8>>,
    owed: VecDeque<Vec<u8>>,
    closed: bool,
}

fn split(wire: &[u8], into: &mut VecDeque<Vec<u8>>) {
    let mut rest = wire;
    while !rest.is_empty() {
        let (record, next) = rest.split_at(Session::record_len(rest).unwrap().unwrap());
        into.push_back(record.to_vec());
        rest = next;
    }
}

/// Handles the next record at `ends[at]`; data must be what was sent, in order.
fn step(ends: &mut [End; 2], at: usize) -> Result<(), TlsError> {
    let end = &mut ends[at];
    let Some(mut record) = end.inbox.pop_front() else { return Ok(()) };
    match end.session.handle_record(&mut record)? {
        crate::tls::Input::Data(range) => {
            let owed = loop {
                let next = end.owed.pop_front().expect("data was sent");
                // Empty records are not handed to the caller.
                if !next.is_empty() {
                    break next;
                }
            };
            assert!(record[range] == owed[..]);
        }
        crate::tls::Input::CloseNotify => end.closed = true,
        crate::tls::Input::Nothing | crate::tls::Input::Established => {}
    }
    Ok(())
}

/// A pair of one client and one server in these modes lives through `operations` and ends in one of three ways.
fn life(modes: [RecordMode; 2], suite: rustls::CipherSuite, random: &mut Random, operations: usize) {
    let settings = |mode, random: &mut Random| {
        let mut settings =
            TlsSettings { mode, key_update_after: 1 + random.next() % 500, ..TlsSettings::default() };
        settings.budgets.key_updates = u32::MAX;
        settings.budgets.empty_records = u32::MAX;
        settings
    };
    let library = if random.below(2) == 0 { Library::AwsLc } else { Library::Ring };
    let client = context(library, &[suite], "client", settings(modes[0], random));
    let server = context(Library::AwsLc, &[suite], "server", settings(modes[1], random));
    let mut client = Session::client(&client, &only(&identity("server"))).unwrap();
    let mut server = Session::server(&server).unwrap();
    assert!(pump(&mut client, &mut server).errors.is_empty());
    let end = |session| End { session, inbox: VecDeque::new(), owed: VecDeque::new(), closed: false };
    let mut ends = [end(client), end(server)];
    for _ in 0..operations {
        let at = random.below(2);
        match random.below(20) {
            0..8 => {
                let size = match random.below(40) {
                    0 => random.below(16_385),
                    1 => 0,
                    _ => random.below(300),
                };
                let fill = random.next() as u8;
                let payload: Vec<u8> = (0..size).map(|i| fill.wrapping_add(i as u8)).collect();
                let wire = sealed(&mut ends[at].session, &payload);
                split(&wire, &mut ends[1 - at].inbox);
                ends[1 - at].owed.push_back(payload);
            }
            8 => ends[at].session.update_keys(random.below(3) == 0).unwrap(),
            9 => {
                let mut wire = Vec::new();
                ends[at].session.poll_transmit(&mut wire);
                split(&wire, &mut ends[1 - at].inbox);
            }
            _ => step(&mut ends, at).unwrap(),
        }
    }
    // A corrupted, swapped, replayed, cut or zeroed record: the same end for both; or close_notify.
    let at = random.below(2);
    for end in 0..2 {
        while !ends[end].inbox.is_empty() {
            step(&mut ends, end).unwrap();
        }
    }
    let mut wire = Vec::new();
    ends[1 - at].session.poll_transmit(&mut wire);
    wire.extend(sealed(&mut ends[1 - at].session, b"first"));
    split(&wire, &mut ends[at].inbox);
    // A KeyUpdate may stand before it.
    split(&sealed(&mut ends[1 - at].session, b"second"), &mut ends[at].inbox);
    let mut last = ends[at].inbox.pop_back().unwrap();
    let manner = random.below(6);
    match manner {
        0 => {
            let place = 5 + random.below(last.len() - 5);
            last[place] ^= 1 << random.below(8);
            ends[at].inbox.push_back(last);
        }
        1 => {
            let before = ends[at].inbox.pop_back().unwrap();
            ends[at].inbox.extend([last, before]);
        }
        2 => {
            let again = ends[at].inbox.back().unwrap().clone();
            ends[at].inbox.push_back(again);
        }
        3 => {
            last.truncate(last.len() - 1 - random.below(last.len() - 5));
            let len = last.len() as u16 - 5;
            last[3..5].copy_from_slice(&len.to_be_bytes());
            ends[at].inbox.push_back(last);
        }
        4 => {
            last[5..].fill(0);
            ends[at].inbox.push_back(last);
        }
        _ => {
            ends[at].inbox.push_back(last);
            ends[1 - at].session.close();
            let mut wire = Vec::new();
            ends[1 - at].session.poll_transmit(&mut wire);
            split(&wire, &mut ends[at].inbox);
        }
    }
    ends[at].owed.extend([b"first".to_vec(), b"second".to_vec()]);
    let mut outcome = Ok(());
    while outcome.is_ok() && !ends[at].inbox.is_empty() {
        outcome = step(&mut ends, at);
    }
    if manner == 5 {
        assert_eq!(outcome, Ok(()));
        assert!(ends[at].closed && ends[at].owed.iter().all(Vec::is_empty));
        return;
    }
    assert_eq!(outcome, Err(TlsError::BadRecord), "manner {manner}");
    let mut wire = Vec::new();
    ends[at].session.poll_transmit(&mut wire);
    split(&wire, &mut ends[1 - at].inbox);
    let learned = step(&mut ends, 1 - at);
    assert_eq!(learned, Err(TlsError::AlertReceived(crate::tls::Alert::BAD_RECORD_MAC)));
}

#[test]
fn ours_and_rustls_agree() {
    let modes = [
        [RecordMode::InPlace, RecordMode::Rustls],
        [RecordMode::Rustls, RecordMode::InPlace],
        [RecordMode::InPlace, RecordMode::InPlace],
    ];
    for round in 0..OPERATIONS.div_ceil(LIFE) {
        let mut random = Random::new(round as u64);
        life(modes[round % 3], SUITES[round / 3 % 3], &mut random, LIFE);
    }
}
