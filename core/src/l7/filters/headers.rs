//! Changes of headers (Gateway API: `HTTPHeaderFilter`).
use alloc::borrow::Cow;
use alloc::boxed::Box;
use alloc::vec::Vec;

/// Headers of a message that can be changed. Names are in lower case.
pub trait Headers {
    /// Takes away all values of `name`.
    fn remove(&mut self, name: &str);
    /// Makes `value` the only value of `name`.
    fn set(&mut self, name: &str, value: &str);
    /// Adds a value to those that `name` has.
    fn append(&mut self, name: &str, value: &str);
}

/// What is done to the headers of a message.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct HeaderChanges {
    /// Names that go.
    pub remove: Vec<Box<str>>,
    /// Names whose only value this is then.
    pub set: Vec<(Box<str>, Box<str>)>,
    /// Names that have this value as well.
    pub add: Vec<(Box<str>, Box<str>)>,
}

impl HeaderChanges {
    /// Whether nothing is done.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.remove.is_empty() && self.set.is_empty() && self.add.is_empty()
    }

    /// Does it to `headers`: removals first (as Envoy), then what is set, then what is added.
    pub fn apply(&self, headers: &mut impl Headers) {
        for name in &self.remove {
            headers.remove(&lower(name));
        }
        for (name, value) in &self.set {
            headers.set(&lower(name), value);
        }
        for (name, value) in &self.add {
            headers.append(&lower(name), value);
        }
    }
}

/// Whoever reads resources writes names in lower case: then nothing is copied.
fn lower(name: &str) -> Cow<'_, str> {
    let odd = name.bytes().any(|octet| octet.is_ascii_uppercase());
    if odd { Cow::Owned(name.to_ascii_lowercase()) } else { Cow::Borrowed(name) }
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use super::super::super::tests::Asked;
    use super::*;

    #[test]
    fn values_are_removed_then_set_then_added() {
        let text = |text: &str| text.into();
        let changes = HeaderChanges {
            remove: vec![text("X-Gone"), text("x-both")],
            set: vec![(text("X-Set"), text("1")), (text("x-both"), text("2"))],
            add: vec![(text("X-Add"), text("3")), (text("x-set"), text("4"))],
        };
        let mut asked =
            Asked::get("/").with("x-gone", "a").with("x-set", "a").with("x-set", "b").with("x-add", "a");
        changes.apply(&mut asked);
        let expected = Asked::get("/")
            .with("x-set", "1")
            .with("x-both", "2")
            .with("x-add", "a")
            .with("x-add", "3")
            .with("x-set", "4");
        for name in ["x-gone", "x-set", "x-both", "x-add"] {
            assert_eq!(asked.values(name), expected.values(name), "{name}");
        }
        assert!(!changes.is_empty() && HeaderChanges::default().is_empty());
    }
}
