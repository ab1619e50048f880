//! Random tables: every field, few names, so that entries refer to each other.
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use adit_core::hbone::baggage::WorkloadType;
use adit_core::identity::Identity;
use adit_core::mesh::{
    Action, ApplicationProtocol, ApplicationTunnel, Authorization, Clause, GatewayAddress, GatewayTarget,
    Health, HealthPolicy, IpFamilies, LoadBalancing, LoadBalancingMode, Locality, Match, Mesh,
    NetworkAddress, NetworkCidr, NetworkMode, PolicyScope, RoutingScope, Rule, Service, ServiceAccount,
    ServiceName, StringMatch, TunnelProtocol, Visibility, WeightedWaypoint, Workload,
};
use adit_core::rng::Rng;
use ipnet::IpNet;

use crate::admin::dump::match_list;

pub(super) fn mesh(seed: u64) -> Mesh {
    let mut draw = Draw(Rng::new(seed));
    let network = draw.text();
    let workloads = (0..draw.below(8)).map(|n| draw.workload(n)).collect();
    let mut services = BTreeMap::new();
    for _ in 0..draw.below(5) {
        let service = draw.service();
        services.insert(service.name.clone(), service);
    }
    let policies = (0..draw.below(5)).map(|n| draw.policy(n)).collect();
    Mesh::new(network, workloads, services.into_values().collect(), policies).unwrap()
}

struct Draw(Rng);

impl Draw {
    fn below(&mut self, bound: u64) -> u64 {
        self.0.below(bound)
    }

    fn one<T: Clone>(&mut self, of: &[T]) -> T {
        of[usize::try_from(self.below(of.len() as u64)).unwrap()].clone()
    }

    fn yes(&mut self) -> bool {
        self.below(2) == 0
    }

    fn several<T>(&mut self, bound: u64, make: impl Fn(&mut Self) -> T) -> Vec<T> {
        (0..self.below(bound)).map(|_| make(self)).collect()
    }

    fn maybe<T>(&mut self, make: impl Fn(&mut Self) -> T) -> Option<T> {
        self.yes().then(|| make(self))
    }

    fn text(&mut self) -> Arc<str> {
        self.one(&["", "", "a", "b.c", "d \"e\"\n", "ünï"]).into()
    }

    fn port(&mut self) -> u16 {
        self.one(&[0, 1, 80, 8080, 65535])
    }

    fn ip(&mut self) -> IpAddr {
        self.one(&["10.0.0.1", "10.0.0.2", "fd00::1", "::ffff:10.0.0.1", "0.0.0.0"]).parse().unwrap()
    }

    fn cidr(&mut self) -> IpNet {
        self.one(&["10.0.0.0/8", "10.1.2.3/8", "0.0.0.0/0", "fd00::/64", "10.0.0.1/32"]).parse().unwrap()
    }

    fn name(&mut self) -> ServiceName {
        let namespace = self.one(&["", "n", "m"]).into();
        ServiceName { namespace, hostname: self.one(&["h", "w.n.svc", "*.x", ""]).into() }
    }

    fn network_address(&mut self) -> NetworkAddress {
        NetworkAddress { network: self.text(), address: self.ip() }
    }

    fn gateway(&mut self) -> Arc<GatewayAddress> {
        let target = if self.yes() {
            GatewayTarget::Hostname(self.name())
        } else {
            GatewayTarget::Address(self.network_address())
        };
        Arc::new(GatewayAddress { target, hbone_port: self.port() })
    }

    fn identity(&mut self) -> Identity {
        let namespace = self.one(&["n", "m"]);
        Identity::new(self.one(&["cluster.local", "td"]), namespace, self.one(&["default", "sa"])).unwrap()
    }

    fn ports(&mut self) -> BTreeMap<u16, u16> {
        self.several(4, |draw| (draw.port(), draw.port())).into_iter().collect()
    }

