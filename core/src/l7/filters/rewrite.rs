//! Another path or host on the way to the backend (Gateway API: `HTTPURLRewriteFilter`, `HTTPPathModifier`).
use alloc::borrow::Cow;
use alloc::boxed::Box;

use super::super::path::PathMatch;

/// What becomes of a path. The query stays as it is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum PathRewrite {
    /// This instead.
    Full(Box<str>),
    /// This instead of the prefix that was matched. Where no prefix was, the path stays: whoever reads resources refuses
    /// such a rule.
    Prefix(Box<str>),
}

impl PathRewrite {
    /// The path that `path`, which `matched` holds for, becomes.
    #[must_use]
    pub fn apply<'a>(&'a self, path: &'a str, matched: &PathMatch) -> Cow<'a, str> {
        match self {
            Self::Full(text) => Cow::Borrowed(text),
            Self::Prefix(text) => match matched.prefix().and_then(|prefix| prefix.replaced(path, text)) {
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
    }
}
