//! The forms that texts have in an `AuthorizationPolicy` (waypoint.md §11.6).
use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

/// A condition on a text.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Pattern {
    /// `x`: it is this.
    Exact(Box<str>),
    /// `x*`: it begins with this.
    Prefix(Box<str>),
    /// `*x`: it ends with this.
    Suffix(Box<str>),
    /// `*`: it is there, and not empty.
    Present,
    /// `a*b*`: these follow each other, with anything between them; the first begins it and the last ends it. Only of
    /// namespaces.
    Pieces(Box<[Box<str>]>),
    /// `/a/{*}/{**}`: a path of these segments. Only of paths.
    Template(Template),
}

impl Pattern {
    /// The form of most fields. A `*` anywhere but at one end is a character like any other.
    #[must_use]
    pub fn new(text: &str) -> Self {
        if text == "*" {
            Self::Present
        } else if let Some(end) = text.strip_prefix('*') {
            Self::Suffix(end.into())
        } else if let Some(start) = text.strip_suffix('*') {
            Self::Prefix(start.into())
        } else {
            Self::Exact(text.into())
        }
    }

    /// The form of `namespaces`: a `*` may stand anywhere.
    #[must_use]
    pub fn pieces(text: &str) -> Self {
        match text.bytes().filter(|&b| b == b'*').count() {
            0 => Self::Exact(text.into()),
            1 if text.starts_with('*') || text.ends_with('*') => Self::new(text),
            _ => Self::Pieces(text.split('*').map(Into::into).collect()),
        }
    }

    /// The form of `paths`: a template if there are braces in it.
    ///
    /// # Errors
    /// It is meant as a template and is none.
    pub fn path(text: &str) -> Result<Self, TemplateError> {
        if text.contains(['{', '}']) { Template::new(text).map(Self::Template) } else { Ok(Self::new(text)) }
    }

    /// Whether it holds for `text`. With `fold`, `A` is `a`.
    #[must_use]
    pub fn matches(&self, text: &[u8], fold: bool) -> bool {
        let same = |one: &[u8], two: &str| match fold {
            true => one.eq_ignore_ascii_case(two.as_bytes()),
            false => one == two.as_bytes(),
        };
        match self {
            Self::Exact(wanted) => same(text, wanted),
            Self::Prefix(start) => text.get(..start.len()).is_some_and(|head| same(head, start)),
            Self::Suffix(end) => {
                let split = text.len().checked_sub(end.len()).and_then(|at| text.get(at..));
                split.is_some_and(|tail| same(tail, end))
            }
            Self::Present => !text.is_empty(),
            Self::Pieces(pieces) => follow(pieces, text),
            Self::Template(template) => template.matches(text),
        }
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exact(text) => f.write_str(text),
            Self::Prefix(text) => write!(f, "{text}*"),
            Self::Suffix(text) => write!(f, "*{text}"),
            Self::Present => f.write_str("*"),
            Self::Pieces(pieces) => f.write_str(&pieces.join("*")),
            Self::Template(template) => template.fmt(f),
        }
    }
}

/// Whether `pieces` follow each other in `text`, from its beginning to its end. Each is taken where it first occurs, which leaves
/// the most for those after it: no way back is ever needed.
fn follow(pieces: &[Box<str>], text: &[u8]) -> bool {
    let [first, middle @ .., last] = pieces else { return false };
    let Some(mut rest) = text.strip_prefix(first.as_bytes()) else { return false };
    for piece in middle.iter().filter(|piece| !piece.is_empty()) {
        let place = rest.windows(piece.len()).position(|here| here == piece.as_bytes());
        let Some(after) = place.and_then(|at| rest.get(at.saturating_add(piece.len())..)) else {
            return false;
        };
        rest = after;
    }
    rest.ends_with(last.as_bytes())
}

/// A path in which braces stand for segments.
///
/// `{*}` is one segment, which is not empty. `{**}` is whatever is between two slashes, with slashes of its own or nothing at
/// all: `/a/{**}` holds for `/a/` and `/a/b/c`, not for `/a`. Any character may stand for itself in a segment, also one that
/// Envoy's templates do not know: a refusal shall not be escaped from by an odd character.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Template {
    /// Up to `{**}`, or all.
    head: Vec<Segment>,
    /// What follows `{**}`, if there is one.
    tail: Option<Vec<Segment>>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Segment {
    Is(Box<str>),
    Any,
}

/// Why a text with braces is no template.
#[derive(Clone, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[error(
    "{0:?} is no path template: it begins with /, each {{*}} or {{**}} is a whole segment, nothing but text follows a {{**}}, and there is no other *"
)]
pub struct TemplateError(pub Box<str>);

