//! Traces of requests: whose they are, whether they are recorded, and what their spans say (waypoint.md §21).
//!
//! ```text
//!   headers ── Context::extract ──▶ Traced::begin (dice) ──▶ headers sent on ──▶ … ──▶ span (when it ends, if recorded)
//! ```
mod context;
mod request_id;
mod span;

use adit_core::hbone::TraceParent;
use adit_core::l7::telemetry::Tracing;
use adit_core::rng::Rng;

pub use self::context::{Context, Form};
pub use self::request_id::{Reason, RequestId};
pub use self::span::{Own, Tags, span};
use super::record::Headers;

/// One request's part in a trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Traced {
    /// Our span: what the request sent on names as its parent. Its flags say whether it is recorded.
    pub span: TraceParent,
    /// The client's span, if there is one.
    pub parent: Option<u64>,
    /// Why it is recorded, or that it is not.
    pub reason: Reason,
    /// How the trace came in, which is how it goes on.
    pub form: Form,
}

impl Traced {
    /// Decides about a request with these headers. `None`: nothing is traced, and all headers are left as they are.
    ///
    /// What the client's trace says is followed; else what its request id says; else `x-client-trace-id` has it recorded; else
    /// the dice decide.
    pub fn begin(tracing: &Tracing, headers: &dyn Headers, rng: &mut Rng) -> Option<Self> {
        tracing.collector.as_ref()?;
        let context = Context::extract(headers);
        let stamped = headers.get(RequestId::HEADER).filter(|_| tracing.use_request_id).map(Reason::read);
        let reason = match (context.sampled, stamped) {
            (Some(false), _) => Reason::NotTraced,
            (Some(true), Some(stamped)) if stamped != Reason::NotTraced => stamped,
            (Some(true), _) => Reason::Sampled,
            (None, Some(stamped)) if stamped != Reason::NotTraced => stamped,
            (None, _) if headers.get("x-client-trace-id").is_some() => Reason::Client,
            (None, _) if tracing.sampling.draw(rng) => Reason::Sampled,
            (None, _) => Reason::NotTraced,
        };
        let flags = u8::from(reason != Reason::NotTraced);
        let trace_id = context.trace_id.unwrap_or_else(|| first(|| nonzero_trace(rng)));
        let span_id = first(|| Some(rng.next_u64()).filter(|id| *id != 0));
        let span = TraceParent { trace_id, span_id, flags };
        Some(Self { span, parent: context.parent, reason, form: context.form })
    }

    /// Whether a span is to be made of it.
    #[must_use]
    pub fn recorded(&self) -> bool {
        self.reason != Reason::NotTraced
    }

    /// The headers of the request sent on, which take the place of those of the same names; `tracestate` and `baggage` are left
    /// as they are. None when the trace is not to be told to anybody (`disableContextPropagation`).
    #[must_use]
    pub fn headers(&self, tracing: &Tracing) -> Vec<(&'static str, String)> {
        match tracing.propagate {
            true => context::inject(self),
            false => Vec::new(),
        }
    }
}

fn nonzero_trace(rng: &mut Rng) -> Option<u128> {
    let (high, low) = (rng.next_u64(), rng.next_u64());
    Some(u128::from(high) << 64 | u128::from(low)).filter(|id| *id != 0)
}

/// Ends: zero is one number of very many.
fn first<T>(mut draw: impl FnMut() -> Option<T>) -> T {
    loop {
        if let Some(drawn) = draw() {
            return drawn;
        }
    }
}

#[cfg(test)]
mod tests;
