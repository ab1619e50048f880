//! How a stream ended, and how long to wait before the next (interfaces §1.6).

use core::fmt;
use core::time::Duration;

use crate::rng::Rng;

/// How a stream, or the attempt to open one, ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Ending<'a> {
    /// No response headers ever came: no connection, no TLS, or the call was refused.
    CouldNotOpen,
    /// The server ended it with an error, or the connection broke under it.
    Status {
        /// The gRPC code.
        code: i32,
        /// Its text.
        message: &'a str,
    },
    /// Something on our side failed, such as reading the root certificates.
    Failed,
    /// The server ended it without an error.
    Complete,
}

/// An [`Ending`] as the metric `istio_xds_connection_terminations_total` names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reason {
    /// It could not be opened.
    ConnectionError,
    /// An error that is not part of normal life.
    Error,
    /// Servers restart, connections get old.
    Reconnect,
    /// A clean end.
    Complete,
}

impl Reason {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::ConnectionError, Self::Error, Self::Reconnect, Self::Complete];

    /// The value of the metric's label.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ConnectionError => "ConnectionError",
            Self::Error => "Error",
            Self::Reconnect => "Reconnect",
            Self::Complete => "Complete",
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl From<Ending<'_>> for Reason {
    fn from(ending: Ending<'_>) -> Self {
        match ending {
            Ending::CouldNotOpen => Self::ConnectionError,
            Ending::Status { code, message } if is_ordinary(code, message) => Self::Reconnect,
            Ending::Status { .. } | Ending::Failed => Self::Error,
            Ending::Complete => Self::Complete,
        }
    }
}

/// Cancelled, Unknown, DeadlineExceeded, and Unavailable when the text shows a server that goes away.
fn is_ordinary(code: i32, message: &str) -> bool {
    match code {
        1 | 2 | 4 => true,
        14 => ["transport is closing", "received prior goaway"].iter().any(|text| message.contains(text)),
        _ => false,
    }
}

/// The delay that grows.
#[derive(Clone, Debug)]
pub(super) struct Backoff {
    current: Duration,
    rng: Rng,
}

/// What the delay starts from.
pub(super) const FIRST: Duration = Duration::from_millis(10);
/// What it never exceeds.
pub(super) const LONGEST: Duration = Duration::from_secs(15);
/// A stream that lived as long as this was a good one, however it ended.
const STABLE: Duration = Duration::from_secs(60);

impl Backoff {
    pub(super) const fn new(seed: u64) -> Self {
        Self { current: FIRST, rng: Rng::new(seed) }
    }

    /// The delay before the next attempt. `fruitful`: the stream brought a response; `lived`: how long it was open.
    pub(super) fn after(&mut self, ending: Ending<'_>, fruitful: bool, lived: Duration) -> Duration {
        if lived >= STABLE {
            self.current = FIRST;
        }
        match (ending, Reason::from(ending)) {
            (_, Reason::Reconnect) => {
                self.current = FIRST;
                FIRST
            }
            (Ending::Failed | Ending::Complete, _) if fruitful => {
                self.current = FIRST;
                Duration::ZERO
            }
            _ => {
                self.current = LONGEST.min(self.current.saturating_mul(2));
                self.jittered()
            }
        }
    }

    /// Half of the delay and a random part of the other half, so that the nodes of a cluster do not come back together.
    fn jittered(&mut self) -> Duration {
        let half = u64::try_from(self.current.as_nanos()).unwrap_or(u64::MAX).checked_div(2).unwrap_or(0);
        Duration::from_nanos(half.saturating_add(self.rng.below(half.saturating_add(1))))
    }
}
