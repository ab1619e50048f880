//! A tunnel: TLS session, HTTP/2 connection and CONNECT exchanges on one transport, without copying payload.
//!
//! Outbound, application octets are read into the payload areas of the records they will be; control frames and DATA
//! headers are laid between them, small frames share a record, and [`flush`](Tunnel::flush) seals everything in place,
//! once. Inbound, records are opened in place and applications are served from the read buffer itself; only what they do
//! not take at once is copied.
//!
//! The order of calls for a readable transport: [`lend_input`](Tunnel::lend_input), read,
//! [`handle_input`](Tunnel::handle_input), events, [`pieces`](Tunnel::pieces) and [`delivered`](Tunnel::delivered) for each
//! stream with data, [`settle`](Tunnel::settle). For a readable application: [`lend_data`](Tunnel::lend_data), read,
//! [`commit_data`](Tunnel::commit_data) with nothing in between. At the end of a turn: [`flush`](Tunnel::flush),
//! [`wire`](Tunnel::wire), write, [`handle_written`](Tunnel::handle_written).
use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;

use crate::buffer::BufferPool;
use crate::http2::{Connection, ErrorCode, StreamId, StreamMap};
use crate::identity::Identity;
use crate::time::Instant;
use crate::tls::{PeerChain, Session, Side};

mod batch;
mod config;
mod error;
mod event;
mod freeze;
mod inbox;
mod inward;
mod lend;
mod outbox;
mod outward;
mod pieces;
mod segment;
mod stream;
#[cfg(test)]
mod tests;

pub use config::TunnelConfig;
pub use error::TunnelError;
pub use event::TunnelEvent;
pub use lend::Lend;

use event::Note;
use inbox::Inbox;
use outbox::Outbox;
use pieces::Pieces;
use stream::Stream;

/// One tunnel, either side.
pub struct Tunnel {
    config: Arc<TunnelConfig>,
    session: Session,
    http2: Connection,
    streams: StreamMap<Stream>,
    outbox: Outbox,
    /// Control frames on their way from `http2` to the outbox.
    staged: Vec<u8>,
    inbox: Inbox,
    pieces: Pieces,
    /// Octets of memory in all backlogs.
    held: usize,
    notes: VecDeque<Note>,
    /// Streams with `blocked` set, in the order in which they were refused.
    blocked: VecDeque<StreamId>,
    life: Life,
    /// When something last happened; for answers that are given while events are translated.
    now: Instant,
}

/// How far a tunnel's life has come.
#[derive(Debug, Default, serde::Serialize, serde::Deserialize)]
struct Life {
    /// The peer said `close_notify`: what follows is ignored (RFC 8446 §6.1).
    ended: bool,
    /// The owner was told that the peer takes no new streams.
    going_away: bool,
    /// `close_notify` goes out behind what is queued.
    closing: bool,
    /// It has been queued.
    closed: bool,
    /// The end, told again to whoever goes on.
    #[serde(skip)]
    failed: Option<TunnelError>,
}

impl fmt::Debug for Tunnel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tunnel")
            .field("peer", &self.peer())
            .field("streams", &self.streams.len())
            .field("queued", &self.outbox.queued())
            .field("held", &self.held)
            .field("life", &self.life)
            .finish_non_exhaustive()
    }
}

impl Tunnel {
    /// A client on a transport that has just been connected.
    #[must_use]
    pub fn client(session: Session, config: Arc<TunnelConfig>, now: Instant) -> Self {
        let http2 = Connection::new(Side::Client, config.http2.clone(), now);
        Self::new(session, http2, config, now)
    }

    /// A server on a transport that has just been accepted.
    #[must_use]
    pub fn server(session: Session, config: Arc<TunnelConfig>, now: Instant) -> Self {
        let http2 = Connection::new(Side::Server, config.http2.clone(), now);
        Self::new(session, http2, config, now)
    }

    fn new(session: Session, http2: Connection, config: Arc<TunnelConfig>, now: Instant) -> Self {
        Self {
            config,
            session,
            http2,
            streams: StreamMap::default(),
            outbox: Outbox::default(),
            staged: Vec::new(),
            inbox: Inbox::new(),
            pieces: Pieces::default(),
            held: 0,
            notes: VecDeque::new(),
            blocked: VecDeque::new(),
            life: Life::default(),
            now,
        }
    }

    /// Takes no new streams and lets those there are end; `Drained` says when. A server says GOAWAY in two steps
    /// (RFC 9113 §6.8).
    pub fn drain(&mut self, now: Instant) {
        self.now = now;
        self.http2.drain(now);
    }

    /// Queues GOAWAY(`code`) and `close_notify`; flush, write, then close the transport.
    pub fn close(&mut self, now: Instant, code: ErrorCode) {
        self.now = now;
        self.http2.close(code);
        self.life.closing = true;
    }

    /// Ends the tunnel: says so to the peer if that is still possible.
    fn fail(&mut self, error: impl Into<TunnelError>) -> TunnelError {
        let error = error.into();
        self.life.closing = true;
        self.inbox.discard();
        if matches!(error, TunnelError::Tls(_)) {
            // Nothing but the alert may leave on a broken session.
            self.outbox.drop_plain();
            self.staged = Vec::new();
        }
        self.life.failed.get_or_insert(error).clone()
    }

    /// Its deadlines passed: PING or SETTINGS without an answer.
    ///
    /// # Errors
    ///
    /// The peer is dead; GOAWAY is queued.
    pub fn handle_timeout(&mut self, now: Instant) -> Result<(), TunnelError> {
        self.now = now;
        if let Some(error) = &self.life.failed {
            return Err(error.clone());
        }
        let nonce = self.session.nonce().map_err(|error| self.fail(error))?;
        let result = self.http2.handle_timeout(now, nonce);
        self.translate(0);
        result.map_err(|error| self.fail(error))
    }

    /// When to call [`handle_timeout`](Self::handle_timeout).
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        if self.life.failed.is_some() { None } else { self.http2.poll_timeout() }
    }

    /// What happened; drain after every `handle_*`, command and `flush`.
    pub fn poll_event(&mut self) -> Option<TunnelEvent> {
        loop {
            if self.notes.is_empty() {
                self.translate(0);
            }
            if let Some(event) = self.notes.pop_front()?.into_event(self.session.peer()) {
                return Some(event);
            }
        }
    }

    /// Whether [`poll_event`](Self::poll_event) may have something to tell.
    #[must_use]
    pub fn has_news(&self) -> bool {
        !self.notes.is_empty() || self.http2.has_events()
    }

    /// The verified peer, once TLS is complete.
    #[must_use]
    pub fn peer(&self) -> Option<&Identity> {
        self.session.peer()
    }

    /// As [`Session::take_peer_chain`].
    pub const fn take_peer_chain(&mut self) -> Option<Box<PeerChain>> {
        self.session.take_peer_chain()
    }

    /// Streams that are not closed.
    #[must_use]
    pub fn open_streams(&self) -> usize {
        self.http2.open_streams()
    }

    /// Octets of memory held for slow applications plus octets queued for the transport.
    #[must_use]
    pub fn buffered(&self) -> usize {
        self.held.saturating_add(self.pieces.octets()).saturating_add(self.outbox.queued())
    }

    /// Gives every buffer back (before dropping).
    pub fn release(&mut self, pool: &mut BufferPool) {
        self.outbox.clear(pool);
        self.pieces.drain().for_each(drop);
        self.inbox.clear(pool);
        for stream in self.streams.values_mut() {
            stream.lent = pieces::Chain::EMPTY;
            stream.backlog.clear(pool);
        }
        self.held = 0;
    }
}
