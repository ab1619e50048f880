//! Error codes of RFC 9113 §7, and why a connection ends or a stream cannot be opened.
use core::fmt;

use super::{Budget, hpack::HpackError};

/// An error code as RST_STREAM and GOAWAY carry it (RFC 9113 §7); unknown ones are kept as they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
pub struct ErrorCode(pub u32);

impl ErrorCode {
    /// Graceful shutdown, or "I need no more of this stream".
    pub const NO_ERROR: Self = Self(0x0);
    /// A violation that no other code names.
    pub const PROTOCOL_ERROR: Self = Self(0x1);
    /// The sender failed on its own.
    pub const INTERNAL_ERROR: Self = Self(0x2);
    /// More was sent than the window allowed.
    pub const FLOW_CONTROL_ERROR: Self = Self(0x3);
    /// SETTINGS were not acknowledged in time.
    pub const SETTINGS_TIMEOUT: Self = Self(0x4);
    /// A frame for a half that had ended.
    pub const STREAM_CLOSED: Self = Self(0x5);
    /// A frame of a wrong length.
    pub const FRAME_SIZE_ERROR: Self = Self(0x6);
    /// The stream was not processed at all; it is safe to try again.
    pub const REFUSED_STREAM: Self = Self(0x7);
    /// The stream is no longer needed.
    pub const CANCEL: Self = Self(0x8);
    /// The header compression state is lost.
    pub const COMPRESSION_ERROR: Self = Self(0x9);
    /// The TCP connection behind a CONNECT was reset (RFC 9113 §8.5).
    pub const CONNECT_ERROR: Self = Self(0xa);
    /// The peer's behaviour looks like an attack.
    pub const ENHANCE_YOUR_CALM: Self = Self(0xb);
    /// The transport's security is not good enough.
    pub const INADEQUATE_SECURITY: Self = Self(0xc);
    /// The request needs HTTP/1.1.
    pub const HTTP_1_1_REQUIRED: Self = Self(0xd);
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match *self {
            Self::NO_ERROR => "NO_ERROR",
            Self::PROTOCOL_ERROR => "PROTOCOL_ERROR",
            Self::INTERNAL_ERROR => "INTERNAL_ERROR",
            Self::FLOW_CONTROL_ERROR => "FLOW_CONTROL_ERROR",
            Self::SETTINGS_TIMEOUT => "SETTINGS_TIMEOUT",
            Self::STREAM_CLOSED => "STREAM_CLOSED",
            Self::FRAME_SIZE_ERROR => "FRAME_SIZE_ERROR",
            Self::REFUSED_STREAM => "REFUSED_STREAM",
            Self::CANCEL => "CANCEL",
            Self::COMPRESSION_ERROR => "COMPRESSION_ERROR",
            Self::CONNECT_ERROR => "CONNECT_ERROR",
            Self::ENHANCE_YOUR_CALM => "ENHANCE_YOUR_CALM",
            Self::INADEQUATE_SECURITY => "INADEQUATE_SECURITY",
            Self::HTTP_1_1_REQUIRED => "HTTP_1_1_REQUIRED",
            Self(other) => return write!(f, "error code {other:#x}"),
        };
        f.write_str(name)
    }
}

/// Why `open` gave no stream. The connection is unchanged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// As many streams are open as the peer allows; try another connection, or again after a `Closed`.
    #[error("the peer allows no more than {0} streams")]
    Full(u32),
    /// GOAWAY was sent or received, the connection has failed, or its stream identifiers are used up.
    #[error("the connection is going away")]
    GoingAway,
    /// Servers do not open streams.
    #[error("only the client side opens streams")]
    NotClient,
}

