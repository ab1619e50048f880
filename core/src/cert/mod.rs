//! Which certificates there are, which are wanted, and when each is asked for again.
//!
//! A [`Manager`] is one node's set of workload certificates. It talks to no authority: it says whom to ask for
//! ([`Output::Request`]) and is told what came of it. `C` is the certificate as its owner keeps it, cheap to clone.

mod backoff;
mod error;
mod manager;

#[cfg(test)]
mod tests;

use core::time::Duration;

use crate::identity::Identity;
use crate::time::{Instant, UnixTime};

pub use error::CertError;
pub use manager::Manager;

pub use crate::tls::{Facts, NotACertificate, Validity};

/// Both clocks, read together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Now {
    /// For back-off and deadlines of calls.
    pub instant: Instant,
    /// For the validity of certificates.
    pub wall: UnixTime,
}

/// How much an identity is wanted; the highest is served first, equals in the order they came.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Priority {
    /// Renewal of a certificate that is still valid.
    Background,
    /// A workload is here and will soon need it.
    Warmup,
    /// A connection waits for it.
    RealTime,
}

/// One call to the authority. Never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CallId(u64);

/// Who waits for an answer; chosen by the owner.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WaiterId(
    /// The owner's number.
    pub u64,
);

/// What the owner must do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output<C> {
    /// Ask the authority; end with `handle_issued` or `handle_failed`.
    Request {
        /// To be named in the result.
        call: CallId,
        /// For whom.
        identity: Identity,
        /// Why.
        priority: Priority,
    },
    /// Nobody wants the result of this call any more: cancel it.
    Abort {
        /// Which.
        call: CallId,
    },
    /// The one answer to a waiter.
    Answer {
        /// Whom to tell.
        waiter: WaiterId,
        /// What it asked for.
        identity: Identity,
        /// The certificate, or why there is none.
        result: Result<C, CertError>,
    },
    /// News for everybody who keeps this certificate: it was renewed, what it is checked against has changed, or it
    /// has expired.
    Publish {
        /// Whose.
        identity: Identity,
        /// The certificate to use from now on, or why there is none any more.
        result: Result<C, CertError>,
    },
}

/// What is known of an identity, for the admin interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State<'a, C> {
    /// The first certificate has not come yet.
    Initializing,
    /// There is a certificate.
    Available(&'a C),
    /// There is none, for this reason.
    Unavailable(&'a CertError),
}

/// Knobs of a [`Manager`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Settings {
    /// Calls to the authority at a time.
    pub concurrency: usize,
    /// Identities that are kept at most; more are refused with [`CertError::TooMany`].
    pub identities: usize,
    /// Waiters for one identity at most; more are refused with [`CertError::TooMany`].
    pub waiters: usize,
    /// How long a call may take.
    pub call_timeout: Duration,
    /// Renewal happens up to this share of the lifetime before its half, in thousandths, so that certificates issued
    /// together are not renewed together.
    pub jitter_per_mille: u16,
}

impl Default for Settings {
    /// Istio's numbers (interfaces §2.3) where it has them.
    fn default() -> Self {
        Self {
            concurrency: 8,
            identities: 4096,
            waiters: 1024,
            call_timeout: Duration::from_secs(30),
            jitter_per_mille: 50,
        }
    }
}
