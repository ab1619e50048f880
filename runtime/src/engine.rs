//! The shard as the drive loop sees it.
use std::io::IoSliceMut;
use std::net::SocketAddr;
use std::sync::Arc;

use adit_core::identity::Identity;
use adit_core::mesh::Mesh;
use adit_core::proxy::{
    Action, Listener, LocalWorkload, Observed, ProxyId, Shard, SocketError, SocketId, Ticket,
};
use adit_core::route::Towards;
use adit_core::time::Instant;
use adit_core::tls::TlsContext;
use smallvec::SmallVec;

use crate::answers::{DemandAnswer, NameAnswer};

/// The most slices in one vectored read or write.
pub const MAX_SLICES: usize = 64;

/// The I/O contract of [`Shard`], method for method (see there), as a trait: so that a recorder can stand between the
/// loop and the shard, and so that the loop can be tested with a scripted engine.
pub trait Engine {
    /// See [`Shard::handle_accepted`].
    fn handle_accepted(
        &mut self,
        now: Instant,
        proxy: ProxyId,
        listener: Listener,
        peer: SocketAddr,
        local: SocketAddr,
        original: SocketAddr,
    ) -> Option<SocketId>;
    /// See [`Shard::handle_connect`].
    fn handle_connect(&mut self, now: Instant, to: &Towards) -> Option<SocketId>;
    /// See [`Shard::handle_connected`].
    fn handle_connected(&mut self, now: Instant, socket: SocketId);
    /// See [`Shard::handle_error`].
    fn handle_error(&mut self, now: Instant, socket: SocketId, error: SocketError);
    /// Calls `read` with what [`Shard::lend`] lends; `None` when it lends nothing.
    fn lend<T>(&mut self, socket: SocketId, read: impl FnOnce(&mut [IoSliceMut<'_>]) -> T) -> Option<T>;
    /// See [`Shard::handle_read`].
    fn handle_read(&mut self, now: Instant, socket: SocketId, n: usize);
    /// See [`Shard::handle_eof`].
    fn handle_eof(&mut self, now: Instant, socket: SocketId);
    /// See [`Shard::poll_urgent`].
    fn poll_urgent(&mut self) -> Option<SocketId>;
    /// See [`Shard::poll_deferred`].
    fn poll_deferred(&mut self, now: Instant) -> Option<SocketId>;
    /// See [`Shard::wire`].
    fn wire(&self, socket: SocketId) -> impl Iterator<Item = &[u8]>;
    /// See [`Shard::handle_written`].
    fn handle_written(&mut self, now: Instant, socket: SocketId, n: usize);
    /// See [`Shard::handle_write_blocked`].
    fn handle_write_blocked(&mut self, now: Instant, socket: SocketId);
    /// See [`Shard::handle_writable`].
    fn handle_writable(&mut self, now: Instant, socket: SocketId);
    /// See [`Shard::handle_timeout`].
    fn handle_timeout(&mut self, now: Instant);
    /// See [`Shard::handle_mesh`].
    fn handle_mesh(&mut self, now: Instant, mesh: Arc<Mesh>);
    /// See [`Shard::handle_certificate`].
    fn handle_certificate(
        &mut self,
        now: Instant,
        identity: &Identity,
        answer: Result<Arc<TlsContext>, Arc<str>>,
    );
    /// See [`Shard::handle_resolved`].
    fn handle_resolved(&mut self, now: Instant, ticket: Ticket, answer: NameAnswer);
    /// See [`Shard::handle_demanded`].
    fn handle_demanded(&mut self, now: Instant, ticket: Ticket, answer: DemandAnswer);
    /// See [`Shard::add_proxy`].
    fn add_proxy(&mut self, now: Instant, id: ProxyId, local: LocalWorkload);
    /// See [`Shard::remove_proxy`].
    fn remove_proxy(&mut self, now: Instant, id: ProxyId);
    /// See [`Shard::drain`].
    fn drain(&mut self, now: Instant);
    /// See [`Shard::terminate`].
    fn terminate(&mut self, now: Instant);
    /// See [`Shard::poll_action`].
    fn poll_action(&mut self) -> Option<Action>;
    /// See [`Shard::poll_observed`].
    fn poll_observed(&mut self) -> Option<Observed>;
    /// See [`Shard::poll_timeout`].
    fn poll_timeout(&self) -> Option<Instant>;
}

impl Engine for Shard {
    fn handle_accepted(
        &mut self,
        now: Instant,
        proxy: ProxyId,
        listener: Listener,
        peer: SocketAddr,
        local: SocketAddr,
        original: SocketAddr,
    ) -> Option<SocketId> {
        Self::handle_accepted(self, now, proxy, listener, peer, local, original)
    }

    fn handle_connect(&mut self, now: Instant, to: &Towards) -> Option<SocketId> {
        Self::handle_connect(self, now, to)
    }

    fn handle_connected(&mut self, now: Instant, socket: SocketId) {
        Self::handle_connected(self, now, socket);
    }

    fn handle_error(&mut self, now: Instant, socket: SocketId, error: SocketError) {
        Self::handle_error(self, now, socket, error);
    }

    fn lend<T>(&mut self, socket: SocketId, read: impl FnOnce(&mut [IoSliceMut<'_>]) -> T) -> Option<T> {
        let mut lent = Self::lend(self, socket)?;
        let mut areas: SmallVec<[IoSliceMut<'_>; MAX_SLICES]> =
            lent.iter_mut().take(MAX_SLICES).map(IoSliceMut::new).collect();
        Some(read(&mut areas))
    }

    fn handle_read(&mut self, now: Instant, socket: SocketId, n: usize) {
        Self::handle_read(self, now, socket, n);
    }

    fn handle_eof(&mut self, now: Instant, socket: SocketId) {
        Self::handle_eof(self, now, socket);
    }

    fn poll_urgent(&mut self) -> Option<SocketId> {
        Self::poll_urgent(self)
    }

    fn poll_deferred(&mut self, now: Instant) -> Option<SocketId> {
        Self::poll_deferred(self, now)
    }

    fn wire(&self, socket: SocketId) -> impl Iterator<Item = &[u8]> {
        Self::wire(self, socket)
    }

    fn handle_written(&mut self, now: Instant, socket: SocketId, n: usize) {
        Self::handle_written(self, now, socket, n);
    }

    fn handle_write_blocked(&mut self, now: Instant, socket: SocketId) {
        Self::handle_write_blocked(self, now, socket);
    }

    fn handle_writable(&mut self, now: Instant, socket: SocketId) {
        Self::handle_writable(self, now, socket);
    }

    fn handle_timeout(&mut self, now: Instant) {
        Self::handle_timeout(self, now);
    }

    fn handle_mesh(&mut self, now: Instant, mesh: Arc<Mesh>) {
        Self::handle_mesh(self, now, mesh);
    }

    fn handle_certificate(
        &mut self,
        now: Instant,
        identity: &Identity,
        answer: Result<Arc<TlsContext>, Arc<str>>,
    ) {
        Self::handle_certificate(self, now, identity, answer);
    }

    fn handle_resolved(&mut self, now: Instant, ticket: Ticket, answer: NameAnswer) {
        Self::handle_resolved(self, now, ticket, answer);
    }

    fn handle_demanded(&mut self, now: Instant, ticket: Ticket, answer: DemandAnswer) {
        Self::handle_demanded(self, now, ticket, answer);
    }

    fn add_proxy(&mut self, now: Instant, id: ProxyId, local: LocalWorkload) {
        Self::add_proxy(self, now, id, local);
    }

    fn remove_proxy(&mut self, now: Instant, id: ProxyId) {
        Self::remove_proxy(self, now, id);
    }

    fn drain(&mut self, now: Instant) {
        Self::drain(self, now);
    }

    fn terminate(&mut self, now: Instant) {
        Self::terminate(self, now);
    }

    fn poll_action(&mut self) -> Option<Action> {
        Self::poll_action(self)
    }

    fn poll_observed(&mut self) -> Option<Observed> {
        Self::poll_observed(self)
    }

    fn poll_timeout(&self) -> Option<Instant> {
        Self::poll_timeout(self)
    }
}
