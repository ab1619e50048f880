use std::string::ToString;
use std::vec;

use super::*;
use crate::identity::Identity;
use crate::mesh::{
    Action, Health, HealthPolicy, NetworkAddress, NetworkCidr, NetworkMode, TunnelProtocol, Visibility,
    Workload,
};

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn workload(uid: &str, address: &str) -> Workload {
    let name = uid.rsplit('/').next().unwrap();
    let mut workload = Workload::new(uid, name, Identity::new("cluster.local", "default", "web").unwrap());
    workload.addresses = vec![ip(address)];
    workload
}

fn name(namespace: &str, hostname: &str) -> ServiceName {
    ServiceName { namespace: namespace.into(), hostname: hostname.into() }
}

fn service(namespace: &str, hostname: &str, vip: &str) -> Service {
    let mut service = Service::new(name(namespace, hostname));
    service.addresses = vec![NetworkAddress { network: "".into(), address: ip(vip) }];
    service
}

fn ranged(namespace: &str, hostname: &str, cidr: &str) -> Service {
    let mut service = Service::new(name(namespace, hostname));
    service.cidrs = vec![NetworkCidr { network: "".into(), cidr: cidr.parse().unwrap() }];
    service
}

fn policy(namespace: &str, name: &str, scope: PolicyScope) -> Authorization {
    Authorization {
        namespace: namespace.into(),
        name: name.into(),
        scope,
        action: Action::Deny,
        rules: vec![],
        dry_run: false,
    }
}

fn mesh(workloads: Vec<Workload>, services: Vec<Service>) -> Mesh {
    Mesh::new("".into(), workloads, services, vec![]).unwrap()
}

#[track_caller]
fn vip_is(mesh: &Mesh, vip: &str, client: &str, expected: Option<&str>) {
    let found = mesh.service_by_vip("", ip(vip), client).map(|service| service.name.to_string());
    assert_eq!(found.as_deref(), expected, "{vip} seen from {client}");
}

#[test]
fn of_workloads_on_one_address_pods_then_hbone_then_lowest_uid_win() {
    let mut hbone_other = workload("c//VM/default/a", "10.0.0.1");
    hbone_other.protocol = TunnelProtocol::Hbone;
    let mut hbone_pod = workload("c//Pod/default/z", "10.0.0.1");
    hbone_pod.protocol = TunnelProtocol::Hbone;
    let plain_pod = workload("c//Pod/default/b", "10.0.0.1");
    let plain_other = workload("c//VM/default/0", "10.0.0.1");
    let mut order =
        vec![hbone_pod, plain_pod, workload("c//Pod/default/c", "10.0.0.1"), hbone_other, plain_other];
    for expected in
        ["c//Pod/default/z", "c//Pod/default/b", "c//Pod/default/c", "c//VM/default/a", "c//VM/default/0"]
    {
        for entries in [order.clone(), order.iter().rev().cloned().collect()] {
            let mesh = mesh(entries, vec![]);
            assert_eq!(&*mesh.workload_by_address("", ip("10.0.0.1")).unwrap().uid, expected);
        }
        order.remove(0);
    }
}

#[test]
fn addresses_are_per_network_and_in_either_notation() {
    let mut remote = workload("c//Pod/default/remote", "10.0.0.1");
    remote.network = "remote".into();
    let mesh = mesh(vec![workload("c//Pod/default/local", "::ffff:10.0.0.1"), remote], vec![]);
    let uid = |network: &str, address: &str| {
        mesh.workload_by_address(network, ip(address)).map(|workload| workload.name.to_string())
    };
    assert_eq!(uid("", "10.0.0.1").as_deref(), Some("local"));
    assert_eq!(uid("", "::ffff:10.0.0.1").as_deref(), Some("local"));
    assert_eq!(uid("remote", "10.0.0.1").as_deref(), Some("remote"));
    assert_eq!(uid("elsewhere", "10.0.0.1"), None);
}

#[test]
fn host_network_workloads_are_found_by_name_and_service_only() {
    let mut host = workload("c//Pod/default/host", "10.0.0.9");
    host.network_mode = NetworkMode::HostNetwork;
    host.services.insert(name("default", "web"), Default::default());
    let mesh = mesh(vec![host], vec![service("default", "web", "10.1.0.1")]);
    assert!(mesh.workload_by_address("", ip("10.0.0.9")).is_none());
    assert_eq!(mesh.endpoints(&name("default", "web")).len(), 1);
    assert!(mesh.workload_by_name("default", "host", "web").is_some());
}

