//! Any octets as the tokens of a request: in a header, a query parameter and a cookie.
use adit_control::jwks::Jwks;
use adit_core::l7::authz::Target;
use adit_core::l7::jwt::{
    Authentications, Claim, ClaimToHeader, Header, JwtRule, KeySource, Keys, Place, Refusal,
    RequestAuthentication, Signature, Token,
};
use adit_core::l7::{Headers, Request, Scheme};
use adit_core::mesh::PolicyName;
use adit_core::time::UnixTime;

/// The input in three places.
struct Asked {
    text: String,
    headers: Vec<(String, Vec<u8>)>,
}

impl Request for Asked {
    fn method(&self) -> &str {
        "GET"
    }

    fn scheme(&self) -> Scheme {
        Scheme::Https
    }

    fn authority(&self) -> &str {
        &self.text
    }

    fn path(&self) -> &str {
        &self.text
    }

    fn query(&self) -> Option<&str> {
        Some(&self.text)
    }

    fn header<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a [u8]> {
        self.headers.iter().filter(move |(found, _)| found == name).map(|(_, value)| &**value)
    }
}

impl Headers for Asked {
    fn remove(&mut self, name: &str) {
        self.headers.retain(|(found, _)| found != name);
    }

    fn set(&mut self, name: &str, value: &str) {
        self.remove(name);
        self.append(name, value);
    }

    fn append(&mut self, name: &str, value: &str) {
        assert!(!value.contains(['\r', '\n', '\0']), "a header of its own: {value:?}");
        self.headers.push((name.to_owned(), value.as_bytes().to_vec()));
    }
}

/// Whoever believes every signature, so that what comes after it is reached.
struct Credulous(Jwks);

impl Keys for Credulous {
    fn json(&self, text: &[u8]) -> Option<Claim> {
        self.0.json(text)
    }

    fn verify(&self, _: &KeySource, header: &Header, _: &[u8], _: &[u8]) -> Signature {
        if &*header.alg == "none" { Signature::Unsupported } else { Signature::Valid }
    }
}

/// The input is a token; or the rest of a header, a query and cookies in which there may be one.
pub fn body(data: &[u8]) {
    let text = String::from_utf8_lossy(data).into_owned();
    let keys = Credulous(Jwks::new());
    if let Ok(token) = Token::read(&text, |json| keys.json(json)) {
        assert_eq!(text.matches('.').count(), 2);
        assert!(token.signed.ends_with(token.payload) && !token.signature.is_empty());
    }
    let rule = JwtRule {
        places: vec![
            Place::Header { name: "authorization".into(), prefix: "Bearer ".into() },
            Place::Header { name: "x-raw".into(), prefix: "".into() },
            Place::Param("t".into()),
            Place::Cookie("t".into()),
        ],
        payload_header: Some("x-payload".into()),
        claim_headers: vec![ClaimToHeader { header: "x-sub".into(), claim: "sub".into() }],
        ..JwtRule::new("i", KeySource::Inline("{}".into()))
    };
    let name = PolicyName { namespace: "n".into(), name: "a".into() };
    let all = Authentications::new([RequestAuthentication {
        name,
        targets: vec![Target::Gateway],
        rules: vec![rule],
    }]);
    let headers = [("authorization", "Bearer "), ("x-raw", ""), ("cookie", ""), ("x-sub", "")];
    // As HTTP lets none of these through, what is rewritten cannot have them from the request (RFC 9110 §5.5).
    let value: Vec<u8> = data.iter().copied().filter(|octet| !b"\r\n\0".contains(octet)).collect();
    let headers = headers.map(|(name, prefix)| (name.to_owned(), [prefix.as_bytes(), &value].concat()));
    let mut asked = Asked { text, headers: headers.to_vec() };
    match all.of(None).judge(&asked, UnixTime(1_000_000), &keys) {
        Err(refusal) => {
            let told = Refusal::www_authenticate(&asked);
            assert!(
                told.bytes().all(|b| b == b' ' || b.is_ascii_graphic()) && told.matches('"').count() == 4
            );
            assert!(matches!(refusal.status(), 401 | 403) && !refusal.details().contains(' '));
        }
        Ok(outcome) => {
            let shown = outcome.auth.as_ref().map(|auth| auth.issuer().to_owned());
            assert!(shown.is_none_or(|issuer| issuer == "i"));
            outcome.changes.apply(&mut asked);
            assert!(asked.header("x-sub").all(|value| outcome.auth.is_some() && !value.contains(&b'\n')));
        }
    }
    // What it was that convinced us, if there is nothing but the query, goes no further.
    asked.headers.clear();
    if let Ok(outcome) = all.of(None).judge(&asked, UnixTime(1_000_000), &keys) {
        let query = outcome.changes.query(asked.query()).unwrap_or_default();
        let left = query.split('&').any(|pair| pair.starts_with("t=") && pair.len() > 2);
        assert!(outcome.auth.is_none() || !left, "{query:?}");
    }
}
