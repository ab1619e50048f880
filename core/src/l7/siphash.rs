//! SipHash-2-4 (Aumasson, Bernstein: "SipHash: a fast short-input PRF"): whoever does not have the key can neither foretell a
//! hash nor make one up.

/// A secret of 128 bits. Its `Debug` shows nothing of it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Key(u64, u64);

impl core::fmt::Debug for Key {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("Key(..)")
    }
}

impl Key {
    pub(super) const fn new(secret: u128) -> Self {
        let [low @ .., _, _, _, _, _, _, _, _] = secret.to_le_bytes();
        let [_, _, _, _, _, _, _, _, high @ ..] = secret.to_le_bytes();
        Self(u64::from_le_bytes(low), u64::from_le_bytes(high))
    }

    /// The hash of `octets`.
    pub(super) fn hash(self, octets: &[u8]) -> u64 {
        let mut state = [
            self.0 ^ 0x736f_6d65_7073_6575,
            self.1 ^ 0x646f_7261_6e64_6f6d,
            self.0 ^ 0x6c79_6765_6e65_7261,
            self.1 ^ 0x7465_6462_7974_6573,
        ];
        let (words, rest) = octets.as_chunks::<8>();
        words.iter().for_each(|word| absorb(&mut state, u64::from_le_bytes(*word)));
        // The last word is what is left, and the length in its highest octet.
        let mut last = [0; 8];
        last.iter_mut().zip(rest).for_each(|(to, from)| *to = *from);
        let length = u64::try_from(octets.len()).unwrap_or(u64::MAX) << 56;
        absorb(&mut state, u64::from_le_bytes(last) | length);
        let [_, _, third, _] = &mut state;
        *third ^= 0xff;
        (0..4).for_each(|_| round(&mut state));
        let [a, b, c, d] = state;
        a ^ b ^ c ^ d
    }
}

fn absorb(state: &mut [u64; 4], word: u64) {
    let [_, _, _, last] = state;
    *last ^= word;
    round(state);
    round(state);
    let [first, ..] = state;
    *first ^= word;
}

fn round([a, b, c, d]: &mut [u64; 4]) {
    *a = a.wrapping_add(*b);
    *b = b.rotate_left(13) ^ *a;
    *a = a.rotate_left(32);
    *c = c.wrapping_add(*d);
    *d = d.rotate_left(16) ^ *c;
    *a = a.wrapping_add(*d);
    *d = d.rotate_left(21) ^ *a;
    *c = c.wrapping_add(*b);
    *b = b.rotate_left(17) ^ *c;
    *c = c.rotate_left(32);
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use super::*;

    // Appendix A of the paper, and the first of the reference implementation's vectors, under the same key.
    #[test]
    fn follows_the_published_vectors() {
        let key = Key::new(u128::from_le_bytes(core::array::from_fn(|n| u8::try_from(n).unwrap())));
        let octets: Vec<u8> = (0..15).collect();
        assert_eq!(key.hash(&octets), 0xa129_ca61_49be_45e5);
        assert_eq!(key.hash(&[]), 0x726f_db47_dd0e_0e31);
        assert_eq!(key.hash(&[0]), 0x74f8_39c5_93dc_67fd);
        assert_eq!(alloc::format!("{key:?}"), "Key(..)");
    }
}
