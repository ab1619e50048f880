//! What the backend and the client are told.
use super::*;

fn changed(rules: Vec<JwtRule>, mut request: Asked) -> (Asked, Option<String>) {
    let outcome = judge(rules, &request).unwrap();
    let query = outcome.changes.query(request.query()).map(|query| query.to_string());
    outcome.changes.apply(&mut request);
    (request, query)
}

#[test]
fn the_backend_does_not_see_the_token_unless_it_shall() {
    let good = token("iss=iss,sub=s");
    let places = || {
        vec![
            Place::Header { name: "x-jwt".into(), prefix: "T ".into() },
            Place::Param("t".into()),
            Place::Cookie("c".into()),
        ]
    };
    let hides = || JwtRule { places: places(), ..rule("iss") };
    let header = || Asked::get("/?q=1").with("x-jwt", &["T ", &good].concat()).with("x-other", "1");
    let (after, query) = changed(vec![hides()], header());
    assert_eq!(
        (after.values("x-jwt"), after.values("x-other"), query.as_deref()),
        (vec![], vec!["1"], Some("q=1"))
    );

    let param = |target: &str| changed(vec![hides()], Asked::get(&target.replace("TOKEN", &good))).1;
    assert_eq!(param("/?t=TOKEN"), None);
    assert_eq!(param("/?a=1&t=TOKEN&b&%74=TOKEN").as_deref(), Some("a=1&b"));

    let cookie = |value: &str| {
        let (after, _) =
            changed(vec![hides()], Asked::get("/").with("cookie", &value.replace("TOKEN", &good)));
        after.values("cookie").join("|")
    };
    assert_eq!(cookie("c=TOKEN"), "");
    assert_eq!(cookie("a=1; c=TOKEN; b=\"2\""), "a=1; b=\"2\"");

    let shows = JwtRule { forward: true, ..hides() };
    let (after, _) = changed(vec![shows.clone()], header());
    assert_eq!(after.values("x-jwt").len(), 1);
    // One of two rules that wants it hidden is enough.
    assert!(changed(vec![shows, hides()], header()).0.values("x-jwt").is_empty());
}

#[test]
fn the_backend_is_told_claims_and_believes_no_client() {
    let to = |header: &str, claim: &str| ClaimToHeader { header: header.into(), claim: claim.into() };
    let tells = || JwtRule {
        payload_header: Some("x-payload".into()),
        claim_headers: vec![
            to("x-sub", "sub"),
            to("x-level", "level"),
            to("x-admin", "admin"),
            to("x-deep", "org.unit"),
            to("x-list", "groups"),
            to("x-none", "nothing"),
            to("x-odd", "odd"),
        ],
        ..rule("iss")
    };
    let names = ["x-payload", "x-sub", "x-level", "x-admin", "x-deep", "x-list", "x-none", "x-odd"];
    let lies = |request: Asked| names.iter().fold(request, |request, name| request.with(name, "root"));
    let told = |request: Asked| {
        let (after, _) = changed(vec![tells()], lies(request));
        names.map(|name| after.values(name).join("|"))
    };
    let text = "iss=iss,sub=s,level=#7,admin=!true,org={unit:u},groups=[a;b],odd=a\r\nx-evil: 1";
    let payload = encode(text);
    assert_eq!(told(bearer(&token(text))), [&*payload, "s", "7", "true", "u", "", "", ""]);
    assert_eq!(told(Asked::get("/")), [""; 8]);
    let preflight =
        Asked::get("/").by("OPTIONS").with("origin", "x").with("access-control-request-method", "GET");
    assert_eq!(told(preflight), [""; 8]);
    // A claim whose name has dots in it.
    let dotted = JwtRule { claim_headers: vec![to("x-a", "a.b")], ..rule("iss") };
    let (after, _) = changed(vec![dotted], bearer(&token("iss=iss,a.b=1,a={b:2}")));
    assert_eq!(after.values("x-a"), ["1"]);
}

#[test]
fn the_client_is_told_what_is_wrong() {
    let refusal = |error| Refusal { error, refetch: vec![] };
    for (error, status, body, details) in [
        (JwtError::Expired, 401, "Jwt is expired", "jwt_authn_access_denied{Jwt_is_expired}"),
        (
            JwtError::Signature,
            401,
            "Jwt verification fails",
            "jwt_authn_access_denied{Jwt_verification_fails}",
        ),
        (
            JwtError::NotFetched,
            401,
            "Jwks remote fetch is failed",
            "jwt_authn_access_denied{Jwks_remote_fetch_is_failed}",
        ),
        (
            JwtError::Audience,
            403,
            "Audiences in Jwt are not allowed",
            "jwt_authn_access_denied{Audiences_in_Jwt_are_not_allowed}",
        ),
    ] {
        let refusal = refusal(error);
        assert_eq!((refusal.status(), &*refusal.body(), &*refusal.details()), (status, body, details));
    }
    let asked = Asked::get("/a\"b?access_token=secret").at("echo:80");
    assert_eq!(
        Refusal::www_authenticate(&asked),
        r#"Bearer realm="http://echo:80/ab", error="invalid_token""#
    );
    let long = Refusal::www_authenticate(&Asked::get(&["/", &"x".repeat(1000)].concat()));
    assert!(long.len() < 320);
}

#[test]
fn claims_are_found_by_policies() {
    let auth = |spaced: &[&str]| {
        let claims =
            claims("sub=s,aud=[a;b],azp=p,scope=read  write,other=x y,groups=[g h;i],org={unit:u}").unwrap();
        Authenticated::new(claims, "iss", spaced.iter().map(|&name| Box::from(name)))
    };
    let found = |spaced: &[&str], path: &[&str]| {
        let path: Vec<Box<str>> = path.iter().map(|&name| name.into()).collect();
        auth(spaced).claim(&path).map(ToString::to_string).collect::<Vec<_>>()
    };
    assert_eq!(found(&[], &["scope"]), ["read", "write"]);
    assert_eq!(found(&[], &["other"]), ["x y"]);
    assert_eq!(found(&["other", "groups"], &["other"]), ["x", "y"]);
    assert_eq!(found(&[], &["groups"]), ["g h", "i"]);
    assert_eq!(found(&["groups"], &["groups"]), ["g", "h", "i"]);
    assert_eq!(found(&[], &["org", "unit"]), ["u"]);
    assert_eq!(found(&[], &["org"]), Vec::<String>::new());
    let auth = auth(&[]);
    assert_eq!(auth.audiences().collect::<Vec<_>>(), ["a", "b"]);
    assert_eq!((auth.presenter(), auth.principal().as_deref()), (Some("p"), Some("iss/s")));
}
