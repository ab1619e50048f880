//! Replays a shard's recording ([`adit_runtime::record`]) on a fresh shard, call by call, and compares what it answers.
use std::io::{IoSliceMut, Read};
use std::sync::Arc;

use adit_core::identity::Identity;
use adit_core::mesh::{Mesh, ServiceName};
use adit_core::proxy::{LocalWorkload, ProxyId, SocketId};
use adit_core::route::Towards;
use adit_core::time::{Instant, UnixTime, WallClock};
use adit_core::tls::{Credentials, RecordMode, Revocations, TlsContext, TlsPorts, TlsSettings};
use adit_runtime::Engine;
use adit_runtime::record::{
    Call, Certificate, Digest, Entry, Header, Reader, RecordError, listener_of, replaying, tapped,
};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};

/// Why a replay came to nothing.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReplayError {
    /// The recording cannot be read.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// The shard did something else than the one that was recorded.
    #[error(
        "entry {at} ({call:?}) had another outcome than in the recording: is it the same build, configuration and mesh?"
    )]
    Diverged {
        /// The number of the entry, from 0.
        at: u64,
        /// What was called.
        call: Box<Call>,
    },
    /// More tables came than the replay was given.
    #[error("entry {at} brings new tables, and the replay was not given them")]
    NoMesh {
        /// The number of the entry, from 0.
        at: u64,
    },
}

/// A replay to the end of its recording.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Replayed {
    /// How many calls it made.
    pub calls: u64,
    /// The digest of all answers.
    pub digest: Digest,
}

/// Makes an engine with `make` and repeats on it what `recording` holds. `meshes` are the tables that came later, in
/// order; those of the beginning are `make`'s to know.
///
/// # Errors
/// The recording is damaged, or the engine does something else.
pub fn replay<E: Engine>(
    recording: impl Read,
    make: impl FnOnce(&Header) -> E,
    meshes: impl IntoIterator<Item = Arc<Mesh>>,
) -> Result<Replayed, ReplayError> {
    let reader = Reader::new(recording)?;
    let clock = Arc::new(WallClock::default());
    let ports = TlsPorts {
        provider: tapped(&adit_runtime::crypto::provider()),
        aead: adit_runtime::crypto::aead(),
        clock: Arc::clone(&clock),
    };
    let mut replay = Replay {
        engine: make(reader.header()),
        ports,
        now: Instant::ZERO,
        digest: Digest::default(),
        meshes: meshes.into_iter(),
    };
    let mut calls = 0;
    for entry in reader {
        let Entry { after, clock: time, call, draws, digest } = entry?;
        replay.now = Instant::from_nanos(replay.now.as_nanos().saturating_add(after));
        if let Some(time) = time {
            clock.set(UnixTime(time));
        }
        let (known, left) = replaying(draws, || replay.call(&call));
        if !known {
            return Err(ReplayError::NoMesh { at: calls });
        }
        if left > 0 || replay.digest.short() != digest {
            return Err(ReplayError::Diverged { at: calls, call: Box::new(call) });
        }
        calls += 1;
    }
    Ok(Replayed { calls, digest: replay.digest })
}

struct Replay<E, M> {
    engine: E,
    ports: TlsPorts,
    now: Instant,
    digest: Digest,
    meshes: M,
}

