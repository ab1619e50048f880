//! The path that an application is asked for in place of the client's.
use super::{Behind, Case, Pairs, V1, get, route};

pub(super) const CASES: &[Case] = &[Case {
    name: "MeshHTTPRouteRewritePath",
    services: &[("rewrite", Behind::Both)],
    manifests: || route("HTTPRoute", "rewrite", REWRITE),
    asks: &[
        get("rewrite").path("/prefix/one/two").by(V1).as_path("/one/two"),
        get("rewrite").path("/prefix/one").by(V1).as_path("/one"),
        get("rewrite").path("/prefix/one/two?three=four").by(V1).as_path("/one/two?three=four"),
        get("rewrite").path("/strip-prefix/three").by(V1).as_path("/three"),
        get("rewrite").path("/strip-prefix/").by(V1).as_path("/"),
        get("rewrite").path("/strip-prefix").by(V1).as_path("/"),
        get("rewrite").path("/strip-prefix?a=b").by(V1).as_path("/?a=b"),
        get("rewrite").path("/full/one/two").by(V1).as_path("/one"),
        get("rewrite").path("/full/one/two?three=four").by(V1).as_path("/one?three=four"),
        get("rewrite")
            .path("/full/rewrite-path-and-modify-headers/test")
            .with(SAID)
            .by(V1)
            .as_path("/test")
            .sees(&[
                ("x-header-add", Some("header-val-0,header-val-1")),
                ("x-header-set", Some("set-overwrites-values,header-set")),
                ("x-header-remove", None),
            ]),
        get("rewrite")
            .path("/prefix/rewrite-path-and-modify-headers/one")
            .with(SAID)
            .by(V1)
            .as_path("/prefix/one")
            .as_host("one.example.org")
            .sees(&[("x-header-add", Some("header-val-0,header-val-1"))]),
    ],
    shares: &[],
}];

const SAID: Pairs =
    &[("X-Header-Remove", "remove-val"), ("X-Header-Add", "header-val-0"), ("X-Header-Set", "some")];

const REWRITE: &str = r"  rules:
  - matches: [{ path: { type: PathPrefix, value: /prefix/one } }]
    filters: [{ type: URLRewrite, urlRewrite: { path: { type: ReplacePrefixMatch, replacePrefixMatch: /one } } }]
    backendRefs: [{ name: echo-v1, port: 80 }]
  - matches: [{ path: { type: PathPrefix, value: /strip-prefix } }]
    filters: [{ type: URLRewrite, urlRewrite: { path: { type: ReplacePrefixMatch, replacePrefixMatch: / } } }]
    backendRefs: [{ name: echo-v1, port: 80 }]
  - matches: [{ path: { type: PathPrefix, value: /full/one } }]
    filters: [{ type: URLRewrite, urlRewrite: { path: { type: ReplaceFullPath, replaceFullPath: /one } } }]
    backendRefs: [{ name: echo-v1, port: 80 }]
  - matches: [{ path: { type: PathPrefix, value: /full/rewrite-path-and-modify-headers } }]
    filters:
    - { type: URLRewrite, urlRewrite: { path: { type: ReplaceFullPath, replaceFullPath: /test } } }
    - type: RequestHeaderModifier
      requestHeaderModifier:
        set: [{ name: X-Header-Set, value: set-overwrites-values }]
        add: [{ name: X-Header-Add, value: header-val-1 }, { name: X-Header-Set, value: header-set }]
        remove: [X-Header-Remove]
    backendRefs: [{ name: echo-v1, port: 80 }]
  - matches: [{ path: { type: PathPrefix, value: /prefix/rewrite-path-and-modify-headers } }]
    filters:
    - { type: URLRewrite, urlRewrite: { hostname: one.example.org, path: { type: ReplacePrefixMatch, replacePrefixMatch: /prefix } } }
    - { type: RequestHeaderModifier, requestHeaderModifier: { add: [{ name: X-Header-Add, value: header-val-1 }] } }
    backendRefs: [{ name: echo-v1, port: 80 }]";
