//! Which rule is for a request.
use super::super::{Behind, CONSUMER, Case, Client, MESH, V1, V2, V3, get, routed};

pub(super) const CASES: &[Case] = &[
    Case {
        name: "HTTPRouteExactPathMatching",
        services: &[("exact", Behind::Both)],
        manifests: || {
            let all = [
                ("{ path: { type: Exact, value: /one } }", V1),
                ("{ path: { type: Exact, value: /two } }", V2),
            ];
            routed("exact", &all)
        },
        asks: &[
            get("exact").path("/one").by(V1),
            get("exact").path("/two").by(V2),
            get("exact").path("/one?x=y").by(V1),
            get("exact").path("/").is(404),
            get("exact").path("/one/example").is(404),
            get("exact").path("/two/").is(404),
            get("exact").path("/Two").is(404),
        ],
        shares: &[],
    },
    Case {
        name: "HTTPRouteHeaderMatching",
        services: &[("by-header", Behind::Both)],
        manifests: || {
            let all = [
                ("{ headers: [{ name: version, value: one }] }", V1),
                ("{ headers: [{ name: version, value: two }] }", V2),
                ("{ headers: [{ name: version, value: two }, { name: color, value: orange }] }", V1),
                (
                    "{ headers: [{ name: color, value: blue }] }, { headers: [{ name: color, value: green }] }",
                    V1,
                ),
                (
                    "{ headers: [{ name: color, value: red }] }, { headers: [{ name: color, value: yellow }] }",
                    V2,
                ),
            ];
            routed("by-header", &all)
        },
        asks: &[
            get("by-header").path("/").with(&[("Version", "one")]).by(V1),
            get("by-header").path("/").with(&[("Version", "two")]).by(V2),
            get("by-header").path("/").with(&[("Version", "two"), ("Color", "orange")]).by(V1),
            get("by-header").path("/").with(&[("Version", "two"), ("Color", "blue")]).by(V2),
            get("by-header").path("/").with(&[("Color", "orange")]).is(404),
            get("by-header").path("/").with(&[("Some-Other-Header", "one")]).is(404),
            get("by-header").path("/").with(&[("Color", "blue")]).by(V1),
            get("by-header").path("/").with(&[("Color", "green")]).by(V1),
            get("by-header").path("/").with(&[("Color", "red")]).by(V2),
            get("by-header").path("/").with(&[("Color", "yellow")]).by(V2),
            get("by-header").path("/").with(&[("Color", "purple")]).is(404),
        ],
        shares: &[],
    },
    Case {
        name: "HTTPRouteMatchingAcrossRoutes",
        services: &[("across", Behind::Both)],
        manifests: || {
            let part = |name: &str, path: &str, version: &str, app: &str| {
                let matches = format!(
                    "{{ path: {{ value: {path} }} }}, {{ headers: [{{ name: version, value: {version} }}] }}"
                );
                routed("across", &[(&matches, app)]).replacen("name: across,", &format!("name: {name},"), 1)
            };
            part("across-1", "/", "one", V1) + &part("across-2", "/v2", "two", V2)
        },
        asks: &[
            get("across").path("/").by(V1),
            get("across").path("/example").by(V1),
            get("across").path("/example").with(&[("Version", "one")]).by(V1),
            get("across").path("/v2").by(V2),
            get("across").path("/v2/example").by(V2),
            get("across").path("/v2/example").with(&[("Version", "one")]).by(V2),
            get("across").path("/").with(&[("Version", "two")]).by(V2),
        ],
        shares: &[],
    },
    Case {
        name: "HTTPRouteMethodMatching",
        services: &[("method", Behind::Both)],
        manifests: || {
            let all = [
                ("{ method: POST }", V1),
                ("{ method: GET }", V2),
                ("{ path: { value: /path1 }, method: GET }", V1),
                ("{ headers: [{ name: version, value: one }], method: PUT }", V2),
                ("{ path: { value: /path2 }, headers: [{ name: version, value: two }], method: POST }", V3),
                (
                    "{ path: { value: /path3 }, method: PATCH }, { path: { value: /path4 }, headers: [{ name: version, value: three }], method: DELETE }",
                    V1,
                ),
                ("{ path: { value: /path5 } }", V1),
                ("{ method: PATCH }", V2),
                ("{ headers: [{ name: version, value: four }] }", V3),
            ];
            routed("method", &all)
        },
        asks: &[
            get("method").method("POST").path("/").by(V1),
            get("method").path("/").by(V2),
            get("method").path("/path1").by(V1),
            get("method").method("PUT").path("/").with(&[("version", "one")]).by(V2),
            get("method").method("POST").path("/path2").with(&[("version", "two")]).by(V3),
            get("method").method("PATCH").path("/path3").by(V1),
            get("method").method("DELETE").path("/path4").with(&[("version", "three")]).by(V1),
            get("method").method("PUT").path("/").is(404),
            get("method").method("DELETE").path("/path4").is(404),
            get("method").method("PATCH").path("/path5").by(V1),
            get("method").method("PATCH").path("/").with(&[("version", "four")]).by(V2),
            get("method").method("HEAD").is(404),
        ],
        shares: &[],
    },
    Case {
        name: "HTTPRouteQueryParamMatching",
        services: &[("params", Behind::Both)],
        manifests: || {
            let all = [
                ("{ queryParams: [{ name: animal, value: whale }] }", V1),
                ("{ queryParams: [{ name: animal, value: dolphin }] }", V2),
                ("{ queryParams: [{ name: animal, value: dolphin }, { name: color, value: blue }] }", V3),
                ("{ queryParams: [{ name: ANIMAL, value: Whale }] }", V3),
                ("{ path: { value: /path1 }, queryParams: [{ name: animal, value: whale }] }", V2),
            ];
            routed("params", &all)
        },
        asks: &[
            get("params").path("/?animal=whale").by(V1),
            get("params").path("/?animal=dolphin").by(V2),
            get("params").path("/?animal=dolphin&color=blue").by(V3),
            get("params").path("/?ANIMAL=Whale").by(V3),
            get("params").path("/?animal=whale&otherparam=irrelevant").by(V1),
            get("params").path("/?animal=dolphin&color=yellow").by(V2),
            get("params").path("/path1?animal=whale").by(V2),
            get("params").path("/?color=blue").is(404),
            get("params").path("/?animal=dog").is(404),
            get("params").path("/?animal=whaledolphin").is(404),
            get("params").path("/").is(404),
        ],
        shares: &[],
    },
    Case {
        name: "HTTPRoutePathMatchOrder",
        services: &[("order", Behind::Both)],
        manifests: || {
            // The last in rank is written first, and so on.
            let all = [
                ("{ path: { value: /match/prefix/one } }", V2),
                ("{ path: { value: /match/prefix/ } }", V1),
                ("{ path: { value: /match/ } }", V3),
                ("{ path: { type: Exact, value: /match/exact/one } }", V3),
                ("{ path: { type: Exact, value: /match/exact } }", V2),
                ("{ path: { type: Exact, value: /match } }", V1),
            ];
            routed("order", &all)
        },
        asks: &[
            get("order").path("/match/exact/one").by(V3),
            get("order").path("/match/exact").by(V2),
            get("order").path("/match").by(V1),
            get("order").path("/match/prefix/one/any").by(V2),
            get("order").path("/match/prefix/any").by(V1),
            get("order").path("/match/any").by(V3),
        ],
        shares: &[],
    },
    Case {
        // Among equals the oldest route counts, then the first by name; the suite asks for it without a case of its own.
        name: "HTTPRoutePrecedenceByAge",
        services: &[("age", Behind::Both)],
        manifests: || {
            let aged = |name: &str, year: &str, app: &str| {
                let one = routed("age", &[("{ path: { value: /same } }", app)]);
                let metadata = format!("name: {name}, creationTimestamp: \"{year}-01-01T00:00:00Z\",");
                one.replacen("name: age,", &metadata, 1)
            };
            [aged("a-younger", "2024", V1), aged("b-older", "2020", V2), aged("c-as-old", "2020", V3)]
                .concat()
        },
        asks: &[get("age").path("/same").by(V2), get("age").path("/same/more").by(V2), get("age").is(404)],
        shares: &[],
    },
    Case {
        // A service of another namespace than the route's; a mesh needs no grant for it. Clients of other namespaces do not have it.
        name: "HTTPRouteCrossNamespace",
        services: &[("cross", Behind::One(V1))],
        manifests: || {
            format!(
                "---\napiVersion: gateway.networking.k8s.io/v1\nkind: HTTPRoute\nmetadata: {{ name: cross, namespace: {CONSUMER} }}\nspec:\n  \
                 parentRefs: [{{ group: \"\", kind: Service, name: cross, namespace: {MESH} }}]\n  rules:\n  \
                 - backendRefs: [{{ name: {V3}, namespace: {MESH}, port: 80 }}]\n"
            )
        },
        asks: &[
            get("cross").from(Client::Consumer).path("/x?y").by(V3).times(10),
            get("cross").path("/x?y").by(V1).times(10),
        ],
        shares: &[],
    },
];