impl<E: Engine, M: Iterator<Item = Arc<Mesh>>> Replay<E, M> {
    /// Makes one call; false when it needs tables that there are none of.
    fn call(&mut self, call: &Call) -> bool {
        let (now, engine) = (self.now, &mut self.engine);
        match call {
            Call::Accepted { proxy, listener, peer, local, original } => {
                // A number that is none has no outcome, and so is found to differ.
                if let Some(listener) = listener_of(*listener) {
                    let socket =
                        engine.handle_accepted(now, ProxyId(*proxy), listener, *peer, *local, *original);
                    self.digest.result(&socket);
                }
                return true;
            }
            Call::Connect { workload, port, service, target, client } => {
                let service = service.as_ref().map(|[namespace, hostname]| ServiceName {
                    namespace: namespace.as_str().into(),
                    hostname: hostname.as_str().into(),
                });
                let (workload, target, client) = (workload.as_str().into(), *target, *client);
                let to = Towards { workload, port: *port, service, target, client };
                self.digest.result(&engine.handle_connect(now, &to));
                return true;
            }
            Call::Connected { socket } => engine.handle_connected(now, (*socket).into()),
            Call::Error { socket, error } => engine.handle_error(now, (*socket).into(), (*error).into()),
            Call::Lend { socket, octets } => {
                let lent = engine.lend((*socket).into(), |areas| fill(areas, octets));
                self.digest.result(&lent);
                return true;
            }
            Call::Read { socket, n } => engine.handle_read(now, (*socket).into(), count(*n)),
            Call::Eof { socket } => engine.handle_eof(now, (*socket).into()),
            Call::PollUrgent => {
                self.digest.result(&engine.poll_urgent());
                return true;
            }
            Call::PollDeferred => {
                self.digest.result(&engine.poll_deferred(now));
                return true;
            }
            Call::Written { socket, n } => self.written((*socket).into(), count(*n)),
            Call::WriteBlocked { socket } => engine.handle_write_blocked(now, (*socket).into()),
            Call::Writable { socket } => engine.handle_writable(now, (*socket).into()),
            Call::Timeout => engine.handle_timeout(now),
            Call::Mesh => match self.meshes.next() {
                Some(mesh) => engine.handle_mesh(now, mesh),
                None => return false,
            },
            Call::Certificate { identity, answer } => {
                if let Ok(identity) = identity.parse::<Identity>() {
                    let answer = match answer {
                        Ok(certificate) => context(&self.ports, &identity, certificate),
                        Err(text) => Err(Arc::from(text.as_str())),
                    };
                    engine.handle_certificate(now, &identity, answer);
                }
            }
            Call::Resolved { ticket, answer } => {
                engine.handle_resolved(now, (*ticket).into(), answer.clone().map_err(Into::into));
            }
            Call::Demanded { ticket, answer } => {
                engine.handle_demanded(now, (*ticket).into(), answer.clone().map_err(Into::into));
            }
            Call::AddProxy { id, local: [namespace, name, service_account] } => {
                let [namespace, name, service_account] =
                    [namespace, name, service_account].map(|part| Arc::from(part.as_str()));
                engine.add_proxy(now, ProxyId(*id), LocalWorkload { namespace, name, service_account });
            }
            Call::RemoveProxy { id } => engine.remove_proxy(now, ProxyId(*id)),
            Call::Drain => engine.drain(now),
            Call::Terminate => engine.terminate(now),
            Call::PollAction => {
                if let Some(action) = engine.poll_action() {
                    self.digest.result(&action);
                }
                return true;
            }
            Call::PollObserved => {
                if let Some(observed) = engine.poll_observed() {
                    self.digest.result(&observed);
                }
                return true;
            }
        }
        self.digest.result(&());
        true
    }

    fn written(&mut self, socket: SocketId, n: usize) {
        let mut left = n;
        for slice in self.engine.wire(socket) {
            let written = slice.get(..left).unwrap_or(slice);
            self.digest.octets(written);
            left -= written.len();
        }
        self.engine.handle_written(self.now, socket, n);
    }
}

/// Puts `octets` into `areas`; returns the room there was.
fn fill(areas: &mut [IoSliceMut<'_>], mut octets: &[u8]) -> usize {
    let mut room = 0;
    for area in areas {
        let (now, later) = octets.split_at(area.len().min(octets.len()));
        area[..now.len()].copy_from_slice(now);
        octets = later;
        room += area.len();
    }
    room
}

fn count(n: u64) -> usize {
    usize::try_from(n).unwrap_or(usize::MAX)
}

/// The recorded certificate. It needs no key, since its signatures are in the recording.
fn context(ports: &TlsPorts, identity: &Identity, of: &Certificate) -> Result<Arc<TlsContext>, Arc<str>> {
    let certificates = |der: &[Vec<u8>]| der.iter().cloned().map(CertificateDer::from).collect();
    let credentials = Credentials {
        identity: identity.clone(),
        chain: certificates(&of.chain),
        key: PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(Vec::new())),
        roots: certificates(&of.roots),
    };
    let settings = TlsSettings {
        mode: if of.rustls_records { RecordMode::Rustls } else { RecordMode::InPlace },
        key_update_after: of.key_update_after,
        ..TlsSettings::default()
    };
    let context =
        TlsContext::with_settings(ports.clone(), credentials, settings).map_err(|error| error.to_string())?;
    let lists = match &of.revocations {
        None => return Ok(context),
        Some(Ok(octets)) => Revocations::parse(octets).map_err(|error| error.to_string())?,
        Some(Err(reason)) => Revocations::missing(reason.as_str().into()),
    };
    Ok(context.with_revocations(Arc::new(lists)))
}
