//! Our own questions as our own reader sees them, responses by hand, and any octets.
use std::net::Ipv4Addr;

use proptest::prelude::*;

use super::*;
use crate::dns::{Query, Resolver};

#[test]
fn a_question_is_one_that_we_would_answer() {
    let message = host_question("Web.Example.", RecordType::AAAA).unwrap();
    let query = Query::parse(&message).unwrap();
    let question = query.question().unwrap();
    assert_eq!(std::format!("{question:?}"), "Web.Example. aaaa class 1");
    assert!(Resolver::concerns(&query));
    assert_eq!(query.limit(crate::dns::Transport::Udp), 1_232);
    let long = ["a"; 128].join(".");
    for bad in ["", ".", "a..b", ".a", "a b", "ü", &"a".repeat(64), &long] {
        assert_eq!(host_question(bad, RecordType::A), Err(NameError::Invalid), "{bad}");
    }
    assert!(host_question(&["a"; 127].join("."), RecordType::A).is_ok());
}

/// A response with these flags to a question for `a.b`, and a record: type, seconds and data.
fn response(flags: u16, records: &[(u16, u32, &[u8])]) -> Vec<u8> {
    let mut message = host_question("a.b", RecordType::A).unwrap();
    message.truncate(HEADER + 5 + 4);
    message[2..4].copy_from_slice(&(FLAG_RESPONSE | flags).to_be_bytes());
    message[6..8].copy_from_slice(&u16::try_from(records.len()).unwrap().to_be_bytes());
    message[10..12].fill(0);
    for (kind, ttl, data) in records {
        message.extend([0xc0, 12]);
        message.extend(kind.to_be_bytes());
        message.extend(CLASS_INTERNET.to_be_bytes());
        message.extend(ttl.to_be_bytes());
        message.extend(u16::try_from(data.len()).unwrap().to_be_bytes());
        message.extend(*data);
    }
    message
}

const SIX: &[u8] = &[0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];

#[test]
fn addresses_of_the_type_are_taken_with_the_least_time() {
    let chain: &[u8] = &[1, b'c', 0];
    let octets =
        response(0, &[(5, 20, chain), (1, 300, &[10, 0, 0, 1]), (28, 1, SIX), (1, 30, &[10, 0, 0, 2])]);
    let answer = host_answer(&octets, RecordType::A).unwrap();
    let wanted = [1, 2].map(|last| IpAddr::from(Ipv4Addr::new(10, 0, 0, last)));
    assert_eq!(answer, HostAnswer { addresses: wanted.to_vec(), ttl: 20, truncated: false });
    let six = host_answer(&octets, RecordType::AAAA).unwrap();
    assert_eq!((six.addresses.len(), six.ttl), (1, 1));
    // A record of a wrong length is none.
    assert_eq!(host_answer(&response(0, &[(1, 9, SIX)]), RecordType::A), Err(NameError::NoAddress));
    let many = std::vec![(1, 9, &[10, 0, 0, 1][..]); 100];
    assert_eq!(host_answer(&response(0, &many), RecordType::A).unwrap().addresses.len(), 64);
}

#[test]
fn a_response_may_say_otherwise() {
    let says = |flags| host_answer(&response(flags, &[]), RecordType::A);
    assert_eq!(says(0), Err(NameError::NoAddress));
    assert_eq!(says(3), Err(NameError::NotFound));
    assert_eq!((says(2), says(5)), (Err(NameError::ServerFailure), Err(NameError::ServerFailure)));
    assert!(says(FLAG_TRUNCATED).unwrap().truncated);
    let mut cut = response(FLAG_TRUNCATED, &[(1, 9, &[10, 0, 0, 1])]);
    cut.truncate(cut.len() - 2);
    assert!(host_answer(&cut, RecordType::A).unwrap().truncated);
    cut[2] &= !2;
    assert_eq!(host_answer(&cut, RecordType::A), Err(NameError::ServerFailure));
    let question = host_question("a.b", RecordType::A).unwrap();
    assert_eq!(host_answer(&question, RecordType::A), Err(NameError::ServerFailure), "no response at all");
}

proptest! {
    #[test]
    fn any_octets_are_read_or_refused(mut octets in prop::collection::vec(any::<u8>(), 0..200), answers in 0..6_u8) {
        if let Some(header) = octets.get_mut(2..12) {
            header.copy_from_slice(&[0x80, 0, 0, 0, 0, answers, 0, 0, 0, 0]);
        }
        if let Ok(answer) = host_answer(&octets, RecordType::A) {
            prop_assert!(answer.addresses.len() <= usize::from(answers));
        }
    }
}
