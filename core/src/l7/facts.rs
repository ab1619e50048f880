//! What a request says: its headers, query parameters and cookies by their names.
use alloc::borrow::Cow;
use alloc::boxed::Box;
use alloc::vec::Vec;

use super::request::Request;

/// What a condition on a request may be on; an index of matches looks it up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Fact<N> {
    /// The header of this name.
    Header(N),
    /// The first query parameter of this name.
    Query(N),
    /// The method.
    Method,
    /// `Host` or `:authority`.
    Authority,
}

impl Fact<&str> {
    /// The same, for good.
    pub(super) fn into_owned(self) -> Fact<Box<str>> {
        match self {
            Self::Header(name) => Fact::Header(name.into()),
            Self::Query(name) => Fact::Query(name.into()),
            Self::Method => Fact::Method,
            Self::Authority => Fact::Authority,
        }
    }
}

impl Fact<Box<str>> {
    /// What it is for `request`, if it is there.
    pub(super) fn of<'a>(&'a self, request: &'a impl Request) -> Option<Cow<'a, [u8]>> {
        match self {
            Self::Header(name) => header(request, name),
            Self::Query(name) => parameter(request.query(), name),
            Self::Method => Some(Cow::Borrowed(request.method().as_bytes())),
            Self::Authority => Some(Cow::Borrowed(request.authority().as_bytes())),
        }
    }
}

/// A header, if the request has it. Several values are one with commas between (RFC 9110 §5.3).
pub(super) fn header<'a>(request: &'a impl Request, name: &'a str) -> Option<Cow<'a, [u8]>> {
    let mut values = request.header(name);
    let first = values.next()?;
    let Some(second) = values.next() else { return Some(Cow::Borrowed(first)) };
    let mut all = [first, second].join(&b","[..]);
    for value in values {
        all.push(b',');
        all.extend_from_slice(value);
    }
    Some(Cow::Owned(all))
}

/// The first query parameter of this name, decoded.
pub(super) fn parameter<'a>(query: Option<&'a str>, name: &str) -> Option<Cow<'a, [u8]>> {
    let pairs = query.unwrap_or_default().split('&').filter(|pair| !pair.is_empty());
    let mut pairs = pairs.map(|pair| pair.split_once('=').unwrap_or((pair, "")));
    let found = pairs.find(|(found, _)| *decoded(found) == *name.as_bytes());
    found.map(|(_, value)| decoded(value))
}

/// Without percent encoding (RFC 3986 §2.1); a percent sign that encodes nothing is one.
pub(super) fn decoded(text: &str) -> Cow<'_, [u8]> {
    if !text.contains('%') {
        return Cow::Borrowed(text.as_bytes());
    }
    let mut octets = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&octet, after)) = rest.split_first() {
        let code = (octet == b'%').then(|| after.get(..2)).flatten();
        let code = code.and_then(|code| core::str::from_utf8(code).ok());
        // A sign is no digit, whatever the parser takes.
        let code = code.filter(|code| code.bytes().all(|digit| digit.is_ascii_hexdigit()));
        match code.and_then(|code| u8::from_str_radix(code, 16).ok()) {
            Some(value) => {
                octets.push(value);
                rest = after.get(2..).unwrap_or_default();
            }
            None => {
                octets.push(octet);
                rest = after;
            }
        }
    }
    Cow::Owned(octets)
}

/// The values of all cookies of this name, as they are written (RFC 6265 §4.2.1).
pub(super) fn cookies<'a>(request: &'a impl Request, name: &str) -> impl Iterator<Item = &'a [u8]> {
    let pairs = request.header("cookie").flat_map(|value| value.split(|octet| *octet == b';'));
    pairs.filter_map(|pair| pair.trim_ascii().strip_prefix(name.as_bytes())?.strip_prefix(b"="))
}
