//! Messages octet by octet.
use std::string::ToString;
use std::vec;
use std::vec::Vec;

use super::*;

/// A question with id 0x1234 and recursion desired.
pub(crate) fn question(name: &str, record_type: RecordType) -> Vec<u8> {
    let mut message = vec![0x12, 0x34, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    for label in name.split('.').filter(|label| !label.is_empty()) {
        message.push(label.len() as u8);
        message.extend_from_slice(label.as_bytes());
    }
    message.push(0);
    message.extend_from_slice(&record_type.0.to_be_bytes());
    message.extend_from_slice(&[0, 1]);
    message
}

/// The same with an OPT record: payload, version, DO.
pub(crate) fn with_edns(
    name: &str,
    record_type: RecordType,
    payload: u16,
    version: u8,
    dnssec: bool,
) -> Vec<u8> {
    let mut message = question(name, record_type);
    message[11] = 1;
    message.extend_from_slice(&[0, 0, 41]);
    message.extend_from_slice(&payload.to_be_bytes());
    message.extend_from_slice(&[0, version, if dnssec { 0x80 } else { 0 }, 0, 0, 0]);
    message
}

#[test]
fn a_question_is_read() {
    let octets = question("Www.Example.com", RecordType::AAAA);
    let query = Query::parse(&octets).unwrap();
    let question = query.question().unwrap();
    assert_eq!((query.id(), query.opcode(), query.record_type()), (0x1234, 0, RecordType::AAAA));
    assert_eq!(question.to_string(), "Www.Example.com.");
    assert_eq!(question.hostname().as_deref(), Some("www.example.com"));
    assert_eq!(question.end(), octets.len());
    assert_eq!(query.tail(), Tail::Plain(None));
    assert_eq!(query.limit(Transport::Udp), 512);
    assert_eq!(query.limit(Transport::Tcp), 65_535);
}

#[test]
fn every_cut_of_a_question_is_refused() {
    let octets = question("www.example.com", RecordType::A);
    for length in 0..octets.len() {
        let expected = if length < HEADER { MessageError::TooShort } else { MessageError::Question };
        assert_eq!(Query::parse(&octets[..length]), Err(expected), "{length} octets");
        assert_eq!(expected.is_answered(), length >= HEADER);
    }
}

#[test]
fn responses_are_refused_and_not_answered() {
    let mut octets = question("a", RecordType::A);
    octets[2] |= 0x80;
    assert_eq!(Query::parse(&octets), Err(MessageError::Response));
    assert!(!MessageError::Response.is_answered());
}

#[test]
fn pointers_and_reserved_labels_are_refused() {
    // A pointer to itself is the loop that a careless reader runs into (RFC 1035 §4.1.4).
    for label in [[0xc0, 0x0c], [0xc0, 0], [0x40, 1], [0x80, 1]] {
        let mut octets = question("", RecordType::A);
        octets.splice(12..13, label);
        assert_eq!(Query::parse(&octets), Err(MessageError::Question), "{label:x?}");
    }
}

#[test]
fn names_of_255_octets_are_read_and_longer_ones_refused() {
    let label = "x".repeat(63);
    let longest = [&*label, &label, &label, &"x".repeat(61)].join(".");
    let octets = question(&longest, RecordType::A);
    assert_eq!(Query::parse(&octets).unwrap().question().unwrap().name().len(), 255);
    let octets = question(&std::format!("{longest}x"), RecordType::A);
    assert_eq!(Query::parse(&octets), Err(MessageError::Question));
}

#[test]
fn the_root_and_odd_names_are_no_hostnames() {
    let octets = question("", RecordType(2));
    let root = Query::parse(&octets).unwrap().question().unwrap();
    assert_eq!((root.hostname(), root.to_string()), (None, ".".into()));
    for odd in [0, b' ', b'.', 0x7f, 0xff] {
        let mut octets = question("abc.io", RecordType::A);
        octets[14] = odd;
        assert_eq!(Query::parse(&octets).unwrap().question().unwrap().hostname(), None, "{odd}");
    }
    let mut octets = question("a\\c.io", RecordType::A);
    octets[13] = 7;
    assert_eq!(Query::parse(&octets).unwrap().question().unwrap().to_string(), "\\007\\\\c.io.");
}

#[test]
fn edns_is_read() {
    let octets = with_edns("a.io", RecordType::A, 1232, 0, true);
    let query = Query::parse(&octets).unwrap();
    assert_eq!(query.tail(), Tail::Plain(Some(Edns { payload: 1232, version: 0, dnssec: true })));
    assert_eq!(query.limit(Transport::Udp), 1232);
    let octets = with_edns("a.io", RecordType::A, 100, 1, false);
    let query = Query::parse(&octets).unwrap();
    assert_eq!(query.tail(), Tail::Plain(Some(Edns { payload: 100, version: 1, dnssec: false })));
    assert_eq!(query.limit(Transport::Udp), 512);
}

#[test]
fn whatever_else_stands_behind_the_question_is_not_for_us() {
    let opt = with_edns("a.io", RecordType::A, 1232, 0, true);
    let mut shorter = opt.clone();
    shorter.pop();
    let mut longer = opt.clone();
    longer.push(0);
    let mut signature = opt.clone();
    let end = question("a.io", RecordType::A).len();
    signature[end + 2] = 250;
    let mut named = opt.clone();
    named.splice(end..=end, [0xc0, 0x0c]);
    let mut two = opt.clone();
    two[11] = 2;
    let mut answered = opt;
    answered[7] = 1;
    for octets in [shorter, longer, signature, named, two, answered] {
        assert_eq!(Query::parse(&octets).unwrap().tail(), Tail::Other, "{octets:?}");
    }
}

#[test]
fn messages_without_question_are_read() {
    // DNS stateful operations (RFC 8490) have none.
    let query = [0, 1, 0x30, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    let query = Query::parse(&query).unwrap();
    assert_eq!((query.question(), query.opcode()), (None, 0x3000));
}

#[test]
fn what_counts_as_the_response_to_a_query() {
    let octets = question("A.io", RecordType::A);
    let query = Query::parse(&octets).unwrap();
    let mut response = question("a.IO", RecordType::A);
    response[..4].copy_from_slice(&[0x55, 0x66, 0x81, 0x80]);
    let good = |response: &[u8]| answers(response, 0x5566, &query);
    assert!(good(&response));
    assert!(!answers(&response, 0x5567, &query), "another id");
    assert!(!good(&question("a.io", RecordType::A)), "a query");
    let change = |at: usize, octet: u8| {
        let mut changed = response.clone();
        changed[at] = octet;
        changed
    };
    assert!(!good(&change(2, 0xa1)), "another opcode");
    assert!(!good(&change(13, b'b')), "another name");
    assert!(!good(&change(19, 28)), "another type");
    assert!(!good(&change(21, 3)), "another class");
    assert!(!good(&change(5, 0)), "no question, and no error");
    let mut error = change(5, 0);
    error[3] |= 1;
    assert!(good(&error) && good(&error[..12]), "an error without question");
    assert!(!good(&error[..11]), "less than a header");
    assert!(good(&change(3, 0x83)) && good(&change(2, 0x83)), "NXDOMAIN, TC");
}

#[test]
fn labels_for_metrics_are_bounded() {
    let labels: std::collections::BTreeSet<_> = (0..=u16::MAX).map(|code| RecordType(code).label()).collect();
    assert!(labels.len() < 30 && labels.contains("unknown"));
    assert_eq!([RecordType::A.label(), RecordType::AAAA.label()], ["a", "aaaa"]);
    assert_eq!([Transport::Udp.label(), Transport::Tcp.label()], ["udp", "tcp"]);
}
