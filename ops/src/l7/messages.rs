//! Messages of gRPC in a stream of octets, counted as they pass (gRPC over HTTP/2, "Length-Prefixed-Message").

/// Octets before each message: whether it is compressed, and four of its length.
const PREFIX: u8 = 5;

/// Counts the messages of one direction of a call. The octets come in pieces that are cut anywhere; nothing of them is kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Messages {
    count: u64,
    /// Octets of the next prefix that have come.
    prefix: u8,
    /// The length in it, as far as it has come.
    length: u32,
    /// Octets of the message under way that are still to come.
    left: u32,
}

impl Messages {
    /// Takes the next octets.
    pub fn pass(&mut self, mut octets: &[u8]) {
        while let Some((octet, rest)) = octets.split_first() {
            if self.left > 0 {
                let here = usize::try_from(self.left).unwrap_or(usize::MAX).min(octets.len());
                octets = &octets[here..];
                self.left -= u32::try_from(here).unwrap_or(self.left);
                continue;
            }
            octets = rest;
            // The first octet, which is the flag, is shifted out by the four of the length.
            self.length = self.length << 8 | u32::from(*octet);
            self.prefix += 1;
            if self.prefix == PREFIX {
                self.count = self.count.saturating_add(1);
                self.left = std::mem::take(&mut self.length);
                self.prefix = 0;
            }
        }
    }

    /// How many have begun: the prefix of each is here.
    #[must_use]
    pub const fn count(&self) -> u64 {
        self.count
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn stream(messages: &[Vec<u8>]) -> Vec<u8> {
        let mut stream = Vec::new();
        for message in messages {
            stream.push(u8::from(message.len() % 2 == 1));
            stream.extend(u32::try_from(message.len()).unwrap().to_be_bytes());
            stream.extend(message);
        }
        stream
    }

    #[test]
    fn a_message_counts_when_its_prefix_is_here() {
        let mut messages = Messages::default();
        messages.pass(&[1, 0, 0, 0]);
        assert_eq!(messages.count(), 0);
        messages.pass(&[2]);
        assert_eq!(messages.count(), 1);
        // Two octets of content, then one without any, then half a prefix.
        messages.pass(&[0xff, 0xff, 0, 0, 0, 0, 0, 0, 0xff]);
        assert_eq!(messages.count(), 2);
        // The longest that there is.
        messages.pass(&[0xff, 0xff, 0xff]);
        assert_eq!(messages.count(), 3);
        messages.pass(&[0; 1000]);
        assert_eq!(messages.count(), 3);
    }

    proptest! {
        #[test]
        fn however_it_is_cut_all_messages_count(
            messages in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 0..20),
            cuts in prop::collection::vec(0_usize..900, 0..30),
        ) {
            let stream = stream(&messages);
            let mut cuts: Vec<_> = cuts.into_iter().map(|cut| cut.min(stream.len())).collect();
            cuts.extend([0, stream.len()]);
            cuts.sort_unstable();
            let mut counted = Messages::default();
            for pair in cuts.windows(2) {
                counted.pass(&stream[pair[0]..pair[1]]);
            }
            prop_assert_eq!(counted.count(), messages.len() as u64);
            let mut whole = Messages::default();
            whole.pass(&stream);
            prop_assert_eq!(counted, whole);
        }
    }
}
