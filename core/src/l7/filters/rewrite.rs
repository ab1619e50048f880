//! Another path or host on the way to the backend (Gateway API: `HTTPURLRewriteFilter`, `HTTPPathModifier`).
use alloc::borrow::Cow;
use alloc::boxed::Box;
use alloc::format;
use alloc::string::{String, ToString};
use core::hash::{Hash, Hasher};

use regex::{Regex, RegexBuilder};

use super::super::path::PathMatch;
use super::super::text::{MAX_PROGRAM, RegexError};

/// What becomes of a path. The query stays as it is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum PathRewrite {
    /// This instead.
    Full(Box<str>),
    /// This instead of the prefix that was matched. Where no prefix was, the path stays: whoever reads resources refuses
    /// such a rule.
    Prefix(Box<str>),
    /// What an expression finds, replaced (Istio: `uriRegexRewrite`).
    Regex(RegexRewrite),
}

/// Parts of a path that are replaced by others.
#[derive(Clone, Debug)]
pub struct RegexRewrite {
    find: Regex,
    /// Written as the crate wants it: `${1}`.
    replacement: Box<str>,
    /// As it was given: `\1`.
    given: Box<str>,
}

impl RegexRewrite {
    /// Replaces all that `expression` (RE2's syntax) finds; `\0` to `\9` in the replacement stand for its groups.
    ///
    /// # Errors
    /// It is no expression, or takes too much memory.
    pub fn new(expression: &str, replacement: &str) -> Result<Self, RegexError> {
        let find = RegexBuilder::new(expression).size_limit(MAX_PROGRAM).dfa_size_limit(MAX_PROGRAM).build();
        let find = find
            .map_err(|error| RegexError { expression: expression.into(), cause: error.to_string().into() })?;
        let mut text = String::new();
        let mut letters = replacement.chars();
        while let Some(letter) = letters.next() {
            match letter {
                '\\' => match letters.next() {
                    Some(group) if group.is_ascii_digit() => text.push_str(&format!("${{{group}}}")),
                    Some(other) => text.push(other),
                    None => text.push('\\'),
                },
                '$' => text.push_str("$$"),
                other => text.push(other),
            }
        }
        Ok(Self { find, replacement: text.into(), given: replacement.into() })
    }

    fn apply<'a>(&self, path: &'a str) -> Cow<'a, str> {
        match self.find.replace_all(path, &*self.replacement) {
            // It has to stay a path.
            Cow::Owned(text) if !text.starts_with('/') => Cow::Owned(format!("/{text}")),
            text @ (Cow::Owned(_) | Cow::Borrowed(_)) => text,
        }
    }
}

impl PartialEq for RegexRewrite {
    fn eq(&self, other: &Self) -> bool {
        self.find.as_str() == other.find.as_str() && self.given == other.given
    }
}

impl Eq for RegexRewrite {}

impl Hash for RegexRewrite {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (self.find.as_str(), &self.given).hash(state);
    }
}

impl PathRewrite {
    /// The path that `path`, which `matched` holds for, becomes.
    #[must_use]
    pub fn apply<'a>(&'a self, path: &'a str, matched: &PathMatch) -> Cow<'a, str> {
        match self {
            Self::Full(text) => Cow::Borrowed(text),
            Self::Regex(regex) => regex.apply(path),
            Self::Prefix(text) => match matched.replaced(path, text) {
                Some(replaced) => Cow::Owned(replaced),
                None => Cow::Borrowed(path),
            },
        }
    }
}

/// What the backend is asked for instead.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Rewrite {
    /// The host that `Host` or `:authority` says then.
    pub hostname: Option<Box<str>>,
    /// The path.
    pub path: Option<PathRewrite>,
}

#[cfg(test)]
mod tests {
    use super::super::super::path::Prefix;
    use super::*;

    #[test]
    fn a_path_or_its_prefix_becomes_another() {
        let matched = PathMatch::Prefix(Prefix::new("/a").unwrap());
        let prefix = |text: &str| PathRewrite::Prefix(text.into());
        assert_eq!(PathRewrite::Full("/x".into()).apply("/a/b", &matched), "/x");
        assert_eq!(prefix("/x").apply("/a/b", &matched), "/x/b");
        assert_eq!(prefix("/x").apply("/a/b", &PathMatch::Exact("/a/b".into())), "/a/b");
        let begins = PathMatch::Begins("/a/b".into());
        assert_eq!(prefix("/x").apply("/a/bcd", &begins), "/xcd");
        assert_eq!(prefix("").apply("/a/bcd", &begins), "/cd");
    }

    #[test]
    fn what_an_expression_finds_is_replaced() {
        let matched = PathMatch::Prefix(Prefix::root());
        for (find, replacement, path, expected) in [
            ("^/service/([^/]+)(/.*)$", r"\2/instance/\1", "/service/foo/v1/api", "/v1/api/instance/foo"),
            ("one", "two", "/xxx/one/yyy/one/zzz", "/xxx/two/yyy/two/zzz"),
            ("(?i)/xxx/", "/yyy/", "/aaa/XxX/bbb", "/aaa/yyy/bbb"),
            ("^/a", "$0", "/a/b", "/$0/b"),
            ("^/a", r"\\", "/a", "/\\"),
            ("/z", "y", "/a", "/a"),
        ] {
            let rewrite = PathRewrite::Regex(RegexRewrite::new(find, replacement).unwrap());
            assert_eq!(rewrite.apply(path, &matched), expected, "{find}");
        }
        assert!(RegexRewrite::new("(", "").is_err());
    }
}
