//! Everything that can go wrong in TLS, and the alert that tells the peer.
use alloc::sync::Arc;

use super::alert::Alert;
use super::verify::VerifyError;

/// A repeatable action of the peer that has a budget.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Flood {
    /// KeyUpdate messages with too little application data between them.
    KeyUpdates,
    /// Records without content, one after the other.
    EmptyRecords,
    /// NewSessionTicket messages.
    Tickets,
    /// Alerts that are not fatal.
    Warnings,
}

impl Flood {
    /// What came too often, in words.
    const fn what(self) -> &'static str {
        match self {
            Self::KeyUpdates => "key updates",
            Self::EmptyRecords => "empty records",
            Self::Tickets => "session tickets",
            Self::Warnings => "warning alerts",
        }
    }
}

/// Typed TLS failures; each knows the alert that is sent for it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum TlsError {
    /// The header announces more than RFC 8446 §5.1/§5.2 allows.
    #[error("record of {0} octets is longer than TLS allows")]
    RecordTooLong(usize),
    /// The first octet is no TLS record type: something else speaks on this port.
    #[error("peer does not speak TLS: its record begins with octet {0}")]
    NotTls(u8),
    /// The record's version field is not one TLS uses.
    #[error("record has TLS version {0:#06x}, which is not supported")]
    RecordVersion(u16),
    /// The caller passed something other than exactly one record.
    #[error("caller error: exactly one whole TLS record must be handed in at a time")]
    NotOneRecord,
    /// The handshake failed for a reason that is neither the peer's identity nor its alert.
    #[error("TLS handshake failed: {detail}")]
    Handshake {
        /// The alert that was sent, where rustls lets us know.
        alert: Option<Alert>,
        /// What the TLS library says.
        detail: Arc<str>,
    },
    /// The peer sent more octets of handshake than any sensible chain needs.
    #[error("TLS handshake is longer than {0} octets")]
    HandshakeTooLong(usize),
    /// The peer's certificate or identity was refused.
    #[error("{0}")]
    Peer(VerifyError),
    /// The peer ended the connection with this alert.
    #[error("peer ended TLS with alert {0}")]
    AlertReceived(Alert),
    /// A record failed authentication: corrupted, reordered, replayed or sealed under another key.
    #[error("TLS record failed authentication")]
    BadRecord,
    /// More plaintext in a record than RFC 8446 §5.2 allows.
    #[error("TLS record carries more than 16384 octets")]
    PlaintextTooLong,
    /// A record of nothing but padding (RFC 8446 §5.4).
    #[error("TLS record has no content type")]
    NoContentType,
    /// A record type that is not allowed at this time.
    #[error("TLS record of type {0} is not allowed here")]
    UnexpectedRecord(u8),
    /// A handshake or alert record without content (RFC 8446 §5.4).
    #[error("TLS record of type {0} is empty")]
    EmptyRecord(u8),
    /// Another record in the middle of a handshake message (RFC 8446 §5.1).
    #[error("TLS record of type {0} interrupts a handshake message")]
    Interleaved(u8),
    /// A handshake message that is not allowed after the handshake.
    #[error("TLS handshake message of type {0} is not allowed after the handshake")]
    UnexpectedHandshake(u8),
    /// A handshake message after the handshake whose length cannot be right.
    #[error("TLS handshake message of type {0} is malformed")]
    MalformedHandshake(u8),
    /// A KeyUpdate with a value other than 0 or 1 (RFC 8446 §4.6.3).
    #[error("TLS KeyUpdate has value {0}, only 0 and 1 exist")]
    KeyUpdateValue(u8),
    /// A KeyUpdate that is not the last message of its record (RFC 8446 §5.1).
    #[error("TLS KeyUpdate is not at the end of its record")]
    KeyUpdateNotLast,
    /// An alert that is not two octets long.
    #[error("TLS alert is malformed")]
    MalformedAlert,
    /// A budget is used up.
    #[error("peer sends too many {}", .0.what())]
    Flood(Flood),
    /// Application data may not be sealed yet.
    #[error("caller error: TLS handshake is not complete")]
    NotEstablished,
    /// We have closed this direction.
    #[error("TLS session is closed")]
    Closed,
    /// The space handed in does not fit a record.
    #[error("caller error: {0} octets are no room for one TLS record")]
    RecordSpace(usize),
    /// The key has protected as many records as it may; `poll_transmit` was not called for very long.
    #[error("TLS key has reached its limit; queued key update was never sent")]
    KeyLimit,
    /// The cryptography port failed or does not support what was negotiated.
    #[error("TLS cryptography failed: {0}")]
    Crypto(&'static str),
    /// Certificate, key or roots cannot be used.
    #[error("TLS credentials are unusable: {0}")]
    Credentials(Arc<str>),
    /// Only established sessions over own or symbolic records can become data.
    #[error("this TLS session cannot be frozen: {0}")]
    NotFreezable(&'static str),
    /// A frozen session is of another version or inconsistent.
    #[error("frozen TLS session cannot be used: {0}")]
    BadFrozen(&'static str),
}

impl TlsError {
    /// The alert that is sent for this failure once the session is established; `None` when nothing is sent.
    ///
    /// During the handshake rustls chooses. It agrees except that a header which cannot be right is always
    /// `decode_error`, failures of our own side (`Crypto`, `HandshakeTooLong`) send nothing, and for rustls's rarer
    /// complaints about a peer (`Handshake` with `alert: None`) the alert is not known here.
    #[must_use]
    pub const fn alert(&self) -> Option<Alert> {
        match self {
            Self::RecordTooLong(_) | Self::PlaintextTooLong => Some(Alert::RECORD_OVERFLOW),
            Self::NotTls(_)
            | Self::NoContentType
            | Self::UnexpectedRecord(_)
            | Self::EmptyRecord(_)
            | Self::Interleaved(_)
            | Self::UnexpectedHandshake(_)
            | Self::KeyUpdateNotLast
            | Self::Flood(_) => Some(Alert::UNEXPECTED_MESSAGE),
            Self::RecordVersion(_) => Some(Alert::PROTOCOL_VERSION),
            Self::Handshake { alert, .. } => *alert,
            Self::Peer(error) => Some(error.alert()),
            Self::BadRecord => Some(Alert::BAD_RECORD_MAC),
            Self::MalformedHandshake(_) | Self::MalformedAlert => Some(Alert::DECODE_ERROR),
            Self::KeyUpdateValue(_) => Some(Alert::ILLEGAL_PARAMETER),
            Self::KeyLimit | Self::Crypto(_) => Some(Alert::INTERNAL_ERROR),
            Self::NotOneRecord
            | Self::HandshakeTooLong(_)
            | Self::AlertReceived(_)
            | Self::NotEstablished
            | Self::Closed
            | Self::RecordSpace(_)
            | Self::Credentials(_)
            | Self::NotFreezable(_)
            | Self::BadFrozen(_) => None,
        }
    }

    /// A stable word for metrics and logs.
    #[must_use]
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::RecordTooLong(_) => "record_too_long",
            Self::NotTls(_) => "not_tls",
            Self::RecordVersion(_) => "record_version",
            Self::NotOneRecord => "not_one_record",
            Self::Handshake { .. } => "handshake",
            Self::HandshakeTooLong(_) => "handshake_too_long",
            Self::Peer(error) => error.reason(),
            Self::AlertReceived(_) => "alert_received",
            Self::BadRecord => "bad_record",
            Self::PlaintextTooLong => "plaintext_too_long",
            Self::NoContentType => "no_content_type",
            Self::UnexpectedRecord(_) => "unexpected_record",
            Self::EmptyRecord(_) => "empty_record",
            Self::Interleaved(_) => "interleaved",
            Self::UnexpectedHandshake(_) => "unexpected_handshake",
            Self::MalformedHandshake(_) => "malformed_handshake",
            Self::KeyUpdateValue(_) => "key_update_value",
            Self::KeyUpdateNotLast => "key_update_not_last",
            Self::MalformedAlert => "malformed_alert",
            Self::Flood(Flood::KeyUpdates) => "key_update_flood",
            Self::Flood(Flood::EmptyRecords) => "empty_record_flood",
            Self::Flood(Flood::Tickets) => "ticket_flood",
            Self::Flood(Flood::Warnings) => "warning_flood",
            Self::NotEstablished => "not_established",
            Self::Closed => "closed",
            Self::RecordSpace(_) => "record_space",
            Self::KeyLimit => "key_limit",
            Self::Crypto(_) => "crypto",
            Self::Credentials(_) => "credentials",
            Self::NotFreezable(_) => "not_freezable",
            Self::BadFrozen(_) => "bad_frozen",
        }
    }
}

impl From<VerifyError> for TlsError {
    fn from(error: VerifyError) -> Self {
        Self::Peer(error)
    }
}
