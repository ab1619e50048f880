//! The authority as files, made by whoever comes first.
//!
//! Processes take turns by a lock on a file beside. The key is written first and the root certificate last, each
//! complete under another name before it gets its own: a root certificate that can be seen has its key.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{ErrorKind, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;
use std::sync::Arc;

use zeroize::Zeroizing;

use super::{CaError, LocalCa, new_root};

/// The root certificate; whoever wants to look inside the mesh's TLS from outside needs it.
const ROOT: &str = "root-cert.pem";
const KEY: &str = "root-key.pem";
const LOCK: &str = ".lock";

pub(super) fn open(directory: &Path) -> Result<LocalCa, CaError> {
    let io = |action, path: &Path| {
        let path = path.to_path_buf();
        move |source| CaError::Io { action, path, source: Arc::new(source) }
    };
    DirBuilder::new().recursive(true).mode(0o700).create(directory).map_err(io("create", directory))?;
    refuse_mode(directory, 0o022, 0o700, "replace the CA")?;
    let lock = directory.join(LOCK);
    let turn = OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(&lock);
    let turn = turn.map_err(io("open", &lock))?;
    // Until `turn` is closed.
    turn.lock().map_err(io("lock", &lock))?;

    let (root_path, key_path) = (directory.join(ROOT), directory.join(KEY));
    if !root_path.try_exists().map_err(io("look for", &root_path))? {
        // A key alone is what an interrupted first use leaves: nothing was ever signed with it.
        let (root, key) = new_root("adit")?;
        write(&key_path, key.as_bytes()).map_err(io("write", &key_path))?;
        write(&root_path, root.as_bytes()).map_err(io("write", &root_path))?;
        File::open(directory).and_then(|d| d.sync_all()).map_err(io("sync", directory))?;
    }
    let root = std::fs::read(&root_path).map_err(io("read", &root_path))?;
    let key = match std::fs::read_to_string(&key_path) {
        Ok(key) => Zeroizing::new(key),
        Err(error) if error.kind() == ErrorKind::NotFound => return Err(CaError::KeyMissing(key_path)),
        Err(error) => return Err(io("read", &key_path)(error)),
    };
    refuse_mode(&key_path, 0o077, 0o600, "use the CA's key")?;
    let unusable = |reason| CaError::Unusable { path: directory.to_path_buf(), reason };
    let ca = LocalCa::new(root, &key).map_err(unusable)?;
    ca.check().map_err(unusable)?;
    Ok(ca)
}

/// Writes a file of mode 0600 so that nobody ever sees half of it.
fn write(path: &Path, contents: &[u8]) -> std::io::Result<()> {
    let partial = path.with_extension("partial");
    match std::fs::remove_file(&partial) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&partial)?;
    file.write_all(contents)?;
    file.sync_all()?;
    std::fs::rename(partial, path)
}

fn refuse_mode(path: &Path, forbidden: u32, wanted: u32, danger: &'static str) -> Result<(), CaError> {
    let path = path.to_path_buf();
    let mode = match std::fs::metadata(&path) {
        Ok(metadata) => metadata.permissions().mode() & 0o7777,
        Err(source) => return Err(CaError::Io { action: "look at", path, source: Arc::new(source) }),
    };
    if mode & forbidden == 0 { Ok(()) } else { Err(CaError::Permissions { path, mode, danger, wanted }) }
}
