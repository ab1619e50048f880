//! What is told of requests and connections, and to whom: metrics, log lines, spans.
use std::cell::RefCell;
use std::sync::Arc;
use std::time::Instant;

use adit_core::l7::telemetry::Telemetry;
use adit_ops::l7::metrics::{HttpMetrics, Reported};
use adit_ops::l7::otlp::Exporters;
use adit_ops::l7::trace::{self, Own, Tags, Traced};
use adit_ops::l7::{Exchange, log};
use adit_ops::logging::AccessLines;

/// A request or connection that has ended.
#[derive(Debug)]
pub struct Told<'a> {
    /// What is known of it.
    pub exchange: &'a Exchange<'a>,
    /// What is to be made of it.
    pub telemetry: &'a Arc<Telemetry>,
    /// Its trace, if there is one.
    pub traced: Option<&'a Traced>,
    /// What its route calls the operation.
    pub operation: &'a str,
}

/// Hears of requests and connections, on the thread that serves them: it must be quick.
pub trait Recorder: Send + Sync {
    /// A connection that is not HTTP has begun.
    fn opened(&self, _told: &Told<'_>) {}
    /// One goes on; `reported` is kept beside it.
    fn progress(&self, _told: &Told<'_>, _reported: &mut Reported) {}
    /// A request or connection has ended.
    fn finished(&self, told: &Told<'_>, reported: Reported);
}

/// Where all of it goes.
#[derive(Clone)]
pub struct Sink {
    /// Counts.
    pub metrics: HttpMetrics,
    /// Lines.
    pub lines: AccessLines,
    /// Spans.
    pub exporters: Arc<Exporters>,
    /// Who we are, in spans.
    pub own: Arc<Own>,
}

impl std::fmt::Debug for Sink {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sink").finish_non_exhaustive()
    }
}

impl Sink {
    fn log(&self, told: &Told<'_>) {
        thread_local! {
            static LINE: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
        }
        let Told { exchange, telemetry, .. } = told;
        for log in &telemetry.access_logs {
            if log.filter.as_ref().is_none_or(|filter| filter.holds(*exchange)) {
                LINE.with_borrow_mut(|line| {
                    line.clear();
                    log::line(line, log.format, exchange);
                    self.lines.offer(line);
                });
            }
        }
    }

    fn trace(&self, told: &Told<'_>) {
        let Told { exchange, telemetry, traced, operation } = told;
        if let (Some(traced), Some(collector)) = (traced, &telemetry.tracing.collector)
            && traced.recorded()
            && telemetry.tracing.report
        {
            let tags = Tags::new(&telemetry.tracing, |name| std::env::var(name).ok());
            let span = trace::span(&self.own, &telemetry.tracing, &tags, traced, operation, exchange);
            self.exporters.of(collector).offer(span);
        }
    }
}

impl Recorder for Sink {
    fn opened(&self, told: &Told<'_>) {
        self.metrics.opened(Instant::now(), &told.telemetry.metrics, told.exchange);
    }

    fn progress(&self, told: &Told<'_>, reported: &mut Reported) {
        self.metrics.progress(Instant::now(), &told.telemetry.metrics, told.exchange, reported);
    }

    fn finished(&self, told: &Told<'_>, reported: Reported) {
        self.metrics.finished(Instant::now(), &told.telemetry.metrics, told.exchange, reported);
        self.log(told);
        self.trace(told);
    }
}
