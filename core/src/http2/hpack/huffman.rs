//! The static Huffman code (RFC 7541 §5.2, Appendix B), decoded by tables built at compile time.
//!
//! The code is canonical: among codes of one length, values rise with the symbol, and each length goes on where the one
//! before it ended. So the lengths alone define it, and decoding a symbol is finding its length: one comparison per
//! length in use, at most 21. The work per string is linear in its octets.
use alloc::vec::Vec;

use super::HpackError;

/// Symbols: the 256 octets, and end-of-string as number 256.
const SYMBOLS: usize = 257;
/// Different code lengths in use.
const LENGTHS_IN_USE: usize = 21;
const LONGEST: u8 = 30;

/// Code length in bits of each symbol (RFC 7541 Appendix B).
#[rustfmt::skip]
pub(super) const LENGTHS: [u8; SYMBOLS] = [
    13, 23, 28, 28, 28, 28, 28, 28, 28, 24, 30, 28, 28, 30, 28, 28,
    28, 28, 28, 28, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 28,
    6, 10, 10, 12, 13, 6, 8, 11, 10, 10, 8, 11, 8, 6, 6, 6,
    5, 5, 5, 6, 6, 6, 6, 6, 6, 6, 7, 8, 15, 6, 12, 10,
    13, 6, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7,
    7, 7, 7, 7, 7, 7, 7, 7, 8, 7, 8, 13, 19, 13, 14, 6,
    15, 5, 6, 5, 6, 5, 6, 6, 6, 5, 7, 7, 6, 6, 6, 5,
    6, 7, 6, 5, 5, 6, 7, 7, 7, 7, 7, 15, 11, 14, 13, 28,
    20, 22, 20, 20, 22, 22, 22, 23, 22, 23, 23, 23, 23, 23, 24, 23,
    24, 24, 22, 23, 24, 23, 23, 23, 23, 21, 22, 23, 22, 23, 23, 24,
    22, 21, 20, 22, 22, 23, 23, 21, 23, 22, 22, 24, 21, 22, 23, 23,
    21, 21, 22, 21, 23, 22, 23, 23, 20, 22, 22, 22, 23, 22, 22, 23,
    26, 26, 20, 19, 22, 23, 22, 25, 26, 26, 26, 27, 27, 26, 24, 25,
    19, 21, 26, 27, 27, 26, 27, 24, 21, 21, 26, 26, 28, 27, 27, 27,
    20, 24, 20, 21, 22, 21, 21, 23, 22, 22, 25, 25, 24, 24, 26, 23,
    26, 27, 26, 26, 27, 27, 27, 27, 27, 28, 27, 27, 27, 27, 27, 26,
    30,
];

/// All codes of one length, as 32-bit windows whose top bits hold the code.
#[derive(Clone, Copy)]
struct Group {
    /// Bits in each of its codes.
    length: u32,
    /// The smallest window that begins with one of its codes.
    first: u32,
    /// The largest such window.
    last: u32,
    /// Where its symbols begin in [`ORDER`].
    offset: usize,
}

/// The groups by rising length, hence by rising windows; the last one ends at `u32::MAX`.
static GROUPS: [Group; LENGTHS_IN_USE] = TABLES.0;
/// The symbols by length of code, then by value: the order of their codes.
static ORDER: [u16; SYMBOLS] = TABLES.1;
const TABLES: ([Group; LENGTHS_IN_USE], [u16; SYMBOLS]) = tables();

#[expect(
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation,
    reason = "runs at compile time only, where a fault is a build error"
)]
const fn tables() -> ([Group; LENGTHS_IN_USE], [u16; SYMBOLS]) {
    let mut groups = [Group { length: 0, first: 0, last: 0, offset: 0 }; LENGTHS_IN_USE];
    let mut order = [0; SYMBOLS];
    let (mut group, mut placed, mut window) = (0, 0, 0u64);
    let mut length = 1;
    while length <= LONGEST {
        let offset = placed;
        let mut symbol = 0;
        while symbol < SYMBOLS {
            if LENGTHS[symbol] == length {
                order[placed] = symbol as u16;
                placed += 1;
            }
            symbol += 1;
        }
        if placed > offset {
            let first = window;
            window += ((placed - offset) as u64) << (32 - length);
            groups[group] =
                Group { length: length as u32, first: first as u32, last: (window - 1) as u32, offset };
            group += 1;
        }
        length += 1;
    }
    // A code that left windows unused, or used one twice, would be a misprint above.
    assert!(window == 1 << 32 && placed == SYMBOLS && group == LENGTHS_IN_USE);
    (groups, order)
}

/// The symbol with which `window` begins, and the bits of its code.
fn symbol(window: u32) -> Option<(u16, u32)> {
    let group = GROUPS.iter().find(|group| window <= group.last)?;
    let ordinal = window.wrapping_sub(group.first).checked_shr(32u32.saturating_sub(group.length))?;
    let index = group.offset.checked_add(usize::try_from(ordinal).ok()?)?;
    Some((*ORDER.get(index)?, group.length))
}

/// Decodes a whole string. The result is at most 8/5 as long as `coded`.
///
/// # Errors
/// `HuffmanPadding`, `HuffmanEndOfString`.
pub(super) fn decode(coded: &[u8]) -> Result<Vec<u8>, HpackError> {
    let mut out = Vec::with_capacity(coded.len().saturating_mul(8).div_ceil(5));
    // The lowest `held` bits of `bits` are not decoded yet; fewer than 30 are left over when an octet joins them.
    let (mut bits, mut held) = (0u64, 0u32);
    for &octet in coded {
        bits = bits.wrapping_shl(8) | u64::from(octet);
        held = held.saturating_add(8);
        while let Some((symbol, length)) = symbol(window(bits, held)).filter(|&(_, length)| length <= held) {
            let octet = u8::try_from(symbol).map_err(|_| HpackError::HuffmanEndOfString)?;
            out.push(octet);
            held = held.saturating_sub(length);
        }
    }
    // spec: rfc7541#5.2: what is left must be the beginning of end-of-string, which is all ones, and under 8 bits.
    if held < 8 && window(bits, held) == u32::MAX { Ok(out) } else { Err(HpackError::HuffmanPadding) }
}

