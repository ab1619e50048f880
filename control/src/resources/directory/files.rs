//! The objects of several files: a file that is bad keeps what was good of it.
use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::super::documents::{self, DocumentError};
use super::super::problem::{Problem, Severity};
use super::super::{Object, Objects, World, compile};

/// Why a file has not the effect that it says.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FileError {
    /// It cannot be read.
    #[error("cannot be read: {0}")]
    Read(String),
    /// It is no file of manifests.
    #[error(transparent)]
    Document(#[from] DocumentError),
    /// An object in it is malformed.
    #[error("{}", Lines(.0))]
    Malformed(Vec<Problem>),
    /// An object of the same name is in another file.
    #[error("{object} is also in {}, which counts: give one of the two another name or remove it", .other.display())]
    Twice {
        /// The object.
        object: String,
        /// The file whose object counts.
        other: PathBuf,
    },
}

struct Lines<'a>(&'a [Problem]);

impl fmt::Display for Lines<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut first = true;
        self.0.iter().try_for_each(|problem| {
            let before = if std::mem::take(&mut first) { "" } else { "; " };
            write!(f, "{before}{problem}")
        })
    }
}

/// A file and what is wrong with it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}: {error}{}", .file.display(), if *.kept { " (what was good of it before stays)" } else { "" })]
pub struct FileProblem {
    /// The file.
    pub file: PathBuf,
    /// What is wrong.
    pub error: FileError,
    /// Whether an earlier version of the file is in use instead.
    pub kept: bool,
}

/// The files of a directory.
#[derive(Debug, Default)]
pub(super) struct Files {
    good: BTreeMap<PathBuf, Vec<Arc<Object>>>,
    bad: BTreeMap<PathBuf, FileProblem>,
}

impl Files {
    /// A file has these contents, or cannot be read.
    ///
    /// Objects that a cluster would refuse refuse the whole file if an earlier version of it was good. Otherwise, as at the
    /// start, they count: what is malformed in them then fails as translators see to it, and never in silence.
    pub(super) fn handle_written(&mut self, path: &Path, contents: Result<String, String>, world: &World) {
        self.bad.remove(path);
        let read = contents.map_err(FileError::Read).and_then(|text| {
            let json = path.extension().is_some_and(|extension| extension == "json");
            Ok(documents::read(&text, json)?)
        });
        let kept = self.good.contains_key(path);
        let (objects, error) = match read {
            Ok(objects) => {
                let objects: Vec<_> = objects.into_iter().map(Arc::new).collect();
                let malformed = malformed(&objects, world);
                (Some(objects), (!malformed.is_empty()).then_some(FileError::Malformed(malformed)))
            }
            Err(error) => (None, Some(error)),
        };
        let bad = error.is_some();
        if let Some(error) = error {
            self.bad.insert(path.into(), FileProblem { file: path.into(), error, kept });
        }
        if let Some(objects) = objects.filter(|_| !(bad && kept)) {
            self.good.insert(path.into(), objects);
        }
    }

    /// A file is not there any more.
    pub(super) fn handle_removed(&mut self, path: &Path) {
        self.good.remove(path);
        self.bad.remove(path);
    }

    /// All objects, and all that is wrong with files. Of two objects with one name that of the first file by name counts.
    pub(super) fn objects(&self) -> (Objects, Vec<FileProblem>) {
        let mut problems: Vec<_> = self.bad.values().cloned().collect();
        let mut owners: BTreeMap<_, &PathBuf> = BTreeMap::new();
        let mut objects = Objects::default();
        for (path, object) in
            self.good.iter().flat_map(|(path, all)| all.iter().map(move |object| (path, object)))
        {
            if let Some(other) = owners.get(&object.id()) {
                let error = FileError::Twice { object: object.id().to_string(), other: (*other).clone() };
                problems.push(FileProblem { file: path.clone(), error, kept: false });
                continue;
            }
            owners.insert(object.id(), path);
            objects.insert(Arc::clone(object));
        }
        (objects, problems)
    }
}

/// What a cluster would refuse of these objects.
fn malformed(objects: &[Arc<Object>], world: &World) -> Vec<Problem> {
    let alone: Objects = objects.iter().cloned().collect();
    let problems = compile(&alone, world).problems.into_iter();
    problems.filter(|problem| problem.severity == Severity::Malformed).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "{apiVersion: v1, kind: Service, metadata: {name: a}, spec: {ports: [{port: 80}]}}";
    const MALFORMED: &str =
        "{apiVersion: v1, kind: Service, metadata: {name: b}, spec: {ports: [{port: web}]}}";

    fn state(files: &Files) -> (Vec<String>, Vec<String>) {
        let (objects, problems) = files.objects();
        let names = objects.iter().map(|object| object.id().to_string());
        (names.collect(), problems.iter().map(ToString::to_string).collect())
    }

    fn write(files: &mut Files, path: &str, text: &str) {
        files.handle_written(Path::new(path), Ok(text.to_owned()), &World::new("ns", "waypoint"));
    }

    #[test]
    fn a_file_that_turns_bad_keeps_what_was_good_of_it() {
        let mut files = Files::default();
        write(&mut files, "a.yaml", GOOD);
        let good = vec!["Service default/a".to_owned()];
        assert_eq!(state(&files), (good.clone(), vec![]));
        for (bad, said) in [("kind: [", "document 1"), (MALFORMED, "spec.ports[0].port")] {
            write(&mut files, "a.yaml", bad);
            let (names, problems) = state(&files);
            assert_eq!(names, good);
            let [problem] = &problems[..] else { panic!("{problems:?}") };
            assert!(
                problem.starts_with("a.yaml: ") && problem.contains(said) && problem.ends_with("stays)"),
                "{problem}"
            );
        }
        files.handle_written(Path::new("a.yaml"), Err("denied".to_owned()), &World::new("ns", "waypoint"));
        assert_eq!(state(&files).1, ["a.yaml: cannot be read: denied (what was good of it before stays)"]);
        write(&mut files, "a.yaml", "");
        assert_eq!(state(&files), (vec![], vec![]));
        files.handle_removed(Path::new("a.yaml"));
        assert_eq!(state(&files), (vec![], vec![]));
    }

    #[test]
    fn at_the_start_malformed_objects_count_and_are_told() {
        let mut files = Files::default();
        write(&mut files, "a.yaml", MALFORMED);
        let (names, problems) = state(&files);
        assert_eq!((names.len(), problems.len()), (1, 1));
        write(&mut files, "b.yaml", "kind: [");
        assert_eq!(state(&files).1.len(), 2);
    }

    #[test]
    fn of_two_objects_of_one_name_the_first_files_counts_and_both_files_are_named() {
        let mut files = Files::default();
        write(&mut files, "b.yaml", GOOD);
        write(&mut files, "a.yaml", GOOD);
        let (names, problems) = state(&files);
        assert_eq!(names.len(), 1);
        let [problem] = &problems[..] else { panic!("{problems:?}") };
        assert!(problem.starts_with("b.yaml: Service default/a is also in a.yaml"), "{problem}");
        files.handle_removed(Path::new("a.yaml"));
        assert_eq!(state(&files), (vec!["Service default/a".to_owned()], vec![]));
    }
}
