//! A directory that is removed with its owner.
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use super::{HarnessError, Result};

static NEXT: AtomicU32 = AtomicU32::new(0);

/// A directory of our own under the system's temporary one.
#[derive(Debug)]
pub struct Scratch {
    path: PathBuf,
}

impl Scratch {
    /// Makes one.
    ///
    /// # Errors
    /// The system refuses.
    pub fn new() -> Result<Self> {
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("adit-test-{}-{number}", std::process::id()));
        fs::create_dir_all(&path).map_err(HarnessError::io(format!("making {}", path.display())))?;
        Ok(Self { path })
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Writes a file into it and says where.
    ///
    /// # Errors
    /// The system refuses.
    pub fn write(&self, name: &str, text: &str) -> Result<PathBuf> {
        let path = self.path.join(name);
        fs::write(&path, text).map_err(HarnessError::io(format!("writing {}", path.display())))?;
        Ok(path)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // A leftover in the temporary directory is not worth hiding a test's own failure.
        let _ = fs::remove_dir_all(&self.path);
    }
}
