//! The URI names of a certificate, read from the raw extension (RFC 5280 §4.2.1.6).
//!
//! The X.509 library skips URI names that are not UTF-8 and so cannot say how many there are. This walk sees all of
//! them. It goes over each octet once, accepts DER only, and stops at the first irregularity.
use super::der::{BOOLEAN, Malformed, OBJECT_IDENTIFIER, OCTET_STRING, SEQUENCE, VERSION, element, expect};

/// `[3] EXPLICIT` extensions.
const EXTENSIONS: u8 = 0xa3;
/// `[6] IMPLICIT IA5String` uniformResourceIdentifier.
const URI: u8 = 0x86;
/// The same name wrongly encoded as constructed.
const URI_CONSTRUCTED: u8 = 0xa6;
/// 2.5.29.17
const SUBJECT_ALT_NAME: &[u8] = &[0x55, 0x1d, 0x11];

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
}
