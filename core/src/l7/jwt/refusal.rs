//! Why a request with a token is refused, and what its client is told (waypoint.md §12.5).
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use super::rule::KeySource;
use crate::l7::request::Request;

/// What is wrong with a token; the texts are Envoy's, which clients and dashboards know.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, thiserror::Error)]
pub enum JwtError {
    /// No rule is for tokens of its issuer. Of several reasons this is the least telling: it comes first here, and is given last.
    #[error("Jwt issuer is not configured")]
    UnknownIssuer,
    /// It is no three parts.
    #[error("Jwt is not in the form of Header.Payload.Signature with two dots and 3 sections")]
    Form,
    /// First part.
    #[error("Jwt header is an invalid Base64url encoded")]
    HeaderBase64,
    /// First part.
    #[error("Jwt header is an invalid JSON")]
    HeaderJson,
    /// It does not say how it is signed.
    #[error("Jwt header [alg] field is required and must be a string")]
    AlgMissing,
    /// It is signed in a way that is not accepted, such as not at all (`none`), or with a secret (`HS256`).
    #[error("Jwt header [alg] is not supported")]
    AlgUnsupported,
    /// The name of the key is no text.
    #[error("Jwt header [kid] field is not a string")]
    KidNoText,
    /// It has extensions that must be understood.
    #[error("Jwt header [crit] field names extensions that are not supported")]
    Critical,
    /// Second part.
    #[error("Jwt payload is an invalid Base64url encoded")]
    PayloadBase64,
    /// Second part.
    #[error("Jwt payload is an invalid JSON")]
    PayloadJson,
    /// Third part.
    #[error("Jwt signature is an invalid Base64url encoded")]
    SignatureBase64,
    /// `iss` is no text.
    #[error("Jwt payload [iss] field is not a string")]
    IssuerNoText,
    /// `sub` is no text.
    #[error("Jwt payload [sub] field is not a string")]
    SubjectNoText,
    /// `aud` is neither a text nor a list of them.
    #[error("Jwt payload [aud] field is not a string or string list")]
    AudienceNoText,
    /// `nbf` is no time.
    #[error("Jwt payload [nbf] field is not an integer")]
    NotBeforeNoNumber,
    /// `exp` is no time.
    #[error("Jwt payload [exp] field is not an integer")]
    ExpiryNoNumber,
    /// Its time has not come.
    #[error("Jwt not yet valid")]
    NotYetValid,
    /// Its time is over.
    #[error("Jwt is expired")]
    Expired,
    /// It is for somebody else.
    #[error("Audiences in Jwt are not allowed")]
    Audience,
    /// There is no key that it could be signed by.
    #[error("Jwks doesn't have key to match kid or alg from Jwt")]
    NoKey,
    /// There are no keys of its issuer at all: what was given is no set of keys, or none of them can be used.
    #[error("Jwks doesn't have any valid public key")]
    NoKeys,
    /// The keys of its issuer could not be fetched, or not yet.
    #[error("Jwks remote fetch is failed")]
    NotFetched,
    /// The signature is wrong.
    #[error("Jwt verification fails")]
    Signature,
    /// Several different tokens: nobody can tell which one counts.
    #[error("Found multiple Jwt tokens")]
    Several,
}

/// A request is refused because of its token, whatever authorization would say.
#[derive(Clone, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[error("{error}")]
pub struct Refusal {
    /// What is wrong.
    pub error: JwtError,
    /// Where keys might come from that change this: they were never fetched, or lack the key that the token names. Whoever
    /// fetches them may judge again.
    pub refetch: Vec<KeySource>,
}

/// Octets of the URL that an answer repeats.
const MAX_REALM: usize = 256;

impl Refusal {
    /// Status of the answer: 401; 403 for a token that is for somebody else, as Envoy has it.
    #[must_use]
    pub const fn status(&self) -> u16 {
        if matches!(self.error, JwtError::Audience) { 403 } else { 401 }
    }

    /// Body of the answer.
    #[must_use]
    pub fn body(&self) -> String {
        format!("{}", self.error)
    }

    /// `www-authenticate` of the answer (RFC 6750 §3). The URL goes without its query, which may hold the token itself.
    #[must_use]
    pub fn www_authenticate(request: &impl Request) -> String {
        let url = [request.scheme().as_str(), "://", request.authority(), request.path()].concat();
        // Within quotes: nothing that ends them, or the line.
        let told = url.chars().filter(|c| c.is_ascii_graphic() && !matches!(c, '"' | '\\'));
        format!(r#"Bearer realm="{}", error="invalid_token""#, told.take(MAX_REALM).collect::<String>())
    }

    /// For the access log (`%RESPONSE_CODE_DETAILS%`).
    #[must_use]
    pub fn details(&self) -> String {
        format!("jwt_authn_access_denied{{{}}}", self.body().replace(' ', "_"))
    }
}
