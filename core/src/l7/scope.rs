//! Policies of ours by what they are for: a service, a port of it, a route, or one rule of that (`targetRefs`).
use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use alloc::vec::Vec;

use smallvec::SmallVec;

use super::route::RouteId;
use crate::mesh::ServiceName;

/// What a policy is for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Scope {
    /// Requests to a service; to one port, if there is one.
    Service(ServiceName, Option<u16>),
    /// Requests that a route is for; that one rule of it is for, if there is a name.
    Route(RouteId, Option<Arc<str>>),
}

/// Policies by what they are for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scoped<T>(BTreeMap<Scope, Vec<Arc<T>>>);

impl<T> Default for Scoped<T> {
    fn default() -> Self {
        Self(BTreeMap::new())
    }
}

impl<T> Scoped<T> {
    /// `policy` is for this.
    pub fn insert(&mut self, scope: Scope, policy: Arc<T>) {
        self.0.entry(scope).or_default().push(policy);
    }

    /// The policies for a request to a port of a service, which came to a rule (its name, if it has one) of a route, if it did:
    /// those of the rule first, then of the route, the port, the service. Each once.
    #[must_use]
    pub fn of(
        &self,
        service: &ServiceName,
        port: u16,
        route: Option<(&RouteId, Option<&Arc<str>>)>,
    ) -> SmallVec<[&Arc<T>; 4]> {
        let mut found: SmallVec<[&Arc<T>; 4]> = SmallVec::new();
        if self.0.is_empty() {
            return found;
        }
        let rule = route.and_then(|(id, rule)| Some(Scope::Route(id.clone(), Some(Arc::clone(rule?)))));
        let route = route.map(|(id, _)| Scope::Route(id.clone(), None));
        let services = [Some(port), None].map(|port| Some(Scope::Service(service.clone(), port)));
        for scope in [rule, route].into_iter().chain(services).flatten() {
            for policy in self.0.get(&scope).into_iter().flatten() {
                if !found.iter().any(|known| Arc::ptr_eq(known, policy)) {
                    found.push(policy);
                }
            }
        }
        found
    }

    /// All policies; one that is for several things comes several times.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<T>> {
        self.0.values().flatten()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::super::route::Kind;
    use super::*;

    #[test]
    fn the_nearest_come_first_and_each_once() {
        let service = ServiceName { namespace: "shop".into(), hostname: "web".into() };
        let id = RouteId { kind: Kind::Http, namespace: "shop".into(), name: "r".into() };
        let rule: Arc<str> = "first".into();
        let mut all = Scoped::default();
        assert!(all.of(&service, 80, None).is_empty() && all.is_empty());
        let both = Arc::new(5);
        for (scope, policy) in [
            (Scope::Service(service.clone(), None), Arc::new(1)),
            (Scope::Service(service.clone(), Some(80)), Arc::new(2)),
            (Scope::Route(id.clone(), None), Arc::new(3)),
            (Scope::Route(id.clone(), Some(Arc::clone(&rule))), Arc::new(4)),
            (Scope::Route(id.clone(), None), Arc::clone(&both)),
            (Scope::Service(service.clone(), None), both),
        ] {
            all.insert(scope, policy);
        }
        let of = |port, route| all.of(&service, port, route).into_iter().map(|it| **it).collect::<Vec<_>>();
        assert_eq!(of(80, Some((&id, Some(&rule)))), [4, 3, 5, 2, 1]);
        assert_eq!(of(80, Some((&id, None))), [3, 5, 2, 1]);
        assert_eq!(of(81, None), [1, 5]);
        assert_eq!(all.iter().count(), 6);
    }
}
