//! Certificates, ports and pipes for the session tests.
use std::boxed::Box;
use std::format;
use std::string::{String, ToString};
use std::sync::{Arc, OnceLock};
use std::vec;
use std::vec::Vec;

use rcgen::{
    BasicConstraints, CertificateParams, CrlDistributionPoint, CustomExtension, DnType,
    ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, SanType, date_time_ymd,
};
use rustls::CipherSuite;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use crate::identity::{Identity, IdentitySet};
use crate::time::{UnixTime, WallClock};
use crate::tls::{
    Aead, AeadError, AeadKey, Credentials, HEADROOM, Input, Session, Suite, TAILROOM, TlsContext, TlsError,
    TlsPorts, TlsSettings,
};

/// 2026-01-01, inside every validity that is not meant to be over.
pub(super) const NOW: UnixTime = UnixTime(1_767_225_600);

macro_rules! port {
    ($name:ident, $key:ident, $library:ident) => {
        #[derive(Debug)]
        pub(in crate::tls) struct $name;
        struct $key($library::aead::LessSafeKey);
        impl Aead for $name {
            fn key(&self, suite: Suite, key: &[u8]) -> Option<Box<dyn AeadKey>> {
                let algorithm = match suite {
                    Suite::Aes128Gcm => &$library::aead::AES_128_GCM,
                    Suite::Aes256Gcm => &$library::aead::AES_256_GCM,
                    Suite::Chacha20Poly1305 => &$library::aead::CHACHA20_POLY1305,
                };
                let key = $library::aead::UnboundKey::new(algorithm, key).ok()?;
                Some(Box::new($key($library::aead::LessSafeKey::new(key))))
            }
        }
        impl AeadKey for $key {
            fn seal(&self, nonce: [u8; 12], aad: &[u8], in_out: &mut [u8]) -> Result<[u8; 16], AeadError> {
                let nonce = $library::aead::Nonce::assume_unique_for_key(nonce);
                let tag = self.0.seal_in_place_separate_tag(nonce, $library::aead::Aad::from(aad), in_out);
                tag.map_err(|_| AeadError)?.as_ref().try_into().map_err(|_| AeadError)
            }
            fn open(&self, nonce: [u8; 12], aad: &[u8], in_out: &mut [u8]) -> Result<usize, AeadError> {
                let nonce = $library::aead::Nonce::assume_unique_for_key(nonce);
                let plain = self.0.open_in_place(nonce, $library::aead::Aad::from(aad), in_out);
                plain.map(|plain| plain.len()).map_err(|_| AeadError)
            }
        }
    };
}
port!(AwsLc, AwsLcKey, aws_lc_rs);
port!(Ring, RingKey, ring);

/// Which library makes handshakes and records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::tls) enum Library {
    AwsLc,
    Ring,
}

impl Library {
    pub(in crate::tls) const ALL: [Self; 2] = [Self::AwsLc, Self::Ring];

    pub(in crate::tls) fn provider(self, suites: &[CipherSuite]) -> Arc<CryptoProvider> {
        let mut provider = match self {
            Self::AwsLc => rustls::crypto::aws_lc_rs::default_provider(),
            Self::Ring => rustls::crypto::ring::default_provider(),
        };
        provider.cipher_suites.retain(|suite| suites.contains(&suite.suite()));
        Arc::new(provider)
    }

    pub(super) fn aead(self) -> Arc<dyn Aead> {
        match self {
            Self::AwsLc => Arc::new(AwsLc),
            Self::Ring => Arc::new(Ring),
        }
    }

    pub(super) fn ports(self, suites: &[CipherSuite]) -> TlsPorts {
        TlsPorts { provider: self.provider(suites), aead: self.aead(), clock: Arc::new(WallClock::new(NOW)) }
    }
}

pub(super) const AES_256: CipherSuite = CipherSuite::TLS13_AES_256_GCM_SHA384;
pub(in crate::tls) const AES_128: CipherSuite = CipherSuite::TLS13_AES_128_GCM_SHA256;
pub(super) const CHACHA: CipherSuite = CipherSuite::TLS13_CHACHA20_POLY1305_SHA256;
pub(super) const SUITES: [CipherSuite; 3] = [AES_256, AES_128, CHACHA];

