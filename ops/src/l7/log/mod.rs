//! The access log of a waypoint: one line per request or connection, as Envoy writes it, text or JSON (waypoint.md §20).
//!
//! A line is written on the request's own thread into a buffer of the caller's, and handed to the writing thread without ever
//! waiting for it: what does not fit into its queue is dropped and counted.
mod json;
mod octets;
mod text;

use std::fmt;

use adit_core::l7::telemetry::{AccessLog, LogFormat};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;

use super::record::Exchange;
use crate::logging::AccessLines;

/// Puts the line of an exchange, with its line feed, behind what is in `out`.
pub fn line(out: &mut Vec<u8>, format: LogFormat, exchange: &Exchange<'_>) {
    match format {
        LogFormat::Text => text::line(out, exchange),
        LogFormat::Json => json::line(out, exchange),
    }
}

/// Writes access logs. Clones write to the same place; each has a buffer of its own.
#[derive(Clone, Debug)]
pub struct AccessLogger {
    lines: AccessLines,
    buffer: Vec<u8>,
}

impl AccessLogger {
    /// Lines go to `lines`.
    #[must_use]
    pub const fn new(lines: AccessLines) -> Self {
        Self { lines, buffer: Vec::new() }
    }

    /// Logs an exchange in each of `logs` whose filter holds.
    pub fn log(&mut self, logs: &[AccessLog], exchange: &Exchange<'_>) {
        for log in logs {
            if log.filter.as_ref().is_none_or(|filter| filter.holds(exchange)) {
                self.buffer.clear();
                line(&mut self.buffer, log.format, exchange);
                self.lines.offer(&self.buffer);
            }
        }
    }
}

impl Collector for AccessLines {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let help = "Lines of the access log dropped because they could not be written fast enough.";
        let name = "adit_access_log_dropped_lines";
        let mut metric = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
        metric.encode_counter::<NoLabelSet, u64, u64>(&self.dropped(), None)
    }
}

#[cfg(test)]
mod tests;
