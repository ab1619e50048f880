//! Who the peer is: certificate chain, time, usage, and exactly one SPIFFE identity, in both directions.
use alloc::boxed::Box;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::cell::RefCell;
use core::fmt;

use once_cell::race::OnceBox;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{WebPkiSupportedAlgorithms, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, TrustAnchor, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{CertificateError, DigitallySignedStruct, DistinguishedName, PeerIncompatible, SignatureScheme};
use webpki::{EndEntityCert, KeyUsage, RevocationOptions, VerifiedPath};

use super::alert::Alert;
use super::der;
use super::revocation::{Revocations, Unverified};
use super::san;
use super::{PeerChain, Side};
use crate::identity::{Identity, IdentitySet};

/// The most intermediates a peer may send: more only buys it path-building work.
const MAX_INTERMEDIATES: usize = 5;
/// Octets of a presented name that are kept for the error text.
const MAX_SHOWN: usize = 256;
/// Presented names that are kept for the error text.
const MAX_SHOWN_NAMES: usize = 4;

/// What is wrong with the names a certificate presents.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SanFault {
    /// A well-formed identity that is not the expected one.
    Other,
    /// There must be exactly one URI SAN, there are this many.
    Count(usize),
    /// The URI is no `spiffe://TRUST-DOMAIN/ns/NAMESPACE/sa/SERVICE-ACCOUNT`.
    NotSpiffe,
}

impl fmt::Display for SanFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Other => Ok(()),
            Self::Count(count) => write!(f, " (exactly one URI SAN is required, certificate has {count})"),
            Self::NotSpiffe => {
                f.write_str(" (not of the form spiffe://TRUST-DOMAIN/ns/NAMESPACE/sa/SERVICE-ACCOUNT)")
            }
        }
    }
}

/// Why a peer's certificate was refused.
#[derive(Clone, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum VerifyError {
    /// More intermediates than we look at.
    #[error("peer certificate chain has {0} intermediates, at most {MAX_INTERMEDIATES} are accepted")]
    ChainTooLong(usize),
    /// A certificate cannot be parsed.
    #[error("peer certificate is malformed")]
    Malformed,
    /// The certificate's time is over.
    #[error("peer certificate expired at {not_after} (Unix time), it is {now}")]
    Expired {
        /// Our clock, in seconds.
        now: u64,
        /// The end of the certificate's validity, in seconds.
        not_after: u64,
    },
    /// The certificate's time has not come.
    #[error("peer certificate is valid from {not_before} (Unix time), it is {now}")]
    NotYetValid {
        /// Our clock, in seconds.
        now: u64,
        /// The beginning of the certificate's validity, in seconds.
        not_before: u64,
    },
    /// The chain does not lead to one of our roots.
    #[error("peer certificate is not issued by a trusted root")]
    UnknownIssuer,
    /// A signature in the chain is wrong.
    #[error("peer certificate chain has a bad signature")]
    BadSignature,
    /// A signature algorithm that we do not accept.
    #[error("peer certificate chain uses an unsupported signature algorithm")]
    UnsupportedSignature,
    /// The certificate is not meant for this side of TLS.
    #[error("peer certificate may not be used for {0}")]
    WrongUsage(&'static str),
    /// Anything else the X.509 library found.
    #[error("peer certificate chain is invalid: {0}")]
    Chain(Arc<str>),
    /// Some certificate of the chain is on its issuer's revocation list.
    #[error("peer certificate revoked by CRL")]
    Revoked,
    /// Revocation lists are demanded, but there never were any that could be read.
    #[error("peer certificate cannot be checked for revocation: {0}; mend the file that CRL_PATH names")]
    RevocationUnknown(Arc<str>),
    /// A client's view: the server is someone else.
    #[error(
        "identity verification error: peer did not present the expected SAN ({}), got {got}{fault}",
        Joined(.expected)
    )]
    UnexpectedSan {
        /// Whom we wanted to reach.
        expected: IdentitySet,
        /// The URI SANs presented, comma-separated and escaped; long ones are cut.
        got: Arc<str>,
        /// What is wrong with them.
        fault: SanFault,
    },
    /// A server's view: the client is of another trust domain.
    #[error(
        "identity verification error: peer did not present the expected trustdomain ({expected}), got {got}{fault}"
    )]
    UnexpectedTrustDomain {
        /// Our own trust domain.
        expected: Arc<str>,
        /// The URI SANs presented, comma-separated and escaped; long ones are cut.
        got: Arc<str>,
        /// What is wrong with them.
        fault: SanFault,
    },
}

/// Writes identities as Istio's data plane does: each followed by no space, separated by commas.
struct Joined<'a>(&'a IdentitySet);