#[test]
fn the_local_workload_is_one_of_this_node() {
    let [mut a, mut b] = [workload("u/a", "10.0.0.1"), workload("u/b", "10.0.0.2")];
    for (workload, node) in [(&mut a, "elsewhere"), (&mut b, "here")] {
        workload.name = "same".into();
        workload.node = node.into();
    }
    let mesh = mesh(vec![a, b], vec![]);
    let found =
        |mesh: &Mesh| mesh.workload_by_name("default", "same", "web").map(|found| found.uid.to_string());
    assert_eq!(found(&mesh).as_deref(), Some("u/a"), "any node will do");
    assert_eq!(found(&mesh.clone().on_node(Some("here".into()))).as_deref(), Some("u/b"));
    assert_eq!(found(&mesh.on_node(Some("nowhere".into()))), None);
}

#[test]
fn the_local_workload_is_found_by_all_three_parts() {
    let mesh = mesh(vec![workload("u/a", "10.0.0.1"), workload("u/b", "10.0.0.2")], vec![]);
    assert_eq!(&*mesh.workload_by_name("default", "b", "web").unwrap().uid, "u/b");
    for (namespace, name, account) in
        [("default", "c", "web"), ("other", "b", "web"), ("default", "b", "other"), ("", "", "")]
    {
        assert!(mesh.workload_by_name(namespace, name, account).is_none(), "{namespace}/{name}/{account}");
    }
}

#[test]
fn one_vip_in_several_namespaces() {
    let mut canonical = service("c", "web", "10.1.0.1");
    canonical.canonical = true;
    let mut hidden = service("d", "web", "10.1.0.1");
    hidden.visibility = Visibility::Namespace;
    let mesh = mesh(
        vec![],
        vec![hidden, service("a", "web", "10.1.0.1"), service("b", "web", "10.1.0.1"), canonical],
    );
    vip_is(&mesh, "10.1.0.1", "b", Some("b/web"));
    vip_is(&mesh, "10.1.0.1", "d", Some("d/web"));
    vip_is(&mesh, "10.1.0.1", "elsewhere", Some("c/web"));
    vip_is(&mesh, "10.1.0.2", "b", None);
    assert!(mesh.service_by_vip("remote", ip("10.1.0.1"), "b").is_none());
    // Hostnames rank the same way.
    assert_eq!(&*mesh.service_by_hostname("web", "b").unwrap().name.namespace, "b");
    assert_eq!(&*mesh.service_by_hostname("web", "x").unwrap().name.namespace, "c");
    assert!(mesh.service_by_hostname("nothing", "b").is_none());
}

#[test]
fn without_own_or_canonical_service_the_lowest_name_wins() {
    let mesh = mesh(vec![], vec![service("b", "web", "10.1.0.1"), service("a", "web", "10.1.0.1")]);
    vip_is(&mesh, "10.1.0.1", "elsewhere", Some("a/web"));
    assert_eq!(&*mesh.service_by_hostname("web", "elsewhere").unwrap().name.namespace, "a");
}

#[test]
fn ranges_rank_by_namespace_then_prefix_then_canonical() {
    let mut canonical = ranged("c", "canonical", "10.2.0.0/16");
    canonical.canonical = true;
    let mesh = mesh(
        vec![],
        vec![
            ranged("a", "wide", "10.0.0.0/8"),
            ranged("b", "narrow", "10.3.0.0/16"),
            ranged("b", "equal", "10.2.0.0/16"),
            canonical,
            ranged("b", "narrower", "10.2.5.0/24"),
            service("z", "exact", "10.3.0.1"),
            ranged("z", "full", "10.3.0.2/32"),
            ranged("z", "v6", "fd00::/64"),
        ],
    );
    vip_is(&mesh, "10.3.0.7", "elsewhere", Some("b/narrow"));
    vip_is(&mesh, "10.3.0.7", "a", Some("a/wide"));
    vip_is(&mesh, "10.2.0.1", "elsewhere", Some("c/canonical"));
    vip_is(&mesh, "10.2.0.1", "b", Some("b/equal"));
    vip_is(&mesh, "10.2.5.1", "elsewhere", Some("b/narrower"));
    // An exact address beats every range, also written as a full-length range, also of another namespace.
    vip_is(&mesh, "10.3.0.1", "a", Some("z/exact"));
    vip_is(&mesh, "10.3.0.2", "a", Some("z/full"));
    vip_is(&mesh, "fd00::1", "a", Some("z/v6"));
    vip_is(&mesh, "11.0.0.1", "a", None);
}

