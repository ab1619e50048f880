//! Times and further attempts.
use super::super::{Behind, Case, V1, get, route};

/// Ten minutes: nobody waits for it.
const NEVER: (&str, &str) = ("x-app-delay-ms", "600000");
const LATE: (&str, &str) = ("x-app-delay-ms", "1000");

/// Rules by path, to the first application.
fn timed(service: &str, rules: &[(&str, &str)]) -> String {
    let rules = rules.iter().map(|(path, timeouts)| {
        format!(
            "  - matches: [{{ path: {{ value: {path} }} }}]\n    timeouts: {{ {timeouts} }}\n    backendRefs: [{{ name: {V1}, port: 80 }}]\n"
        )
    });
    route("HTTPRoute", service, &format!("  rules:\n{}", rules.collect::<String>()))
}

pub(super) const CASES: &[Case] = &[
    Case {
        name: "HTTPRouteTimeoutRequest",
        services: &[("timeouts", Behind::Both)],
        manifests: || timed("timeouts", &[("/short", "request: 500ms"), ("/none", "request: 0s")]),
        asks: &[
            get("timeouts").path("/short").with(&[NEVER]).is(504),
            get("timeouts").path("/none").with(&[LATE]).by(V1),
        ],
        shares: &[],
    },
    Case {
        name: "HTTPRouteTimeoutBackendRequest",
        services: &[("backend-timeouts", Behind::Both)],
        manifests: || {
            timed("backend-timeouts", &[("/short", "backendRequest: 500ms"), ("/none", "backendRequest: 0s")])
        },
        asks: &[
            get("backend-timeouts").path("/short").with(&[NEVER]).is(504),
            get("backend-timeouts").path("/none").with(&[LATE]).by(V1),
        ],
        shares: &[],
    },
    Case {
        name: "HTTPRouteRetry",
        services: &[("retries", Behind::Both)],
        manifests: || {
            let rules = "  rules:\n  - matches: [{ path: { value: /retry } }]\n    retry: { attempts: 3, codes: [500, 503], backoff: 1ms }\n    \
                         backendRefs: [{ name: retries, port: 80 }]\n  \
                         - matches: [{ path: { value: /once } }]\n    retry: { attempts: 0 }\n    backendRefs: [{ name: retries, port: 80 }]\n";
            route("HTTPRoute", "retries", rules)
        },
        asks: &[
            get("retries")
                .path("/retry/first?a=b")
                .with(&[("x-app-fail-first", "1")])
                .sees(&[("x-envoy-attempt-count", Some("2"))]),
            get("retries")
                .path("/retry/500")
                .with(&[("x-app-status", "500")])
                .status(500)
                .sees(&[("x-envoy-attempt-count", Some("4"))]),
            get("retries")
                .path("/retry/503")
                .with(&[("x-app-status", "503")])
                .status(503)
                .sees(&[("x-envoy-attempt-count", Some("4"))]),
            get("retries")
                .path("/retry/502")
                .with(&[("x-app-status", "502")])
                .status(502)
                .sees(&[("x-envoy-attempt-count", Some("1"))]),
            get("retries")
                .path("/retry/404")
                .with(&[("x-app-status", "404")])
                .status(404)
                .sees(&[("x-envoy-attempt-count", Some("1"))]),
            get("retries")
                .path("/once")
                .with(&[("x-app-status", "500")])
                .status(500)
                .sees(&[("x-envoy-attempt-count", Some("1"))]),
        ],
        shares: &[],
    },
];
