//! The mesh's tables against lists: any sequence of changes, every look-up; copies; order of arrival.

use std::collections::BTreeMap;
use std::net::IpAddr;

use adit_core::identity::Identity;
use adit_core::mesh::{
    Action, Authorization, Change, Health, HealthPolicy, Mesh, NetworkAddress, NetworkCidr, NetworkMode,
    PolicyName, PolicyScope, Service, ServiceName, TunnelProtocol, Visibility, Workload,
};
use adit_testkit::oracle::mesh::Tables;
use proptest::prelude::*;
use proptest::sample::{Index, select, subsequence};

// A small world, so that everything meets everything.
const UIDS: [&str; 6] = ["c//Pod/a/x", "c//Pod/b/x", "c//Pod/a/y", "c/VM/x", "a/VM/x", "z"];
const NETWORKS: [&str; 2] = ["", "remote"];
const NAMESPACES: [&str; 3] = ["a", "b", "c"];
const ACCOUNTS: [&str; 2] = ["web", "db"];
const NODES: [&str; 3] = ["", "n1", "n2"];
const NAMES: [&str; 2] = ["x", "y"];
const HOSTS: [&str; 4] = ["web", "db", "*.example", "web.a"];
const ADDRESSES: [&str; 5] = ["10.0.0.1", "::ffff:10.0.0.1", "10.0.1.1", "fd00::1", "fd00:0:0:1::1"];
const RANGES: [&str; 8] = [
    "0.0.0.0/0",
    "10.0.0.0/8",
    "10.0.0.7/24",
    "10.0.1.0/24",
    "10.0.0.1/32",
    "::/0",
    "fd00::/16",
    "fd00::/64",
];

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn service_name() -> impl Strategy<Value = ServiceName> {
    (select(&NAMESPACES), select(&HOSTS))
        .prop_map(|(namespace, host)| ServiceName { namespace: namespace.into(), hostname: host.into() })
}

fn policy_name() -> impl Strategy<Value = PolicyName> {
    (select(&NAMESPACES), select(&NAMES))
        .prop_map(|(namespace, name)| PolicyName { namespace: namespace.into(), name: name.into() })
}

fn workload() -> impl Strategy<Value = Workload> {
    let who =
        (select(&UIDS), select(&NAMES), select(&NAMESPACES), select(&ACCOUNTS), prop::bool::weighted(0.03));
    let place = (
        select(&NETWORKS),
        subsequence(ADDRESSES.to_vec(), 0..=2),
        select(&NODES),
        prop::option::weighted(0.2, select(&HOSTS)),
        prop::bool::weighted(0.2),
    );
    let role = (
        prop::collection::vec((service_name(), 0..3u16), 0..3),
        prop::collection::vec(policy_name(), 0..3),
        any::<(bool, bool)>(),
    );
    (who, place, role).prop_map(|(who, place, (services, policies, (hbone, well)))| {
        let (uid, name, namespace, account, stray) = who;
        let (network, addresses, node, hostname, host_network) = place;
        let mut workload =
            Workload::new(uid, name, Identity::new("cluster.local", namespace, account).unwrap());
        if stray {
            workload.namespace = "stray".into();
        }
        workload.network = network.into();
        workload.addresses = addresses.into_iter().map(ip).collect();
        workload.node = node.into();
        workload.hostname = hostname.unwrap_or_default().into();
        workload.network_mode = if host_network { NetworkMode::HostNetwork } else { NetworkMode::Standard };
        workload.services = services.into_iter().map(|(name, port)| (name, [(80, port)].into())).collect();
        workload.authorization_policies = policies.iter().map(|key| key.to_string().into()).collect();
        workload.protocol = if hbone { TunnelProtocol::Hbone } else { TunnelProtocol::None };
        workload.status = if well { Health::Healthy } else { Health::Unhealthy };
        workload
    })
}

fn service() -> impl Strategy<Value = Service> {
    let place = (
        prop::collection::vec((select(&NETWORKS), select(&ADDRESSES)), 0..3),
        prop::collection::vec((select(&NETWORKS), select(&RANGES)), 0..3),
    );
    (service_name(), place, any::<(bool, bool, bool)>()).prop_map(
        |(name, (addresses, ranges), (canonical, private, lenient))| {
            let mut service = Service::new(name);
            service.addresses = addresses
                .into_iter()
                .map(|(network, address)| NetworkAddress { network: network.into(), address: ip(address) })
                .collect();
            service.cidrs = ranges
                .into_iter()
                .map(|(network, cidr)| NetworkCidr { network: network.into(), cidr: cidr.parse().unwrap() })
                .collect();
            service.canonical = canonical;
            service.visibility = if private { Visibility::Namespace } else { Visibility::Public };
            if lenient {
                service.load_balancing.health = HealthPolicy::AllowAll;
            }
            service
        },
    )
}

