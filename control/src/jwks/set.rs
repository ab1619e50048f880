//! A set of keys (RFC 7517), and signatures by them (RFC 7515 §5.2).
use std::fmt;

use adit_core::l7::jwt::{Header, Signature, base64url};
use aws_lc_rs::signature::ParsedPublicKey;
use serde_json::Value;

use super::algorithm::{Algorithm, Family};

/// Keys of a set that are read; a token without a name of its key is tried with each of them.
const MAX_KEYS: usize = 64;
/// Octets of a modulus: less is forged, more takes long. (2048 to 8192 bits.)
const MODULUS: std::ops::RangeInclusive<usize> = 256..=1024;
/// Octets of a public exponent.
const MAX_EXPONENT: usize = 8;

/// Public keys of an issuer.
#[derive(Clone, Default)]
pub struct KeySet {
    keys: Vec<Key>,
}

#[derive(Clone)]
struct Key {
    id: Option<Box<str>>,
    /// One for each algorithm that it may sign with.
    uses: Vec<(Algorithm, ParsedPublicKey)>,
}

impl fmt::Debug for KeySet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = |key: &Key| {
            let algorithms: Vec<_> = key.uses.iter().map(|(algorithm, _)| algorithm.name()).collect();
            format!("{}: {}", key.id.as_deref().unwrap_or("(no kid)"), algorithms.join(" "))
        };
        f.debug_list().entries(self.keys.iter().map(names)).finish()
    }
}

/// Why a text is no set of keys.
#[derive(Clone, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum KeySetError {
    /// It is no JSON.
    #[error("is no JSON: {0}")]
    Json(String),
    /// It has no list `keys`.
    #[error("has no list \"keys\" (RFC 7517 §5)")]
    NoList,
    /// Nothing in the list can be used.
    #[error("has no key that can be used{}", listed(.0))]
    NoneUsable(Vec<SkippedKey>),
}

fn listed(skipped: &[SkippedKey]) -> String {
    let texts: Vec<String> = skipped.iter().map(SkippedKey::to_string).collect();
    if texts.is_empty() { String::new() } else { format!(": {}", texts.join("; ")) }
}

/// A key that is left out.
#[derive(Clone, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[error("keys[{place}]{} is left out: {reason}", .id.as_ref().map(|id| format!(" ({id})")).unwrap_or_default())]
pub struct SkippedKey {
    /// Its place in the list, from 0.
    pub place: usize,
    /// Its `kid`.
    pub id: Option<String>,
    /// What is wrong with it.
    pub reason: String,
}

impl KeySet {
    /// Reads a set, and says which of its keys are left out: one that is strange spoils no other.
    ///
    /// # Errors
    /// It is none, or no key is left.
    pub fn parse(text: &[u8]) -> Result<(Self, Vec<SkippedKey>), KeySetError> {
        let set: Value =
            serde_json::from_slice(text).map_err(|error| KeySetError::Json(error.to_string()))?;
        let list = set.get("keys").and_then(Value::as_array).ok_or(KeySetError::NoList)?;
        let (mut keys, mut skipped) = (Vec::new(), Vec::new());
        for (place, entry) in list.iter().enumerate() {
            let read = if keys.len() < MAX_KEYS {
                key(entry)
            } else {
                Err(format!("only the first {MAX_KEYS} keys are read"))
            };
            match read {
                Ok(key) => keys.push(key),
                Err(reason) => {
                    let id = text_of(entry, "kid").ok().flatten().map(str::to_owned);
                    skipped.push(SkippedKey { place, id, reason });
                }
            }
        }
        if keys.is_empty() { Err(KeySetError::NoneUsable(skipped)) } else { Ok((Self { keys }, skipped)) }
    }

    /// How many keys it has.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.keys.len()
    }

    /// Whether it has none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// Whether `signature` is one of `signed` by one of these keys, in the way that `header` says. Which keys may sign so is
    /// said by the keys alone: a header cannot make an RSA key's modulus a secret (RFC 8725 §2.1).
    #[must_use]
    pub fn verify(&self, header: &Header, signed: &[u8], signature: &[u8]) -> Signature {
        let Some(algorithm) = Algorithm::named(&header.alg) else { return Signature::Unsupported };
        let named = |key: &&Key| header.kid.is_none() || key.id == header.kid;
        let uses = self.keys.iter().filter(named).flat_map(|key| &key.uses);
        let mut keys = uses.filter(|(of, _)| *of == algorithm).map(|(_, key)| key).peekable();
        if keys.peek().is_none() {
            return Signature::NoKey;
        }
        match keys.any(|key| key.verify_sig(signed, signature).is_ok()) {
            true => Signature::Valid,
            false => Signature::Wrong,
        }
    }
}

