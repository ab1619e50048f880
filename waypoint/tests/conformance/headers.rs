//! Headers that filters change on the way to an application.
use super::get;
use super::rig::route;

/// Path and change; what a request with `client` headers has then.
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

pub(crate) fn manifests() -> String {
    let (mut of_rules, mut of_backends) = (String::from("  rules:\n"), String::from("  rules:\n"));
    for (path, change) in CHANGES {
        let filter =
            format!("filters: [{{ type: RequestHeaderModifier, requestHeaderModifier: {{ {change} }} }}]");
        let matches = format!("  - matches: [{{ path: {{ type: PathPrefix, value: {path} }} }}]\n");
        of_rules
            .push_str(&format!("{matches}    {filter}\n    backendRefs: [{{ name: echo-v1, port: 80 }}]\n"));
        of_backends
            .push_str(&format!("{matches}    backendRefs: [{{ name: echo-v1, port: 80, {filter} }}]\n"));
    }
    [
        route("HTTPRoute", "headers", "headers", &of_rules),
        route("HTTPRoute", "backend-headers", "backend-headers", &of_backends),
    ]
    .concat()
}

/// Path, what the client says, what the application sees.
type Case =
    (&'static str, &'static [(&'static str, &'static str)], &'static [(&'static str, Option<&'static str>)]);

const CASES: &[Case] = &[
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

fn check(service: &str) {
    for (path, said, expected) in CASES {
        let reply = get(service, path, said);
        assert_eq!((reply.status, reply.app().as_str(), reply.path().as_str()), (200, "v1", *path));
        for (name, value) in *expected {
            assert_eq!(reply.saw(name).as_deref(), *value, "{path} {said:?}: {name}");
        }
    }
}

#[test]
fn mesh_http_route_request_header_modifier() {
    check("headers");
}

#[test]
fn mesh_http_route_backend_request_header_modifier() {
    check("backend-headers");
}
