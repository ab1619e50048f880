//! What a rule may ask: every field of `from` and `to` and every key of `when` (waypoint.md §11.5).
use alloc::boxed::Box;
use alloc::vec::Vec;
use core::fmt;
use core::net::IpAddr;

use ipnet::IpNet;

use super::pattern::{Pattern, RequestPrincipal};
use crate::mesh::ServiceAccount;

/// One thing that a rule may look at.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Attribute {
    /// `principals`, `source.principal`: the peer's identity without `spiffe://`.
    Principal,
    /// `serviceAccounts`, `source.serviceAccount`: its namespace and account.
    ServiceAccount,
    /// `namespaces`, `source.namespace`: its namespace.
    Namespace,
    /// `trustDomains`, `source.trustDomain`: its trust domain.
    TrustDomain,
    /// `requestPrincipals`, `request.auth.principal`: issuer and subject of the token.
    RequestPrincipal,
    /// `ipBlocks`, `source.ip`: who called, as the tunnel says.
    SourceIp,
    /// `remoteIpBlocks`, `remote.ip`: whose request it is, as the proxies before us say.
    RemoteIp,
    /// `hosts`: `Host` or `:authority`, in any case; a port is part of it.
    Host,
    /// `methods`.
    Method,
    /// `paths`: normalised, without the query.
    Path,
    /// `ports`, `destination.port`: the port that was asked for.
    DestinationPort,
    /// `destination.ip`: the address that was asked for.
    DestinationIp,
    /// `connection.sni`: the name in the client's TLS greeting.
    Sni,
    /// `request.headers[NAME]`, in lower case.
    Header(Box<str>),
    /// `request.auth.audiences`: the token's `aud`.
    Audience,
    /// `request.auth.presenter`: the token's `azp`.
    Presenter,
    /// `request.auth.claims[NAME][NAME]…`.
    Claim(Box<[Box<str>]>),
}

impl Attribute {
    /// The attribute of a `when.key`; `None`: there is none of this name, or none that a waypoint knows
    /// (`experimental.envoy.filters.…`).
    #[must_use]
    pub fn of_key(key: &str) -> Option<Self> {
        Some(match key {
            "source.ip" => Self::SourceIp,
            "remote.ip" => Self::RemoteIp,
            "source.namespace" => Self::Namespace,
            "source.principal" => Self::Principal,
            "source.serviceAccount" => Self::ServiceAccount,
            "source.trustDomain" => Self::TrustDomain,
            "request.auth.principal" => Self::RequestPrincipal,
            "request.auth.audiences" => Self::Audience,
            "request.auth.presenter" => Self::Presenter,
            "destination.ip" => Self::DestinationIp,
            "destination.port" => Self::DestinationPort,
            "connection.sni" => Self::Sni,
            _ => {
                if let Some(names) = key.strip_prefix("request.headers") {
                    let mut names = bracketed(names)?;
                    let name = names.pop().filter(|_| names.is_empty())?;
                    return Some(Self::Header(name.to_ascii_lowercase().into()));
                }
                let names = bracketed(key.strip_prefix("request.auth.claims")?)?;
                Self::Claim(names.into_iter().map(Into::into).collect())
            }
        })
    }

    /// Whether connections that carry no HTTP have no such thing.
    #[must_use]
    pub const fn is_http_only(&self) -> bool {
        match self {
            Self::RequestPrincipal
            | Self::Host
            | Self::Method
            | Self::Path
            | Self::Header(_)
            | Self::Audience
            | Self::Presenter
            | Self::Claim(_) => true,
            Self::Principal
            | Self::ServiceAccount
            | Self::Namespace
            | Self::TrustDomain
            | Self::SourceIp
            | Self::RemoteIp
            | Self::DestinationPort
            | Self::DestinationIp
            | Self::Sni => false,
        }
    }
}

/// `[a][b]` → `a`, `b`: one at least, none of them empty. A claim's name may be a URL, but has no brackets.
fn bracketed(text: &str) -> Option<Vec<&str>> {
    let inner = text.strip_prefix('[')?.strip_suffix(']')?;
    let names: Vec<_> = inner.split("][").collect();
    let odd = |name: &&str| name.is_empty() || name.contains(['[', ']']);
    (!names.iter().any(odd)).then_some(names)
}

