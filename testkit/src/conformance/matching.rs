//! What a rule asks of requests.
use super::{Behind, Case, V1, V2, get, route};

pub(super) const CASES: &[Case] = &[
    Case {
        name: "MeshHTTPRouteMatching",
        services: &[("matching", Behind::Both)],
        manifests: || route("HTTPRoute", "matching", MATCHING),
        asks: &[
            get("matching").path("/").by(V1),
            get("matching").path("/example").by(V1),
            get("matching").path("/").with(&[("version", "one")]).by(V1),
            get("matching").path("/v2").by(V2),
            get("matching").path("/v2/").by(V2),
            get("matching").path("/v2/example").by(V2),
            get("matching").path("/v2?x=y").by(V2),
            // A prefix of a path outranks a header alone, whose path is `/`; among equals of path, who asks for headers is first.
            get("matching").path("/").with(&[("version", "two")]).by(V2),
            get("matching").path("/").with(&[("Version", "two")]).by(V2),
            get("matching").path("/").with(&[("version", "Two")]).by(V1),
            get("matching").path("/v2").with(&[("version", "one")]).by(V2),
            get("matching").path("/v2example").by(V1),
            get("matching").path("/foo/v2/example").by(V1),
        ],
        shares: &[],
    },
    Case {
        name: "MeshHTTPRouteQueryParamMatching",
        services: &[("query", Behind::Both)],
        manifests: || route("HTTPRoute", "query", QUERY),
        asks: &[
            get("query").path("/?animal=whale").by(V1),
            get("query").path("/?animal=dolphin").by(V2),
            get("query").path("/?animal=dolphin&color=blue").by(V1),
            get("query").path("/?color=blue&animal=dolphin&x=y").by(V1),
            get("query").path("/?ANIMAL=Whale").by(V2),
            get("query").path("/?animal=whale&otherparam=irrelevant").by(V1),
            get("query").path("/?animal=dolphin&color=yellow").by(V2),
            get("query").path("/path1?animal=whale").by(V2),
            get("query").path("/?animal=whale").with(&[("version", "one")]).by(V2),
            get("query").path("/path3?animal=shark").by(V1),
            get("query").path("/path4?animal=kraken").with(&[("version", "three")]).by(V1),
            get("query").path("/path4?animal=kraken").is(404),
            get("query").path("/path5?animal=hydra").by(V1),
            get("query").path("/path6?animal=hydra").by(V2),
            get("query").path("/").is(404),
            get("query").path("/?animal=dog").is(404),
            get("query").path("/?animal=whaledolphin").is(404),
            get("query").path("/?animals=whale").is(404),
        ],
        shares: &[],
    },
];

const MATCHING: &str = r"  rules:
  - matches:
    - path: { type: PathPrefix, value: / }
    - headers: [{ name: version, value: one }]
    backendRefs: [{ name: echo-v1, port: 80 }]
  - matches:
    - path: { type: PathPrefix, value: /v2 }
    - headers: [{ name: version, value: two }]
    backendRefs: [{ name: echo-v2, port: 80 }]";

const QUERY: &str = r"  rules:
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
