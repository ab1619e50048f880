//! Certificate revocation lists (RFC 5280 §5): reading them, and judging a chain by them.
//!
//! As Istio has it (datapath §4.5): the whole chain is checked, a certificate whose issuer has no list passes, a list
//! past its `nextUpdate` still counts. Unlike there, a list that was demanded and never could be read refuses everybody.
use alloc::boxed::Box;
use alloc::format;
use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;
use core::fmt;

use rustls::pki_types::CertificateRevocationListDer;
use rustls::pki_types::pem::PemObject;
use webpki::{
    CertRevocationList, Error, OwnedCertRevocationList, RevocationOptions, RevocationOptionsBuilder,
    UnknownStatusPolicy,
};

use super::PeerChain;
use super::facts;

/// Lists that one file may hold; each costs a look at every handshake.
const MAX_LISTS: usize = 64;
const PEM: &[u8] = b"-----BEGIN";

/// Why octets are no revocation lists.
#[derive(Clone, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum CrlError {
    /// It is PEM, but without a list.
    #[error("there is PEM but no `X509 CRL` block in it; an empty file means that nothing is revoked")]
    NoList,
    /// The armour is broken.
    #[error("PEM is broken: {0}")]
    Pem(Arc<str>),
    /// A list cannot be used; delta and indirect lists are not supported.
    #[error("revocation list {position} cannot be used: {reason}")]
    List {
        /// Counted from 0.
        position: usize,
        /// What the X.509 library says.
        reason: Arc<str>,
    },
    /// A limit of ours.
    #[error("more than {MAX_LISTS} revocation lists; keep those whose issuers are in use")]
    TooMany,
}

/// What is known of revoked certificates. Immutable and shared by all connections of its time.
#[derive(Default)]
pub struct Revocations {
    known: Known,
    /// What `known` was read from.
    source: Box<[u8]>,
}

#[derive(Default)]
enum Known {
    /// Nobody asked for checks, or nothing is revoked.
    #[default]
    Nothing,
    /// Lists in layers: within a layer each issuer has one list at most, because only the first list of an issuer is
    /// looked into at a time.
    Lists(Vec<Vec<CertRevocationList<'static>>>),
    /// There ought to be lists.
    Missing(Arc<str>),
}

/// Why a chain did not pass.
pub(super) enum Unverified {
    Chain(Error),
    NoLists(Arc<str>),
}

impl fmt::Debug for Revocations {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.known {
            Known::Missing(reason) => f.debug_tuple("Revocations::Missing").field(reason).finish(),
            Known::Nothing | Known::Lists(_) => f.debug_tuple("Revocations").field(&self.lists()).finish(),
        }
    }
}

