//! Whole tokens of the RFCs, judged by rules of the core with keys of this crate.
use adit_core::l7::authz::Target;
use adit_core::l7::jwt::{Authentications, JwtError, JwtRule, KeySource, RequestAuthentication};
use adit_core::l7::{Request, Scheme};
use adit_core::mesh::PolicyName;
use adit_core::time::UnixTime;
use serde_json::json;

use super::super::Jwks;
use super::{Signer, encode};

/// A request that has nothing but its token.
struct Bearer(String);

impl Request for Bearer {
    fn method(&self) -> &str {
        "GET"
    }

    fn scheme(&self) -> Scheme {
        Scheme::Http
    }

    fn authority(&self) -> &str {
        "echo"
    }

    fn path(&self) -> &str {
        "/"
    }

    fn query(&self) -> Option<&str> {
        None
    }

    fn header<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a [u8]> {
        Some(self.0.as_bytes()).filter(|_| name == "authorization").into_iter()
    }
}

/// Who a token of `joe` is from, by this set of keys, at this time.
fn judged(keys: &str, token: &str, now: u64) -> Result<Option<String>, JwtError> {
    let source = KeySource::Inline(keys.into());
    let ring = Jwks::new();
    ring.update([&source]);
    let name = PolicyName { namespace: "ns".into(), name: "ra".into() };
    let rules = vec![JwtRule::new("joe", source)];
    let all = Authentications::new([RequestAuthentication { name, targets: vec![Target::Class], rules }]);
    let judged = all.of(None).judge(&Bearer(format!("Bearer {token}")), UnixTime(now), &ring);
    judged.map(|outcome| outcome.auth.map(|auth| auth.issuer().to_owned())).map_err(|refusal| refusal.error)
}

/// `exp` of the examples.
const EXPIRES: u64 = 1_300_819_380;

const RS256_KEY: &str = r#"{"keys":[{"kty":"RSA","e":"AQAB","n":"ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw-4qPCJrcS2mJPMEzP1Pt0Bm4d4QlL-yRT-SFd2lZS-pCgNMsD1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kpaSHSXndS5z5rexMdbBYUsLA9e-KXBdQOS-UTo7WTBEMa2R2CapHg665xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxXFvUK-DWNmoudF8NAco9_h9iaGNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FRWyuXpoQ"}]}"#;
const RS256: &str = "eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ.cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_lF5YKt_O8W2Fp5jujGbds9uJdbF9CUAr7t1dnZcAcQjbKBYNX4BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb1L07Qe7K0GarZRmB_eSN9383LcOLn6_dO--xi12jzDwusC-eOkHWEsqtFZESc6BfI7noOPqvhJ1phCnvWh6IeYI2w9QOYEUipUTI8np6LbgGY9Fs98rqVt5AXLIhWkWywlVmtVrBp0igcN_IoypGlUPQGe77Rw";

// RFC 7515 §A.2, with the claims of RFC 7519 §3.1.
#[test]
fn the_token_of_the_rfc_is_good_until_it_expires() {
    let joe = || Ok(Some("joe".to_owned()));
    assert_eq!(judged(RS256_KEY, RS256, EXPIRES), joe());
    assert_eq!(judged(RS256_KEY, RS256, EXPIRES + 60), joe());
    assert_eq!(judged(RS256_KEY, RS256, EXPIRES + 61), Err(JwtError::Expired));
    let (head, signature) = RS256.rsplit_once('.').unwrap();
    let (header, _) = head.split_once('.').unwrap();
    let other = encode(br#"{"iss":"joe","root":true}"#);
    assert_eq!(
        judged(RS256_KEY, &format!("{header}.{other}.{signature}"), EXPIRES),
        Err(JwtError::Signature)
    );
}

#[test]
fn a_secret_or_nothing_at_all_signs_no_token() {
    // RFC 7519 §3.1: HMAC. The key is the token's own, and not even then.
    let token = "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ.dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
    let secret = json!({"keys": [{"kty": "oct", "k": "AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow"}]});
    assert_eq!(judged(&secret.to_string(), token, EXPIRES), Err(JwtError::NoKeys));
    assert_eq!(judged(RS256_KEY, token, EXPIRES), Err(JwtError::AlgUnsupported));
    // RFC 7519 §6.1: none; and with something where its signature would be.
    let token = "eyJhbGciOiJub25lIn0.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ.";
    assert_eq!(judged(RS256_KEY, token, EXPIRES), Err(JwtError::Form));
    assert_eq!(judged(RS256_KEY, &format!("{token}AA"), EXPIRES), Err(JwtError::AlgUnsupported));
}

#[test]
fn what_is_said_twice_is_not_said() {
    let signer = Signer::new("k");
    let token = |claims: &str| {
        let signed = [encode(br#"{"alg":"EdDSA","kid":"k"}"#), encode(claims.as_bytes())].join(".");
        let signature = encode(&signer.sign(signed.as_bytes()));
        format!("{signed}.{signature}")
    };
    let said = |claims: &str| judged(&signer.set(), &token(claims), EXPIRES);
    assert_eq!(said(r#"{"iss":"joe"}"#), Ok(Some("joe".to_owned())));
    assert_eq!(said(r#"{"iss":"joe","exp":1300819319.9}"#), Err(JwtError::Expired));
    assert_eq!(said(r#"{"iss":"joe","iss":"jane"}"#), Err(JwtError::PayloadJson));
    assert_eq!(said(r#"{"iss":"jane","iss":"joe"}"#), Err(JwtError::PayloadJson));
    assert_eq!(said(r#"{"iss":"joe"} x"#), Err(JwtError::PayloadJson));
    assert_eq!(said(&format!("{}1{}", "[".repeat(100_000), "]".repeat(100_000))), Err(JwtError::PayloadJson));
}
