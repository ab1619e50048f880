//! Files that others replace: asked now and then, read only when something about them has changed.

use std::fs::Metadata;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How often files are looked at.
pub const INTERVAL: Duration = Duration::from_secs(2);

/// What tells one version of a file from the next without reading it. Kubernetes exchanges a symbolic link, so the
/// inode behind the path changes; an editor may keep it and change the time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stamp {
    device: u64,
    inode: u64,
    length: u64,
    seconds: i64,
    nanos: i64,
}

impl Stamp {
    /// The stamp of what `path` leads to.
    pub(crate) fn of(path: &Path) -> io::Result<Self> {
        std::fs::metadata(path).map(|metadata| Self::from(&metadata))
    }
}

impl From<&Metadata> for Stamp {
    fn from(metadata: &Metadata) -> Self {
        Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            length: metadata.len(),
            seconds: metadata.ctime(),
            nanos: metadata.ctime_nsec(),
        }
    }
}

/// One file.
#[derive(Debug)]
pub(crate) struct Watched {
    path: PathBuf,
    stamp: Option<Stamp>,
    contents: Option<Vec<u8>>,
}

impl Watched {
    /// Nothing is read yet.
    pub(crate) const fn new(path: PathBuf) -> Self {
        Self { path, stamp: None, contents: None }
    }

    /// What is watched.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The contents if they are others than the last time; `None` when they are the same. An error is told again and
    /// again, so that whoever asks sees the file coming back.
    pub(crate) fn poll(&mut self) -> io::Result<Option<&[u8]>> {
        let stamp = Stamp::of(&self.path)?;
        if self.stamp == Some(stamp) {
            return Ok(None);
        }
        let contents = std::fs::read(&self.path)?;
        // Were it replaced while it was read, its stamp would differ the next time.
        self.stamp = Some(stamp);
        if self.contents.as_ref() == Some(&contents) {
            return Ok(None);
        }
        Ok(Some(self.contents.insert(contents)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_are_seen_once() {
        let directory = std::env::temp_dir().join(format!("adit-watch-{}", std::process::id()));
        std::fs::create_dir_all(&directory).unwrap();
        let path = directory.join("file");
        let mut watched = Watched::new(path.clone());
        assert_eq!(watched.poll().unwrap_err().kind(), io::ErrorKind::NotFound);
        std::fs::write(&path, "one").unwrap();
        assert_eq!(watched.poll().unwrap(), Some(&b"one"[..]));
        assert_eq!(watched.poll().unwrap(), None);
        // As Kubernetes does it: another file under the same name. The same contents are no change.
        for (text, seen) in [("two", Some(&b"two"[..])), ("two", None)] {
            std::fs::write(directory.join("next"), text).unwrap();
            std::fs::rename(directory.join("next"), &path).unwrap();
            assert_eq!(watched.poll().unwrap(), seen);
        }
        std::fs::remove_dir_all(&directory).unwrap();
        assert!(watched.poll().is_err());
    }
}
