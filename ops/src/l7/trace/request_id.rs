//! `x-request-id`: made where there is none, and stamped with whether the request is traced (Envoy's UUID; waypoint.md §21.3).
use adit_core::rng::Rng;

/// Why a request is traced, or that it is not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reason {
    /// It is not.
    NotTraced,
    /// The dice, or the client's trace, said so.
    Sampled,
    /// A server before us wanted it.
    Server,
    /// The client wanted it.
    Client,
}

/// Where the stamp is: the digit of a UUID that says its version.
const PLACE: usize = 14;
/// Length of a UUID as it is written.
const LENGTH: usize = 36;
/// Where it has dashes.
const DASHES: [usize; 4] = [8, 13, 18, 23];

impl Reason {
    /// What a request id says.
    #[must_use]
    pub fn read(id: &[u8]) -> Self {
        match id.get(PLACE) {
            Some(b'9') if RequestId::is_uuid(id) => Self::Sampled,
            Some(b'a') if RequestId::is_uuid(id) => Self::Server,
            Some(b'b') if RequestId::is_uuid(id) => Self::Client,
            _ => Self::NotTraced,
        }
    }

    const fn digit(self) -> char {
        match self {
            Self::NotTraced => '4',
            Self::Sampled => '9',
            Self::Server => 'a',
            Self::Client => 'b',
        }
    }
}

/// What is done about a request's id.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum RequestId {
    /// The client's stays.
    Kept,
    /// The header is to be this.
    Set(String),
}

impl RequestId {
    /// The header's name.
    pub const HEADER: &str = "x-request-id";

    /// Decides for a request that came with `client`'s id; `stamp` says what to write into it, `None` nothing. An id that is no
    /// UUID is never changed.
    #[must_use]
    pub fn of(client: Option<&[u8]>, stamp: Option<Reason>, rng: &mut Rng) -> Self {
        match client.filter(|id| !id.is_empty()) {
            None => Self::Set(generate(stamp.unwrap_or(Reason::NotTraced), rng)),
            Some(id) => match stamp.filter(|stamp| Self::is_uuid(id) && Reason::read(id) != *stamp) {
                None => Self::Kept,
                Some(stamp) => {
                    let letter = |(place, octet): (usize, &u8)| match place {
                        PLACE => stamp.digit(),
                        _ => char::from(*octet),
                    };
                    Self::Set(id.iter().enumerate().map(letter).collect())
                }
            },
        }
    }

    fn is_uuid(id: &[u8]) -> bool {
        let fits = |(place, octet): (usize, &u8)| match DASHES.contains(&place) {
            true => *octet == b'-',
            false => octet.is_ascii_hexdigit(),
        };
        id.len() == LENGTH && id.iter().enumerate().all(fits)
    }
}

/// A random UUID (RFC 9562, version 4) with the stamp in place of its version.
fn generate(stamp: Reason, rng: &mut Rng) -> String {
    let bits = u128::from(rng.next_u64()) << 64 | u128::from(rng.next_u64());
    // The variant: the two bits behind 64.
    let bits = bits & !(0b11 << 62) | 0b10 << 62;
    let digits = format!("{bits:032x}");
    let mut id = String::with_capacity(LENGTH);
    for digit in digits.chars() {
        if DASHES.contains(&id.len()) {
            id.push('-');
        }
        id.push(if id.len() == PLACE { stamp.digit() } else { digit });
    }
    id
}

#[cfg(test)]
mod tests {
    use adit_core::rng::Rng;
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn an_id_is_made_where_there_is_none() {
        let mut rng = Rng::new(1);
        for (stamp, digit) in [
            (None, b'4'),
            (Some(Reason::NotTraced), b'4'),
            (Some(Reason::Sampled), b'9'),
            (Some(Reason::Server), b'a'),
            (Some(Reason::Client), b'b'),
        ] {
            for client in [None, Some(&b""[..])] {
                let RequestId::Set(id) = RequestId::of(client, stamp, &mut rng) else { panic!("kept") };
                assert!(RequestId::is_uuid(id.as_bytes()), "{id}");
                assert_eq!(id.as_bytes()[PLACE], digit);
                assert!(matches!(id.as_bytes()[19], b'8' | b'9' | b'a' | b'b'), "{id}");
                assert_eq!(Reason::read(id.as_bytes()), stamp.unwrap_or(Reason::NotTraced));
            }
        }
        assert_ne!(RequestId::of(None, None, &mut rng), RequestId::of(None, None, &mut rng));
    }

    #[test]
    fn the_clients_id_stays_but_for_the_stamp() {
        let mut rng = Rng::new(1);
        let id = b"0f8fad5b-d9cb-469f-a165-70867728950e";
        assert_eq!(RequestId::of(Some(id), None, &mut rng), RequestId::Kept);
        assert_eq!(RequestId::of(Some(id), Some(Reason::NotTraced), &mut rng), RequestId::Kept);
        let stamped = RequestId::Set("0f8fad5b-d9cb-969f-a165-70867728950e".to_owned());
        assert_eq!(RequestId::of(Some(id), Some(Reason::Sampled), &mut rng), stamped);
        for odd in [&b"my-own-id"[..], b"0f8fad5b_d9cb_469f_a165_70867728950e", b"\xff\xff", b"\r\n"] {
            assert_eq!(RequestId::of(Some(odd), Some(Reason::Sampled), &mut rng), RequestId::Kept);
            assert_eq!(Reason::read(odd), Reason::NotTraced);
        }
    }

    proptest! {
        #[test]
        fn any_octets_are_read(octets in proptest::collection::vec(any::<u8>(), 0..50), seed in any::<u64>()) {
            let _ = Reason::read(&octets);
            if let RequestId::Set(id) = RequestId::of(Some(&octets), Some(Reason::Client), &mut Rng::new(seed)) {
                prop_assert_eq!(Reason::read(id.as_bytes()), Reason::Client);
            }
        }
    }
}
