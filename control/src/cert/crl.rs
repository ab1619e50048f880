//! `CRL_PATH`: revocation lists that others replace, and what is done while they cannot be read.
//!
//! Checking is never switched off by a file that cannot be read: the last good lists stay, and where there never were
//! any, peers are refused. Only a file that was never there means that nothing is revoked, with a warning, as in Istio.

use std::io::ErrorKind;
use std::path::PathBuf;
use std::sync::Arc;

use adit_core::tls::Revocations;

use crate::watch::Watched;

/// One file.
#[derive(Debug)]
pub struct CrlFile {
    file: Watched,
    current: Arc<Revocations>,
    /// Lists (or an empty file) were read once.
    good: bool,
    /// The failure told last, so that it is told once.
    told: Option<String>,
}

/// What a look at the file showed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Looked {
    /// As before.
    Same,
    /// There are other lists to check by.
    Changed,
    /// The file cannot be used, and that is news. `refusing`: there never were lists, so peers are refused from now on.
    Failed {
        /// See above.
        refusing: bool,
    },
}

impl CrlFile {
    /// Nothing is read yet: [`look`](Self::look) once before anything is checked.
    #[must_use]
    pub fn new(path: PathBuf) -> Self {
        Self { file: Watched::new(path), current: Arc::default(), good: false, told: None }
    }

    /// What to check by.
    #[must_use]
    pub const fn current(&self) -> &Arc<Revocations> {
        &self.current
    }

    /// Looks at the file.
    pub fn look(&mut self) -> Looked {
        let reason = match self.file.poll() {
            Ok(None) => return Looked::Same,
            Ok(Some(octets)) => match Revocations::parse(octets) {
                Ok(lists) => {
                    tracing::info!(
                        "revocation lists read from {}: {}",
                        self.file.path().display(),
                        lists.lists()
                    );
                    self.current = Arc::new(lists);
                    (self.good, self.told) = (true, None);
                    return Looked::Changed;
                }
                Err(error) => error.to_string(),
            },
            Err(error) => {
                let missing = error.kind() == ErrorKind::NotFound;
                let text = error.to_string();
                if missing && !self.good {
                    if self.told.is_none() {
                        tracing::warn!(
                            "there are no revocation lists at {}: nothing counts as revoked until there are",
                            self.file.path().display()
                        );
                        self.told = Some(text);
                    }
                    return Looked::Same;
                }
                text
            }
        };
        if self.told.as_ref() == Some(&reason) {
            return Looked::Same;
        }
        let path = self.file.path().display();
        self.told = Some(reason.clone());
        if self.good {
            tracing::error!(
                "revocation lists at {path} cannot be read, the last good ones stay in use: {reason}"
            );
        } else {
            tracing::error!(
                "revocation lists at {path} cannot be read and never could: peers are refused: {reason}"
            );
            self.current = Arc::new(Revocations::missing(format!("{path}: {reason}").into()));
        }
        Looked::Failed { refusing: !self.good }
    }
}

#[cfg(test)]
mod tests {
    use rcgen::{
        BasicConstraints, CertificateParams, CertificateRevocationListParams, IsCa, Issuer, KeyIdMethod,
        KeyPair, SerialNumber, date_time_ymd,
    };

    use super::*;

    fn list() -> String {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let crl = CertificateRevocationListParams {
            this_update: date_time_ymd(2020, 1, 1),
            next_update: date_time_ymd(2021, 1, 1),
            crl_number: SerialNumber::from(1),
            issuing_distribution_point: None,
            revoked_certs: Vec::new(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        crl.signed_by(&Issuer::new(params, key)).unwrap().pem().unwrap()
    }

    fn file(name: &str) -> (PathBuf, CrlFile) {
        let path = std::env::temp_dir().join(format!("adit-crl-{name}-{}", std::process::id()));
        let _ = std::fs::remove_file(&path);
        (path.clone(), CrlFile::new(path))
    }

    /// A new file, so that its stamp differs however coarse the clock.
    fn put(path: &std::path::Path, text: &str) {
        let next = path.with_extension("next");
        std::fs::write(&next, text).unwrap();
        std::fs::rename(next, path).unwrap();
    }

    #[test]
    fn missing_then_valid_then_unparsable_then_gone_keeps_the_last_good_lists() {
        let (path, mut crl) = file("kept");
        assert_eq!((crl.look(), crl.look()), (Looked::Same, Looked::Same));
        assert_eq!(crl.current().lists(), 0);
        put(&path, &list());
        assert_eq!((crl.look(), crl.look()), (Looked::Changed, Looked::Same));
        let good = Arc::clone(crl.current());
        assert_eq!(good.lists(), 1);
        put(&path, "nonsense");
        assert_eq!((crl.look(), crl.look()), (Looked::Failed { refusing: false }, Looked::Same));
        assert!(Arc::ptr_eq(crl.current(), &good));
        std::fs::remove_file(&path).unwrap();
        assert_eq!((crl.look(), crl.look()), (Looked::Failed { refusing: false }, Looked::Same));
        assert!(Arc::ptr_eq(crl.current(), &good));
        put(&path, "");
        assert_eq!(crl.look(), Looked::Changed);
        assert_eq!(crl.current().lists(), 0);
        std::fs::remove_file(&path).unwrap();
    }

    #[test]
    fn unparsable_from_the_start_refuses_until_it_is_mended() {
        let (path, mut crl) = file("refused");
        put(&path, "-----BEGIN nonsense");
        assert_eq!((crl.look(), crl.look()), (Looked::Failed { refusing: true }, Looked::Same));
        assert!(format!("{:?}", crl.current()).contains("Missing"));
        // Taking it away is no way around the check.
        std::fs::remove_file(&path).unwrap();
        crl.look();
        assert!(format!("{:?}", crl.current()).contains("Missing"));
        put(&path, &list());
        assert_eq!(crl.look(), Looked::Changed);
        assert_eq!(crl.current().lists(), 1);
        std::fs::remove_file(&path).unwrap();
    }
}
