//! What has changed in a directory between one look and the next, and whether who changes it is done.
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use crate::watch::Stamp;

/// The manifests of a directory, each with what tells its versions apart.
pub(super) type Look = BTreeMap<PathBuf, Stamp>;

/// Looks at a directory: files whose names end with `.yaml`, `.yml` or `.json`, through symbolic links. What is hidden is no
/// manifest, nor is what is in folders: Kubernetes keeps versions of a ConfigMap in hidden folders and exchanges one link.
pub(super) fn look(directory: &Path) -> io::Result<Look> {
    let mut files = Look::new();
    for entry in std::fs::read_dir(directory)? {
        let path = entry?.path();
        let hidden = path.file_name().is_none_or(|name| name.as_encoded_bytes().starts_with(b"."));
        let extension = path.extension().and_then(|extension| extension.to_str()).unwrap_or_default();
        if hidden || !matches!(extension, "yaml" | "yml" | "json") {
            continue;
        }
        match std::fs::metadata(&path) {
            Ok(metadata) if metadata.is_file() => {
                files.insert(path, Stamp::from(&metadata));
            }
            Ok(_) => {}
            // Removed since, or a link to nothing: not there.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    Ok(files)
}

/// One change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Change {
    /// A file is new, or another than it was.
    Written(PathBuf),
    /// It is not there any more.
    Removed(PathBuf),
}

/// What looks come to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Seen {
    /// All is as it was taken.
    Same,
    /// Somebody is at work: look again soon.
    Moving,
    /// These have changed, and two looks have seen the same.
    Changed(Vec<Change>),
}

/// Looks, compared.
#[derive(Debug, Default)]
pub(super) struct Looks {
    /// What is in use.
    taken: Look,
    /// What the look before saw.
    last: Option<Look>,
}

impl Looks {
    /// A look. A change is taken only when a second look sees the same: an editor may have written half of it.
    pub(super) fn handle_look(&mut self, now: Look) -> Seen {
        if now == self.taken {
            self.last = None;
            return Seen::Same;
        }
        if self.last.as_ref() != Some(&now) {
            self.last = Some(now);
            return Seen::Moving;
        }
        self.last = None;
        Seen::Changed(self.take(now))
    }

    /// Takes what there is, at once.
    pub(super) fn take(&mut self, now: Look) -> Vec<Change> {
        let gone = self.taken.keys().filter(|path| !now.contains_key(*path)).cloned().map(Change::Removed);
        let other = |(path, stamp): &(&PathBuf, &Stamp)| self.taken.get(*path) != Some(stamp);
        let written = now.iter().filter(other).map(|(path, _)| Change::Written(path.clone()));
        let changes = gone.chain(written).collect();
        self.taken = now;
        changes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_are_taken_when_two_looks_agree() {
        let directory = std::env::temp_dir().join(format!("adit-look-{}", std::process::id()));
        std::fs::create_dir_all(&directory).unwrap();
        let path = |name: &str| directory.join(name);
        let mut looks = Looks::default();
        std::fs::write(path("a.yaml"), "1").unwrap();
        std::fs::write(path("notes.txt"), "1").unwrap();
        std::fs::write(path(".hidden.yaml"), "1").unwrap();
        std::fs::create_dir_all(path("folder.yaml")).unwrap();
        let now = || look(&directory).unwrap();
        assert_eq!(looks.handle_look(now()), Seen::Moving);
        assert_eq!(looks.handle_look(now()), Seen::Changed(vec![Change::Written(path("a.yaml"))]));
        assert_eq!(looks.handle_look(now()), Seen::Same);
        // Written in two steps: the first is never taken.
        std::fs::write(path("b.json"), "12").unwrap();
        assert_eq!(looks.handle_look(now()), Seen::Moving);
        std::fs::write(path("b.json"), "123").unwrap();
        assert_eq!(looks.handle_look(now()), Seen::Moving);
        std::fs::remove_file(path("a.yaml")).unwrap();
        assert_eq!(looks.handle_look(now()), Seen::Moving);
        let changes = vec![Change::Removed(path("a.yaml")), Change::Written(path("b.json"))];
        assert_eq!(looks.handle_look(now()), Seen::Changed(changes));
        // There and away again: nothing has happened.
        std::fs::write(path("c.yml"), "1").unwrap();
        assert_eq!(looks.handle_look(now()), Seen::Moving);
        std::fs::remove_file(path("c.yml")).unwrap();
        assert_eq!(looks.handle_look(now()), Seen::Same);
        std::fs::remove_dir_all(&directory).unwrap();
        assert_eq!(look(&directory).unwrap_err().kind(), io::ErrorKind::NotFound);
    }

    // As the kubelet does it: files are links into `..data`, which is a link to a folder, and is exchanged.
    #[test]
    fn a_config_map_that_is_exchanged_is_a_change_of_all_its_files() {
        let directory = std::env::temp_dir().join(format!("adit-look-map-{}", std::process::id()));
        std::fs::create_dir_all(&directory).unwrap();
        let version = |name: &str, text: &str| {
            std::fs::create_dir_all(directory.join(name)).unwrap();
            std::fs::write(directory.join(name).join("a.yaml"), text).unwrap();
            std::os::unix::fs::symlink(name, directory.join("..tmp")).unwrap();
            std::fs::rename(directory.join("..tmp"), directory.join("..data")).unwrap();
        };
        version("..1", "one");
        std::os::unix::fs::symlink("..data/a.yaml", directory.join("a.yaml")).unwrap();
        let written = vec![Change::Written(directory.join("a.yaml"))];
        let mut looks = Looks::default();
        assert_eq!(looks.take(look(&directory).unwrap()), written);
        version("..2", "two");
        assert_eq!(looks.take(look(&directory).unwrap()), written);
        assert_eq!(looks.take(look(&directory).unwrap()), vec![]);
        std::fs::remove_dir_all(&directory).unwrap();
    }
}
