//! SOCKS5 by script (RFC 1928), whole and octet by octet, and properties over any input.
use std::vec::Vec;

use proptest::prelude::*;

use super::*;

const GREETING: &[u8] = &[5, 1, 0];
const CHOSEN: &[u8] = &[5, 0];
const SUCCESS: &[u8] = &[5, 0, 0, 1, 0, 0, 0, 0, 0, 0];

#[derive(Clone, Debug, PartialEq, Eq)]
enum Outcome {
    Pending,
    Connect(SocketAddr),
    Resolve(Arc<str>, u16),
    Refused(SocksError),
}

fn machine() -> Socks5 {
    Socks5::new("127.0.0.1:4242".parse().unwrap())
}

/// Everything a machine said to `input`, read as it wants it but at most `chunk` octets at a time; and how much it read.
fn talk(input: &[u8], chunk: usize) -> (usize, Vec<u8>, Outcome) {
    let mut machine = machine();
    let (mut read, mut replies) = (0, Vec::new());
    loop {
        let n = machine.wanted().min(chunk).min(input.len() - read);
        if n == 0 {
            return (read, replies, Outcome::Pending);
        }
        let step = machine.handle(&input[read..read + n]);
        read += n;
        let (reply, outcome) = match step {
            SocksStep::More(reply) => (reply, None),
            SocksStep::Connect { to, reply } => (reply, Some(Outcome::Connect(to))),
            SocksStep::Resolve { name, port } => (Reply::new(), Some(Outcome::Resolve(name, port))),
            SocksStep::Refused { reply, error } => (reply, Some(Outcome::Refused(error))),
        };
        replies.extend_from_slice(&reply);
        if let Some(outcome) = outcome {
            assert_eq!(machine.wanted(), 0, "the handshake is over");
            assert_eq!(machine.handle(b"more"), SocksStep::More(Reply::new()), "nothing more is said");
            return (read, replies, outcome);
        }
    }
}

fn request(address: &[u8]) -> Vec<u8> {
    [GREETING, &[5, 1, 0], address].concat()
}

#[test]
fn addresses_connect_and_the_rest_is_left_alone() {
    let v4: &[u8] = &[1, 10, 0, 0, 1, 0x1f, 0x90];
    let v6 = [&[4][..], &[0x20, 1, 0x0d, 0xb8], &[0; 11], &[1], &[0, 80]].concat();
    let mapped = [&[4][..], &[0; 10], &[0xff, 0xff, 10, 0, 0, 1], &[0x1f, 0x90]].concat();
    let text_v4 = [&[3, 8][..], b"10.0.0.1", &[0x1f, 0x90]].concat();
    let text_v6 = [&[3, 11][..], b"2001:db8::1", &[0, 80]].concat();
    let cases = [
        (v4, "10.0.0.1:8080"),
        (&v6, "[2001:db8::1]:80"),
        (&mapped, "10.0.0.1:8080"),
        (&text_v4, "10.0.0.1:8080"),
        (&text_v6, "[2001:db8::1]:80"),
    ];
    for (address, target) in cases {
        let handshake = request(address);
        let input = [&handshake[..], b"GET / HTTP/1.1"].concat();
        for chunk in [1, 2, 3, 7, usize::MAX] {
            let (consumed, replies, outcome) = talk(&input, chunk);
            assert_eq!(consumed, handshake.len(), "{target} in chunks of {chunk}");
            assert_eq!(replies, [CHOSEN, SUCCESS].concat(), "{target} in chunks of {chunk}");
            assert_eq!(outcome, Outcome::Connect(target.parse().unwrap()), "in chunks of {chunk}");
        }
    }
}

