//! A throw-away certificate authority and ready-made TLS contexts for tests with real cryptography.
use std::sync::Arc;

use adit_core::identity::Identity;
use adit_core::time::{UnixTime, WallClock};
use adit_core::tls::{Credentials, RecordMode, TlsContext, TlsPorts};
use rcgen::{
    BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, SanType,
    date_time_ymd,
};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

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
    root: CertificateDer<'static>,
}

impl Ca {
    /// A fresh one.
    ///
    /// # Panics
    ///
    /// When no key can be made.
    #[must_use]
    pub fn new() -> Self {
        let key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        (params.not_before, params.not_after) = (date_time_ymd(2020, 1, 1), date_time_ymd(2040, 1, 1));
        let root = params.self_signed(&key).expect("a root certificate").der().clone();
        Self { issuer: Issuer::new(params, key), root }
    }

    /// The context of service account `name` in namespace `test`.
    ///
    /// # Panics
    ///
    /// When the certificate or the context cannot be made.
    #[must_use]
    pub fn context(&self, name: &str, mode: RecordMode) -> Arc<TlsContext> {
        let identity = Identity::new("cluster.local", "test", name).expect("a valid identity");
        let key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::default();
        params.subject_alt_names = vec![SanType::URI(identity.to_string().try_into().expect("an ASCII URI"))];
        (params.not_before, params.not_after) = (date_time_ymd(2020, 1, 1), date_time_ymd(2040, 1, 1));
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ClientAuth, ExtendedKeyUsagePurpose::ServerAuth];
        let leaf = params.signed_by(&key, &self.issuer).expect("a certificate").der().clone();
        let credentials = Credentials {
            identity,
            chain: vec![leaf],
            key: PrivateKeyDer::try_from(key.serialize_der()).expect("a PKCS #8 key"),
            roots: vec![self.root.clone()],
        };
        TlsContext::new(ports(), credentials, mode).expect("usable credentials")
    }
}

impl Default for Ca {
    fn default() -> Self {
        Self::new()
    }
}
