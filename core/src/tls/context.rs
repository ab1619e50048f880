//! Ready-made TLS configuration of one workload.
use alloc::format;
use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;
use core::fmt;

use rustls::client::{ClientConfig, Resumption};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::CertificateDer;
use rustls::server::{NoServerSessionStorage, ServerConfig};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::version::TLS13;
use rustls::{Error, KeyLog, NoKeyLog};

use super::aead::Aead;
use super::records::suite_of;
use super::revocation::Revocations;
use super::verify::{PeerVerifier, Rule, Trust, identity_of};
use super::{Budgets, PeerChain, Side, TlsError};
use crate::identity::{Identity, IdentitySet};
use crate::time::WallClock;

/// What the core needs from the outside to speak TLS.
#[derive(Clone)]
pub struct TlsPorts {
    /// Key exchange, signatures, HKDF and randomness; suites and groups already chosen and in order of preference.
    pub provider: Arc<CryptoProvider>,
    /// Record protection.
    pub aead: Arc<dyn Aead>,
    /// The wall clock that judges certificates.
    pub clock: Arc<WallClock>,
}

impl fmt::Debug for TlsPorts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsPorts").field("aead", &self.aead).finish_non_exhaustive()
    }
}

/// A workload's certificate, key and the roots it trusts.
pub struct Credentials {
    /// Who the certificate says we are.
    pub identity: Identity,
    /// Leaf first, then intermediates; the root is not sent.
    pub chain: Vec<CertificateDer<'static>>,
    /// The leaf's private key.
    pub key: rustls::pki_types::PrivateKeyDer<'static>,
    /// The roots that peers' chains must lead to.
    pub roots: Vec<CertificateDer<'static>>,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials").field("identity", &self.identity).finish_non_exhaustive()
    }
}

/// Which implementation protects records after the handshake (design D3).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum RecordMode {
    /// Our own, in place over the AEAD port.
    #[default]
    InPlace,
    /// rustls's cipher objects; such sessions cannot be frozen.
    Rustls,
}

/// Knobs of a [`TlsContext`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TlsSettings {
    /// Who protects records.
    pub mode: RecordMode,
    /// Records sealed under one key before a KeyUpdate is sent; 2^23, half of AES-GCM's limit (RFC 8446 §5.5).
    pub key_update_after: u64,
    /// What a peer may repeat.
    pub budgets: Budgets,
}

impl TlsSettings {
    /// Half of what AES-GCM allows.
    pub const KEY_UPDATE_AFTER: u64 = 1 << 23;
}

impl Default for TlsSettings {
    fn default() -> Self {
        Self {
            mode: RecordMode::default(),
            key_update_after: Self::KEY_UPDATE_AFTER,
            budgets: Budgets::default(),
        }
    }
}

/// Ready-made TLS configuration for one workload identity; cheap to share, immutable.
pub struct TlsContext {
    ports: TlsPorts,
    identity: Identity,
    settings: TlsSettings,
    chain: Vec<CertificateDer<'static>>,
    roots: Vec<CertificateDer<'static>>,
    trust: Arc<Trust>,
    resolver: Arc<SingleCertAndKey>,
    trust_domain: Arc<str>,
    client: ClientConfig,
}

impl fmt::Debug for TlsContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsContext")
            .field("identity", &self.identity)
            .field("settings", &self.settings)
            .finish_non_exhaustive()
    }
}

impl TlsContext {
    /// Configuration with the defaults of [`TlsSettings`] except for `mode`.
    ///
    /// # Errors
    /// As [`Self::with_settings`].
    pub fn new(ports: TlsPorts, credentials: Credentials, mode: RecordMode) -> Result<Arc<Self>, TlsError> {
        Self::with_settings(ports, credentials, TlsSettings { mode, ..TlsSettings::default() })
    }

    /// Checks the credentials and builds what every connection shares.
    ///
    /// # Errors
    /// `Credentials` when the chain, key or a root is unusable, the key is not the certificate's, or the certificate
    /// does not carry `credentials.identity` as its only URI SAN; `Crypto` when the provider and the AEAD port share no
    /// TLS 1.3 suite.
    pub fn with_settings(
        mut ports: TlsPorts,
        credentials: Credentials,
        settings: TlsSettings,
    ) -> Result<Arc<Self>, TlsError> {
        let Credentials { identity, chain, key, roots } = credentials;
        let bad = |text: &str| TlsError::Credentials(text.into());
        let leaf = chain.first().ok_or_else(|| bad("certificate chain is empty"))?;
        match identity_of(leaf) {
            Ok(found) if found == identity => {}
            _ => return Err(bad(&format!("certificate is not (only) for {identity}"))),
        }
        ports.provider = tunnel_suites(&ports.provider);
        if ports.provider.cipher_suites.is_empty() {
            return Err(TlsError::Crypto("provider has no TLS 1.3 cipher suite that tunnels use"));
        }
        let key =
            ports.provider.key_provider.load_private_key(key).map_err(|error| bad(&format!("{error}")))?;
        let certified = CertifiedKey::new(chain.clone(), key);
        match certified.keys_match() {
            // A signing key that cannot tell its public half is left to the first handshake.
            Ok(()) | Err(Error::InconsistentKeys(rustls::InconsistentKeys::Unknown)) => {}
            Err(error) => return Err(bad(&format!("{error}"))),
        }
        let resolver = Arc::new(SingleCertAndKey::from(certified));
        let algorithms = ports.provider.signature_verification_algorithms;
        let trust = Arc::new(Trust::new(&roots, algorithms).map_err(|text| bad(&text))?);
        let client =
            base_client_config(&ports, &trust, &resolver).map_err(|error| bad(&format!("{error}")))?;
        let trust_domain = identity.trust_domain().into();
        Ok(Arc::new(Self { ports, identity, settings, chain, roots, trust, resolver, trust_domain, client }))
    }

