//! A resource's version, as small as it can be kept: there is one for every workload of the mesh.
use alloc::boxed::Box;
use core::fmt;

/// What the server calls a state of a resource; only ever told back to it.
///
/// Istio's versions are hashes in hexadecimal digits (interfaces §1.3), which are kept as numbers.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Version(Kept);

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Kept {
    /// As it is written in lower-case hexadecimal digits without zeros before them.
    Number(u64),
    Text(Box<str>),
}

impl Default for Version {
    /// None: the empty text.
    fn default() -> Self {
        Self(Kept::Text(Box::default()))
    }
}

impl From<&str> for Version {
    fn from(text: &str) -> Self {
        let canonical = text.bytes().all(|octet| matches!(octet, b'0'..=b'9' | b'a'..=b'f'))
            && (text == "0" || !text.starts_with('0'));
        match u64::from_str_radix(text, 16) {
            Ok(number) if canonical => Self(Kept::Number(number)),
            _ => Self(Kept::Text(text.into())),
        }
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Kept::Number(number) => write!(f, "{number:x}"),
            Kept::Text(text) => f.write_str(text),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::string::ToString;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn every_text_comes_back(text in prop_oneof![".{0,20}", "[0-9a-fA-F+]{0,18}"]) {
            prop_assert_eq!(Version::from(&*text).to_string(), text);
        }

        #[test]
        fn hashes_are_numbers(number: u64) {
            let text = std::format!("{number:x}");
            prop_assert!(matches!(Version::from(&*text).0, Kept::Number(_)));
        }
    }

    #[test]
    fn it_is_two_words() {
        assert_eq!(size_of::<Version>(), 16);
    }
}
