//! What becomes of a request whose tokens have been looked at.
use alloc::borrow::Cow;
use alloc::boxed::Box;
use alloc::collections::BTreeSet;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use super::authenticated::Authenticated;
use super::claim::Claim;
use super::place::{Place, cookies_without, query_without};
use super::rule::JwtRule;
use crate::l7::filters::Headers;
use crate::l7::request::Request;

/// The request goes on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// What its token says; `None`: it has none.
    pub auth: Option<Authenticated>,
    /// What the backend gets to see.
    pub changes: Changes,
}

/// Changes of the request: what only we may write, and what only we may read.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Changes {
    /// Headers that go.
    remove: BTreeSet<Box<str>>,
    /// Headers that have this one value then.
    set: Vec<(Box<str>, String)>,
    /// Query parameters that go.
    params: Vec<Box<str>>,
}

impl Changes {
    /// Does it to the request's headers.
    pub fn apply(&self, headers: &mut impl Headers) {
        for name in &self.remove {
            headers.remove(name);
        }
        for (name, value) in &self.set {
            headers.set(name, value);
        }
    }

    /// The query that the backend gets, of a request that has this one.
    #[must_use]
    pub fn query<'a>(&self, query: Option<&'a str>) -> Option<Cow<'a, str>> {
        match query {
            Some(query) if !self.params.is_empty() => query_without(query, &self.params).map(Cow::Owned),
            query => query.map(Cow::Borrowed),
        }
    }

    /// Whether nothing is done.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.remove.is_empty() && self.set.is_empty() && self.params.is_empty()
    }

    /// Takes away what clients wrote in headers that are ours to write.
    pub(super) fn clean<'a>(&mut self, rules: impl Iterator<Item = &'a JwtRule>) {
        self.remove.extend(rules.flat_map(|rule| rule.written().cloned()));
    }

    /// Takes the token out of where it was found.
    pub(super) fn hide<'a>(&mut self, request: &impl Request, places: impl Iterator<Item = &'a Place>) {
        let mut cookies = Vec::new();
        for place in places {
            match place {
                Place::Header { name, .. } => {
                    self.remove.insert(name.clone());
                }
                Place::Param(name) => self.params.push(name.clone()),
                Place::Cookie(name) => cookies.push(name.clone()),
            }
        }
        if !cookies.is_empty() {
            self.remove.insert("cookie".into());
            self.set.extend(cookies_without(request, &cookies).map(|left| ("cookie".into(), left)));
        }
    }

    /// Writes what `rule` has the backend told of a token. What several rules write is the first one's.
    pub(super) fn tell(&mut self, rule: &JwtRule, payload: &str, claims: &Claim) {
        let mut set = |name: &str, value: String| {
            if !self.set.iter().any(|(set, _)| **set == *name) {
                self.set.push((name.into(), value));
            }
        };
        if let Some(header) = &rule.payload_header {
            set(header, payload.into());
        }
        for to in &rule.claim_headers {
            let claim = claims.get(&to.claim).or_else(|| claims.at(to.claim.split('.')));
            if let Some(value) = claim.and_then(header_value) {
                set(&to.header, value);
            }
        }
    }
}

/// A claim as a header has it: texts, whole numbers, truth. A text that no header can carry is not told: it would write
/// headers of its own.
fn header_value(claim: &Claim) -> Option<String> {
    let is_value = |text: &str| text.bytes().all(|b| b == b'\t' || (b >= b' ' && b != 0x7f));
    match claim {
        Claim::Text(text) => is_value(text).then(|| text.trim().to_string()),
        Claim::Integer(number) => Some(number.to_string()),
        Claim::Bool(truth) => Some(truth.to_string()),
        Claim::Null | Claim::Number { .. } | Claim::List(_) | Claim::Map(_) => None,
    }
}
