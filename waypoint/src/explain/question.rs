//! What is asked: a request, who sends it, and to whom. As flags and as a query of the admin page it is the same.
use std::fmt;
use std::str::FromStr;

use adit_core::hbone::Authority;
use adit_core::identity::{Identity, IdentityError};
use adit_ops::http::Query;

use crate::percent;

/// The most headers that a question may have: the admin pages look at so many parts of a query.
pub const MAX_HEADERS: usize = 20;

/// Who calls.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Caller {
    /// `spiffe://…`.
    Identity(Identity),
    /// `namespace/service-account`, in the waypoint's own trust domain.
    Account {
        /// The namespace.
        namespace: String,
        /// The service account.
        account: String,
    },
}

/// Why a text is no [`Caller`].
#[derive(Clone, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum CallerError {
    /// It begins as an identity, and is none.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// It is neither form.
    #[error("expected namespace/service-account or spiffe://TRUST-DOMAIN/ns/NAMESPACE/sa/SERVICE-ACCOUNT")]
    Form,
}

impl FromStr for Caller {
    type Err = CallerError;

    fn from_str(text: &str) -> Result<Self, CallerError> {
        if text.starts_with("spiffe://") {
            return Ok(Self::Identity(text.parse()?));
        }
        let (namespace, account) = text.split_once('/').ok_or(CallerError::Form)?;
        // What is no name in one trust domain is none in any.
        Identity::new("cluster.local", namespace, account)?;
        Ok(Self::Account { namespace: namespace.to_owned(), account: account.to_owned() })
    }
}

impl fmt::Display for Caller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Identity(identity) => identity.fmt(f),
            Self::Account { namespace, account } => write!(f, "{namespace}/{account}"),
        }
    }
}

/// Why a text names nobody that a request could be for.
#[derive(Clone, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[error("expected HOST:PORT, such as reviews.shop:80, 10.0.0.1:80 or [fd00::1]:80 ({0})")]
pub struct TargetSyntax(String);

/// Whom a request is for.
///
/// # Errors
/// It is no host and port.
pub fn target(text: &str) -> Result<Authority, TargetSyntax> {
    Authority::parse(text.as_bytes()).map_err(|error| TargetSyntax(error.to_string()))
}

/// A header, as it is written: `name: value`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Header {
    /// Its name.
    pub name: String,
    /// Its value.
    pub value: String,
}

/// Why a text is no [`Header`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[error("expected 'name: value', such as 'x-group: testers'")]
pub struct HeaderSyntax;

impl FromStr for Header {
    type Err = HeaderSyntax;

    fn from_str(text: &str) -> Result<Self, HeaderSyntax> {
        let (name, value) = text.split_once(':').ok_or(HeaderSyntax)?;
        let value = value.trim();
        if http::HeaderName::from_bytes(name.as_bytes()).is_err()
            || http::HeaderValue::from_str(value).is_err()
        {
            return Err(HeaderSyntax);
        }
        Ok(Self { name: name.to_ascii_lowercase(), value: value.to_owned() })
    }
}

/// A request that is asked about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question {
    /// The service or workload, and the port: `reviews.shop:80`, a hostname, or an address.
    pub to: Authority,
    /// The method.
    pub method: String,
    /// The path as the client writes it, with its query.
    pub path: String,
    /// `Host`; `None`: the one of `to`.
    pub host: Option<String>,
    /// Further headers.
    pub headers: Vec<Header>,
    /// Who calls; `None`: nobody that is known.
    pub from: Option<Caller>,
}

