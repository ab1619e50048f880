//! Ports the caller of the drive loop fills: where observations go, where certificates come from.
use std::io;
use std::sync::Arc;
use std::time::Duration;

use adit_core::identity::Identity;
use adit_core::proxy::{Listener, Observed};
use adit_core::tls::TlsContext;

use crate::mailbox::Handle;
use crate::reply::Reply;

/// Receives what a shard shows. Called on the shard's thread once per turn, so it must not block.
pub trait Observer {
    /// Something happened in the shard.
    fn observe(&mut self, observed: Observed);

    /// `accept` failed on `listener`. `retry` is how long the listener rests when the process has run out of a
    /// resource, `None` when it goes on at once. The failure has been logged already.
    fn accept_failed(&mut self, listener: Listener, error: &io::Error, retry: Option<Duration>) {
        let _ = (listener, error, retry);
    }
}

/// An observer that looks away.
impl Observer for () {
    fn observe(&mut self, _: Observed) {}
}

impl<F: FnMut(Observed)> Observer for F {
    fn observe(&mut self, observed: Observed) {
        self(observed);
    }
}

/// What became of a certificate: ready-made TLS configuration, or a text that says why there is none.
pub type CertificateAnswer = Result<Arc<TlsContext>, Arc<str>>;

/// Where a shard's certificates come from.
pub trait CertificateSource {
    /// The shard needs a certificate for `identity`. Answer through `reply`, at once or later from any thread; do not
    /// block. A later renewal is sent with [`Handle::certificate`].
    fn request(&mut self, identity: &Identity, reply: CertificateReply);
}

/// A source with an answer at hand.
impl<F: FnMut(&Identity) -> CertificateAnswer> CertificateSource for F {
    fn request(&mut self, identity: &Identity, reply: CertificateReply) {
        reply.send(self(identity));
    }
}

/// Answers one certificate request; dropped, it answers with a failure.
pub type CertificateReply = Reply<Identity, CertificateAnswer>;

impl CertificateReply {
    pub(crate) const fn to_identity(handle: Handle, identity: Identity) -> Self {
        let given_up = || Err(Arc::from("the certificate source gave up the request"));
        Self::new(handle, identity, Handle::certificate, given_up)
    }
}
