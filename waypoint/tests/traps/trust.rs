//! Tokens, good and bad.
use adit_waypoint::demo::token::Issuer;
use serde_json::json;

use super::rig::{Rig, echo};

#[test]
fn tokens_are_judged() {
    let issuer = Issuer::new().unwrap();
    let manifests = format!(
        "apiVersion: security.istio.io/v1\nkind: RequestAuthentication\nmetadata: {{ name: t, namespace: demo }}\nspec:\n  \
         targetRefs: [{{ group: \"\", kind: Service, name: echo }}]\n  jwtRules:\n  - issuer: https://issuer.example\n    audiences: [us]\n    \
         jwks: '{}'\n---\napiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: {{ name: p, namespace: demo }}\nspec:\n  \
         targetRefs: [{{ group: \"\", kind: Service, name: echo }}]\n  action: DENY\n  rules:\n  - from: [{{ source: {{ notRequestPrincipals: [\"*\"] }} }}]\n    \
         to: [{{ operation: {{ paths: [/private] }} }}]\n",
        issuer.keys()
    );
    let rig = Rig::new(&echo(), &manifests);
    let at = |seconds: i64| {
        std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs() as i64 + seconds
    };
    let of = |iss: &str, aud: &str, exp: i64| {
        issuer.with(json!({ "iss": iss, "sub": "a", "aud": aud, "exp": exp })).unwrap()
    };
    let good = of("https://issuer.example", "us", at(3600));
    let none = {
        let (head, rest) = good.split_once('.').unwrap();
        // {"alg":"none"}
        let payload = rest.split_once('.').unwrap().0;
        assert_ne!(head, "");
        format!("eyJhbGciOiJub25lIn0.{payload}.")
    };
    for (name, token, status) in [
        ("good", good, 200),
        ("expired", of("https://issuer.example", "us", at(-3600)), 401),
        ("other issuer", of("https://other.example", "us", at(3600)), 401),
        ("other audience", of("https://issuer.example", "them", at(3600)), 403),
        (
            "forged",
            Issuer::new()
                .unwrap()
                .with(json!({ "iss": "https://issuer.example", "sub": "a", "aud": "us", "exp": at(3600) }))
                .unwrap(),
            401,
        ),
        ("without signature", none, 401),
        ("nonsense", "a.b.c".to_owned(), 401),
    ] {
        let bearer = format!("Bearer {token}");
        let reply = rig.get("echo", "/private", &[("authorization", &bearer)]);
        assert_eq!(reply.status, status, "{name}: {}", String::from_utf8_lossy(&reply.body));
        assert_eq!(reply.header("www-authenticate").is_some(), status != 200, "{name}");
    }
    assert_eq!(rig.get("echo", "/", &[]).status, 200);
    assert_eq!(rig.get("echo", "/private", &[]).status, 403);
}
