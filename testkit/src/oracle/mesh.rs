//! The mesh's tables as lists that every look-up reads from end to end (datapath §2.3, interfaces §1.5).

use std::cmp::Reverse;
use std::collections::BTreeSet;
use std::net::IpAddr;

use adit_core::mesh::{
    Authorization, Change, Health, HealthPolicy, NetworkMode, PolicyScope, Service, ServiceName,
    TunnelProtocol, Visibility, Workload,
};

/// What was said last about each entry.
#[derive(Clone, Debug, Default)]
pub struct Tables {
    workloads: Vec<Workload>,
    services: Vec<Service>,
    policies: Vec<Authorization>,
}

impl Tables {
    /// Does what [`adit_core::mesh::Mesh::apply`] should; returns whether the entry was accepted.
    pub fn apply(&mut self, change: Change) -> bool {
        match change {
            Change::Workload(workload) => {
                if *workload.namespace != *workload.identity().namespace() {
                    return false;
                }
                self.workloads.retain(|known| known.uid != workload.uid);
                self.workloads.push(workload);
            }
            Change::Service(service) => {
                self.services.retain(|known| known.name != service.name);
                self.services.push(service);
            }
            Change::Policy(policy) => {
                self.policies.retain(|known| known.policy_name() != policy.policy_name());
                self.policies.push(policy);
            }
            Change::RemoveWorkload(uid) => self.workloads.retain(|known| known.uid != uid),
            Change::RemoveService(name) => self.services.retain(|known| known.name != name),
            Change::RemovePolicy(name) => self.policies.retain(|known| known.policy_name() != name),
        }
        true
    }

    /// All uids in order.
    #[must_use]
    pub fn uids(&self) -> Vec<String> {
        sorted(self.workloads.iter().map(|workload| workload.uid.to_string()))
    }

    /// The names of all services in order.
    #[must_use]
    pub fn service_names(&self) -> Vec<String> {
        sorted(self.services.iter().map(|service| service.name.to_string()))
    }

    /// The keys of all policies in order.
    #[must_use]
    pub fn policy_keys(&self) -> Vec<String> {
        sorted(self.policies.iter().map(Authorization::key))
    }

    /// The workload of a uid.
    #[must_use]
    pub fn workload(&self, uid: &str) -> Option<&Workload> {
        self.workloads.iter().find(|workload| &*workload.uid == uid)
    }

    /// The service of a name.
    #[must_use]
    pub fn service(&self, name: &ServiceName) -> Option<&Service> {
        self.services.iter().find(|service| service.name == *name)
    }

    /// The workload that owns an address: pods first, then HBONE, then the lowest uid.
    #[must_use]
    pub fn workload_by_address(&self, network: &str, address: IpAddr) -> Option<&Workload> {
        let here = self.workloads.iter().filter(|workload| {
            workload.network_mode == NetworkMode::Standard
                && &*workload.network == network
                && workload.addresses.iter().any(|own| own.to_canonical() == address.to_canonical())
        });
        here.min_by_key(|workload| {
            let rank = match (workload.uid.contains("//Pod/"), workload.protocol) {
                (true, TunnelProtocol::Hbone) => 3,
                (true, TunnelProtocol::None) => 2,
                (false, TunnelProtocol::Hbone) => 1,
                (false, TunnelProtocol::None) => 0,
            };
            (Reverse(rank), workload.uid.clone())
        })
    }

    /// The workload of a name, of several that of the lowest uid.
    #[must_use]
    pub fn workload_by_name(&self, namespace: &str, name: &str, account: &str) -> Option<&Workload> {
        let here = self.workloads.iter().filter(|workload| {
            (&*workload.namespace, &*workload.name) == (namespace, name)
                && workload.identity().service_account() == account
        });
        here.min_by_key(|workload| workload.uid.clone())
    }

    /// The workload of a hostname, of several that of the lowest uid.
    #[must_use]
    pub fn workload_by_hostname(&self, name: &ServiceName) -> Option<&Workload> {
        let here = self.workloads.iter().filter(|workload| {
            (&workload.namespace, &workload.hostname) == (&name.namespace, &name.hostname)
                && !workload.hostname.is_empty()
        });
        here.min_by_key(|workload| workload.uid.clone())
    }

