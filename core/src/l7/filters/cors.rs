//! What pages of other origins may do (Gateway API: `HTTPCORSFilter`; Fetch, § "HTTP extensions"). The browser enforces it;
//! this only says what it is told.
use alloc::borrow::ToOwned;
use alloc::boxed::Box;
use alloc::string::{String, ToString};
use alloc::vec;
use alloc::vec::Vec;
use core::str::FromStr;
use core::time::Duration;

use super::super::facts::header;
use super::super::request::Request;
use super::super::text::TextMatch;

/// Origins that are allowed.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum AllowOrigin {
    /// `*`: all.
    Any,
    /// This one.
    Exact(Box<str>),
    /// `https://*.example.com`: those with one or more labels in place of the star.
    Under {
        /// Up to the star: `https://`.
        scheme: Box<str>,
        /// From behind it: `.example.com`.
        rest: Box<str>,
    },
    /// Those this holds for (Istio: `allowOrigins`).
    Text(TextMatch),
}

/// A text names no origin.
#[derive(Clone, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[error("{0:?} is no origin: expected *, scheme://host[:port] or scheme://*.domain[:port]")]
pub struct AllowOriginError(pub Box<str>);

impl FromStr for AllowOrigin {
    type Err = AllowOriginError;

    fn from_str(text: &str) -> Result<Self, AllowOriginError> {
        let bad = || AllowOriginError(text.into());
        if text == "*" {
            return Ok(Self::Any);
        }
        let (scheme, host) = text.split_once("://").ok_or_else(bad)?;
        let plain = |part: &str| !part.is_empty() && !part.contains(['*', '/', '?', '#', '@', ' ', ',']);
        if !plain(scheme) {
            return Err(bad());
        }
        match host.strip_prefix('*') {
            Some(rest) if rest.starts_with('.') && plain(rest) => {
                Ok(Self::Under { scheme: alloc::format!("{scheme}://").into(), rest: rest.into() })
            }
            None if plain(host) => Ok(Self::Exact(text.into())),
            _ => Err(bad()),
        }
    }
}

impl AllowOrigin {
    fn allows(&self, origin: &str) -> bool {
        match self {
            Self::Any => true,
            Self::Exact(text) => text.eq_ignore_ascii_case(origin),
            Self::Text(text) => text.matches(origin.as_bytes()),
            Self::Under { scheme, rest } => {
                let begun = origin
                    .split_at_checked(scheme.len())
                    .filter(|(begins, _)| begins.eq_ignore_ascii_case(scheme));
                let labels = begun.and_then(|(_, host)| {
                    let (labels, ends) = host.split_at_checked(host.len().checked_sub(rest.len())?)?;
                    ends.eq_ignore_ascii_case(rest).then_some(labels)
                });
                // Nothing that would make it another host.
                labels.is_some_and(|labels| {
                    !labels.is_empty()
                        && labels.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._".contains(&b))
                })
            }
        }
    }
}

/// Words that are allowed.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Allowed {
    /// `*`: all.
    Any,
    /// These.
    Only(Vec<Box<str>>),
}

impl Allowed {
    /// What the header says, if there is anything to say; `asked`: what the browser wants to know about.
    fn told(&self, credentials: bool, asked: Option<String>) -> Option<String> {
        match self {
            // With credentials a star is only a star.
            Self::Any if credentials => asked,
            Self::Any => Some("*".to_owned()),
            Self::Only(words) => (!words.is_empty()).then(|| words.join(", ")),
        }
    }
}

/// What pages of other origins may do.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Cors {
    /// Which origins.
    pub origins: Vec<AllowOrigin>,
    /// With which methods.
    pub methods: Allowed,
    /// With which headers of theirs.
    pub headers: Allowed,
    /// Which headers of answers they see.
    pub expose: Allowed,
    /// With cookies and the like.
    pub credentials: bool,
    /// For how long the browser need not ask again. Default of the API: 5 s.
    pub max_age: Duration,
    /// Browsers that ask from another origin are answered by the backend (Istio: `unmatchedPreflights`), not by us.
    pub forward_unmatched: bool,
}

