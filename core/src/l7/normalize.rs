//! Paths as all decisions see them, whatever way a client writes them (waypoint.md §5.6; RFC 3986 §5.2.4, §6.2.2).
use alloc::borrow::Cow;
use alloc::string::String;
use alloc::vec::Vec;

/// How much is made alike (Istio: `meshConfig.pathNormalization`). Each does what those before it do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Normalization {
    /// Nothing.
    None,
    /// Dot segments go; backslashes become slashes; escapes of what needs none (`%61`, `%2e`) are taken back, as Envoy
    /// does: a policy for `/admin` is one for `/%61dmin`.
    #[default]
    Base,
    /// Several slashes become one.
    MergeSlashes,
    /// `%2f` and `%5c` become slashes first.
    DecodeAndMergeSlashes,
}

/// Why a path is refused: status 400.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[error(
    "the path must begin with a slash, hold no control character, and its dot segments must not lead above the root"
)]
pub struct BadPath;

/// `path`, which has no query, in its normal form. `*` of `OPTIONS *` is one.
///
/// # Errors
/// See [`BadPath`].
pub fn normalize(path: &str, how: Normalization) -> Result<Cow<'_, str>, BadPath> {
    if path == "*" {
        return Ok(Cow::Borrowed(path));
    }
    // A backslash at the start may become a slash.
    let begins = path.starts_with('/') || (how >= Normalization::Base && path.starts_with('\\'));
    if !begins || path.bytes().any(|octet| octet.is_ascii_control()) {
        return Err(BadPath);
    }
    if how == Normalization::None || is_normal(path, how) {
        return Ok(Cow::Borrowed(path));
    }
    let mut text = unescaped(&path.replace('\\', "/"));
    if how == Normalization::DecodeAndMergeSlashes {
        for encoded in ["%2f", "%2F", "%5c", "%5C"] {
            text = text.replace(encoded, "/");
        }
    }
    let merge = how >= Normalization::MergeSlashes;
    let mut kept: Vec<&str> = Vec::new();
    let mut segments = text.split('/').skip(1).peekable();
    while let Some(segment) = segments.next() {
        let last = segments.peek().is_none();
        match dots(segment) {
            Some(1) if last => kept.push(""),
            Some(1) => {}
            Some(_) => {
                kept.pop().ok_or(BadPath)?;
                if last {
                    kept.push("");
                }
            }
            None if segment.is_empty() && merge && !last => {}
            None => kept.push(segment),
        }
    }
    let mut normal = String::with_capacity(text.len());
    for segment in &kept {
        normal.push('/');
        normal.push_str(segment);
    }
    if normal.is_empty() {
        normal.push('/');
    }
    Ok(Cow::Owned(normal))
}

/// Whether nothing is to be done, as for nearly every path there is.
fn is_normal(path: &str, how: Normalization) -> bool {
    let encoded_slash = how == Normalization::DecodeAndMergeSlashes && path.contains('%');
    let doubled = how >= Normalization::MergeSlashes && path.contains("//");
    !path.contains('\\')
        && !escapes(path).any(|(_, octet)| octet.is_some())
        && !encoded_slash
        && !doubled
        && path.split('/').all(|segment| dots(segment).is_none())
}

/// Where the escapes of `path` are, and the octet of each that needs none: it is unreserved (RFC 3986 §2.3).
fn escapes(path: &str) -> impl Iterator<Item = (usize, Option<char>)> {
    path.match_indices('%').map(|(at, _)| {
        let digits = path.get(at.saturating_add(1)..at.saturating_add(3));
        let digits = digits.filter(|digits| digits.bytes().all(|octet| octet.is_ascii_hexdigit()));
        let octet = digits.and_then(|digits| u8::from_str_radix(digits, 16).ok()).map(char::from);
        (at, octet.filter(|&c| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_' | '~')))
    })
}

/// `path` without escapes that are not needed (RFC 3986 §6.2.2.2).
fn unescaped(path: &str) -> String {
    let mut text = String::with_capacity(path.len());
    let mut from = 0;
    for (at, octet) in escapes(path) {
        let Some(octet) = octet else { continue };
        text.push_str(path.get(from..at).unwrap_or_default());
        text.push(octet);
        from = at.saturating_add(3);
    }
    text.push_str(path.get(from..).unwrap_or_default());
    text
}

/// Of how many dots a dot segment is, in whatever way they are written; `None`: it is none.
fn dots(segment: &str) -> Option<usize> {
    let mut rest = segment;
    let mut count = 0_usize;
    while !rest.is_empty() {
        let dot = ["%2e", "%2E", "."].iter().find_map(|dot| rest.strip_prefix(dot));
        rest = dot?;
        count = count.saturating_add(1);
    }
    (1..=2).contains(&count).then_some(count)
}

#[cfg(test)]
mod tests {
    use alloc::format;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn one_path_has_one_form() {
        use Normalization::{Base, DecodeAndMergeSlashes, MergeSlashes, None};
        for (path, how, expected) in [
            ("/a/b", Base, Some("/a/b")),
            ("/", Base, Some("/")),
            ("*", Base, Some("*")),
            ("/a/./b", Base, Some("/a/b")),
            ("/a/../b", Base, Some("/b")),
            ("/a/%2e%2E/b", Base, Some("/b")),
            ("/a/.%2e/b", Base, Some("/b")),
            ("/a/..", Base, Some("/")),
            ("/%61dm%69n%2D%7e", Base, Some("/admin-~")),
            ("/%61", None, Some("/%61")),
            ("/%2561%20%c3%a9%", Base, Some("/%2561%20%c3%a9%")),
            ("/a/%2e%2e%2fb", DecodeAndMergeSlashes, Some("/b")),
            ("/a/b/.", Base, Some("/a/b/")),
            ("/a\\b", Base, Some("/a/b")),
            ("\\a", Base, Some("/a")),
            ("/a//b", Base, Some("/a//b")),
            ("/a//b/", MergeSlashes, Some("/a/b/")),
            ("/a/%2f/b", Base, Some("/a/%2f/b")),
            ("/a%2fb", DecodeAndMergeSlashes, Some("/a/b")),
            ("/a%5C..%2f%2fb", DecodeAndMergeSlashes, Some("/b")),
            ("/a/...", Base, Some("/a/...")),
            ("/a/../b\\", None, Some("/a/../b\\")),
            ("/..", Base, Option::None),
            ("/a/../../b", Base, Option::None),
            ("a", Base, Option::None),
            ("", Base, Option::None),
            ("/a\u{1}", None, Option::None),
        ] {
            assert_eq!(normalize(path, how).ok().as_deref(), expected, "{path} {how:?}");
        }
    }

    proptest! {
        #[test]
        fn a_normal_form_is_its_own_and_has_no_dot_segments(
            path in "(/|\\\\|\\.|%2e|%2F|a|%)*", level in 0_u8..3,
        ) {
            let how = [Normalization::Base, Normalization::MergeSlashes, Normalization::DecodeAndMergeSlashes];
            let how = how[usize::from(level)];
            if let Ok(normal) = normalize(&path, how) {
                prop_assert!(normal.starts_with('/'));
                prop_assert!(normal.split('/').all(|segment| dots(segment).is_none()), "{}", normal);
                prop_assert_eq!(normalize(&normal, how).map(|again| format!("{again}")), Ok(format!("{normal}")));
            }
        }
    }
}
