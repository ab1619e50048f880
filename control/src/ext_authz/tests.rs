//! What authorizers are told, and what they say.
use std::time::Duration;

use ::http::{Request, Response};
use adit_core::l7::authz::{BodyInCheck, HttpCheck, Pattern, Protocol};
use prost::Message as _;

use super::*;
use crate::proto::auth;
use crate::proto::auth::check_response::HttpResponse;

fn provider(protocol: Protocol) -> Provider {
    Provider {
        name: "opa".into(),
        host: "opa.auth.svc".into(),
        namespace: None,
        port: 9000,
        timeout: Duration::from_secs(1),
        fail_open: false,
        status_on_error: 403,
        body: None,
        protocol,
    }
}

fn asked() -> Request<()> {
    Request::post("/a/b?c=d")
        .header("x-request-id", "r1")
        .header("content-length", "7")
        .header("authorization", "Bearer t")
        .header("cookie", "a=b")
        .header("x-two", "1")
        .header("x-two", "2")
        .header("transfer-encoding", "chunked")
        .body(())
        .unwrap()
}

fn question(asked: &Request<()>, body: Option<Body>) -> HttpQuestion<'_> {
    HttpQuestion {
        method: asked.method(),
        scheme: "http",
        authority: "echo:80",
        path: "/a/b?c=d",
        headers: asked.headers(),
        protocol: "HTTP/2",
        body,
    }
}

fn checked(body: Option<Body>, provider: &Provider) -> auth::AttributeContext {
    let asked = asked();
    let (source, own): (Identity, Identity) =
        ("spiffe://td/ns/a/sa/b".parse().unwrap(), "spiffe://td/ns/w/sa/w".parse().unwrap());
    let question = Question {
        time: UnixTime(7),
        source: Some(&source),
        source_address: "10.0.0.1:4000".parse().unwrap(),
        own: Some(&own),
        destination: "10.9.0.1:80".parse().unwrap(),
        sni: Some("www.example"),
        http: Some(question(&asked, body)),
    };
    let framed = grpc::request(&question, provider);
    assert_eq!(framed[0], 0);
    assert_eq!(framed[1..5], u32::try_from(framed.len() - 5).unwrap().to_be_bytes());
    auth::CheckRequest::decode(&framed[5..]).unwrap().attributes.unwrap()
}

#[test]
fn by_grpc_the_authorizer_is_told_everything() {
    let told = checked(None, &provider(Protocol::Grpc));
    let peer = |peer: Option<auth::attribute_context::Peer>| {
        let peer = peer.unwrap();
        let socket = peer.address.unwrap().socket_address.unwrap();
        format!("{} {}:{}", peer.principal, socket.address, socket.port_value)
    };
    assert_eq!(peer(told.source), "spiffe://td/ns/a/sa/b 10.0.0.1:4000");
    assert_eq!(peer(told.destination), "spiffe://td/ns/w/sa/w 10.9.0.1:80");
    assert_eq!(told.tls_session.unwrap().sni, "www.example");
    let request = told.request.unwrap();
    assert_eq!(request.time.unwrap().seconds, 7);
    let http = request.http.unwrap();
    let texts = [&*http.id, &http.method, &http.path, &http.host, &http.scheme, &http.protocol, &http.body];
    assert_eq!(texts, ["r1", "POST", "/a/b?c=d", "echo:80", "http", "HTTP/2", ""]);
    assert_eq!((http.size, http.raw_body.len()), (7, 0));
    for (name, value) in [
        (":authority", "echo:80"),
        (":method", "POST"),
        (":path", "/a/b?c=d"),
        (":scheme", "http"),
        ("x-two", "1,2"),
        ("authorization", "Bearer t"),
    ] {
        assert_eq!(http.headers[name], value);
    }
    assert!(!http.headers.contains_key("x-envoy-auth-partial-body"));
}

