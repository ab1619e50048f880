//! Shards' certificates from the node's certificate manager.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

use adit_control::cert::Certificates;
use adit_core::identity::Identity;
use adit_runtime::{CertificateReply, CertificateSource, Handle};

/// One shard's way to the manager. Its requests are answered when the certificate is there; renewals and new revocation
/// lists follow by themselves until the shard has ended.
#[derive(Debug)]
pub struct ManagedCertificates {
    certificates: Certificates,
    /// What this shard has asked for; news of others are not for it.
    asked: Arc<Mutex<BTreeSet<Identity>>>,
}

impl ManagedCertificates {
    /// For the shard behind `handle`.
    #[must_use]
    pub fn new(certificates: Certificates, handle: Handle) -> Self {
        let asked = Arc::<Mutex<BTreeSet<Identity>>>::default();
        let wanted = Arc::clone(&asked);
        certificates.subscribe(move |identity, answer| {
            // A set is whole whoever panicked beside it.
            if wanted.lock().unwrap_or_else(PoisonError::into_inner).contains(identity) {
                handle.certificate(identity.clone(), answer.clone());
            }
            !handle.is_ended()
        });
        Self { certificates, asked }
    }
}

impl CertificateSource for ManagedCertificates {
    fn request(&mut self, identity: &Identity, reply: CertificateReply) {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner).insert(identity.clone());
        self.certificates.request(identity, move |answer| reply.send(answer));
    }
}
