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

impl Destination {
    /// With `share` where nothing is said of retries.
    fn fill_in(&mut self, share: RetryShare) {
        let subsets = self.subsets.values_mut().map(|(_, policies)| policies);
        for policies in core::iter::once(&mut self.policies).chain(subsets) {
            let others = core::iter::once(&mut policies.others);
            for policy in others.chain(policies.named.values_mut()).filter(|it| it.retries.is_none()) {
                Arc::make_mut(policy).retries = Some(share);
            }
        }
    }
}

/// What is said of a service, a port and a subset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settled<'a> {
    /// The policy. The same from one look to the next, as long as the destinations are.
    pub policy: &'a Arc<TrafficPolicy>,
    /// Which endpoints; `None`: all of the service.
    pub selector: Option<&'a Selector>,
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
    /// Of services of whose retries more is said beside: what else is said of them, with that.
    shared: BTreeMap<ServiceName, Arc<Destination>>,
    /// The policy of who has none.
    nothing: Arc<TrafficPolicy>,
}

impl Destinations {
    /// Nothing is said yet, for a waypoint of the namespace `own` in a mesh whose common namespace is `root`.
    #[must_use]
    pub fn new(own: Arc<str>, root: Arc<str>) -> Self {
        Self { own, root, ..Self::default() }
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

    /// How many retries a service bears at one time, where its policy has no `retryBudget` (`XBackendTrafficPolicy`). What is
    /// [inserted](Self::insert) later does not count for this service.
    pub fn insert_retry_share(&mut self, service: ServiceName, share: RetryShare) {
        let mut destination = self.of_rules(&service).map(|it| (**it).clone()).unwrap_or_default();
        destination.fill_in(share);
        self.shared.insert(service, Arc::new(destination));
    }

    /// What is said of a service: by the waypoint's own namespace, else by the service's, else by the mesh's; and in each, of
    /// the most specific host.
    #[must_use]
    pub fn find(&self, service: &ServiceName) -> Option<&Arc<Destination>> {
        self.shared.get(service).or_else(|| self.of_rules(service))
    }

    fn of_rules(&self, service: &ServiceName) -> Option<&Arc<Destination>> {
        let namespaces = [&self.own, &service.namespace, &self.root];
        let of = |namespace: &Arc<str>| self.by_namespace.get(namespace)?.find(&service.hostname);
        namespaces.into_iter().find_map(of)
    }

    /// The policy of a service's port and subset. `None`: there is no such subset, and what is sent to it fails (status 503).
    #[must_use]
    pub fn settle(&self, service: &ServiceName, port: u16, subset: Option<&str>) -> Option<Settled<'_>> {
        let destination = self.find(service);
        let Some(subset) = subset else {
            let policy = destination.map_or(&self.nothing, |it| it.policies.of(port));
            return Some(Settled { policy, selector: None });
        };
        let (selector, policies) = destination?.subsets.get(subset)?;
        Some(Settled { policy: policies.of(port), selector: Some(selector) })
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
        let nothing = Destinations::default();
        let policy = || nothing.settle(&service("web.shop"), 80, None).unwrap().policy;
        assert_eq!(policy(), &Arc::default());
        assert!(Arc::ptr_eq(policy(), policy()));
    }

    #[test]
    fn retries_are_bounded_by_who_says_so_first() {
        let mut all = Destinations::new("a".into(), "b".into());
        let [own, beside] = [7, 9].map(|min| RetryShare { percent: 50, min });
        let mut web = destination(1);
        web.policies
            .named
            .insert(80, Arc::new(TrafficPolicy { retries: Some(own), ..TrafficPolicy::default() }));
        let subset = PortPolicies { others: policy(3), ..PortPolicies::default() };
        web.subsets.insert("v1".into(), (Selector::Labels(vec![]), subset));
        all.insert("shop".into(), "web.shop.svc.cluster.local", web);
        all.insert_retry_share(service("web.shop"), beside);
        all.insert_retry_share(service("other.shop"), beside);
        let of = |name, port| all.settle(&service(name), port, None).unwrap().policy;
        assert_eq!(of("web.shop", 80).retries, Some(own));
        assert_eq!((of("web.shop", 81).retries, of("web.shop", 81).max_retries), (Some(beside), 1));
        assert_eq!(of("other.shop", 80).retries, Some(beside));
        assert_eq!(of("third.shop", 80).retries, None);
        let v1 = all.settle(&service("web.shop"), 80, Some("v1")).unwrap().policy;
        assert_eq!((v1.retries, v1.max_retries), (Some(beside), 3));
        assert!(Arc::ptr_eq(of("web.shop", 81), of("web.shop", 81)));
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
            Some((found.policy.max_retries, found.selector.cloned()))
        };
        assert_eq!([of(80, None), of(81, None)], [Some((2, None)), Some((1, None))]);
        assert_eq!([of(80, Some("v1")), of(80, Some("v2"))], [Some((3, Some(selector))), None]);
    }
}