    fn workload(&mut self, number: u64) -> Workload {
        let uid = if number == 0 { String::new() } else { format!("c//Pod/n/w{number}") };
        let name = self.text();
        let mut workload = Workload::new(&uid, &name, self.identity());
        workload.addresses = self.several(3, Self::ip);
        workload.hostname = self.text();
        workload.network = self.text();
        workload.network_mode = self.one(&[NetworkMode::Standard, NetworkMode::HostNetwork]);
        workload.protocol = self.one(&[TunnelProtocol::None, TunnelProtocol::Hbone]);
        workload.waypoint = self.maybe(Self::gateway);
        workload.network_gateway = self.maybe(Self::gateway);
        workload.native_tunnel = self.yes();
        workload.application_tunnel = self.maybe(|draw| ApplicationTunnel {
            protocol: draw.one(&[ApplicationProtocol::None, ApplicationProtocol::Proxy]),
            port: draw.maybe(|draw| draw.one(&[1, 80])),
        });
        workload.node = self.text();
        workload.canonical_name = self.text();
        workload.canonical_revision = self.text();
        use WorkloadType::{Cronjob, Deployment, Job, Pod};
        workload.workload_type = self.one(&[Cronjob, Deployment, Job, Pod]);
        workload.workload_name = self.text();
        workload.cluster = self.text();
        workload.locality = Locality { region: self.text(), zone: self.text(), subzone: self.text() };
        workload.status = self.one(&[Health::Healthy, Health::Unhealthy]);
        workload.capacity = self.one(&[0, 1, 7, u32::MAX]);
        workload.services = self.several(4, |draw| (draw.name(), draw.ports().into())).into_iter().collect();
        workload.authorization_policies = self.several(3, |draw| draw.one(&["n/p0", "m/p1", "x"]).into());
        workload
    }

    fn service(&mut self) -> Service {
        use RoutingScope::{Cluster, Network, Node, Region, Subzone, Zone};
        let mut service = Service::new(self.name());
        service.object_name = self.text();
        service.addresses = self.several(3, Self::network_address);
        service.cidrs = self.several(3, |draw| NetworkCidr { network: draw.text(), cidr: draw.cidr() });
        service.ports = self.ports();
        service.subject_alt_names = self.several(3, Self::identity);
        service.waypoint = self.maybe(Self::gateway);
        service.weighted_waypoints = self
            .several(3, |draw| WeightedWaypoint { gateway: draw.gateway(), weight: draw.one(&[0, 1, 90]) });
        service.load_balancing = LoadBalancing {
            preferences: self.several(4, |draw| draw.one(&[Cluster, Network, Node, Region, Subzone, Zone])),
            mode: self.one(&[
                LoadBalancingMode::Standard,
                LoadBalancingMode::Strict,
                LoadBalancingMode::Failover,
                LoadBalancingMode::Passthrough,
            ]),
            health: self.one(&[HealthPolicy::OnlyHealthy, HealthPolicy::AllowAll]),
        };
        service.ip_families =
            self.one(&[IpFamilies::Automatic, IpFamilies::Ipv4, IpFamilies::Ipv6, IpFamilies::Dual]);
        service.canonical = self.yes();
        service.visibility = self.one(&[Visibility::Public, Visibility::Namespace]);
        service
    }

    fn policy(&mut self, number: u64) -> Authorization {
        Authorization {
            namespace: self.one(&["n", "m", ""]).into(),
            name: format!("p{number}").into(),
            scope: self.one(&[PolicyScope::Global, PolicyScope::Namespace, PolicyScope::WorkloadSelector]),
            action: self.one(&[Action::Allow, Action::Deny]),
            rules: self.several(3, |draw| Rule {
                clauses: draw.several(3, |draw| Clause { matches: draw.several(3, Self::conditions) }),
            }),
            dry_run: self.yes(),
        }
    }

    fn pattern(&mut self) -> StringMatch {
        let text = self.text();
        self.one(&[
            StringMatch::Exact(text.clone()),
            StringMatch::Prefix(text.clone()),
            StringMatch::Suffix(text),
            StringMatch::Presence,
        ])
    }

    fn account(&mut self) -> ServiceAccount {
        ServiceAccount { namespace: self.text(), service_account: self.text() }
    }

    fn conditions(&mut self) -> Match {
        let mut conditions = Match {
            namespaces: self.several(2, Self::pattern),
            not_namespaces: self.several(2, Self::pattern),
            service_accounts: self.several(2, Self::account),
            not_service_accounts: self.several(2, Self::account),
            principals: self.several(2, Self::pattern),
            not_principals: self.several(2, Self::pattern),
            source_ips: self.several(2, Self::cidr),
            not_source_ips: self.several(2, Self::cidr),
            destination_ips: self.several(2, Self::cidr),
            not_destination_ips: self.several(2, Self::cidr),
            destination_ports: self.several(2, Self::port),
            not_destination_ports: self.several(2, Self::port),
            ..Match::default()
        };
        for (list, _) in match_list::all() {
            if self.below(6) == 0 {
                conditions.unreadable.add(list);
            }
        }
        conditions
    }
}
