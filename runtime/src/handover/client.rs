//! The new process: asks the one before it for its sockets.
use std::collections::BTreeMap;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::wire::{self, Answer, Question, VERSION};
use super::{Endpoint, HandoverError, Namespace};

/// How long the other process may take for each packet.
const PATIENCE: Duration = Duration::from_secs(2);
/// Packets of one answer: far more than a namespace has sockets.
const MAX_PACKETS: usize = 64;

/// The process that may have listened before this one.
#[derive(Clone, Debug)]
pub struct Predecessor {
    path: PathBuf,
    patience: Duration,
}

impl Predecessor {
    /// The one that is asked at `path`.
    #[must_use]
    pub fn at(path: &Path) -> Self {
        Self::patient(path, PATIENCE)
    }

    pub(super) fn patient(path: &Path, patience: Duration) -> Self {
        Self { path: path.to_owned(), patience }
    }

    /// Its sockets in `namespace`; none where there is no such process. Blocks for some seconds at most.
    ///
    /// # Errors
    /// Another user answers at the path, or what is answered makes no sense. Binding sockets of one's own is what is left.
    pub fn sockets(&self, namespace: Namespace) -> Result<Inherited, HandoverError> {
        let failed = |cause| HandoverError::Ask { path: self.path.clone(), cause };
        let socket = match wire::connect(&self.path) {
            Ok(socket) => socket,
            // Nobody has been there, or whoever was is gone.
            Err(error)
                if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused) =>
            {
                return Ok(Inherited::default());
            }
            Err(error) => return Err(failed(error)),
        };
        let (uid, own) = (wire::peer(&socket).map_err(failed)?, rustix::process::geteuid().as_raw());
        if uid != own {
            return Err(HandoverError::Stranger { path: self.path.clone(), uid, own });
        }
        let talk = || {
            wire::set_patience(&socket, self.patience)?;
            wire::send(&socket, &Question { version: VERSION, namespace }, &[])?;
            let mut inherited = Inherited::default();
            for _ in 0..MAX_PACKETS {
                let (answer, descriptors): (Answer, _) = wire::receive(&socket)?;
                if answer.version != VERSION || answer.endpoints.len() != descriptors.len() {
                    return Err(io::Error::new(io::ErrorKind::InvalidData, "it speaks another version"));
                }
                inherited.sockets.extend(answer.endpoints.into_iter().zip(descriptors));
                if answer.last {
                    return Ok(inherited);
                }
            }
            Err(io::Error::new(io::ErrorKind::InvalidData, "its answer has no end"))
        };
        talk().map_err(failed)
    }
}

/// Sockets of another process, to go on with. Those that are not taken are closed.
#[derive(Debug, Default)]
pub struct Inherited {
    sockets: BTreeMap<Endpoint, OwnedFd>,
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