    /// The same configuration with other revocation lists; connections under way keep the lists they began with,
    /// and are to be asked about with [`Self::is_revoked`].
    #[must_use]
    pub fn with_revocations(&self, revocations: Arc<Revocations>) -> Arc<Self> {
        Arc::new(Self {
            ports: self.ports.clone(),
            identity: self.identity.clone(),
            settings: self.settings,
            chain: self.chain.clone(),
            roots: self.roots.clone(),
            trust: Arc::new(self.trust.with_revocations(revocations)),
            resolver: Arc::clone(&self.resolver),
            trust_domain: Arc::clone(&self.trust_domain),
            // Its verifier accepts nobody and is replaced for each connection.
            client: self.client.clone(),
        })
    }

    /// The revocation lists that peers' chains are checked against; `None` where nobody asked for checks.
    #[must_use]
    pub fn revocations(&self) -> Option<&Arc<Revocations>> {
        self.trust.revocations()
    }

    /// Whether `lists` revoke a chain that our `side` accepted by this configuration. It is verified as of then: that its
    /// time may be over since is no matter.
    #[must_use]
    pub fn is_revoked(&self, side: Side, chain: &PeerChain, lists: &Revocations) -> bool {
        self.trust.is_revoked(side, chain, lists)
    }

    /// Whom this configuration speaks for.
    #[must_use]
    pub const fn identity(&self) -> &Identity {
        &self.identity
    }

    /// The knobs.
    #[must_use]
    pub const fn settings(&self) -> &TlsSettings {
        &self.settings
    }

    /// Our certificates, leaf first, as peers get them.
    #[must_use]
    pub fn chain(&self) -> &[CertificateDer<'static>] {
        &self.chain
    }

    /// The roots that peers' chains must lead to.
    #[must_use]
    pub fn roots(&self) -> &[CertificateDer<'static>] {
        &self.roots
    }

    pub(super) const fn ports(&self) -> &TlsPorts {
        &self.ports
    }

    /// A client's configuration for one connection. A clone: the log of secrets and the verifier belong to one
    /// connection each, and rustls hangs them on the configuration.
    pub(super) fn client_config(
        &self,
        expected: &IdentitySet,
        log: Arc<dyn KeyLog>,
    ) -> (ClientConfig, Arc<PeerVerifier>) {
        let verifier = Arc::new(PeerVerifier::new(Arc::clone(&self.trust), Rule::OneOf(expected.clone())));
        let mut config = self.client.clone();
        config.key_log = log;
        config.dangerous().set_certificate_verifier(Arc::clone(&verifier) as _);
        (config, verifier)
    }

    /// A server's configuration for one connection. Built anew, because a server's verifier cannot be exchanged in a
    /// clone and ours keeps the verdict about one peer.
    pub(super) fn server_config(
        &self,
        log: Arc<dyn KeyLog>,
    ) -> Result<(ServerConfig, Arc<PeerVerifier>), Error> {
        let rule = Rule::TrustDomain(Arc::clone(&self.trust_domain));
        let verifier = Arc::new(PeerVerifier::new(Arc::clone(&self.trust), rule));
        let mut config = ServerConfig::builder_with_details(
            Arc::clone(&self.ports.provider),
            Arc::clone(&self.ports.clock) as _,
        )
        .with_protocol_versions(&[&TLS13])?
        .with_client_cert_verifier(Arc::clone(&verifier) as _)
        .with_cert_resolver(Arc::clone(&self.resolver) as _);
        config.alpn_protocols = alpn();
        config.key_log = log;
        // A ticket would be sealed inside the handshake and use up sequence number 0. With rustls's `std` the default
        // storage is a cache, so both are needed.
        config.send_tls13_tickets = 0;
        config.max_tls13_tickets = 0;
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.max_early_data_size = 0;
        // For `RecordMode::Rustls`.
        config.enable_secret_extraction = true;
        Ok((config, verifier))
    }
}

fn base_client_config(
    ports: &TlsPorts,
    trust: &Arc<Trust>,
    resolver: &Arc<SingleCertAndKey>,
) -> Result<ClientConfig, Error> {
    // Accepts nobody; every connection brings its own.
    let nobody = PeerVerifier::new(Arc::clone(trust), Rule::OneOf(IdentitySet::from_iter([])));
    let mut config =
        ClientConfig::builder_with_details(Arc::clone(&ports.provider), Arc::clone(&ports.clock) as _)
            .with_protocol_versions(&[&TLS13])?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(nobody))
            .with_client_cert_resolver(Arc::clone(resolver) as _);
    config.alpn_protocols = alpn();
    config.enable_sni = false;
    config.resumption = Resumption::disabled();
    config.enable_early_data = false;
    config.key_log = Arc::new(NoKeyLog {});
    // For `RecordMode::Rustls`.
    config.enable_secret_extraction = true;
    Ok(config)
}

fn alpn() -> Vec<Vec<u8>> {
    vec![b"h2".to_vec()]
}

/// The provider reduced to suites that the record layers know.
fn tunnel_suites(provider: &Arc<CryptoProvider>) -> Arc<CryptoProvider> {
    let known = |suite: &rustls::SupportedCipherSuite| suite.tls13().and_then(suite_of).is_some();
    if provider.cipher_suites.iter().all(known) {
        return Arc::clone(provider);
    }
    let mut provider = CryptoProvider::clone(provider);
    provider.cipher_suites.retain(known);
    Arc::new(provider)
}
