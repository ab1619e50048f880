//! The old process: gives its sockets to the one that comes next.
use std::fs;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use super::wire::{self, Answer, BATCH, Question, VERSION};
use super::{Endpoint, Estate, HandoverError};

/// Clients at a time: one is usual.
const MAX_TALKS: usize = 8;
/// The rest after a failed accept: what is lacking may be back by then.
const REST: Duration = Duration::from_millis(200);

/// A socket beside the path, which takes its place when everything is there to be given.
#[derive(Debug)]
pub struct Prepared {
    listener: OwnedFd,
    beside: PathBuf,
    path: PathBuf,
}

/// Makes the socket that a successor will meet at `path`; until it [serves](Prepared::serve), whoever answers there goes on to.
///
/// # Errors
/// The path's directory cannot be written to.
pub fn prepare(path: &Path) -> Result<Prepared, HandoverError> {
    let mut beside = path.as_os_str().to_owned();
    beside.push(format!(".{}", std::process::id()));
    let beside = PathBuf::from(beside);
    let listen = || {
        match fs::remove_file(&beside) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        wire::listen(&beside)
    };
    let listener = listen().map_err(|cause| HandoverError::Listen { path: path.to_owned(), cause })?;
    Ok(Prepared { listener, beside, path: path.to_owned() })
}

impl Prepared {
    /// Answers with what is in `estate`, on threads `adit-handover`, for as long as the process lives. Whoever answered at the
    /// path before is not met any more; at no moment is it nobody.
    ///
    /// # Errors
    /// The path cannot be taken, or no thread be started.
    pub fn serve(self, estate: Estate) -> Result<(), HandoverError> {
        let Self { listener, beside, path } = self;
        let failed = |cause| HandoverError::Listen { path: path.clone(), cause };
        fs::rename(beside, &path).map_err(failed)?;
        let thread = thread::Builder::new().name("adit-handover".to_owned());
        thread.spawn(move || answer_all(&listener, &estate)).map_err(failed)?;
        Ok(())
    }
}

/// One of the clients at a time.
struct Talk(Arc<AtomicUsize>);

impl Talk {
    /// `None`: there are too many.
    fn begin(talks: &Arc<AtomicUsize>) -> Option<Self> {
        let talk = Self(Arc::clone(talks));
        (talks.fetch_add(1, Ordering::AcqRel) < MAX_TALKS).then_some(talk)
    }
}

impl Drop for Talk {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

fn answer_all(listener: &OwnedFd, estate: &Estate) {
    let talks = Arc::new(AtomicUsize::new(0));
    loop {
        let Ok(client) = wire::accept(listener) else {
            thread::sleep(REST);
            continue;
        };
        // A successor that hangs does not keep away the one that is started in its place.
        let Some(one) = Talk::begin(&talks) else { continue };
        let estate = estate.clone();
        let spawned = thread::Builder::new().name("adit-handover".to_owned()).spawn(move || {
            let _one = one;
            if let Err(error) = talk(&client, &estate) {
                tracing::warn!(%error, "the proxy that comes next was not given the listening sockets");
            }
        });
        if let Err(error) = spawned {
            tracing::warn!(%error, "the proxy that comes next is not answered");
        }
    }
}

/// Answers one client until it goes.
fn talk(client: &OwnedFd, estate: &Estate) -> io::Result<()> {
    let (uid, own) = (wire::peer(client)?, rustix::process::geteuid().as_raw());
    if uid != own {
        return Err(io::Error::new(
            io::ErrorKind::PermissionDenied,
            format!("user {uid} asks for them, this proxy runs as user {own}"),
        ));
    }
    loop {
        let question: Question = match wire::receive(client) {
            Ok((question, _)) => question,
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(()),
            Err(error) => return Err(error),
        };
        // A question of another version is answered with nothing, in ours: the other side sees which that is.
        let sockets = if question.version == VERSION { estate.of(question.namespace) } else { Vec::new() };
        answer(client, &sockets)?;
        if !sockets.is_empty() {
            tracing::info!(
                sockets = sockets.len(),
                "listening sockets were given to the proxy that comes next"
            );
        }
    }
}

fn answer(client: &OwnedFd, sockets: &[(Endpoint, Arc<OwnedFd>)]) -> io::Result<()> {
    let mut batches = sockets.chunks(BATCH).peekable();
    loop {
        let batch = batches.next().unwrap_or_default();
        let (endpoints, descriptors): (_, Vec<_>) =
            batch.iter().map(|(endpoint, socket)| (*endpoint, socket.as_fd())).unzip();
        let last = batches.peek().is_none();
        wire::send(client, &Answer { version: VERSION, endpoints, last }, &descriptors)?;
        if last {
            return Ok(());
        }
    }
}