/// A member that is a text, if it is there.
fn text_of<'a>(entry: &'a Value, name: &str) -> Result<Option<&'a str>, String> {
    match entry.get(name) {
        None => Ok(None),
        Some(value) => value.as_str().map(Some).ok_or_else(|| format!("{name:?} is no text")),
    }
}

/// Octets of a member in base64url.
fn octets(entry: &Value, name: &str) -> Result<Vec<u8>, String> {
    let text = text_of(entry, name)?.ok_or_else(|| format!("{name:?} is missing"))?;
    base64url(text).ok_or_else(|| format!("{name:?} is no base64url without padding"))
}

fn key(entry: &Value) -> Result<Key, String> {
    if let Some(purpose) = text_of(entry, "use")?.filter(|purpose| *purpose != "sig") {
        return Err(format!("it is not for signatures (\"use\": {purpose:?})"));
    }
    if let Some(list) = entry.get("key_ops") {
        let list = list.as_array().ok_or("\"key_ops\" is no list")?;
        if !list.iter().any(|of| of == "verify") {
            return Err("it is not for checking signatures (\"key_ops\")".to_owned());
        }
    }
    let kind = text_of(entry, "kty")?.ok_or("\"kty\" is missing")?;
    let (family, octets) = match kind {
        "RSA" => (Family::Rsa, rsa(&octets(entry, "n")?, &octets(entry, "e")?)?),
        "EC" => curve(entry)?,
        "OKP" => match text_of(entry, "crv")? {
            Some("Ed25519") => (Family::Ed25519, octets(entry, "x")?),
            other => return Err(format!("curve {other:?} is not supported: expected Ed25519")),
        },
        "oct" => return Err("it is a secret, and who knows it could sign as well".to_owned()),
        other => return Err(format!("\"kty\" {other:?} is not supported: expected RSA, EC or OKP")),
    };
    let algorithms: Vec<Algorithm> = match text_of(entry, "alg")? {
        None => Algorithm::ALL.into_iter().filter(|algorithm| algorithm.family() == family).collect(),
        Some(name) => {
            let algorithm =
                Algorithm::named(name).ok_or_else(|| format!("\"alg\" {name:?} is not supported"))?;
            if algorithm.family() != family {
                return Err(format!("\"alg\" {name:?} is not for a key of this type"));
            }
            vec![algorithm]
        }
    };
    let parsed = |algorithm: Algorithm| Ok((algorithm, algorithm.key(&octets)?));
    let uses = algorithms.into_iter().map(parsed).collect::<Result<_, aws_lc_rs::error::KeyRejected>>();
    let uses = uses.map_err(|error| format!("it is no key: {error}"))?;
    Ok(Key { id: text_of(entry, "kid")?.map(Into::into), uses })
}

/// A point, uncompressed (RFC 7518 §6.2).
fn curve(entry: &Value) -> Result<(Family, Vec<u8>), String> {
    let (family, size) = match text_of(entry, "crv")? {
        Some("P-256") => (Family::P256, 32),
        Some("P-384") => (Family::P384, 48),
        Some("P-521") => (Family::P521, 66),
        other => return Err(format!("curve {other:?} is not supported: expected P-256, P-384 or P-521")),
    };
    let (x, y) = (octets(entry, "x")?, octets(entry, "y")?);
    if x.len() != size || y.len() != size {
        return Err(format!("\"x\" and \"y\" must have {size} octets on this curve"));
    }
    Ok((family, [&[4], &*x, &*y].concat()))
}

/// `RSAPublicKey` in DER (RFC 8017 §A.1.1).
fn rsa(modulus: &[u8], exponent: &[u8]) -> Result<Vec<u8>, String> {
    let significant = |octets: &[u8]| octets.iter().skip_while(|&&b| b == 0).copied().collect::<Vec<u8>>();
    let (modulus, exponent) = (significant(modulus), significant(exponent));
    if !MODULUS.contains(&modulus.len()) {
        return Err(format!("it has {} bits: expected 2048 to 8192", modulus.len() * 8));
    }
    if exponent.is_empty() || exponent.len() > MAX_EXPONENT {
        return Err("its exponent is empty or too long".to_owned());
    }
    let integer = |octets: Vec<u8>| {
        // Not to be taken for a negative one.
        let sign: &[u8] = if octets.first().is_some_and(|first| first & 0x80 != 0) { &[0] } else { &[] };
        der(2, &[sign, &octets].concat())
    };
    Ok(der(0x30, &[integer(modulus), integer(exponent)].concat()))
}

/// A value of DER; up to 65535 octets, which no key has.
fn der(tag: u8, value: &[u8]) -> Vec<u8> {
    let [high, low] = u16::try_from(value.len()).unwrap_or(u16::MAX).to_be_bytes();
    let head: &[u8] = match (high, low) {
        (0, 0..=0x7f) => &[tag, low],
        (0, _) => &[tag, 0x81, low],
        _ => &[tag, 0x82, high, low],
    };
    [head, value].concat()
}
