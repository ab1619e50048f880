//! Which policy is for a service, a port and a subset: the look-up of `DestinationRule`s (waypoint.md §13.1).
use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::sync::Arc;

use super::label::Selector;
use super::policy::{RetryShare, TrafficPolicy};
use crate::mesh::ServiceName;

/// Policies of one service or subset: of some ports, and of all others.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PortPolicies {
    /// Of ports that are named nowhere.
    pub others: Arc<TrafficPolicy>,
    /// Of those that are.
    pub named: BTreeMap<u16, Arc<TrafficPolicy>>,
}

impl PortPolicies {
    fn of(&self, port: u16) -> &Arc<TrafficPolicy> {
        self.named.get(&port).unwrap_or(&self.others)
    }
}

/// What is said of one host.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Destination {
    /// Of all of its endpoints.
    pub policies: PortPolicies,
    /// Of some: by the subset's name.
    pub subsets: BTreeMap<Arc<str>, (Selector, PortPolicies)>,
}

/// What is said of a service, a port and a subset.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settled {
    /// The policy.
    pub policy: Arc<TrafficPolicy>,
    /// Which endpoints; `None`: all of the service.
    pub selector: Option<Selector>,
}

/// Hosts of one namespace's rules.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Hosts {
    exact: BTreeMap<Arc<str>, Arc<Destination>>,
    /// By what follows the star: `.shop.svc.cluster.local`; empty for `*`.
    under: BTreeMap<Box<str>, Arc<Destination>>,
}

impl Hosts {
    /// The most specific.
    fn find(&self, hostname: &str) -> Option<&Arc<Destination>> {
        let mut ends = hostname.char_indices().map(|(at, _)| hostname.get(at..).unwrap_or_default()).skip(1);
        let exact = self.exact.get(hostname);
        exact.or_else(|| ends.find_map(|end| self.under.get(end))).or_else(|| self.under.get(""))
    }
}

/// All that is said of hosts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Destinations {
    /// The waypoint's namespace.
    own: Arc<str>,
    /// The mesh's.
    root: Arc<str>,
    by_namespace: BTreeMap<Arc<str>, Hosts>,
    /// What is said of retries beside: of services whose policy says nothing of them.
    shares: BTreeMap<ServiceName, RetryShare>,
}

impl Destinations {
    /// Nothing is said yet, for a waypoint of the namespace `own` in a mesh whose common namespace is `root`.
    #[must_use]
    pub fn new(own: Arc<str>, root: Arc<str>) -> Self {
        Self { own, root, by_namespace: BTreeMap::new(), shares: BTreeMap::new() }
    }

    /// The rule of `namespace`, which the waypoint may see, says this of `host`: a hostname, `*.` with the end of some, or `*`.
    pub fn insert(&mut self, namespace: Arc<str>, host: &str, destination: Destination) {
        let hosts = self.by_namespace.entry(namespace).or_default();
        let destination = Arc::new(destination);
        match host.strip_prefix('*') {
            Some(rest) => hosts.under.insert(rest.into(), destination),
            None => hosts.exact.insert(host.into(), destination),
        };
    }

    /// How many retries a service bears at one time, where its policy has no `retryBudget` (`XBackendTrafficPolicy`).
    pub fn insert_retry_share(&mut self, service: ServiceName, share: RetryShare) {
        self.shares.insert(service, share);
    }

    /// What is said of a service: by the waypoint's own namespace, else by the service's, else by the mesh's; and in each, of
    /// the most specific host.
    #[must_use]
    pub fn find(&self, service: &ServiceName) -> Option<&Arc<Destination>> {
        let namespaces = [&self.own, &service.namespace, &self.root];
        let of = |namespace: &Arc<str>| self.by_namespace.get(namespace)?.find(&service.hostname);
        namespaces.into_iter().find_map(of)
    }

    /// The policy of a service's port and subset. `None`: there is no such subset, and what is sent to it fails (status 503).
    #[must_use]
    pub fn settle(&self, service: &ServiceName, port: u16, subset: Option<&str>) -> Option<Settled> {
        let destination = self.find(service);
        let Some(subset) = subset else {
            let policy = destination.map(|it| Arc::clone(it.policies.of(port))).unwrap_or_default();
            return Some(Settled { policy: self.shared(service, policy), selector: None });
        };
        let (selector, policies) = destination?.subsets.get(subset)?;
        let policy = self.shared(service, Arc::clone(policies.of(port)));
        Some(Settled { policy, selector: Some(selector.clone()) })
    }

