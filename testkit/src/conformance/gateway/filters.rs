//! What filters do to requests and answers.
use super::super::{Ask, Behind, Case, Fields, V1, get, route};

/// Rules by path, to the first application.
fn filtered(service: &str, rules: &[(&str, &str)]) -> String {
    let rules = rules.iter().map(|(path, filters)| {
        format!(
            "  - matches: [{{ path: {{ value: {path} }} }}]\n    filters: [{filters}]\n    backendRefs: [{{ name: {V1}, port: 80 }}]\n"
        )
    });
    route("HTTPRoute", service, &format!("  rules:\n{}", rules.collect::<String>()))
}

/// What redirects say beside a host, by number.
const REDIRECTS: [&str; 8] = [
    "",
    ", port: 80",
    ", port: 8080",
    ", scheme: https",
    ", scheme: https, port: 443",
    ", scheme: https, port: 8443",
    ", scheme: http",
    ", scheme: http, port: 8080",
];

/// A request whose answer the application gives this header (`name=value`), and what comes of it.
const fn answered(path: &'static str, with: &'static [(&'static str, &'static str)], told: Fields) -> Ask {
    get("response-headers").path(path).with(with).by(V1).told(told)
}

const ORIGINS: Fields = &[("access-control-allow-origin", None)];

/// A browser that asks first, and what it is told.
const fn preflight(with: &'static [(&'static str, &'static str)], told: Fields) -> Ask {
    get("cors").method("OPTIONS").path("/cors-1").with(with).is(200).told(told)
}

