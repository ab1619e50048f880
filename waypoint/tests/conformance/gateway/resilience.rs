//! Further attempts: who has seen which. What a client sees of them, and of timeouts, is in a table.
use super::super::rig::route;
use super::{RIG, get};

pub(super) fn manifests() -> String {
    let retries = "  rules:\n  - matches: [{ path: { value: /retry } }]\n    retry: { attempts: 3, codes: [500, 503], backoff: 1ms }\n    \
                   backendRefs: [{ name: retries, port: 80 }]\n  \
                   - matches: [{ path: { value: /once } }]\n    retry: { attempts: 0 }\n    backendRefs: [{ name: retries, port: 80 }]\n";
    route("HTTPRoute", "retries", "retries", retries)
}

/// Each attempt's number, and who has seen it.
fn attempts(target: &str) -> Vec<(String, &'static str)> {
    let of = |app: &'static str| {
        RIG.seen(app, target)
            .into_iter()
            .map(move |seen| (seen.headers["x-envoy-attempt-count"].clone(), app))
    };
    let mut attempts: Vec<_> = ["v1", "v2", "v3"].into_iter().flat_map(of).collect();
    attempts.sort();
    attempts
}

#[test]
fn http_route_retry() {
    let reply =
        RIG.client("retries", 80).ask("POST", "/retry/first?a=b", &[("x-app-fail-first", "1")], b"body");
    assert_eq!(
        (reply.status, reply.path().as_str(), reply.told()["body"].as_str()),
        (200, "/retry/first?a=b", Some("body"))
    );
    let made = attempts("/retry/first?a=b");
    assert!(made.len() == 2 && made[0].1 != made[1].1, "{made:?}");
    // As often as is said, and only for these.
    for (path, status, count) in [
        ("/retry/500", "500", 4),
        ("/retry/503", "503", 4),
        ("/retry/502", "502", 1),
        ("/retry/404", "404", 1),
        ("/once", "500", 1),
    ] {
        let reply = get("retries", path, &[("x-app-status", status)]);
        assert_eq!((reply.status.to_string().as_str(), attempts(path).len()), (status, count), "{path}");
    }
}
