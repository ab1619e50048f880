//! Vectors of the RFCs, keys of our own, and keys that are none.
use adit_core::l7::jwt::{Header, Signature, base64url};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{self as lc, KeyPair};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use super::*;

mod whole;

pub(super) fn header(alg: &str, kid: Option<&str>) -> Header {
    Header { alg: alg.into(), kid: kid.map(Into::into) }
}

fn encode(octets: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(octets)
}

/// Somebody who signs with Ed25519.
pub(super) struct Signer {
    pub(super) kid: String,
    pair: lc::Ed25519KeyPair,
}

impl Signer {
    pub(super) fn new(kid: &str) -> Self {
        Self { kid: kid.to_owned(), pair: lc::Ed25519KeyPair::generate().unwrap() }
    }

    pub(super) fn set(&self) -> String {
        let x = encode(self.pair.public_key().as_ref());
        json!({"keys": [{"kty": "OKP", "crv": "Ed25519", "kid": self.kid, "x": x}]}).to_string()
    }

    pub(super) fn sign(&self, signed: &[u8]) -> Vec<u8> {
        self.pair.sign(signed).as_ref().to_vec()
    }
}

fn set(keys: &[Value]) -> KeySet {
    let (set, skipped) = KeySet::parse(json!({ "keys": keys }).to_string().as_bytes()).unwrap();
    assert_eq!(skipped, []);
    set
}

/// A token of an RFC: whether it is one by the key, and not if anything in it changes.
fn check(key: &Value, token: &str) {
    let (signed, signature) = token.rsplit_once('.').unwrap();
    let head: Value = serde_json::from_slice(&base64url(signed.split_once('.').unwrap().0).unwrap()).unwrap();
    let header = header(head["alg"].as_str().unwrap(), None);
    let mut signature = base64url(signature).unwrap();
    let set = set(std::slice::from_ref(key));
    assert_eq!(set.verify(&header, signed.as_bytes(), &signature), Signature::Valid);
    assert_eq!(set.verify(&header, &signed.as_bytes()[1..], &signature), Signature::Wrong);
    signature[7] ^= 1;
    assert_eq!(set.verify(&header, signed.as_bytes(), &signature), Signature::Wrong);
    assert_eq!(set.verify(&header, signed.as_bytes(), &[]), Signature::Wrong);
}

// RFC 7515 §A.2.
#[test]
fn rs256_of_the_rfc() {
    let n = "ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw-4qPCJrcS2mJPMEzP1Pt0Bm4d4QlL-yRT-SFd2lZS-pCgNMsD1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kpaSHSXndS5z5rexMdbBYUsLA9e-KXBdQOS-UTo7WTBEMa2R2CapHg665xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxXFvUK-DWNmoudF8NAco9_h9iaGNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FRWyuXpoQ";
    let token = "eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ.cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_lF5YKt_O8W2Fp5jujGbds9uJdbF9CUAr7t1dnZcAcQjbKBYNX4BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb1L07Qe7K0GarZRmB_eSN9383LcOLn6_dO--xi12jzDwusC-eOkHWEsqtFZESc6BfI7noOPqvhJ1phCnvWh6IeYI2w9QOYEUipUTI8np6LbgGY9Fs98rqVt5AXLIhWkWywlVmtVrBp0igcN_IoypGlUPQGe77Rw";
    check(&json!({"kty": "RSA", "n": n, "e": "AQAB"}), token);
}

// RFC 7515 §A.3.
#[test]
fn es256_of_the_rfc() {
    let key = json!({
        "kty": "EC",
        "crv": "P-256",
        "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
        "y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0",
    });
    let token = "eyJhbGciOiJFUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ.DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q";
    check(&key, token);
}

// RFC 7515 §A.4.
#[test]
fn es512_of_the_rfc() {
    let key = json!({
        "kty": "EC",
        "crv": "P-521",
        "x": "AekpBQ8ST8a8VcfVOTNl353vSrDCLLJXmPk06wTjxrrjcBpXp5EOnYG_NjFZ6OvLFV1jSfS9tsz4qUxcWceqwQGk",
        "y": "ADSmRA43Z1DSNx_RvcLI87cdL07l6jQyyBXMoxVg_l2Th-x3S1WDhjDly79ajL4Kkd0AZMaZmh9ubmf63e3kyMj2",
    });
    let token = "eyJhbGciOiJFUzUxMiJ9.UGF5bG9hZA.AdwMgeerwtHoh-l192l60hp9wAHZFVJbLfD_UxMi70cwnZOYaRI1bKPWROc-mZZqwqT2SI-KGDKB34XO0aw_7XdtAG8GaSwFKdCAPZgoXD2YBJZCPEX3xKpRwcdOO8KpEHwJjyqOgzDO7iKvU8vcnwNrmxYbSW9ERBXukOXolLzeO_Jn";
    check(&key, token);
}

