//! Settings and limits of one connection; defaults per datapath §3.4 and design D2.
use core::time::Duration;

use serde::{Deserialize, Serialize};

use super::Budgets;
use super::flow::MAX_WINDOW;
use super::settings::{DEFAULT_MAX_FRAME_SIZE, MAX_MAX_FRAME_SIZE};

/// Limits and settings of one connection. Values outside a protocol range are brought into it by `Connection::new`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Config {
    /// SETTINGS_INITIAL_WINDOW_SIZE: octets that a peer may send on one stream before we return credit.
    pub initial_window: u32,
    /// The same for the whole connection; at least 65 535, which is where RFC 9113 §6.9.2 starts.
    pub connection_window: u32,
    /// SETTINGS_MAX_FRAME_SIZE: the largest payload of a frame that we accept, 16 384 to 16 777 215.
    pub max_frame_size: u32,
    /// SETTINGS_MAX_HEADER_LIST_SIZE: decoded octets, each field with 32 more; enforced.
    pub max_header_list_size: u32,
    /// SETTINGS_MAX_CONCURRENT_STREAMS; announced and enforced by servers only.
    pub max_concurrent_streams: u32,
    /// What a client assumes until the peer's SETTINGS arrive.
    pub assumed_peer_streams: u32,
    /// How long after the start, or after an answer, the next PING goes out. Zero: none is sent.
    pub ping_interval: Duration,
    /// How long we wait for the answer before the connection fails.
    pub ping_timeout: Duration,
    /// How long the peer may take to acknowledge our SETTINGS (for a server: to say anything at all).
    pub settings_timeout: Duration,
    /// Allowances for what a peer can repeat.
    pub budgets: Budgets,
}

impl Config {
    /// A tunnel's client side, as ztunnel's (datapath §3.4, §3.5).
    #[must_use]
    pub fn client() -> Self {
        Self {
            initial_window: 4 << 20,
            connection_window: 16 << 20,
            max_frame_size: 1 << 20,
            max_header_list_size: 16_384,
            max_concurrent_streams: 0,
            assumed_peer_streams: 100,
            ping_interval: Duration::from_secs(10),
            ping_timeout: Duration::from_secs(20),
            settings_timeout: Duration::from_secs(20),
            budgets: Budgets::default(),
        }
    }

    /// A tunnel's server side, as ztunnel's (datapath §3.4, §3.5).
    #[must_use]
    pub fn server() -> Self {
        Self { max_header_list_size: 65_536, max_concurrent_streams: 200, ..Self::client() }
    }

    /// The same with every value inside the range that RFC 9113 §6.5.2 gives it.
    pub(crate) fn clamped(mut self) -> Self {
        self.initial_window = self.initial_window.min(MAX_WINDOW);
        self.connection_window = self.connection_window.min(MAX_WINDOW);
        self.max_frame_size = self.max_frame_size.clamp(DEFAULT_MAX_FRAME_SIZE, MAX_MAX_FRAME_SIZE);
        self
    }
}
