//! Trace headers: W3C (`traceparent`) and B3, single and several. Whatever octets they have, reading them fails quietly.
use adit_core::hbone::TraceParent;

use super::Traced;
use crate::l7::record::Headers;

/// How a trace is written into headers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Form {
    /// `traceparent` alone.
    #[default]
    W3c,
    /// `b3`, and `traceparent` beside it for those who know no other.
    B3Single,
    /// `x-b3-traceid` and so on, and `traceparent`.
    B3Several,
}

/// What headers say of the trace that a request belongs to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Context {
    /// The trace; not 0.
    pub trace_id: Option<u128>,
    /// The client's span; not 0, and only in a trace.
    pub parent: Option<u64>,
    /// Whether it is recorded, if that is said.
    pub sampled: Option<bool>,
    /// How it was said.
    pub form: Form,
}

impl Context {
    /// Reads headers: the first form in which there is anything valid counts, W3C before B3.
    #[must_use]
    pub fn extract(headers: &dyn Headers) -> Self {
        let w3c = headers.get("traceparent").and_then(TraceParent::parse).map(|parent| Self {
            trace_id: Some(parent.trace_id),
            parent: Some(parent.span_id),
            sampled: Some(parent.flags & 1 == 1),
            form: Form::W3c,
        });
        w3c.or_else(|| single(headers.get("b3")?)).or_else(|| several(headers)).unwrap_or_default()
    }
}

/// 16 or 32 hexadecimal digits, not all zero.
fn trace_id(digits: &[u8]) -> Option<u128> {
    matches!(digits.len(), 16 | 32).then(|| hex(digits)).flatten().filter(|id| *id != 0)
}

/// 16 hexadecimal digits, not all zero.
fn span_id(digits: &[u8]) -> Option<u64> {
    let id = (digits.len() == 16).then(|| hex(digits)).flatten()?;
    u64::try_from(id).ok().filter(|id| *id != 0)
}

fn hex(digits: &[u8]) -> Option<u128> {
    digits.iter().try_fold(0_u128, |number, digit| {
        let digit = char::from(*digit).to_digit(16)?;
        number.checked_mul(16)?.checked_add(digit.into())
    })
}

/// `1` (recorded), `0` (not), `d` (recorded, whatever it costs).
fn sampled(word: &[u8]) -> Option<bool> {
    match word {
        b"1" | b"d" | b"true" => Some(true),
        b"0" | b"false" => Some(false),
        _ => None,
    }
}

/// `b3: TRACE-SPAN[-SAMPLED[-PARENT]]`, or `SAMPLED` alone.
fn single(value: &[u8]) -> Option<Context> {
    let mut parts = value.split(|octet| *octet == b'-');
    let first = parts.next()?;
    let Some(span) = parts.next() else {
        return sampled(first).map(|said| Context {
            sampled: Some(said),
            form: Form::B3Single,
            ..Context::default()
        });
    };
    let (trace_id, parent) = (trace_id(first)?, span_id(span)?);
    let said = match parts.next() {
        None => None,
        Some(word) => Some(sampled(word)?),
    };
    // The parent's parent, which nobody needs, and no more.
    if parts.next().is_some_and(|id| span_id(id).is_none()) || parts.next().is_some() {
        return None;
    }
    Some(Context { trace_id: Some(trace_id), parent: Some(parent), sampled: said, form: Form::B3Single })
}

/// `x-b3-traceid`, `x-b3-spanid`, `x-b3-sampled`, `x-b3-flags`.
fn several(headers: &dyn Headers) -> Option<Context> {
    let debug = headers.get("x-b3-flags").filter(|flags| *flags == b"1").map(|_| true);
    let said = debug.or_else(|| headers.get("x-b3-sampled").and_then(sampled));
    let ids =
        headers.get("x-b3-traceid").and_then(trace_id).zip(headers.get("x-b3-spanid").and_then(span_id));
    if said.is_none() && ids.is_none() {
        return None;
    }
    let (trace_id, parent) = ids.unzip();
    Some(Context { trace_id, parent, sampled: said, form: Form::B3Several })
}

/// The headers that say what `traced` is.
pub(super) fn inject(traced: &Traced) -> Vec<(&'static str, String)> {
    let TraceParent { trace_id, span_id, flags } = traced.span;
    let mut headers = vec![("traceparent", traced.span.encode())];
    let sampled = flags & 1;
    match traced.form {
        Form::W3c => {}
        Form::B3Single => {
            let parent = traced.parent.map(|parent| format!("-{parent:016x}")).unwrap_or_default();
            headers.push(("b3", format!("{trace_id:032x}-{span_id:016x}-{sampled}{parent}")));
        }
        Form::B3Several => {
            headers.push(("x-b3-traceid", format!("{trace_id:032x}")));
            headers.push(("x-b3-spanid", format!("{span_id:016x}")));
            headers.push(("x-b3-sampled", sampled.to_string()));
            if let Some(parent) = traced.parent {
                headers.push(("x-b3-parentspanid", format!("{parent:016x}")));
            }
        }
    }
    headers
}