/// What a browser that asks first is told; the backend is not asked. Without headers, everything is forbidden.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Preflight {
    /// Headers of the answer, whose status is 200.
    pub headers: Vec<(&'static str, String)>,
}

impl Cors {
    /// The answer to a browser that asks before it sends a request; `None` if this is something else.
    #[must_use]
    pub fn preflight(&self, request: &impl Request) -> Option<Preflight> {
        if request.method() != "OPTIONS" {
            return None;
        }
        let origin = text(request, "origin")?;
        let method = text(request, "access-control-request-method").filter(|method| !method.is_empty())?;
        let Some(mut headers) = self.origin(&origin) else {
            return (!self.forward_unmatched).then(Preflight::default);
        };
        if let Some(methods) = self.methods.told(self.credentials, Some(method)) {
            headers.push(("access-control-allow-methods", methods));
        }
        if let Some(asked) = text(request, "access-control-request-headers").filter(|asked| !asked.is_empty())
            && let Some(allowed) = self.headers.told(self.credentials, Some(asked))
        {
            headers.push(("access-control-allow-headers", allowed));
        }
        headers.push(("access-control-max-age", self.max_age.as_secs().to_string()));
        // Browsers look for it in the answer itself; the conformance suite looks for it here as well.
        headers.extend(self.exposed());
        Some(Preflight { headers })
    }

    /// Headers for the answer to a request that is no preflight: none where its origin is not allowed, or it has none.
    #[must_use]
    pub fn answer(&self, request: &impl Request) -> Vec<(&'static str, String)> {
        let allowed = text(request, "origin").and_then(|origin| self.origin(&origin));
        let Some(mut headers) = allowed else { return Vec::new() };
        headers.extend(self.exposed());
        headers
    }

    /// Which headers the page sees. For `*` with credentials all of them by name would have to be known: then it sees the
    /// usual ones.
    fn exposed(&self) -> Option<(&'static str, String)> {
        Some(("access-control-expose-headers", self.expose.told(self.credentials, None)?))
    }

    /// What is said of `origin`, if it is allowed.
    fn origin(&self, origin: &str) -> Option<Vec<(&'static str, String)>> {
        self.origins.iter().any(|allowed| allowed.allows(origin)).then_some(())?;
        let name = "access-control-allow-origin";
        let anybody = !self.credentials && self.origins.contains(&AllowOrigin::Any);
        let mut headers = if anybody {
            vec![(name, "*".to_owned())]
        } else {
            vec![(name, origin.to_owned()), ("vary", "origin".to_owned())]
        };
        if self.credentials {
            headers.push(("access-control-allow-credentials", "true".to_owned()));
        }
        Some(headers)
    }
}

/// A header that is text.
fn text(request: &impl Request, name: &str) -> Option<String> {
    let value = header(request, name)?;
    core::str::from_utf8(&value).ok().map(ToOwned::to_owned)
}

#[cfg(test)]
mod tests {
    use super::super::super::tests::Asked;
    use super::*;

    fn cors(origins: &[&str], credentials: bool) -> Cors {
        Cors {
            origins: origins.iter().map(|origin| origin.parse().unwrap()).collect(),
            methods: Allowed::Only(vec!["GET".into(), "PUT".into()]),
            headers: Allowed::Only(vec!["x-a".into(), "x-b".into()]),
            expose: Allowed::Only(vec!["x-c".into()]),
            credentials,
            max_age: Duration::from_secs(5),
            forward_unmatched: false,
        }
    }

    fn asks(origin: &str) -> Asked {
        Asked::get("/").by("OPTIONS").with("origin", origin).with("access-control-request-method", "PUT")
    }

