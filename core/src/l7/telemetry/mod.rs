//! What is told of requests: which metrics with which labels, which log lines, which spans (Istio: `Telemetry`).
mod attribute;
mod expression;
mod lexer;
mod parser;
mod rules;
mod tracing;

pub use self::attribute::{Attribute, Attributes, PeerField, Side, Type, Value};
pub use self::expression::{Expression, ExpressionError};
pub use self::rules::{AccessLog, LogFormat, Metric, MetricRule, MetricRules, Tag, Telemetries, Telemetry};
pub use self::tracing::{Collector, CollectorProtocol, CustomTag, Tracing};