fn policy() -> impl Strategy<Value = Authorization> {
    let scopes = [PolicyScope::Global, PolicyScope::Namespace, PolicyScope::WorkloadSelector];
    (policy_name(), select(scopes.to_vec()), any::<bool>()).prop_map(|(name, scope, dry_run)| Authorization {
        namespace: name.namespace,
        name: name.name,
        scope,
        action: Action::Deny,
        rules: vec![],
        dry_run,
    })
}

fn entry() -> impl Strategy<Value = Change> {
    prop_oneof![
        4 => workload().prop_map(Change::Workload),
        3 => service().prop_map(Change::Service),
        1 => policy().prop_map(Change::Policy),
    ]
}

fn change() -> impl Strategy<Value = Change> {
    prop_oneof![
        8 => entry(),
        2 => select(&UIDS).prop_map(|uid| Change::RemoveWorkload(uid.into())),
        2 => service_name().prop_map(Change::RemoveService),
        1 => policy_name().prop_map(Change::RemovePolicy),
    ]
}

fn every_service() -> impl Iterator<Item = ServiceName> {
    NAMESPACES.into_iter().flat_map(|namespace| {
        HOSTS.map(|host| ServiceName { namespace: namespace.into(), hostname: host.into() })
    })
}

/// All that the tables answer, as question and answer.
fn answers(mesh: &Mesh) -> BTreeMap<String, String> {
    let mut all = BTreeMap::new();
    let mut say = |question: String, answer: String| assert_eq!(all.insert(question, answer), None);
    let uid = |workload: Option<&std::sync::Arc<Workload>>| format!("{:?}", workload.map(|w| &w.uid));
    let name =
        |service: Option<&std::sync::Arc<Service>>| format!("{:?}", service.map(|s| s.name.to_string()));
    say("uids".into(), format!("{:?}", mesh.workloads().map(|w| w.uid.to_string()).collect::<Vec<_>>()));
    say("services".into(), format!("{:?}", mesh.services().map(|s| s.name.to_string()).collect::<Vec<_>>()));
    say("policies".into(), format!("{:?}", mesh.policies().map(|p| p.key()).collect::<Vec<_>>()));
    for each in UIDS {
        let workload = mesh.workload(each);
        say(format!("workload {each}"), format!("{workload:?}"));
        let policies = workload.into_iter().flat_map(|workload| mesh.policies_for(workload));
        let keys = policies.map(|policy| policy.map_or_else(|key| format!("?{key}"), |policy| policy.key()));
        say(format!("policies for {each}"), format!("{:?}", keys.collect::<Vec<_>>()));
    }
    for (network, address) in pairs(&NETWORKS, &ADDRESSES) {
        say(format!("{network}/{address}"), uid(mesh.workload_by_address(network, ip(address))));
        for client in NAMESPACES {
            let service = mesh.service_by_vip(network, ip(address), client);
            say(format!("vip {network}/{address} for {client}"), name(service));
        }
    }
    for service in every_service() {
        say(format!("service {service}"), format!("{:?}", mesh.service(&service)));
        let endpoints: Vec<_> = mesh.endpoints(&service).iter().map(|w| w.uid.to_string()).collect();
        say(format!("endpoints of {service}"), format!("{endpoints:?}"));
        say(format!("workload {service}"), uid(mesh.workload_by_hostname(&service)));
        let staged = mesh.staged_services().find(|(name, _)| **name == service);
        let staged = staged.map(|(_, members)| members.iter().map(|w| w.uid.to_string()).collect::<Vec<_>>());
        say(format!("staged {service}"), format!("{staged:?}"));
    }
    for (host, client) in pairs(&HOSTS, &NAMESPACES) {
        say(format!("host {host} for {client}"), name(mesh.service_by_hostname(host, client)));
    }
    for (namespace, workload) in pairs(&NAMESPACES, &NAMES) {
        for account in ACCOUNTS {
            let found = mesh.workload_by_name(namespace, workload, account);
            say(format!("name {namespace}/{workload}/{account}"), uid(found));
        }
    }
    for node in NODES.map(Some).into_iter().chain([None]) {
        let identities = mesh.identities_on(node);
        assert!(identities.iter().all(|identity| mesh.has_identity(node, identity)));
        let texts: Vec<_> = identities.iter().map(ToString::to_string).collect();
        say(format!("identities on {node:?}"), format!("{texts:?}"));
    }
    all
}

