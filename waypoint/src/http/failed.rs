//! Attempts that fail: what has happened, and what the client is told in the end (waypoint.md §26).
use std::sync::Arc;

use adit_core::l7::AttemptFailure;
use adit_ops::l7::{Details, ResetReason, ResponseFlags};

use super::local::Local;
use super::refused::h2;
use crate::upstream::SendFailed;

/// Why an attempt failed.
pub(crate) struct Failed {
    pub(crate) kind: AttemptFailure,
    pub(crate) reason: ResetReason,
    pub(crate) text: Arc<str>,
    /// It was certainly not seen, on a connection that had served before: another is tried at once, whatever the policy.
    pub(crate) stale: bool,
}

impl Failed {
    pub(crate) fn timeout() -> Self {
        let text = "the attempt took too long".into();
        Self { kind: AttemptFailure::Timeout, reason: ResetReason::LocalReset, text, stale: false }
    }

    /// The endpoint has switched to another protocol, which nobody asked for: its octets are no answer to anybody.
    pub(crate) fn unasked() -> Self {
        let (kind, reason) = (AttemptFailure::Reset, ResetReason::ProtocolError);
        Self { kind, reason, text: "it has switched protocols unasked".into(), stale: false }
    }

    pub(crate) fn of(failed: &SendFailed, reused: bool) -> Self {
        let SendFailed { error, unsent } = failed;
        let refused = is_refused(error);
        let (kind, reason) = match refused {
            true => (AttemptFailure::Refused, ResetReason::RemoteReset),
            false if error.is_parse() => (AttemptFailure::Reset, ResetReason::ProtocolError),
            false => (AttemptFailure::Reset, ResetReason::ConnectionTermination),
        };
        Self { kind, reason, text: error.to_string().into(), stale: *unsent && reused }
    }

    /// What the client is told.
    pub(crate) fn local(&self) -> Local {
        let Self { kind, reason, text, .. } = self;
        let reason = *reason;
        let (status, flags, details) = match kind {
            AttemptFailure::Connect => {
                let details =
                    Details::UpstreamResetBefore(ResetReason::RemoteConnectionFailure, Arc::clone(text));
                (503, ResponseFlags::UPSTREAM_CONNECTION_FAILURE, details)
            }
            AttemptFailure::Timeout => {
                (504, ResponseFlags::UPSTREAM_REQUEST_TIMEOUT, Details::UpstreamPerTryTimeout)
            }
            AttemptFailure::Refused => (
                503,
                ResponseFlags::UPSTREAM_REMOTE_RESET,
                Details::UpstreamResetBefore(reason, Arc::default()),
            ),
            AttemptFailure::Reset if reason == ResetReason::ProtocolError => (
                502,
                ResponseFlags::UPSTREAM_PROTOCOL_ERROR,
                Details::UpstreamResetBefore(reason, Arc::default()),
            ),
            AttemptFailure::Reset => {
                let details = Details::UpstreamResetBefore(reason, Arc::default());
                (503, ResponseFlags::UPSTREAM_CONNECTION_TERMINATION, details)
            }
        };
        let body = match kind {
            AttemptFailure::Timeout => "upstream request timeout".to_owned(),
            AttemptFailure::Connect => before_headers("remote connection failure"),
            AttemptFailure::Refused | AttemptFailure::Reset => {
                before_headers(&reason.as_str().replace('_', " "))
            }
        };
        Local::new(status, flags, details, body)
    }
}

/// Envoy's text for an endpoint that was lost before its answer began.
fn before_headers(reason: &str) -> String {
    format!("upstream connect error or disconnect/reset before headers. reset reason: {reason}")
}

/// Whether a stream was refused unseen (RFC 9113 §8.7).
fn is_refused(error: &hyper::Error) -> bool {
    h2(error).is_some_and(|error| error.reason() == Some(h2::Reason::REFUSED_STREAM))
}
