//! How the last streams ended: what RFC 9113 §5.1 says about frames for closed streams depends on it.
use alloc::collections::VecDeque;

use serde::{Deserialize, Serialize};

use super::StreamId;

/// How a stream ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(crate) enum Ending {
    /// Both sides sent END_STREAM: anything but WINDOW_UPDATE, RST_STREAM and PRIORITY is an error of the connection.
    Finished,
    /// We sent RST_STREAM: what was in flight is ignored.
    ResetByUs,
    /// The peer sent RST_STREAM: more is an error of the stream.
    ResetByPeer,
}

/// How many endings are remembered. Older streams are taken for reset by us: that is the lenient reading.
const REMEMBERED: usize = 256;

/// The endings of the last [`REMEMBERED`] streams, oldest first.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(crate) struct Endings(VecDeque<(StreamId, Ending)>);

impl Endings {
    pub(crate) fn remember(&mut self, stream: StreamId, ending: Ending) {
        if let Some(entry) = self.0.iter_mut().rev().find(|(known, _)| *known == stream) {
            entry.1 = ending;
            return;
        }
        self.closed(stream, ending);
    }

    /// A stream that was open until now has ended, so that nothing is remembered of it.
    pub(crate) fn closed(&mut self, stream: StreamId, ending: Ending) {
        if self.0.len() >= REMEMBERED {
            self.0.pop_front();
        }
        self.0.push_back((stream, ending));
    }

    /// Frames for closed streams mostly concern those closed last.
    pub(crate) fn get(&self, stream: StreamId) -> Option<Ending> {
        self.0.iter().rev().find(|(known, _)| *known == stream).map(|(_, ending)| *ending)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_is_forgotten() {
        let mut endings = Endings::default();
        for id in 0..=256 {
            endings.remember(StreamId(id), Ending::Finished);
        }
        assert_eq!(endings.get(StreamId(0)), None);
        assert_eq!(endings.get(StreamId(1)), Some(Ending::Finished));
        endings.remember(StreamId(256), Ending::ResetByPeer);
        assert_eq!(endings.get(StreamId(256)), Some(Ending::ResetByPeer));
        assert_eq!(endings.0.len(), 256);
    }
}
