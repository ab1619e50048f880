//! Conditions on text: headers, query parameters, paths.
use alloc::boxed::Box;
use alloc::format;
use alloc::string::{String, ToString};
use core::fmt;
use core::hash::{Hash, Hasher};

use regex::bytes::RegexBuilder;

use super::literal::literal_prefix;

/// Octets that a compiled expression may take: a bound on what one resource can cost.
pub(super) const MAX_PROGRAM: usize = 256 << 10;

/// A regular expression in RE2's syntax that holds for a text as a whole (Gateway API: `RegularExpression`). Matching takes
/// time in proportion to the text, whatever the expression.
#[derive(Clone, Debug)]
pub struct Regex {
    text: Box<str>,
    program: regex::bytes::Regex,
}

/// Why an expression is refused.
#[derive(Clone, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[error("{expression:?} is no regular expression in RE2 syntax of acceptable size: {cause}")]
pub struct RegexError {
    /// What was written.
    pub expression: Box<str>,
    /// What is wrong with it.
    pub cause: Box<str>,
}

impl Regex {
    /// Compiles `expression`.
    ///
    /// # Errors
    /// It is none, or takes too much memory.
    pub fn new(expression: &str) -> Result<Self, RegexError> {
        let compile = |text: &str| {
            // Octets, not characters: what is no UTF-8 is not beyond a condition such as `.*`, and `\d` is RE2's.
            let mut builder = RegexBuilder::new(text);
            builder.unicode(false).size_limit(MAX_PROGRAM).dfa_size_limit(MAX_PROGRAM).build()
        };
        // By itself first: `a)(b` would make sense between brackets.
        let program = compile(expression).and_then(|_| compile(&format!("^(?:{expression})$")));
        program
            .map(|program| Self { text: expression.into(), program })
            .map_err(|error| RegexError { expression: expression.into(), cause: error.to_string().into() })
    }

    /// What was written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// What every text begins with that it holds for, as far as that is easily known.
    pub(super) fn literal_prefix(&self) -> String {
        literal_prefix(&self.text)
    }

    /// Whether it holds for `text` as a whole.
    #[must_use]
    pub fn matches(&self, text: &[u8]) -> bool {
        self.program.is_match(text)
    }
}

impl PartialEq for Regex {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for Regex {}

impl Hash for Regex {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.text.hash(state);
    }
}

/// A condition on a text.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum TextMatch {
    /// It is this.
    Exact(Box<str>),
    /// This holds for it.
    Regex(Regex),
}

impl TextMatch {
    /// Whether it holds.
    #[must_use]
    pub fn matches(&self, text: &[u8]) -> bool {
        match self {
            Self::Exact(wanted) => wanted.as_bytes() == text,
            Self::Regex(regex) => regex.matches(text),
        }
    }

    /// What was written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        match self {
            Self::Exact(text) => text,
            Self::Regex(regex) => regex.as_str(),
        }
    }
}

impl fmt::Display for TextMatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exact(text) => write!(f, "{text:?}"),
            Self::Regex(regex) => write!(f, "/{}/", regex.as_str()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_expression_holds_for_the_whole_text_or_not_at_all() {
        for (expression, yes, no) in [
            ("a|b", &["a", "b"][..], &["ab", "xa", "b "][..]),
            ("v[0-9]+", &["v1", "v10"], &["v", "v1x", "av1"]),
            ("", &[""], &["a"]),
            (".*", &["", "anything"], &["a\nb"]),
            ("(?i)abc", &["ABC"], &["abcd"]),
        ] {
            let regex = Regex::new(expression).unwrap();
            for text in yes {
                assert!(regex.matches(text.as_bytes()), "{expression} {text:?}");
            }
            for text in no {
                assert!(!regex.matches(text.as_bytes()), "{expression} {text:?}");
            }
        }
    }

    #[test]
    fn octets_that_are_no_text_are_matched_as_well() {
        assert!(Regex::new(".*").unwrap().matches(b"\xff\xfe"));
        assert!(Regex::new("[^a]+").unwrap().matches(b"b\xff"));
        assert!(!Regex::new(r"\d").unwrap().matches("٣".as_bytes()));
        assert!(Regex::new("é").unwrap().matches("é".as_bytes()));
    }

    #[test]
    fn what_cannot_be_compiled_is_named() {
        for bad in ["(", "a{1000}{1000}", r"(?=a)", r"\1", "a)(b", r"\pL", "(?x)a # b"] {
            let error = Regex::new(bad).unwrap_err();
            assert_eq!(&*error.expression, bad);
        }
    }
}