    /// `policy`, with what is said of the service's retries beside.
    fn shared(&self, service: &ServiceName, mut policy: Arc<TrafficPolicy>) -> Arc<TrafficPolicy> {
        if let Some(share) = self.shares.get(service).filter(|_| policy.retries.is_none()) {
            Arc::make_mut(&mut policy).retries = Some(*share);
        }
        policy
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use super::*;

    fn service(text: &str) -> ServiceName {
        let (name, namespace) = text.split_once('.').unwrap();
        let hostname = alloc::format!("{name}.{namespace}.svc.cluster.local");
        ServiceName { namespace: namespace.into(), hostname: hostname.into() }
    }

    fn policy(max_retries: u32) -> Arc<TrafficPolicy> {
        Arc::new(TrafficPolicy { max_retries, ..TrafficPolicy::default() })
    }

    fn destination(max_retries: u32) -> Destination {
        let policies = PortPolicies { others: policy(max_retries), named: BTreeMap::new() };
        Destination { policies, subsets: BTreeMap::new() }
    }

    #[test]
    fn the_nearest_namespace_and_the_most_specific_host_count() {
        let mut all = Destinations::new("gateways".into(), "istio-system".into());
        for (number, (namespace, host)) in (1..).zip([
            ("shop", "web.shop.svc.cluster.local"),
            ("shop", "*.shop.svc.cluster.local"),
            ("shop", "*.svc.cluster.local"),
            ("gateways", "special.shop.svc.cluster.local"),
            ("istio-system", "*"),
            ("bank", "web.shop.svc.cluster.local"),
        ]) {
            all.insert(namespace.into(), host, destination(number));
        }
        for (name, expected) in [("web.shop", 1), ("other.shop", 2), ("special.shop", 4), ("web.bank", 5)] {
            assert_eq!(all.settle(&service(name), 80, None).unwrap().policy.max_retries, expected, "{name}");
        }
        assert_eq!(
            Destinations::default().settle(&service("web.shop"), 80, None).unwrap().policy,
            Arc::default()
        );
    }

    #[test]
    fn retries_are_bounded_by_who_says_so_first() {
        let mut all = Destinations::new("a".into(), "b".into());
        let [own, beside] = [7, 9].map(|min| RetryShare { percent: 50, min });
        let mut web = destination(1);
        web.policies
            .named
            .insert(80, Arc::new(TrafficPolicy { retries: Some(own), ..TrafficPolicy::default() }));
        all.insert("shop".into(), "web.shop.svc.cluster.local", web);
        all.insert_retry_share(service("web.shop"), beside);
        all.insert_retry_share(service("other.shop"), beside);
        let of = |name, port| all.settle(&service(name), port, None).unwrap().policy;
        assert_eq!(of("web.shop", 80).retries, Some(own));
        assert_eq!((of("web.shop", 81).retries, of("web.shop", 81).max_retries), (Some(beside), 1));
        assert_eq!(of("other.shop", 80).retries, Some(beside));
        assert_eq!(of("third.shop", 80).retries, None);
    }

    #[test]
    fn ports_and_subsets_have_their_own() {
        let mut web = destination(1);
        web.policies.named.insert(80, policy(2));
        let selector = Selector::Labels(vec![]);
        web.subsets.insert(
            "v1".into(),
            (selector.clone(), PortPolicies { others: policy(3), ..PortPolicies::default() }),
        );
        let mut all = Destinations::new("a".into(), "b".into());
        all.insert("shop".into(), "web.shop.svc.cluster.local", web);
        let of = |port, subset| {
            let found = all.settle(&service("web.shop"), port, subset)?;
            Some((found.policy.max_retries, found.selector))
        };
        assert_eq!([of(80, None), of(81, None)], [Some((2, None)), Some((1, None))]);
        assert_eq!([of(80, Some("v1")), of(80, Some("v2"))], [Some((3, Some(selector))), None]);
    }
}
