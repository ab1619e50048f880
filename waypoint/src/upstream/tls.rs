//! TLS to endpoints that want it for themselves: whom we trust, and which names they may have.
use std::cell::RefCell;
use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use adit_core::l7::{PeerName, TrustAnchors};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{verify_server_cert_signed_by_trust_anchor, verify_server_name};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};

use super::way::Tls;

/// How long a configuration is used before its files are read again.
const FRESH: Duration = Duration::from_secs(60);

/// Configurations, by what they are made from and what is spoken inside.
#[derive(Default)]
pub(crate) struct TlsConfigs(RefCell<HashMap<(Tls, &'static str), Made>>);

/// A configuration, and since when there is it.
type Made = (Instant, Arc<ClientConfig>);

/// A way to speak TLS to an endpoint: the configuration, and the name that is asked for.
pub(crate) type Secured = (Arc<ClientConfig>, ServerName<'static>);

impl TlsConfigs {
    /// How to speak TLS as `tls` says, with `protocol` inside (ALPN); the text says why that cannot be.
    pub(crate) fn of(&self, tls: &Tls, protocol: &'static str) -> Result<Secured, String> {
        let name = server_name(tls)?;
        let key = (tls.clone(), protocol);
        let mut known = self.0.borrow_mut();
        if let Some((_, config)) = known.get(&key).filter(|(since, _)| since.elapsed() < FRESH) {
            return Ok((Arc::clone(config), name));
        }
        let config = Arc::new(config(tls, protocol)?);
        known.retain(|_, (since, _)| since.elapsed() < FRESH);
        known.insert(key, (Instant::now(), Arc::clone(&config)));
        Ok((config, name))
    }
}

fn server_name(tls: &Tls) -> Result<ServerName<'static>, String> {
    let text = match tls {
        Tls::Policy(tls) => &*tls.server_name,
        Tls::Rule(tls, host) => tls.sni.as_deref().unwrap_or(host),
        Tls::Impossible(why) => return Err(why.to_string()),
    };
    ServerName::try_from(text.to_owned()).map_err(|_| format!("{text:?} is no server name"))
}

fn config(tls: &Tls, protocol: &'static str) -> Result<ClientConfig, String> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let (roots, names, client) = match tls {
        Tls::Policy(tls) => (roots(&tls.anchors)?, Some(tls.names.clone()), None),
        Tls::Rule(tls, host) => {
            if let Some(secret) = &tls.credential {
                return Err(format!(
                    "credentialName {secret}: secrets of a cluster are not read here; use files"
                ));
            }
            let roots = match &tls.ca_file {
                Some(file) => of_file(file)?,
                None => system()?,
            };
            let alternative = tls.subject_alt_names.iter().map(|name| match name.contains("://") {
                true => PeerName::Uri(name.clone()),
                false => PeerName::Hostname(name.clone()),
            });
            let mut names: Vec<PeerName> = alternative.collect();
            if names.is_empty() {
                names.push(PeerName::Hostname(tls.sni.clone().unwrap_or_else(|| (&**host).into())));
            }
            (roots, (!tls.skip_verify).then_some(names), tls.client.as_ref())
        }
        Tls::Impossible(why) => return Err(why.to_string()),
    };
    let verifier = Named { roots, names, provider: Arc::clone(&provider) };
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier));
    let mut config = match client {
        None => builder.with_no_client_auth(),
        Some((chain, key)) => {
            let chain = certificates(chain)?;
            let key = PrivateKeyDer::from_pem_file(&**key).map_err(|error| format!("{key}: {error}"))?;
            builder.with_client_auth_cert(chain, key).map_err(|error| error.to_string())?
        }
    };
    config.alpn_protocols = if protocol.is_empty() { Vec::new() } else { vec![protocol.as_bytes().to_vec()] };
    Ok(config)
}

fn roots(anchors: &TrustAnchors) -> Result<RootCertStore, String> {
    let TrustAnchors::These(all) = anchors else { return system() };
    let mut roots = RootCertStore::empty();
    let der = all.iter().map(|der| CertificateDer::from(der.to_vec()));
    roots.add_parsable_certificates(der);
    if roots.is_empty() {
        Err("none of the authorities' certificates can be read".to_owned())
    } else {
        Ok(roots)
    }
}

fn system() -> Result<RootCertStore, String> {
    adit_control::grpc::Roots::System.load().map_err(|error| error.to_string())
}

fn certificates(file: &str) -> Result<Vec<CertificateDer<'static>>, String> {
    let wrong = |error: &dyn fmt::Display| format!("{file}: {error}");
    let all = CertificateDer::pem_file_iter(file).map_err(|error| wrong(&error))?;
    all.collect::<Result<_, _>>().map_err(|error| wrong(&error))
}

fn of_file(file: &str) -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(certificates(file)?);
    if roots.is_empty() { Err(format!("{file}: holds no certificate")) } else { Ok(roots) }
}

/// Takes a certificate that one of `roots` vouches for and that has one of `names`; without names, any certificate
/// (`insecureSkipVerify`).
#[derive(Debug)]
struct Named {
    roots: RootCertStore,
    names: Option<Vec<PeerName>>,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Named {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let Some(names) = &self.names else { return Ok(ServerCertVerified::assertion()) };
        let certificate = ParsedCertificate::try_from(end_entity)?;
        let algorithms = self.provider.signature_verification_algorithms.all;
        verify_server_cert_signed_by_trust_anchor(&certificate, &self.roots, intermediates, now, algorithms)?;
        let has = |name: &PeerName| match name {
            PeerName::Hostname(host) => ServerName::try_from(&**host)
                .is_ok_and(|name| verify_server_name(&certificate, &name).is_ok()),
            PeerName::Uri(uri) => webpki::EndEntityCert::try_from(end_entity)
                .is_ok_and(|certificate| certificate.valid_uri_names().any(|known| *known == **uri)),
        };
        match names.iter().any(has) {
            true => Ok(ServerCertVerified::assertion()),
            false => Err(Error::InvalidCertificate(CertificateError::NotValidForName)),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
