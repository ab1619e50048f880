//! The path that an application is asked for in place of the client's.
use super::get;
use super::rig::route;

pub(crate) fn manifests() -> String {
    let rewrite = r"  rules:
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
    route("HTTPRoute", "rewrite", "rewrite", rewrite)
}

#[test]
fn mesh_http_route_rewrite_path() {
    for (path, asked) in [
        ("/prefix/one/two", "/one/two"),
        ("/prefix/one", "/one"),
        ("/prefix/one/two?three=four", "/one/two?three=four"),
        ("/strip-prefix/three", "/three"),
        ("/strip-prefix/", "/"),
        ("/strip-prefix", "/"),
        ("/strip-prefix?a=b", "/?a=b"),
        ("/full/one/two", "/one"),
        ("/full/one/two?three=four", "/one?three=four"),
    ] {
        let reply = get("rewrite", path, &[]);
        assert_eq!((reply.status, reply.app().as_str(), reply.path().as_str()), (200, "v1", asked), "{path}");
        assert_eq!(reply.host(), "echo");
    }
    let said =
        [("X-Header-Remove", "remove-val"), ("X-Header-Add", "header-val-0"), ("X-Header-Set", "some")];
    let reply = get("rewrite", "/full/rewrite-path-and-modify-headers/test", &said);
    assert_eq!((reply.status, reply.path().as_str()), (200, "/test"));
    assert_eq!(reply.saw("x-header-add").as_deref(), Some("header-val-0,header-val-1"));
    assert_eq!(reply.saw("x-header-set").as_deref(), Some("set-overwrites-values,header-set"));
    assert_eq!(reply.saw("x-header-remove"), None);
    let reply = get("rewrite", "/prefix/rewrite-path-and-modify-headers/one", &said);
    assert_eq!((reply.path().as_str(), reply.host().as_str()), ("/prefix/one", "one.example.org"));
    assert_eq!(reply.saw("x-header-add").as_deref(), Some("header-val-0,header-val-1"));
}
