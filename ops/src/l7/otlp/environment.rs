//! Whether metrics are pushed, and how: OpenTelemetry's environment variables (its specification, "OTLP exporter configuration"
//! and "periodic exporting metric reader").
use std::sync::Arc;
use std::time::Duration;

use adit_core::l7::telemetry::{Collector, CollectorProtocol};
use hyper::header::{HeaderName, HeaderValue};
use hyper::http::uri::{Scheme, Uri};

/// A push every so often, unless said otherwise.
const INTERVAL: Duration = Duration::from_secs(60);
/// What a collector may take to answer.
const TIMEOUT: Duration = Duration::from_secs(10);
/// What all collectors of metrics have in their URLs.
const PATH: &str = "/v1/metrics";

/// Where metrics are pushed to, and how often.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Push {
    /// Who takes them.
    pub collector: Arc<Collector>,
    /// The time from one push to the next.
    pub interval: Duration,
}

/// A variable that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[error("{variable}: read {value:?}, expected {expected}")]
pub struct PushError {
    /// Its name.
    pub variable: &'static str,
    /// What was read; of headers, which may be secrets, nothing is repeated.
    pub value: String,
    /// What would have been right.
    pub expected: &'static str,
}

/// Variables of one subject: that of metrics, which wins, and that of all signals.
type Names = [&'static str; 2];
/// Headers by name.
type Headers = Vec<(Arc<str>, Arc<str>)>;

const ENDPOINT: Names = ["OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT"];
const PROTOCOL: Names = ["OTEL_EXPORTER_OTLP_METRICS_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL"];
const HEADERS: Names = ["OTEL_EXPORTER_OTLP_METRICS_HEADERS", "OTEL_EXPORTER_OTLP_HEADERS"];
const TIMEOUTS: Names = ["OTEL_EXPORTER_OTLP_METRICS_TIMEOUT", "OTEL_EXPORTER_OTLP_TIMEOUT"];
const COMPRESSION: Names = ["OTEL_EXPORTER_OTLP_METRICS_COMPRESSION", "OTEL_EXPORTER_OTLP_COMPRESSION"];
const TEMPORALITY: &str = "OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE";
const HISTOGRAMS: &str = "OTEL_EXPORTER_OTLP_METRICS_DEFAULT_HISTOGRAM_AGGREGATION";
const EXPORTER: &str = "OTEL_METRICS_EXPORTER";
const EVERY: &str = "OTEL_METRIC_EXPORT_INTERVAL";
const EXPORT_TIMEOUT: &str = "OTEL_METRIC_EXPORT_TIMEOUT";

/// The variables of a process, by name.
struct Variables<'a>(&'a dyn Fn(&str) -> Option<&'a str>);

impl<'a> Variables<'a> {
    /// The value of a variable; an empty one is as none.
    fn one(&self, variable: &'static str) -> Option<(&'static str, &'a str)> {
        let value = (self.0)(variable).map(str::trim).filter(|value| !value.is_empty());
        value.map(|value| (variable, value))
    }

    fn of(&self, names: Names) -> Option<(&'static str, &'a str)> {
        names.into_iter().find_map(|name| self.one(name))
    }

    /// A time in milliseconds, more than none.
    fn millis(&self, found: Option<(&'static str, &str)>) -> Result<Option<Duration>, PushError> {
        let read = |(variable, value): (&'static str, &str)| match value.parse() {
            Ok(millis @ 1..) => Ok(Duration::from_millis(millis)),
            _ => Err(wrong(variable, value, "a number of milliseconds above 0")),
        };
        found.map(read).transpose()
    }

    /// Of what there are several words for, the one that is done here.
    fn only(
        &self,
        found: Option<(&'static str, &str)>,
        word: &str,
        expected: &'static str,
    ) -> Result<(), PushError> {
        match found {
            Some((variable, value)) if value != word => Err(wrong(variable, value, expected)),
            _ => Ok(()),
        }
    }
}

fn wrong(variable: &'static str, value: &str, expected: &'static str) -> PushError {
    PushError { variable, value: value.to_owned(), expected }
}

impl Push {
    /// What the environment says, whose variables `look_up` gives. `None`: no endpoint is set, or metrics are switched off with
    /// `OTEL_METRICS_EXPORTER=none`.
    ///
    /// # Errors
    /// A variable has a value that means nothing, or that asks for what cannot be done.
    pub fn from_environment<'a>(
        look_up: &'a dyn Fn(&str) -> Option<&'a str>,
    ) -> Result<Option<Self>, PushError> {
        let variables = Variables(look_up);
        let off = match variables.one(EXPORTER) {
            None | Some((_, "otlp")) => false,
            Some((_, "none")) => true,
            Some((variable, value)) => {
                return Err(wrong(variable, value, "otlp or none (Prometheus can always scrape)"));
            }
        };
        let Some(endpoint) = variables.of(ENDPOINT).filter(|_| !off) else { return Ok(None) };
        variables.only(variables.of(COMPRESSION), "none", "none: messages are not compressed")?;
        let cumulative = "cumulative: counts are never since the last push";
        variables.only(variables.one(TEMPORALITY), "cumulative", cumulative)?;
        let explicit = "explicit_bucket_histogram";
        variables.only(variables.one(HISTOGRAMS), explicit, explicit)?;
        let grpc = match variables.of(PROTOCOL) {
            None | Some((_, "http/protobuf")) => false,
            Some((_, "grpc")) => true,
            Some((variable, value)) => return Err(wrong(variable, value, "grpc or http/protobuf")),
        };
        let headers = variables.of(HEADERS).map(|(name, value)| headers(name, value)).transpose()?;
        let headers = headers.unwrap_or_default();
        let (host, port, path) = self::endpoint(endpoint, grpc)?;
        let protocol = match grpc {
            true => CollectorProtocol::Grpc { metadata: headers },
            false => CollectorProtocol::Http { path: path.into(), headers },
        };
        let timeout = variables.millis(variables.of(TIMEOUTS))?.unwrap_or(TIMEOUT);
        let most = variables.millis(variables.one(EXPORT_TIMEOUT))?.unwrap_or(timeout);
        let collector = Collector {
            name: endpoint.1.into(),
            host: host.into(),
            port,
            protocol,
            timeout: timeout.min(most),
        };
        let interval = variables.millis(variables.one(EVERY))?.unwrap_or(INTERVAL);
        Ok(Some(Self { collector: Arc::new(collector), interval }))
    }
}

/// Host, port and path of a URL.
fn endpoint((variable, value): (&'static str, &str), grpc: bool) -> Result<(String, u16, String), PushError> {
    let expected = "a URL such as http://collector.observability:4318 (https is left to the mesh)";
    let wrong = |expected| wrong(variable, value, expected);
    let uri: Uri = value.parse().map_err(|_| wrong(expected))?;
    let plain = uri.scheme() == Some(&Scheme::HTTP);
    let authority = uri.authority().filter(|it| plain && !it.as_str().contains('@'));
    // What stands behind the host is a port, or nothing.
    let authority = authority.filter(|it| it.port_u16().is_some() || it.as_str() == it.host());
    let host =
        authority.map(|it| it.host()).filter(|host| !host.is_empty()).ok_or_else(|| wrong(expected))?;
    let path = uri.path_and_query().map_or("", |path| path.as_str()).trim_end_matches('/');
    if grpc && !path.is_empty() {
        return Err(wrong("a URL without a path, as gRPC has its own"));
    }
    let path = match variable == ENDPOINT[1] {
        // It is the beginning for all signals.
        true => format!("{path}{PATH}"),
        false if path.is_empty() => "/".to_owned(),
        false => uri.path_and_query().map_or_else(String::new, ToString::to_string),
    };
    let host = host.trim_start_matches('[').trim_end_matches(']');
    Ok((host.to_owned(), uri.port_u16().unwrap_or(80), path))
}

/// Headers of a message: `name=value,…`, values percent-encoded.
fn headers(variable: &'static str, text: &str) -> Result<Headers, PushError> {
    let expected = "name=value,name=value, with octets such as a comma written as %2C";
    let pair = |pair: &str| {
        let (name, value) = pair.split_once('=')?;
        let name: HeaderName = name.trim().parse().ok()?;
        let value = decoded(value.trim())?;
        HeaderValue::from_str(&value).ok()?;
        Some((name.as_str().into(), value.into()))
    };
    let pairs = text.split(',').filter(|pair| !pair.trim().is_empty()).map(pair);
    // What was wrong may be a secret.
    pairs.collect::<Option<_>>().ok_or_else(|| wrong(variable, "…", expected))
}

/// Without percent-encoding; `None`: a `%` is followed by no number, or all is no text.
fn decoded(text: &str) -> Option<String> {
    let mut parts = text.split('%');
    let mut octets = parts.next()?.as_bytes().to_vec();
    for part in parts {
        let (number, rest) = part.split_at_checked(2)?;
        octets.push(u8::from_str_radix(number, 16).ok().filter(|_| !number.starts_with('+'))?);
        octets.extend_from_slice(rest.as_bytes());
    }
    String::from_utf8(octets).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(variables: &[(&str, &str)]) -> Result<Option<Push>, PushError> {
        let look_up =
            |name: &str| variables.iter().find(|(known, _)| *known == name).map(|(_, value)| *value);
        Push::from_environment(&look_up)
    }

    fn good(variables: &[(&str, &str)]) -> Push {
        read(variables).unwrap().unwrap()
    }

    #[test]
    fn without_an_endpoint_nothing_is_pushed() {
        assert_eq!(read(&[]), Ok(None));
        assert_eq!(read(&[(ENDPOINT[0], ""), (ENDPOINT[1], " ")]), Ok(None));
        assert_eq!(read(&[(ENDPOINT[0], "http://c:1"), (EXPORTER, "none")]), Ok(None));
    }

    #[test]
    fn an_endpoint_is_read_with_its_defaults() {
        let Push { collector, interval } = good(&[(ENDPOINT[1], "http://otel.obs.svc:4318")]);
        assert_eq!((interval, collector.timeout), (INTERVAL, TIMEOUT));
        assert_eq!((&*collector.host, collector.port), ("otel.obs.svc", 4318));
        let path = |variable, url: &str| match &good(&[(variable, url)]).collector.protocol {
            CollectorProtocol::Http { path, .. } => path.to_string(),
            CollectorProtocol::Grpc { .. } => panic!("{url}"),
        };
        assert_eq!(path(ENDPOINT[1], "http://c:1"), "/v1/metrics");
        assert_eq!(path(ENDPOINT[1], "http://c:1/otlp/"), "/otlp/v1/metrics");
        assert_eq!(path(ENDPOINT[0], "http://c:1/otlp?a=b"), "/otlp?a=b");
        assert_eq!(path(ENDPOINT[0], "http://c:1"), "/");
        let literal = good(&[(ENDPOINT[0], "http://[fd00::1]/")]);
        assert_eq!((&*literal.collector.host, literal.collector.port), ("fd00::1", 80));
    }

    #[test]
    fn all_that_can_be_said_is_heard() {
        let push = good(&[
            (ENDPOINT[0], "http://metrics:4317"),
            (ENDPOINT[1], "http://all:4317"),
            (PROTOCOL[0], "grpc"),
            (PROTOCOL[1], "http/protobuf"),
            (HEADERS[1], "X-Tenant=blue, authorization=Bearer%20a%2Cb"),
            (TIMEOUTS[1], "2500"),
            (EXPORT_TIMEOUT, "2000"),
            (EVERY, "5000"),
            (COMPRESSION[0], "none"),
            (TEMPORALITY, "cumulative"),
            (HISTOGRAMS, "explicit_bucket_histogram"),
            (EXPORTER, "otlp"),
        ]);
        assert_eq!((push.interval, push.collector.timeout), (Duration::from_secs(5), Duration::from_secs(2)));
        assert_eq!(&*push.collector.host, "metrics");
        let metadata =
            vec![("x-tenant".into(), "blue".into()), ("authorization".into(), "Bearer a,b".into())];
        assert_eq!(push.collector.protocol, CollectorProtocol::Grpc { metadata });
    }

    #[test]
    fn what_cannot_be_used_is_named() {
        let endpoint = (ENDPOINT[0], "http://c:4318");
        for (variable, value) in [
            (ENDPOINT[0], "https://c:4318"),
            (ENDPOINT[0], "collector:4318"),
            (ENDPOINT[0], "http://user@c:4318"),
            (ENDPOINT[0], "http://c:port"),
            (ENDPOINT[0], "/v1/metrics"),
            (PROTOCOL[0], "http/json"),
            (PROTOCOL[1], "GRPC"),
            (HEADERS[0], "a"),
            (HEADERS[0], "a b=c"),
            (HEADERS[1], "a=%zz"),
            (HEADERS[1], "a=%0a"),
            (TIMEOUTS[0], "0"),
            (TIMEOUTS[1], "1s"),
            (EVERY, "-1"),
            (EXPORT_TIMEOUT, "soon"),
            (COMPRESSION[1], "gzip"),
            (TEMPORALITY, "delta"),
            (HISTOGRAMS, "base2_exponential_bucket_histogram"),
            (EXPORTER, "console"),
        ] {
            let error = read(&[(variable, value), endpoint]).unwrap_err();
            assert_eq!(error.variable, variable, "{value}");
            assert!(error.value == value || error.value == "…", "{error}");
        }
        let path = [(ENDPOINT[0], "http://c:4317/v1/metrics"), (PROTOCOL[0], "grpc")];
        assert_eq!(read(&path).unwrap_err().variable, ENDPOINT[0]);
        let secret = read(&[endpoint, (HEADERS[0], "authorization: secret")]).unwrap_err();
        assert!(!secret.to_string().contains("secret"), "{secret}");
    }
}