#[test]
fn an_invisible_exact_service_leaves_the_ranges() {
    let mut hidden = service("a", "hidden", "10.2.0.1");
    hidden.visibility = Visibility::Namespace;
    let mut hidden_range = ranged("a", "hidden-range", "10.2.0.0/24");
    hidden_range.visibility = Visibility::Namespace;
    let mesh = mesh(vec![], vec![hidden, hidden_range, ranged("b", "range", "10.2.0.0/16")]);
    vip_is(&mesh, "10.2.0.1", "a", Some("a/hidden"));
    vip_is(&mesh, "10.2.0.1", "b", Some("b/range"));
    vip_is(&mesh, "10.2.0.2", "a", Some("a/hidden-range"));
}

#[test]
fn endpoints_are_filtered_by_the_health_policy() {
    let mut sick = workload("c//Pod/default/sick", "10.0.0.1");
    sick.status = Health::Unhealthy;
    let mut well = workload("c//Pod/default/well", "10.0.0.2");
    for workload in [&mut sick, &mut well] {
        workload.services.insert(name("default", "strict"), Default::default());
        workload.services.insert(name("default", "lenient"), Default::default());
        workload.services.insert(name("default", "unknown"), Default::default());
    }
    let mut lenient = service("default", "lenient", "10.1.0.2");
    lenient.load_balancing.health = HealthPolicy::AllowAll;
    let mesh = mesh(vec![sick, well], vec![service("default", "strict", "10.1.0.1"), lenient]);
    let uids = |service: &str| {
        let endpoints = mesh.endpoints(&name("default", service)).iter();
        endpoints.map(|endpoint| endpoint.name.to_string()).collect::<Vec<_>>()
    };
    assert_eq!(uids("strict"), ["well"]);
    assert_eq!(uids("lenient"), ["sick", "well"]);
    assert!(uids("unknown").is_empty());
}

#[test]
fn policies_apply_by_scope_and_by_list() {
    let policies = vec![
        policy("root", "global", PolicyScope::Global),
        policy("default", "own", PolicyScope::Namespace),
        policy("other", "foreign", PolicyScope::Namespace),
        policy("default", "listed", PolicyScope::WorkloadSelector),
        policy("default", "unlisted", PolicyScope::WorkloadSelector),
    ];
    let mut target = workload("c//Pod/default/a", "10.0.0.1");
    target.authorization_policies = vec!["default/listed".into(), "default/missing".into()];
    let mesh = Mesh::new("".into(), vec![target], vec![], policies).unwrap();
    let target = mesh.workload_by_address("", ip("10.0.0.1")).unwrap();
    let keys: Vec<_> = mesh
        .policies_for(target)
        .map(|policy| policy.map(|p| p.key()).map_err(ToString::to_string))
        .collect();
    assert_eq!(
        keys,
        [
            Ok("root/global".to_string()),
            Ok("default/own".to_string()),
            Ok("default/listed".to_string()),
            Err("default/missing".to_string())
        ]
    );
}

#[test]
fn keys_that_appear_twice_are_refused() {
    let twice =
        |workloads, services, policies| Mesh::new("".into(), workloads, services, policies).unwrap_err();
    let w = workload("u/a", "10.0.0.1");
    let s = service("default", "web", "10.1.0.1");
    let p = policy("default", "p", PolicyScope::Global);
    let error = twice(vec![w.clone(), w], vec![], vec![]);
    assert_eq!(error.to_string(), "workload u/a appears twice: give each its own uid");
    assert_eq!(twice(vec![], vec![s.clone(), s.clone()], vec![]), MeshError::DuplicateService(s.name));
    assert_eq!(
        twice(vec![], vec![], vec![p.clone(), p.clone()]),
        MeshError::DuplicatePolicy(p.policy_name())
    );
}

#[test]
fn a_workload_outside_its_identitys_namespace_is_refused() {
    let mut stray = workload("u/a", "10.0.0.1");
    stray.namespace = "other".into();
    let error = Mesh::new("".into(), vec![stray], vec![], vec![]).unwrap_err();
    assert_eq!(error.to_string(), "workload u/a is in namespace other, but its identity is in default");
}

#[test]
fn baggage_leaves_out_what_is_empty() {
    let mut workload = workload("u/a", "10.0.0.1");
    workload.canonical_name = "web".into();
    workload.locality.zone = "z1".into();
    let baggage = workload.baggage();
    assert_eq!(baggage.cluster.as_deref(), Some("Kubernetes"));
    assert_eq!(baggage.namespace.as_deref(), Some("default"));
    assert_eq!(baggage.service_name.as_deref(), Some("web"));
    assert_eq!(baggage.zone.as_deref(), Some("z1"));
    assert_eq!((baggage.workload_name, baggage.service_version, baggage.region), (None, None, None));
}
