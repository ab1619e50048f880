//! The rules for tokens that bear on one destination, and the judgement of a request's tokens (waypoint.md §12.2, §12.3).
use alloc::borrow::Cow;
use alloc::vec::Vec;

use smallvec::SmallVec;

use super::outcome::{Changes, Outcome};
use super::place::Place;
use super::refusal::{JwtError, Refusal};
use super::rule::{JwtRule, KeySource, RequestAuthentication};
use super::token::Token;
use super::verify::Keys;
use crate::l7::request::Request;
use crate::l7::target::ByTarget;
use crate::mesh::Service;
use crate::time::UnixTime;

/// Different tokens in one request that are looked at; more are refused unseen.
const MAX_TOKENS: usize = 4;

/// All rules that a waypoint goes by, found by their targets.
#[derive(Clone, Debug, Default)]
pub struct Authentications {
    rules: ByTarget<Vec<JwtRule>>,
}

impl Authentications {
    /// Those that are given; their order means nothing.
    #[must_use]
    pub fn new(all: impl IntoIterator<Item = RequestAuthentication>) -> Self {
        let mut sorted: Vec<_> = all.into_iter().collect();
        sorted.sort_by(|one, two| one.name.cmp(&two.name));
        let mut rules = ByTarget::default();
        for one in sorted {
            rules.each(&one.targets, |list: &mut Vec<JwtRule>| list.extend(one.rules.iter().cloned()));
        }
        Self { rules }
    }

    /// Those that bear on traffic to `service`; `None`: to a workload by its own address.
    #[must_use]
    pub fn of(&self, service: Option<&Service>) -> JwtRules<'_> {
        JwtRules { parts: self.rules.of(service) }
    }

    /// Where keys come from, for whoever fetches them.
    pub fn sources(&self) -> impl Iterator<Item = &KeySource> {
        self.rules.all().flatten().map(|rule| &rule.keys)
    }
}

/// The rules that bear on one destination.
#[derive(Clone, Debug)]
pub struct JwtRules<'a> {
    parts: SmallVec<[&'a Vec<JwtRule>; 4]>,
}

/// A token of a request, and where which rules found it.
struct Candidate<'a> {
    text: Cow<'a, str>,
    found: SmallVec<[(&'a JwtRule, &'a Place); 2]>,
}

impl<'a> JwtRules<'a> {
    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rules().next().is_none()
    }

    /// The rules, one after another.
    pub fn rules(&self) -> impl Iterator<Item = &'a JwtRule> + Clone {
        let parts = self.parts.clone();
        parts.into_iter().flatten()
    }

    /// Judges the tokens of a request. One that is valid for any rule is enough; none at all is fine as well, and makes nobody
    /// of the client. A browser's preflight has no credentials to look at.
    ///
    /// # Errors
    /// There are tokens, and none of them is valid; or two different ones are.
    pub fn judge<R: Request>(
        &self,
        request: &R,
        now: UnixTime,
        keys: &impl Keys,
    ) -> Result<Outcome, Refusal> {
        let mut outcome = Outcome::default();
        outcome.changes.clean(self.rules());
        if is_preflight(request) {
            return Ok(outcome);
        }
        let rules: SmallVec<[&JwtRule; 4]> = self.rules().collect();
        let candidates = candidates(&rules, request)?;
        let mut accepted = None;
        let (mut error, mut refetch) = (None, Vec::new());
        for Candidate { text, found } in &candidates {
            let token = match Token::read(text, |text| keys.json(text)) {
                Ok(token) => token,
                Err(reason) => {
                    error = error.max(Some(reason));
                    continue;
                }
            };
            let mut by: SmallVec<[&JwtRule; 2]> = SmallVec::new();
            let mut asked: SmallVec<[&JwtRule; 2]> = SmallVec::new();
            for &(rule, _) in found {
                // A rule may find the same token at two places.
                if asked.iter().any(|asked| core::ptr::eq(*asked, rule)) {
                    continue;
                }
                asked.push(rule);
                match rule.check(&token, now, keys) {
                    Ok(()) => by.push(rule),
                    Err(reason) => {
                        if matches!(reason, JwtError::NoKey | JwtError::NotFetched) {
                            refetch.push(rule.keys.clone());
                        }
                        error = error.max(Some(reason));
                    }
                }
            }
            if by.is_empty() {
                continue;
            }
            if accepted.is_some() {
                return Err(Refusal { error: JwtError::Several, refetch: Vec::new() });
            }
            accept(&mut outcome.changes, request, &token, &by, found);
            accepted = Some(JwtRule::authenticated(by.iter().copied(), token.claims));
        }
        match (accepted, error) {
            (None, Some(error)) => Err(Refusal { error, refetch }),
            (auth, _) => Ok(Outcome { auth, ..outcome }),
        }
    }
}

/// What the backend gets to see where `by` have accepted `token`.
fn accept(
    changes: &mut Changes,
    request: &impl Request,
    token: &Token<'_>,
    by: &[&JwtRule],
    found: &[(&JwtRule, &Place)],
) {
    for rule in by {
        changes.tell(rule, token.payload, &token.claims);
    }
    let hides = |rule: &JwtRule| !rule.forward && by.iter().any(|by| core::ptr::eq(*by, rule));
    let places = found.iter().filter(|(rule, _)| hides(rule)).map(|(_, place)| *place);
    changes.hide(request, places);
}

/// The different tokens of a request.
fn candidates<'a>(rules: &[&'a JwtRule], request: &'a impl Request) -> Result<Vec<Candidate<'a>>, Refusal> {
    let mut all: Vec<Candidate<'a>> = Vec::new();
    for rule in rules {
        for place in &rule.places {
            for text in place.values(request) {
                if let Some(known) = all.iter_mut().find(|known| known.text == text) {
                    known.found.push((rule, place));
                } else if all.len() < MAX_TOKENS {
                    all.push(Candidate { text, found: SmallVec::from_iter([(*rule, place)]) });
                } else {
                    return Err(Refusal { error: JwtError::Several, refetch: Vec::new() });
                }
            }
        }
    }
    Ok(all)
}

/// Whether a browser asks what it may ask for (Fetch standard: CORS preflight).
fn is_preflight(request: &impl Request) -> bool {
    let has = |name| request.header(name).any(|value| !value.is_empty());
    request.method() == "OPTIONS" && has("origin") && has("access-control-request-method")
}
