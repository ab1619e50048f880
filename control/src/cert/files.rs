//! A certificate from files: `cert-chain.pem`, `key.pem` and `root-cert.pem` of one directory, as Istio's agent on a
//! virtual machine has them.
//!
//! Whoever writes them writes three files, so between two of them the set is a mix. A set is taken only when no file
//! changed while all three were read, the key is the leaf's, and the chain leads to the roots.

use std::io;
use std::path::{Path, PathBuf};

use adit_core::cert::CertError;
use adit_core::identity::Identity;
use adit_core::tls::{Credentials, identity_in};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use zeroize::Zeroizing;

use crate::ca::answer;
use crate::watch::Stamp;

const CHAIN: &str = "cert-chain.pem";
const KEY: &str = "key.pem";
const ROOTS: &str = "root-cert.pem";

/// One directory.
#[derive(Debug)]
pub struct CertificateFiles {
    directory: PathBuf,
    /// The versions read last.
    seen: Option<[Stamp; 3]>,
}

impl CertificateFiles {
    /// Nothing is read yet.
    #[must_use]
    pub const fn new(directory: PathBuf) -> Self {
        Self { directory, seen: None }
    }

    /// Whether other files are there than were read last; false while some cannot be seen.
    #[must_use]
    pub fn has_changed(&self) -> bool {
        self.stamps().is_ok_and(|stamps| self.seen != Some(stamps))
    }

    /// Reads the set.
    ///
    /// # Errors
    /// A file cannot be read or used, the set changed under the reading, or it is somebody else's than `asked`. Whether
    /// the key and chain belong together is judged by who makes a context of them.
    pub fn load(&mut self, asked: &Identity) -> Result<Credentials, CertError> {
        let before = self.stamps().map_err(|(path, error)| unreadable(&path, &error))?;
        let chain = self.read(CHAIN)?;
        let key = self.read(KEY)?;
        let roots = self.read(ROOTS)?;
        let after = self.stamps().map_err(|(path, error)| unreadable(&path, &error))?;
        if before != after {
            let text = format!("{} is being rewritten; it is read again", self.directory.display());
            return Err(CertError::Unusable(text.into()));
        }
        self.seen = Some(after);
        let key = PrivateKeyDer::from_pem_slice(&key)
            .map_err(|error| CertError::Unusable(format!("{KEY} holds no private key: {error}").into()))?;
        let leaf = CertificateDer::from_pem_slice(&chain)
            .map_err(|error| CertError::Unusable(format!("{CHAIN} holds no certificate: {error}").into()))?;
        if let Ok(held) = identity_in(&leaf)
            && held != *asked
        {
            return Err(CertError::NotOurs { held, asked: asked.clone() });
        }
        answer::credentials(asked, &[chain, roots], key)
    }

    fn stamps(&self) -> Result<[Stamp; 3], (PathBuf, io::Error)> {
        let stamp = |name| {
            let path = self.directory.join(name);
            Stamp::of(&path).map_err(|error| (path, error))
        };
        Ok([stamp(CHAIN)?, stamp(KEY)?, stamp(ROOTS)?])
    }

    fn read(&self, name: &str) -> Result<Zeroizing<Vec<u8>>, CertError> {
        let path = self.directory.join(name);
        std::fs::read(&path).map(Zeroizing::new).map_err(|error| unreadable(&path, &error))
    }
}

fn unreadable(path: &Path, error: &io::Error) -> CertError {
    CertError::Unusable(format!("cannot read {}: {error}", path.display()).into())
}