/// A certificate authority.
pub(in crate::tls) struct Ca {
    issuer: Issuer<'static, KeyPair>,
    pub(in crate::tls) certificate: CertificateDer<'static>,
}

impl Ca {
    pub(super) fn new(name: &str) -> Self {
        let key = KeyPair::generate().unwrap();
        let params = ca_params(name);
        let certificate = params.self_signed(&key).unwrap().der().clone();
        Self { issuer: Issuer::new(params, key), certificate }
    }

    /// Who signs.
    pub(super) const fn issuer(&self) -> &Issuer<'static, KeyPair> {
        &self.issuer
    }

    /// Whether it has this name.
    pub(super) fn is(&self, name: &str) -> bool {
        self.certificate.windows(name.len()).any(|window| window == name.as_bytes())
    }

    /// An authority below this one.
    pub(super) fn intermediate(&self, name: &str) -> Self {
        self.constrained(name, None)
    }

    /// The same with one more extension.
    pub(super) fn constrained(&self, name: &str, extension: Option<CustomExtension>) -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = ca_params(name);
        params.custom_extensions.extend(extension);
        let certificate = params.signed_by(&key, &self.issuer).unwrap().der().clone();
        Self { issuer: Issuer::new(params, key), certificate }
    }

    pub(in crate::tls) fn issue(&self, leaf: Leaf) -> (CertificateDer<'static>, PrivateKeyDer<'static>) {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.distinguished_name = rcgen::DistinguishedName::new();
        if let Some(name) = leaf.common_name {
            params.distinguished_name.push(DnType::CommonName, name);
        }
        params.crl_distribution_points = leaf.lists_at.iter().map(|uri| point(uri)).collect();
        params.subject_alt_names =
            leaf.uris.iter().map(|uri| SanType::URI(uri.as_str().try_into().unwrap())).collect();
        if leaf.dns {
            params.subject_alt_names.insert(0, SanType::DnsName("example.com".try_into().unwrap()));
        }
        params.not_before = date_time_ymd(leaf.from_year, 1, 1);
        params.not_after = date_time_ymd(leaf.to_year, 1, 1);
        params.extended_key_usages = leaf.usages;
        if leaf.padding > 0 {
            // 1.3.6.1.4.1.55555.1: nobody's; makes the certificate large.
            params.custom_extensions = vec![CustomExtension::from_oid_content(
                &[1, 3, 6, 1, 4, 1, 55_555, 1],
                vec![4; leaf.padding],
            )];
        }
        params.custom_extensions.extend(leaf.extension);
        let certificate = params.signed_by(&key, &self.issuer).unwrap().der().clone();
        (certificate, PrivateKeyDer::try_from(key.serialize_der()).unwrap())
    }

    /// Ordinary credentials of `identity`, trusting this authority.
    pub(super) fn credentials(&self, identity: &Identity) -> Credentials {
        let (leaf, key) = self.issue(Leaf::of(identity));
        Credentials {
            identity: identity.clone(),
            chain: vec![leaf],
            key,
            roots: vec![self.certificate.clone()],
        }
    }
}

fn ca_params(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.distinguished_name.push(DnType::CommonName, name);
    params
}

/// What a leaf certificate shall say.
pub(in crate::tls) struct Leaf {
    pub(in crate::tls) uris: Vec<String>,
    pub(in crate::tls) dns: bool,
    pub(in crate::tls) from_year: i32,
    pub(in crate::tls) to_year: i32,
    pub(in crate::tls) usages: Vec<ExtendedKeyUsagePurpose>,
    pub(in crate::tls) padding: usize,
    pub(in crate::tls) extension: Option<CustomExtension>,
    /// A name of the subject, which nobody may go by.
    pub(in crate::tls) common_name: Option<String>,
    /// Where its issuer says that its revocation lists are.
    pub(in crate::tls) lists_at: Vec<&'static str>,
}

impl Leaf {
    pub(super) fn of(identity: &Identity) -> Self {
        Self::uris(&[&identity.to_string()])
    }

