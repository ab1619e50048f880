//! SETTINGS (RFC 9113 §6.5): what the peer wants, and what we announce.
use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use super::flow::{DEFAULT_WINDOW, MAX_WINDOW};
use super::{Config, ConnectionError, Side};

pub(crate) const HEADER_TABLE_SIZE: u16 = 0x1;
pub(crate) const ENABLE_PUSH: u16 = 0x2;
pub(crate) const MAX_CONCURRENT_STREAMS: u16 = 0x3;
pub(crate) const INITIAL_WINDOW_SIZE: u16 = 0x4;
pub(crate) const MAX_FRAME_SIZE: u16 = 0x5;
pub(crate) const MAX_HEADER_LIST_SIZE: u16 = 0x6;
/// RFC 8441 §3.
pub(crate) const ENABLE_CONNECT_PROTOCOL: u16 = 0x8;

/// SETTINGS_HEADER_TABLE_SIZE until it is changed (RFC 9113 §6.5.2).
pub(crate) const DEFAULT_TABLE_SIZE: u32 = 4_096;
/// SETTINGS_MAX_FRAME_SIZE until it is changed, and its least value.
pub(crate) const DEFAULT_MAX_FRAME_SIZE: u32 = 16_384;
/// The greatest SETTINGS_MAX_FRAME_SIZE.
pub(crate) const MAX_MAX_FRAME_SIZE: u32 = 0xff_ffff;
/// Octets of one entry.
pub(crate) const ENTRY: usize = 6;

/// The peer's settings in force.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(crate) struct PeerSettings {
    /// Whether the first SETTINGS have arrived.
    pub(crate) arrived: bool,
    pub(crate) initial_window: u32,
    pub(crate) max_frame_size: u32,
    pub(crate) max_concurrent_streams: u32,
}

impl PeerSettings {
    pub(crate) fn new(assumed_streams: u32) -> Self {
        Self {
            arrived: false,
            initial_window: DEFAULT_WINDOW,
            max_frame_size: DEFAULT_MAX_FRAME_SIZE,
            max_concurrent_streams: assumed_streams,
        }
    }

    /// These settings with the entries of one SETTINGS frame applied in order (RFC 9113 §6.5.3); `side` is ours.
    /// SETTINGS_HEADER_TABLE_SIZE does not concern an encoder that never indexes, SETTINGS_MAX_HEADER_LIST_SIZE is advice
    /// that CONNECT requests never come near; unknown settings are ignored.
    ///
    /// # Errors
    /// [`ConnectionError::Setting`] names the first entry out of its range.
    pub(crate) fn updated(&self, payload: &[u8], side: Side) -> Result<Self, ConnectionError> {
        let mut new = self.clone();
        if !new.arrived {
            new.arrived = true;
            // No limit unless the frame sets one.
            new.max_concurrent_streams = u32::MAX;
        }
        for entry in payload.chunks_exact(ENTRY) {
            let &[i0, i1, v0, v1, v2, v3] = entry else { continue };
            let (id, value) = (u16::from_be_bytes([i0, i1]), u32::from_be_bytes([v0, v1, v2, v3]));
            let legal = match id {
                ENABLE_PUSH => value == 0 || (value == 1 && side == Side::Server),
                INITIAL_WINDOW_SIZE => value <= MAX_WINDOW,
                MAX_FRAME_SIZE => (DEFAULT_MAX_FRAME_SIZE..=MAX_MAX_FRAME_SIZE).contains(&value),
                ENABLE_CONNECT_PROTOCOL => value <= 1,
                _ => true,
            };
            if !legal {
                return Err(ConnectionError::Setting { id, value });
            }
            match id {
                MAX_CONCURRENT_STREAMS => new.max_concurrent_streams = value,
                INITIAL_WINDOW_SIZE => new.initial_window = value,
                MAX_FRAME_SIZE => new.max_frame_size = value,
                _ => {}
            }
        }
        Ok(new)
    }
}

/// What we announce.
pub(crate) fn announced(config: &Config, side: Side) -> Vec<(u16, u32)> {
    let role = match side {
        Side::Client => (ENABLE_PUSH, 0),
        Side::Server => (MAX_CONCURRENT_STREAMS, config.max_concurrent_streams),
    };
    alloc::vec![
        (HEADER_TABLE_SIZE, 0),
        role,
        (INITIAL_WINDOW_SIZE, config.initial_window),
        (MAX_FRAME_SIZE, config.max_frame_size),
        (MAX_HEADER_LIST_SIZE, config.max_header_list_size),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn apply(entries: &[(u16, u32)], side: Side) -> Result<PeerSettings, ConnectionError> {
        let payload: Vec<u8> = entries
            .iter()
            .flat_map(|(id, value)| [&id.to_be_bytes()[..], &value.to_be_bytes()].concat())
            .collect();
        PeerSettings::new(100).updated(&payload, side)
    }

    #[test]
    fn values_have_ranges() {
        // RFC 9113 §6.5.2; RFC 8441 §3.
        for (id, value, side, legal) in [
            (ENABLE_PUSH, 0, Side::Client, true),
            (ENABLE_PUSH, 1, Side::Client, false),
            (ENABLE_PUSH, 1, Side::Server, true),
            (ENABLE_PUSH, 2, Side::Server, false),
            (INITIAL_WINDOW_SIZE, 0x7fff_ffff, Side::Server, true),
            (INITIAL_WINDOW_SIZE, 0x8000_0000, Side::Server, false),
            (MAX_FRAME_SIZE, 16_383, Side::Server, false),
            (MAX_FRAME_SIZE, 16_384, Side::Server, true),
            (MAX_FRAME_SIZE, 16_777_215, Side::Server, true),
            (MAX_FRAME_SIZE, 16_777_216, Side::Server, false),
            (ENABLE_CONNECT_PROTOCOL, 2, Side::Client, false),
            (0xbeef, u32::MAX, Side::Client, true),
        ] {
            let result = apply(&[(id, value)], side);
            assert_eq!(result.is_ok(), legal, "{id:#x} = {value}");
            if let Err(error) = result {
                assert_eq!(error, ConnectionError::Setting { id, value });
            }
        }
    }

    #[test]
    fn the_last_of_equal_settings_counts() {
        // RFC 9113 §6.5.3.
        let settings =
            apply(&[(MAX_CONCURRENT_STREAMS, 1), (MAX_CONCURRENT_STREAMS, 9)], Side::Client).unwrap();
        assert_eq!(settings.max_concurrent_streams, 9);
    }

    #[test]
    fn without_a_limit_there_is_none() {
        assert_eq!(apply(&[], Side::Client).unwrap().max_concurrent_streams, u32::MAX);
    }
}