impl Template {
    /// Reads a template.
    ///
    /// # Errors
    /// See [`TemplateError`].
    pub fn new(text: &str) -> Result<Self, TemplateError> {
        let wrong = || TemplateError(text.into());
        let segments = text.strip_prefix('/').ok_or_else(wrong)?.split('/');
        let (mut head, mut tail) = (Vec::new(), None);
        for segment in segments {
            let segment = match (segment, &tail) {
                ("{**}", None) => {
                    tail = Some(Vec::new());
                    continue;
                }
                ("{*}", None) => Segment::Any,
                _ if segment.contains(['{', '}', '*']) => return Err(wrong()),
                _ => Segment::Is(segment.into()),
            };
            tail.as_mut().unwrap_or(&mut head).push(segment);
        }
        Ok(Self { head, tail })
    }

    fn matches(&self, path: &[u8]) -> bool {
        let Some(path) = path.strip_prefix(b"/") else { return false };
        let segments = || path.split(|&b| b == b'/');
        let count = segments().count();
        let fit = |wanted: &Segment, found: &[u8]| match wanted {
            Segment::Is(text) => text.as_bytes() == found,
            Segment::Any => !found.is_empty(),
        };
        let head = self.head.iter().zip(segments()).all(|(wanted, found)| fit(wanted, found));
        let Some(tail) = &self.tail else { return head && count == self.head.len() };
        // `{**}` itself takes one segment, be it empty.
        head && self.head.len().saturating_add(tail.len()) < count
            && tail.iter().rev().zip(segments().rev()).all(|(wanted, found)| fit(wanted, found))
    }
}

impl fmt::Display for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = String::new();
        let mut push = |segments: &[Segment]| {
            for segment in segments {
                text.push('/');
                text.push_str(match segment {
                    Segment::Is(segment) => segment,
                    Segment::Any => "{*}",
                });
            }
        };
        push(&self.head);
        if let Some(tail) = &self.tail {
            push(&[Segment::Is("{**}".into())]);
            push(tail);
        }
        f.write_str(&text)
    }
}

/// A condition on the principal of a token: issuer and subject, which are there both. The text is split at its **last** slash,
/// since issuers are URLs: `https://a/` is another issuer than `https://a`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum RequestPrincipal {
    /// `*`: any.
    Any,
    /// What the issuer and the subject must be.
    Split {
        /// In the forms `x`, `*x` and `*`.
        issuer: Pattern,
        /// In the forms `x`, `x*` and `*`.
        subject: Pattern,
    },
    /// No slash: of `issuer/subject` as a whole.
    Whole(Pattern),
}

impl RequestPrincipal {
    /// Reads a value.
    #[must_use]
    pub fn new(text: &str) -> Self {
        let Some((issuer, subject)) = text.rsplit_once('/') else {
            return if text == "*" { Self::Any } else { Self::Whole(Pattern::new(text)) };
        };
        let issuer = match issuer.strip_prefix('*') {
            Some("") => Pattern::Present,
            Some(end) => Pattern::Suffix(end.into()),
            None => Pattern::Exact(issuer.into()),
        };
        let subject = match subject.strip_suffix('*') {
            Some("") => Pattern::Present,
            Some(start) => Pattern::Prefix(start.into()),
            None => Pattern::Exact(subject.into()),
        };
        Self::Split { issuer, subject }
    }

    /// Whether it holds for a token of `issuer` for `subject`.
    #[must_use]
    pub fn matches(&self, issuer: &str, subject: &str) -> bool {
        if issuer.is_empty() || subject.is_empty() {
            return false;
        }
        match self {
            Self::Any => true,
            Self::Split { issuer: of, subject: to } => {
                of.matches(issuer.as_bytes(), false) && to.matches(subject.as_bytes(), false)
            }
            Self::Whole(pattern) => pattern.matches([issuer, subject].join("/").as_bytes(), false),
        }
    }
}

