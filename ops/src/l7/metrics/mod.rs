//! Istio's standard metrics of a waypoint's traffic, with all their labels (waypoint.md §19), for Prometheus and OpenTelemetry:
//! [`Metrics::waypoint`](crate::metrics::Metrics::waypoint) has it.
//!
//! A request costs one look-up by the addresses of what it has in common with others; texts are made when somebody asks.
//! Series have a cap and expire ([`Bounds`]); what comes beyond is counted under labels that say `other`.
mod encode;
mod histogram;
mod labels;
mod otlp;
mod tables;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use adit_core::l7::telemetry::MetricRules;

pub(crate) use self::encode::Series;
pub use self::histogram::BOUNDS;
pub(crate) use self::otlp::nanoseconds;
use self::tables::Tables;
use super::record::{Exchange, Protocol};
use crate::metrics::Bounds;

/// What of an exchange that goes on has been counted already. Kept beside it; it begins as the default.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Reported {
    received: u64,
    sent: u64,
    request_messages: u64,
    response_messages: u64,
}

impl Reported {
    /// What has come since, by which this is now as the exchange.
    fn more(&mut self, exchange: &Exchange<'_>) -> Self {
        let grpc = exchange.http.grpc.unwrap_or_default();
        let tcp = exchange.protocol == Protocol::Tcp;
        let now = Self {
            received: if tcp { exchange.received.wire() } else { 0 },
            sent: if tcp { exchange.sent.wire() } else { 0 },
            request_messages: grpc.request_messages,
            response_messages: grpc.response_messages,
        };
        let before = std::mem::replace(self, now);
        Self {
            received: now.received.saturating_sub(before.received),
            sent: now.sent.saturating_sub(before.sent),
            request_messages: now.request_messages.saturating_sub(before.request_messages),
            response_messages: now.response_messages.saturating_sub(before.response_messages),
        }
    }
}

/// Counts of a waypoint's traffic. Clones share them.
#[derive(Clone, Debug)]
pub struct HttpMetrics {
    tables: Arc<Mutex<Tables>>,
}

impl HttpMetrics {
    /// Nothing counted yet.
    #[must_use]
    pub fn new(bounds: Bounds) -> Self {
        Self { tables: Arc::new(Mutex::new(Tables::new(bounds))) }
    }

    fn lock(&self) -> MutexGuard<'_, Tables> {
        self.tables.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A TCP connection is open: its destination is known, or that it will have none.
    pub fn opened(&self, now: Instant, rules: &Arc<MetricRules>, exchange: &Exchange<'_>) {
        self.lock().count(now, rules, exchange, |counts| counts.opened += 1);
    }

    /// What has come since the last time, of a TCP connection (octets) or a gRPC call (messages) that goes on. To be called
    /// every [`interval`](MetricRules::interval).
    pub fn progress(
        &self,
        now: Instant,
        rules: &Arc<MetricRules>,
        exchange: &Exchange<'_>,
        reported: &mut Reported,
    ) {
        let more = reported.more(exchange);
        if more != Reported::default() {
            self.lock().count(now, rules, exchange, |counts| counts.add(more));
        }
    }

    /// A request or a connection has ended.
    pub fn finished(
        &self,
        now: Instant,
        rules: &Arc<MetricRules>,
        exchange: &Exchange<'_>,
        mut reported: Reported,
    ) {
        let more = reported.more(exchange);
        self.lock().count(now, rules, exchange, |counts| {
            counts.add(more);
            match exchange.protocol {
                Protocol::Tcp => counts.closed += 1,
                Protocol::Http | Protocol::Grpc => {
                    counts.requests += 1;
                    counts.duration.add(exchange.duration.as_secs_f64() * 1000.0);
                    counts.request_size.add(octets(exchange.received.wire()));
                    counts.response_size.add(octets(exchange.sent.wire()));
                }
            }
        });
    }

    /// The workload is in the tables no more: series in which it is an end are dropped some minutes later, unless it comes
    /// back. `workload` is its name in labels (the owner's of its pods): to be called with the last of them.
    pub fn forget(&self, now: Instant, namespace: &str, workload: &str) {
        self.lock().forget(now, namespace, workload);
    }

    /// Drops series that nothing has been counted in for long; done before every scrape, too.
    pub fn expire(&self, now: Instant) {
        self.lock().expire(now);
    }
}

/// Exact to 2⁵³ octets, and near enough beyond.
#[expect(clippy::cast_precision_loss, reason = "a histogram rounds much more")]
const fn octets(count: u64) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests;
