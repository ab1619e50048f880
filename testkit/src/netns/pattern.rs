//! Octets that tell where they belong: any loss, repetition or exchange between connections shows.
use std::sync::OnceLock;

/// A prime, so that no power-of-two buffer or window keeps in step with the pattern.
const PERIOD: usize = 65_521;

fn table() -> &'static [u8] {
    static TABLE: OnceLock<Vec<u8>> = OnceLock::new();
    TABLE.get_or_init(|| {
        // Knuth's MMIX generator; the high octet is the random one.
        let step = |state: &mut u64| {
            *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            Some(state.to_be_bytes()[0])
        };
        std::iter::repeat_n((), PERIOD).scan(1, |state, ()| step(state)).collect()
    })
}

/// An endless sequence of octets; different seeds give different ones.
#[derive(Clone, Copy, Debug)]
pub struct Pattern {
    at: usize,
}

impl Pattern {
    /// The sequence of `seed`.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        let spread = seed.wrapping_mul(40_503) % PERIOD as u64;
        Self { at: usize::try_from(spread).unwrap_or_default() }
    }

    /// Writes the next octets.
    pub fn fill(&mut self, mut out: &mut [u8]) {
        while !out.is_empty() {
            let piece = self.piece(out.len());
            let (now, later) = out.split_at_mut(piece.len());
            now.copy_from_slice(piece);
            out = later;
        }
    }

    /// Whether `got` are the next octets.
    #[must_use]
    pub fn matches(&mut self, mut got: &[u8]) -> bool {
        while !got.is_empty() {
            let piece = self.piece(got.len());
            let (now, later) = got.split_at(piece.len());
            if now != piece {
                return false;
            }
            got = later;
        }
        true
    }

    fn piece(&mut self, at_most: usize) -> &'static [u8] {
        let rest = &table()[self.at..];
        let piece = &rest[..rest.len().min(at_most)];
        self.at = (self.at + piece.len()) % PERIOD;
        piece
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_matches_however_it_is_cut() {
        let mut octets = vec![0; 3 * PERIOD + 5];
        Pattern::new(7).fill(&mut octets);
        let mut reader = Pattern::new(7);
        assert!(octets.chunks(1000).all(|chunk| reader.matches(chunk)));
    }

    #[test]
    fn a_lost_octet_and_another_seed_show() {
        let mut octets = vec![0; 64];
        Pattern::new(7).fill(&mut octets);
        assert!(!Pattern::new(7).matches(&octets[1..]));
        assert!(!Pattern::new(8).matches(&octets));
    }
}
