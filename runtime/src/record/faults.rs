//! Ids and errors of the core as a recording holds them.
use std::sync::Arc;
use std::time::Duration;

use adit_core::dns::NameError;
use adit_core::proxy::{SocketError, SocketId, Ticket, Unanswered};
use serde::{Deserialize, Serialize};

/// A [`SocketId`] or a [`Ticket`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Id(u32, u32);

impl From<SocketId> for Id {
    fn from(id: SocketId) -> Self {
        Self(id.index, id.generation)
    }
}

impl From<Ticket> for Id {
    fn from(ticket: Ticket) -> Self {
        Self(ticket.index, ticket.generation)
    }
}

impl From<Id> for Ticket {
    fn from(id: Id) -> Self {
        Self { index: id.0, generation: id.1 }
    }
}

impl From<Id> for SocketId {
    fn from(id: Id) -> Self {
        Self { index: id.0, generation: id.1 }
    }
}

/// A [`SocketError`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum SocketFault {
    /// See [`SocketError::Reset`].
    Reset,
    /// See [`SocketError::Refused`].
    Refused,
    /// See [`SocketError::TimedOut`].
    TimedOut,
    /// See [`SocketError::Unreachable`].
    Unreachable,
    /// See [`SocketError::Other`].
    Other(i32),
}

impl From<SocketError> for SocketFault {
    fn from(error: SocketError) -> Self {
        match error {
            SocketError::Reset => Self::Reset,
            SocketError::Refused => Self::Refused,
            SocketError::TimedOut => Self::TimedOut,
            SocketError::Unreachable => Self::Unreachable,
            SocketError::Other(errno) => Self::Other(errno),
        }
    }
}

impl From<SocketFault> for SocketError {
    fn from(fault: SocketFault) -> Self {
        match fault {
            SocketFault::Reset => Self::Reset,
            SocketFault::Refused => Self::Refused,
            SocketFault::TimedOut => Self::TimedOut,
            SocketFault::Unreachable => Self::Unreachable,
            SocketFault::Other(errno) => Self::Other(errno),
        }
    }
}

/// A [`NameError`], by its place in the list below; one that this version does not know is none of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct NameFault(u8);

/// All name errors, in the order of their numbers in a recording.
const NAME_ERRORS: [NameError; 8] = [
    NameError::GivenUp,
    NameError::NoResolver,
    NameError::Invalid,
    NameError::NotFound,
    NameError::NoAddress,
    NameError::ServerFailure,
    NameError::TimedOut,
    NameError::Busy,
];

impl From<NameError> for NameFault {
    fn from(error: NameError) -> Self {
        Self((0..).zip(NAME_ERRORS).find(|(_, other)| *other == error).map_or(0, |(number, _)| number))
    }
}

impl From<NameFault> for NameError {
    fn from(fault: NameFault) -> Self {
        NAME_ERRORS.get(usize::from(fault.0)).copied().unwrap_or(Self::GivenUp)
    }
}

/// An [`Unanswered`].
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum DemandFault {
    /// See [`Unanswered::NoSource`].
    NoSource,
    /// See [`Unanswered::Refused`].
    Refused(String),
    /// See [`Unanswered::Rejected`].
    Rejected,
    /// See [`Unanswered::TimedOut`].
    TimedOut(Duration),
    /// See [`Unanswered::Full`].
    Full,
    /// See [`Unanswered::GivenUp`], or one that this version does not know.
    GivenUp,
}

impl From<Unanswered> for DemandFault {
    fn from(error: Unanswered) -> Self {
        match error {
            Unanswered::NoSource => Self::NoSource,
            Unanswered::Refused(text) => Self::Refused(text.to_string()),
            Unanswered::Rejected => Self::Rejected,
            Unanswered::TimedOut(after) => Self::TimedOut(after),
            Unanswered::Full => Self::Full,
            _ => Self::GivenUp,
        }
    }
}

impl From<DemandFault> for Unanswered {
    fn from(fault: DemandFault) -> Self {
        match fault {
            DemandFault::NoSource => Self::NoSource,
            DemandFault::Refused(text) => Self::Refused(Arc::from(text)),
            DemandFault::Rejected => Self::Rejected,
            DemandFault::TimedOut(after) => Self::TimedOut(after),
            DemandFault::Full => Self::Full,
            DemandFault::GivenUp => Self::GivenUp,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_recorded_comes_back() {
        for error in NAME_ERRORS {
            assert_eq!(NameError::from(NameFault::from(error)), error);
        }
        let others = [
            Unanswered::NoSource,
            Unanswered::Refused("why".into()),
            Unanswered::Rejected,
            Unanswered::TimedOut(Duration::from_secs(5)),
            Unanswered::Full,
            Unanswered::GivenUp,
        ];
        for error in others {
            assert_eq!(Unanswered::from(DemandFault::from(error.clone())), error);
        }
        let ticket = Ticket { index: 3, generation: 4 };
        assert_eq!(Ticket::from(Id::from(ticket)), ticket);
    }
}