impl Revocations {
    /// Reads a file's contents: nothing, one or more PEM blocks, or one list in DER.
    ///
    /// # Errors
    /// Any list that cannot be read makes the whole unusable: half a truth would let somebody pass.
    pub fn parse(octets: &[u8]) -> Result<Self, CrlError> {
        let text = octets.trim_ascii_start();
        if text.is_empty() {
            return Ok(Self::default());
        }
        let ders: Vec<_> = if text.starts_with(PEM) {
            CertificateRevocationListDer::pem_slice_iter(text)
                .take(MAX_LISTS.saturating_add(1))
                .collect::<Result<_, _>>()
                .map_err(|error| CrlError::Pem(format!("{error:?}").into()))?
        } else {
            vec![CertificateRevocationListDer::from(octets)]
        };
        if ders.is_empty() {
            return Err(CrlError::NoList);
        }
        if ders.len() > MAX_LISTS {
            return Err(CrlError::TooMany);
        }
        let mut layers: Vec<Vec<CertRevocationList<'static>>> = Vec::new();
        for (position, der) in ders.iter().enumerate() {
            let list = OwnedCertRevocationList::from_der(der)
                .map_err(|error| CrlError::List { position, reason: format!("{error:?}").into() })?;
            let list = CertRevocationList::from(list);
            let free = |layer: &&mut Vec<CertRevocationList<'_>>| {
                layer.iter().all(|other| other.issuer() != list.issuer())
            };
            match layers.iter_mut().find(free) {
                Some(layer) => layer.push(list),
                None => layers.push(vec![list]),
            }
        }
        Ok(Self { known: Known::Lists(layers), source: octets.into() })
    }

    /// Refuses every peer, because there ought to be lists and there never were any: `reason` says what is wrong.
    #[must_use]
    pub fn missing(reason: Arc<str>) -> Self {
        Self { known: Known::Missing(reason), source: Box::default() }
    }

    /// What [`parse`](Self::parse) makes the same of; for recordings.
    ///
    /// # Errors
    /// The lists are [missing](Self::missing), for this reason.
    pub fn source(&self) -> Result<&[u8], &Arc<str>> {
        match &self.known {
            Known::Missing(reason) => Err(reason),
            Known::Nothing | Known::Lists(_) => Ok(&self.source),
        }
    }

    /// How many lists there are.
    #[must_use]
    pub fn lists(&self) -> usize {
        match &self.known {
            Known::Lists(layers) => layers.iter().map(Vec::len).sum(),
            Known::Nothing | Known::Missing(_) => 0,
        }
    }

    /// Whether a list in the name of the issuer of one of these certificates has its serial number. That is a hint and no
    /// verdict: two authorities may have one name.
    pub(super) fn mention(&self, chain: &PeerChain) -> bool {
        let Known::Lists(layers) = &self.known else { return false };
        let mentioned = |certificate: &[u8]| {
            let Ok(named) = facts::named(certificate) else { return false };
            layers.iter().flatten().any(|list| {
                list.issuer() == named.issuer && matches!(list.find_serial(named.serial), Ok(Some(_)))
            })
        };
        chain.certificates().any(mentioned)
    }

    /// Verifies a chain with `verify`, which is called with each set of lists that must agree.
    pub(super) fn verify(
        &self,
        verify: impl Fn(Option<RevocationOptions<'_>>) -> Result<(), Error>,
    ) -> Result<(), Unverified> {
        let layers = match &self.known {
            Known::Nothing => return verify(None).map_err(Unverified::Chain),
            Known::Missing(reason) => return Err(Unverified::NoLists(Arc::clone(reason))),
            Known::Lists(layers) => layers,
        };
        for layer in layers {
            match verify_by(&verify, &layer.iter().collect::<Vec<_>>()) {
                Ok(()) => {}
                Err(Error::CertRevoked) => return Err(Unverified::Chain(Error::CertRevoked)),
                // Perhaps a list is not by this chain's issuer, but by one of the same name and with another key (two
                // authorities, or one before and after a change of its key). Then it says nothing about this chain.
                Err(_) => {
                    verify(None).map_err(Unverified::Chain)?;
                    for list in layer {
                        match verify_by(&verify, &[list]) {
                            Err(error) if !is_foreign(&error) => return Err(Unverified::Chain(error)),
                            _ => {}
                        }
                    }
                }
            }
        }
        Ok(())
    }
}

fn verify_by(
    verify: &impl Fn(Option<RevocationOptions<'_>>) -> Result<(), Error>,
    lists: &[&CertRevocationList<'_>],
) -> Result<(), Error> {
    // A layer has a list at least; were there none, there would be nothing to check by.
    let options = RevocationOptionsBuilder::new(lists)
        .map(|builder| builder.with_status_policy(UnknownStatusPolicy::Allow).build());
    verify(options.ok())
}

/// Whether a chain that is fine without this list fails with it only because another key signed the list. The list
/// and the chain compete for the name of the error, hence both kinds.
#[expect(deprecated, reason = "webpki may still answer with the variants it replaced")]
const fn is_foreign(error: &Error) -> bool {
    matches!(
        error,
        Error::InvalidCrlSignatureForPublicKey
            | Error::UnsupportedCrlSignatureAlgorithmForPublicKey
            | Error::UnsupportedCrlSignatureAlgorithmForPublicKeyContext(_)
            | Error::InvalidSignatureForPublicKey
            | Error::UnsupportedSignatureAlgorithmForPublicKey
            | Error::UnsupportedSignatureAlgorithmForPublicKeyContext(_)
    )
}
