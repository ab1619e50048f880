//! Certificates in use: one per identity, issued when first asked for and renewed at half of their life.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use adit_core::identity::Identity;
use adit_core::tls::{RecordMode, TlsContext, TlsError, TlsPorts};

use super::{BACKDATE, CaError, LIFETIME, LocalCa};

/// Why there is no certificate for an identity.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CertificateError {
    /// The authority issued none.
    #[error(transparent)]
    Ca(#[from] CaError),
    /// It cannot be used for TLS.
    #[error("the certificate issued for {identity} cannot be used: {source}")]
    Tls {
        /// Whose it is.
        identity: Identity,
        /// Why.
        source: TlsError,
    },
}

/// Certificates in use, shared by all shards. Whoever keeps one must ask again at [`renew_at`](Self::renew_at).
pub struct CertificateStore {
    ca: LocalCa,
    ports: TlsPorts,
    mode: RecordMode,
    issued: Mutex<BTreeMap<Identity, Issued>>,
}

struct Issued {
    context: Arc<TlsContext>,
    /// Half of its life is over.
    renew: SystemTime,
    expires: SystemTime,
}

impl std::fmt::Debug for CertificateStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CertificateStore").finish_non_exhaustive()
    }
}

impl CertificateStore {
    /// A store that has issued nothing yet; `ports` and `mode` go into each context.
    #[must_use]
    pub const fn new(ca: LocalCa, ports: TlsPorts, mode: RecordMode) -> Self {
        Self { ca, ports, mode, issued: Mutex::new(BTreeMap::new()) }
    }

    /// The certificate of `identity`; issues one when there is none or half of its life is over. Concurrent callers
    /// get the same one. Takes well under a millisecond, so it may be called from a shard's thread.
    ///
    /// # Errors
    /// There is none that is valid, and none can be issued.
    pub fn get(&self, identity: &Identity) -> Result<Arc<TlsContext>, CertificateError> {
        self.get_at(identity, SystemTime::now())
    }

    /// When to ask again for a certificate that is kept elsewhere; `None` when `identity` has none.
    #[must_use]
    pub fn renew_at(&self, identity: &Identity) -> Option<SystemTime> {
        self.held().get(identity).map(|held| held.renew)
    }

    fn held(&self) -> MutexGuard<'_, BTreeMap<Identity, Issued>> {
        // A panic elsewhere leaves the map whole: it is only ever changed by one `insert`.
        self.issued.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn get_at(&self, identity: &Identity, now: SystemTime) -> Result<Arc<TlsContext>, CertificateError> {
        let mut issued = self.held();
        let held = issued.get(identity);
        if let Some(held) = held
            && now < held.renew
        {
            return Ok(Arc::clone(&held.context));
        }
        match self.issue(identity, now) {
            Ok(new) => {
                let context = Arc::clone(&new.context);
                issued.insert(identity.clone(), new);
                Ok(context)
            }
            Err(error) => match held {
                Some(held) if now < held.expires => {
                    tracing::warn!("renewal failed, the old certificate stays in use: {error}");
                    Ok(Arc::clone(&held.context))
                }
                _ => Err(error),
            },
        }
    }

    fn issue(&self, identity: &Identity, now: SystemTime) -> Result<Issued, CertificateError> {
        let credentials = self.ca.issue_at(identity, now)?;
        let context = TlsContext::new(self.ports.clone(), credentials, self.mode)
            .map_err(|source| CertificateError::Tls { identity: identity.clone(), source })?;
        // From not_before on (datapath §4.4), so a little before half of the time that is left.
        let renew = now - BACKDATE + (BACKDATE + LIFETIME) / 2;
        Ok(Issued { context, renew, expires: now + LIFETIME })
    }
}

#[cfg(test)]
mod tests;