    /// The identities on a node, or everywhere, as texts in order.
    #[must_use]
    pub fn identities_on(&self, node: Option<&str>) -> Vec<String> {
        let here = self.workloads.iter().filter(|workload| node.is_none_or(|node| &*workload.node == node));
        let identities: BTreeSet<_> = here.map(Workload::identity).collect();
        identities.iter().map(ToString::to_string).collect()
    }

    /// Uids of those that name a service, known or not, in order.
    #[must_use]
    pub fn members(&self, name: &ServiceName) -> Vec<String> {
        let members = self.workloads.iter().filter(|workload| workload.services.get(name).is_some());
        sorted(members.map(|workload| workload.uid.to_string()))
    }

    /// Uids of the endpoints of a service in order.
    #[must_use]
    pub fn endpoints(&self, name: &ServiceName) -> Vec<String> {
        let Some(service) = self.service(name) else { return Vec::new() };
        let mut members = self.members(name);
        members.retain(|uid| {
            service.load_balancing.health == HealthPolicy::AllowAll
                || self.workload(uid).is_some_and(|workload| workload.status == Health::Healthy)
        });
        members
    }

    /// The best service of a virtual address.
    #[must_use]
    pub fn service_by_vip(&self, network: &str, vip: IpAddr, client: &str) -> Option<&Service> {
        let vip = vip.to_canonical();
        // How many bits of the address the service names, if it covers it at all.
        let covered = |service: &Service| {
            let exact = service
                .addresses
                .iter()
                .any(|own| &*own.network == network && own.address.to_canonical() == vip);
            let ranges = service.cidrs.iter().filter(|range| &*range.network == network);
            let ranges = ranges.filter(|range| range.cidr.contains(&vip));
            let longest = ranges.map(|range| range.cidr.prefix_len()).max();
            let full = if vip.is_ipv4() { 32 } else { 128 };
            if exact { Some(full) } else { longest }
        };
        let full = if vip.is_ipv4() { 32 } else { 128 };
        let covering = self.services.iter().filter(|service| visible(service, client));
        let covering = covering.filter_map(|service| Some((covered(service)?, service)));
        covering
            .min_by_key(|(bits, service)| {
                let own = &*service.name.namespace == client;
                let rank = Reverse((*bits == full, own, *bits, service.canonical));
                (rank, service.name.clone())
            })
            .map(|(_, service)| service)
    }

    /// The best service of a hostname.
    #[must_use]
    pub fn service_by_hostname(&self, hostname: &str, client: &str) -> Option<&Service> {
        let named = self.services.iter().filter(|service| &*service.name.hostname == hostname);
        named.filter(|service| visible(service, client)).min_by_key(|service| {
            let own = &*service.name.namespace == client;
            (Reverse((own, service.canonical)), service.name.clone())
        })
    }

    /// The policies that bear on a workload: keys of global ones, of its namespace's, then what it lists, where an
    /// unknown key has a `?`.
    #[must_use]
    pub fn policies_for(&self, workload: &Workload) -> Vec<String> {
        let keys = |applies: &dyn Fn(&Authorization) -> bool| {
            sorted(self.policies.iter().filter(|policy| applies(policy)).map(Authorization::key))
        };
        let mut found = keys(&|policy| policy.scope == PolicyScope::Global);
        found.extend(keys(&|policy| {
            policy.scope == PolicyScope::Namespace && policy.namespace == workload.namespace
        }));
        let known = self.policy_keys();
        found.extend(
            workload.authorization_policies.iter().map(|key| {
                if known.contains(&key.to_string()) { key.to_string() } else { format!("?{key}") }
            }),
        );
        found
    }
}

fn visible(service: &Service, client: &str) -> bool {
    service.visibility == Visibility::Public || &*service.name.namespace == client
}

fn sorted(texts: impl Iterator<Item = String>) -> Vec<String> {
    let mut texts: Vec<_> = texts.collect();
    texts.sort();
    texts
}
