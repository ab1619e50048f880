//! `ADIT_RECORD`: one file per shard, readable by its owner only.
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use adit_core::proxy::{LocalWorkload, Shard};
use adit_core::time::WallClock;
use adit_runtime::record::{Header, Recorder};

use crate::instance::StartError;

/// The files, opened before any shard starts: that one cannot be had is a startup error.
pub(crate) struct Recordings {
    files: Mutex<Vec<Option<File>>>,
    about: String,
    clock: Arc<WallClock>,
}

impl Recordings {
    /// Makes `directory` and in it `shard-N.adit-record` for each of `count` shards of `workload`, or of many. None is ever
    /// overwritten.
    pub(crate) fn create(
        directory: &Path,
        workload: Option<&LocalWorkload>,
        count: usize,
        clock: Arc<WallClock>,
    ) -> Result<Self, StartError> {
        let failed = |path: PathBuf| |error| StartError::Record { path, error };
        fs::create_dir_all(directory).map_err(failed(directory.to_owned()))?;
        let file = |index| {
            let path = directory.join(format!("shard-{index}.adit-record"));
            let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path);
            file.map(Some).map_err(failed(path))
        };
        let files = (0..count).map(file).collect::<Result<_, _>>()?;
        let whose = workload.map_or_else(|| "pods".to_owned(), ToString::to_string);
        let about = format!("adit-node {}: {whose}", env!("CARGO_PKG_VERSION"));
        Ok(Self { files: Mutex::new(files), about, clock })
    }

    /// Records `shard`.
    pub(crate) fn record(
        &self,
        index: usize,
        seed: u64,
        shard: Shard,
    ) -> io::Result<Recorder<Shard, BufWriter<File>>> {
        let mut files = self.files.lock().unwrap_or_else(PoisonError::into_inner);
        let file = files.get_mut(index).and_then(Option::take).ok_or(io::ErrorKind::NotFound)?;
        drop(files);
        let header = Header { seed, about: self.about.clone() };
        Recorder::new(shard, BufWriter::new(file), Arc::clone(&self.clock), &header).map_err(io::Error::other)
    }
}
