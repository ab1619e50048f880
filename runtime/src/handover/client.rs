//! The new process: asks the one before it for its sockets.
use std::collections::BTreeMap;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use adit_core::inpod::NetnsId;

use super::wire::{self, Answer, Question, VERSION};
use super::{Endpoint, HandoverError};

/// How long the other process may take for each packet; a namespace's sockets are one.
const PATIENCE: Duration = Duration::from_secs(1);
/// Packets of one answer: far more than a namespace has sockets.
const MAX_PACKETS: usize = 64;

/// The process that listened before this one. Clones share the conversation with it.
#[derive(Clone, Debug)]
pub struct Predecessor {
    path: PathBuf,
    /// Until it breaks off.
    talk: Arc<Mutex<Option<OwnedFd>>>,
}

impl Predecessor {
    /// Whoever answers at `path` now, if anybody does. The conversation lasts: it is this process that others meet there once
    /// it [serves](super::Prepared::serve).
    ///
    /// # Errors
    /// Another user answers at the path, or it is no such path.
    pub fn meet(path: &Path) -> Result<Self, HandoverError> {
        Self::meet_patiently(path, PATIENCE)
    }

    pub(super) fn meet_patiently(path: &Path, patience: Duration) -> Result<Self, HandoverError> {
        let failed = |cause| HandoverError::Ask { path: path.to_owned(), cause };
        let talk = match wire::connect(path, patience) {
            Ok(socket) => Some(socket),
            // Nobody has been there, or whoever was is gone.
            Err(error)
                if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused) =>
            {
                None
            }
            Err(error) => return Err(failed(error)),
        };
        if let Some(socket) = &talk {
            let (uid, own) = (wire::peer(socket).map_err(failed)?, rustix::process::geteuid().as_raw());
            if uid != own {
                return Err(HandoverError::Stranger { path: path.to_owned(), uid, own });
            }
        }
        Ok(Self { path: path.to_owned(), talk: Arc::new(Mutex::new(talk)) })
    }

    /// Its sockets in `namespace`; none where there is no such process any more. Blocks for some seconds at most.
    ///
    /// # Errors
    /// What is answered makes no sense, or comes too late; it is not asked again. Binding sockets of one's own is what is left.
    pub fn sockets(&self, namespace: NetnsId) -> Result<Inherited, HandoverError> {
        let mut talk = self.talk.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(socket) = &*talk else { return Ok(Inherited::default()) };
        let answered = ask(socket, namespace);
        match answered {
            Ok(inherited) => Ok(inherited),
            Err(cause) => {
                *talk = None;
                let ended =
                    [io::ErrorKind::UnexpectedEof, io::ErrorKind::BrokenPipe, io::ErrorKind::ConnectionReset];
                if ended.contains(&cause.kind()) {
                    return Ok(Inherited::default());
                }
                Err(HandoverError::Ask { path: self.path.clone(), cause })
            }
        }
    }
}

fn ask(socket: &OwnedFd, namespace: NetnsId) -> io::Result<Inherited> {
    wire::send(socket, &Question { version: VERSION, namespace }, &[])?;
    let mut inherited = Inherited::default();
    for _ in 0..MAX_PACKETS {
        let (answer, descriptors): (Answer, _) = wire::receive(socket)?;
        if answer.version != VERSION || answer.endpoints.len() != descriptors.len() {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "it speaks another version"));
        }
        inherited.sockets.extend(answer.endpoints.into_iter().zip(descriptors));
        if answer.last {
            return Ok(inherited);
        }
    }
    Err(io::Error::new(io::ErrorKind::InvalidData, "its answer has no end"))
}

/// Sockets of another process, to go on with. Those that are not taken are closed.
#[derive(Debug, Default)]
pub struct Inherited {
    sockets: BTreeMap<Endpoint, OwnedFd>,
}

impl FromIterator<(Endpoint, OwnedFd)> for Inherited {
    fn from_iter<I: IntoIterator<Item = (Endpoint, OwnedFd)>>(sockets: I) -> Self {
        Self { sockets: sockets.into_iter().collect() }
    }
}

impl Inherited {
    /// The socket that is `endpoint`, once.
    pub fn take(&mut self, endpoint: Endpoint) -> Option<OwnedFd> {
        self.sockets.remove(&endpoint)
    }

    /// Whether there is none (left).
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.sockets.is_empty()
    }
}