/// Why a query is no [`Question`].
#[derive(Clone, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum QuestionError {
    /// It does not say whom the request is for.
    #[error("to=HOST:PORT is missing: the service that the request is for, such as to=reviews.shop:80")]
    NoTarget,
    /// What it says is none.
    #[error("to: {0}")]
    Target(#[from] TargetSyntax),
    /// A header is none.
    #[error("header: {0}")]
    Header(#[from] HeaderSyntax),
    /// There are too many.
    #[error("header: no more than {MAX_HEADERS} can be asked about")]
    Headers,
    /// Who calls is nobody.
    #[error("from: {0}")]
    Caller(#[from] CallerError),
}

impl Question {
    /// `GET /` to `to`.
    #[must_use]
    pub fn get(to: Authority) -> Self {
        let (method, path) = ("GET".to_owned(), "/".to_owned());
        Self { to, method, path, host: None, headers: Vec::new(), from: None }
    }

    /// The question of a query: `to`, `method`, `path`, `host`, any number of `header`, and `from`.
    ///
    /// # Errors
    /// It is none: see [`QuestionError`].
    pub fn from_query(query: &Query) -> Result<Self, QuestionError> {
        let to = query.get("to").ok_or(QuestionError::NoTarget)?;
        let asked = Self::get(target(to)?);
        let headers = query.all("header").map(str::parse).collect::<Result<Vec<_>, _>>()?;
        if headers.len() > MAX_HEADERS {
            return Err(QuestionError::Headers);
        }
        Ok(Self {
            method: query.get("method").map_or(asked.method, str::to_owned),
            path: query.get("path").map_or(asked.path, str::to_owned),
            host: query.get("host").map(str::to_owned),
            from: query.get("from").map(str::parse).transpose()?,
            headers,
            ..asked
        })
    }

    /// As a query, without `?`.
    #[must_use]
    pub fn to_query(&self) -> String {
        let Self { to, method, path, host, headers, from } = self;
        let own = [("to", to.to_string()), ("method", method.clone()), ("path", path.clone())];
        let host = host.iter().map(|host| ("host", host.clone()));
        let headers = headers.iter().map(|it| ("header", format!("{}: {}", it.name, it.value)));
        let from = from.iter().map(|from| ("from", from.to_string()));
        let parts = own.into_iter().chain(host).chain(headers).chain(from);
        parts
            .map(|(name, value)| format!("{name}={}", percent::encoded(value.as_bytes(), is_plain)))
            .collect::<Vec<_>>()
            .join("&")
    }
}

/// Whether nobody mistakes it in a query (RFC 3986 §2.3, and what paths are written with).
const fn is_plain(octet: u8) -> bool {
    octet.is_ascii_alphanumeric() || matches!(octet, b'-' | b'.' | b'_' | b'~' | b'/' | b':')
}

#[cfg(test)]
mod tests {
    use adit_ops::http::Target;

    use super::*;

    #[test]
    fn a_question_comes_back_from_its_query() {
        let to = || Authority::parse(b"reviews.demo:80").unwrap();
        let all = Question {
            to: to(),
            method: "POST".into(),
            path: "/a b?x=1&y=%41#z".into(),
            host: Some("reviews:80".into()),
            headers: vec!["X-Group:  testers ".parse().unwrap(), "cookie: a=b; c=ü".parse().unwrap()],
            from: Some("demo/web".parse().unwrap()),
        };
        let spiffe = Question { from: Some("spiffe://td/ns/a/sa/b".parse().unwrap()), ..Question::get(to()) };
        for question in [all, spiffe, Question::get(to())] {
            let target = Target::parse(&format!("/explain?{}", question.to_query()));
            assert_eq!(Question::from_query(&target.query).as_ref(), Ok(&question));
        }
    }

    #[test]
    fn what_is_no_question_is_told_so() {
        for (query, expected) in [
            ("", "to=HOST:PORT is missing"),
            ("to=reviews", "to: expected HOST:PORT"),
            ("to=a:80&header=x", "header: expected 'name: value'"),
            ("to=a:80&from=web", "from: expected namespace/service-account"),
            ("to=a:80&from=spiffe://x", "from: path of the SPIFFE identity"),
        ] {
            let error =
                Question::from_query(&Target::parse(&format!("/?{query}")).query).unwrap_err().to_string();
            assert!(error.starts_with(expected), "{query}: {error}");
        }
        let many = format!("/?to=a:80{}", "&header=a:b".repeat(MAX_HEADERS + 1));
        assert_eq!(Question::from_query(&Target::parse(&many).query), Err(QuestionError::Headers));
    }
}
