//! A tunnel: TLS session, HTTP/2 connection and CONNECT exchanges on one transport, without copying payload.
use alloc::sync::Arc;

use super::{Baggage, ConnectRequest, ConnectResponse, RequestError};
use crate::buffer::BufferPool;
use crate::http2::{self, ErrorCode, Initiator, OpenError, StreamId};
use crate::identity::Identity;
use crate::time::Instant;
use crate::tls::Session;

#[derive(Clone, Debug)]
pub struct TunnelConfig {
    pub http2: http2::Config,
    /// Most records per batch read from an application (design D6): 63.
    pub max_batch: usize,
    /// Most wire octets queued for the transport before application reads pause.
    pub max_queued: usize,
    /// Most received octets held for slow applications before the stream that holds most is reset.
    pub max_held: usize,
}
impl TunnelConfig {
    pub fn client() -> Self {
        todo!()
    }
    pub fn server() -> Self {
        todo!()
    }
}
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TunnelEvent {
    /// TLS complete; the peer is known.
    Established {
        peer: Identity,
    },
    /// The peer's SETTINGS (first: the tunnel is ready; later: the limit changed).
    Limit {
        streams: u32,
    },
    /// Server: a CONNECT arrived. `Err` requests have been answered already.
    Request {
        stream: StreamId,
        request: Result<ConnectRequest, RequestError>,
    },
    /// Client: the answer. Non-200 leaves the stream dead (a `Closed` follows).
    Response {
        stream: StreamId,
        response: ConnectResponse,
    },
    /// `pieces(stream)` has become non-empty.
    Data {
        stream: StreamId,
    },
    /// The peer finished its half; all its data is in `pieces` already.
    Finished {
        stream: StreamId,
    },
    Reset {
        stream: StreamId,
        code: ErrorCode,
        by: Initiator,
    },
    /// `lend_data` may answer again after it answered None.
    Writable {
        stream: StreamId,
    },
    /// No new streams: the peer said GOAWAY.
    GoAway,
    Closed {
        stream: StreamId,
    },
    /// Our drain is complete: no stream is left.
    Drained,
}
/// Why the tunnel ended; `reason()` is a metric label.
#[derive(Clone, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum TunnelError {
    #[error("tls error: {0}")]
    Tls(#[from] crate::tls::TlsError),
    #[error("h2 failed: {0}")]
    Http2(#[from] http2::ConnectionError),
    #[error("the peer closed the connection without close_notify")]
    Truncated,
    #[error("the peer closed the connection")]
    Closed,
}
impl TunnelError {
    pub fn reason(&self) -> &'static str {
        todo!()
    }
    pub fn is_attack(&self) -> bool {
        todo!()
    }
}
/// Where application octets are to be read: record payload areas in order.
pub struct Lend<'a> {
    _p: core::marker::PhantomData<&'a mut [u8]>,
}
impl<'a> Lend<'a> {
    /// The areas, in wire order; at most `TunnelConfig::max_batch` of them.
    pub fn areas(&mut self) -> impl Iterator<Item = &mut [u8]> {
        core::iter::empty()
    }
    /// Sum of the areas' lengths.
    pub fn octets(&self) -> usize {
        todo!()
    }
}
pub struct Tunnel {
    _private: (),
}
impl Tunnel {
    pub fn client(session: Session, config: Arc<TunnelConfig>, now: Instant) -> Self {
        todo!()
    }
    pub fn server(session: Session, config: Arc<TunnelConfig>, now: Instant) -> Self {
        todo!()
    }
    // --- transport
    /// Where to read wire octets; never empty while the tunnel lives.
    pub fn lend_input(&mut self, pool: &mut BufferPool) -> &mut [u8] {
        todo!()
    }
    /// `n` octets were read into the lent area. Lent pieces stay valid until `settle`.
    pub fn handle_input(&mut self, now: Instant, n: usize, pool: &mut BufferPool) -> Result<(), TunnelError> {
        todo!()
    }
    /// Copies what the applications have not taken out of the input buffer; call after delivering, before `lend_input`.
    pub fn settle(&mut self, pool: &mut BufferPool) {
        todo!()
    }
    pub fn handle_eof(&mut self, now: Instant) -> TunnelError {
        todo!()
    }
    pub fn handle_timeout(&mut self, now: Instant) -> Result<(), TunnelError> {
        todo!()
    }
    /// Packs queued control frames and DATA into records and seals them; afterwards `wire` has all there is to send.
    pub fn flush(&mut self, now: Instant, pool: &mut BufferPool) -> Result<(), TunnelError> {
        todo!()
    }
    /// Sealed octets not yet written, in order.
    pub fn wire(&self) -> impl Iterator<Item = &[u8]> {
        core::iter::empty()
    }
    pub fn handle_written(&mut self, n: usize, pool: &mut BufferPool) {
        todo!()
    }
    /// Whether `flush` + `wire` would give something.
    pub fn wants_write(&self) -> bool {
        todo!()
    }
    // --- streams
    pub fn open(&mut self, now: Instant, request: &ConnectRequest) -> Result<StreamId, OpenError> {
        todo!()
    }
    pub fn accept(&mut self, now: Instant, stream: StreamId, baggage: Option<Baggage>) {
        todo!()
    }
    pub fn reject(&mut self, now: Instant, stream: StreamId, status: u16) {
        todo!()
    }
    /// Where to read application octets for `stream`: `None` while window or queue is full (a `Writable` follows), or the stream is gone.
    pub fn lend_data(&mut self, stream: StreamId, pool: &mut BufferPool) -> Option<Lend<'_>> {
        todo!()
    }
    /// `n` > 0 octets were read into what `lend_data` lent.
    pub fn commit_data(&mut self, stream: StreamId, n: usize) {
        todo!()
    }
    /// Ends our half (END_STREAM).
    pub fn finish(&mut self, stream: StreamId) {
        todo!()
    }
    pub fn reset(&mut self, now: Instant, stream: StreamId, code: ErrorCode, pool: &mut BufferPool) {
        todo!()
    }
    /// Received octets of `stream` not yet delivered, in order.
    pub fn pieces(&self, stream: StreamId) -> impl Iterator<Item = &[u8]> {
        core::iter::empty()
    }
    /// `n` octets of `pieces` have left downstream: window credit goes back.
    pub fn delivered(&mut self, stream: StreamId, n: usize, pool: &mut BufferPool) {
        todo!()
    }
    /// Octets of `pieces`.
    pub fn pending(&self, stream: StreamId) -> usize {
        todo!()
    }
    /// Received octets held for slow applications (all streams).
    pub fn held(&self) -> usize {
        todo!()
    }
    /// Resets the stream that holds most (ENHANCE_YOUR_CALM) and drops what it holds; false when nothing is held.
    pub fn shed(&mut self, pool: &mut BufferPool) -> bool {
        todo!()
    }
    // --- life
    pub fn drain(&mut self, now: Instant) {
        todo!()
    }
    /// Queues GOAWAY(code) and close_notify.
    pub fn close(&mut self, now: Instant, code: ErrorCode) {
        todo!()
    }
    pub fn poll_event(&mut self) -> Option<TunnelEvent> {
        todo!()
    }
    pub fn poll_timeout(&self) -> Option<Instant> {
        todo!()
    }
    pub fn peer(&self) -> Option<&Identity> {
        todo!()
    }
    pub fn open_streams(&self) -> usize {
        todo!()
    }
    /// Octets held for slow applications plus octets queued for the transport.
    pub fn buffered(&self) -> usize {
        todo!()
    }
    /// Gives every buffer back (before dropping).
    pub fn release(&mut self, pool: &mut BufferPool) {
        todo!()
    }
    /// Freezes everything to versioned bytes (design D11). `settle` first.
    pub fn freeze(&self) -> Result<alloc::vec::Vec<u8>, TunnelError> {
        todo!()
    }
    pub fn thaw(
        bytes: &[u8],
        config: Arc<TunnelConfig>,
        aead: &dyn crate::tls::Aead,
        now: Instant,
        pool: &mut BufferPool,
    ) -> Result<Self, TunnelError> {
        todo!()
    }
}
