//! Where in a request a token is looked for, and how it is taken out.
use alloc::borrow::Cow;
use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;

use crate::l7::facts;
use crate::l7::request::Request;

/// A place that a token may be in.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Place {
    /// `fromHeaders[]`: a header that begins with the prefix; without that, there is no token in it.
    Header {
        /// In lower case.
        name: Box<str>,
        /// Such as `Bearer `, to the letter.
        prefix: Box<str>,
    },
    /// `fromParams[]`: a query parameter.
    Param(Box<str>),
    /// `fromCookies[]`: a cookie.
    Cookie(Box<str>),
}

impl Place {
    /// Where tokens are looked for if nothing else is said.
    #[must_use]
    pub fn defaults() -> Vec<Self> {
        let header = Self::Header { name: "authorization".into(), prefix: "Bearer ".into() };
        vec![header, Self::Param("access_token".into())]
    }

    /// What is at this place; each value, if there are several. Octets that are no text are no token, but not nothing either.
    pub(super) fn values<'a>(&'a self, request: &'a impl Request) -> Vec<Cow<'a, str>> {
        match self {
            Self::Header { name, prefix } => request
                .header(name)
                .filter_map(|value| value.strip_prefix(prefix.as_bytes()))
                .map(|token| trim(String::from_utf8_lossy(token)))
                .filter(|token| !token.is_empty())
                .collect(),
            Self::Param(name) => {
                let pairs = request.query().unwrap_or_default().split('&');
                let values = pairs.filter_map(|pair| {
                    let (found, value) = pair.split_once('=')?;
                    (decoded(found) == **name).then(|| decoded(value))
                });
                values.filter(|token| !token.is_empty()).collect()
            }
            Self::Cookie(name) => cookies(request)
                .filter_map(|pair| of_cookie(pair, name))
                .filter(|token| !token.is_empty())
                .map(Cow::Owned)
                .collect(),
        }
    }
}

fn trim(text: Cow<'_, str>) -> Cow<'_, str> {
    match text {
        Cow::Borrowed(text) => text.trim().into(),
        Cow::Owned(text) => String::from(text.trim()).into(),
    }
}

/// All `name=value` of the `Cookie` headers.
fn cookies(request: &impl Request) -> impl Iterator<Item = Cow<'_, str>> {
    let headers = request.header("cookie");
    headers.flat_map(|value| value.split(|&b| b == b';').map(|pair| trim(String::from_utf8_lossy(pair))))
}

/// The value of a cookie, if it has this name; it may be in quotes (RFC 6265 §4.1.1).
fn of_cookie<'p>(pair: impl AsRef<str> + 'p, name: &str) -> Option<String> {
    let (found, value) = pair.as_ref().split_once('=')?;
    let value = value.trim();
    let inner = value.strip_prefix('"').and_then(|value| value.strip_suffix('"'));
    (found.trim() == name).then(|| inner.unwrap_or(value).into())
}

/// Without percent encoding, as text. A `+` stays: tokens have none.
fn decoded(text: &str) -> Cow<'_, str> {
    match facts::decoded(text) {
        Cow::Borrowed(octets) => String::from_utf8_lossy(octets),
        Cow::Owned(octets) => String::from_utf8_lossy(&octets).into_owned().into(),
    }
}

/// `query` without the parameters of these names; `None` when nothing is left.
pub(super) fn query_without(query: &str, names: &[Box<str>]) -> Option<String> {
    let stays = |pair: &&str| {
        let name = decoded(pair.split_once('=').map_or(*pair, |(name, _)| name));
        !names.iter().any(|gone| **gone == *name)
    };
    let left: Vec<&str> = query.split('&').filter(stays).collect();
    (!left.is_empty()).then(|| left.join("&"))
}

/// The cookies of a request without those of these names, as one header; `None` when nothing is left.
pub(super) fn cookies_without(request: &impl Request, names: &[Box<str>]) -> Option<String> {
    let gone = |pair: &str| {
        let name = pair.split_once('=').map_or(pair, |(name, _)| name).trim();
        names.iter().any(|gone| **gone == *name)
    };
    let left: Vec<_> = cookies(request).filter(|pair| !pair.is_empty() && !gone(pair)).collect();
    (!left.is_empty()).then(|| left.join("; "))
}