impl fmt::Display for Attribute {
    /// As a `when.key`, where there is one.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Principal => "source.principal",
            Self::ServiceAccount => "source.serviceAccount",
            Self::Namespace => "source.namespace",
            Self::TrustDomain => "source.trustDomain",
            Self::RequestPrincipal => "request.auth.principal",
            Self::SourceIp => "source.ip",
            Self::RemoteIp => "remote.ip",
            Self::Host => "host",
            Self::Method => "method",
            Self::Path => "path",
            Self::DestinationPort => "destination.port",
            Self::DestinationIp => "destination.ip",
            Self::Sni => "connection.sni",
            Self::Audience => "request.auth.audiences",
            Self::Presenter => "request.auth.presenter",
            Self::Header(name) => return write!(f, "request.headers[{name}]"),
            Self::Claim(names) => {
                f.write_str("request.auth.claims")?;
                return names.iter().try_for_each(|name| write!(f, "[{name}]"));
            }
        })
    }
}

/// One value of a list.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Entry<T> {
    /// What it says.
    Is(T),
    /// Nobody could read it. What it would have said is unknown, so it says whatever refuses more: see [`Lists`].
    Unreadable(Box<str>),
}

/// Of `wanted` one must hit, unless it is empty; of `unwanted` none may.
///
/// An entry that nobody could read hits wherever that makes a refusal more likely: among the unwanted of an ALLOW policy, and
/// among the wanted of any other.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Lists<T> {
    /// `values`, or the field itself.
    pub wanted: Vec<Entry<T>>,
    /// `notValues`, or the field that begins with `not`.
    pub unwanted: Vec<Entry<T>>,
}

impl<T> Lists<T> {
    fn read(values: &[&str], not_values: &[&str], read: impl Fn(&str) -> Option<T>) -> Self {
        let entries = |values: &[&str]| {
            let entry = |&text: &&str| read(text).map_or_else(|| Entry::Unreadable(text.into()), Entry::Is);
            values.iter().map(entry).collect()
        };
        Self { wanted: entries(values), unwanted: entries(not_values) }
    }

    /// Whether they hold where `hits` says what an entry does; it is told whether in doubt it should say that it does.
    pub(super) fn hold(&self, allow: bool, hits: impl Fn(&T, bool) -> bool) -> bool {
        let any = |list: &[Entry<T>], in_doubt: bool| {
            list.iter().any(|entry| match entry {
                Entry::Is(value) => hits(value, in_doubt),
                Entry::Unreadable(_) => in_doubt,
            })
        };
        (self.wanted.is_empty() || any(&self.wanted, !allow)) && !any(&self.unwanted, allow)
    }

    fn unreadable(&self) -> impl Iterator<Item = &str> {
        self.wanted.iter().chain(&self.unwanted).filter_map(|entry| match entry {
            Entry::Unreadable(text) => Some(&**text),
            Entry::Is(_) => None,
        })
    }
}

/// What an attribute is compared with.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Test {
    Text(Lists<Pattern>),
    Account(Lists<ServiceAccount>),
    Principal(Lists<RequestPrincipal>),
    Ip(Lists<IpNet>),
    Port(Lists<u16>),
}

/// A condition of a rule.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Condition {
    /// On an attribute.
    On(On),
    /// On something that is not known here. An ALLOW policy's rule never holds with it; of others the rest of the rule decides,
    /// which refuses more than was meant, not less.
    Unknown(Box<str>),
}

/// A condition on an attribute.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct On {
    pub(super) attribute: Attribute,
    pub(super) test: Test,
}

impl Condition {
    /// Reads the values of a condition on `attribute`, in a policy of `namespace`.
    #[must_use]
    pub fn new(attribute: Attribute, values: &[&str], not_values: &[&str], namespace: &str) -> Self {
        let text = |read: fn(&str) -> Option<Pattern>| Test::Text(Lists::read(values, not_values, read));
        let test = match &attribute {
            Attribute::Path => text(|text| Pattern::path(text).ok()),
            Attribute::Namespace => text(|text| Some(Pattern::pieces(text))),
            Attribute::Principal
            | Attribute::TrustDomain
            | Attribute::Host
            | Attribute::Method
            | Attribute::Sni
            | Attribute::Header(_)
            | Attribute::Audience
            | Attribute::Presenter
            | Attribute::Claim(_) => text(|text| Some(Pattern::new(text))),
            Attribute::ServiceAccount => {
                Test::Account(Lists::read(values, not_values, |text| account(text, namespace)))
            }
            Attribute::RequestPrincipal => {
                Test::Principal(Lists::read(values, not_values, |text| Some(RequestPrincipal::new(text))))
            }
            Attribute::SourceIp | Attribute::RemoteIp | Attribute::DestinationIp => {
                Test::Ip(Lists::read(values, not_values, net))
            }
            Attribute::DestinationPort => {
                let port = |text: &str| text.parse().ok().filter(|&port: &u16| port != 0);
                Test::Port(Lists::read(values, not_values, port))
            }
        };
        Self::On(On { attribute, test })
    }

