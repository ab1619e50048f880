//! One certificate authority for our end and for stock rustls at the other.
use std::path::{Path, PathBuf};
use std::sync::Arc;

use adit_control::ca::LocalCa;
use adit_core::identity::Identity;
use adit_core::time::{UnixTime, WallClock};
use adit_core::tls::{Credentials, RecordMode, TlsContext, TlsPorts};
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::UnixTime as TlsTime;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::server::WebPkiClientVerifier;
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, ServerConfig,
    SignatureScheme,
};

/// What our end needs for TLS: the workspace's cryptography, and a clock that shows the time of the call.
#[must_use]
pub fn ports() -> TlsPorts {
    let clock = Arc::new(WallClock::default());
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    clock.set(UnixTime(now.map_or(0, |now| now.as_secs())));
    TlsPorts { provider: adit_runtime::crypto::provider(), aead: adit_runtime::crypto::aead(), clock }
}

/// PEM files for programs that read their certificate from disk.
#[derive(Clone, Debug)]
pub struct Files {
    /// The root's certificate.
    pub root: PathBuf,
    /// The certificate.
    pub cert: PathBuf,
    /// Its key, PKCS #8.
    pub key: PathBuf,
}

/// Issues certificates whose only name is a SPIFFE URI, as a mesh does.
pub struct Authority {
    ca: LocalCa,
}

impl Authority {
    /// A new one in memory.
    #[must_use]
    pub fn new() -> Self {
        Self { ca: LocalCa::in_memory("cluster.local").expect("an in-memory CA") }
    }

    /// `spiffe://cluster.local/ns/ns/sa/{name}`.
    #[must_use]
    pub fn identity(name: &str) -> Identity {
        Identity::new("cluster.local", "ns", name).expect("a good name")
    }

    fn issue(&self, name: &str) -> Credentials {
        self.ca.issue(&Self::identity(name)).expect("a certificate")
    }

    /// Configuration of our end.
    #[must_use]
    pub fn context(&self, name: &str, mode: RecordMode) -> Arc<TlsContext> {
        TlsContext::new(ports(), self.issue(name), mode).expect("usable credentials")
    }

    fn roots(&self) -> Arc<RootCertStore> {
        let mut roots = RootCertStore::empty();
        roots.add(self.ca.root().clone()).expect("a usable root");
        Arc::new(roots)
    }

    /// A stock rustls client that demands a chain to our root and looks at no name.
    #[must_use]
    pub fn stock_client(&self, name: &str) -> ClientConfig {
        let Credentials { chain, key, .. } = self.issue(name);
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let inner = WebPkiServerVerifier::builder_with_provider(self.roots(), Arc::clone(&provider)).build();
        let verifier = Arc::new(AnyName(inner.expect("a verifier")));
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])
            .expect("TLS 1.3")
            .dangerous()
            .with_custom_certificate_verifier(verifier)
            .with_client_auth_cert(chain, key)
            .expect("a usable key");
        config.alpn_protocols = vec![b"h2".to_vec()];
        config
    }

    /// A stock rustls server that demands a client certificate of our root.
    #[must_use]
    pub fn stock_server(&self, name: &str) -> ServerConfig {
        let Credentials { chain, key, .. } = self.issue(name);
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let verifier =
            WebPkiClientVerifier::builder_with_provider(self.roots(), Arc::clone(&provider)).build();
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])
            .expect("TLS 1.3")
            .with_client_cert_verifier(verifier.expect("a verifier"))
            .with_single_cert(chain, key)
            .expect("a usable key");
        config.alpn_protocols = vec![b"h2".to_vec()];
        config
    }
}

impl Authority {
    /// Writes the certificate of `name` to `directory`.
    #[must_use]
    pub fn files(&self, name: &str, directory: &Path) -> Files {
        let Credentials { chain, key, .. } = self.issue(name);
        let write = |file: &str, tag: &str, der: &[u8]| {
            let path = directory.join(format!("{name}-{file}.pem"));
            let text = pem::encode(&pem::Pem::new(tag, der));
            std::fs::write(&path, text).expect("a writable directory");
            path
        };
        Files {
            root: write("root", "CERTIFICATE", self.ca.root()),
            cert: write("cert", "CERTIFICATE", &chain[0]),
            key: write("key", "PRIVATE KEY", key.secret_der()),
        }
    }
}

impl Default for Authority {
    fn default() -> Self {
        Self::new()
    }
}

/// The stock verifier, which knows no SPIFFE and looks for a DNS name, without that last step.
#[derive(Debug)]
struct AnyName(Arc<WebPkiServerVerifier>);

impl ServerCertVerifier for AnyName {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: TlsTime,
    ) -> Result<ServerCertVerified, Error> {
        match self.0.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now) {
            Err(Error::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            )) => Ok(ServerCertVerified::assertion()),
            other => other,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.0.verify_tls12_signature(message, cert, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.0.verify_tls13_signature(message, cert, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_verify_schemes()
    }
}
