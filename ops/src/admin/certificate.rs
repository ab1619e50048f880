//! Certificates as the admin pages show them: public parts only.
use std::fmt::Write as _;

use adit_core::identity::Identity;
use adit_core::time::UnixTime;
use adit_core::tls::Facts;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Serialize, Serializer};

/// The last moment that RFC 5280 can write.
const NEVER: &str = "9999-12-31T23:59:59Z";

/// Why a certificate cannot be shown.
#[derive(Clone, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[error("this is no X.509 certificate in DER: {0}")]
pub struct CertificateError(String);

/// One certificate.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Certificate {
    /// Its PEM text, in base64 once more.
    pem: String,
    /// In decimal.
    serial_number: String,
    /// RFC 3339.
    valid_from: String,
    /// RFC 3339.
    expiration_time: String,
}

impl Certificate {
    /// Reads what is shown from a certificate in DER.
    ///
    /// # Errors
    /// It is none.
    pub fn from_der(der: &[u8]) -> Result<Self, CertificateError> {
        let facts = Facts::of(der).map_err(|error| CertificateError(error.to_string()))?;
        // RFC 5280 §4.1.2.5: what ends later than can be written ends at this.
        let time = |at: UnixTime| {
            let seconds = i64::try_from(at.0).unwrap_or(i64::MAX);
            jiff::Timestamp::from_second(seconds).map_or_else(|_| NEVER.to_owned(), |time| time.to_string())
        };
        Ok(Self {
            pem: STANDARD.encode(pem(der)),
            serial_number: facts.serial_decimal(),
            valid_from: time(facts.validity.not_before),
            expiration_time: time(facts.validity.not_after),
        })
    }
}

/// PEM (RFC 7468): lines of 64 characters.
fn pem(der: &[u8]) -> String {
    let mut text = String::from("-----BEGIN CERTIFICATE-----\n");
    // 48 octets are 64 characters; writing to a String cannot fail.
    for line in der.chunks(48) {
        let _ = writeln!(text, "{}", STANDARD.encode(line));
    }
    text.push_str("-----END CERTIFICATE-----\n");
    text
}

/// Whether an identity has a certificate.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum CertificateState {
    /// It is being fetched for the first time.
    Initializing,
    /// It is there.
    Available,
    /// There is none, because of this.
    Unavailable(String),
}

impl Serialize for CertificateState {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Initializing => serializer.serialize_str("Initializing"),
            Self::Available => serializer.serialize_str("Available"),
            Self::Unavailable(error) => serializer.collect_str(&format_args!("Unavailable: {error}")),
        }
    }
}

/// One identity and its certificates.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct CertificateStatus {
    /// Whose they are.
    #[serde(serialize_with = "as_text")]
    pub identity: Identity,
    /// Whether there are any.
    pub state: CertificateState,
    /// The leaf, then intermediates; never the root.
    pub cert_chain: Vec<Certificate>,
    /// What its peers are judged by.
    pub root_certs: Vec<Certificate>,
}

fn as_text<S: Serializer>(identity: &Identity, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(identity)
}
