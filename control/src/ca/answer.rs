//! What an authority answered, or files hold, checked before anything uses it (datapath §4.4).

use std::sync::Arc;

use adit_core::cert::{CertError, Facts, Validity};
use adit_core::identity::Identity;
use adit_core::tls::{Credentials, RecordMode, TlsContext, TlsPorts, identity_in};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, UnixTime};

/// Takes an answer apart: `chain` is PEM, leaf first, and its last element holds the roots, one or several.
///
/// # Errors
/// No roots, PEM that is none, or a leaf for somebody else.
pub fn credentials(
    asked: &Identity,
    chain: &[impl AsRef<[u8]>],
    key: PrivateKeyDer<'static>,
) -> Result<Credentials, CertError> {
    let [leaf, intermediates @ .., roots] = chain else {
        return Err(CertError::NoRoot(chain.len()));
    };
    let mut chain = certificates(leaf.as_ref(), "leaf")?;
    for intermediate in intermediates {
        chain.extend(certificates(intermediate.as_ref(), "intermediate")?);
    }
    let roots = certificates(roots.as_ref(), "root")?;
    let first = chain.first().ok_or_else(|| unusable("there is no leaf"))?;
    match identity_in(first) {
        Ok(found) if found == *asked => {}
        Ok(found) => {
            let reason = format!("it is for {found}").into();
            return Err(CertError::WrongIdentity { asked: asked.clone(), reason });
        }
        Err(reason) => return Err(CertError::WrongIdentity { asked: asked.clone(), reason }),
    }
    Ok(Credentials { identity: asked.clone(), chain, key, roots })
}

/// Makes what tunnels use of it, and says how long it is valid. The key must be the leaf's and the chain must lead to
/// its own roots, or peers would refuse what we would show them.
///
/// # Errors
/// As said.
pub fn context(
    credentials: Credentials,
    ports: &TlsPorts,
    mode: RecordMode,
    now: UnixTime,
) -> Result<(Arc<TlsContext>, Validity), CertError> {
    let leaf = credentials.chain.first().ok_or_else(|| unusable("there is no leaf"))?;
    let validity = Facts::of(leaf).map_err(|error| unusable(&error.to_string()))?.validity;
    leads_to_roots(&credentials, now.as_secs().max(validity.not_before.0))?;
    let context = TlsContext::new(ports.clone(), credentials, mode)
        .map_err(|error| CertError::Unusable(error.to_string().into()))?;
    Ok((context, validity))
}

fn leads_to_roots(credentials: &Credentials, now: u64) -> Result<(), CertError> {
    let wrong =
        |error: webpki::Error| unusable(&format!("its chain does not lead to its own roots: {error}"));
    let anchors: Vec<_> = credentials
        .roots
        .iter()
        .map(webpki::anchor_from_trusted_cert)
        .collect::<Result<_, _>>()
        .map_err(wrong)?;
    let (leaf, intermediates) =
        credentials.chain.split_first().ok_or_else(|| unusable("there is no leaf"))?;
    let leaf = webpki::EndEntityCert::try_from(leaf).map_err(wrong)?;
    let now = UnixTime::since_unix_epoch(std::time::Duration::from_secs(now));
    let verified = leaf.verify_for_usage(
        webpki::ALL_VERIFICATION_ALGS,
        &anchors,
        intermediates,
        now,
        webpki::KeyUsage::client_auth(),
        None,
        None,
    );
    match verified {
        // Whether it is over is for the manager to say, in its own words.
        Ok(_) | Err(webpki::Error::CertExpired { .. }) => Ok(()),
        Err(error) => Err(wrong(error)),
    }
}

/// All certificates of a PEM text, of which there must be one at least.
fn certificates(pem: &[u8], what: &str) -> Result<Vec<CertificateDer<'static>>, CertError> {
    let found: Vec<_> = CertificateDer::pem_slice_iter(pem)
        .collect::<Result<_, _>>()
        .map_err(|error| unusable(&format!("the {what} is broken PEM: {error}")))?;
    if found.is_empty() { Err(unusable(&format!("the {what} is no certificate in PEM"))) } else { Ok(found) }
}

fn unusable(text: &str) -> CertError {
    CertError::Unusable(text.into())
}
