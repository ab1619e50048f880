//! The stats endpoint that Prometheus asks: metrics as text (interfaces §4.4).
use crate::http::{Body, Handler, Request, Response};
use crate::metrics::Metrics;

/// What Prometheus calls the format.
const OPEN_METRICS: &str = "application/openmetrics-text;charset=utf-8;version=1.0.0";

impl Handler for Metrics {
    /// The same body under either content type, as upstream.
    fn answer(&self, request: &Request) -> Response {
        match request.target.path.as_str() {
            "/metrics" | "/stats/prometheus" => {
                let content_type = if takes_open_metrics(&request.accept) {
                    OPEN_METRICS
                } else {
                    "text/plain; charset=utf-8"
                };
                Response::ok(content_type, Body::Whole(self.text().into()))
            }
            _ => Response::not_found(),
        }
    }
}

/// Whether any entry of an `accept` header asks for OpenMetrics, whatever its parameters.
fn takes_open_metrics(accept: &str) -> bool {
    let media_types = accept.split(',').filter_map(|entry| entry.split(';').next());
    media_types
        .map(str::trim)
        .any(|media_type| media_type.eq_ignore_ascii_case("application/openmetrics-text"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::Method;
    use crate::metrics::Bounds;

    #[test]
    fn both_paths_tell_and_the_type_is_negotiated() {
        let metrics = Metrics::new("x", Bounds::default());
        let ask = |path, accept: &str| {
            metrics.answer(&Request { accept: accept.to_owned(), ..Request::new(Method::Get, path) })
        };
        for path in ["/metrics", "/stats/prometheus", "/metrics?x=1"] {
            let response = ask(path, "text/plain;q=0.1, application/openmetrics-text; version=1.0.0,*/*");
            assert_eq!((response.status, response.content_type), (200, OPEN_METRICS));
            assert!(response.body.into_bytes().ends_with(b"# EOF\n"));
            assert_eq!(ask(path, "*/*").content_type, "text/plain; charset=utf-8");
        }
        assert_eq!(ask("/", "*/*").status, 404);
    }
}
