//! Routes of TCP connections (Gateway API: `TLSRoute`, `TCPRoute`): which backends share those to a service's port.
//!
//! Where TLS routes are, the server name that the client asks for chooses, by exact names before wildcards and longer
//! wildcards before shorter. Istio's waypoint compares only with the service's own name; this is what the API says.
use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;

use super::backends::Backends;
use super::route::{Parent, RouteId};
use crate::time::UnixTime;

/// Server names that a route is for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ServerName {
    /// This one, in lower case.
    Exact(Box<str>),
    /// Those with one or more labels before this, which is in lower case and begins with a dot: `.example.com`.
    Under(Box<str>),
}

/// A text that is no server name.
#[derive(Clone, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[error(
    "{0:?} is no host name: expected labels of letters, digits and hyphens with dots between, the first may be *"
)]
pub struct ServerNameError(pub Box<str>);

impl ServerName {
    /// `example.com` or `*.example.com`.
    ///
    /// # Errors
    /// The text is neither.
    pub fn new(text: &str) -> Result<Self, ServerNameError> {
        let name = text.to_ascii_lowercase();
        let (wildcard, labels) = match name.strip_prefix("*.") {
            Some(rest) => (true, rest),
            None => (false, &*name),
        };
        let label = |label: &str| {
            !label.is_empty()
                && label.len() <= 63
                && !label.starts_with('-')
                && !label.ends_with('-')
                && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
        };
        if name.len() > 253 || !labels.split('.').all(label) {
            return Err(ServerNameError(text.into()));
        }
        Ok(if wildcard { Self::Under(name.trim_start_matches('*').into()) } else { Self::Exact(name.into()) })
    }
}

impl fmt::Display for ServerName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exact(name) => f.write_str(name),
            Self::Under(rest) => write!(f, "*{rest}"),
        }
    }
}

/// A route of connections.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConnectionRoute {
    /// Its name; the kind is [`Tls`](super::Kind::Tls) or [`Tcp`](super::Kind::Tcp).
    pub id: RouteId,
    /// When it was made: the older of two goes first.
    pub created: UnixTime,
    /// What it is for.
    pub parents: Vec<Parent>,
    /// Of which server names. `None`: of all, and of connections that name none.
    pub names: Option<Vec<ServerName>>,
    /// Where connections go: of several rules the first, as rules have no conditions. Changes of headers mean nothing here.
    pub backends: Backends,
}

/// The routes of one port.
#[derive(Clone, Debug, Default)]
pub struct ConnectionTable {
    exact: BTreeMap<Box<str>, Arc<ConnectionRoute>>,
    under: BTreeMap<Box<str>, Arc<ConnectionRoute>>,
    any: Option<Arc<ConnectionRoute>>,
}

impl ConnectionTable {
    /// The table of `routes`; their order means nothing.
    #[must_use]
    pub fn new(routes: impl IntoIterator<Item = Arc<ConnectionRoute>>) -> Self {
        let mut routes: Vec<_> = routes.into_iter().collect();
        routes.sort_by(|a, b| {
            (a.created, &a.id.namespace, &a.id.name).cmp(&(b.created, &b.id.namespace, &b.id.name))
        });
        let mut table = Self::default();
        for route in routes {
            for name in route.names.iter().flatten() {
                let (map, key) = match name {
                    ServerName::Exact(key) => (&mut table.exact, key),
                    ServerName::Under(key) => (&mut table.under, key),
                };
                map.entry(key.clone()).or_insert_with(|| Arc::clone(&route));
            }
            if route.names.is_none() {
                table.any.get_or_insert(route);
            }
        }
        table
    }

    /// Whether the server name must be known before a connection can be routed.
    #[must_use]
    pub fn needs_name(&self) -> bool {
        !self.exact.is_empty() || !self.under.is_empty()
    }

    /// The route of a connection whose client asks for `name`, if it asks for any; `None`: no route is for it, and it is
    /// closed.
    #[must_use]
    pub fn find(&self, name: Option<&str>) -> Option<&Arc<ConnectionRoute>> {
        let named = name.and_then(|name| {
            let name: String = name.trim_end_matches('.').to_ascii_lowercase();
            let dots = name.match_indices('.').filter_map(|(at, _)| name.get(at..));
            // The first dot leaves the longest rest.
            self.exact.get(&*name).or_else(|| dots.filter_map(|rest| self.under.get(rest)).next())
        });
        named.or(self.any.as_ref())
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use super::super::route::Kind;
    use super::*;

    fn route(name: &str, created: u64, names: &[&str]) -> Arc<ConnectionRoute> {
        let each = names.iter().map(|name| ServerName::new(name).unwrap());
        Arc::new(ConnectionRoute {
            id: RouteId { kind: Kind::Tls, namespace: "ns".into(), name: name.into() },
            created: UnixTime(created),
            parents: vec![],
            names: (!names.is_empty()).then(|| each.collect()),
            backends: Backends::default(),
        })
    }

    fn found(table: &ConnectionTable, name: Option<&str>) -> Option<Arc<str>> {
        table.find(name).map(|route| Arc::clone(&route.id.name))
    }

    #[test]
    fn exact_names_go_before_wildcards_and_longer_wildcards_before_shorter() {
        let routes = [
            route("exact", 9, &["a.b.example.com"]),
            route("long", 9, &["*.b.example.com"]),
            route("short", 1, &["*.example.com"]),
            route("any", 0, &[]),
        ];
        let table = ConnectionTable::new(routes.iter().rev().cloned());
        for (name, expected) in [
            (Some("a.b.example.com"), "exact"),
            (Some("A.B.Example.com."), "exact"),
            (Some("x.b.example.com"), "long"),
            (Some("y.x.b.example.com"), "long"),
            (Some("b.example.com"), "short"),
            (Some("example.com"), "any"),
            (Some("badexample.com"), "any"),
            (None, "any"),
        ] {
            assert_eq!(found(&table, name), Some(expected.into()), "{name:?}");
        }
        assert!(table.needs_name());
    }

    #[test]
    fn of_equal_names_the_oldest_route_has_it_and_nobody_has_other_names() {
        let table = ConnectionTable::new([
            route("b", 2, &["a.com"]),
            route("a", 2, &["a.com"]),
            route("c", 3, &["a.com"]),
        ]);
        assert_eq!(found(&table, Some("a.com")), Some("a".into()));
        assert_eq!([found(&table, Some("b.com")), found(&table, None)], [None, None]);
        assert!(!ConnectionTable::new([route("any", 0, &[])]).needs_name());
    }

    #[test]
    fn what_is_no_host_name_is_refused() {
        for bad in ["", "*", "*.", "a..b", "a.*.b", "*a.b", "-a.b", "a b", "a.b:80", &"a".repeat(64)] {
            assert_eq!(ServerName::new(bad), Err(ServerNameError(bad.into())));
        }
        assert_eq!(alloc::format!("{}", ServerName::new("*.A.b").unwrap()), "*.a.b");
    }
}