impl fmt::Display for RequestPrincipal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any => f.write_str("*"),
            Self::Split { issuer, subject } => write!(f, "{issuer}/{subject}"),
            Self::Whole(pattern) => pattern.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use alloc::string::ToString;

    use super::*;

    #[test]
    fn texts_are_exact_begun_ended_or_present() {
        for (pattern, yes, no) in [
            ("abc", &["abc"][..], &["ab", "abcd", "ABC", ""][..]),
            ("ab*", &["ab", "abc"], &["a", "xab", "AB"]),
            ("*bc", &["bc", "abc"], &["c", "bcd"]),
            ("*", &["a", "*"], &[""]),
            ("a*b", &["a*b"], &["ab", "axb"]),
            ("*a*", &["a*", "xa*"], &["a", "xax"]),
            ("", &[""], &["a"]),
        ] {
            let read = Pattern::new(pattern);
            assert_eq!(read.to_string(), pattern);
            assert!(yes.iter().all(|text| read.matches(text.as_bytes(), false)), "{pattern}");
            assert!(!no.iter().any(|text| read.matches(text.as_bytes(), false)), "{pattern}");
        }
        for (pattern, text) in [("Ab", "aB"), ("A*", "ab"), ("*B", "ab")] {
            assert!(Pattern::new(pattern).matches(text.as_bytes(), true), "{pattern}");
        }
    }

    #[test]
    fn in_namespaces_stars_stand_anywhere() {
        for (pattern, yes, no) in [
            ("a*c", &["ac", "abc", "acc"][..], &["a", "c", "abcd"][..]),
            ("*b*", &["b", "abc"], &["ac", ""]),
            ("a*b*c", &["abc", "axbxc", "abbc"], &["acb", "ab", "ac"]),
            ("aa*aa", &["aaaa", "aaxaa"], &["aa", "aaa"]),
            ("**", &["", "a"], &[]),
            ("pre*", &["pre", "pre-x"], &["xpre"]),
        ] {
            let read = Pattern::pieces(pattern);
            assert_eq!(read.to_string(), pattern);
            assert!(yes.iter().all(|text| read.matches(text.as_bytes(), false)), "{pattern} {read:?}");
            assert!(!no.iter().any(|text| read.matches(text.as_bytes(), false)), "{pattern} {read:?}");
        }
    }

    #[test]
    fn templates_stand_for_segments() {
        for (pattern, yes, no) in [
            (
                "/foo/{*}",
                &["/foo/bar", "/foo/b*", "/foo/\u{e9}"][..],
                &["/foo", "/foo/", "/foo/bar/", "/foo/bar/baz"][..],
            ),
            ("/foo/{*}/bar", &["/foo/x/bar"], &["/foo//bar", "/foo/x/y/bar", "/foo/bar"]),
            ("/{*}/{*}", &["/a/b"], &["/a", "/a/b/c"]),
            ("/foo/{**}", &["/foo/", "/foo/bar", "/foo/bar/baz"], &["/foo", "/foobar"]),
            ("/foo/{**}/bar", &["/foo/a/bar", "/foo/a/b/bar", "/foo//bar"], &["/foo/bar", "/foo/bar/baz"]),
            ("/{*}/bar/{**}", &["/x/bar/", "/x/bar/y/z"], &["/x/bar", "//bar/y"]),
            ("/{**}", &["/", "/a", "/a/b"], &["", "a"]),
        ] {
            let read = Pattern::path(pattern).unwrap();
            assert_eq!(read.to_string(), pattern);
            for text in yes {
                assert!(read.matches(text.as_bytes(), false), "{pattern} {text}");
            }
            for text in no {
                assert!(!read.matches(text.as_bytes(), false), "{pattern} {text}");
            }
        }
        for bad in
            ["{*}", "/a{*}", "/{*}b", "/{**}/{*}", "/{**}/{**}", "/{*}/a*", "/{x}", "/{", "/}", "*/{*}"]
        {
            assert_eq!(Pattern::path(bad), Err(TemplateError(bad.into())));
        }
        assert_eq!(Pattern::path("/a*"), Ok(Pattern::Prefix("/a".into())));
    }

    #[test]
    fn principals_of_tokens_are_split_at_their_last_slash() {
        let (plain, slash) = ("https://a.example", "https://a.example/");
        for (value, yes, no) in [
            ("*", &[(plain, "me"), (slash, "x")][..], &[("", "me"), (plain, "")][..]),
            ("https://a.example/me", &[(plain, "me")], &[(slash, "me"), (plain, "me2"), ("https://a", "me")]),
            ("https://a.example//me", &[(slash, "me")], &[(plain, "/me"), (plain, "me")]),
            (
                "https://a.example/*",
                &[(plain, "me")],
                &[(slash, "me"), (plain, ""), ("https://a.example/b", "c")],
            ),
            ("https://a.example/m*", &[(plain, "me")], &[(plain, "you")]),
            ("*/me", &[(plain, "me"), ("x", "me")], &[(plain, "you"), ("", "me")]),
            ("*.example/me", &[(plain, "me")], &[("https://b.test", "me")]),
            ("https:*", &[(plain, "me")], &[("http://a", "me")]),
            ("https://a*", &[("https:/", "a1")], &[(plain, "me")]),
            ("*e", &[(plain, "me")], &[(plain, "you")]),
            ("me", &[], &[("", "me"), ("me", "")]),
        ] {
            let read = RequestPrincipal::new(value);
            assert_eq!(read.to_string(), value);
            assert!(yes.iter().all(|(issuer, subject)| read.matches(issuer, subject)), "{value}");
            assert!(!no.iter().any(|(issuer, subject)| read.matches(issuer, subject)), "{value}");
        }
    }
}