#[test]
fn as_much_of_the_body_as_it_wants() {
    let with = |octets: &'static [u8], partial, as_bytes| {
        let body = Some(BodyInCheck { max: 4, allow_partial: true, as_bytes });
        let provider = Provider { body, ..provider(Protocol::Grpc) };
        let told = checked(Some(Body { octets: Bytes::from_static(octets), partial }), &provider);
        let http = told.request.unwrap().http.unwrap();
        (http.body, http.raw_body, http.headers["x-envoy-auth-partial-body"].clone())
    };
    assert_eq!(with(b"abcd", true, false), ("abcd".into(), vec![], "true".into()));
    assert_eq!(with(b"abcd", false, true), (String::new(), b"abcd".to_vec(), "false".into()));
    assert_eq!(with(b"ab\xc3", true, false), (String::new(), b"ab\xc3".to_vec(), "true".into()));
}

fn framed(response: &auth::CheckResponse) -> Vec<u8> {
    let message = response.encode_to_vec();
    [&[0], &u32::try_from(message.len()).unwrap().to_be_bytes()[..], &message].concat()
}

fn said(code: i32, response: Option<HttpResponse>) -> Answer {
    let status = auth::Status { code, message: String::new() };
    grpc::answer(&framed(&auth::CheckResponse { status: Some(status), http_response: response }))
}

fn option(name: &str, value: &str, append: Option<bool>, append_action: i32) -> auth::HeaderValueOption {
    let header = auth::HeaderValue { key: name.into(), value: value.into(), raw_value: vec![] };
    auth::HeaderValueOption { header: Some(header), append, append_action, keep_empty_value: false }
}

#[test]
fn what_an_answer_by_grpc_means() {
    assert_eq!(said(0, None), Answer::Allow(Box::default()));
    assert_eq!(grpc::answer(&framed(&auth::CheckResponse::default())), Answer::Allow(Box::default()));
    let denied = |status: i32, headers| auth::DeniedHttpResponse {
        status: Some(auth::HttpStatus { code: status }),
        headers,
        body: "no".into(),
    };
    let refusal = |answer| match answer {
        Answer::Deny(denied) => (denied.status.as_u16(), denied.body.len(), denied.headers.len()),
        other => panic!("{other:?}"),
    };
    let deny = |status, headers| Some(HttpResponse::DeniedResponse(denied(status, headers)));
    assert_eq!(refusal(said(7, None)), (403, 0, 0));
    assert_eq!(refusal(said(16, deny(401, vec![option("www-authenticate", "x", None, 0)]))), (401, 2, 1));
    // What is no header, or no status of a refusal, spoils no refusal.
    assert_eq!(refusal(said(7, deny(200, vec![option("a b", "x", None, 0)]))), (403, 2, 0));
    assert_eq!(refusal(said(7, deny(99_999, vec![option("a", "x\r\ny: z", None, 0)]))), (403, 2, 0));
    assert_eq!(
        refusal(said(7, Some(HttpResponse::OkResponse(auth::OkHttpResponse::default())))),
        (403, 0, 0)
    );
    assert_eq!(refusal(said(0, deny(403, vec![]))), (403, 2, 0));
    for answer in [
        said(13, Some(HttpResponse::ErrorResponse(denied(500, vec![])))),
        grpc::answer(b""),
        grpc::answer(&[1, 0, 0, 0, 0]),
        grpc::answer(&[0, 0, 0, 0, 1]),
        grpc::answer(&[0, 0, 0, 0, 1, 0xff]),
        said(
            0,
            Some(HttpResponse::OkResponse(auth::OkHttpResponse {
                headers: vec![option("a", "x\r\ny: z", None, 0)],
                ..Default::default()
            })),
        ),
        said(
            0,
            Some(HttpResponse::OkResponse(auth::OkHttpResponse {
                query_parameters_to_set: vec![auth::QueryParameter {
                    key: "a".into(),
                    value: "1&b=2".into(),
                }],
                ..Default::default()
            })),
        ),
    ] {
        assert!(matches!(answer, Answer::Failed(_)), "{answer:?}");
    }
}