/// Why the connection must end. Everything but the two time-outs is the peer's violation.
#[derive(Clone, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectionError {
    /// A PING of ours stayed unanswered for `Config::ping_timeout`.
    #[error("no answer to PING")]
    PingTimeout,
    /// Our SETTINGS stayed unacknowledged for `Config::settings_timeout`.
    #[error("the peer did not acknowledge our SETTINGS in time")]
    SettingsTimeout,
    /// The first octets of a client are not the connection preface (RFC 9113 §3.4): it does not speak HTTP/2.
    #[error("the peer does not begin with the HTTP/2 preface: it may speak HTTP/1.1")]
    Preface,
    /// The first frame is not SETTINGS (RFC 9113 §3.4).
    #[error("the peer's first frame is not SETTINGS")]
    FirstFrame,
    /// A frame longer than our SETTINGS_MAX_FRAME_SIZE (RFC 9113 §4.2).
    #[error("a frame of {length} octets is longer than the {limit} that we announced")]
    FrameTooLong {
        /// What the frame header says.
        length: u32,
        /// What we accept.
        limit: u32,
    },
    /// A frame whose length does not fit its type (RFC 9113 §6).
    #[error("a frame of type {kind:#x} has a wrong length, {length}")]
    FrameLength {
        /// Frame type.
        kind: u8,
        /// What the frame header says.
        length: u32,
    },
    /// A frame on stream 0 that belongs to a stream, or the reverse (RFC 9113 §6).
    #[error("a frame of type {kind:#x} does not belong on stream {stream}")]
    WrongStream {
        /// Frame type.
        kind: u8,
        /// The stream it came on.
        stream: u32,
    },
    /// A frame for a stream nobody has opened (RFC 9113 §5.1).
    #[error("a frame of type {kind:#x} for stream {stream}, which nobody has opened")]
    IdleStream {
        /// Frame type.
        kind: u8,
        /// The stream it came on.
        stream: u32,
    },
    /// A new stream with an identifier below one already used (RFC 9113 §5.1.1).
    #[error("stream {0} is opened after a higher one")]
    StreamOrder(u32),
    /// A frame for a stream that had ended both ways (RFC 9113 §5.1).
    #[error("a frame for stream {0}, which has ended")]
    StreamClosed(u32),
    /// A header block was interrupted, or CONTINUATION came without one (RFC 9113 §6.10).
    #[error("a header block is not continued as it must be")]
    Continuation,
    /// Padding as long as the payload or longer (RFC 9113 §6.1, §6.2).
    #[error("padding is longer than its frame")]
    Padding,
    /// A setting outside its range (RFC 9113 §6.5.2).
    #[error("the setting {id:#x} cannot be {value}")]
    Setting {
        /// Setting identifier.
        id: u16,
        /// Its value.
        value: u32,
    },
    /// WINDOW_UPDATE of 0 on the connection (RFC 9113 §6.9).
    #[error("a WINDOW_UPDATE of the connection by 0")]
    ZeroIncrement,
    /// A send window was raised above 2^31-1 (RFC 9113 §6.9.1, §6.9.2).
    #[error("a flow-control window was raised above 2147483647")]
    WindowOverflow,
    /// More DATA than the connection window allows (RFC 9113 §6.9).
    #[error("more DATA than the connection window allows")]
    FlowControl,
    /// PUSH_PROMISE although push is off, or from a client (RFC 9113 §8.4).
    #[error("PUSH_PROMISE although push is not allowed")]
    Push,
    /// A GOAWAY that raises the last stream identifier (RFC 9113 §6.8).
    #[error("a GOAWAY raises the last stream from {from} to {to}")]
    GoAwayRaised {
        /// What an earlier GOAWAY said.
        from: u32,
        /// What this one says.
        to: u32,
    },
    /// A header block that HPACK cannot decode (RFC 7541).
    #[error("header compression: {0}")]
    Compression(#[from] HpackError),
    /// More of something than its allowance (see [`super::Budgets`]).
    #[error("the peer exceeded its allowance: {}", .0.reason())]
    Exceeded(Budget),
}

impl ConnectionError {
    /// The code that GOAWAY carries.
    #[must_use]
    pub const fn code(&self) -> ErrorCode {
        match self {
            // What ztunnel sends when a peer is gone (datapath §3.5): nobody did anything wrong.
            Self::PingTimeout => ErrorCode::NO_ERROR,
            Self::SettingsTimeout => ErrorCode::SETTINGS_TIMEOUT,
            Self::FrameTooLong { .. } | Self::FrameLength { .. } => ErrorCode::FRAME_SIZE_ERROR,
            Self::Setting { id: super::settings::INITIAL_WINDOW_SIZE, .. }
            | Self::WindowOverflow
            | Self::FlowControl => ErrorCode::FLOW_CONTROL_ERROR,
            Self::StreamClosed(_) => ErrorCode::STREAM_CLOSED,
            Self::Compression(_) => ErrorCode::COMPRESSION_ERROR,
            Self::Exceeded(_) => ErrorCode::ENHANCE_YOUR_CALM,
            Self::Preface
            | Self::FirstFrame
            | Self::WrongStream { .. }
            | Self::IdleStream { .. }
            | Self::StreamOrder(_)
            | Self::Continuation
            | Self::Padding
            | Self::Setting { .. }
            | Self::ZeroIncrement
            | Self::Push
            | Self::GoAwayRaised { .. } => ErrorCode::PROTOCOL_ERROR,
        }
    }

    /// A stable label for metrics and logs.
    #[must_use]
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::PingTimeout => "ping_timeout",
            Self::SettingsTimeout => "settings_timeout",
            Self::Preface => "bad_preface",
            Self::FirstFrame => "first_frame_not_settings",
            Self::FrameTooLong { .. } => "frame_too_long",
            Self::FrameLength { .. } => "frame_length",
            Self::WrongStream { .. } => "wrong_stream",
            Self::IdleStream { .. } => "idle_stream",
            Self::StreamOrder(_) => "stream_order",
            Self::StreamClosed(_) => "stream_closed",
            Self::Continuation => "continuation",
            Self::Padding => "padding",
            Self::Setting { .. } => "setting",
            Self::ZeroIncrement => "zero_increment",
            Self::WindowOverflow => "window_overflow",
            Self::FlowControl => "flow_control",
            Self::Push => "push",
            Self::GoAwayRaised { .. } => "goaway_raised",
            Self::Compression(_) => "compression",
            Self::Exceeded(budget) => budget.reason(),
        }
    }

    /// Whether a budget was exceeded: what a broken peer hardly does by accident.
    #[must_use]
    pub const fn is_attack(&self) -> bool {
        matches!(self, Self::Exceeded(_))
    }
}
