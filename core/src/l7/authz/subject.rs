//! A request or a connection in the form in which policies look at it, and the meaning of every condition, said once.
use core::convert::Infallible;
use core::net::{IpAddr, SocketAddr};

use smallvec::SmallVec;

use super::condition::{Attribute, Condition, On, Test};
use super::pattern::Pattern;
use super::policy::{Action, Clause, Match, Policy, Rule};
use crate::identity::Identity;
use crate::l7::facts;
use crate::l7::jwt::Authenticated;
use crate::l7::request::{Request, Scheme};

/// The connection that asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Connection<'a> {
    /// Who calls, verified by mTLS; `None`: nobody that has been verified.
    pub source: Option<&'a Identity>,
    /// From where, as the tunnel says (waypoint.md §3.5).
    pub source_ip: IpAddr,
    /// What was asked for: the service's address and **port**, not the pod's.
    pub destination: SocketAddr,
    /// Name in the client's own TLS greeting, for what is passed through.
    pub sni: Option<&'a str>,
}

/// The request on it.
#[derive(Clone, Copy, Debug)]
pub struct Http<'a, R> {
    /// The request itself, its path normalised.
    pub request: &'a R,
    /// Whose it is: [`client_ip`].
    pub remote_ip: IpAddr,
    /// What its token says, if it had one.
    pub auth: Option<&'a Authenticated>,
}

/// What plain TCP has in place of a request: nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoHttp(Infallible);

impl Request for NoHttp {
    fn method(&self) -> &str {
        match self.0 {}
    }

    fn scheme(&self) -> Scheme {
        match self.0 {}
    }

    fn authority(&self) -> &str {
        match self.0 {}
    }

    fn path(&self) -> &str {
        match self.0 {}
    }

    fn query(&self) -> Option<&str> {
        match self.0 {}
    }

    fn header<'a>(&'a self, _: &'a str) -> impl Iterator<Item = &'a [u8]> {
        core::iter::empty()
    }
}

/// What policies are asked about, prepared once for any number of them.
#[derive(Clone, Debug)]
pub struct Subject<'a, R = NoHttp> {
    connection: Connection<'a>,
    http: Option<Http<'a, R>>,
    /// The identity without `spiffe://`; in place for all but the longest names.
    principal: SmallVec<[u8; 128]>,
}

impl<'a> Subject<'a> {
    /// A connection that carries something else than HTTP.
    #[must_use]
    pub fn tcp(connection: Connection<'a>) -> Self {
        Self::new(connection, None)
    }
}

impl<'a, R: Request> Subject<'a, R> {
    /// A request.
    #[must_use]
    pub fn http(connection: Connection<'a>, http: Http<'a, R>) -> Self {
        Self::new(connection, Some(http))
    }

    fn new(connection: Connection<'a>, http: Option<Http<'a, R>>) -> Self {
        let mut principal = SmallVec::new();
        if let Some(identity) = connection.source {
            let parts =
                [identity.trust_domain(), "/ns/", identity.namespace(), "/sa/", identity.service_account()];
            for part in parts {
                principal.extend_from_slice(part.as_bytes());
            }
        }
        Self { connection, http, principal }
    }

    /// Whether it is no HTTP.
    pub(super) const fn is_tcp(&self) -> bool {
        self.http.is_none()
    }

    /// Position of the first rule of `policy` that holds.
    pub(super) fn first_rule(&self, policy: &Policy) -> Option<usize> {
        let allow = matches!(policy.action, Action::Allow);
        policy.rules.iter().position(|rule| self.rule(rule, allow))
    }

    fn rule(&self, rule: &Rule, allow: bool) -> bool {
        (!allow || rule.may_allow(self.is_tcp()))
            && rule.clauses().iter().all(|clause| self.clause(clause, allow))
    }

    fn clause(&self, clause: &Clause, allow: bool) -> bool {
        clause.matches.is_empty() || clause.matches.iter().any(|m| self.matches(m, allow))
    }

    fn matches(&self, m: &Match, allow: bool) -> bool {
        m.conditions.iter().all(|condition| match condition {
            // An ALLOW rule with such a condition is not asked at all.
            Condition::Unknown(_) => true,
            Condition::On(on) => (self.is_tcp() && on.attribute.is_http_only()) || self.on(on, allow),
        })
    }

    fn on(&self, On { attribute, test }: &On, allow: bool) -> bool {
        match test {
            Test::Text(lists) => {
                lists.hold(allow, |pattern, in_doubt| self.text(attribute, pattern, in_doubt))
            }
            Test::Account(lists) => {
                let source = self.connection.source;
                let account = source.map(|source| (source.namespace(), source.service_account()));
                lists.hold(allow, |of, _| account == Some((&*of.namespace, &*of.service_account)))
            }
            Test::Principal(lists) => {
                let auth = self.http.as_ref().and_then(|http| http.auth);
                let parts = auth.and_then(|auth| Some((auth.issuer(), auth.subject()?)));
                lists.hold(allow, |of, _| parts.is_some_and(|(issuer, subject)| of.matches(issuer, subject)))
            }
            Test::Ip(lists) => {
                let ip = self.ip(attribute);
                lists.hold(allow, |net, _| net.contains(&ip))
            }
            Test::Port(lists) => lists.hold(allow, |&port, _| port == self.connection.destination.port()),
        }
    }

