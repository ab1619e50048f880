//! Certificate authorities: Istio's, and one of our own for demos, tests and machines without a mesh. The latter is unfit
//! for production: whoever reads its key is everyone.

pub mod answer;
mod directory;
mod istio;
mod store;

pub use istio::{IstioCa, Request};
pub use store::{CertificateError, CertificateStore};

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use adit_core::identity::Identity;
use adit_core::tls::Credentials;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyPair, KeyUsagePurpose, SanType,
};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer, UnixTime};
use zeroize::Zeroizing;

/// How long a workload's certificate is valid (ztunnel's `SECRET_TTL`).
pub const LIFETIME: Duration = Duration::from_secs(24 * 3600);
/// How far the start of validity lies in the past, for peers whose clocks are late.
pub const BACKDATE: Duration = Duration::from_secs(5 * 60);
const ROOT_LIFETIME: Duration = Duration::from_secs(10 * 365 * 24 * 3600);

/// Why the authority cannot be opened or cannot issue.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CaError {
    /// A file or the directory cannot be used.
    #[error("built-in CA: cannot {action} {}: {source}", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// What the system says.
        source: Arc<std::io::Error>,
    },
    /// Others may read the key or replace the root.
    #[error("built-in CA: {} has mode {mode:04o}, so that others may {danger}: run `chmod {wanted:o}` on it",
        path.display())]
    Permissions {
        /// The file or directory.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
        /// What they allow.
        danger: &'static str,
        /// Bits that would do.
        wanted: u32,
    },
    /// There is a root certificate without its key.
    #[error("built-in CA: {} is missing beside its root certificate: restore it, or remove the directory to begin \
        anew (proxies that know the old root will not trust the new one)", .0.display())]
    KeyMissing(PathBuf),
    /// A file's contents cannot be used.
    #[error("built-in CA: {} cannot be used: {reason}", path.display())]
    Unusable {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// Making a key or signing failed.
    #[error("built-in CA: cannot issue a certificate for {subject}: {reason}")]
    Issue {
        /// For whom.
        subject: String,
        /// Why.
        reason: String,
    },
}

/// A root certificate and its key.
pub struct LocalCa {
    issuer: Issuer<'static, KeyPair>,
    root: CertificateDer<'static>,
}

impl std::fmt::Debug for LocalCa {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LocalCa").finish_non_exhaustive()
    }
}

impl LocalCa {
    /// An authority that lives and dies with this process; `trust_domain` names it in its root certificate.
    ///
    /// # Errors
    /// [`CaError::Issue`], when there is no randomness to be had.
    pub fn in_memory(trust_domain: &str) -> Result<Self, CaError> {
        let (root, key) = new_root(trust_domain)?;
        Self::new(root, &key).map_err(|reason| CaError::Issue { subject: trust_domain.to_owned(), reason })
    }

    /// The authority in `directory`, which is made (mode 0700, files 0600) on first use. Processes that share the
    /// directory share the authority, also when they start at the same moment.
    ///
    /// # Errors
    /// The directory cannot be used, others may read the key, or what is there is no root certificate with its key.
    pub fn open(directory: &Path) -> Result<Self, CaError> {
        directory::open(directory)
    }

    /// From PEM; what cannot be used is said in words.
    fn new(root: impl AsRef<[u8]>, key: &str) -> Result<Self, String> {
        let key = KeyPair::from_pem(key).map_err(|error| format!("no private key: {error}"))?;
        let root = CertificateDer::from_pem_slice(root.as_ref())
            .map_err(|error| format!("no certificate: {error}"))?;
        let issuer =
            Issuer::from_ca_cert_der(&root, key).map_err(|error| format!("no CA certificate: {error}"))?;
        Ok(Self { issuer, root })
    }

    /// The root certificate, which peers must trust.
    #[must_use]
    pub const fn root(&self) -> &CertificateDer<'static> {
        &self.root
    }

    /// Issues a certificate (ECDSA P-256, one critical URI SAN, for servers and clients) for `identity`, valid from
    /// [`BACKDATE`] before now until [`LIFETIME`] after.
    ///
    /// # Errors
    /// [`CaError::Issue`], when there is no randomness to be had.
    pub fn issue(&self, identity: &Identity) -> Result<Credentials, CaError> {
        self.issue_at(identity, SystemTime::now())
    }

    /// [`issue`](Self::issue) at another time.
    ///
    /// # Errors
    /// See [`issue`](Self::issue).
    pub fn issue_at(&self, identity: &Identity, now: SystemTime) -> Result<Credentials, CaError> {
        let failed =
            |error: rcgen::Error| CaError::Issue { subject: identity.to_string(), reason: error.to_string() };
        let mut params = CertificateParams::default();
        // Without a subject the SAN is critical (RFC 5280 §4.2.1.6), as SPIFFE wants it.
        params.distinguished_name = DistinguishedName::new();
        params.subject_alt_names = vec![SanType::URI(identity.to_string().try_into().map_err(failed)?)];
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        params.use_authority_key_identifier_extension = true;
        params.is_ca = IsCa::ExplicitNoCa;
        params.not_before = (now - BACKDATE).into();
        params.not_after = (now + LIFETIME).into();
        let key = KeyPair::generate().map_err(failed)?;
        let certificate = params.signed_by(&key, &self.issuer).map_err(failed)?;
        Ok(Credentials {
            identity: identity.clone(),
            chain: vec![certificate.into()],
            key: PrivatePkcs8KeyDer::from(key.serialize_der()).into(),
            roots: vec![self.root.clone()],
        })
    }

    /// Whether certificates from here can be verified by the root: key and root belong together, and it is valid now.
    fn check(&self) -> Result<(), String> {
        let probe = Identity::new("cluster.local", "probe", "probe").map_err(|error| error.to_string())?;
        let issued = self.issue(&probe).map_err(|error| error.to_string())?;
        let leaf = issued.chain.first().ok_or("nothing was issued")?;
        let anchor = webpki::anchor_from_trusted_cert(&self.root).map_err(|error| error.to_string())?;
        let leaf = webpki::EndEntityCert::try_from(leaf).map_err(|error| error.to_string())?;
        leaf.verify_for_usage(
            webpki::ALL_VERIFICATION_ALGS,
            &[anchor],
            &[],
            UnixTime::now(),
            webpki::KeyUsage::server_auth(),
            None,
            None,
        )
        .map(|_| ())
        .map_err(|error| format!("the root certificate does not verify what its key signs: {error}"))
    }
}

/// A new root certificate and its key, both PEM.
fn new_root(organization: &str) -> Result<(String, Zeroizing<String>), CaError> {
    let failed = |error: rcgen::Error| CaError::Issue {
        subject: "the root itself".to_owned(),
        reason: error.to_string(),
    };
    let now = SystemTime::now();
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::OrganizationName, organization);
    params.distinguished_name.push(DnType::CommonName, "Adit built-in CA, unfit for production");
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.not_before = (now - BACKDATE).into();
    params.not_after = (now + ROOT_LIFETIME).into();
    let key = KeyPair::generate().map_err(failed)?;
    let root = params.self_signed(&key).map_err(failed)?;
    Ok((root.pem(), Zeroizing::new(key.serialize_pem())))
}

#[cfg(test)]
mod tests;
