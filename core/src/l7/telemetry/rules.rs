//! Which metrics, log lines and spans are made of requests to which service, after all `Telemetry` resources are merged.
use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::time::Duration;

use super::expression::Expression;
use super::tracing::Tracing;
use crate::mesh::ServiceName;

macro_rules! metrics {
    ($($(#[$doc:meta])* $name:ident = $istio:literal, $exported:literal;)+) => {
        /// A standard metric (waypoint.md §18.4, §19.1).
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Metric {
            $($(#[$doc])* $name,)+
        }

        impl Metric {
            /// All, in the order of their declaration.
            pub const ALL: &'static [Self] = &[$(Self::$name),+];

            /// As `Telemetry` names it.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$name => $istio,)+
                }
            }

            /// As it is exported, without the `_total` of counters.
            #[must_use]
            pub const fn exported(self) -> &'static str {
                match self {
                    $(Self::$name => $exported,)+
                }
            }

            /// The metric that `Telemetry` names so.
            #[must_use]
            pub fn of(name: &str) -> Option<Self> {
                Self::ALL.iter().copied().find(|metric| metric.as_str() == name)
            }
        }
    };
}

metrics! {
    /// Requests.
    RequestCount = "REQUEST_COUNT", "istio_requests";
    /// How long they took.
    RequestDuration = "REQUEST_DURATION", "istio_request_duration_milliseconds";
    /// How large they were.
    RequestSize = "REQUEST_SIZE", "istio_request_bytes";
    /// How large their answers were.
    ResponseSize = "RESPONSE_SIZE", "istio_response_bytes";
    /// Connections that opened.
    TcpOpened = "TCP_OPENED_CONNECTIONS", "istio_tcp_connections_opened";
    /// Connections that ended.
    TcpClosed = "TCP_CLOSED_CONNECTIONS", "istio_tcp_connections_closed";
    /// Octets sent to clients.
    TcpSent = "TCP_SENT_BYTES", "istio_tcp_sent_bytes";
    /// Octets received from clients.
    TcpReceived = "TCP_RECEIVED_BYTES", "istio_tcp_received_bytes";
    /// Messages of gRPC clients.
    GrpcRequests = "GRPC_REQUEST_MESSAGES", "istio_request_messages";
    /// Messages of gRPC servers.
    GrpcResponses = "GRPC_RESPONSE_MESSAGES", "istio_response_messages";
}

/// What becomes of a label.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Tag {
    /// It is left out.
    Remove,
    /// It is added, or says something else: the value of the expression of this number in [`MetricRules::expressions`].
    Set(usize),
}

/// What differs from the standard in one metric.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct MetricRule {
    /// It is not exported.
    pub disabled: bool,
    /// What becomes of labels, by name.
    pub tags: BTreeMap<Arc<str>, Tag>,
}

impl MetricRule {
    /// Whether nothing differs.
    #[must_use]
    pub fn is_standard(&self) -> bool {
        !self.disabled && self.tags.is_empty()
    }
}

/// What differs from the standard in metrics.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct MetricRules {
    /// By metric; those that are not here are as standard.
    pub by_metric: BTreeMap<Metric, MetricRule>,
    /// Expressions that labels take their values from, each once.
    pub expressions: Vec<Expression>,
    /// How often octets of a TCP connection, and messages of a call, that go on are counted. `None`: every 5 s.
    pub interval: Option<Duration>,
}

impl MetricRules {
    /// The number of an expression, which is added if it is new.
    pub fn expression(&mut self, expression: Expression) -> usize {
        let known = self.expressions.iter().position(|known| *known == expression);
        known.unwrap_or_else(|| {
            self.expressions.push(expression);
            self.expressions.len().saturating_sub(1)
        })
    }

    /// What differs in a metric.
    #[must_use]
    pub fn of(&self, metric: Metric) -> Option<&MetricRule> {
        self.by_metric.get(&metric).filter(|rule| !rule.is_standard())
    }
}

/// How log lines look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum LogFormat {
    /// Envoy's default line (waypoint.md §20.2).
    #[default]
    Text,
    /// One JSON object (§20.3).
    Json,
}

/// One access log.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct AccessLog {
    /// How its lines look.
    pub format: LogFormat,
    /// Which exchanges have one; `None`: all.
    pub filter: Option<Expression>,
}

/// What is told of requests to one service.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Telemetry {
    /// Metrics; shared, so that equal ones are found by their address.
    pub metrics: Arc<MetricRules>,
    /// Access logs; none: no lines.
    pub access_logs: Vec<AccessLog>,
    /// Spans.
    pub tracing: Tracing,
}

/// What is told of requests, by service.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Telemetries {
    /// Where nothing else is said, and for requests to workloads.
    pub default: Arc<Telemetry>,
    /// For the services of a namespace.
    pub namespaces: BTreeMap<Arc<str>, Arc<Telemetry>>,
    /// For a service.
    pub services: BTreeMap<ServiceName, Arc<Telemetry>>,
}

impl Telemetries {
    /// What is told of requests to `service`.
    #[must_use]
    pub fn of(&self, service: Option<&ServiceName>) -> &Arc<Telemetry> {
        let Some(service) = service else { return &self.default };
        let own = self.services.get(service).or_else(|| self.namespaces.get(&service.namespace));
        own.unwrap_or(&self.default)
    }
}

#[cfg(test)]
mod tests {
    use std::vec;

    use super::*;

    #[test]
    fn the_nearest_to_a_service_counts() {
        let telemetry = |format| {
            Arc::new(Telemetry {
                access_logs: vec![AccessLog { format, filter: None }],
                ..Telemetry::default()
            })
        };
        let name = |namespace: &str, hostname: &str| ServiceName {
            namespace: namespace.into(),
            hostname: hostname.into(),
        };
        let (text, json) = (telemetry(LogFormat::Text), telemetry(LogFormat::Json));
        let all = Telemetries {
            default: Arc::default(),
            namespaces: BTreeMap::from([("shop".into(), Arc::clone(&text))]),
            services: BTreeMap::from([(name("shop", "web"), Arc::clone(&json))]),
        };
        assert_eq!(*all.of(None), Arc::default());
        assert_eq!(*all.of(Some(&name("other", "web"))), Arc::default());
        assert_eq!(*all.of(Some(&name("shop", "api"))), text);
        assert_eq!(*all.of(Some(&name("shop", "web"))), json);
    }

    #[test]
    fn an_expression_has_one_number_and_a_standard_rule_is_none() {
        let mut rules = MetricRules::default();
        let expression = |text| Expression::new(text).unwrap();
        let numbers =
            ["request.id", "request.host", "request.id"].map(|text| rules.expression(expression(text)));
        assert_eq!((numbers, rules.expressions.len()), ([0, 1, 0], 2));
        rules.by_metric.insert(Metric::TcpSent, MetricRule::default());
        assert_eq!(rules.of(Metric::TcpSent), None);
    }
}
