//! The `traceparent` header (W3C Trace Context; datapath §3.1, §5.5).
use alloc::string::String;
use core::str;

/// Which trace a user connection belongs to. Both tunnels of a double HBONE carry the same one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
pub struct TraceParent {
    /// The trace; not 0.
    pub trace_id: u128,
    /// The calling span (`parent-id`); not 0.
    pub span_id: u64,
    /// Flags; we send 0.
    pub flags: u8,
}

impl TraceParent {
    /// Length of the header's value, in octets.
    const LENGTH: usize = 55;

    /// Parses any octets; `None` when they are no valid value, which is to be treated as if there were none.
    ///
    /// Versions above 00 are read as far as 00 goes, provided that they are no longer than it is.
    #[must_use]
    pub fn parse(value: &[u8]) -> Option<Self> {
        if value.len() != Self::LENGTH {
            return None;
        }
        let mut parts = str::from_utf8(value).ok()?.split('-');
        let [version, trace_id, span_id, flags] =
            [parts.next()?, parts.next()?, parts.next()?, parts.next()?];
        // With the whole as long as it is, right lengths in front leave no room for a fifth part.
        hex(version, 2).filter(|&version| version != 0xff)?;
        Some(Self {
            trace_id: hex(trace_id, 32).filter(|&id| id != 0)?,
            span_id: u64::try_from(hex(span_id, 16)?).ok().filter(|&id| id != 0)?,
            flags: u8::try_from(hex(flags, 2)?).ok()?,
        })
    }

    /// The header's value, version 00.
    #[must_use]
    pub fn encode(&self) -> String {
        let mut out = String::with_capacity(Self::LENGTH);
        self.write(&mut out);
        out
    }

    /// As [`encode`](Self::encode), behind what is in `out`.
    pub(super) fn write(&self, out: &mut String) {
        out.push_str("00");
        for octets in [&self.trace_id.to_be_bytes()[..], &self.span_id.to_be_bytes(), &[self.flags]] {
            out.push('-');
            for octet in octets {
                out.extend([octet >> 4, octet & 0xf].map(hex_digit));
            }
        }
    }
}

/// The digit of a number below 16, in lower case.
fn hex_digit(value: u8) -> char {
    char::from_digit(value.into(), 16).unwrap_or('0')
}

/// A number of exactly `digits` hexadecimal digits, in lower case as the standard demands.
fn hex(text: &str, digits: usize) -> Option<u128> {
    if text.len() != digits {
        return None;
    }
    text.bytes().try_fold(0, |number: u128, digit| {
        let value = match digit {
            b'0'..=b'9' => digit.saturating_sub(b'0'),
            b'a'..=b'f' => digit.saturating_sub(b'a' - 10),
            _ => return None,
        };
        Some(number << 4 | u128::from(value))
    })
}

#[cfg(test)]
mod tests {
    use std::borrow::ToOwned;

    use proptest::prelude::*;

    use super::*;

    const TEXT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    const PARENT: TraceParent = TraceParent {
        trace_id: 0x0af7_6519_16cd_43dd_8448_eb21_1c80_319c,
        span_id: 0xb7ad_6b71_6920_3331,
        flags: 1,
    };

    #[test]
    fn both_ways() {
        assert_eq!(TraceParent::parse(TEXT.as_bytes()), Some(PARENT));
        assert_eq!(PARENT.encode(), TEXT);
        let small = TraceParent { trace_id: 1, span_id: 2, flags: 0 };
        assert_eq!(small.encode(), "00-00000000000000000000000000000001-0000000000000002-00");
    }

    #[test]
    fn later_versions_are_read_as_00_except_ff() {
        assert_eq!(TraceParent::parse(TEXT.replacen("00", "cc", 1).as_bytes()), Some(PARENT));
        assert_eq!(TraceParent::parse(TEXT.replacen("00", "ff", 1).as_bytes()), None);
    }

    #[test]
    fn malformed_is_none() {
        for text in [
            "",
            &TEXT[1..],
            &(TEXT.to_owned() + "-"),
            &TEXT.to_uppercase(),
            &TEXT.replace('-', "_"),
            &TEXT.replace("b7", "+7"),
            &TEXT.replace("-01", "-1-"),
            "00-00000000000000000000000000000000-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
            // Right length, fewer than four parts: the original panics here.
            &"0".repeat(55),
            &std::format!("00-{}", "a".repeat(52)),
            &std::format!("00-{}-{}", "a".repeat(32), "a".repeat(19)),
            &"é".repeat(27).chars().chain(['a']).collect::<String>(),
        ] {
            assert_eq!(TraceParent::parse(text.as_bytes()), None, "{text}");
        }
        assert_eq!(TraceParent::parse(&[0xff; 55]), None);
    }

    proptest! {
        #[test]
        fn round_trip(trace_id in 1u128.., span_id in 1u64.., flags: u8) {
            let parent = TraceParent { trace_id, span_id, flags };
            prop_assert_eq!(TraceParent::parse(parent.encode().as_bytes()), Some(parent));
        }

        #[test]
        fn only_what_we_would_write_parses(at in 2usize..55, octet: u8, other in prop::collection::vec(any::<u8>(), 55)) {
            let mut text = TEXT.as_bytes().to_vec();
            text[at] = octet;
            for text in [text, other] {
                if let Some(parsed) = TraceParent::parse(&text) {
                    prop_assert_eq!(parsed.encode().as_bytes()[2..].to_vec(), text[2..].to_vec());
                }
            }
        }
    }
}
