//! What is wrong with a resource, or not supported: by object and field, in words that tell what to do.
use std::fmt;
use std::sync::Arc;

use adit_core::l7::{Kind, RouteId};

/// Names an object.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectName {
    /// Its API group; empty for core.
    pub group: Arc<str>,
    /// Its kind.
    pub kind: Arc<str>,
    /// Its namespace; empty for what has none.
    pub namespace: Arc<str>,
    /// Its name.
    pub name: Arc<str>,
}

impl ObjectName {
    /// The name of the rules that this object, a route of `kind`, comes to.
    pub(super) fn route(&self, kind: Kind) -> RouteId {
        RouteId { kind, namespace: Arc::clone(&self.namespace), name: Arc::clone(&self.name) }
    }
}

impl fmt::Display for ObjectName {
    /// Such as `HTTPRoute shop/canary`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &*self.namespace {
            "" => write!(f, "{} {}", self.kind, self.name),
            namespace => write!(f, "{} {namespace}/{}", self.kind, self.name),
        }
    }
}

/// What a problem means for what was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// It has an effect, though maybe not the one that was meant.
    Note,
    /// It loses to another object, which is named.
    Conflict,
    /// Something that it refers to is not there.
    Unresolved,
    /// It asks for what Adit cannot do.
    Unsupported,
    /// It is no value that the API knows: a cluster would refuse it. A file with such an object does not replace a good one.
    Malformed,
}

/// Something wrong with an object.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, thiserror::Error)]
#[error("{object}: {field}: {text}")]
pub struct Problem {
    /// The object.
    pub object: ObjectName,
    /// The field, from the top of the document: `spec.rules[0].filters[1].type`.
    pub field: String,
    /// What is wrong and what would be right.
    pub text: String,
    /// What it means.
    pub severity: Severity,
}

/// Problems, as they are found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Problems(Vec<Problem>);

impl Problems {
    /// One more.
    pub fn push(
        &mut self,
        object: ObjectName,
        field: impl Into<String>,
        severity: Severity,
        text: impl Into<String>,
    ) {
        self.0.push(Problem { object, field: field.into(), text: text.into(), severity });
    }

    /// Those that were found.
    pub fn iter(&self) -> impl Iterator<Item = &Problem> {
        self.0.iter()
    }

    /// How many there are: to see whether something has found any.
    #[must_use]
    pub const fn count(&self) -> usize {
        self.0.len()
    }

    /// All of them, in order of their objects and each once.
    #[must_use]
    pub fn into_sorted(mut self) -> Vec<Problem> {
        self.0.sort();
        self.0.dedup();
        self.0
    }
}
