//! Which tokens are accepted (waypoint.md §12.1–12.3, §12.5).
use super::*;

fn principal(rules: Vec<JwtRule>, request: &Asked) -> Result<Option<String>, JwtError> {
    judge(rules, request).map(|outcome| outcome.auth.and_then(|auth| auth.principal()))
}

#[test]
fn one_token_for_one_rule() {
    let for_aud = || JwtRule { audiences: vec!["me".into(), "us".into()], ..rule("iss") };
    let ok = |text: &str| Ok(Some(text.to_string()));
    for (rule, text, expected) in [
        (rule("iss"), token("iss=iss,sub=s"), ok("iss/s")),
        (rule("iss"), token("iss=iss"), Ok(None)),
        (rule("iss"), token("iss=iss/,sub=s"), Err(JwtError::UnknownIssuer)),
        (rule("iss/"), token("iss=iss,sub=s"), Err(JwtError::UnknownIssuer)),
        (rule("iss"), token("sub=s"), Err(JwtError::UnknownIssuer)),
        (rule(""), token("iss=,sub=s"), Err(JwtError::UnknownIssuer)),
        (rule("iss"), token("iss=#1"), Err(JwtError::IssuerNoText)),
        (rule("iss"), token("iss=iss,sub=#1"), Err(JwtError::SubjectNoText)),
        // Clocks may differ by a minute.
        (rule("iss"), token("iss=iss,sub=s,exp=#999940"), ok("iss/s")),
        (rule("iss"), token("iss=iss,sub=s,exp=#999939"), Err(JwtError::Expired)),
        (rule("iss"), token("iss=iss,sub=s,nbf=#1000060"), ok("iss/s")),
        (rule("iss"), token("iss=iss,sub=s,nbf=#1000061"), Err(JwtError::NotYetValid)),
        (rule("iss"), token("iss=iss,exp=tomorrow"), Err(JwtError::ExpiryNoNumber)),
        (rule("iss"), token("iss=iss,exp=#-1"), Err(JwtError::ExpiryNoNumber)),
        (rule("iss"), token("iss=iss,nbf=!true"), Err(JwtError::NotBeforeNoNumber)),
        (rule("iss"), token("iss=iss,sub=s,aud=anyone"), ok("iss/s")),
        (for_aud(), token("iss=iss,sub=s,aud=us"), ok("iss/s")),
        (for_aud(), token("iss=iss,sub=s,aud=[x;me]"), ok("iss/s")),
        (for_aud(), token("iss=iss,sub=s,aud=them"), Err(JwtError::Audience)),
        (for_aud(), token("iss=iss,sub=s"), Err(JwtError::Audience)),
        (for_aud(), token("iss=iss,sub=s,aud=#1"), Err(JwtError::AudienceNoText)),
        (rule("iss"), signed("alg=RS256", "iss=iss", "bad"), Err(JwtError::Signature)),
        (rule("iss"), signed("alg=none", "iss=iss", "good"), Err(JwtError::AlgUnsupported)),
        (rule("iss"), signed("typ=JWT", "iss=iss", "good"), Err(JwtError::AlgMissing)),
        (rule("iss"), signed("alg=RS256,kid=unknown", "iss=iss", "good"), Err(JwtError::NoKey)),
        (rule("iss"), signed("alg=RS256,kid=#1", "iss=iss", "good"), Err(JwtError::KidNoText)),
        (rule("iss"), signed("alg=RS256,crit=[b64]", "iss=iss", "good"), Err(JwtError::Critical)),
        (rule("iss"), "opaque".into(), Err(JwtError::Form)),
        (rule("iss"), [encode("alg=RS256"), "*".into(), encode("x")].join("."), Err(JwtError::PayloadBase64)),
        (rule("iss"), signed("alg=RS256", "nothing", "good"), Err(JwtError::PayloadJson)),
        (
            JwtRule { keys: KeySource::Inline("empty".into()), ..rule("iss") },
            token("iss=iss"),
            Err(JwtError::NoKeys),
        ),
        (
            JwtRule { keys: KeySource::Unusable("x".into()), ..rule("iss") },
            token("iss=iss"),
            Err(JwtError::NotFetched),
        ),
    ] {
        assert_eq!(principal(vec![rule], &bearer(&text)), expected, "{text}");
    }
}

