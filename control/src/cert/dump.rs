//! Certificates as Istio's admin interface shows them (`/config_dump`, interfaces §5: `certificates[]`).

use adit_core::cert::{Facts, State};
use adit_core::identity::Identity;
use adit_core::time::UnixTime;
use adit_core::tls::TlsContext;
use rustls::pki_types::CertificateDer;
use serde::Serialize;
use std::sync::Arc;
use time::OffsetDateTime;

/// One identity.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct CertificateDump {
    /// SPIFFE URI.
    pub identity: String,
    /// `Initializing`, `Available` or `Unavailable: <error>`.
    pub state: String,
    /// Leaf, then intermediates; never the root.
    pub cert_chain: Vec<DumpedCertificate>,
    /// What peers' chains must lead to.
    pub root_certs: Vec<DumpedCertificate>,
}

/// One certificate.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct DumpedCertificate {
    /// Base64 of the PEM text.
    pub pem: String,
    /// Decimal.
    pub serial_number: String,
    /// RFC 3339, in whole seconds, `Z`.
    pub valid_from: String,
    /// The same for its end.
    pub expiration_time: String,
}

impl CertificateDump {
    pub(super) fn new(identity: &Identity, state: State<'_, Arc<TlsContext>>) -> Self {
        let (text, context) = match state {
            State::Initializing => ("Initializing".to_owned(), None),
            State::Available(context) => ("Available".to_owned(), Some(context)),
            State::Unavailable(error) => (format!("Unavailable: {error}"), None),
        };
        let all = |ders: &[CertificateDer<'_>]| ders.iter().filter_map(|der| dumped(der)).collect();
        Self {
            identity: identity.to_string(),
            state: text,
            cert_chain: context.map(|context| all(context.chain())).unwrap_or_default(),
            root_certs: context.map(|context| all(context.roots())).unwrap_or_default(),
        }
    }
}

fn dumped(der: &[u8]) -> Option<DumpedCertificate> {
    let facts = Facts::of(der).ok()?;
    let mut pem = String::from("-----BEGIN CERTIFICATE-----\n");
    let body = base64(der);
    let mut rest = body.as_str();
    while !rest.is_empty() {
        // Base64 is ASCII, so every place is a boundary.
        let (line, next) = rest.split_at(rest.len().min(64));
        pem.push_str(line);
        pem.push('\n');
        rest = next;
    }
    pem.push_str("-----END CERTIFICATE-----\n");
    Some(DumpedCertificate {
        pem: base64(pem.as_bytes()),
        serial_number: facts.serial_decimal(),
        valid_from: rfc3339(facts.validity.not_before),
        expiration_time: rfc3339(facts.validity.not_after),
    })
}

fn rfc3339(at: UnixTime) -> String {
    let at = i64::try_from(at.0).ok().and_then(|at| OffsetDateTime::from_unix_timestamp(at).ok());
    let Some(at) = at else { return "9999-12-31T23:59:59Z".to_owned() };
    let (year, month, day) = at.to_calendar_date();
    let (hour, minute, second) = at.to_hms();
    format!("{year:04}-{:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z", u8::from(month))
}

/// RFC 4648 §4.
pub(super) fn base64(octets: &[u8]) -> String {
    const ALPHABET: [char; 64] = {
        let text = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
        let mut alphabet = ['='; 64];
        let mut place = 0;
        while place < 64 {
            alphabet[place] = text[place] as char;
            place += 1;
        }
        alphabet
    };
    let mut text = String::with_capacity(octets.len().div_ceil(3) * 4);
    for group in octets.chunks(3) {
        let octet = |place: usize| usize::from(group.get(place).copied().unwrap_or_default());
        let bits = octet(0) << 16 | octet(1) << 8 | octet(2);
        for place in 0..4 {
            let sextet = bits >> (18 - 6 * place) & 63;
            text.push(if place <= group.len() { ALPHABET[sextet] } else { '=' });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_vectors_of_rfc_4648() {
        let cases = [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foobar", "Zm9vYmFy")];
        for (plain, coded) in cases {
            assert_eq!(base64(plain.as_bytes()), coded);
        }
    }

    #[test]
    fn times() {
        assert_eq!(rfc3339(UnixTime(1_767_225_600)), "2026-01-01T00:00:00Z");
        assert_eq!(rfc3339(UnixTime(u64::MAX)), "9999-12-31T23:59:59Z");
    }
}
