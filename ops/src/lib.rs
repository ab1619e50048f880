//! What Adit's binaries show of themselves to operators: log lines, the access log, readiness and totals.
//!
//! Every reader here is fed by one stream, [`adit_core::proxy::Observed`]; nothing here decides anything about traffic.
//!
//! | module | subject |
//! |---|---|
//! | [`logging`] | the line format of all logs, plain and JSON, and the queue to stdout and stderr |
//! | [`http`] | the small server under the next three |
//! | [`admin`] | the pages that `istioctl ztunnel-config` asks |
//! | [`metrics`] | Prometheus metrics, and their endpoint |
//! | [`access`] | one log line per proxied connection |
//! | [`capture`] | whether pods' connections really come to the proxy |
//! | [`counters`] | running totals, for the demo and the summary at shutdown |
//! | [`readiness`] | what startup still waits for, and the HTTP endpoint that says so |
//! | [`l7`] | requests at a waypoint: the record of one, and the metrics, log lines and spans made of it |
#![forbid(unsafe_code)]

pub mod access;
pub mod admin;
pub mod capture;
pub mod counters;
pub mod http;
pub mod l7;
pub mod logging;
pub mod metrics;
pub mod readiness;
mod stats;
