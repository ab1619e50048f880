//! Any octets as a set of keys, and as a signature by them.
use adit_control::jwks::KeySet;
use adit_core::l7::jwt::{Header, Signature};

/// The input is a set of keys, and a signature.
pub fn body(data: &[u8]) {
    let Ok((set, skipped)) = KeySet::parse(data) else { return };
    assert!((1..=64).contains(&set.len()));
    assert!(skipped.iter().all(|key| !key.reason.is_empty()));
    for alg in ["RS256", "PS512", "ES256", "ES384", "ES512", "EdDSA", "HS256", "none"] {
        for kid in [None, Some("k")] {
            let header = Header { alg: alg.into(), kid: kid.map(Into::into) };
            let said = set.verify(&header, b"header.payload", data);
            assert_ne!(said, Signature::Valid, "{alg}: forged");
            assert_eq!(said == Signature::Unsupported, matches!(alg, "HS256" | "none"), "{alg}");
        }
    }
}