impl fmt::Display for Joined<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, identity) in self.0.iter().enumerate() {
            if position > 0 {
                f.write_str(",")?;
            }
            write!(f, "{identity}")?;
        }
        Ok(())
    }
}

impl VerifyError {
    /// The alert that is sent for this refusal (RFC 8446 §6.2).
    #[must_use]
    pub const fn alert(&self) -> Alert {
        match self {
            Self::ChainTooLong(_) | Self::Malformed | Self::Chain(_) => Alert::BAD_CERTIFICATE,
            Self::Expired { .. } | Self::NotYetValid { .. } => Alert::CERTIFICATE_EXPIRED,
            Self::UnknownIssuer => Alert::UNKNOWN_CA,
            Self::BadSignature | Self::UnsupportedSignature => Alert::DECRYPT_ERROR,
            Self::WrongUsage(_) => Alert::UNSUPPORTED_CERTIFICATE,
            Self::Revoked => Alert::CERTIFICATE_REVOKED,
            Self::RevocationUnknown(_) => Alert::BAD_CERTIFICATE,
            Self::UnexpectedSan { .. } | Self::UnexpectedTrustDomain { .. } => Alert::ACCESS_DENIED,
        }
    }

    /// A stable word for metrics and logs.
    #[must_use]
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::ChainTooLong(_) => "chain_too_long",
            Self::Malformed => "certificate_malformed",
            Self::Expired { .. } => "certificate_expired",
            Self::NotYetValid { .. } => "certificate_not_yet_valid",
            Self::UnknownIssuer => "unknown_issuer",
            Self::BadSignature => "certificate_signature",
            Self::UnsupportedSignature => "certificate_signature_algorithm",
            Self::WrongUsage(_) => "certificate_usage",
            Self::Chain(_) => "certificate_chain",
            Self::Revoked => "certificate_revoked",
            Self::RevocationUnknown(_) => "revocation_unknown",
            Self::UnexpectedSan { .. } => "unexpected_san",
            Self::UnexpectedTrustDomain { .. } => "unexpected_trust_domain",
        }
    }

    /// What rustls must be told so that it sends [`Self::alert`].
    fn to_rustls(&self) -> rustls::Error {
        let error = match self {
            Self::ChainTooLong(_) | Self::Malformed | Self::Chain(_) | Self::RevocationUnknown(_) => {
                CertificateError::BadEncoding
            }
            Self::Revoked => CertificateError::Revoked,
            Self::Expired { .. } => CertificateError::Expired,
            Self::NotYetValid { .. } => CertificateError::NotValidYet,
            Self::UnknownIssuer => CertificateError::UnknownIssuer,
            Self::BadSignature | Self::UnsupportedSignature => CertificateError::BadSignature,
            Self::WrongUsage(_) => CertificateError::InvalidPurpose,
            // `CertificateError::Other` cannot be built both with and without rustls's `std`.
            Self::UnexpectedSan { .. } | Self::UnexpectedTrustDomain { .. } => {
                CertificateError::ApplicationVerificationFailure
            }
        };
        rustls::Error::InvalidCertificate(error)
    }
}

/// The roots of a workload's trust bundle, ready for use.
#[derive(Debug)]
pub(super) struct Trust {
    anchors: Vec<TrustAnchor<'static>>,
    algorithms: WebPkiSupportedAlgorithms,
    /// `None` where nobody asked for checks.
    revocations: Option<Arc<Revocations>>,
}

impl Trust {
    /// The same roots with other revocation lists.
    pub(super) fn with_revocations(&self, revocations: Arc<Revocations>) -> Self {
        Self { anchors: self.anchors.clone(), algorithms: self.algorithms, revocations: Some(revocations) }
    }

    /// The lists in use.
    pub(super) const fn revocations(&self) -> Option<&Arc<Revocations>> {
        self.revocations.as_ref()
    }

