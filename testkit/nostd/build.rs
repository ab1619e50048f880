//! Makes a root and the certificates of a client and a server, valid from 2020 to 2040.
use std::error::Error;
use std::path::Path;
use std::{env, fs};

use rcgen::{
    BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, SanType,
    date_time_ymd,
};

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=build.rs");
    let folder = env::var_os("OUT_DIR").ok_or("cargo sets OUT_DIR")?;
    let folder = Path::new(&folder);

    let key = KeyPair::generate()?;
    let mut params = params();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    fs::write(folder.join("root.der"), params.self_signed(&key)?.der())?;
    let issuer = Issuer::new(params, key);

    for name in ["client", "server"] {
        let key = KeyPair::generate()?;
        let mut params = self::params();
        let uri = format!("spiffe://cluster.local/ns/test/sa/{name}");
        params.subject_alt_names = vec![SanType::URI(uri.try_into()?)];
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ClientAuth, ExtendedKeyUsagePurpose::ServerAuth];
        fs::write(folder.join(format!("{name}.der")), params.signed_by(&key, &issuer)?.der())?;
        fs::write(folder.join(format!("{name}.key.der")), key.serialize_der())?;
    }
    Ok(())
}

fn params() -> CertificateParams {
    let mut params = CertificateParams::default();
    (params.not_before, params.not_after) = (date_time_ymd(2020, 1, 1), date_time_ymd(2040, 1, 1));
    params
}
