//! Protection of records after the handshake: one trait, three implementations.
use core::ops::Range;

use serde::{Deserialize, Serialize};

use super::{HEADROOM, MAX_PAYLOAD, Side, Suite, TAILROOM, TlsError};

mod in_place;
#[cfg(test)]
mod rfc8448;
mod rustls_records;
mod schedule;
mod symbolic;

pub(super) use in_place::InPlaceRecords;
pub(super) use rustls_records::{Kernel, RustlsRecords};
pub(super) use schedule::{Direction, Secret, suite_of, tls13_suite};
pub(super) use symbolic::SymbolicRecords;

/// Record content types (RFC 8446 §5.1).
pub(super) mod content {
    pub(in crate::tls) const CHANGE_CIPHER_SPEC: u8 = 20;
    pub(in crate::tls) const ALERT: u8 = 21;
    pub(in crate::tls) const HANDSHAKE: u8 = 22;
    pub(in crate::tls) const APPLICATION_DATA: u8 = 23;
}

/// The version every protected record shows (RFC 8446 §5.2).
pub(super) const LEGACY_VERSION: u16 = 0x0303;
/// Octets of an AEAD tag, equal for all suites.
const TAG: usize = 16;

/// An opened record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Opened {
    /// The inner content type.
    pub(super) content_type: u8,
    /// Where in the record the content lies, without type and padding.
    pub(super) payload: Range<usize>,
}

/// What protects and opens records in both directions.
///
/// After any error the session is over; an implementation need not be usable then, but must never seal twice with the
/// same key and sequence number.
pub(super) trait RecordLayer: Send {
    /// Seals `HEADROOM + payload + TAILROOM` octets in place.
    fn seal(&mut self, content_type: u8, record: &mut [u8]) -> Result<(), TlsError>;
    /// Opens one whole record in place. The caller has checked type, version and length in its header.
    fn open(&mut self, record: &mut [u8]) -> Result<Opened, TlsError>;
    /// Goes on to the next key for sealing (RFC 8446 §7.2).
    fn update_send(&mut self) -> Result<(), TlsError>;
    /// Goes on to the next key for opening.
    fn update_receive(&mut self) -> Result<(), TlsError>;
    /// How many records the present key has sealed.
    fn sealed(&self) -> u64;
    /// How many records one key may seal.
    fn limit(&self) -> u64;
    /// The state as data.
    fn freeze(&self) -> Result<FrozenRecords, TlsError>;
}

/// A record layer as data. Secrets inside zeroise themselves.
#[derive(Serialize, Deserialize)]
pub(super) enum FrozenRecords {
    InPlace { suite: Suite, send: FrozenDirection, receive: FrozenDirection },
    Symbolic { side: Side, send: SymbolicCounter, receive: SymbolicCounter },
}

/// One direction of protected records as data.
#[derive(Serialize, Deserialize)]
pub(super) struct FrozenDirection {
    pub(super) secret: Secret,
    pub(super) sequence: u64,
}

/// Key generation and sequence number of records without cryptography.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct SymbolicCounter {
    pub(super) generation: u64,
    pub(super) sequence: u64,
}

/// A record to be sealed, taken apart.
struct Sealing<'a> {
    header: [u8; HEADROOM],
    /// Payload and content type.
    inner: &'a mut [u8],
    tag: &'a mut [u8],
}

/// Writes header and content type of a record to be sealed.
fn prepare(content_type: u8, record: &mut [u8]) -> Result<Sealing<'_>, TlsError> {
    let space = record.len();
    let error = TlsError::RecordSpace(space);
    let payload = space
        .checked_sub(HEADROOM)
        .and_then(|rest| rest.checked_sub(TAILROOM))
        .ok_or_else(|| error.clone())?;
    if payload > MAX_PAYLOAD {
        return Err(error);
    }
    let length = u16::try_from(space.saturating_sub(HEADROOM)).map_err(|_| error.clone())?;
    let (header, rest) = record.split_first_chunk_mut::<HEADROOM>().ok_or_else(|| error.clone())?;
    let [version_high, version_low] = LEGACY_VERSION.to_be_bytes();
    let [length_high, length_low] = length.to_be_bytes();
    *header = [content::APPLICATION_DATA, version_high, version_low, length_high, length_low];
    let (inner, tag) = rest.split_last_chunk_mut::<TAG>().ok_or_else(|| error.clone())?;
    *inner.last_mut().ok_or(error)? = content_type;
    Ok(Sealing { header: *header, inner, tag })
}

/// Finds content and type behind `HEADROOM` in the opened `inner` plaintext (RFC 8446 §5.4).
fn unpad(inner: &[u8]) -> Result<Opened, TlsError> {
    if inner.len() > MAX_PAYLOAD.saturating_add(1) {
        return Err(TlsError::PlaintextTooLong);
    }
    let end = inner.iter().rposition(|&octet| octet != 0).ok_or(TlsError::NoContentType)?;
    let content_type = inner.get(end).copied().ok_or(TlsError::NoContentType)?;
    Ok(Opened { content_type, payload: HEADROOM..HEADROOM.saturating_add(end) })
}