    /// What connections without HTTP do not have.
    pub(super) fn is_http_only(&self) -> bool {
        matches!(self, Self::On(on) if on.attribute.is_http_only())
    }

    /// Its values that nobody could read.
    #[must_use]
    pub fn unreadable(&self) -> Vec<&str> {
        match self {
            Self::Unknown(_) => Vec::new(),
            Self::On(on) => match &on.test {
                Test::Text(lists) => lists.unreadable().collect(),
                Test::Account(lists) => lists.unreadable().collect(),
                Test::Principal(lists) => lists.unreadable().collect(),
                Test::Ip(lists) => lists.unreadable().collect(),
                Test::Port(lists) => lists.unreadable().collect(),
            },
        }
    }
}

/// `NAMESPACE/ACCOUNT`, or an account of the policy's own namespace; no star has a meaning.
fn account(text: &str, namespace: &str) -> Option<ServiceAccount> {
    let (namespace, account) = text.split_once('/').unwrap_or((namespace, text));
    let odd = |text: &str| text.is_empty() || text.contains(['/', '*']);
    (!odd(namespace) && !odd(account))
        .then(|| ServiceAccount { namespace: namespace.into(), service_account: account.into() })
}

/// An address, or a range of them.
fn net(text: &str) -> Option<IpNet> {
    match text.contains('/') {
        true => text.parse().ok(),
        false => text.parse::<IpAddr>().ok().map(IpNet::from),
    }
}

#[cfg(test)]
mod tests {
    use alloc::string::ToString;
    use alloc::vec;

    use super::*;

    #[test]
    fn keys_are_those_of_the_api() {
        for key in [
            "request.headers[x-token]",
            "source.ip",
            "remote.ip",
            "source.namespace",
            "source.principal",
            "source.serviceAccount",
            "source.trustDomain",
            "request.auth.principal",
            "request.auth.audiences",
            "request.auth.presenter",
            "request.auth.claims[iss]",
            "request.auth.claims[realm][roles]",
            "request.auth.claims[https://example.com/groups]",
            "destination.ip",
            "destination.port",
            "connection.sni",
        ] {
            assert_eq!(Attribute::of_key(key).map(|found| found.to_string()).as_deref(), Some(key));
        }
        assert_eq!(Attribute::of_key("request.headers[X-A]"), Some(Attribute::Header("x-a".into())));
        for key in [
            "",
            "request.headers",
            "request.headers[]",
            "request.headers[a][b]",
            "request.headers[a",
            "request.auth.claims",
            "request.auth.claims[a][]",
            "request.auth.claims[a]b",
            "request.auth.claims[[a]]",
            "source.user",
            "experimental.envoy.filters.network.mysql_proxy[db.table]",
        ] {
            assert_eq!(Attribute::of_key(key), None, "{key}");
        }
    }

    #[test]
    fn values_that_cannot_be_read_are_kept_as_such() {
        for (attribute, bad) in [
            (Attribute::SourceIp, vec!["10.0.0.0/33", "x", "", "10.0.0"]),
            (Attribute::DestinationPort, vec!["0", "65536", "http", ""]),
            (Attribute::Path, vec!["/{x}"]),
            (Attribute::ServiceAccount, vec!["", "a/b/c", "*", "a/*", "/a"]),
        ] {
            let condition = Condition::new(attribute.clone(), &bad, &bad, "ns");
            assert_eq!(condition.unreadable(), [bad.clone(), bad].concat(), "{attribute}");
        }
        let good = Condition::new(Attribute::RemoteIp, &["10.0.0.1", "fd00::/8"], &["::1"], "ns");
        assert!(good.unreadable().is_empty());
    }
}
