//! What proves to a control plane who asks: headers of each call (interfaces §1.1).
use std::fmt;
use std::path::PathBuf;

use http::{HeaderMap, HeaderName, HeaderValue};

/// A bearer token (`AUTH_TOKEN`).
#[derive(Clone, PartialEq, Eq)]
pub enum Token {
    /// A file that Kubernetes renews: read again for each call.
    File(PathBuf),
    /// The token itself.
    Literal(String),
}

impl Token {
    /// The setting's meaning: a file if there is one of this name, else the token itself.
    #[must_use]
    pub fn from_setting(setting: &str) -> Self {
        let path = PathBuf::from(setting);
        if path.exists() { Self::File(path) } else { Self::Literal(setting.to_owned()) }
    }
}

/// Never shows the token.
impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => f.debug_tuple("File").field(path).finish(),
            Self::Literal(_) => f.write_str("Literal(…)"),
        }
    }
}

/// Why a call has no headers.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AuthError {
    /// The token's file cannot be read.
    #[error("cannot read the token for the control plane from {path}: {reason}")]
    Unreadable {
        /// The file.
        path: String,
        /// What the system says.
        reason: String,
    },
    /// There is nothing in it.
    #[error("the token for the control plane is empty: is the projected token mounted?")]
    Empty,
    /// Not a header.
    #[error("{0} cannot be sent as a header")]
    NotAHeader(String),
}

/// The headers of every call.
#[derive(Clone, Debug, Default)]
pub struct Auth {
    token: Option<Token>,
    cluster: String,
    extra: HeaderMap,
}

impl Auth {
    /// With `token`, `authorization` and `clusterid` are sent; `extra` always (`XDS_HEADER_…`, `CA_HEADER_…`).
    ///
    /// # Errors
    /// Something in `extra` is no header.
    pub fn new(
        token: Option<Token>,
        cluster: &str,
        extra: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Self, AuthError> {
        let mut headers = HeaderMap::new();
        for (name, value) in extra {
            let wrong = || AuthError::NotAHeader(name.clone());
            let key = HeaderName::from_bytes(name.as_bytes()).map_err(|_| wrong())?;
            headers.append(key, HeaderValue::from_str(&value).map_err(|_| wrong())?);
        }
        Ok(Self { token, cluster: cluster.to_owned(), extra: headers })
    }

    /// The headers of a call made now.
    ///
    /// # Errors
    /// The token cannot be read, or is empty.
    pub fn headers(&self) -> Result<HeaderMap, AuthError> {
        let mut headers = self.extra.clone();
        let Some(token) = &self.token else { return Ok(headers) };
        let text = match token {
            Token::Literal(text) => text.clone(),
            Token::File(path) => std::fs::read_to_string(path).map_err(|error| AuthError::Unreadable {
                path: path.display().to_string(),
                reason: error.to_string(),
            })?,
        };
        let text = text.trim();
        if text.is_empty() {
            return Err(AuthError::Empty);
        }
        let mut bearer = HeaderValue::from_str(&format!("Bearer {text}"))
            .map_err(|_| AuthError::NotAHeader("the token for the control plane".into()))?;
        bearer.set_sensitive(true);
        headers.insert(http::header::AUTHORIZATION, bearer);
        let cluster = HeaderValue::from_str(&self.cluster)
            .map_err(|_| AuthError::NotAHeader(format!("the cluster id {:?}", self.cluster)))?;
        headers.insert("clusterid", cluster);
        Ok(headers)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cluster_goes_with_the_token_only() {
        let extra = [("x-tenant".to_owned(), "a".to_owned())];
        let with = Auth::new(Some(Token::Literal("secret\n".into())), "east", extra.clone()).unwrap();
        let headers = with.headers().unwrap();
        assert_eq!(headers["authorization"], "Bearer secret");
        assert_eq!(
            (&headers["clusterid"], &headers["x-tenant"]),
            (&"east".parse().unwrap(), &"a".parse().unwrap())
        );
        assert!(!format!("{with:?} {headers:?}").contains("secret"));
        let without = Auth::new(None, "east", extra).unwrap().headers().unwrap();
        assert_eq!(without.len(), 1);
    }

    #[test]
    fn unusable_tokens_and_headers_are_refused() {
        let auth = |token| Auth::new(Some(token), "east", []).unwrap().headers();
        assert_eq!(auth(Token::Literal(" \n".into())), Err(AuthError::Empty));
        assert!(matches!(auth(Token::File("/not/there".into())), Err(AuthError::Unreadable { .. })));
        assert!(matches!(auth(Token::Literal("a\nb".into())), Err(AuthError::NotAHeader(_))));
        let bad = Auth::new(None, "", [("a b".to_owned(), String::new())]);
        assert_eq!(bad.unwrap_err(), AuthError::NotAHeader("a b".into()));
    }
}