/// The same questions, answered by the oracle.
fn expected(tables: &Tables) -> BTreeMap<String, String> {
    let mut all = BTreeMap::new();
    let mut say = |question: String, answer: String| drop(all.insert(question, answer));
    let uid = |workload: Option<&Workload>| format!("{:?}", workload.map(|w| &w.uid));
    let name = |service: Option<&Service>| format!("{:?}", service.map(|s| s.name.to_string()));
    say("uids".into(), format!("{:?}", tables.uids()));
    say("services".into(), format!("{:?}", tables.service_names()));
    say("policies".into(), format!("{:?}", tables.policy_keys()));
    for each in UIDS {
        let workload = tables.workload(each);
        say(format!("workload {each}"), format!("{workload:?}"));
        let keys = workload.map(|workload| tables.policies_for(workload)).unwrap_or_default();
        say(format!("policies for {each}"), format!("{keys:?}"));
    }
    for (network, address) in pairs(&NETWORKS, &ADDRESSES) {
        say(format!("{network}/{address}"), uid(tables.workload_by_address(network, ip(address))));
        for client in NAMESPACES {
            let service = tables.service_by_vip(network, ip(address), client);
            say(format!("vip {network}/{address} for {client}"), name(service));
        }
    }
    for service in every_service() {
        say(format!("service {service}"), format!("{:?}", tables.service(&service)));
        say(format!("endpoints of {service}"), format!("{:?}", tables.endpoints(&service)));
        say(format!("workload {service}"), uid(tables.workload_by_hostname(&service)));
        let members = Some(tables.members(&service)).filter(|members| !members.is_empty());
        let staged = members.filter(|_| tables.service(&service).is_none());
        say(format!("staged {service}"), format!("{staged:?}"));
    }
    for (host, client) in pairs(&HOSTS, &NAMESPACES) {
        say(format!("host {host} for {client}"), name(tables.service_by_hostname(host, client)));
    }
    for (namespace, workload) in pairs(&NAMESPACES, &NAMES) {
        for account in ACCOUNTS {
            let found = tables.workload_by_name(namespace, workload, account);
            say(format!("name {namespace}/{workload}/{account}"), uid(found));
        }
    }
    for node in NODES.map(Some).into_iter().chain([None]) {
        say(format!("identities on {node:?}"), format!("{:?}", tables.identities_on(node)));
    }
    all
}

fn pairs<'a>(first: &'a [&'a str], second: &'a [&'a str]) -> impl Iterator<Item = (&'a str, &'a str)> {
    first.iter().flat_map(|a| second.iter().map(|b| (*a, *b)))
}

/// What names an entry, of whatever kind.
fn key(change: &Change) -> String {
    match change {
        Change::Workload(workload) => format!("w {}", workload.uid),
        Change::Service(service) => format!("s {}", service.name),
        Change::Policy(policy) => format!("p {}", policy.key()),
        Change::RemoveWorkload(_) | Change::RemoveService(_) | Change::RemovePolicy(_) => String::new(),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn every_look_up_agrees_with_lists_and_copies_stay_as_they_were(
        changes in prop::collection::vec((change(), prop::bool::weighted(0.1)), 0..60),
    ) {
        let (mut mesh, mut tables) = (Mesh::empty("".into()), Tables::default());
        let mut copies = Vec::new();
        for (change, copy) in changes {
            prop_assert_eq!(mesh.apply(change.clone()).is_ok(), tables.apply(change));
            if copy {
                copies.push((mesh.clone(), tables.clone()));
            }
        }
        copies.push((mesh, tables));
        for (mesh, tables) in copies {
            prop_assert_eq!(answers(&mesh), expected(&tables));
        }
    }

    #[test]
    fn the_order_of_arrival_does_not_matter(
        entries in prop::collection::vec((entry(), any::<Index>()), 0..40),
    ) {
        let mut known = BTreeMap::new();
        let mut places = Vec::new();
        for (entry, place) in entries {
            known.insert(key(&entry), entry);
            places.push(place);
        }
        let mut shuffled: Vec<Change> = Vec::new();
        for (entry, place) in known.values().zip(places) {
            shuffled.insert(place.index(shuffled.len() + 1), entry.clone());
        }
        let load = |changes: Vec<Change>| {
            let mut mesh = Mesh::empty("".into());
            for change in changes {
                let _stray = mesh.apply(change);
            }
            mesh
        };
        prop_assert_eq!(answers(&load(known.into_values().collect())), answers(&load(shuffled)));
    }
}
