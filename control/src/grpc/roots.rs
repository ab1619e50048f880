//! Whom we trust to be the control plane (`XDS_ROOT_CA`, `CA_ROOT_CA`, interfaces §2.2).
use std::path::PathBuf;

use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

/// Where root certificates come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Roots {
    /// A PEM file, read again for each connection.
    File(PathBuf),
    /// Those of the platform.
    System,
    /// PEM text.
    Pem(String),
}

/// Why there are no root certificates.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RootsError {
    /// The file cannot be read.
    #[error("cannot read the control plane's root certificates from {path}: {reason}")]
    Unreadable {
        /// The file.
        path: String,
        /// What the system says.
        reason: String,
    },
    /// Nothing in it is a certificate.
    #[error("no usable root certificate in {0}: the control plane could not be recognised")]
    Empty(String),
}

impl Roots {
    /// The setting's meaning: `SYSTEM`, PEM text, or else a file, whether or not it exists yet: a missing file is better named
    /// than taken for a certificate.
    #[must_use]
    pub fn from_setting(setting: &str) -> Self {
        match setting {
            "SYSTEM" => Self::System,
            // A path never has this.
            text if text.contains("-----BEGIN") => Self::Pem(text.to_owned()),
            path => Self::File(path.into()),
        }
    }

    /// Reads them; what does not parse is left out.
    ///
    /// # Errors
    /// The file cannot be read, or nothing is left.
    pub fn load(&self) -> Result<RootCertStore, RootsError> {
        let (certificates, place) = match self {
            Self::File(path) => {
                let place = path.display().to_string();
                let pem = std::fs::read(path).map_err(|error| RootsError::Unreadable {
                    path: place.clone(),
                    reason: error.to_string(),
                })?;
                (parse(&pem), place)
            }
            Self::System => {
                (rustls_native_certs::load_native_certs().certs, "the platform's store".to_owned())
            }
            Self::Pem(text) => (parse(text.as_bytes()), "the text given as root certificates".to_owned()),
        };
        let mut store = RootCertStore::empty();
        store.add_parsable_certificates(certificates);
        if store.is_empty() { Err(RootsError::Empty(place)) } else { Ok(store) }
    }
}

fn parse(pem: &[u8]) -> Vec<CertificateDer<'static>> {
    CertificateDer::pem_slice_iter(pem).filter_map(Result::ok).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_files_the_system_or_text() {
        assert_eq!(Roots::from_setting("SYSTEM"), Roots::System);
        assert_eq!(Roots::from_setting("Cargo.toml"), Roots::File("Cargo.toml".into()));
        assert_eq!(Roots::from_setting("/not/yet/there.pem"), Roots::File("/not/yet/there.pem".into()));
        let pem = "-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----";
        assert_eq!(Roots::from_setting(pem), Roots::Pem(pem.into()));
    }

    #[test]
    fn what_holds_no_certificate_is_refused_by_name() {
        let error = Roots::File("Cargo.toml".into()).load().unwrap_err();
        assert_eq!(error, RootsError::Empty("Cargo.toml".into()));
        let error = Roots::File("/not/there.pem".into()).load().unwrap_err();
        assert!(error.to_string().contains("/not/there.pem"), "{error}");
    }

    #[test]
    fn certificates_beside_rubbish_are_taken() {
        let key = rcgen::KeyPair::generate().unwrap();
        let root = rcgen::CertificateParams::default().self_signed(&key).unwrap().pem();
        let rubbish = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        assert_eq!(Roots::Pem(format!("{rubbish}{root}")).load().unwrap().len(), 1);
    }
}
