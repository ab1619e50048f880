//! Integers with a prefix of N bits (RFC 7541 §5.1).
use alloc::vec::Vec;

use super::HpackError;

/// Octets that may follow the prefix: five carry 35 bits, more than any value we accept.
const MAX_CONTINUATION: usize = 5;

/// Reads an integer off the front of `input`; `mask` selects the prefix bits of its first octet.
///
/// # Errors
/// `Truncated`; `IntegerOverflow` above 2³² − 1 or beyond five octets behind the prefix.
pub(super) fn decode(input: &mut &[u8], mask: u8) -> Result<usize, HpackError> {
    let (first, rest) = input.split_first().ok_or(HpackError::Truncated)?;
    *input = rest;
    let mut value = u64::from(first & mask);
    if value < u64::from(mask) {
        return narrow(value);
    }
    for position in 0..MAX_CONTINUATION {
        let (octet, rest) = input.split_first().ok_or(HpackError::Truncated)?;
        *input = rest;
        // At most 7 bits shifted by 28: neither the shift nor the sum leaves 36 bits.
        let shift = u32::try_from(position).unwrap_or(0).saturating_mul(7);
        value = value.saturating_add(u64::from(octet & 0x7f).wrapping_shl(shift));
        if octet & 0x80 == 0 {
            return narrow(value);
        }
    }
    Err(HpackError::IntegerOverflow)
}

fn narrow(value: u64) -> Result<usize, HpackError> {
    u32::try_from(value).ok().and_then(|value| usize::try_from(value).ok()).ok_or(HpackError::IntegerOverflow)
}

/// Appends `value`; `mask` selects the prefix bits of the first octet, `pattern` gives the others.
pub(super) fn encode(value: usize, mask: u8, pattern: u8, out: &mut Vec<u8>) {
    match u8::try_from(value) {
        Ok(small) if small < mask => out.push(pattern | small),
        _ => {
            out.push(pattern | mask);
            let mut rest = value.saturating_sub(usize::from(mask));
            while rest >= 0x80 {
                out.push(0x80 | low7(rest));
                rest = rest.wrapping_shr(7);
            }
            out.push(low7(rest));
        }
    }
}

fn low7(value: usize) -> u8 {
    u8::try_from(value & 0x7f).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use std::vec;

    use proptest::prelude::*;

    use super::*;

    fn encoded(value: usize, mask: u8) -> Vec<u8> {
        let mut out = vec![];
        encode(value, mask, 0, &mut out);
        out
    }

    #[test]
    fn rfc7541_c1_examples() {
        for (value, mask, octets) in
            [(10, 0x1f, vec![0x0a]), (1337, 0x1f, vec![0x1f, 0x9a, 0x0a]), (42, 0xff, vec![0x2a])]
        {
            assert_eq!(encoded(value, mask), octets);
            assert_eq!(decode(&mut octets.as_slice(), mask), Ok(value));
        }
    }

    #[test]
    fn rfc7541_5_1_bits_outside_the_prefix_are_ignored() {
        assert_eq!(decode(&mut [0xea].as_slice(), 0x1f), Ok(10));
    }

    #[test]
    fn largest_value_and_one_more() {
        let largest = encoded(0xffff_ffff, 0x7f);
        assert_eq!(largest.len(), 6);
        assert_eq!(decode(&mut largest.as_slice(), 0x7f), Ok(0xffff_ffff));
        let more = encoded(0x1_0000_0000, 0x7f);
        assert_eq!(decode(&mut more.as_slice(), 0x7f), Err(HpackError::IntegerOverflow));
    }

    #[test]
    fn five_continuation_octets_and_one_more() {
        assert_eq!(decode(&mut [0x7f, 0x80, 0x80, 0x80, 0x80, 0x00].as_slice(), 0x7f), Ok(0x7f));
        let long = [0x7f, 0x80, 0x80, 0x80, 0x80, 0x80, 0x00];
        assert_eq!(decode(&mut long.as_slice(), 0x7f), Err(HpackError::IntegerOverflow));
    }

    #[test]
    fn every_cut_is_truncated() {
        let whole = encoded(1_000_000, 0x0f);
        for end in 0..whole.len() {
            assert_eq!(decode(&mut &whole[..end], 0x0f), Err(HpackError::Truncated), "cut at {end}");
        }
    }

    proptest! {
        #[test]
        fn round_trip(value in 0usize..=0xffff_ffff, bits in 4u32..=8, tail in any::<u8>()) {
            let mask = u8::try_from((1u16 << bits) - 1).unwrap();
            let mut octets = encoded(value, mask);
            octets.push(tail);
            let mut input = octets.as_slice();
            prop_assert_eq!(decode(&mut input, mask), Ok(value));
            prop_assert_eq!(input, &[tail]);
        }
    }
}
