//! Answers octet by octet; that others can read them is for the fuzz body with hickory-proto.
use std::net::Ipv4Addr;
use std::vec;

use super::super::message::Transport;
use super::super::message::tests::{question, with_edns};
use super::*;
use crate::mesh::ServiceName;

fn of(addresses: Vec<IpAddr>, canonical_labels: Option<usize>) -> Answer {
    let service = ServiceName { namespace: "ns".into(), hostname: "h".into() };
    Answer { service, addresses, canonical_labels }
}

fn encoded(octets: &[u8], given: &Answer, transport: Transport) -> Vec<u8> {
    let query = Query::parse(octets).unwrap();
    answer(&query, given, query.limit(transport))
}

fn many(count: u32) -> Vec<IpAddr> {
    (0..count).map(|n| IpAddr::V4(Ipv4Addr::from(0x0a00_0000 + n))).collect()
}

/// Words of the header behind the id.
fn header(message: &[u8]) -> [u16; 5] {
    [2, 4, 6, 8, 10].map(|at| u16::from_be_bytes([message[at], message[at + 1]]))
}

#[test]
fn an_address() {
    let octets = question("A.io", RecordType::A);
    let message = encoded(&octets, &of(vec!["1.2.3.4".parse().unwrap()], None), Transport::Udp);
    // QR, AA, RD, RA; the question as it came, in its letter case; a pointer to it, A, IN, 30 s, 4 octets.
    let mut expected = vec![0x12, 0x34, 0x85, 0x80, 0, 1, 0, 1, 0, 0, 0, 0];
    expected.extend_from_slice(&octets[12..]);
    expected.extend_from_slice(&[0xc0, 0x0c, 0, 1, 0, 1, 0, 0, 0, 30, 0, 4, 1, 2, 3, 4]);
    assert_eq!(message, expected);
}

#[test]
fn a_cname_leads_to_the_stripped_name_in_the_clients_letter_case() {
    let octets = question("wEb.nS1.x", RecordType::AAAA);
    let message = encoded(&octets, &of(vec!["::1".parse().unwrap()], Some(2)), Transport::Udp);
    assert_eq!(header(&message), [0x8580, 1, 2, 0, 0]);
    let mut expected = vec![0xc0, 0x0c, 0, 5, 0, 1, 0, 0, 0, 30, 0, 9];
    let target = octets.len() + expected.len();
    expected.extend_from_slice(b"\x03wEb\x03nS1\0");
    expected.extend_from_slice(&[0xc0, target as u8, 0, 28, 0, 1, 0, 0, 0, 30, 0, 16]);
    expected.extend_from_slice(&std::net::Ipv6Addr::LOCALHOST.octets());
    assert_eq!(message[octets.len()..], expected);
}

#[test]
fn a_known_name_without_addresses_has_no_records_and_no_soa() {
    for labels in [None, Some(1)] {
        let octets = question("web.x", RecordType::AAAA);
        let message = encoded(&octets, &of(vec![], labels), Transport::Udp);
        assert_eq!(header(&message), [0x8580, 1, 0, 0, 0]);
        assert_eq!(message.len(), octets.len());
    }
}

#[test]
fn recursion_and_checking_bits_come_back_as_they_were() {
    for (asked, expected) in [(0x0000, 0x8480), (0x0100, 0x8580), (0x0110, 0x8590), (0x0020, 0x8480)] {
        let mut octets = question("a", RecordType::A);
        octets[2..4].copy_from_slice(&u16::to_be_bytes(asked));
        let message = encoded(&octets, &of(vec![], None), Transport::Udp);
        assert_eq!(header(&message)[0], expected, "{asked:x}");
    }
}

#[test]
fn edns_comes_back_only_if_the_client_had_it() {
    for (payload, version, dnssec) in [(1232, 0, true), (4096, 0, false), (700, 1, true)] {
        let octets = with_edns("a", RecordType::A, payload, version, dnssec);
        let message = encoded(&octets, &of(many(1), None), Transport::Udp);
        assert_eq!(header(&message)[4], 1);
        assert_eq!(message[message.len() - 11..], octets[octets.len() - 11..]);
    }
    let message = encoded(&with_edns("a", RecordType::A, 1, 0, false), &of(many(1), None), Transport::Udp);
    assert_eq!(message[message.len() - 8..message.len() - 6], 512_u16.to_be_bytes());
    let message = encoded(&question("a", RecordType::A), &of(many(1), None), Transport::Udp);
    assert_eq!(header(&message)[4], 0);
}

#[test]
fn of_256_addresses_tcp_carries_all_and_a_datagram_of_1232_octets_74() {
    let octets = with_edns("large.com", RecordType::A, 1232, 0, false);
    let whole = encoded(&octets, &of(many(256), None), Transport::Tcp);
    assert_eq!(header(&whole), [0x8580, 1, 256, 0, 1]);
    let cut = encoded(&octets, &of(many(256), None), Transport::Udp);
    assert_eq!(header(&cut), [0x8780, 1, 74, 0, 1]);
    assert!(cut.len() <= 1232);
    let plain = encoded(&question("large.com", RecordType::A), &of(many(256), None), Transport::Udp);
    assert!(plain.len() <= 512 && header(&plain)[0] & 0x0200 != 0);
    let huge = encoded(&octets, &of(many(10_000), None), Transport::Tcp);
    assert!(huge.len() <= 65_535 && header(&huge)[0] & 0x0200 != 0);
}

#[test]
fn what_just_fits_is_not_truncated() {
    let octets = question("a", RecordType::A);
    let query = Query::parse(&octets).unwrap();
    let whole = answer(&query, &of(many(3), None), octets.len() + 3 * 16);
    assert_eq!(header(&whole), [0x8580, 1, 3, 0, 0]);
    let cut = answer(&query, &of(many(3), None), octets.len() + 3 * 16 - 1);
    assert_eq!(header(&cut), [0x8780, 1, 2, 0, 0]);
}

#[test]
fn failures() {
    let octets = with_edns("a.io", RecordType(16), 1232, 0, true);
    let message = failure(&octets, Rcode::ServerFailure);
    assert_eq!(header(&message), [0x8182, 1, 0, 0, 1]);
    assert_eq!((&message[..2], &message[12..]), (&octets[..2], &octets[12..]));
    // A question that cannot be read does not come back.
    let message = failure(&octets[..15], Rcode::FormatError);
    assert_eq!(message, [0x12, 0x34, 0x81, 0x81, 0, 0, 0, 0, 0, 0, 0, 0]);
    assert_eq!(failure(&[], Rcode::FormatError).len(), 12);
}
