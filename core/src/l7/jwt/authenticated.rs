//! Whose token came with a request, as policies look at it.
use alloc::boxed::Box;
use alloc::collections::BTreeSet;
use alloc::format;
use alloc::string::String;

use super::claim::Claim;

/// Claims that are always several texts in one, with spaces between them (waypoint.md §11.7).
const SPACED: [&str; 2] = ["scope", "permission"];

/// What a valid token says: `request.auth.…`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Authenticated {
    claims: Claim,
    issuer: Box<str>,
    spaced: BTreeSet<Box<str>>,
}

impl Authenticated {
    /// The claims of a token of `issuer`; those named in `spaced` are several texts in one (`spaceDelimitedClaims`).
    #[must_use]
    pub fn new(claims: Claim, issuer: &str, spaced: impl IntoIterator<Item = Box<str>>) -> Self {
        Self { claims, issuer: issuer.into(), spaced: spaced.into_iter().collect() }
    }

    /// All it says.
    #[must_use]
    pub const fn claims(&self) -> &Claim {
        &self.claims
    }

    /// `iss`.
    #[must_use]
    pub fn issuer(&self) -> &str {
        &self.issuer
    }

    /// `sub`, unless it is empty.
    #[must_use]
    pub fn subject(&self) -> Option<&str> {
        self.claims.get("sub").and_then(Claim::text).filter(|subject| !subject.is_empty())
    }

    /// `ISSUER/SUBJECT`, if it has both (`request.auth.principal`).
    #[must_use]
    pub fn principal(&self) -> Option<String> {
        let subject = self.subject().filter(|_| !self.issuer.is_empty())?;
        Some(format!("{}/{subject}", self.issuer))
    }

    /// `aud` (`request.auth.audiences`).
    pub fn audiences(&self) -> impl Iterator<Item = &str> {
        self.claims.get("aud").into_iter().flat_map(Claim::texts)
    }

    /// `azp` (`request.auth.presenter`).
    #[must_use]
    pub fn presenter(&self) -> Option<&str> {
        self.claims.get("azp").and_then(Claim::text)
    }

    /// Texts of the claim at `path`: itself or a list's elements, and each of them in parts where it is several texts in one.
    pub fn claim<'a>(&'a self, path: &'a [Box<str>]) -> impl Iterator<Item = &'a str> {
        let spaced = matches!(path, [name] if SPACED.contains(&&**name) || self.spaced.contains(name));
        let claim = self.claims.at(path.iter().map(|name| &**name));
        let texts = claim.into_iter().flat_map(Claim::texts);
        // Without the flag there is nothing to split at: one part, the text itself.
        texts.flat_map(move |text| {
            text.split(move |c| spaced && c == ' ').filter(move |part| !spaced || !part.is_empty())
        })
    }
}
