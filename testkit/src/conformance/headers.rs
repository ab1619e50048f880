//! Headers that filters change on the way to an application.
use super::{Ask, Behind, Case, Fields, Pairs, V1, get, route};

pub(super) const CASES: &[Case] = &[
    Case {
        name: "MeshHTTPRouteRequestHeaderModifier",
        services: &[("headers", Behind::Both)],
        manifests: || {
            let rule = |(path, change): &(&str, &str)| {
                format!(
                    "{}    {}\n    backendRefs: [{{ name: {V1}, port: 80 }}]\n",
                    matches(path),
                    filters(change)
                )
            };
            route(
                "HTTPRoute",
                "headers",
                &format!("  rules:\n{}", CHANGES.iter().map(rule).collect::<String>()),
            )
        },
        asks: &asks("headers"),
        shares: &[],
    },
    Case {
        name: "MeshHTTPRouteBackendRequestHeaderModifier",
        services: &[("backend-headers", Behind::Both)],
        manifests: || {
            let rule = |(path, change): &(&str, &str)| {
                format!(
                    "{}    backendRefs: [{{ name: {V1}, port: 80, {} }}]\n",
                    matches(path),
                    filters(change)
                )
            };
            route(
                "HTTPRoute",
                "backend-headers",
                &format!("  rules:\n{}", CHANGES.iter().map(rule).collect::<String>()),
            )
        },
        asks: &asks("backend-headers"),
        shares: &[],
    },
];

fn matches(path: &str) -> String {
    format!("  - matches: [{{ path: {{ type: PathPrefix, value: {path} }} }}]\n")
}

fn filters(change: &str) -> String {
    format!("filters: [{{ type: RequestHeaderModifier, requestHeaderModifier: {{ {change} }} }}]")
}

/// Path and change; the same as a rule's filter and as a backend's.
const CHANGES: &[(&str, &str)] = &[
    ("/set", "set: [{ name: X-Header-Set, value: set-overwrites-values }]"),
    ("/add", "add: [{ name: X-Header-Add, value: add-appends-values }]"),
    ("/remove", "remove: [X-Header-Remove]"),
    (
        "/multiple",
        "set: [{ name: X-Header-Set-1, value: header-set-1 }, { name: X-Header-Set-2, value: header-set-2 }], \
         add: [{ name: X-Header-Add-1, value: header-add-1 }, { name: X-Header-Add-2, value: header-add-2 }, \
         { name: X-Header-Add-3, value: header-add-3 }], remove: [X-Header-Remove-1, X-Header-Remove-2]",
    ),
    (
        "/case-insensitivity",
        "set: [{ name: X-Header-Set, value: header-set }], add: [{ name: X-Header-Add, value: header-add }], \
         remove: [X-Header-Remove]",
    ),
];

/// Path, what the client says, what the application sees.
const REQUESTS: [(&str, Pairs, Fields); 9] = [
    (
        "/set",
        &[("Some-Other-Header", "val")],
        &[("some-other-header", Some("val")), ("x-header-set", Some("set-overwrites-values"))],
    ),
    (
        "/set",
        &[("Some-Other-Header", "val"), ("X-Header-Set", "some-other-value")],
        &[("some-other-header", Some("val")), ("x-header-set", Some("set-overwrites-values"))],
    ),
    (
        "/set",
        &[("X-Header-Set", "one"), ("X-Header-Set", "two")],
        &[("x-header-set", Some("set-overwrites-values"))],
    ),
    ("/add", &[], &[("x-header-add", Some("add-appends-values"))]),
    (
        "/add",
        &[("X-Header-Add", "some-other-value")],
        &[("x-header-add", Some("some-other-value,add-appends-values"))],
    ),
    ("/remove", &[("X-Header-Remove", "val")], &[("x-header-remove", None)]),
    ("/remove", &[("X-Header-Remove", "val"), ("X-Header-Remove", "again")], &[("x-header-remove", None)]),
    (
        "/multiple",
        &[
            ("X-Header-Set-2", "set-val-2"),
            ("X-Header-Add-2", "add-val-2"),
            ("X-Header-Remove-2", "remove-val-2"),
            ("Another-Header", "another-header-val"),
        ],
        &[
            ("x-header-set-1", Some("header-set-1")),
            ("x-header-set-2", Some("header-set-2")),
            ("x-header-add-1", Some("header-add-1")),
            ("x-header-add-2", Some("add-val-2,header-add-2")),
            ("x-header-add-3", Some("header-add-3")),
            ("x-header-remove-1", None),
            ("x-header-remove-2", None),
            ("another-header", Some("another-header-val")),
        ],
    ),
    (
        "/case-insensitivity",
        &[
            ("x-header-set", "original-val-set"),
            ("x-header-add", "original-val-add"),
            ("x-header-remove", "original-val-remove"),
            ("Another-Header", "another-header-val"),
        ],
        &[
            ("x-header-set", Some("header-set")),
            ("x-header-add", Some("original-val-add,header-add")),
            ("x-header-remove", None),
            ("another-header", Some("another-header-val")),
        ],
    ),
];

const fn asks(service: &'static str) -> [Ask; REQUESTS.len()] {
    let mut asks = [get(service); REQUESTS.len()];
    let mut number = 0;
    while number < asks.len() {
        let (path, said, seen) = REQUESTS[number];
        asks[number] = get(service).path(path).with(said).by(V1).sees(seen);
        number += 1;
    }
    asks
}
