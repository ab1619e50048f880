//! A strict, bounded reader of DER (X.690 §10), as far as certificates are looked into here.
use core::fmt;

pub(super) const BOOLEAN: u8 = 0x01;
pub(super) const INTEGER: u8 = 0x02;
pub(super) const OCTET_STRING: u8 = 0x04;
pub(super) const OBJECT_IDENTIFIER: u8 = 0x06;
pub(super) const UTC_TIME: u8 = 0x17;
pub(super) const GENERALIZED_TIME: u8 = 0x18;
pub(super) const SEQUENCE: u8 = 0x30;
/// `[0] EXPLICIT` version of a certificate.
pub(super) const VERSION: u8 = 0xa0;

/// The certificate is not the DER that RFC 5280 asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Malformed;

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("certificate is not valid DER")
    }
}

/// One element of DER: tag, content, and what follows it.
pub(super) struct Element<'a> {
    pub(super) tag: u8,
    pub(super) content: &'a [u8],
    pub(super) rest: &'a [u8],
}

/// Splits the first element off. Lengths must be minimal and definite, tags one octet.
pub(super) fn element(input: &[u8]) -> Result<Element<'_>, Malformed> {
    let (&tag, input) = input.split_first().ok_or(Malformed)?;
    if tag & 0x1f == 0x1f {
        return Err(Malformed);
    }
    let (&first, input) = input.split_first().ok_or(Malformed)?;
    let (length, input) = match first {
        0..=0x7f => (usize::from(first), input),
        0x81 => {
            let (&a, input) = input.split_first().ok_or(Malformed)?;
            if a < 0x80 {
                return Err(Malformed);
            }
            (usize::from(a), input)
        }
        0x82 => {
            let (&bytes, input) = input.split_first_chunk::<2>().ok_or(Malformed)?;
            let length = u16::from_be_bytes(bytes);
            if length < 0x100 {
                return Err(Malformed);
            }
            (usize::from(length), input)
        }
        // TLS cannot carry a certificate of 2^24 octets and we would not want one of 2^16.
        _ => return Err(Malformed),
    };
    let (content, rest) = input.split_at_checked(length).ok_or(Malformed)?;
    Ok(Element { tag, content, rest })
}

/// The content of an element that must have this tag, and what follows.
pub(super) fn expect(input: &[u8], tag: u8) -> Result<(&[u8], &[u8]), Malformed> {
    let element = element(input)?;
    if element.tag == tag { Ok((element.content, element.rest)) } else { Err(Malformed) }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// X.690 §10.1: lengths are definite and as short as possible.
    #[test]
    fn lengths_are_der() {
        for bad in [
            &[0x30, 0x80, 0, 0][..],
            &[0x30, 0x81, 0x7f],
            &[0x30, 0x82, 0, 0xff],
            &[0x30, 0x83, 1, 0, 0],
            &[0x3f, 1, 0],
        ] {
            let mut padded = bad.to_vec();
            padded.resize(70_000, 0);
            assert!(element(&padded).is_err(), "{bad:x?}");
        }
        let mut long = std::vec![0x30, 0x82, 1, 0];
        long.resize(4 + 256 + 3, 7);
        let found = element(&long).unwrap();
        assert_eq!((found.tag, found.content.len(), found.rest.len()), (0x30, 256, 3));
    }
}
