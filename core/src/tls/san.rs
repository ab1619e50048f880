//! The URI names of a certificate, read from the raw extension (RFC 5280 §4.2.1.6).
//!
//! The X.509 library skips URI names that are not UTF-8 and so cannot say how many there are. This walk sees all of
//! them. It goes over each octet once, accepts DER only, and stops at the first irregularity.
use core::fmt;

const SEQUENCE: u8 = 0x30;
const OBJECT_IDENTIFIER: u8 = 0x06;
const BOOLEAN: u8 = 0x01;
const OCTET_STRING: u8 = 0x04;
/// `[0] EXPLICIT` version.
const VERSION: u8 = 0xa0;
/// `[3] EXPLICIT` extensions.
const EXTENSIONS: u8 = 0xa3;
/// `[6] IMPLICIT IA5String` uniformResourceIdentifier.
const URI: u8 = 0x86;
/// The same name wrongly encoded as constructed.
const URI_CONSTRUCTED: u8 = 0xa6;
/// 2.5.29.17
const SUBJECT_ALT_NAME: &[u8] = &[0x55, 0x1d, 0x11];

/// The certificate is not the DER that RFC 5280 asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Malformed;

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("certificate is not valid DER")
    }
}

/// One element of DER: tag, content, and what follows it.
struct Element<'a> {
    tag: u8,
    content: &'a [u8],
    rest: &'a [u8],
}

/// Splits the first element off. Lengths must be minimal and definite, tags one octet.
fn element(input: &[u8]) -> Result<Element<'_>, Malformed> {
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
fn expect(input: &[u8], tag: u8) -> Result<(&[u8], &[u8]), Malformed> {
    let element = element(input)?;
    if element.tag == tag { Ok((element.content, element.rest)) } else { Err(Malformed) }
}

/// Calls `found` with every URI name of the certificate, in order.
pub(super) fn each_uri<'a>(certificate: &'a [u8], mut found: impl FnMut(&'a [u8])) -> Result<(), Malformed> {
    let Some(names) = subject_alt_names(certificate)? else {
        return Ok(());
    };
    let (mut names, rest) = expect(names, SEQUENCE)?;
    if !rest.is_empty() {
        return Err(Malformed);
    }
    while !names.is_empty() {
        let name = element(names)?;
        match name.tag {
            URI => found(name.content),
            URI_CONSTRUCTED => return Err(Malformed),
            _ => {}
        }
        names = name.rest;
    }
    Ok(())
}

/// The value of the subjectAltName extension; an error when there are two.
fn subject_alt_names(certificate: &[u8]) -> Result<Option<&[u8]>, Malformed> {
    let (certificate, rest) = expect(certificate, SEQUENCE)?;
    if !rest.is_empty() {
        return Err(Malformed);
    }
    let (mut tbs, _signature) = expect(certificate, SEQUENCE)?;
    (_, tbs) = expect(tbs, VERSION)?;
    let mut extensions = None;
    while !tbs.is_empty() {
        let field = element(tbs)?;
        if field.tag == EXTENSIONS {
            // Nothing comes after the extensions (RFC 5280 §4.1).
            if !field.rest.is_empty() {
                return Err(Malformed);
            }
            extensions = Some(field.content);
        }
        tbs = field.rest;
    }
    let Some(extensions) = extensions else {
        return Ok(None);
    };
    let (mut extensions, rest) = expect(extensions, SEQUENCE)?;
    if !rest.is_empty() {
        return Err(Malformed);
    }
    let mut value = None;
    while !extensions.is_empty() {
        let (extension, next) = expect(extensions, SEQUENCE)?;
        extensions = next;
        let (oid, mut after) = expect(extension, OBJECT_IDENTIFIER)?;
        if oid != SUBJECT_ALT_NAME {
            continue;
        }
        let critical = element(after)?;
        if critical.tag == BOOLEAN {
            after = critical.rest;
        }
        let (octets, rest) = expect(after, OCTET_STRING)?;
        if !rest.is_empty() || value.replace(octets).is_some() {
            return Err(Malformed);
        }
    }
    Ok(value)
}

#[cfg(test)]
mod tests {
    use std::vec::Vec;

    use super::*;
    use crate::tls::tests::support::{Leaf, ca};

    fn uris(certificate: &[u8]) -> Result<Vec<Vec<u8>>, Malformed> {
        let mut found = Vec::new();
        each_uri(certificate, |uri| found.push(uri.to_vec()))?;
        Ok(found)
    }

    #[test]
    fn finds_uris_among_other_names() {
        let (certificate, _) = ca().issue(Leaf { dns: true, ..Leaf::uris(&["a:1", "b:2"]) });
        assert_eq!(uris(&certificate), Ok(std::vec![b"a:1".to_vec(), b"b:2".to_vec()]));
        assert_eq!(uris(&ca().certificate), Ok(Vec::new()));
    }

    /// Strict at every cut, and never a panic at any change.
    #[test]
    fn damaged_certificates() {
        let (certificate, _) = ca().issue(Leaf::uris(&["a:1"]));
        for length in 0..certificate.len() {
            assert_eq!(uris(&certificate[..length]), Err(Malformed));
        }
        let mut longer = certificate.to_vec();
        longer.push(0);
        assert_eq!(uris(&longer), Err(Malformed));
        let mut refused = 0;
        for place in 0..certificate.len() {
            for change in [1, 0x80, 0xff] {
                let mut damaged = certificate.to_vec();
                damaged[place] ^= change;
                refused += usize::from(uris(&damaged).is_err());
            }
        }
        assert!(refused > 50, "{refused}");
    }

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