    fn told(headers: &[(&'static str, String)]) -> String {
        headers.iter().map(|(name, value)| alloc::format!("{name}: {value}\n")).collect()
    }

    #[test]
    fn a_preflight_is_answered_here_and_says_what_is_allowed() {
        let cors = cors(&["https://www.foo.com", "https://*.bar.com"], false);
        let asked = asks("https://a.b.bar.com").with("access-control-request-headers", "x-a, x-z");
        let expected = "access-control-allow-origin: https://a.b.bar.com\nvary: origin\naccess-control-allow-methods: GET, PUT\n\
                        access-control-allow-headers: x-a, x-b\naccess-control-max-age: 5\naccess-control-expose-headers: x-c\n";
        assert_eq!(told(&cors.preflight(&asked).unwrap().headers), expected);
        let without = told(&cors.preflight(&asks("https://www.foo.com")).unwrap().headers);
        assert!(!without.contains("allow-headers"), "{without}");
        for origin in
            ["https://bar.com", "http://a.bar.com", "https://evil.com/.bar.com", "https://.evil", "null"]
        {
            assert_eq!(cors.preflight(&asks(origin)), Some(Preflight::default()), "{origin}");
        }
        for other in [
            Asked::get("/").with("origin", "https://www.foo.com"),
            Asked::get("/").by("OPTIONS").with("origin", "https://www.foo.com"),
            Asked::get("/").by("OPTIONS").with("access-control-request-method", "PUT"),
        ] {
            assert_eq!(cors.preflight(&other), None);
        }
    }

    #[test]
    fn a_star_stays_one_only_without_credentials() {
        let any = |credentials| Cors {
            methods: Allowed::Any,
            headers: Allowed::Any,
            expose: Allowed::Any,
            ..cors(&["*"], credentials)
        };
        let asked = asks("https://x.y").with("access-control-request-headers", "x-z");
        let free = told(&any(false).preflight(&asked).unwrap().headers);
        assert!(free.starts_with("access-control-allow-origin: *\naccess-control-allow-methods: *\naccess-control-allow-headers: *\n"));
        let bound = told(&any(true).preflight(&asked).unwrap().headers);
        assert!(
            !bound.contains('*') && bound.contains("allow-methods: PUT\naccess-control-allow-headers: x-z"),
            "{bound}"
        );
        assert!(bound.contains("access-control-allow-credentials: true\n"));
    }

    #[test]
    fn answers_tell_who_may_see_them() {
        let asked = Asked::get("/").with("origin", "https://www.foo.com");
        let cors = cors(&["https://www.foo.com"], true);
        let expected = "access-control-allow-origin: https://www.foo.com\nvary: origin\naccess-control-allow-credentials: true\n\
                        access-control-expose-headers: x-c\n";
        assert_eq!(told(&cors.answer(&asked)), expected);
        assert!(cors.answer(&Asked::get("/")).is_empty());
        assert!(cors.answer(&Asked::get("/").with("origin", "https://www.foo.org")).is_empty());
    }

    #[test]
    fn origins_that_a_condition_holds_for_are_allowed_and_others_may_be_the_backends_to_answer() {
        let text = TextMatch::Regex(super::super::super::text::Regex::new("https://.*[.]foo").unwrap());
        let cors =
            Cors { origins: vec![AllowOrigin::Text(text)], forward_unmatched: true, ..cors(&[], false) };
        let preflight = cors.preflight(&asks("https://a.foo")).unwrap();
        assert!(told(&preflight.headers).starts_with("access-control-allow-origin: https://a.foo\nvary"));
        assert_eq!(cors.preflight(&asks("https://a.bar")), None);
    }

    #[test]
    fn what_is_no_origin_is_refused() {
        for bad in [
            "",
            "foo.com",
            "https://",
            "https://*",
            "https://a*.com",
            "*://a",
            "https://a/b",
            "https://*.*.com",
        ] {
            assert_eq!(bad.parse::<AllowOrigin>(), Err(AllowOriginError(bad.into())));
        }
    }
}
