//! The demo's issuer of tokens: a key, its set (RFC 7517), and tokens (RFC 7519) that it signs.
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::json;

/// Its name.
const ISSUER: &str = "https://issuer.example";
/// How long tokens are good for, in seconds.
const LIFETIME: u64 = 3600;

/// An issuer of tokens. Its key lives in memory alone.
#[derive(Debug)]
pub struct Issuer {
    key: EcdsaKeyPair,
    keys: String,
}

/// No key could be made, or nothing signed by it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the system's cryptography makes no key or signature")]
pub struct NoKey;

impl Issuer {
    /// One with a new key.
    ///
    /// # Errors
    /// No key can be made.
    pub fn new() -> Result<Self, NoKey> {
        let key = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).map_err(|_| NoKey)?;
        // An uncompressed point: a four, then two coordinates of 32 octets.
        let point = key.public_key().as_ref();
        let (x, y) = (point.get(1..33).ok_or(NoKey)?, point.get(33..65).ok_or(NoKey)?);
        let one = json!({"kty": "EC", "crv": "P-256", "kid": "demo", "alg": "ES256", "x": URL_SAFE_NO_PAD.encode(x), "y": URL_SAFE_NO_PAD.encode(y)});
        let keys = json!({ "keys": [one] }).to_string();
        Ok(Self { key, keys })
    }

    /// Its set of keys, as one line.
    #[must_use]
    pub fn keys(&self) -> &str {
        &self.keys
    }

    /// A token for `subject`.
    ///
    /// # Errors
    /// Nothing can be signed.
    pub fn token(&self, subject: &str) -> Result<String, NoKey> {
        self.with(json!({"iss": ISSUER, "sub": subject, "exp": adit_runtime::wall_clock().0 + LIFETIME}))
    }

    /// A token that says `claims`.
    ///
    /// # Errors
    /// Nothing can be signed.
    pub fn with(&self, claims: serde_json::Value) -> Result<String, NoKey> {
        let head = json!({"alg": "ES256", "kid": "demo", "typ": "JWT"}).to_string();
        let signed = format!(
            "{}.{}",
            URL_SAFE_NO_PAD.encode(head.as_bytes()),
            URL_SAFE_NO_PAD.encode(claims.to_string().as_bytes())
        );
        let signature = self.key.sign(&SystemRandom::new(), signed.as_bytes()).map_err(|_| NoKey)?;
        Ok(format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature.as_ref())))
    }

    /// A token that another key has signed.
    ///
    /// # Errors
    /// Nothing can be signed.
    pub fn forged(&self, subject: &str) -> Result<String, NoKey> {
        Self::new()?.token(subject)
    }
}
