//! A tunnel as versioned data, for another process to go on with (design D11).
use alloc::collections::VecDeque;
use alloc::sync::Arc;
use alloc::vec::Vec;

use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::batch::Batch;
use super::event::Note;
use super::stream::{State, Stream};
use super::{Life, Tunnel, TunnelConfig, TunnelError};
use crate::buffer::BufferPool;
use crate::http2::{Connection, StreamId};
use crate::time::Instant;
use crate::tls::{FrozenSession, MAX_RECORD, Session, TlsError, TlsPorts};

/// The first octet of a frozen tunnel; goes up when the meaning of what follows changes.
const VERSION: u8 = 2;
/// Room for everything but payload, so that the octets with the keys are not moved while they grow.
const ROOM: usize = 16 << 10;

/// All that a tunnel is. Chunks become plain octets: where records begin and end is not part of the state, save for
/// sealed ones, which are kept as they are and never sealed again.
#[derive(Serialize, Deserialize)]
struct Frozen {
    session: FrozenSession,
    http2: Connection,
    sealed: Vec<u8>,
    plain: Vec<u8>,
    remainder: Vec<u8>,
    input: Batch,
    streams: Vec<FrozenStream>,
    notes: VecDeque<Note>,
    blocked: VecDeque<StreamId>,
    life: Life,
}

#[derive(Serialize, Deserialize)]
struct FrozenStream {
    stream: StreamId,
    state: State,
    undelivered: Vec<u8>,
}

impl Tunnel {
    /// Everything as versioned octets, between any two calls. It takes the tunnel, because going on in two places would use
    /// nonces twice; all buffers go back, also on failure. The octets hold keys: keep them from disks and logs.
    ///
    /// # Errors
    ///
    /// `Tls` while the handshake runs or when rustls protects the records; the error that ended the tunnel if one has.
    pub fn freeze(mut self, pool: &mut BufferPool) -> Result<Zeroizing<Vec<u8>>, TunnelError> {
        let room = ROOM.saturating_add(self.buffered());
        let streams = self.streams.iter().map(|(stream, entry)| FrozenStream {
            stream,
            state: entry.state,
            undelivered: self.undelivered(stream),
        });
        let streams = streams.collect();
        let (sealed, mut plain) = self.outbox.contents();
        plain.append(&mut self.staged);
        let remainder = self.inbox.remainder().to_vec();
        self.release(pool);
        if let Some(error) = self.life.failed {
            return Err(error);
        }
        let frozen = Frozen {
            session: self.session.freeze()?,
            http2: self.http2,
            sealed,
            plain,
            remainder,
            input: self.inbox.batch(),
            streams,
            notes: self.notes,
            blocked: self.blocked,
            life: self.life,
        };
        let mut bytes = Vec::with_capacity(room);
        bytes.push(VERSION);
        postcard::to_extend(&frozen, bytes).map(Zeroizing::new).map_err(|_| TunnelError::Frozen)
    }

    /// Goes on where a tunnel was frozen; `now` is this process' clock.
    ///
    /// # Errors
    ///
    /// `Frozen` for octets of another version or no frozen tunnel at all, `Tls` when the ports lack its cipher suite.
    pub fn thaw(
        bytes: &[u8],
        config: Arc<TunnelConfig>,
        ports: &TlsPorts,
        now: Instant,
        pool: &mut BufferPool,
    ) -> Result<Self, TunnelError> {
        Self::resume(bytes, |session| Session::thaw(session, ports), config, now, pool)
    }

    /// [`thaw`](Self::thaw) for a tunnel over a symbolic session.
    ///
    /// # Errors
    ///
    /// As [`thaw`](Self::thaw).
    pub fn thaw_symbolic(
        bytes: &[u8],
        config: Arc<TunnelConfig>,
        now: Instant,
        pool: &mut BufferPool,
    ) -> Result<Self, TunnelError> {
        Self::resume(bytes, Session::thaw_symbolic, config, now, pool)
    }

    fn resume(
        bytes: &[u8],
        session: impl FnOnce(FrozenSession) -> Result<Session, TlsError>,
        config: Arc<TunnelConfig>,
        now: Instant,
        pool: &mut BufferPool,
    ) -> Result<Self, TunnelError> {
        let Some((&VERSION, bytes)) = bytes.split_first() else { return Err(TunnelError::Frozen) };
        let Ok((frozen, [])) = postcard::take_from_bytes::<Frozen>(bytes) else {
            return Err(TunnelError::Frozen);
        };
        if frozen.remainder.len() > MAX_RECORD {
            return Err(TunnelError::Frozen);
        }
        let mut http2 = frozen.http2;
        http2.rebase(now);
        let mut tunnel = Self::new(session(frozen.session)?, http2, config, now);
        tunnel.outbox.push_sealed(&frozen.sealed, pool);
        tunnel.outbox.append(&frozen.plain, pool);
        tunnel.inbox.restore(&frozen.remainder, frozen.input, pool);
        for FrozenStream { stream, state, undelivered } in frozen.streams {
            let mut entry = Stream { state, ..Stream::new() };
            entry.backlog.append(&undelivered, pool);
            tunnel.held = tunnel.held.saturating_add(entry.backlog.held());
            tunnel.streams.insert(stream, entry);
        }
        (tunnel.notes, tunnel.blocked, tunnel.life) = (frozen.notes, frozen.blocked, frozen.life);
        Ok(tunnel)
    }
}
