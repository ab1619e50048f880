//! What can be wrong with a dump.

use adit_core::identity::IdentityError;
use adit_core::mesh::MeshError;

use super::value::{Fault, Wrong};

/// Why a text is no dump at all.
#[derive(Clone, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum UndumpError {
    /// It is no JSON, or one of its lists is none.
    #[error("not the JSON of a config_dump: {0}")]
    Json(String),
    /// It is JSON of something else.
    #[error(
        "the JSON has none of `workloads`, `services` and `policies`: a config_dump is what a node proxy answers at /config_dump"
    )]
    NotADump,
}

/// What is wrong with one entry, which was left out or, where that is said, taken at its strictest.
#[derive(Clone, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum Problem {
    /// A value is not what it should be.
    #[error("{path}: got {got}, expected {expected}")]
    Value {
        /// Where, such as `workloads[3].workloadIps[0]`.
        path: String,
        /// What is there, as JSON.
        got: String,
        /// What would be right.
        expected: &'static str,
    },
    /// A value is not there.
    #[error("{path}: missing, expected {expected}")]
    Missing {
        /// Where it should be.
        path: String,
        /// What would be right.
        expected: &'static str,
    },
    /// Trust domain, namespace and service account make no identity.
    #[error("{path}: no SPIFFE identity: {cause}")]
    Identity {
        /// The entry.
        path: String,
        /// Why.
        cause: IdentityError,
    },
    /// The tables refuse the entry.
    #[error("{path}: {cause}")]
    Refused {
        /// The entry.
        path: String,
        /// Why.
        cause: MeshError,
    },
    /// A service lists an endpoint, and no workload has its uid.
    #[error("{path}: this endpoint is none of the dump's workloads")]
    NoWorkload {
        /// The endpoint.
        path: String,
    },
}

impl Problem {
    /// `wrong` in the value at `place`.
    pub(super) fn new(place: &str, wrong: Wrong) -> Self {
        let path = format!("{place}{}", wrong.path);
        match wrong.fault {
            Fault::Missing { expected } => Self::Missing { path, expected },
            Fault::Value { got, expected } => Self::Value { path, got, expected },
            Fault::Identity(cause) => Self::Identity { path, cause },
        }
    }
}
