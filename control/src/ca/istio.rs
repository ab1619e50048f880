//! Istio's certificate authority: `IstioCertificateService` over gRPC (interfaces §2.1).

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use adit_core::cert::CertError;
use adit_core::identity::Identity;
use adit_core::tls::Credentials;
use prost_types::value::Kind;
use prost_types::{Struct, Value};
use rcgen::{CertificateParams, DistinguishedName, KeyPair, SanType};
use rustls::pki_types::PrivatePkcs8KeyDer;
use tokio::sync::Mutex;
use tonic::{Code, Status};

use super::answer;
use crate::grpc::{Channel, Connector};
use crate::proto::istio::auth::IstioCertificateRequest;
use crate::proto::istio::auth::istio_certificate_service_client::IstioCertificateServiceClient;

/// What is asked for, besides the identity.
#[derive(Clone, Debug)]
pub struct Request {
    /// How long the certificate shall be valid (`SECRET_TTL`).
    pub lifetime: Duration,
    /// Whether we ask in the name of workloads (`PROXY_MODE=shared`); the authority must trust our account for that.
    pub impersonate: bool,
    /// Which signer the authority shall use (`CertSigner`).
    pub signer: Option<String>,
}

impl Default for Request {
    fn default() -> Self {
        Self { lifetime: super::LIFETIME, impersonate: true, signer: None }
    }
}

/// A client of the authority. Calls share one connection, which is made when first needed and again when it breaks.
#[derive(Debug)]
pub struct IstioCa {
    connector: Connector,
    request: Request,
    channel: Mutex<Option<Channel>>,
    /// The roots have changed since the connection was made.
    stale: AtomicBool,
}

impl IstioCa {
    /// Does not connect yet.
    #[must_use]
    pub fn new(connector: Connector, request: Request) -> Self {
        Self { connector, request, channel: Mutex::new(None), stale: AtomicBool::new(false) }
    }

    /// How it connects.
    #[must_use]
    pub const fn connector(&self) -> &Connector {
        &self.connector
    }

    /// The file of `CA_ROOT_CA` has changed: the next request makes a new connection. Should that fail, the old one is
    /// used and the request after it tries again.
    pub fn handle_roots_changed(&self) {
        self.stale.store(true, Ordering::Relaxed);
    }

    /// Makes a key (ECDSA P-256), has it signed for `identity`, and checks the answer.
    ///
    /// # Errors
    /// The authority cannot be reached, refuses, or answers with something else than was asked for.
    pub async fn issue(&self, identity: &Identity) -> Result<Credentials, CertError> {
        let key = KeyPair::generate().map_err(|error| CertError::Key(error.to_string().into()))?;
        let csr = signing_request(identity, &key)?;
        let request = IstioCertificateRequest {
            csr,
            validity_duration: i64::try_from(self.request.lifetime.as_secs()).unwrap_or(i64::MAX),
            metadata: self.metadata(identity),
        };
        let chain = self.call(request).await?;
        answer::credentials(identity, &chain, PrivatePkcs8KeyDer::from(key.serialize_der()).into())
    }

    fn metadata(&self, identity: &Identity) -> Option<Struct> {
        let field =
            |name: &str, text: String| (name.to_owned(), Value { kind: Some(Kind::StringValue(text)) });
        let who = self.request.impersonate.then(|| field("ImpersonatedIdentity", identity.to_string()));
        let signer = self.request.signer.as_ref().map(|signer| field("CertSigner", signer.clone()));
        let fields: std::collections::BTreeMap<_, _> = who.into_iter().chain(signer).collect();
        (!fields.is_empty()).then_some(Struct { fields })
    }

    async fn call(&self, request: IstioCertificateRequest) -> Result<Vec<String>, CertError> {
        // A connection that has broken since its last use is told apart only by using it.
        for kept in [true, false] {
            let (channel, fresh) = self.channel(kept).await?;
            let mut client = IstioCertificateServiceClient::new(channel);
            match client.create_certificate(request.clone()).await {
                Ok(response) => return Ok(response.into_inner().cert_chain),
                Err(status) if !fresh && is_transport(&status) => {
                    tracing::debug!("the connection to the certificate authority has ended: {status}");
                }
                Err(status) => return Err(self.refused(&status)),
            }
        }
        Err(self.unreachable("the connection breaks again and again".into()))
    }

