//! Why there is no certificate for an identity.
use alloc::sync::Arc;

use crate::identity::Identity;

/// Typed failures; each text ends up in the log of the connection that needed the certificate.
#[derive(Clone, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum CertError {
    /// The authority cannot be reached.
    #[error("certificate authority {address} cannot be reached: {reason}")]
    Unreachable {
        /// Where it should be.
        address: Arc<str>,
        /// What the transport says.
        reason: Arc<str>,
    },
    /// The authority said no. `Unauthenticated` mostly means that no pod of this identity runs on our node, or that
    /// our account is not among `CA_TRUSTED_NODE_ACCOUNTS`.
    #[error("certificate authority refused: {code}: {message}")]
    Refused {
        /// The gRPC status code, by name.
        code: Arc<str>,
        /// The authority's words.
        message: Arc<str>,
    },
    /// The authority did not answer in time.
    #[error("certificate authority did not answer within {0} s")]
    Timeout(u64),
    /// The answer has no root certificate: there must be at least a leaf and a root bundle.
    #[error(
        "no root certificate present: the answer has {0} certificates, at least a leaf and the roots are needed"
    )]
    NoRoot(usize),
    /// The answer is for someone else.
    #[error("certificate authority answered with a certificate that is not (only) for {asked}: {reason}")]
    WrongIdentity {
        /// Whom we asked for.
        asked: Identity,
        /// What is wrong with it.
        reason: Arc<str>,
    },
    /// The answer, or a file, cannot be used.
    #[error("certificate cannot be used: {0}")]
    Unusable(Arc<str>),
    /// The certificate is over already, or was not renewed in time. Compare the clocks of the two machines.
    #[error("certificate expired at {not_after} (Unix time), it is {now}")]
    Expired {
        /// End of its validity, in seconds.
        not_after: u64,
        /// Our clock, in seconds.
        now: u64,
    },
    /// No key could be made.
    #[error("no private key could be made: {0}")]
    Key(Arc<str>),
    /// Nobody needs this identity on this node any more.
    #[error("certificate is no longer needed: the last workload of {0} has left this node")]
    Forgotten(Identity),
    /// A limit of this process.
    #[error("too many {what}: at most {limit}; try again later")]
    TooMany {
        /// Of what.
        what: &'static str,
        /// How many there may be.
        limit: usize,
    },
    /// This source has one certificate, and it is another's.
    #[error("certificate files are for {held}, not for {asked}")]
    NotOurs {
        /// Whom the files are for.
        held: Identity,
        /// Whom the shard speaks for.
        asked: Identity,
    },
}
