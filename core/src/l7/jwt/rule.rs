//! Which tokens are accepted, and where they are looked for (`RequestAuthentication`, waypoint.md §12.1).
use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;
use core::time::Duration;

use super::authenticated::Authenticated;
use super::claim::Claim;
use super::place::Place;
use super::refusal::JwtError;
use super::token::Token;
use super::verify::{Keys, Signature};
use crate::l7::authz::Target;
use crate::mesh::PolicyName;
use crate::time::UnixTime;

/// Clocks may differ by this many seconds.
const SKEW: i64 = 60;

/// Where the keys of an issuer come from.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum KeySource {
    /// `jwks`: the set itself, as JSON.
    Inline(Arc<str>),
    /// `jwksUri`.
    Uri {
        /// Where.
        url: Arc<str>,
        /// How long a fetch may take.
        timeout: Duration,
    },
    /// Neither: what `ISSUER/.well-known/openid-configuration` names.
    Discovery {
        /// The issuer, as it is written.
        issuer: Arc<str>,
        /// How long a fetch may take.
        timeout: Duration,
    },
    /// None, for this reason: no token is accepted.
    Unusable(Arc<str>),
}

impl KeySource {
    /// `timeout` where none is given.
    pub const TIMEOUT: Duration = Duration::from_secs(5);
}

/// A claim that the backend is told in a header (`outputClaimToHeaders`).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ClaimToHeader {
    /// The header, in lower case.
    pub header: Box<str>,
    /// The claim; `a.b` is `b` in `a`, unless there is one of just this name.
    pub claim: Box<str>,
}

/// One kind of token that is accepted (`jwtRules[]`).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct JwtRule {
    /// `issuer`: what `iss` must be.
    pub issuer: Box<str>,
    /// `audiences`: one of these must be in `aud`; none: not asked.
    pub audiences: Vec<Box<str>>,
    /// Whose signature counts.
    pub keys: KeySource,
    /// Where it is looked for; never empty.
    pub places: Vec<Place>,
    /// `forwardOriginalToken`: the backend gets to see it.
    pub forward: bool,
    /// `outputPayloadToHeader`: a header in lower case that has the token's second part, as it came.
    pub payload_header: Option<Box<str>>,
    /// `outputClaimToHeaders`.
    pub claim_headers: Vec<ClaimToHeader>,
    /// `spaceDelimitedClaims`.
    pub spaced: Vec<Box<str>>,
}

impl JwtRule {
    /// A rule that leaves everything as the API has it.
    #[must_use]
    pub fn new(issuer: &str, keys: KeySource) -> Self {
        Self {
            issuer: issuer.into(),
            audiences: Vec::new(),
            keys,
            places: Place::defaults(),
            forward: false,
            payload_header: None,
            claim_headers: Vec::new(),
            spaced: Vec::new(),
        }
    }

    /// Headers that only we may write: whatever a client writes in them would be taken for a token's word.
    pub(super) fn written(&self) -> impl Iterator<Item = &Box<str>> {
        self.payload_header.iter().chain(self.claim_headers.iter().map(|to| &to.header))
    }

    /// Whether `token` is one of these at this time. Its signature is asked for last, since that costs most.
    pub(super) fn check(&self, token: &Token<'_>, now: UnixTime, keys: &impl Keys) -> Result<(), JwtError> {
        let claims = &token.claims;
        let text = |name, error| claims.get(name).map(|claim| claim.text().ok_or(error)).transpose();
        let issuer = text("iss", JwtError::IssuerNoText)?;
        if self.issuer.is_empty() || issuer != Some(&*self.issuer) {
            return Err(JwtError::UnknownIssuer);
        }
        text("sub", JwtError::SubjectNoText)?;
        let now = i64::try_from(now.0).unwrap_or(i64::MAX);
        if time(claims, "nbf", JwtError::NotBeforeNoNumber)?
            .is_some_and(|from| from > now.saturating_add(SKEW))
        {
            return Err(JwtError::NotYetValid);
        }
        if time(claims, "exp", JwtError::ExpiryNoNumber)?
            .is_some_and(|until| until.saturating_add(SKEW) < now)
        {
            return Err(JwtError::Expired);
        }
        let audiences = audiences(claims)?;
        if !self.audiences.is_empty() && !self.audiences.iter().any(|wanted| audiences.contains(&&**wanted)) {
            return Err(JwtError::Audience);
        }
        match keys.verify(&self.keys, &token.header, token.signed.as_bytes(), &token.signature) {
            Signature::Valid => Ok(()),
            Signature::Wrong => Err(JwtError::Signature),
            Signature::Unsupported => Err(JwtError::AlgUnsupported),
            Signature::NoKey => Err(JwtError::NoKey),
            Signature::NoKeys => Err(JwtError::NoKeys),
            Signature::NotFetched => Err(JwtError::NotFetched),
        }
    }

    /// What policies see of a token that one of `rules` has accepted.
    pub(super) fn authenticated<'a>(
        rules: impl Iterator<Item = &'a Self> + Clone,
        claims: Claim,
    ) -> Authenticated {
        let issuer = rules.clone().next().map_or("", |rule| &rule.issuer);
        Authenticated::new(claims, issuer, rules.flat_map(|rule| rule.spaced.iter().cloned()))
    }
}

/// A `NumericDate` (RFC 7519 §2).
fn time(claims: &Claim, name: &str, error: JwtError) -> Result<Option<i64>, JwtError> {
    match claims.get(name) {
        None => Ok(None),
        Some(Claim::Integer(time) | Claim::Number { whole: time, .. }) if *time >= 0 => Ok(Some(*time)),
        Some(_) => Err(error),
    }
}

fn audiences(claims: &Claim) -> Result<Vec<&str>, JwtError> {
    let Some(claim) = claims.get("aud") else { return Ok(vec![]) };
    let count = if let Claim::List(list) = claim { list.len() } else { 1 };
    let texts: Vec<_> = claim.texts().collect();
    if texts.len() == count { Ok(texts) } else { Err(JwtError::AudienceNoText) }
}

/// A `RequestAuthentication`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct RequestAuthentication {
    /// What names it.
    pub name: PolicyName,
    /// What it is for; any of these.
    pub targets: Vec<Target>,
    /// Kinds of tokens.
    pub rules: Vec<JwtRule>,
}