#[test]
fn names_are_to_be_resolved_and_answered_then() {
    let cases: [(&[u8], &str); 3] =
        [(b"Example.COM", "example.com"), (b"example.com.", "example.com."), (b"_sip._tcp.a", "_sip._tcp.a")];
    for (name, wanted) in cases {
        let handshake = request(&[&[3, name.len() as u8][..], name, &[1, 187]].concat());
        let input = [&handshake[..], b"GET / HTTP/1.1"].concat();
        for chunk in [1, 2, 3, 7, usize::MAX] {
            let outcome = Outcome::Resolve(wanted.into(), 443);
            assert_eq!(talk(&input, chunk), (handshake.len(), CHOSEN.to_vec(), outcome));
        }
    }
    let code = |error| refused(&SocksError::Unresolved { name: "a".into(), error })[1];
    assert_eq!(
        (succeeded().as_slice(), code(NameError::NotFound), code(NameError::NoResolver)),
        (SUCCESS, 4, 8)
    );
}

#[test]
fn refusals_have_a_reply_and_a_reason() {
    let name = [&[3, 11][..], b"example com", &[0, 80]].concat();
    let binary = [&[3, 2][..], &[0xff, 0xfe], &[0, 80]].concat();
    let long = [&[3, 64][..], &[b'a'; 64], &[0, 80]].concat();
    let refused = |code: u8| [CHOSEN, &[5, code, 0, 1, 0, 0, 0, 0, 0, 0]].concat();
    let none = [5, 0xff].to_vec();
    let cases = [
        ([4, 1, 0, 80].to_vec(), none.clone(), SocksError::Version(4)),
        (b"GET / HTTP/1.1\r\n".to_vec(), none.clone(), SocksError::Version(b'G')),
        ([5, 0].to_vec(), none.clone(), SocksError::Method),
        ([5, 2, 1, 2].to_vec(), none, SocksError::Method),
        (request(&name), refused(8), SocksError::Name),
        (request(&binary), refused(8), SocksError::Name),
        (request(&long), refused(8), SocksError::Name),
        (request(&[3, 0, 0, 80]), refused(8), SocksError::Name),
        (request(&[2]), refused(8), SocksError::AddressType(2)),
        ([GREETING, &[5, 2]].concat(), refused(7), SocksError::Command(2)),
        ([GREETING, &[5, 3, 0, 1, 0, 0, 0, 0, 0, 0]].concat(), refused(7), SocksError::Command(3)),
        ([GREETING, &[4]].concat(), [CHOSEN, &[5, 0xff]].concat(), SocksError::Version(4)),
    ];
    for (input, reply, error) in cases {
        for chunk in [1, input.len()] {
            let (_, replies, outcome) = talk(&input, chunk);
            assert_eq!(
                (replies, outcome),
                (reply.clone(), Outcome::Refused(error.clone())),
                "in chunks of {chunk}"
            );
        }
    }
}

#[test]
fn a_method_among_others_is_found_and_an_unfinished_handshake_waits() {
    assert_eq!(talk(&[5, 3, 2, 1, 0], 5), (5, CHOSEN.to_vec(), Outcome::Pending));
    let whole = request(&[1, 10, 0, 0, 1, 0, 80]);
    for cut in 0..whole.len() {
        let (consumed, _, outcome) = talk(&whole[..cut], 4);
        assert_eq!((consumed, outcome), (cut, Outcome::Pending), "cut at {cut}");
    }
}

proptest! {
    /// However the octets arrive, the conversation is the same; memory stays bounded, and nothing panics.
    #[test]
    fn chunking_changes_nothing(
        start in prop_oneof![Just(Vec::new()), Just(GREETING.to_vec()), Just(request(&[])), Just(request(&[3]))],
        rest in proptest::collection::vec(any::<u8>(), 0..600),
        chunk in 1_usize..600,
    ) {
        let input = [start, rest].concat();
        let whole = talk(&input, usize::MAX);
        let cut = talk(&input, chunk);
        prop_assert_eq!((&cut.1, &cut.2), (&whole.1, &whole.2));
        // What is refused may be refused earlier when it arrives bit by bit.
        prop_assert!(cut.0 == whole.0 || (cut.0 < whole.0 && matches!(whole.2, Outcome::Refused(_))));
        prop_assert!(whole.2 != Outcome::Pending || whole.0 == input.len());
        // Octets that were not asked for are survived as well.
        let mut machine = machine();
        machine.handle(&input);
        prop_assert!(machine.message.len() <= MAX_MESSAGE);
    }
}
