//! Conditions on the path of a request (Gateway API: `HTTPPathMatch`, `GRPCMethodMatch`).
use alloc::borrow::Cow;
use alloc::boxed::Box;
use alloc::string::String;
use core::fmt;

use super::text::{Regex, TextMatch};

/// A prefix of whole segments: `/foo` is one of `/foo` and `/foo/bar`, not of `/foobar`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Prefix {
    /// Without the slash at its end, which means nothing: empty for `/`.
    text: Box<str>,
}

/// Why a text is no path.
#[derive(Clone, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[error("{0:?} is no path: it must begin with / and have neither ? nor # nor //, . nor .. as a segment")]
pub struct PathError(pub Box<str>);

/// A path that a resource may name.
///
/// # Errors
/// See [`PathError`].
pub fn valid_path(text: &str) -> Result<&str, PathError> {
    let odd = |segment: &str| matches!(segment, "." | "..");
    let bad = !text.starts_with('/')
        || text.contains(['?', '#'])
        || text.contains("//")
        || text.split('/').any(odd);
    if bad { Err(PathError(text.into())) } else { Ok(text) }
}

impl Prefix {
    /// The prefix of everything.
    #[must_use]
    pub fn root() -> Self {
        Self { text: Box::default() }
    }

    /// The prefix `text`.
    ///
    /// # Errors
    /// It is no path.
    pub fn new(text: &str) -> Result<Self, PathError> {
        let text = valid_path(text)?;
        Ok(Self { text: text.strip_suffix('/').unwrap_or(text).into() })
    }

    /// Without the slash at its end: empty for `/`.
    #[must_use]
    pub fn trimmed(&self) -> &str {
        &self.text
    }

    /// What follows it in `path`: nothing, or segments with their slash. `None`: it is no prefix of that.
    #[must_use]
    pub fn rest<'a>(&self, path: &'a str) -> Option<&'a str> {
        path.strip_prefix(&*self.text).filter(|rest| rest.is_empty() || rest.starts_with('/'))
    }

    /// `path` with `replacement` in its place, if it is a prefix of that. Never without a slash at its beginning, and with no
    /// two where they meet.
    #[must_use]
    pub fn replaced(&self, path: &str, replacement: &str) -> Option<String> {
        let rest = self.rest(path)?;
        let mut text = String::from(replacement.strip_suffix('/').unwrap_or(replacement));
        text.push_str(rest);
        if text.is_empty() {
            text.push('/');
        }
        Some(text)
    }
}

impl fmt::Display for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.text.is_empty() { "/" } else { &self.text })
    }
}

/// A condition on a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PathMatch {
    /// It is this, to the last character.
    Exact(Box<str>),
    /// It begins with these segments.
    Prefix(Prefix),
    /// It begins with this text, whatever follows (Istio: `uri.prefix`).
    Begins(Box<str>),
    /// This holds for it.
    Regex(Regex),
    /// It is `/SERVICE/METHOD` of gRPC; what is not there may be anything.
    Grpc {
        /// The service, with its package.
        service: Option<TextMatch>,
        /// The method.
        method: Option<TextMatch>,
    },
}

/// What a path must be for a condition to hold; it may not hold all the same.
pub(super) enum Needs<'a> {
    /// This.
    Exact(Cow<'a, str>),
    /// What begins with this.
    Begins(Cow<'a, str>),
}

impl PathMatch {
    /// What it needs, for an index.
    pub(super) fn needs(&self) -> Needs<'_> {
        match self {
            Self::Exact(text) => Needs::Exact(Cow::Borrowed(text)),
            Self::Prefix(prefix) => Needs::Begins(Cow::Borrowed(prefix.trimmed())),
            Self::Begins(text) => Needs::Begins(Cow::Borrowed(text)),
            Self::Regex(regex) => Needs::Begins(Cow::Owned(regex.literal_prefix())),
            Self::Grpc { service: Some(TextMatch::Exact(service)), method } => match method {
                Some(TextMatch::Exact(method)) => Needs::Exact(["/", service, "/", method].concat().into()),
                Some(TextMatch::Regex(_)) | None => Needs::Begins(["/", service, "/"].concat().into()),
            },
            Self::Grpc { service: Some(TextMatch::Regex(_)) | None, .. } => Needs::Begins("/".into()),
        }
    }

    /// Whether it holds.
    #[must_use]
    pub fn matches(&self, path: &str) -> bool {
        match self {
            Self::Exact(wanted) => **wanted == *path,
            Self::Prefix(prefix) => prefix.rest(path).is_some(),
            Self::Begins(text) => path.starts_with(&**text),
            Self::Regex(regex) => regex.matches(path.as_bytes()),
            Self::Grpc { service, method } => {
                let Some((of, named)) = path.strip_prefix('/').and_then(|path| path.split_once('/')) else {
                    return false;
                };
                let holds = |wanted: &Option<TextMatch>, text: &str| {
                    wanted.as_ref().is_none_or(|wanted| wanted.matches(text.as_bytes()))
                };
                !named.contains('/') && holds(service, of) && holds(method, named)
            }
        }
    }

    /// `path` with `replacement` in place of the prefix, if this is one and holds.
    #[must_use]
    pub fn replaced(&self, path: &str, replacement: &str) -> Option<String> {
        match self {
            Self::Prefix(prefix) => prefix.replaced(path, replacement),
            // Letter by letter, as Istio's users expect it; only that it stays a path is seen to.
            Self::Begins(text) => {
                let rest = path.strip_prefix(&**text)?;
                let slash = if replacement.starts_with('/') { "" } else { "/" };
                Some([slash, replacement, rest].concat())
            }
            Self::Exact(_) | Self::Regex(_) | Self::Grpc { .. } => None,
        }
    }
}

