//! TLS alert descriptions.
use core::fmt;

use serde::{Deserialize, Serialize};

/// An alert description (RFC 8446 §6), known or not.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Alert(pub u8);

impl Alert {
    /// Nothing more will be sent in this direction.
    pub const CLOSE_NOTIFY: Self = Self(0);
    /// A record came at a time or with a type that is not allowed.
    pub const UNEXPECTED_MESSAGE: Self = Self(10);
    /// A record could not be authenticated.
    pub const BAD_RECORD_MAC: Self = Self(20);
    /// A record is longer than allowed.
    pub const RECORD_OVERFLOW: Self = Self(22);
    /// No common parameters.
    pub const HANDSHAKE_FAILURE: Self = Self(40);
    /// A certificate is corrupt.
    pub const BAD_CERTIFICATE: Self = Self(42);
    /// A certificate may not be used this way.
    pub const UNSUPPORTED_CERTIFICATE: Self = Self(43);
    /// A certificate was revoked.
    pub const CERTIFICATE_REVOKED: Self = Self(44);
    /// A certificate is not valid at this time.
    pub const CERTIFICATE_EXPIRED: Self = Self(45);
    /// A field is out of range.
    pub const ILLEGAL_PARAMETER: Self = Self(47);
    /// The chain does not end in a known root.
    pub const UNKNOWN_CA: Self = Self(48);
    /// The certificate is valid but its identity is not accepted.
    pub const ACCESS_DENIED: Self = Self(49);
    /// A message could not be parsed.
    pub const DECODE_ERROR: Self = Self(50);
    /// A signature or a Finished does not verify.
    pub const DECRYPT_ERROR: Self = Self(51);
    /// The protocol version is not supported.
    pub const PROTOCOL_VERSION: Self = Self(70);
    /// A failure that is not the peer's.
    pub const INTERNAL_ERROR: Self = Self(80);
    /// The user gave up; a close_notify follows.
    pub const USER_CANCELED: Self = Self(90);
    /// A mandatory extension is absent.
    pub const MISSING_EXTENSION: Self = Self(109);
    /// A client certificate is mandatory.
    pub const CERTIFICATE_REQUIRED: Self = Self(116);
    /// No application protocol in common.
    pub const NO_APPLICATION_PROTOCOL: Self = Self(120);

    /// The name RFC 8446 gives, or `unknown`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self.0 {
            0 => "close_notify",
            10 => "unexpected_message",
            20 => "bad_record_mac",
            22 => "record_overflow",
            40 => "handshake_failure",
            42 => "bad_certificate",
            43 => "unsupported_certificate",
            44 => "certificate_revoked",
            45 => "certificate_expired",
            46 => "certificate_unknown",
            47 => "illegal_parameter",
            48 => "unknown_ca",
            49 => "access_denied",
            50 => "decode_error",
            51 => "decrypt_error",
            70 => "protocol_version",
            71 => "insufficient_security",
            80 => "internal_error",
            86 => "inappropriate_fallback",
            90 => "user_canceled",
            109 => "missing_extension",
            110 => "unsupported_extension",
            112 => "unrecognized_name",
            113 => "bad_certificate_status_response",
            115 => "unknown_psk_identity",
            116 => "certificate_required",
            120 => "no_application_protocol",
            _ => "unknown",
        }
    }

    /// The alert as its two octets; TLS 1.3 ignores the level but old tools print it.
    pub(super) const fn encode(self) -> [u8; 2] {
        let level = match self {
            Self::CLOSE_NOTIFY | Self::USER_CANCELED => 1,
            _ => 2,
        };
        [level, self.0]
    }
}

impl fmt::Display for Alert {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.name(), self.0)
    }
}

impl fmt::Debug for Alert {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