    /// The shared connection and whether it is new; a new one when `kept` is false or there is none.
    async fn channel(&self, kept: bool) -> Result<(Channel, bool), CertError> {
        // Whoever else needs a connection meanwhile waits for this one.
        let mut slot = self.channel.lock().await;
        let stale = self.stale.swap(false, Ordering::Relaxed);
        if kept
            && !stale
            && let Some(channel) = &*slot
        {
            return Ok((channel.clone(), false));
        }
        match self.connector.connect().await {
            Ok(channel) => Ok((slot.insert(channel).clone(), true)),
            Err(error) => {
                if kept && let Some(old) = &*slot {
                    tracing::warn!(
                        "certificate authority: the new roots do not work yet, the old connection stays: {error}"
                    );
                    self.stale.store(true, Ordering::Relaxed);
                    return Ok((old.clone(), false));
                }
                *slot = None;
                Err(self.unreachable(error.to_string().into()))
            }
        }
    }

    fn unreachable(&self, reason: Arc<str>) -> CertError {
        CertError::Unreachable { address: self.connector.server.to_string().into(), reason }
    }

    fn refused(&self, status: &Status) -> CertError {
        if is_transport(status) {
            return self.unreachable(status.message().into());
        }
        CertError::Refused { code: format!("{:?}", status.code()).into(), message: status.message().into() }
    }
}

/// Whether the call never got an answer of the authority's own. Our channel's errors arrive as `Unknown`.
fn is_transport(status: &Status) -> bool {
    status.code() == Code::Unavailable || std::error::Error::source(status).is_some()
}

/// A CSR without subject and with one critical SAN, in PEM.
fn signing_request(identity: &Identity, key: &KeyPair) -> Result<String, CertError> {
    let failed = |error: rcgen::Error| CertError::Key(error.to_string().into());
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.subject_alt_names = vec![SanType::URI(identity.to_string().try_into().map_err(failed)?)];
    params.serialize_request(key).and_then(|request| request.pem()).map_err(failed)
}

#[cfg(test)]
mod tests {
    use x509_parser::certification_request::X509CertificationRequest;
    use x509_parser::extensions::{GeneralName, ParsedExtension};
    use x509_parser::prelude::FromDer as _;

    use super::*;

    /// Nobody has noticed before the call that the connection is over: it was idle.
    #[tokio::test]
    async fn a_connection_that_has_ended_is_not_an_answer_of_the_authority() {
        let channel = Channel::ended().await;
        let mut client = IstioCertificateServiceClient::new(channel);
        let status = client.create_certificate(IstioCertificateRequest::default()).await.unwrap_err();
        assert!(is_transport(&status), "{status:?}");
    }

    #[test]
    fn csr_has_no_subject_and_a_single_critical_san() {
        let identity = Identity::new("cluster.local", "default", "sleep").unwrap();
        let key = KeyPair::generate().unwrap();
        let pem = signing_request(&identity, &key).unwrap();
        let (_, pem) = x509_parser::pem::parse_x509_pem(pem.as_bytes()).unwrap();
        assert_eq!(pem.label, "CERTIFICATE REQUEST");
        let (_, csr) = X509CertificationRequest::from_der(&pem.contents).unwrap();
        csr.verify_signature().unwrap();
        assert_eq!(csr.certification_request_info.subject.iter().count(), 0);
        assert_eq!(csr.signature_algorithm.algorithm.to_id_string(), "1.2.840.10045.4.3.2");
        let attributes: Vec<_> = csr.certification_request_info.iter_attributes().collect();
        assert_eq!(attributes.len(), 1, "one request for extensions");
        let extensions: Vec<_> = csr.requested_extensions().unwrap().collect();
        let [ParsedExtension::SubjectAlternativeName(san)] = extensions[..] else { panic!("{extensions:?}") };
        assert_eq!(san.general_names, [GeneralName::URI("spiffe://cluster.local/ns/default/sa/sleep")]);
        // The extension's own octets: OID 2.5.29.17, BOOLEAN TRUE.
        let critical = [6, 3, 0x55, 0x1d, 0x11, 1, 1, 0xff];
        assert!(pem.contents.windows(critical.len()).any(|window| window == critical));
    }
}