    /// The address that an attribute means; policies are written in plain IPv4, and a dual-stack socket may report the mapped
    /// form.
    fn ip(&self, attribute: &Attribute) -> IpAddr {
        let source = self.connection.source_ip;
        let ip = if *attribute == Attribute::DestinationIp {
            self.connection.destination.ip()
        } else if *attribute == Attribute::RemoteIp {
            self.http.as_ref().map_or(source, |http| http.remote_ip)
        } else {
            source
        };
        ip.to_canonical()
    }

    fn text(&self, attribute: &Attribute, pattern: &Pattern, in_doubt: bool) -> bool {
        let is = |text: &str| pattern.matches(text.as_bytes(), false);
        let source = self.connection.source;
        match attribute {
            Attribute::Principal => source.is_some() && pattern.matches(&self.principal, false),
            Attribute::Namespace => source.is_some_and(|source| is(source.namespace())),
            Attribute::TrustDomain => source.is_some_and(|source| is(source.trust_domain())),
            Attribute::Sni => self.connection.sni.is_some_and(is),
            Attribute::Method
            | Attribute::Path
            | Attribute::Host
            | Attribute::Header(_)
            | Attribute::Audience
            | Attribute::Presenter
            | Attribute::Claim(_) => {
                self.http.as_ref().is_some_and(|http| http.text(attribute, pattern, in_doubt))
            }
            // These are no texts.
            Attribute::ServiceAccount
            | Attribute::RequestPrincipal
            | Attribute::SourceIp
            | Attribute::RemoteIp
            | Attribute::DestinationPort
            | Attribute::DestinationIp => false,
        }
    }
}

impl<R: Request> Http<'_, R> {
    fn text(&self, attribute: &Attribute, pattern: &Pattern, in_doubt: bool) -> bool {
        let is = |text: &str| pattern.matches(text.as_bytes(), false);
        let request = self.request;
        match attribute {
            Attribute::Method => is(request.method()),
            Attribute::Path => is(request.path()),
            Attribute::Host => pattern.matches(request.authority().as_bytes(), true),
            Attribute::Header(name) => match &**name {
                // HTTP/2's names for what is no header of its own here.
                ":authority" | "host" => is(request.authority()),
                ":method" => is(request.method()),
                ":scheme" => is(request.scheme().as_str()),
                ":path" => match request.query() {
                    None => is(request.path()),
                    Some(query) => is(&[request.path(), query].join("?")),
                },
                name => header(request, name, pattern, in_doubt),
            },
            Attribute::Audience => self.auth.is_some_and(|auth| auth.audiences().any(is)),
            Attribute::Presenter => self.auth.and_then(Authenticated::presenter).is_some_and(is),
            Attribute::Claim(path) => self.auth.is_some_and(|auth| auth.claim(path).any(is)),
            // These are no texts of a request.
            Attribute::Principal
            | Attribute::ServiceAccount
            | Attribute::Namespace
            | Attribute::TrustDomain
            | Attribute::RequestPrincipal
            | Attribute::SourceIp
            | Attribute::RemoteIp
            | Attribute::DestinationPort
            | Attribute::DestinationIp
            | Attribute::Sni => false,
        }
    }
}

/// A header's values count joined by commas, which is what they mean (RFC 9110 §5.3) and what Envoy compares. A refusal is not
/// to be escaped from by a second value: in doubt, each counts by itself as well.
fn header(request: &impl Request, name: &str, pattern: &Pattern, in_doubt: bool) -> bool {
    let joined = facts::header(request, name);
    joined.is_some_and(|value| pattern.matches(&value, false))
        || (in_doubt && request.header(name).any(|value| pattern.matches(value, false)))
}

/// Whose request it is (`remoteIpBlocks`): `X-Forwarded-For` names a chain of addresses, of which the last `trusted_hops` were
/// written by proxies that are trusted (`numTrustedProxies`), and the one before them counts. Where there is none, or it is no
/// address, `peer` counts.
///
/// As in Istio, whose waypoints do not add to the header: without trusted proxies the last address counts, though whoever calls
/// may have written it.
#[must_use]
pub fn client_ip(request: &impl Request, peer: IpAddr, trusted_hops: u32) -> IpAddr {
    let hops = usize::try_from(trusted_hops).unwrap_or(usize::MAX);
    let values: SmallVec<[&[u8]; 4]> = request.header("x-forwarded-for").collect();
    let addresses = values.iter().rev().flat_map(|value| value.rsplit(|&b| b == b','));
    let text = { addresses }.nth(hops).and_then(|text| core::str::from_utf8(text).ok());
    text.and_then(|text| text.trim().parse().ok()).unwrap_or(peer)
}