impl fmt::Display for PathMatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exact(path) => write!(f, "path = {path}"),
            Self::Prefix(prefix) => write!(f, "path under {prefix}"),
            Self::Begins(text) => write!(f, "path = {text}..."),
            Self::Regex(regex) => write!(f, "path = /{}/", regex.as_str()),
            Self::Grpc { service, method } => {
                let text = |part: &Option<TextMatch>| {
                    part.as_ref().map_or_else(|| Cow::Borrowed("any"), |part| alloc::format!("{part}").into())
                };
                write!(f, "gRPC service {}, method {}", text(service), text(method))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn prefix(text: &str) -> Prefix {
        Prefix::new(text).unwrap()
    }

    #[test]
    fn prefixes_are_of_whole_segments() {
        for (text, yes, no) in [
            ("/", &["/", "/a", "/a/b", "//"][..], &["*"][..]),
            ("/foo", &["/foo", "/foo/", "/foo/x", "/foo//"], &["/foobar", "/fo", "/Foo", "/", "/x/foo"]),
            ("/foo/", &["/foo", "/foo/", "/foo/x"], &["/foobar", "/fo"]),
            ("/a/b", &["/a/b", "/a/b/c"], &["/a", "/a/bc"]),
        ] {
            for path in yes {
                assert!(prefix(text).rest(path).is_some(), "{text} {path}");
            }
            for path in no {
                assert!(prefix(text).rest(path).is_none(), "{text} {path}");
            }
        }
    }

    // The table of Gateway API's `HTTPPathModifier.replacePrefixMatch`.
    #[test]
    fn a_prefix_is_replaced_as_the_table_says() {
        for (path, of, by, expected) in [
            ("/foo/bar", "/foo", "/xyz", "/xyz/bar"),
            ("/foo/bar", "/foo", "/xyz/", "/xyz/bar"),
            ("/foo/bar", "/foo/", "/xyz", "/xyz/bar"),
            ("/foo/bar", "/foo/", "/xyz/", "/xyz/bar"),
            ("/foo", "/foo", "/xyz", "/xyz"),
            ("/foo/", "/foo", "/xyz", "/xyz/"),
            ("/foo/bar", "/foo", "", "/bar"),
            ("/foo/", "/foo", "", "/"),
            ("/foo", "/foo", "", "/"),
            ("/foo/", "/foo", "/", "/"),
            ("/foo", "/foo", "/", "/"),
            ("/foo", "/", "/xyz", "/xyz/foo"),
            ("/", "/", "/xyz", "/xyz/"),
        ] {
            assert_eq!(prefix(of).replaced(path, by).as_deref(), Some(expected), "{path} {of} {by:?}");
        }
        assert_eq!(prefix("/foo").replaced("/foobar", "/x"), None);
    }

    #[test]
    fn what_is_no_path_is_refused() {
        for bad in ["", "foo", "/a?b", "/a#b", "/a//b", "/a/./b", "/..", "/a/.."] {
            assert_eq!(Prefix::new(bad), Err(PathError(bad.into())));
        }
        for good in ["/", "/a", "/a/", "/a.b/..c", "/%2f"] {
            assert!(Prefix::new(good).is_ok());
        }
    }

    #[test]
    fn grpc_paths_have_two_segments() {
        let exact = |text: &str| Some(TextMatch::Exact(text.into()));
        let regex = |text: &str| Some(TextMatch::Regex(Regex::new(text).unwrap()));
        for (service, method, yes, no) in [
            (exact("p.S"), exact("M"), "/p.S/M", "/p.S/N"),
            (exact("p.S"), None, "/p.S/M", "/p.T/M"),
            (None, exact("M"), "/any/M", "/any/x/M"),
            (regex("p[.].*"), None, "/p.S/M", "/q.S/M"),
            (None, None, "/a/b", "/a"),
        ] {
            let path = PathMatch::Grpc { service, method };
            assert!(path.matches(yes), "{path}");
            assert!(!path.matches(no), "{path}");
        }
    }

    proptest! {
        #[test]
        fn a_replaced_path_is_a_path(path in "(/[a-c]{0,2}){0,4}", of in "(/[a-c]{1,2}){0,3}/?", by in "(/[a-c]{1,2}){0,2}/?") {
            if let Ok(of) = Prefix::new(&of)
                && let Some(replaced) = of.replaced(&path, &by)
            {
                prop_assert!(replaced.starts_with('/'));
                let own = path.matches("//").count();
                prop_assert!(replaced.matches("//").count() <= own + usize::from(path.is_empty()));
            }
        }
    }
}
