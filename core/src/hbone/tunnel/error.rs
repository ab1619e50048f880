//! Why a tunnel ended.
use crate::http2;
use crate::tls::TlsError;

/// Why a tunnel ended.
#[derive(Clone, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum TunnelError {
    /// The handshake or a record failed.
    #[error("tls error: {0}")]
    Tls(#[from] TlsError),
    /// The peer broke HTTP/2, spent a budget, or does not answer.
    #[error("h2 failed: {0}")]
    Http2(#[from] http2::ConnectionError),
    /// The transport ended while streams were open, and TLS did not say so: somebody cut it.
    #[error("the peer closed the connection without close_notify")]
    Truncated,
    /// The transport ended in order.
    #[error("the peer closed the connection")]
    Closed,
    /// Frozen bytes that this version cannot go on with.
    #[error("cannot take over the tunnel: its frozen state is of another version or damaged")]
    Frozen,
}

impl TunnelError {
    /// A metric label: few values, lower case.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Tls(error) => error.reason(),
            Self::Http2(error) => error.reason(),
            Self::Truncated => "truncated",
            Self::Closed => "closed",
            Self::Frozen => "frozen_state",
        }
    }

    /// Whether the peer spent a budget, as no peer does that means well.
    #[must_use]
    pub fn is_attack(&self) -> bool {
        match self {
            Self::Tls(TlsError::Flood(_)) => true,
            Self::Tls(_) | Self::Truncated | Self::Closed | Self::Frozen => false,
            Self::Http2(error) => error.is_attack(),
        }
    }
}