// RFC 8037 §A.4.
#[test]
fn eddsa_of_the_rfc() {
    let key = json!({"kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"});
    let token = "eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc.hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg";
    check(&key, token);
}

/// Every algorithm, by keys of our own: for each its name, its key and a signature of `signed`.
fn all(signed: &[u8]) -> Vec<(&'static str, Value, Vec<u8>)> {
    let rng = SystemRandom::new();
    let mut made = Vec::new();
    let rsa = aws_lc_rs::rsa::KeyPair::generate(aws_lc_rs::rsa::KeySize::Rsa2048).unwrap();
    let big = |octets: &[u8]| encode(octets);
    let public = rsa.public_key();
    let key = json!({
        "kty": "RSA",
        "n": big(public.modulus().big_endian_without_leading_zero()),
        "e": big(public.exponent().big_endian_without_leading_zero()),
    });
    let encodings: [(_, &'static dyn lc::RsaEncoding); 6] = [
        ("RS256", &lc::RSA_PKCS1_SHA256),
        ("RS384", &lc::RSA_PKCS1_SHA384),
        ("RS512", &lc::RSA_PKCS1_SHA512),
        ("PS256", &lc::RSA_PSS_SHA256),
        ("PS384", &lc::RSA_PSS_SHA384),
        ("PS512", &lc::RSA_PSS_SHA512),
    ];
    for (name, encoding) in encodings {
        let mut signature = vec![0; rsa.public_modulus_len()];
        rsa.sign(encoding, &rng, signed, &mut signature).unwrap();
        made.push((name, key.clone(), signature));
    }
    for (name, curve, algorithm) in [
        ("ES256", "P-256", &lc::ECDSA_P256_SHA256_FIXED_SIGNING),
        ("ES384", "P-384", &lc::ECDSA_P384_SHA384_FIXED_SIGNING),
        ("ES512", "P-521", &lc::ECDSA_P521_SHA512_FIXED_SIGNING),
    ] {
        let pair = lc::EcdsaKeyPair::generate(algorithm).unwrap();
        let (x, y) = pair.public_key().as_ref()[1..].split_at((pair.public_key().as_ref().len() - 1) / 2);
        let key = json!({"kty": "EC", "crv": curve, "x": encode(x), "y": encode(y)});
        made.push((name, key, pair.sign(&rng, signed).unwrap().as_ref().to_vec()));
    }
    let pair = lc::Ed25519KeyPair::generate().unwrap();
    let key = json!({"kty": "OKP", "crv": "Ed25519", "x": encode(pair.public_key().as_ref())});
    made.push(("EdDSA", key, pair.sign(signed).as_ref().to_vec()));
    made
}

#[test]
fn a_signature_counts_for_its_own_algorithm_and_key() {
    let signed = b"header.payload";
    let all = all(signed);
    for (name, key, signature) in &all {
        for (other, other_key, _) in &all {
            let set = set(std::slice::from_ref(other_key));
            let expected = match (name == other, key["kty"] == "RSA" && other_key["kty"] == "RSA") {
                (true, _) => Signature::Valid,
                // One key of RSA may do both.
                (false, true) => Signature::Valid,
                (false, false) => Signature::NoKey,
            };
            assert_eq!(set.verify(&header(name, None), signed, signature), expected, "{name} by {other}");
        }
        for (other, ..) in all.iter().filter(|(other, ..)| other != name) {
            let said = set(std::slice::from_ref(key)).verify(&header(other, None), signed, signature);
            assert_ne!(said, Signature::Valid, "{name} as {other}");
        }
        // A key may be for one algorithm alone.
        let mut bound = key.clone();
        bound["alg"] = json!(name);
        assert_eq!(set(&[bound.clone()]).verify(&header(name, None), signed, signature), Signature::Valid);
        let other = if *name == "RS256" { "PS256" } else { "RS256" };
        assert_eq!(set(&[bound]).verify(&header(other, None), signed, signature), Signature::NoKey);
    }
    for alg in ["none", "None", "", "HS256", "HS384", "HS512", "rs256", "ES256K", "RSA1_5"] {
        let keys: Vec<Value> = all.iter().map(|(_, key, _)| key.clone()).collect();
        assert_eq!(set(&keys).verify(&header(alg, None), signed, b""), Signature::Unsupported, "{alg}");
    }
}

#[test]
fn a_name_selects_the_key() {
    let signed = b"a.b";
    let (one, two) = (all(signed), all(signed));
    let named = |key: &Value, kid: &str| {
        let mut key = key.clone();
        key["kid"] = json!(kid);
        key
    };
    let (_, key_one, signature) = &one[6];
    let (_, key_two, _) = &two[6];
    let set = set(&[named(key_one, "one"), named(key_two, "two"), key_two.clone()]);
    let said = |kid| set.verify(&header("ES256", kid), signed, signature);
    assert_eq!(said(None), Signature::Valid);
    assert_eq!(said(Some("one")), Signature::Valid);
    assert_eq!(said(Some("two")), Signature::Wrong);
    assert_eq!(said(Some("three")), Signature::NoKey);
    assert_eq!(said(Some("")), Signature::NoKey);
}

#[test]
fn what_is_no_key_is_left_out_and_told() {
    let good = json!({"kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"});
    let with = |name: &str, value: Value| {
        let mut key = good.clone();
        key[name] = value;
        key
    };
    let point = "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU";
    for (bad, reason) in [
        (json!(7), "\"kty\" is missing"),
        (json!({"kty": "oct", "k": "AQ"}), "secret"),
        (with("kty", json!("XYZ")), "not supported"),
        (with("kty", json!(1)), "\"kty\" is no text"),
        (with("use", json!("enc")), "not for signatures"),
        (with("key_ops", json!(["sign"])), "not for checking"),
        (with("alg", json!("RS256")), "not for a key of this type"),
        (with("alg", json!("HS256")), "\"alg\" \"HS256\" is not supported"),
        (with("crv", json!("X25519")), "curve"),
        (with("x", json!("AQ")), "no key"),
        (with("x", json!("A+Q=")), "base64url"),
        (json!({"kty": "EC", "crv": "secp256k1", "x": point, "y": point}), "curve"),
        (json!({"kty": "EC", "crv": "P-256", "x": point}), "\"y\" is missing"),
        (json!({"kty": "EC", "crv": "P-256", "x": point, "y": "AQ"}), "32 octets"),
        // Not on the curve.
        (json!({"kty": "EC", "crv": "P-256", "x": point, "y": point}), "no key"),
        (json!({"kty": "RSA", "n": encode(&[0xff; 128]), "e": "AQAB"}), "1024 bits"),
        (json!({"kty": "RSA", "n": encode(&[0xff; 1025]), "e": "AQAB"}), "8200 bits"),
        (json!({"kty": "RSA", "n": encode(&[0xff; 256]), "e": "AA"}), "exponent"),
    ] {
        let text = json!({"keys": [bad, good]}).to_string();
        let (set, skipped) = KeySet::parse(text.as_bytes()).unwrap();
        assert_eq!((set.len(), set.is_empty()), (1, false));
        let [skipped] = &skipped[..] else { panic!("{text} {skipped:?}") };
        assert!(skipped.place == 0 && skipped.reason.contains(reason), "{skipped} for {text}");
        let alone = KeySet::parse(json!({ "keys": [bad] }).to_string().as_bytes()).unwrap_err();
        assert!(alone.to_string().contains("keys[0]"), "{alone}");
    }
    let error = |text: &str| KeySet::parse(text.as_bytes()).unwrap_err();
    assert!(matches!(error("{"), KeySetError::Json(_)));
    for text in ["{}", "[]", r#"{"keys": {}}"#] {
        assert_eq!(error(text), KeySetError::NoList);
    }
    assert_eq!(error(r#"{"keys": []}"#).to_string(), "has no key that can be used");
    let many: Vec<_> = (0..70).map(|_| good.clone()).collect();
    let (set, skipped) = KeySet::parse(json!({ "keys": many }).to_string().as_bytes()).unwrap();
    assert_eq!((set.len(), skipped.len()), (64, 6));
}
