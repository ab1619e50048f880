//! Clients that stay with the endpoint that answered them first (Gateway API: `sessionPersistence`; GEP-1619).
//!
//! The client keeps a token for us, in a cookie or a header. It names the endpoint by a keyed hash, so it tells nothing about
//! addresses, and carries the time it was made and a keyed hash of all that, so a client can neither choose an endpoint nor
//! live longer than it may. Whoever shows no token, or one that is none, is treated as new.
use alloc::boxed::Box;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt::Write as _;
use core::time::Duration;

use super::backends::Target;
use super::facts::cookies;
use super::request::Request;
use super::siphash::Key;
use crate::time::UnixTime;

/// Makes tokens and checks them. All replicas of a waypoint need the same one, or each begins the other's sessions anew.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SessionKey(Key);

impl SessionKey {
    /// The key of a secret.
    #[must_use]
    pub const fn new(secret: u128) -> Self {
        Self(Key::new(secret))
    }

    fn tag(&self, target: &Target, uid: &str) -> u64 {
        let service = &target.service;
        let parts = [&*service.namespace, &*service.hostname, uid].map(str::as_bytes);
        // No name has a zero in it: each text stays apart from the next.
        let mut octets = parts.join(&0);
        octets.extend_from_slice(&target.port.to_be_bytes());
        self.0.hash(&octets)
    }

    fn seal(&self, name: &str, tag: u64, issued: UnixTime) -> u64 {
        let mut octets = Vec::with_capacity(name.len().saturating_add(16));
        octets.extend_from_slice(&tag.to_be_bytes());
        octets.extend_from_slice(&issued.0.to_be_bytes());
        octets.extend_from_slice(name.as_bytes());
        self.0.hash(&octets)
    }
}

/// Where the client keeps its token.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Keeper {
    /// In a cookie.
    Cookie {
        /// Its name.
        name: Box<str>,
        /// For which paths the client shows it.
        path: Box<str>,
        /// Whether it outlives the client's own session (`lifetimeType: Permanent`), as long as
        /// [`timeout`](Persistence::timeout) says.
        permanent: bool,
    },
    /// In a header, which it copies from answers to its requests.
    Header {
        /// Its name, in lower case.
        name: Box<str>,
    },
}

/// Sessions of a rule.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Persistence {
    /// Where tokens are kept.
    pub keeper: Keeper,
    /// How long a session lasts, from its first answer (`absoluteTimeout`). `None`: as long as its endpoint.
    pub timeout: Option<Duration>,
}

/// A client's session: which endpoint it has, by a hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Session(u64);

impl Session {
    /// Whether its endpoint is that of this name (its workload's uid) behind `target`. Of the endpoints that may be chosen at
    /// all, the one that it is goes before everything else: weights and load balancing are for new sessions.
    #[must_use]
    pub fn is_with(self, key: &SessionKey, target: &Target, uid: &str) -> bool {
        key.tag(target, uid) == self.0
    }
}

impl Persistence {
    /// The session that `request` belongs to, if it does.
    #[must_use]
    pub fn session(&self, request: &impl Request, now: UnixTime, key: &SessionKey) -> Option<Session> {
        let valid = |token: &[u8]| self.open(token, now, key);
        match &self.keeper {
            Keeper::Header { name } => request.header(name).find_map(valid),
            Keeper::Cookie { name, .. } => cookies(request, name).find_map(valid),
        }
    }

    /// The header of the answer that makes the client stay with the endpoint `uid` behind `target`, which has answered it;
    /// `None` if `session` is with that one already.
    #[must_use]
    pub fn keep(
        &self,
        session: Option<Session>,
        target: &Target,
        uid: &str,
        now: UnixTime,
        key: &SessionKey,
    ) -> Option<(&str, String)> {
        let tag = key.tag(target, uid);
        if session == Some(Session(tag)) {
            return None;
        }
        let (tag, issued, seal) = (tag, now.0, key.seal(self.name(), tag, now));
        let token = format!("{tag:016x}{issued:016x}{seal:016x}");
        match &self.keeper {
            Keeper::Header { name } => Some((name, token)),
            Keeper::Cookie { name, path, permanent } => {
                // Not `Secure`: inside of a mesh clients speak plaintext to their proxy, and would never show it again.
                let mut cookie = format!("{name}={token}; Path={path}; HttpOnly");
                if let Some(timeout) = self.timeout.filter(|_| *permanent) {
                    // Writing to a string does not fail.
                    let _ = write!(cookie, "; Max-Age={}", timeout.as_secs());
                }
                Some(("set-cookie", cookie))
            }
        }
    }

    fn name(&self) -> &str {
        match &self.keeper {
            Keeper::Cookie { name, .. } | Keeper::Header { name } => name,
        }
    }

