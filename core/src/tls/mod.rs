//! TLS 1.3 for tunnels: handshakes by rustls fed record by record, then records behind a port.
//!
//! A [`Session`] is one connection. The caller cuts the byte stream into records with [`Session::record_len`], hands
//! each to [`Session::handle_record`], and before it seals anything appends what [`Session::poll_transmit`] gives. It
//! never reads a clock or a socket, and holds no payload.
use core::ops::Range;

pub mod aead;
mod alert;
mod context;
mod der;
mod error;
mod facts;
mod freeze;
mod handshake;
mod peer_chain;
mod post_handshake;
mod records;
mod revocation;
mod san;
mod session;
mod symbolic;
mod verify;

#[cfg(test)]
mod tests;

pub use aead::{Aead, AeadError, AeadKey, Suite};
pub use alert::Alert;
pub use context::{Credentials, RecordMode, TlsContext, TlsPorts, TlsSettings};
pub use error::{Flood, TlsError};
pub use facts::{Facts, NotACertificate, Validity};
pub use freeze::FrozenSession;
pub use peer_chain::PeerChain;
pub use revocation::{CrlError, Revocations};
pub use session::Session;
pub use symbolic::SymbolicOptions;
pub use verify::{SanFault, VerifyError, identity_in};

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
    /// The end that dialled.
    Client,
    /// The end that accepted.
    Server,
}

/// What a peer may repeat after the handshake before the session ends with [`TlsError::Flood`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
pub struct Budgets {
    /// KeyUpdates in a row; one is given back for every [`Self::REFILL`] records of application data.
    pub key_updates: u32,
    /// Empty application-data records without a non-empty one in between.
    pub empty_records: u32,
    /// NewSessionTickets in the life of a connection (clients only; servers accept none).
    pub tickets: u32,
    /// `user_canceled` alerts in the life of a connection.
    pub warnings: u32,
}

impl Budgets {
    /// Records of application data that earn back one KeyUpdate. Peers that follow the AEAD's limits send one in
    /// millions.
    pub const REFILL: u32 = 16;
}

impl Default for Budgets {
    fn default() -> Self {
        Self { key_updates: 32, empty_records: 32, tickets: 16, warnings: 4 }
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