#[test]
fn a_call_counts_if_it_has_ended_well() {
    let question = Question {
        time: UnixTime(7),
        source: None,
        source_address: "10.0.0.1:4000".parse().unwrap(),
        own: None,
        destination: "[fd00::1]:80".parse().unwrap(),
        sni: None,
        http: None,
    };
    let provider = Provider { timeout: Duration::from_millis(1500), ..provider(Protocol::Grpc) };
    let call = grpc::call(&question, &provider).unwrap();
    assert_eq!(call.uri(), "http://opa.auth.svc:9000/envoy.service.auth.v3.Authorization/Check");
    assert_eq!(call.headers()["grpc-timeout"], "1500m");
    let long = Provider { timeout: Duration::from_secs(u64::MAX), ..provider.clone() };
    assert_eq!(grpc::call(&question, &long).unwrap().headers()["grpc-timeout"], "99999999m");
    let short = Provider { timeout: Duration::from_micros(200), ..provider.clone() };
    assert_eq!(grpc::call(&question, &short).unwrap().headers()["grpc-timeout"], "200u");
    for host in ["fd00::9", "[fd00::9]"] {
        let literal = Provider { host: host.into(), ..provider.clone() };
        assert_eq!(grpc::call(&question, &literal).unwrap().uri().authority().unwrap(), "[fd00::9]:9000");
    }
    assert!(grpc::call(&question, &Provider { host: "a b".into(), ..provider }).is_err());

    let yes = framed(&auth::CheckResponse::default());
    let code = |code: Option<&'static str>| {
        let value = |code| (HeaderName::from_static("grpc-status"), HeaderValue::from_static(code));
        HeaderMap::from_iter(code.map(value))
    };
    let said = |status: u16, headers, body: &[u8], trailers| {
        let status = StatusCode::from_u16(status).unwrap();
        let answer = grpc::answered(status, &code(headers), body, Some(&code(trailers)));
        matches!(answer, Answer::Allow(_))
    };
    assert!(said(200, None, &yes, Some("0")));
    assert!(said(200, Some("0"), &yes, None));
    assert!(!said(200, None, &yes, None));
    assert!(!said(200, Some("0"), &yes, Some("14")));
    assert!(!said(200, Some("12"), b"", None));
    assert!(!said(503, None, &yes, Some("0")));
    assert!(!said(200, None, b"", Some("0")));
}

#[test]
fn a_request_that_may_pass_is_changed() {
    let ok = auth::OkHttpResponse {
        headers: vec![
            option("x-set", "new", None, 0),
            option("x-append", "new", Some(true), 0),
            option("x-absent", "new", None, 1),
            option("x-there", "new", None, 3),
            option("x-missing", "new", None, 3),
            option("x-empty", "", None, 0),
            option("host", "evil", None, 0),
            option(":path", "/evil", None, 0),
            option("content-length", "0", None, 0),
        ],
        headers_to_remove: vec!["x-gone".into(), "Host".into()],
        response_headers_to_add: vec![option("set-cookie", "a=b", Some(true), 0)],
        query_parameters_to_set: vec![auth::QueryParameter { key: "q".into(), value: "new".into() }],
        query_parameters_to_remove: vec!["gone".into()],
    };
    let Answer::Allow(changes) = said(0, Some(HttpResponse::OkResponse(ok))) else { panic!() };
    let mut request = Request::get("/");
    for name in ["x-set", "x-append", "x-absent", "x-there", "x-empty", "x-gone", "host"] {
        request = request.header(name, "old");
    }
    let mut headers = request.body(()).unwrap().headers().clone();
    changes.apply(&mut headers);
    let values = |name: &str| {
        let values = headers.get_all(name).iter().map(|value| value.to_str().unwrap());
        values.collect::<Vec<_>>().join(",")
    };
    for (name, value) in [
        ("x-set", "new"),
        ("x-append", "old,new"),
        ("x-absent", "old"),
        ("x-there", "new"),
        ("x-missing", ""),
        ("x-empty", "old"),
        ("x-gone", ""),
        ("host", "old"),
        ("content-length", ""),
    ] {
        assert_eq!(values(name), value, "{name}");
    }
    assert_eq!(changes.response.len(), 1);
    assert_eq!(changes.query(Some("a=1&q=old&gone=2&q")).as_deref(), Some("a=1&q=new"));
    assert_eq!(Changes::default().query(Some("a=1")).as_deref(), Some("a=1"));
    assert_eq!(Changes::default().query(None), None);
}

