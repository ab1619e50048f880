//! A token as it comes: three parts in base64url with dots between them (RFC 7515 §3.1, RFC 7519).
use alloc::boxed::Box;
use alloc::vec::Vec;

use super::claim::Claim;
use super::refusal::JwtError;

/// What a token says about its signature (RFC 7515 §4).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Header {
    /// `alg`: how it is signed.
    pub alg: Box<str>,
    /// `kid`: by which key.
    pub kid: Option<Box<str>>,
}

/// A token that can be read; nobody has looked at its signature yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Token<'a> {
    /// Of the signature.
    pub header: Header,
    /// What it claims: an object.
    pub claims: Claim,
    /// The second part as it came.
    pub payload: &'a str,
    /// What is signed: the first two parts and the dot between them.
    pub signed: &'a str,
    /// By what.
    pub signature: Vec<u8>,
}

impl<'a> Token<'a> {
    /// Reads a token; `json` knows JSON.
    ///
    /// # Errors
    /// It is none; or it wants something understood that is not (`crit`).
    pub fn read(text: &'a str, json: impl Fn(&[u8]) -> Option<Claim>) -> Result<Self, JwtError> {
        let (signed, signature) = text.rsplit_once('.').ok_or(JwtError::Form)?;
        let (header, payload) = signed.split_once('.').ok_or(JwtError::Form)?;
        if payload.contains('.') || [header, payload, signature].contains(&"") {
            return Err(JwtError::Form);
        }
        let header = base64url(header).ok_or(JwtError::HeaderBase64)?;
        let header = json(&header).filter(is_object).ok_or(JwtError::HeaderJson)?;
        let alg = header.get("alg").and_then(Claim::text).ok_or(JwtError::AlgMissing)?;
        let kid = header.get("kid").map(|kid| kid.text().ok_or(JwtError::KidNoText)).transpose()?;
        // RFC 7515 §4.1.11: whoever does not understand one of these must refuse the token, and we know none.
        if header.get("crit").is_some() {
            return Err(JwtError::Critical);
        }
        let claims = base64url(payload).ok_or(JwtError::PayloadBase64)?;
        let claims = json(&claims).filter(is_object).ok_or(JwtError::PayloadJson)?;
        let signature = base64url(signature).ok_or(JwtError::SignatureBase64)?;
        let header = Header { alg: alg.into(), kid: kid.map(Into::into) };
        Ok(Self { header, claims, payload, signed, signature })
    }
}

const fn is_object(claim: &Claim) -> bool {
    matches!(claim, Claim::Map(_))
}

/// Octets of a text in base64url without padding (RFC 7515 §2), of which there is just one for any octets: what ends in bits that
/// mean nothing is none.
#[must_use]
pub fn base64url(text: &str) -> Option<Vec<u8>> {
    let mut octets = Vec::with_capacity(text.len());
    let (mut bits, mut count) = (0_u32, 0_u32);
    for byte in text.bytes() {
        let value = match byte {
            b'A'..=b'Z' => byte.wrapping_sub(b'A'),
            b'a'..=b'z' => byte.wrapping_sub(b'a').wrapping_add(26),
            b'0'..=b'9' => byte.wrapping_sub(b'0').wrapping_add(52),
            b'-' => 62,
            b'_' => 63,
            _ => return None,
        };
        bits = (bits << 6) | u32::from(value);
        count = count.wrapping_add(6);
        if count >= 8 {
            count = count.wrapping_sub(8);
            octets.push(u8::try_from((bits >> count) & 0xff).ok()?);
            bits &= (1_u32 << count).wrapping_sub(1);
        }
    }
    // Six bits over: a lone character at the end, which is no octet.
    (count < 6 && bits == 0).then_some(octets)
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use super::*;

    #[test]
    fn base64url_has_one_text_for_any_octets() {
        // RFC 4648 §10, without padding, and RFC 7515 appendix C.
        for (text, octets) in [
            ("", &b""[..]),
            ("Zg", b"f"),
            ("Zm8", b"fo"),
            ("Zm9v", b"foo"),
            ("Zm9vYg", b"foob"),
            ("Zm9vYmE", b"fooba"),
            ("Zm9vYmFy", b"foobar"),
            ("A-z_4ME", &[3, 236, 255, 224, 193]),
        ] {
            assert_eq!(base64url(text).as_deref(), Some(octets), "{text}");
        }
        for bad in ["Z", "Zg==", "Zh", "Zm9", "Zm9v\n", "Zm 9v", "Zm+v", "Zm/v", "\u{e9}"] {
            assert_eq!(base64url(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn a_token_has_three_parts() {
        let json = |_: &[u8]| {
            let alg = (Box::from("alg"), Claim::Text("RS256".into()));
            Some(Claim::Map([alg].into()))
        };
        let token = Token::read("e30.e3E.Zg", json).unwrap();
        assert_eq!((token.signed, token.payload, token.signature), ("e30.e3E", "e3E", vec![b'f']));
        assert_eq!((&*token.header.alg, token.header.kid), ("RS256", None));
        for (text, error) in [
            ("", JwtError::Form),
            ("a", JwtError::Form),
            ("a.b", JwtError::Form),
            ("a.b.c.d", JwtError::Form),
            ("e30.e30.", JwtError::Form),
            (".e30.Zg", JwtError::Form),
            ("e3.e30.Zg", JwtError::HeaderBase64),
            ("e30.e3.Zg", JwtError::PayloadBase64),
            ("e30.e30.Z", JwtError::SignatureBase64),
        ] {
            assert_eq!(Token::read(text, json), Err(error), "{text}");
        }
        let not = |_: &[u8]| Some(Claim::List(vec![]));
        assert_eq!(Token::read("e30.e30.Zg", not), Err(JwtError::HeaderJson));
    }
}
