//! What is said of resources in a cluster: conditions and their reasons (waypoint.md §10.14). Pure values; who writes them is
//! somebody else.
use std::fmt;
use std::sync::Arc;

use super::problem::ObjectName;

/// A condition's type.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ConditionKind {
    /// Whether it has an effect.
    Accepted,
    /// Whether all is there that it refers to.
    ResolvedRefs,
    /// Whether a part of it is refused; is only there if so.
    PartiallyInvalid,
}

/// A condition's reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reason {
    /// It counts.
    Accepted,
    /// Everything is there.
    ResolvedRefs,
    /// The parent is none that routes can attach to.
    NoMatchingParent,
    /// A value is none that we can honour.
    UnsupportedValue,
    /// Filters that cannot be together.
    IncompatibleFilters,
    /// Another object goes before it.
    Conflicted,
    /// A reference is to a kind that can be none.
    InvalidKind,
    /// A backend is not there.
    BackendNotFound,
    /// A target of a policy is not there.
    TargetNotFound,
    /// No valid certificate of an authority was found.
    NoValidCaCertificate,
    /// A reference to a certificate of an authority leads nowhere.
    InvalidCaCertificateRef,
    /// A listener is none that a waypoint has.
    UnsupportedProtocol,
    /// It makes no sense as a whole.
    Invalid,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Accepted => "Accepted",
            Self::ResolvedRefs => "ResolvedRefs",
            Self::NoMatchingParent => "NoMatchingParent",
            Self::UnsupportedValue => "UnsupportedValue",
            Self::IncompatibleFilters => "IncompatibleFilters",
            Self::Conflicted => "Conflicted",
            Self::InvalidKind => "InvalidKind",
            Self::BackendNotFound => "BackendNotFound",
            Self::TargetNotFound => "TargetNotFound",
            Self::NoValidCaCertificate => "NoValidCACertificate",
            Self::InvalidCaCertificateRef => "InvalidCACertificateRef",
            Self::UnsupportedProtocol => "UnsupportedProtocol",
            Self::Invalid => "Invalid",
        })
    }
}

impl fmt::Display for ConditionKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Accepted => "Accepted",
            Self::ResolvedRefs => "ResolvedRefs",
            Self::PartiallyInvalid => "PartiallyInvalid",
        })
    }
}

/// A condition.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Condition {
    /// Its type.
    pub kind: ConditionKind,
    /// Whether it holds.
    pub holds: bool,
    /// Why.
    pub reason: Reason,
    /// For people; may be empty.
    pub message: String,
}

/// A parent of a route or the target of a policy, as it was written and completed.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ParentRef {
    /// The object.
    pub object: ObjectName,
    /// `sectionName`.
    pub section: Option<Arc<str>>,
    /// `port`.
    pub port: Option<u16>,
}

/// What is said of an object, for one of its parents or targets if it has any.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// The object.
    pub object: ObjectName,
    /// Which edit of it.
    pub generation: i64,
    /// For which parent.
    pub parent: Option<ParentRef>,
    /// What is said, each type once.
    pub conditions: Vec<Condition>,
}

impl Status {
    /// The condition of a type.
    #[must_use]
    pub fn condition(&self, kind: ConditionKind) -> Option<&Condition> {
        self.conditions.iter().find(|condition| condition.kind == kind)
    }

    /// Says something in place of what was said of the same type.
    pub(super) fn set(&mut self, condition: Condition) {
        self.conditions.retain(|known| known.kind != condition.kind);
        self.conditions.push(condition);
    }
}