#[test]
fn by_http_the_authorizer_gets_the_request_without_most_headers() {
    let check = HttpCheck {
        path_prefix: "/check/".into(),
        request_headers: vec![Pattern::new("x-*"), Pattern::new("transfer-encoding")],
        // Which authority was asked for, nothing in a configuration changes.
        additional_headers: vec![("x-from".into(), "adit".into()), ("host".into(), "other".into())],
        ..HttpCheck::default()
    };
    let asked = asked();
    let body = Body { octets: Bytes::from_static(b"abc"), partial: true };
    let request = http::request(&question(&asked, Some(body)), &check).unwrap();
    assert_eq!((request.method().as_str(), request.uri().to_string()), ("POST", "/check/a/b?c=d".into()));
    let mut names: Vec<_> = request.headers().keys().map(HeaderName::as_str).collect();
    names.sort_unstable();
    let expected = [
        "authorization",
        "content-length",
        "host",
        "x-envoy-auth-partial-body",
        "x-from",
        "x-request-id",
        "x-two",
    ];
    assert_eq!(names, expected);
    assert_eq!(
        (&request.headers()["host"], &request.headers()["content-length"]),
        (&"echo:80".parse().unwrap(), &"3".parse().unwrap())
    );
    assert_eq!(request.body(), "abc");
    let plain = http::request(&question(&asked, None), &HttpCheck::default()).unwrap();
    assert_eq!(
        (plain.uri().to_string(), plain.headers()["content-length"].to_str().unwrap()),
        ("/a/b?c=d".into(), "0")
    );
}

#[test]
fn what_an_answer_by_http_means() {
    let answer = |status: u16, check: &HttpCheck| {
        let response = Response::builder()
            .status(status)
            .header("x-user", "me")
            .header("x-user", "you")
            .header("set-cookie", "a=b")
            .header("location", "/login")
            .header("content-length", "2")
            .body(())
            .unwrap();
        http::answer(response.status(), response.headers(), Bytes::from_static(b"no"), check)
    };
    let check = HttpCheck {
        upstream_on_allow: vec![Pattern::new("x-*")],
        downstream_on_allow: vec![Pattern::new("set-cookie")],
        downstream_on_deny: vec![Pattern::new("x-user")],
        ..HttpCheck::default()
    };
    let Answer::Allow(changes) = answer(200, &check) else { panic!() };
    assert_eq!((changes.request.len(), changes.response.len()), (2, 1));
    let mut headers =
        HeaderMap::from_iter([(HeaderName::from_static("x-user"), HeaderValue::from_static("root"))]);
    changes.apply(&mut headers);
    assert_eq!(headers.get_all("x-user").iter().collect::<Vec<_>>(), ["me", "you"]);
    assert_eq!(answer(200, &HttpCheck::default()), Answer::Allow(Box::default()));
    let names = |answer| match answer {
        Answer::Deny(denied) => {
            let mut names: Vec<_> = denied.headers.keys().map(ToString::to_string).collect();
            names.sort();
            (denied.status.as_u16(), names.join(" "), denied.body)
        }
        other => panic!("{other:?}"),
    };
    assert_eq!(names(answer(302, &check)), (302, "location x-user".into(), "no".into()));
    assert_eq!(
        names(answer(401, &HttpCheck::default())),
        (401, "location set-cookie x-user".into(), "no".into())
    );
    assert_eq!(names(answer(204, &check)).0, 403);
    assert!(matches!(answer(503, &check), Answer::Failed(_)));
}

#[test]
fn without_an_answer_the_configuration_decides() {
    let failed = || Answer::Failed("gone".into());
    let provider = provider(Protocol::Grpc);
    let denied = failed().settled(&provider).unwrap_err();
    assert_eq!((denied.status.as_u16(), denied.details), (403, "ext_authz_error"));
    let other = Provider { status_on_error: 503, ..provider.clone() };
    assert_eq!(failed().settled(&other).unwrap_err().status.as_u16(), 503);
    let open = Provider { fail_open: true, ..provider };
    assert_eq!(failed().settled(&open), Ok(Changes::default()));
    // Only what is no answer: a refusal stays one.
    assert!(said(7, None).settled(&open).is_err());
}