pub(super) const CASES: &[Case] = &[
    Case {
        name: "HTTPRouteRedirectPortAndScheme",
        services: &[("to-port-and-scheme", Behind::Both)],
        manifests: || {
            let rules = REDIRECTS.iter().enumerate().map(|(number, more)| {
                format!(
                    "  - matches: [{{ path: {{ value: /{number} }} }}]\n    filters: [{{ type: RequestRedirect, \
                     requestRedirect: {{ hostname: example.org{more} }} }}]\n"
                )
            });
            route("HTTPRoute", "to-port-and-scheme", &format!("  rules:\n{}", rules.collect::<String>()))
        },
        asks: &[
            get("to-port-and-scheme").path("/0/x?y=z").is(302).leads("http://example.org/0/x?y=z"),
            get("to-port-and-scheme")
                .path("/0/x?y=z")
                .port(8080)
                .is(302)
                .leads("http://example.org:8080/0/x?y=z"),
            get("to-port-and-scheme").path("/1/x?y=z").is(302).leads("http://example.org/1/x?y=z"),
            get("to-port-and-scheme").path("/1/x?y=z").port(8080).is(302).leads("http://example.org/1/x?y=z"),
            get("to-port-and-scheme").path("/2/x?y=z").is(302).leads("http://example.org:8080/2/x?y=z"),
            get("to-port-and-scheme")
                .path("/2/x?y=z")
                .port(8080)
                .is(302)
                .leads("http://example.org:8080/2/x?y=z"),
            get("to-port-and-scheme").path("/3/x?y=z").is(302).leads("https://example.org/3/x?y=z"),
            get("to-port-and-scheme")
                .path("/3/x?y=z")
                .port(8080)
                .is(302)
                .leads("https://example.org/3/x?y=z"),
            get("to-port-and-scheme").path("/4/x?y=z").is(302).leads("https://example.org/4/x?y=z"),
            get("to-port-and-scheme")
                .path("/4/x?y=z")
                .port(8080)
                .is(302)
                .leads("https://example.org/4/x?y=z"),
            get("to-port-and-scheme").path("/5/x?y=z").is(302).leads("https://example.org:8443/5/x?y=z"),
            get("to-port-and-scheme")
                .path("/5/x?y=z")
                .port(8080)
                .is(302)
                .leads("https://example.org:8443/5/x?y=z"),
            get("to-port-and-scheme").path("/6/x?y=z").is(302).leads("http://example.org/6/x?y=z"),
            get("to-port-and-scheme").path("/6/x?y=z").port(8080).is(302).leads("http://example.org/6/x?y=z"),
            get("to-port-and-scheme").path("/7/x?y=z").is(302).leads("http://example.org:8080/7/x?y=z"),
            get("to-port-and-scheme")
                .path("/7/x?y=z")
                .port(8080)
                .is(302)
                .leads("http://example.org:8080/7/x?y=z"),
        ],
        shares: &[],
    },
    Case {
        name: "HTTPRouteResponseHeaderModifier",
        services: &[("response-headers", Behind::Both)],
        manifests: || {
            let change = |change: &str| {
                format!("{{ type: ResponseHeaderModifier, responseHeaderModifier: {{ {change} }} }}")
            };
            let multiple = "set: [{ name: X-Header-Set-1, value: header-set-1 }, { name: X-Header-Set-2, value: header-set-2 }], \
                            add: [{ name: X-Header-Add-1, value: header-add-1 }, { name: X-Header-Add-2, value: header-add-2 }], \
                            remove: [X-Header-Remove-1, X-Header-Remove-2]";
            let request = "{ type: RequestHeaderModifier, requestHeaderModifier: { set: [{ name: X-Header-Set-2, value: request }], \
                           remove: [X-Header-Remove-2] } }";
            let both =
                change("set: [{ name: X-Header-Set-1, value: response }], remove: [X-Header-Remove-1]");
            filtered(
                "response-headers",
                &[
                    ("/set", &change("set: [{ name: X-Header-Set, value: set-overwrites-values }]")),
                    ("/add", &change("add: [{ name: X-Header-Add, value: add-appends-values }]")),
                    ("/remove", &change("remove: [X-Header-Remove]")),
                    ("/multiple", &change(multiple)),
                    (
                        "/case-insensitivity",
                        &change(
                            "set: [{ name: x-header-set, value: header-set }], remove: [x-HEADER-remove]",
                        ),
                    ),
                    ("/response-and-request-header-modifiers", &format!("{both}, {request}")),
                ],
            )
        },
        asks: &[
            answered(
                "/set",
                &[("x-app-header", "x-header-set=some-other-value")],
                &[("x-header-set", Some("set-overwrites-values"))],
            ),
            answered(
                "/set",
                &[("x-app-header", "some-other-header=val")],
                &[("x-header-set", Some("set-overwrites-values")), ("some-other-header", Some("val"))],
            ),
            answered(
                "/add",
                &[("x-app-header", "some-other-header=val")],
                &[("x-header-add", Some("add-appends-values"))],
            ),
            answered(
                "/add",
                &[("x-app-header", "x-header-add=some-other-value")],
                &[("x-header-add", Some("some-other-value,add-appends-values"))],
            ),
            answered("/remove", &[("x-app-header", "x-header-remove=val")], &[("x-header-remove", None)]),
            answered(
                "/multiple",
                &[("x-app-header", "x-header-set-2=set-val-2")],
                &[("x-header-set-1", Some("header-set-1")), ("x-header-set-2", Some("header-set-2"))],
            ),
            answered(
                "/multiple",
                &[("x-app-header", "x-header-add-2=add-val-2")],
                &[
                    ("x-header-add-1", Some("header-add-1")),
                    ("x-header-add-2", Some("add-val-2,header-add-2")),
                ],
            ),
            answered(
                "/multiple",
                &[("x-app-header", "x-header-remove-2=remove-val-2")],
                &[("x-header-remove-2", None)],
            ),
            answered(
                "/multiple",
                &[("x-app-header", "another-header=val")],
                &[("another-header", Some("val"))],
            ),
            answered(
                "/case-insensitivity",
                &[("x-app-header", "X-Header-Set=original")],
                &[("x-header-set", Some("header-set"))],
            ),
            answered(
                "/case-insensitivity",
                &[("x-app-header", "X-Header-Remove=original")],
                &[("x-header-remove", None)],
            ),
            answered(
                "/response-and-request-header-modifiers",
                &[("x-app-header", "x-header-remove-1=val"), ("x-header-remove-2", "of-the-request")],
                &[("x-header-remove-1", None), ("x-header-set-1", Some("response"))],
            )
            .sees(&[
                ("x-header-set-2", Some("request")),
                ("x-header-set-1", None),
                ("x-header-remove-2", None),
            ]),
            answered(
                "/response-and-request-header-modifiers",
                &[("x-app-header", "x-header-set-2=of-the-answer")],
                &[("x-header-set-2", Some("of-the-answer"))],
            ),
        ],
        shares: &[],
    },
    Case {
        name: "HTTPRouteRewriteHost",
        services: &[("rewrite-host", Behind::Both)],
        manifests: || {
            let host = |host: &str| format!("{{ type: URLRewrite, urlRewrite: {{ hostname: {host} }} }}");
            let change = "{ type: RequestHeaderModifier, requestHeaderModifier: { set: [{ name: X-Header-Set, value: set-overwrites-values }], \
                          add: [{ name: X-Header-Add, value: header-val-1 }, { name: X-Header-Add-Append, value: header-val-2 }], \
                          remove: [X-Header-Remove] } }";
            filtered(
                "rewrite-host",
                &[
                    ("/one", &host("one.example.org")),
                    ("/", &host("example.org")),
                    ("/rewrite-host-and-modify-headers", &format!("{}, {change}", host("test.example.org"))),
                ],
            )
        },
        asks: &[
            get("rewrite-host")
                .path("/one")
                .with(&[("host", "asked.example")])
                .by(V1)
                .as_host("one.example.org"),
            get("rewrite-host")
                .path("/two?x=y")
                .with(&[("host", "asked.example")])
                .by(V1)
                .as_host("example.org"),
            get("rewrite-host")
                .path("/rewrite-host-and-modify-headers")
                .with(&[
                    ("X-Header-Remove", "remove-val"),
                    ("X-Header-Add-Append", "append-val-1"),
                    ("X-Header-Set", "some"),
                ])
                .by(V1)
                .as_host("test.example.org")
                .sees(&[
                    ("x-header-set", Some("set-overwrites-values")),
                    ("x-header-add", Some("header-val-1")),
                    ("x-header-add-append", Some("append-val-1,header-val-2")),
                    ("x-header-remove", None),
                ]),
        ],
        shares: &[],
    },
    Case {
        name: "HTTPRouteCORS",
        services: &[("cors", Behind::Both)],
        manifests: || {
            let cors = "{ type: CORS, cors: { allowOrigins: [\"https://www.foo.com\", \"https://*.bar.com\"], allowMethods: [GET, OPTIONS], \
                        allowHeaders: [x-header-1, x-header-2], exposeHeaders: [x-header-3, x-header-4], allowCredentials: true, maxAge: 3600 } }";
            filtered("cors", &[("/cors-1", cors)])
        },
        asks: &[
            preflight(
                &[
                    ("origin", "https://www.foo.com"),
                    ("access-control-request-method", "GET"),
                    ("access-control-request-headers", "x-header-1, x-header-2"),
                ],
                &[
                    ("access-control-allow-origin", Some("https://www.foo.com")),
                    ("access-control-allow-methods", Some("GET, OPTIONS")),
                    ("access-control-allow-headers", Some("x-header-1, x-header-2")),
                    ("access-control-max-age", Some("3600")),
                    ("access-control-allow-credentials", Some("true")),
                ],
            ),
            preflight(
                &[("origin", "https://xpto.www.bar.com"), ("access-control-request-method", "GET")],
                &[("access-control-allow-origin", Some("https://xpto.www.bar.com"))],
            ),
            get("cors").path("/cors-1").with(&[("origin", "https://www.bar.com")]).by(V1).told(&[
                ("access-control-allow-origin", Some("https://www.bar.com")),
                ("access-control-expose-headers", Some("x-header-3, x-header-4")),
            ]),
            get("cors").path("/cors-1").with(&[("origin", "https://foobar.com")]).by(V1).told(ORIGINS),
            get("cors").path("/cors-1").with(&[("origin", "https://bar.com")]).by(V1).told(ORIGINS),
            get("cors").path("/cors-1").with(&[("origin", "http://www.foo.com")]).by(V1).told(ORIGINS),
            get("cors").path("/cors-1").with(&[("origin", "https://www.foo.com:8443")]).by(V1).told(ORIGINS),
        ],
        shares: &[],
    },
];
