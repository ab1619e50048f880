//! A throw-away CA for the stand-in and Envoy; `adit-node` makes its own.
use std::fs;
use std::path::Path;

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, SanType,
};

use crate::Failure;

/// Writes `root.pem`, and `NAME.pem` + `NAME.key` for each of `names` (service accounts of namespace `bench`).
pub(crate) fn write(dir: &Path, names: &[&str]) -> Result<(), Failure> {
    let root_key = KeyPair::generate()?;
    let mut root = CertificateParams::new(Vec::new())?;
    // A certificate whose issuer has its own name is self-signed to some.
    root.distinguished_name.push(DnType::CommonName, "adit-bench root");
    root.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let root_cert = root.self_signed(&root_key)?;
    fs::write(dir.join("root.pem"), root_cert.pem())?;
    let issuer = Issuer::new(root, root_key);
    for name in names {
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::new(Vec::new())?;
        params.subject_alt_names =
            vec![SanType::URI(format!("spiffe://cluster.local/ns/bench/sa/{name}").try_into()?)];
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ClientAuth, ExtendedKeyUsagePurpose::ServerAuth];
        let cert = params.signed_by(&key, &issuer)?;
        fs::write(dir.join(format!("{name}.pem")), cert.pem())?;
        fs::write(dir.join(format!("{name}.key")), key.serialize_pem())?;
    }
    Ok(())
}
