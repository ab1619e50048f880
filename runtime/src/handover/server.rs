//! The old process: gives its sockets to the one that comes next.
use std::fs;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::thread;
use std::time::Duration;

use super::wire::{self, Answer, BATCH, Question, VERSION};
use super::{Estate, HandoverError};

/// How long a client may take for each packet, while others wait.
const PATIENCE: Duration = Duration::from_secs(2);
/// The rest after a failed accept: what is lacking may be back by then.
const REST: Duration = Duration::from_millis(200);

/// Answers at `path` with what is in `estate`, on a thread `adit-handover`, for as long as the process lives. Whoever answered
/// there before is not asked any more.
///
/// # Errors
/// The path cannot be listened on, or no thread be started.
pub fn serve(path: &Path, estate: Estate) -> Result<(), HandoverError> {
    let failed = |cause| HandoverError::Listen { path: path.to_owned(), cause };
    let listener = listen(path).map_err(failed)?;
    let thread = thread::Builder::new().name("adit-handover".to_owned());
    thread.spawn(move || answer_all(&listener, &estate)).map_err(failed)?;
    Ok(())
}

/// Listens beside the path and then takes its place: at no moment does nobody answer.
fn listen(path: &Path) -> io::Result<OwnedFd> {
    let mut beside = path.as_os_str().to_owned();
    beside.push(format!(".{}", std::process::id()));
    let beside = Path::new(&beside);
    match fs::remove_file(beside) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = wire::listen(beside)?;
    fs::set_permissions(beside, fs::Permissions::from_mode(0o600))?;
    fs::rename(beside, path)?;
    Ok(listener)
}

fn answer_all(listener: &OwnedFd, estate: &Estate) {
    loop {
        let answered = wire::accept(listener).inspect_err(|_| thread::sleep(REST));
        if let Err(error) = answered.and_then(|client| answer(&client, estate)) {
            tracing::warn!(%error, "the proxy that comes next was not given the listening sockets");
        }
    }
}

fn answer(client: &OwnedFd, estate: &Estate) -> io::Result<()> {
    let (uid, own) = (wire::peer(client)?, rustix::process::geteuid().as_raw());
    if uid != own {
        return Err(io::Error::new(
            io::ErrorKind::PermissionDenied,
            format!("user {uid} asks for them, this proxy runs as user {own}"),
        ));
    }
    wire::set_patience(client, PATIENCE)?;
    let (question, _): (Question, _) = wire::receive(client)?;
    // A question of another version is answered with nothing, in ours: the other side sees which that is.
    let sockets = if question.version == VERSION { estate.of(question.namespace) } else { Vec::new() };
    let mut batches = sockets.chunks(BATCH).peekable();
    loop {
        let batch = batches.next().unwrap_or_default();
        let (endpoints, descriptors) =
            batch.iter().map(|(endpoint, socket)| (*endpoint, socket.as_fd())).unzip();
        let descriptors: Vec<_> = descriptors;
        let last = batches.peek().is_none();
        wire::send(client, &Answer { version: VERSION, endpoints, last }, &descriptors)?;
        if last {
            tracing::info!(
                sockets = sockets.len(),
                "listening sockets were given to the proxy that comes next"
            );
            return Ok(());
        }
    }
}
