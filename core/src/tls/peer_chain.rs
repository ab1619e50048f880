//! What is kept of a peer's chain, so that revocation lists that come later reach connections that are open (datapath
//! §4.5).
use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;
use core::iter;

use rustls::pki_types::{CertificateDer, UnixTime};
use webpki::VerifiedPath;

/// The certificates by which a peer was accepted, and when it was. Kept only where revocation is checked.
///
/// It takes the leaf's own octets (about 600) and a pointer per issuer, if issuers are [shared](Self::share_issuers).
#[derive(Clone)]
pub struct PeerChain {
    leaf: Box<[u8]>,
    /// From the leaf's issuer up to the one below the root. What was presented beside them is not kept.
    issuers: Box<[Arc<[u8]>]>,
    accepted: UnixTime,
}

impl fmt::Debug for PeerChain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PeerChain")
            .field("issuers", &self.issuers.len())
            .field("accepted", &self.accepted.as_secs())
            .finish_non_exhaustive()
    }
}

impl PeerChain {
    pub(super) fn new(leaf: &CertificateDer<'_>, path: &VerifiedPath<'_>, accepted: UnixTime) -> Self {
        let issuers = path.intermediate_certificates().map(|issuer| Arc::from(&*issuer.der()));
        Self { leaf: leaf.as_ref().into(), issuers: issuers.collect(), accepted }
    }

    /// Lets the owner of many chains keep each issuer's certificate, which most of them have in common, once.
    pub fn share_issuers(&mut self, share: impl FnMut(&mut Arc<[u8]>)) {
        self.issuers.iter_mut().for_each(share);
    }

    pub(super) fn leaf(&self) -> CertificateDer<'_> {
        CertificateDer::from(&*self.leaf)
    }

    pub(super) fn issuers(&self) -> Vec<CertificateDer<'_>> {
        self.issuers.iter().map(|issuer| CertificateDer::from(&**issuer)).collect()
    }

    /// When the peer was accepted.
    pub(super) const fn accepted(&self) -> UnixTime {
        self.accepted
    }

    /// All certificates in DER, the leaf first.
    pub(super) fn certificates(&self) -> impl Iterator<Item = &[u8]> {
        iter::once(&*self.leaf).chain(self.issuers.iter().map(|issuer| &**issuer))
    }
}
