//! Resources from a directory of manifests, and what becomes of them as it is edited.
mod files;
mod look;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rustix::fs::inotify;
use tokio::net::unix::pipe::Receiver;
use tokio::sync::watch;

use self::files::Files;
pub use self::files::{FileError, FileProblem};
use self::look::{Change, Looks, Seen, look};
pub use super::loaded::Loaded;
use super::{World, compile};

/// How long after a change it is seen whether it goes on.
const SETTLING: Duration = Duration::from_millis(20);
/// How often a directory is looked at without being told of a change: for file systems that do not tell.
const INTERVAL: Duration = Duration::from_secs(2);

/// A directory of manifests (`*.yaml`, `*.yml`, `*.json`; folders in it are not entered).
#[derive(Debug)]
pub struct Directory {
    path: PathBuf,
    world: World,
    looks: Looks,
    files: Files,
}

impl Directory {
    /// Reads a directory for the waypoint that `world` says.
    ///
    /// # Errors
    /// The directory cannot be read. What is wrong with files is told in [`Loaded`].
    pub fn open(path: &Path, world: World) -> io::Result<(Self, Loaded)> {
        let mut this = Self { path: path.into(), world, looks: Looks::default(), files: Files::default() };
        let changes = this.looks.take(look(path)?);
        this.apply(changes);
        let loaded = this.loaded();
        Ok((this, loaded))
    }

    fn apply(&mut self, changes: Vec<Change>) {
        for change in changes {
            match change {
                Change::Written(path) => {
                    let contents = std::fs::read_to_string(&path).map_err(|error| error.to_string());
                    self.files.handle_written(&path, contents, &self.world);
                }
                Change::Removed(path) => self.files.handle_removed(&path),
            }
        }
    }

    fn loaded(&self) -> Loaded {
        let (objects, files) = self.files.objects();
        let compiled = Arc::new(compile(&objects, &self.world));
        Loaded { compiled, objects: Arc::new(objects), files, sources: Vec::new() }
    }

    /// Looks once. What was written while a file was read is seen by the next look, as its stamp differs then.
    fn look(&mut self) -> io::Result<(Seen, Option<Loaded>)> {
        let seen = self.looks.handle_look(look(&self.path)?);
        let Seen::Changed(changes) = seen else { return Ok((seen, None)) };
        self.apply(changes);
        Ok((Seen::Same, Some(self.loaded())))
    }

    /// Watches the directory and sends what it holds whenever that has changed, until nobody listens any more. A directory
    /// that cannot be read leaves everything as it was; the log says so.
    pub async fn watch(mut self, sender: watch::Sender<Loaded>) {
        let events = events(&self.path)
            .inspect_err(|error| {
                tracing::debug!(
                    "{}: changes are looked for every {INTERVAL:?}, as the system does not tell: {error}",
                    self.path.display()
                );
            })
            .ok();
        let mut readable = true;
        // What has changed since it was opened, the system tells nobody.
        self.settle(&sender, &mut readable).await;
        loop {
            tokio::select! {
                () = sender.closed() => return,
                () = told(events.as_ref()) => {}
                () = tokio::time::sleep(INTERVAL) => {}
            }
            self.settle(&sender, &mut readable).await;
        }
    }

    /// Looks until nobody is at work, and sends what is new. `readable`: whether the last look saw anything.
    async fn settle(&mut self, sender: &watch::Sender<Loaded>, readable: &mut bool) {
        loop {
            match self.look() {
                Ok((seen, loaded)) => {
                    *readable = true;
                    if let Some(loaded) = loaded {
                        loaded.files.iter().for_each(|problem| tracing::warn!("{problem}"));
                        sender.send_replace(loaded);
                    }
                    if seen != Seen::Moving {
                        return;
                    }
                    tokio::time::sleep(SETTLING).await;
                }
                Err(error) => {
                    if std::mem::take(readable) {
                        let path = self.path.display();
                        tracing::warn!("{path}: cannot be read, everything stays as it was: {error}");
                    }
                    return;
                }
            }
        }
    }
}

/// Makes the system tell of what is done in a directory. Its descriptor is read as a pipe is: what comes out is not looked at.
fn events(path: &Path) -> io::Result<Receiver> {
    let events = inotify::init(inotify::CreateFlags::CLOEXEC | inotify::CreateFlags::NONBLOCK)?;
    let kinds = inotify::WatchFlags::CLOSE_WRITE
        | inotify::WatchFlags::MOVE
        | inotify::WatchFlags::CREATE
        | inotify::WatchFlags::DELETE
        | inotify::WatchFlags::ATTRIB;
    inotify::add_watch(&events, path, kinds)?;
    Receiver::from_owned_fd_unchecked(events)
}

/// Waits until something has been done; what it was, a look will see.
async fn told(events: Option<&Receiver>) {
    let Some(events) = events else { return std::future::pending().await };
    let mut buffer = [0; 4096];
    let Ok(()) = events.readable().await else { return std::future::pending().await };
    // All of them, so that the next one is news.
    while events.try_read(&mut buffer).is_ok_and(|length| length > 0) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    fn service(name: &str) -> String {
        format!("{{apiVersion: v1, kind: Service, metadata: {{name: {name}}}}}\n")
    }

    #[test]
    fn edits_of_a_directory_are_told_and_bad_ones_keep_what_was() {
        let directory = std::env::temp_dir().join(format!("adit-directory-{}", std::process::id()));
        std::fs::create_dir_all(&directory).unwrap();
        std::fs::write(directory.join("a.yaml"), service("a")).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let (opened, first) = Directory::open(&directory, World::new("ns", "waypoint")).unwrap();
            assert!(first.objects.get("", "Service", "default", "a").is_some());
            let (sender, mut receiver) = watch::channel(first);
            let task = tokio::spawn(opened.watch(sender));
            let write = |name: &str, text: &str| {
                std::fs::write(directory.join(".next"), text).unwrap();
                std::fs::rename(directory.join(".next"), directory.join(name)).unwrap();
            };
            write("b.json", r#"{"apiVersion": "v1", "kind": "Service", "metadata": {"name": "b"}}"#);
            let both = receiver.wait_for(|loaded| loaded.objects.iter().count() == 2).await.unwrap();
            assert!(both.files.is_empty());
            drop(both);
            write("a.yaml", "kind: [");
            let bad = receiver.wait_for(|loaded| !loaded.files.is_empty()).await.unwrap().clone();
            assert_eq!(bad.objects.iter().count(), 2);
            assert!(bad.files[0].kept && bad.files[0].file.ends_with("a.yaml"));
            assert_eq!(bad.unread().count(), 0);
            std::fs::remove_file(directory.join("b.json")).unwrap();
            write("a.yaml", &service("c"));
            let good = |loaded: &Loaded| {
                loaded.files.is_empty() && loaded.objects.get("", "Service", "default", "c").is_some()
            };
            let end = receiver.wait_for(|loaded| good(loaded) && loaded.objects.iter().count() == 1).await;
            drop(end.unwrap());
            drop(receiver);
            task.await.unwrap();
        });
        std::fs::write(directory.join("a.yaml"), "kind: [").unwrap();
        let (_, unread) = Directory::open(&directory, World::new("ns", "waypoint")).unwrap();
        assert_eq!(unread.unread().count(), 1);
        std::fs::remove_dir_all(&directory).unwrap();
        assert!(Directory::open(&directory, World::new("ns", "waypoint")).is_err());
    }
}
