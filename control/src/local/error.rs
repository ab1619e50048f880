//! What can be wrong with a local file, in words that lead to the spot.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use adit_core::identity::IdentityError;
use adit_core::mesh::MeshError;

/// Why a file gave no mesh.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LocalError {
    /// It cannot be read.
    #[error("cannot read the local configuration {}: {source}", file.display())]
    Read {
        /// The file.
        file: PathBuf,
        /// Why.
        source: Arc<std::io::Error>,
    },
    /// It is no YAML, or has unknown keys, or values of the wrong type.
    #[error("{}: {message}", file.display())]
    Syntax {
        /// The file.
        file: PathBuf,
        /// What the parser says, with path, line and column.
        message: String,
    },
    /// Values make no sense, or ask for what is not supported yet.
    #[error("{}: {}", file.display(), Lines(problems))]
    Invalid {
        /// The file.
        file: PathBuf,
        /// One per entry that has any.
        problems: Vec<Problem>,
    },
    /// Each entry is fine, but not all of them together.
    #[error("{}: {source}", file.display())]
    Inconsistent {
        /// The file.
        file: PathBuf,
        /// What does not fit.
        source: MeshError,
    },
}

/// What is wrong with one entry.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Problem {
    /// A value makes no sense.
    #[error("{entry}: {field}: got {got:?}, expected {expected}")]
    Value {
        /// Where.
        entry: Entry,
        /// The field, with indexes, such as `workloadIps[1]`.
        field: String,
        /// What was there.
        got: String,
        /// What would be right.
        expected: &'static str,
    },
    /// A text is no SPIFFE identity.
    #[error("{entry}: {field}: {got:?} is no identity: {source}")]
    Identity {
        /// Where.
        entry: Entry,
        /// The field or fields.
        field: String,
        /// What was there, or what they make together.
        got: String,
        /// Why.
        source: IdentityError,
    },
    /// Fields ask for what Adit cannot do yet; ignoring them would send traffic elsewhere than the file says.
    #[error("{entry}: not supported yet: {}; remove it to go on without", fields.join(", "))]
    Unsupported {
        /// Where.
        entry: Entry,
        /// The fields, such as `waypoint`.
        fields: Vec<&'static str>,
    },
}

/// One entry of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    list: &'static str,
    /// From 0.
    position: usize,
    name: String,
}

impl Entry {
    pub(super) fn workload(position: usize, name: &str) -> Self {
        Self { list: "workloads", position, name: name.to_owned() }
    }

    pub(super) fn service(position: usize, name: &str) -> Self {
        Self { list: "services", position, name: name.to_owned() }
    }

    pub(super) fn policy(position: usize, name: &str) -> Self {
        Self { list: "policies", position, name: name.to_owned() }
    }

    /// A value of this entry that makes no sense.
    pub(super) fn value(
        &self,
        field: impl Into<String>,
        got: impl ToString,
        expected: &'static str,
    ) -> Problem {
        Problem::Value { entry: self.clone(), field: field.into(), got: got.to_string(), expected }
    }

    /// A text that is no identity.
    pub(super) fn identity(&self, field: &str, got: impl ToString, source: IdentityError) -> Problem {
        Problem::Identity { entry: self.clone(), field: field.to_owned(), got: got.to_string(), source }
    }

    /// An error unless all of the named fields are absent.
    pub(super) fn unsupported(&self, fields: &[(&'static str, bool)]) -> Result<(), Problem> {
        let fields: Vec<_> = fields.iter().filter(|(_, present)| *present).map(|(field, _)| *field).collect();
        if fields.is_empty() { Ok(()) } else { Err(Problem::Unsupported { entry: self.clone(), fields }) }
    }
}

impl fmt::Display for Entry {
    /// Such as `workloads[0] (echo)`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}[{}]", self.list, self.position)?;
        if self.name.is_empty() { Ok(()) } else { write!(f, " ({})", self.name) }
    }
}

/// One problem stays on the line, several get one each.
struct Lines<'a>(&'a [Problem]);

impl fmt::Display for Lines<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let [problem] = self.0 {
            return problem.fmt(f);
        }
        write!(f, "{} problems", self.0.len())?;
        self.0.iter().try_for_each(|problem| write!(f, "\n  {problem}"))
    }
}
