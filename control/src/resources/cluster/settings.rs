//! How a cluster is watched and written to.
use std::time::Duration;

/// What may be chosen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Whether statuses are written. Without it, they are only told in the log and on the admin pages.
    pub write: bool,
    /// Times.
    pub timing: Timing,
    /// What pauses of different processes differ by.
    pub seed: u64,
}

/// Times.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timing {
    /// How long after a change others are waited for, to take effect together.
    pub settle: Duration,
    /// How long a request may take.
    pub request: Duration,
    /// The first pause after a failure; each further one is twice as long.
    pub retry: Duration,
    /// The longest.
    pub retry_most: Duration,
    /// How often a kind is looked for that the cluster does not have.
    pub absent: Duration,
    /// How long a watch goes on before it is opened anew.
    pub watch: Duration,
    /// The least time between two writes of statuses, after the first few.
    pub write: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            settle: Duration::from_millis(50),
            request: Duration::from_secs(30),
            retry: Duration::from_millis(200),
            retry_most: Duration::from_secs(30),
            absent: Duration::from_secs(30),
            watch: Duration::from_secs(300),
            write: Duration::from_millis(50),
        }
    }
}
