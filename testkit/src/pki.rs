//! A throw-away certificate authority and ready-made TLS contexts for tests with real cryptography.
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::iter;
use std::rc::Rc;
use std::sync::Arc;

use adit_core::identity::Identity;
use adit_core::time::{UnixTime, WallClock};
use adit_core::tls::{Credentials, Facts, RecordMode, Revocations, TlsContext, TlsPorts};
use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, DistinguishedName, DnType,
    ExtendedKeyUsagePurpose, IsCa, Issuer, KeyIdMethod, KeyPair, RevokedCertParams, SanType, SerialNumber,
    date_time_ymd,
};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use crate::sim::Certificates;

/// Inside the validity of every certificate made here: 2026-01-01.
pub const NOW: UnixTime = UnixTime(1_767_225_600);

/// The cryptography of this build, with a clock that shows [`NOW`].
#[must_use]
pub fn ports() -> TlsPorts {
    TlsPorts {
        provider: adit_runtime::crypto::provider(),
        aead: adit_runtime::crypto::aead(),
        clock: Arc::new(WallClock::new(NOW)),
    }
}

/// A certificate authority of trust domain `cluster.local`.
pub struct Ca {
    issuer: Issuer<'static, KeyPair>,
    /// Its own certificate, then those above it; the root last.
    above: Vec<CertificateDer<'static>>,
}

impl Ca {
    /// A fresh root.
    #[must_use]
    pub fn new() -> Self {
        Self::named("adit test root")
    }

    /// A fresh root of this name; another may have the same.
    ///
    /// # Panics
    ///
    /// When no key can be made.
    #[must_use]
    pub fn named(name: &str) -> Self {
        let key = KeyPair::generate().expect("a key");
        let params = authority(name);
        let root = params.self_signed(&key).expect("a root certificate").der().clone();
        Self { issuer: Issuer::new(params, key), above: vec![root] }
    }

    /// A fresh authority below this one.
    ///
    /// # Panics
    ///
    /// When no key can be made.
    #[must_use]
    pub fn intermediate(&self, name: &str) -> Self {
        let key = KeyPair::generate().expect("a key");
        let params = authority(name);
        let own = params.signed_by(&key, &self.issuer).expect("a certificate").der().clone();
        let above = iter::once(own).chain(self.above.iter().cloned()).collect();
        Self { issuer: Issuer::new(params, key), above }
    }

    /// Its own certificate.
    #[must_use]
    pub fn certificate(&self) -> &CertificateDer<'static> {
        &self.above[0]
    }

    /// A certificate for `identity`, good until `to_year`, with the way up to the root, which is trusted.
    ///
    /// # Panics
    ///
    /// When the certificate cannot be made.
    #[must_use]
    pub fn credentials(&self, identity: &Identity, to_year: i32) -> Credentials {
        let key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::default();
        params.subject_alt_names = vec![SanType::URI(identity.to_string().try_into().expect("an ASCII URI"))];
        (params.not_before, params.not_after) = (date_time_ymd(2020, 1, 1), date_time_ymd(to_year, 1, 1));
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ClientAuth, ExtendedKeyUsagePurpose::ServerAuth];
        let leaf = params.signed_by(&key, &self.issuer).expect("a certificate").der().clone();
        let (root, intermediates) = self.above.split_last().expect("there is a root");
        Credentials {
            identity: identity.clone(),
            chain: iter::once(leaf).chain(intermediates.iter().cloned()).collect(),
            key: PrivateKeyDer::try_from(key.serialize_der()).expect("a PKCS #8 key"),
            roots: vec![root.clone()],
        }
    }

    /// The context of service account `name` in namespace `test`.
    ///
    /// # Panics
    ///
    /// When the certificate or the context cannot be made.
    #[must_use]
    pub fn context(&self, name: &str, mode: RecordMode) -> Arc<TlsContext> {
        let identity = Identity::new("cluster.local", "test", name).expect("a valid identity");
        TlsContext::new(ports(), self.credentials(&identity, 2040), mode).expect("usable credentials")
    }

    /// Its revocation list, in DER; `revoked` may be of other authorities.
    ///
    /// # Panics
    ///
    /// When the list cannot be made.
    #[must_use]
    pub fn crl(&self, revoked: &[&CertificateDer<'_>]) -> Vec<u8> {
        let revoked_certs = revoked.iter().map(|certificate| RevokedCertParams {
            serial_number: SerialNumber::from_slice(&Facts::of(certificate).expect("a certificate").serial),
            revocation_time: date_time_ymd(2021, 1, 1),
            reason_code: None,
            invalidity_date: None,
        });
        let params = CertificateRevocationListParams {
            this_update: date_time_ymd(2020, 1, 1),
            next_update: date_time_ymd(2040, 1, 1),
            crl_number: SerialNumber::from(1),
            issuing_distribution_point: None,
            revoked_certs: revoked_certs.collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        params.signed_by(&self.issuer).expect("a list").der().to_vec()
    }
}

impl Default for Ca {
    fn default() -> Self {
        Self::new()
    }
}

/// The certificates of a room's nodes, all of which check revocation. Clones share them.
#[derive(Clone)]
pub struct Issued {
    contexts: Rc<RefCell<BTreeMap<Identity, Arc<TlsContext>>>>,
    /// All of them are judged by its clock.
    pub ports: TlsPorts,
}

impl Issued {
    /// Nobody has one yet.
    #[must_use]
    pub fn new() -> Self {
        Self { contexts: Rc::default(), ports: ports() }
    }

    /// Gives an identity another certificate, from its next request on.
    ///
    /// # Panics
    ///
    /// When the credentials are unusable.
    pub fn certify(&self, credentials: Credentials) {
        let identity = credentials.identity.clone();
        let context = TlsContext::new(self.ports.clone(), credentials, RecordMode::InPlace)
            .expect("usable credentials");
        self.contexts.borrow_mut().insert(identity, context.with_revocations(Arc::default()));
    }

    /// What an identity has.
    #[must_use]
    pub fn context(&self, identity: &Identity) -> Arc<TlsContext> {
        Arc::clone(&self.contexts.borrow()[identity])
    }

    /// An identity's own certificate.
    #[must_use]
    pub fn leaf(&self, identity: &Identity) -> CertificateDer<'static> {
        self.context(identity).chain()[0].clone()
    }

    /// Has an identity check by other lists from now on, and gives what its shard is to be told.
    #[must_use]
    pub fn check_by(&self, identity: &Identity, lists: Revocations) -> Arc<TlsContext> {
        let context = self.context(identity).with_revocations(Arc::new(lists));
        self.contexts.borrow_mut().insert(identity.clone(), Arc::clone(&context));
        context
    }

    /// For a room.
    #[must_use]
    pub fn certificates(&self) -> Certificates {
        let this = self.clone();
        Box::new(move |identity| Ok(this.context(identity)))
    }
}

impl Default for Issued {
    fn default() -> Self {
        Self::new()
    }
}

fn authority(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    (params.not_before, params.not_after) = (date_time_ymd(2020, 1, 1), date_time_ymd(2040, 1, 1));
    params
}