    /// Verifies a chain to a root: validity at `now`, usage, and that `lists` revoke nothing of it. `accepted` is shown
    /// the path, perhaps several times.
    fn verify(
        &self,
        (leaf, intermediates): (&CertificateDer<'_>, &[CertificateDer<'_>]),
        now: UnixTime,
        side: Side,
        lists: Option<&Revocations>,
        accepted: impl Fn(&VerifiedPath<'_>),
    ) -> Result<(), Unverified> {
        let certificate = EndEntityCert::try_from(leaf).map_err(Unverified::Chain)?;
        let usage = match side {
            Side::Client => KeyUsage::server_auth(),
            Side::Server => KeyUsage::client_auth(),
        };
        let verify = |revocation: Option<RevocationOptions<'_>>| {
            certificate
                .verify_for_usage(
                    self.algorithms.all,
                    &self.anchors,
                    intermediates,
                    now,
                    usage,
                    revocation,
                    None,
                )
                .map(|path| accepted(&path))
        };
        match lists {
            Some(lists) => lists.verify(verify),
            None => verify(None).map_err(Unverified::Chain),
        }
    }

    /// Whether `lists` revoke a chain that was accepted by our `side` with these roots; its time may be over since.
    pub(super) fn is_revoked(&self, side: Side, chain: &PeerChain, lists: &Revocations) -> bool {
        let shown = (&chain.leaf(), &*chain.issuers());
        let verified = || self.verify(shown, chain.accepted(), side, Some(lists), |_| {});
        lists.mention(chain) && matches!(verified(), Err(Unverified::Chain(webpki::Error::CertRevoked)))
    }

    /// Reads the roots.
    ///
    /// # Errors
    /// When there is none or one cannot be parsed; the text says which.
    pub(super) fn new(
        roots: &[CertificateDer<'static>],
        algorithms: WebPkiSupportedAlgorithms,
    ) -> Result<Self, String> {
        if roots.is_empty() {
            return Err("no root certificate present".to_string());
        }
        let anchors = roots
            .iter()
            .enumerate()
            .map(|(position, root)| match webpki::anchor_from_trusted_cert(root) {
                Ok(anchor) => Ok(anchor.to_owned()),
                Err(error) => Err(format!("root certificate {position} cannot be parsed: {error:?}")),
            })
            .collect::<Result<_, _>>()?;
        Ok(Self { anchors, algorithms, revocations: None })
    }
}

/// Whom a verifier lets pass.
#[derive(Debug)]
pub(super) enum Rule {
    /// A client: exactly one of these servers.
    OneOf(IdentitySet),
    /// A server: any client of this trust domain.
    TrustDomain(Arc<str>),
}

/// The verifier of one connection; it remembers its verdict, because rustls cannot carry our reasons.
#[derive(Debug)]
pub(super) struct PeerVerifier {
    trust: Arc<Trust>,
    rule: Rule,
    verdict: OnceBox<Result<Verified, VerifyError>>,
}

/// A peer that was accepted.
#[derive(Clone, Debug)]
pub(super) struct Verified {
    pub(super) identity: Identity,
    /// Where revocation is checked.
    pub(super) chain: Option<Box<PeerChain>>,
}

impl PeerVerifier {
    pub(super) const fn new(trust: Arc<Trust>, rule: Rule) -> Self {
        Self { trust, rule, verdict: OnceBox::new() }
    }

    /// What was found, once a certificate was shown.
    pub(super) fn verdict(&self) -> Option<&Result<Verified, VerifyError>> {
        self.verdict.get()
    }

    fn verify(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<(), rustls::Error> {
        let verdict = self
            .verify_chain(leaf, intermediates, now)
            .and_then(|chain| Ok(Verified { identity: identity_of(leaf)?, chain }))
            .map_err(|found| self.refuse(found))
            .and_then(|Verified { identity, chain }| {
                if self.accepts(&identity) {
                    Ok(Verified { identity, chain })
                } else {
                    Err(self.refuse(Found::Identity(identity)))
                }
            });
        let answer = verdict.as_ref().map(|_| ()).map_err(VerifyError::to_rustls);
        // A peer shows one certificate per connection; were there a second, the first verdict would stay.
        let _ = self.verdict.set(Box::new(verdict));
        answer
    }

    /// Chain to a root, validity, usage and revocation. Gives what is to be kept of it, where revocation is checked.
    fn verify_chain(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<Option<Box<PeerChain>>, Found> {
        if intermediates.len() > MAX_INTERMEDIATES {
            return Err(VerifyError::ChainTooLong(intermediates.len()).into());
        }
        let (side, usage) = match self.rule {
            Rule::OneOf(_) => (Side::Client, "server authentication"),
            Rule::TrustDomain(_) => (Side::Server, "client authentication"),
        };
        let lists = self.trust.revocations().map(|lists| &**lists);
        let kept = RefCell::new(None);
        let keep = |path: &VerifiedPath<'_>| {
            if lists.is_some() {
                kept.replace(Some(Box::new(PeerChain::new(leaf, path, now))));
            }
        };
        match self.trust.verify((leaf, intermediates), now, side, lists, keep) {
            Ok(()) => Ok(kept.into_inner()),
            Err(Unverified::Chain(error)) => Err(chain_error(error, usage).into()),
            Err(Unverified::NoLists(reason)) => Err(VerifyError::RevocationUnknown(reason).into()),
        }
    }

    fn accepts(&self, identity: &Identity) -> bool {
        match &self.rule {
            Rule::OneOf(expected) => expected.contains(identity),
            Rule::TrustDomain(expected) => identity.trust_domain() == &**expected,
        }
    }

    /// The refusal in this connection's words.
    fn refuse(&self, found: Found) -> VerifyError {
        let (got, fault) = match found {
            Found::Error(error) => return error,
            Found::Names { got, fault } => (got, fault),
            Found::Identity(identity) => (identity.to_string().into(), SanFault::Other),
        };
        match &self.rule {
            Rule::OneOf(expected) => VerifyError::UnexpectedSan { expected: expected.clone(), got, fault },
            Rule::TrustDomain(expected) => {
                VerifyError::UnexpectedTrustDomain { expected: Arc::clone(expected), got, fault }
            }
        }
    }

    fn verify_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signature, &self.trust.algorithms)
    }
}

