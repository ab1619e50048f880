//! What a source of resources holds, whichever it is: a directory, or a cluster.
use std::sync::Arc;

use super::directory::{FileError, FileProblem};
use super::{Compiled, Objects, World, compile};

/// What a source holds.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// What its objects come to.
    pub compiled: Arc<Compiled>,
    /// The objects themselves.
    pub objects: Arc<Objects>,
    /// What is wrong with files of a directory.
    pub files: Vec<FileProblem>,
    /// What is wrong with what is watched of a cluster.
    pub sources: Vec<SourceProblem>,
}

/// Something of a cluster that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{of} {text}")]
pub struct SourceProblem {
    /// What is watched: a kind, or one object.
    pub of: String,
    /// What is wrong with it.
    pub text: String,
}

impl Loaded {
    /// Before anything is known.
    #[must_use]
    pub fn nothing(world: &World) -> Self {
        let objects = Objects::default();
        let compiled = Arc::new(compile(&objects, world));
        Self { compiled, objects: Arc::new(objects), files: Vec::new(), sources: Vec::new() }
    }

    /// Files of which nothing at all is known, as they cannot be read. Who starts with any does not know what they would forbid,
    /// and had better not start.
    pub fn unread(&self) -> impl Iterator<Item = &FileProblem> {
        self.files.iter().filter(|problem| {
            !problem.kept && matches!(problem.error, FileError::Read(_) | FileError::Document(_))
        })
    }
}
