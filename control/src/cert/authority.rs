//! Who issues certificates: Istio's authority, our own, or whoever writes files.

use std::path::{Path, PathBuf};
use std::sync::Mutex;

use adit_core::cert::CertError;
use adit_core::identity::Identity;
use adit_core::tls::Credentials;

use super::CertificateFiles;
use crate::ca::{IstioCa, LocalCa};
use crate::grpc::Roots;
use crate::watch::Watched;

/// Where certificates come from.
#[derive(Debug)]
#[non_exhaustive]
pub enum Authority {
    /// istiod, or whoever speaks its protocol.
    Istio(IstioCa),
    /// In this process; unfit for production.
    Local(LocalCa),
    /// cert-manager, a SPIRE helper or an administrator puts them into a directory. One identity.
    Files(Mutex<CertificateFiles>),
}

/// What a look at an authority's files showed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Changed {
    Nothing,
    /// The authority is trusted by other roots: connect anew.
    Roots,
    /// Other certificates are to be had.
    Certificates,
}

impl Authority {
    pub(super) async fn issue(&self, identity: &Identity) -> Result<Credentials, CertError> {
        match self {
            Self::Istio(ca) => ca.issue(identity).await,
            Self::Local(ca) => {
                ca.issue(identity).map_err(|error| CertError::Unusable(error.to_string().into()))
            }
            Self::Files(files) => lock(files).load(identity),
        }
    }

    /// The file of `CA_ROOT_CA`, to be watched.
    pub(super) fn roots(&self) -> Option<Watched> {
        let path = match self {
            Self::Istio(ca) => match &ca.connector().roots {
                Roots::File(path) => Some(path.clone()),
                Roots::System | Roots::Pem(_) => None,
            },
            Self::Local(_) | Self::Files(_) => None,
        };
        path.map(Watched::new)
    }

    /// Looks whether files have changed.
    pub(super) fn look(&self, roots: Option<&mut Watched>) -> Changed {
        match self {
            Self::Istio(ca) => match roots.map(Watched::poll) {
                Some(Ok(Some(_))) => {
                    ca.handle_roots_changed();
                    Changed::Roots
                }
                _ => Changed::Nothing,
            },
            Self::Local(_) => Changed::Nothing,
            Self::Files(files) => {
                if lock(files).has_changed() {
                    Changed::Certificates
                } else {
                    Changed::Nothing
                }
            }
        }
    }

    /// Certificates from `directory`.
    #[must_use]
    pub fn files(directory: &Path) -> Self {
        Self::Files(Mutex::new(CertificateFiles::new(PathBuf::from(directory))))
    }
}

fn lock(files: &Mutex<CertificateFiles>) -> std::sync::MutexGuard<'_, CertificateFiles> {
    // Its only state are stamps, which are right or lead to one more look.
    files.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}