    pub(in crate::tls) fn uris(uris: &[&str]) -> Self {
        Self {
            uris: uris.iter().map(|uri| (*uri).to_string()).collect(),
            dns: false,
            from_year: 2020,
            to_year: 2040,
            usages: vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth],
            padding: 0,
            extension: None,
            common_name: None,
            lists_at: Vec::new(),
        }
    }
}

/// A place of revocation lists.
pub(super) fn point(uri: &str) -> CrlDistributionPoint {
    CrlDistributionPoint { uris: vec![uri.to_string()] }
}

/// One authority for all tests that do not need their own: generating keys takes time.
pub(in crate::tls) fn ca() -> &'static Ca {
    static CA: OnceLock<Ca> = OnceLock::new();
    CA.get_or_init(|| Ca::new("test root"))
}

pub(super) fn identity(name: &str) -> Identity {
    Identity::new("cluster.local", "default", name).unwrap()
}

pub(super) fn only(identity: &Identity) -> IdentitySet {
    IdentitySet::from_iter([identity.clone()])
}

pub(super) fn context(
    library: Library,
    suites: &[CipherSuite],
    name: &str,
    settings: TlsSettings,
) -> Arc<TlsContext> {
    TlsContext::with_settings(library.ports(suites), ca().credentials(&identity(name)), settings).unwrap()
}

/// A pair of our own sessions that have not spoken yet.
pub(super) fn fresh_pair(
    library: Library,
    suites: &[CipherSuite],
    settings: TlsSettings,
) -> (Session, Session) {
    let client = context(library, suites, "client", settings);
    let server = context(library, suites, "server", settings);
    (Session::client(&client, &only(&identity("server"))).unwrap(), Session::server(&server).unwrap())
}

/// A pair of our own sessions after the handshake.
pub(super) fn established_pair(
    library: Library,
    suites: &[CipherSuite],
    settings: TlsSettings,
) -> (Session, Session) {
    let (mut client, mut server) = fresh_pair(library, suites, settings);
    let log = pump(&mut client, &mut server);
    assert!(log.errors.is_empty(), "{:?}", log.errors);
    assert!(client.is_established() && server.is_established());
    (client, server)
}

/// What happened while two sessions spoke.
#[derive(Debug, Default)]
pub(super) struct Log {
    pub(super) errors: Vec<TlsError>,
    pub(super) data: Vec<u8>,
}

/// Hands everything either side wants to send to the other until both are silent.
pub(super) fn pump(a: &mut Session, b: &mut Session) -> Log {
    let mut log = Log::default();
    for _ in 0..100 {
        let mut idle = true;
        for forth in [true, false] {
            let (from, to) = if forth { (&mut *a, &mut *b) } else { (&mut *b, &mut *a) };
            let mut wire = Vec::new();
            if from.poll_transmit(&mut wire) > 0 {
                idle = false;
                receive(to, &mut wire, &mut log);
            }
        }
        if idle {
            return log;
        }
    }
    panic!("sessions never fall silent");
}

/// Hands whole records to a session; stops at the first error.
pub(super) fn receive(session: &mut Session, wire: &mut [u8], log: &mut Log) {
    let mut rest = wire;
    while !rest.is_empty() {
        let length = Session::record_len(rest).unwrap().expect("whole records");
        let (record, next) = rest.split_at_mut(length);
        match session.handle_record(record) {
            Ok(Input::Data(range)) => log.data.extend_from_slice(&record[range]),
            Ok(_) => {}
            Err(error) => {
                log.errors.push(error);
                return;
            }
        }
        rest = next;
    }
}

/// Seals `payload` into one record, behind what must leave first.
pub(super) fn sealed(session: &mut Session, payload: &[u8]) -> Vec<u8> {
    let mut wire = Vec::new();
    session.poll_transmit(&mut wire);
    let start = wire.len();
    wire.resize(start + HEADROOM, 0);
    wire.extend_from_slice(payload);
    wire.resize(wire.len() + TAILROOM, 0);
    session.seal(&mut wire[start..]).unwrap_or_else(|error| panic!("seal: {error}"));
    wire
}

/// A short text that names a case.
pub(super) fn case(library: Library, suite: CipherSuite) -> String {
    format!("{library:?} {suite:?}")
}