/// What a certificate turned out to be, when it is not acceptable.
pub(super) enum Found {
    Error(VerifyError),
    Names { got: Arc<str>, fault: SanFault },
    Identity(Identity),
}

impl From<VerifyError> for Found {
    fn from(error: VerifyError) -> Self {
        Self::Error(error)
    }
}

/// The one SPIFFE identity of a certificate.
pub(super) fn identity_of(leaf: &CertificateDer<'_>) -> Result<Identity, Found> {
    let mut count = 0_usize;
    let mut first = None;
    let mut got = String::new();
    let walked = san::each_uri(leaf, |uri| {
        if count == 0 {
            first = Some(uri);
        }
        if count < MAX_SHOWN_NAMES {
            if count > 0 {
                got.push(',');
            }
            let shown = uri.get(..MAX_SHOWN).unwrap_or(uri);
            got.extend(shown.escape_ascii().map(char::from));
        }
        count = count.saturating_add(1);
    });
    walked.map_err(|der::Malformed| VerifyError::Malformed)?;
    let (Some(uri), 1) = (first, count) else {
        return Err(Found::Names { got: got.into(), fault: SanFault::Count(count) });
    };
    core::str::from_utf8(uri)
        .ok()
        .and_then(|uri| uri.parse().ok())
        .ok_or_else(|| Found::Names { got: got.into(), fault: SanFault::NotSpiffe })
}

/// The identity that a certificate is for.
///
/// # Errors
/// What it is instead, in words: it must have exactly one URI SAN, and that must be a SPIFFE identity.
pub fn identity_in(certificate: &CertificateDer<'_>) -> Result<Identity, Arc<str>> {
    identity_of(certificate).map_err(|found| match found {
        Found::Error(error) => error.to_string().into(),
        Found::Names { got, fault } => format!("its names are {got:?}{fault}").into(),
        Found::Identity(identity) => identity.to_string().into(),
    })
}

/// webpki's words in ours; rustls keeps its own table private.
#[expect(deprecated, reason = "webpki may still answer with the variants it replaced")]
#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "the rest of webpki's long, growing list is told in its own words"
)]
fn chain_error(error: webpki::Error, usage: &'static str) -> VerifyError {
    use webpki::Error as E;
    match error {
        E::BadDer
        | E::BadDerTime
        | E::TrailingData(_)
        | E::MalformedExtensions
        | E::ExtensionValueInvalid => VerifyError::Malformed,
        E::CertExpired { time, not_after } => {
            VerifyError::Expired { now: time.as_secs(), not_after: not_after.as_secs() }
        }
        E::CertNotValidYet { time, not_before } => {
            VerifyError::NotYetValid { now: time.as_secs(), not_before: not_before.as_secs() }
        }
        E::UnknownIssuer => VerifyError::UnknownIssuer,
        E::CertRevoked => VerifyError::Revoked,
        E::InvalidSignatureForPublicKey => VerifyError::BadSignature,
        E::UnsupportedSignatureAlgorithm
        | E::UnsupportedSignatureAlgorithmForPublicKey
        | E::UnsupportedSignatureAlgorithmContext(_)
        | E::UnsupportedSignatureAlgorithmForPublicKeyContext(_) => VerifyError::UnsupportedSignature,
        E::RequiredEkuNotFound | E::RequiredEkuNotFoundContext(_) | E::EmptyEkuExtension => {
            VerifyError::WrongUsage(usage)
        }
        other => VerifyError::Chain(format!("{other:?}").into()),
    }
}

impl ServerCertVerifier for PeerVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        self.verify(end_entity, intermediates, now)?;
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Err(PeerIncompatible::Tls12NotOffered.into())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.verify_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.trust.algorithms.supported_schemes()
    }
}

impl ClientCertVerifier for PeerVerifier {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        self.verify(end_entity, intermediates, now)?;
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Err(PeerIncompatible::Tls12NotOfferedOrEnabled.into())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.verify_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.trust.algorithms.supported_schemes()
    }
}
