//! Percent-encoding (RFC 3986 §2.1).
use std::fmt::Write as _;

/// `octets`, of which those that are not `plain` are written as `%NN`.
pub(crate) fn encoded(octets: &[u8], plain: impl Fn(u8) -> bool) -> String {
    octets.iter().fold(String::with_capacity(octets.len()), |mut encoded, octet| {
        if octet.is_ascii() && plain(*octet) {
            encoded.push(char::from(*octet));
        } else {
            // Writing to a text cannot fail.
            let _ = write!(encoded, "%{octet:02X}");
        }
        encoded
    })
}
