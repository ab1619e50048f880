//! Telling the client to ask elsewhere (Gateway API: `HTTPRequestRedirectFilter`).
use alloc::boxed::Box;
use alloc::format;
use alloc::string::String;

use super::super::path::PathMatch;
use super::super::request::{Request, Scheme};
use super::rewrite::PathRewrite;

/// Where the client is sent. What is not said stays as the client said it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Redirect {
    /// The scheme.
    pub scheme: Option<Scheme>,
    /// The host, without port.
    pub hostname: Option<Box<str>>,
    /// The path.
    pub path: Option<PathRewrite>,
    /// The port.
    pub port: Option<u16>,
    /// The status of the answer: 301, 302, 303, 307 or 308.
    pub status: u16,
}

/// An answer that sends the client elsewhere.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Location {
    /// The status of the answer.
    pub status: u16,
    /// The header `location`.
    pub location: String,
}

impl Redirect {
    /// The answer to `request`, which came to `port` and which `matched` holds for.
    #[must_use]
    pub fn location(&self, request: &impl Request, port: u16, matched: &PathMatch) -> Location {
        let scheme = self.scheme.unwrap_or_else(|| request.scheme());
        let (own_host, own_port) = host_and_port(request.authority());
        let host = self.hostname.as_deref().unwrap_or(own_host);
        let port = match (self.port, self.scheme) {
            (Some(port), _) => port,
            (None, Some(scheme)) => scheme.port(),
            (None, None) => own_port.unwrap_or(port),
        };
        let path = match &self.path {
            Some(rewrite) => rewrite.apply(request.path(), matched),
            None => request.path().into(),
        };
        let (scheme_text, bracketed) = (scheme.as_str(), host.contains(':') && !host.starts_with('['));
        let host = if bracketed { format!("[{host}]") } else { host.into() };
        let mut location = match port == scheme.port() {
            true => format!("{scheme_text}://{host}{path}"),
            false => format!("{scheme_text}://{host}:{port}{path}"),
        };
        if let Some(query) = request.query() {
            location.push('?');
            location.push_str(query);
        }
        Location { status: self.status, location }
    }
}

/// The parts of an authority; an IPv6 address keeps its brackets.
fn host_and_port(authority: &str) -> (&str, Option<u16>) {
    match authority.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => match port.parse() {
            Ok(port) => (host, Some(port)),
            // A port that is none is left out.
            Err(_) => (host, None),
        },
        _ => (authority, None),
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::path::Prefix;
    use super::super::super::tests::Asked;
    use super::*;

    const SAME: Redirect = Redirect { scheme: None, hostname: None, path: None, port: None, status: 302 };

    #[test]
    fn what_is_not_said_stays_and_ports_follow_the_scheme() {
        let asked = || Asked::get("/a/b?c=d").at("echo");
        let matched = PathMatch::Prefix(Prefix::new("/a").unwrap());
        let host = || Some("example.org".into());
        let prefix = |text: &str| Some(PathRewrite::Prefix(text.into()));
        for (redirect, asked, port, expected) in [
            (SAME, asked(), 80, "http://echo/a/b?c=d"),
            (SAME, asked(), 8080, "http://echo:8080/a/b?c=d"),
            (SAME, asked().at("echo:8080"), 80, "http://echo:8080/a/b?c=d"),
            (SAME, asked().at("[::1]:8080"), 80, "http://[::1]:8080/a/b?c=d"),
            (SAME, asked().at("[::1]"), 80, "http://[::1]/a/b?c=d"),
            (Redirect { hostname: host(), ..SAME }, asked(), 80, "http://example.org/a/b?c=d"),
            (
                Redirect { hostname: host(), ..SAME },
                asked().at("echo:8080"),
                80,
                "http://example.org:8080/a/b?c=d",
            ),
            (Redirect { port: Some(8083), ..SAME }, asked(), 80, "http://echo:8083/a/b?c=d"),
            (Redirect { port: Some(80), ..SAME }, asked().at("echo:8080"), 8080, "http://echo/a/b?c=d"),
            (
                Redirect { scheme: Some(Scheme::Https), ..SAME },
                asked().at("echo:8080"),
                80,
                "https://echo/a/b?c=d",
            ),
            (
                Redirect { scheme: Some(Scheme::Https), port: Some(80), ..SAME },
                asked(),
                80,
                "https://echo:80/a/b?c=d",
            ),
            (Redirect { path: prefix("/x"), ..SAME }, asked(), 80, "http://echo/x/b?c=d"),
            (Redirect { path: prefix("/"), ..SAME }, asked(), 80, "http://echo/b?c=d"),
            (
                Redirect { path: Some(PathRewrite::Full("/full".into())), status: 301, ..SAME },
                asked(),
                80,
                "http://echo/full?c=d",
            ),
            (SAME, Asked::get("/").at("echo:x"), 80, "http://echo/"),
        ] {
            let Location { status, location } = redirect.location(&asked, port, &matched);
            assert_eq!((status, &*location), (redirect.status, expected));
        }
    }
}