/// The lowest `held` bits of `bits`, as far as they go, at the top of a window with ones behind them.
fn window(bits: u64, held: u32) -> u32 {
    let wide = match held.checked_sub(u32::BITS) {
        Some(excess) => bits.wrapping_shr(excess),
        None => bits.wrapping_shl(u32::BITS.saturating_sub(held)) | u64::from(u32::MAX.wrapping_shr(held)),
    };
    u32::try_from(wide & u64::from(u32::MAX)).unwrap_or(u32::MAX)
}

#[cfg(test)]
pub(super) fn encode(plain: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let (mut bits, mut held) = (0u64, 0u32);
    for &octet in plain {
        let (code, length) = tests::code(u16::from(octet));
        bits = bits << length | u64::from(code);
        held += length;
        while held >= 8 {
            held -= 8;
            out.push((bits >> held & 0xff) as u8);
        }
    }
    if held > 0 {
        out.push(((bits << (8 - held)) as u8) | (0xff >> held));
    }
    out
}

#[cfg(test)]
mod tests {
    use std::sync::LazyLock;
    use std::vec;

    use proptest::prelude::*;

    use super::*;

    const END_OF_STRING: u16 = 256;

    /// The code of each symbol and its length, built the slow way: canonical order, counting up.
    static CODES: LazyLock<Vec<(u32, u32)>> = LazyLock::new(|| {
        let mut order: Vec<u16> = (0..=END_OF_STRING).collect();
        order.sort_by_key(|&symbol| (LENGTHS[usize::from(symbol)], symbol));
        let mut codes = vec![(0, 0); SYMBOLS];
        let (mut code, mut length) = (0u32, 0u32);
        for symbol in order {
            let own = u32::from(LENGTHS[usize::from(symbol)]);
            code <<= own - length;
            length = own;
            codes[usize::from(symbol)] = (code, length);
            code += 1;
        }
        codes
    });

    pub(super) fn code(symbol: u16) -> (u32, u32) {
        CODES[usize::from(symbol)]
    }

    #[test]
    fn codes_printed_in_appendix_b() {
        for (symbol, expected) in [
            (0, (0x1ff8, 13)),
            (1, (0x7f_ffd8, 23)),
            (10, (0x3fff_fffc, 30)),
            (b' '.into(), (0x14, 6)),
            (b'!'.into(), (0x3f8, 10)),
            (b'\''.into(), (0x7fa, 11)),
            (b'0'.into(), (0x0, 5)),
            (b'a'.into(), (0x3, 5)),
            (b'z'.into(), (0x7b, 7)),
            (195, (0x7_fff1, 19)),
            (255, (0x3ff_ffee, 26)),
            (END_OF_STRING, (0x3fff_ffff, 30)),
        ] {
            assert_eq!(code(symbol), expected, "symbol {symbol}");
        }
    }

    #[test]
    fn every_symbol_alone_and_all_together() {
        for octet in 0..=u8::MAX {
            assert_eq!(decode(&encode(&[octet])), Ok(vec![octet]));
        }
        let all: Vec<u8> = (0..=u8::MAX).collect();
        assert_eq!(decode(&encode(&all)), Ok(all));
    }

    #[test]
    fn empty_string() {
        assert_eq!(decode(&[]), Ok(vec![]));
    }

    #[test]
    fn rfc7541_5_2_padding_of_eight_bits_or_more_is_refused() {
        // 'w' is 7 bits, so one octet has one bit of padding; a second octet makes it nine.
        assert_eq!(decode(&[0xf1]), Ok(vec![b'w']));
        assert_eq!(decode(&[0xf1, 0xff]), Err(HpackError::HuffmanPadding));
        assert_eq!(decode(&[0xff]), Err(HpackError::HuffmanPadding));
        assert_eq!(decode(&[0xff, 0xff, 0xff]), Err(HpackError::HuffmanPadding));
    }

    #[test]
    fn rfc7541_5_2_padding_other_than_ones_is_refused() {
        // 'a' is 00011; the three bits behind it must be 111.
        for (octet, fine) in [(0x1f, true), (0x1e, false), (0x18, false), (0x1b, false), (0x1d, false)] {
            assert_eq!(decode(&[octet]).is_ok(), fine, "{octet:#x}");
        }
    }

    #[test]
    fn rfc7541_5_2_end_of_string_is_refused() {
        assert_eq!(decode(&[0xff, 0xff, 0xff, 0xff]), Err(HpackError::HuffmanEndOfString));
        // Behind a symbol, too: 'a', then 30 ones and padding.
        assert_eq!(decode(&[0x1f, 0xff, 0xff, 0xff, 0xff]), Err(HpackError::HuffmanEndOfString));
    }

    proptest! {
        #[test]
        fn round_trip(plain: Vec<u8>) {
            prop_assert_eq!(decode(&encode(&plain)), Ok(plain));
        }

        /// The code is complete and padding is unique, so each string has exactly one form.
        #[test]
        fn what_decodes_encodes_to_the_same(coded: Vec<u8>) {
            if let Ok(plain) = decode(&coded) {
                prop_assert!(plain.len() * 5 <= coded.len() * 8);
                prop_assert_eq!(encode(&plain), coded);
            }
        }
    }
}
