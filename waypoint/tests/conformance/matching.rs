//! What a rule asks of requests.
use super::get;
use super::rig::route;

pub(crate) fn manifests() -> String {
    let matching = r"  rules:
  - matches:
    - path: { type: PathPrefix, value: / }
    - headers: [{ name: version, value: one }]
    backendRefs: [{ name: echo-v1, port: 80 }]
  - matches:
    - path: { type: PathPrefix, value: /v2 }
    - headers: [{ name: version, value: two }]
    backendRefs: [{ name: echo-v2, port: 80 }]";
    let query = r"  rules:
  - matches: [{ queryParams: [{ name: animal, value: whale }] }]
    backendRefs: [{ name: echo-v1, port: 80 }]
  - matches: [{ queryParams: [{ name: animal, value: dolphin }] }]
    backendRefs: [{ name: echo-v2, port: 80 }]
  - matches: [{ queryParams: [{ name: animal, value: dolphin }, { name: color, value: blue }] }]
    backendRefs: [{ name: echo-v1, port: 80 }]
  - matches: [{ queryParams: [{ name: ANIMAL, value: Whale }] }]
    backendRefs: [{ name: echo-v2, port: 80 }]
  - matches: [{ path: { type: PathPrefix, value: /path1 }, queryParams: [{ name: animal, value: whale }] }]
    backendRefs: [{ name: echo-v2, port: 80 }]
  - matches: [{ headers: [{ name: version, value: one }], queryParams: [{ name: animal, value: whale }] }]
    backendRefs: [{ name: echo-v2, port: 80 }]
  - matches:
    - { path: { type: PathPrefix, value: /path3 }, queryParams: [{ name: animal, value: shark }] }
    - { path: { type: PathPrefix, value: /path4 }, headers: [{ name: version, value: three }], queryParams: [{ name: animal, value: kraken }] }
    backendRefs: [{ name: echo-v1, port: 80 }]
  - matches: [{ path: { type: PathPrefix, value: /path5 } }]
    backendRefs: [{ name: echo-v1, port: 80 }]
  - matches: [{ queryParams: [{ name: animal, value: hydra }] }]
    backendRefs: [{ name: echo-v2, port: 80 }]";
    [route("HTTPRoute", "matching", "matching", matching), route("HTTPRoute", "query", "query", query)]
        .concat()
}

/// A request, and who answers; nobody: 404.
type Case = (&'static str, &'static [(&'static str, &'static str)], Option<&'static str>);

fn check(service: &str, cases: &[Case]) {
    for (path, headers, app) in cases {
        let reply = get(service, path, headers);
        match app {
            Some(app) => {
                let found = (reply.status, reply.app(), reply.path());
                assert_eq!(found, (200, (*app).to_owned(), (*path).to_owned()), "{path} {headers:?}");
            }
            None => assert_eq!(reply.status, 404, "{path} {headers:?}"),
        }
    }
}

#[test]
fn mesh_http_route_matching() {
    const CASES: &[Case] = &[
        ("/", &[], Some("v1")),
        ("/example", &[], Some("v1")),
        ("/", &[("version", "one")], Some("v1")),
        ("/v2", &[], Some("v2")),
        ("/v2/", &[], Some("v2")),
        ("/v2/example", &[], Some("v2")),
        ("/v2?x=y", &[], Some("v2")),
        // A prefix of a path outranks a header alone, whose path is `/`; among equals of path, who asks for headers is first.
        ("/", &[("version", "two")], Some("v2")),
        ("/", &[("Version", "two")], Some("v2")),
        ("/", &[("version", "Two")], Some("v1")),
        ("/v2", &[("version", "one")], Some("v2")),
        ("/v2example", &[], Some("v1")),
        ("/foo/v2/example", &[], Some("v1")),
    ];
    check("matching", CASES);
}

#[test]
fn mesh_http_route_query_param_matching() {
    const CASES: &[Case] = &[
        ("/?animal=whale", &[], Some("v1")),
        ("/?animal=dolphin", &[], Some("v2")),
        ("/?animal=dolphin&color=blue", &[], Some("v1")),
        ("/?color=blue&animal=dolphin&x=y", &[], Some("v1")),
        ("/?ANIMAL=Whale", &[], Some("v2")),
        ("/?animal=whale&otherparam=irrelevant", &[], Some("v1")),
        ("/?animal=dolphin&color=yellow", &[], Some("v2")),
        ("/path1?animal=whale", &[], Some("v2")),
        ("/?animal=whale", &[("version", "one")], Some("v2")),
        ("/path3?animal=shark", &[], Some("v1")),
        ("/path4?animal=kraken", &[("version", "three")], Some("v1")),
        ("/path4?animal=kraken", &[], None),
        ("/path5?animal=hydra", &[], Some("v1")),
        ("/path6?animal=hydra", &[], Some("v2")),
        ("/", &[], None),
        ("/?animal=dog", &[], None),
        ("/?animal=whaledolphin", &[], None),
        ("/?animals=whale", &[], None),
    ];
    check("query", CASES);
}