    fn open(&self, token: &[u8], now: UnixTime, key: &SessionKey) -> Option<Session> {
        let token = core::str::from_utf8(token).ok()?.trim_ascii();
        if token.len() != 48 || !token.bytes().all(|octet| octet.is_ascii_hexdigit()) {
            return None;
        }
        let part = |from: usize, to: usize| u64::from_str_radix(token.get(from..to)?, 16).ok();
        let (tag, issued, seal) = (part(0, 16)?, UnixTime(part(16, 32)?), part(32, 48)?);
        let over = |timeout: Duration| now.0.saturating_sub(issued.0) >= timeout.as_secs();
        let valid = key.seal(self.name(), tag, issued) == seal && !self.timeout.is_some_and(over);
        valid.then_some(Session(tag))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::tests::Asked;
    use super::*;
    use crate::mesh::ServiceName;

    const KEY: SessionKey = SessionKey::new(7);

    fn target(port: u16) -> Target {
        Target { service: ServiceName { namespace: "ns".into(), hostname: "a".into() }, port }
    }

    fn cookie(permanent: bool, timeout: Option<u64>) -> Persistence {
        Persistence {
            keeper: Keeper::Cookie { name: "s".into(), path: "/x".into(), permanent },
            timeout: timeout.map(Duration::from_secs),
        }
    }

    /// What a browser shows after this answer.
    fn shown(set_cookie: &str) -> Asked {
        let (pair, _) = set_cookie.split_once(';').unwrap();
        Asked::get("/x").with("cookie", "other=1; sx=2").with("cookie", &format!("a=b; {pair}"))
    }

    #[test]
    fn a_client_stays_with_the_endpoint_that_its_cookie_names() {
        let persistence = cookie(false, None);
        assert_eq!(persistence.session(&Asked::get("/"), UnixTime(5), &KEY), None);
        let (name, value) = persistence.keep(None, &target(80), "uid-1", UnixTime(5), &KEY).unwrap();
        assert!(
            name == "set-cookie" && value.ends_with("; Path=/x; HttpOnly") && !value.contains("uid"),
            "{value}"
        );
        let session = persistence.session(&shown(&value), UnixTime(1 << 40), &KEY).unwrap();
        assert!(session.is_with(&KEY, &target(80), "uid-1"));
        assert!(!session.is_with(&KEY, &target(80), "uid-2") && !session.is_with(&KEY, &target(81), "uid-1"));
        // The same endpoint again: nothing to say. Another one, as that is gone: the session is with this one now.
        assert_eq!(persistence.keep(Some(session), &target(80), "uid-1", UnixTime(6), &KEY), None);
        assert!(persistence.keep(Some(session), &target(80), "uid-2", UnixTime(6), &KEY).is_some());
    }

    #[test]
    fn a_session_ends_when_its_time_is_over_whatever_the_client_keeps() {
        for permanent in [false, true] {
            let persistence = cookie(permanent, Some(60));
            let (_, value) = persistence.keep(None, &target(80), "u", UnixTime(1000), &KEY).unwrap();
            assert_eq!(value.ends_with("; Max-Age=60"), permanent, "{value}");
            assert!(persistence.session(&shown(&value), UnixTime(1059), &KEY).is_some());
            assert_eq!(persistence.session(&shown(&value), UnixTime(1060), &KEY), None);
        }
    }

    #[test]
    fn a_header_carries_it_as_well() {
        let persistence = Persistence { keeper: Keeper::Header { name: "x-session".into() }, timeout: None };
        let (name, token) = persistence.keep(None, &target(80), "u", UnixTime(1), &KEY).unwrap();
        let session = persistence.session(&Asked::get("/").with(name, &token), UnixTime(1), &KEY);
        assert!(session.unwrap().is_with(&KEY, &target(80), "u"));
        assert_eq!(name, "x-session");
    }

    proptest! {
        /// Whatever a client makes of a token, it is the one it was given or none.
        #[test]
        fn a_token_that_was_changed_is_none(at in 0_usize..48, octet in any::<u8>(), other in any::<u128>()) {
            let persistence = Persistence { keeper: Keeper::Header { name: "x".into() }, timeout: None };
            let (_, token) = persistence.keep(None, &target(80), "u", UnixTime(1), &KEY).unwrap();
            let mut changed = token.clone().into_bytes();
            changed[at] = octet;
            let asked = Asked::get("/").with("x", &String::from_utf8_lossy(&changed));
            let same = changed.eq_ignore_ascii_case(token.as_bytes());
            prop_assert_eq!(persistence.session(&asked, UnixTime(1), &KEY).is_some(), same);
            let foreign = persistence.session(&Asked::get("/").with("x", &token), UnixTime(1), &SessionKey::new(other));
            prop_assert!(other == 7 || foreign.is_none());
        }
    }

    #[test]
    fn what_is_no_token_is_nobodys_session() {
        let persistence = Persistence { keeper: Keeper::Header { name: "x".into() }, timeout: None };
        for text in ["", "0", &"+".repeat(48), &"é".repeat(24), &"0".repeat(48), &"0".repeat(4000)] {
            assert_eq!(persistence.session(&Asked::get("/").with("x", text), UnixTime(1), &KEY), None);
        }
    }
}
