//! Which route is for a request, and how many go where.
use super::{Ask, Behind, CONSUMER, Case, Client, MESH, Share, V1, V2, get, route};

const BOTH: Behind = Behind::Both;

pub(super) const CASES: &[Case] = &[
    Case {
        name: "MeshBasic",
        services: &[],
        manifests: String::new,
        asks: &[get("echo").path("/a?b=c").with(&[("x-mine", "1")]).sees(&[("x-mine", Some("1"))])],
        shares: &[],
    },
    Case {
        name: "MeshTrafficSplit",
        services: &[("split", BOTH)],
        manifests: || {
            let rule = |path, service| {
                format!(
                    "  - matches: [{{ path: {{ type: Exact, value: {path} }} }}]\n    backendRefs: [{{ name: {service}, port: 80 }}]\n"
                )
            };
            route("HTTPRoute", "split", &format!("  rules:\n{}{}", rule("/v1", V1), rule("/v2", V2)))
        },
        asks: &[
            get("split").path("/v1").by(V1).times(10),
            get("split").path("/v2").by(V2).times(10),
            get("split").path("/v3").is(404),
            get("split").path("/v1/").is(404),
        ],
        shares: &[],
    },
    Case {
        name: "MeshFrontend",
        services: &[("front", Behind::One(V2))],
        manifests: || marked("front", "front"),
        asks: &[
            get("front").by(V2).told(&[("x-route", Some("front"))]),
            // Who asks the pod is none of the service's business.
            get("front").pod(V2).path("/pod").with(&[("host", "front")]).by(V2).told(&[("x-route", None)]),
        ],
        shares: &[],
    },
    Case {
        name: "MeshFrontendHostname",
        services: &[("host-a", BOTH), ("host-b", BOTH)],
        manifests: || marked("host-a", "a") + &marked("host-b", "b"),
        asks: &[
            named_a(&[("host", "host-a")]),
            named_a(&[("host", "host-b")]),
            named_a(&[("host", "host-b.gateway-conformance-mesh.svc.cluster.local")]),
            named_a(&[("host", "nobody.example")]),
            named_b(&[("host", "host-a")]),
            named_b(&[("host", "host-b")]),
            named_b(&[("host", "host-a.gateway-conformance-mesh.svc.cluster.local")]),
            named_b(&[("host", "echo")]),
        ],
        shares: &[],
    },
    Case {
        name: "MeshPorts",
        services: &[("ports", BOTH), ("ports-all", BOTH)],
        manifests: || {
            let one = marked("ports", "one-port").replace("name: ports }]", "name: ports, port: 80 }]");
            one + &marked("ports-all", "all-ports")
        },
        asks: &[
            get("ports").told(&[("x-route", Some("one-port"))]),
            get("ports").port(8080).told(&[("x-route", None)]),
            get("ports-all").told(&[("x-route", Some("all-ports"))]),
            get("ports-all").port(8080).told(&[("x-route", Some("all-ports"))]),
        ],
        shares: &[],
    },
    Case {
        name: "MeshConsumerRoute",
        services: &[("consumed", Behind::One(V1))],
        manifests: || {
            format!(
                "---\napiVersion: gateway.networking.k8s.io/v1\nkind: HTTPRoute\nmetadata: {{ name: consumer, namespace: {CONSUMER} }}\nspec:\n  \
                 parentRefs: [{{ group: \"\", kind: Service, name: consumed, namespace: {MESH}, port: 80 }}]\n  rules:\n  \
                 - filters: [{{ type: ResponseHeaderModifier, responseHeaderModifier: {{ set: [{{ name: x-route, value: consumer }}] }} }}]\n    \
                 backendRefs: [{{ name: consumed, namespace: {MESH}, port: 80 }}]\n"
            )
        },
        asks: &[
            get("consumed").by(V1).told(&[("x-route", None)]),
            get("consumed").from(Client::Consumer).by(V1).told(&[("x-route", Some("consumer"))]),
        ],
        shares: &[],
    },
    Case {
        name: "MeshHTTPRouteNamedRule",
        services: &[("named", BOTH)],
        manifests: || {
            let rules = format!(
                "  rules:\n  - name: named-rule\n    matches: [{{ path: {{ type: PathPrefix, value: /named }} }}]\n    \
                 backendRefs: [{{ name: {V1}, port: 80 }}]\n  \
                 - matches: [{{ path: {{ type: PathPrefix, value: /unnamed }} }}]\n    backendRefs: [{{ name: {V2}, port: 80 }}]"
            );
            route("HTTPRoute", "named", &rules)
        },
        asks: &[
            get("named").path("/named").by(V1),
            get("named").path("/named/x").by(V1),
            get("named").path("/unnamed").by(V2),
        ],
        shares: &[],
    },
    Case {
        name: "MeshHTTPRouteSimpleSameNamespace",
        services: &[("simple", BOTH)],
        manifests: || {
            route(
                "HTTPRoute",
                "simple",
                &format!("  rules: [{{ backendRefs: [{{ name: {V1}, port: 80 }}] }}]"),
            )
        },
        asks: &[get("simple").by(V1).times(20)],
        shares: &[],
    },
    Case {
        name: "MeshHTTPRouteWeight",
        services: &[("weight", BOTH)],
        manifests: || route("HTTPRoute", "weight", &weighted()),
        asks: &[],
        // 350 are expected; six times the standard deviation of chance is 61.
        shares: &[Share { ask: get("weight").times(500), app: V1, least: 289, most: 411 }],
    },
];

const fn named_a(headers: super::Pairs) -> Ask {
    get("host-a").with(headers).told(&[("x-route", Some("a"))])
}

const fn named_b(headers: super::Pairs) -> Ask {
    get("host-b").with(headers).told(&[("x-route", Some("b"))])
}

/// A route on `service` that says so on answers.
fn marked(service: &str, with: &str) -> String {
    let backend = if service == "front" { V2 } else { V1 };
    let rule = format!(
        "  rules:\n  - filters: [{{ type: ResponseHeaderModifier, responseHeaderModifier: {{ set: [{{ name: x-route, value: {with} }}] }} }}]\n    \
         backendRefs: [{{ name: {backend}, port: 80 }}]"
    );
    route("HTTPRoute", service, &rule)
}

/// 70 of 100 to the first, 30 to the second, and none to a third.
pub(super) fn weighted() -> String {
    format!(
        "  rules:\n  - backendRefs:\n    - {{ name: {V1}, port: 80, weight: 70 }}\n    - {{ name: {V2}, port: 80, weight: 30 }}\n    \
         - {{ name: echo, port: 80, weight: 0 }}"
    )
}
