//! Tokens in requests. They are "signed" by their issuer's name; JSON is a table of texts that stand for claims.
use alloc::boxed::Box;
use alloc::string::{String, ToString};
use alloc::vec;
use alloc::vec::Vec;

use super::*;
use crate::l7::Request as _;
use crate::l7::authz::Target;
use crate::l7::tests::Asked;
use crate::mesh::PolicyName;
use crate::time::UnixTime;

mod judged;
mod told;

const NOW: UnixTime = UnixTime(1_000_000);

/// `a=text,b=#number,c=!true,d=[x;y],e={a:b}` is an object.
fn claims(text: &str) -> Option<Claim> {
    let value = |text: &str| match text.split_at_checked(1) {
        Some(("#", number)) => number.parse().map(Claim::Integer).ok(),
        Some(("!", truth)) => truth.parse().map(Claim::Bool).ok(),
        Some(("[", list)) => {
            let items = list.trim_end_matches(']').split(';');
            Some(Claim::List(items.map(|item| Claim::Text(item.into())).collect()))
        }
        Some(("{", map)) => {
            let (name, value) = map.trim_end_matches('}').split_once(':')?;
            Some(Claim::Map([(name.into(), Claim::Text(value.into()))].into()))
        }
        _ => Some(Claim::Text(text.into())),
    };
    let entries = text.split(',').filter(|entry| !entry.is_empty());
    let entry =
        |entry: &str| entry.split_once('=').and_then(|(name, of)| Some((Box::from(name), value(of)?)));
    entries.map(entry).collect::<Option<_>>().map(Claim::Map)
}

fn encode(text: &str) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut out = String::new();
    for chunk in text.as_bytes().chunks(3) {
        let bits = chunk.iter().fold(0_u32, |bits, &b| (bits << 8) | u32::from(b)) << (8 * (3 - chunk.len()));
        for place in 0..=chunk.len() {
            out.push(char::from(ALPHABET[(bits >> (18 - 6 * place)) as usize & 63]));
        }
    }
    out
}

/// A token with these claims, signed with the text `signature`.
fn signed(header: &str, claims: &str, signature: &str) -> String {
    [encode(header), encode(claims), encode(signature)].join(".")
}

fn token(claims: &str) -> String {
    signed("alg=RS256", claims, "good")
}

struct Fake;

impl Keys for Fake {
    fn json(&self, text: &[u8]) -> Option<Claim> {
        claims(core::str::from_utf8(text).ok()?)
    }

    fn verify(&self, keys: &KeySource, header: &Header, signed: &[u8], signature: &[u8]) -> Signature {
        assert!(signed.contains(&b'.'));
        let KeySource::Inline(set) = keys else { return Signature::NotFetched };
        match (&**set, &*header.alg, signature) {
            ("empty", ..) => Signature::NoKeys,
            (_, alg, _) if alg != "RS256" => Signature::Unsupported,
            _ if header.kid.as_deref() == Some("unknown") => Signature::NoKey,
            (.., b"good") => Signature::Valid,
            _ => Signature::Wrong,
        }
    }
}

fn keys() -> KeySource {
    KeySource::Inline("keys".into())
}

fn rule(issuer: &str) -> JwtRule {
    JwtRule::new(issuer, keys())
}

fn at_header(name: &str) -> Vec<Place> {
    vec![Place::Header { name: name.into(), prefix: "".into() }]
}

fn authentications(rules: Vec<JwtRule>) -> Authentications {
    let name = PolicyName { namespace: "ns".into(), name: "ra".into() };
    Authentications::new([RequestAuthentication { name, targets: vec![Target::Gateway], rules }])
}

fn judge(rules: Vec<JwtRule>, request: &Asked) -> Result<Outcome, JwtError> {
    let all = authentications(rules);
    all.of(None).judge(request, NOW, &Fake).map_err(|refusal| refusal.error)
}

fn bearer(token: &str) -> Asked {
    Asked::get("/").with("authorization", &["Bearer ", token].concat())
}