#[test]
fn tokens_are_looked_for_at_their_places_and_nowhere_else() {
    let good = token("iss=iss,sub=s");
    let header = |name: &str, prefix: &str| Place::Header { name: name.into(), prefix: prefix.into() };
    let asked = |target: &str| Asked::get(&target.replace("TOKEN", &good));
    let with = |name: &str, value: &str| Asked::get("/").with(name, &value.replace("TOKEN", &good));
    for (places, request, found) in [
        (Place::defaults(), with("authorization", "Bearer TOKEN"), true),
        (Place::defaults(), with("authorization", "Bearer  TOKEN "), true),
        (Place::defaults(), with("authorization", "bearer TOKEN"), false),
        (Place::defaults(), with("authorization", "Basic TOKEN"), false),
        (Place::defaults(), with("authorization", "Bearer "), false),
        (Place::defaults(), asked("/?access_token=TOKEN"), true),
        (Place::defaults(), asked("/?a=b&access%5Ftoken=TOKEN&c"), true),
        (Place::defaults(), asked("/?Access_token=TOKEN"), false),
        (Place::defaults(), asked("/?access_token="), false),
        (Place::defaults(), with("cookie", "access_token=TOKEN"), false),
        (vec![header("x-jwt", "")], with("x-jwt", "TOKEN"), true),
        (vec![header("x-jwt", "JWT ")], with("x-jwt", "JWT TOKEN"), true),
        (vec![header("x-jwt", "JWT ")], with("x-jwt", "TOKEN"), false),
        (vec![header("x-jwt", "")], with("authorization", "Bearer TOKEN"), false),
        (vec![Place::Param("t".into())], asked("/?t=TOKEN"), true),
        (vec![Place::Param("t".into())], asked("/?access_token=TOKEN"), false),
        (vec![Place::Cookie("t".into())], with("cookie", "a=b; t=TOKEN"), true),
        (vec![Place::Cookie("t".into())], with("cookie", "t=\"TOKEN\""), true),
        (vec![Place::Cookie("t".into())], with("cookie", "tt=TOKEN"), false),
    ] {
        let rule = JwtRule { places, ..rule("iss") };
        let expected = found.then(|| "iss/s".to_string());
        assert_eq!(principal(vec![rule.clone()], &request), Ok(expected), "{rule:?} {request:?}");
    }
}

#[test]
fn of_several_rules_one_is_enough() {
    let both = || vec![rule("one"), rule("two")];
    let split = || vec![rule("one"), JwtRule { places: at_header("x-two"), ..rule("two") }];
    let (one, two) = (token("iss=one,sub=s"), token("iss=two,sub=s"));
    let expired = token("iss=two,sub=s,exp=#1");
    let ok = |text: &str| Ok(Some(text.to_string()));
    for (rules, request, expected) in [
        (both(), Asked::get("/"), Ok(None)),
        (both(), bearer(&one), ok("one/s")),
        (both(), bearer(&two), ok("two/s")),
        (both(), bearer(&token("iss=three")), Err(JwtError::UnknownIssuer)),
        (both(), bearer(&expired), Err(JwtError::Expired)),
        (split(), bearer(&one), ok("one/s")),
        (split(), Asked::get("/").with("x-two", &two), ok("two/s")),
        (split(), bearer(&two), Err(JwtError::UnknownIssuer)),
        // One that is good beside one that is not.
        (split(), bearer(&one).with("x-two", "junk"), ok("one/s")),
        (split(), bearer(&one).with("x-two", &expired), ok("one/s")),
        // Nobody can tell which of two counts; twice the same is no question.
        (split(), bearer(&one).with("x-two", &two), Err(JwtError::Several)),
        (both(), bearer(&one).with("authorization", &["Bearer ", &two].concat()), Err(JwtError::Several)),
        (both(), bearer(&one).with("authorization", &["Bearer ", &one].concat()), ok("one/s")),
        // The same issuer twice: the keys of either will do.
        (
            vec![JwtRule { keys: KeySource::Inline("empty".into()), ..rule("one") }, rule("one")],
            bearer(&one),
            ok("one/s"),
        ),
    ] {
        assert_eq!(principal(rules, &request), expected, "{request:?}");
    }
}

#[test]
fn many_tokens_are_refused_unseen() {
    let request = (0..5).fold(Asked::get("/"), |request, n| {
        request.with("authorization", &["Bearer ", &"x".repeat(n + 1)].concat())
    });
    assert_eq!(judge(vec![rule("one")], &request), Err(JwtError::Several));
}

#[test]
fn a_preflight_has_no_token_to_look_at() {
    let preflight = bearer("junk").by("OPTIONS").with("origin", "https://x");
    assert_eq!(judge(vec![rule("one")], &preflight), Err(JwtError::Form));
    let preflight = preflight.with("access-control-request-method", "GET");
    assert_eq!(judge(vec![rule("one")], &preflight), Ok(Outcome::default()));
}

#[test]
fn missing_keys_are_worth_another_look() {
    let source = KeySource::Uri { url: "https://k".into(), timeout: KeySource::TIMEOUT };
    let all = authentications(vec![JwtRule { keys: source.clone(), ..rule("iss") }, rule("iss")]);
    assert_eq!(all.sources().collect::<Vec<_>>(), [&source, &keys()]);
    let unknown = bearer(&signed("alg=RS256,kid=unknown", "iss=iss", "good"));
    let refusal = all.of(None).judge(&unknown, NOW, &Fake).unwrap_err();
    assert_eq!(refusal, Refusal { error: JwtError::NotFetched, refetch: vec![source, keys()] });
}
