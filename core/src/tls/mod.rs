//! TLS 1.3 for tunnels: handshakes by rustls fed record by record, then records behind a port.
use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;
use core::ops::Range;

use crate::identity::{Identity, IdentitySet};
use crate::time::WallClock;

pub mod aead;
pub use aead::{Aead, AeadError, AeadKey, Suite};

/// Octets of a TLS record header, to be kept free before a payload that will be sealed in place.
pub const HEADROOM: usize = 5;
/// Octets behind the payload: content type and AEAD tag.
pub const TAILROOM: usize = 17;
/// The most payload octets a record carries (RFC 8446 §5.1).
pub const MAX_PAYLOAD: usize = 16_384;
/// The most octets of a whole sealed record that we accept: header + 2^14 + 256 (RFC 8446 §5.2).
pub const MAX_RECORD: usize = 5 + 16_384 + 256;

/// Which end of the TLS and HTTP/2 connection this is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
pub enum Side {
    Client,
    Server,
}

/// What the core needs from the outside to speak TLS.
#[derive(Clone)]
pub struct TlsPorts {
    pub provider: Arc<rustls::crypto::CryptoProvider>,
    pub aead: Arc<dyn Aead>,
    pub clock: Arc<WallClock>,
}

/// A workload's certificate, key and the roots it trusts.
pub struct Credentials {
    pub identity: Identity,
    /// Leaf first, then intermediates; the root is not sent.
    pub chain: Vec<rustls::pki_types::CertificateDer<'static>>,
    pub key: rustls::pki_types::PrivateKeyDer<'static>,
    pub roots: Vec<rustls::pki_types::CertificateDer<'static>>,
}

/// Which implementation protects records after the handshake (design D3).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum RecordMode {
    #[default]
    InPlace,
    Rustls,
}

/// Ready-made TLS configuration for one workload identity; cheap to share, immutable.
pub struct TlsContext {
    _private: (),
}

impl fmt::Debug for TlsContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        todo!()
    }
}

impl TlsContext {
    pub fn new(ports: TlsPorts, credentials: Credentials, mode: RecordMode) -> Result<Arc<Self>, TlsError> {
        todo!()
    }
    pub fn identity(&self) -> &Identity {
        todo!()
    }
}

/// What handling one record led to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Input {
    /// Nothing for the caller; there may be something to send.
    Nothing,
    /// The handshake is complete with this very record (the peer is known and verified now).
    Established,
    /// Application data: this range of the record that was passed in.
    Data(Range<usize>),
    /// The peer sent close_notify: nothing more will arrive.
    CloseNotify,
}

/// Typed TLS failures; each knows the alert that is sent for it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum TlsError {
    #[error("record of {0} octets is longer than TLS allows")]
    RecordTooLong(usize),
    // … the helper who owns this room completes the list
}

/// One TLS connection: first the handshake, then records. Never reads a clock or a socket.
pub struct Session {
    _private: (),
}

impl Session {
    /// A client that accepts exactly the peers in `expected`.
    pub fn client(context: &Arc<TlsContext>, expected: &IdentitySet) -> Result<Self, TlsError> {
        todo!()
    }
    /// A server that demands a client certificate of its own trust domain.
    pub fn server(context: &Arc<TlsContext>) -> Result<Self, TlsError> {
        todo!()
    }
    /// A session without cryptography for models and fuzzing: records carry a counter and plaintext.
    pub fn symbolic(side: Side, local: Identity, peer: Identity) -> Self {
        todo!()
    }
    /// The length of the whole record at the start of `bytes` (header included), `None` while it is incomplete
    /// (fewer than 5 octets, or fewer than the header says).
    pub fn record_len(bytes: &[u8]) -> Result<Option<usize>, TlsError> {
        todo!()
    }
    /// Handles exactly one whole record, opening it in place. After an error only `poll_transmit` (the alert) is of use.
    pub fn handle_record(&mut self, record: &mut [u8]) -> Result<Input, TlsError> {
        todo!()
    }
    /// Appends whole records that must leave before anything sealed later: handshake flights, alerts, KeyUpdate.
    /// Call it before each batch of `seal`. Returns the number of octets appended.
    pub fn poll_transmit(&mut self, out: &mut Vec<u8>) -> usize {
        todo!()
    }
    /// Whether `poll_transmit` has something.
    pub fn wants_transmit(&self) -> bool {
        todo!()
    }
    /// Seals application data in place: `record` is HEADROOM + payload_len + TAILROOM octets, the payload in the middle;
    /// afterwards all of it is one record to send.
    pub fn seal(&mut self, record: &mut [u8]) -> Result<(), TlsError> {
        todo!()
    }
    /// True once application data may be sealed.
    pub fn is_established(&self) -> bool {
        todo!()
    }
    /// The verified peer, once established.
    pub fn peer(&self) -> Option<&Identity> {
        todo!()
    }
    /// Queues close_notify.
    pub fn close(&mut self) {
        todo!()
    }
    /// The session as data (design D11): only established in-place or symbolic sessions can be frozen.
    pub fn freeze(&self) -> Result<FrozenSession, TlsError> {
        todo!()
    }
    pub fn thaw(frozen: FrozenSession, aead: &dyn Aead) -> Result<Self, TlsError> {
        todo!()
    }
}

/// A session as data; serialisable, zeroised on drop.
#[derive(serde::Serialize, serde::Deserialize)]
pub struct FrozenSession {
    _private: (),
}
