//! SPIFFE identities as Istio uses them: `spiffe://TRUST-DOMAIN/ns/NAMESPACE/sa/SERVICE-ACCOUNT`.
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;
use core::str::FromStr;

use serde::{Deserialize, Serialize};

/// A workload's identity. Ordered and hashable so that sets of them compare in full.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Identity {
    trust_domain: Arc<str>,
    namespace: Arc<str>,
    service_account: Arc<str>,
}

/// Why a text is no SPIFFE identity.
#[derive(Clone, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum IdentityError {
    #[error("SPIFFE identity must begin with spiffe://")]
    Scheme,
    // … the helper who owns this file completes the list
}

impl Identity {
    /// Builds an identity from its parts, each checked as [`FromStr`] checks it.
    pub fn new(trust_domain: &str, namespace: &str, service_account: &str) -> Result<Self, IdentityError> {
        todo!()
    }
    pub fn trust_domain(&self) -> &str {
        &self.trust_domain
    }
    pub fn namespace(&self) -> &str {
        &self.namespace
    }
    pub fn service_account(&self) -> &str {
        &self.service_account
    }
    /// The identity without `spiffe://`, as policies compare principals.
    pub fn principal(&self) -> impl fmt::Display + '_ {
        struct P<'a>(&'a Identity);
        impl fmt::Display for P<'_> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                todo!()
            }
        }
        P(self)
    }
}

impl fmt::Display for Identity {
    /// The full `spiffe://…` form.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        todo!()
    }
}

impl FromStr for Identity {
    type Err = IdentityError;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        todo!()
    }
}

/// An unordered set of identities: sorted and without duplicates, so that equality ignores order.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct IdentitySet(Arc<[Identity]>);

impl IdentitySet {
    pub fn contains(&self, identity: &Identity) -> bool {
        todo!()
    }
    pub fn iter(&self) -> impl Iterator<Item = &Identity> {
        self.0.iter()
    }
}

impl FromIterator<Identity> for IdentitySet {
    fn from_iter<T: IntoIterator<Item = Identity>>(iter: T) -> Self {
        let mut v: Vec<_> = iter.into_iter().collect();
        v.sort();
        v.dedup();
        Self(v.into())
    }
}
