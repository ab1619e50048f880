use std::net::IpAddr;
use std::string::{String, ToString};
use std::vec;
use std::vec::Vec;

use super::*;
use crate::identity::Identity;
use crate::mesh::{Action, Health, HealthPolicy, NetworkAddress, NetworkCidr, TunnelProtocol};

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn name(hostname: &str) -> ServiceName {
    ServiceName { namespace: "default".into(), hostname: hostname.into() }
}

fn identity(account: &str) -> Identity {
    Identity::new("cluster.local", "default", account).unwrap()
}

fn workload(uid: &str, address: &str, services: &[&str]) -> Workload {
    let mut workload = Workload::new(uid, uid, identity("web"));
    workload.addresses = vec![ip(address)];
    workload.node = "node".into();
    workload.services = services.iter().map(|host| (name(host), [(80, 8080)].into())).collect();
    workload
}

fn service(hostname: &str, vip: &str) -> Service {
    let mut service = Service::new(name(hostname));
    service.addresses = vec![NetworkAddress { network: "".into(), address: ip(vip) }];
    service
}

fn apply(mesh: &mut Mesh, changes: impl IntoIterator<Item = Change>) {
    changes.into_iter().for_each(|change| mesh.apply(change).unwrap());
}

fn endpoints(mesh: &Mesh, hostname: &str) -> Vec<String> {
    mesh.endpoints(&name(hostname)).iter().map(|endpoint| endpoint.uid.to_string()).collect()
}

fn at(mesh: &Mesh, address: &str) -> Option<String> {
    mesh.workload_by_address("", ip(address)).map(|workload| workload.uid.to_string())
}

#[test]
fn a_workload_update_leaves_nothing_of_the_old_copy() {
    let mut mesh = Mesh::empty("".into());
    let mut old = workload("a", "10.0.0.1", &["web", "old"]);
    old.hostname = "a.example".into();
    apply(&mut mesh, [Change::Service(service("web", "10.1.0.1")), Change::Workload(old)]);
    let mut new = workload("a", "10.0.0.2", &["web"]);
    new.name = "renamed".into();
    new.node = "other".into();
    apply(&mut mesh, [Change::Workload(new)]);
    assert_eq!((at(&mesh, "10.0.0.1"), at(&mesh, "10.0.0.2").as_deref()), (None, Some("a")));
    assert!(mesh.workload_by_name("default", "a", "web").is_none());
    assert!(mesh.workload_by_name("default", "renamed", "web").is_some());
    assert!(mesh.workload_by_hostname(&name("a.example")).is_none());
    assert!(
        !mesh.has_identity(Some("node"), &identity("web"))
            && mesh.has_identity(Some("other"), &identity("web"))
    );
    assert_eq!(endpoints(&mesh, "web"), ["a"]);
    assert_eq!((mesh.workload_count(), mesh.staged_services().count()), (1, 0));
}

#[test]
fn endpoints_wait_for_their_service_and_outlive_it() {
    let mut mesh = Mesh::empty("".into());
    let mut sick = workload("sick", "10.0.0.2", &["web"]);
    sick.status = Health::Unhealthy;
    apply(&mut mesh, [Change::Workload(workload("well", "10.0.0.1", &["web"])), Change::Workload(sick)]);
    assert!(endpoints(&mesh, "web").is_empty() && mesh.service(&name("web")).is_none());
    let staged: Vec<_> =
        mesh.staged_services().map(|(name, members)| (name.to_string(), members.len())).collect();
    assert_eq!(staged, [("default/web".to_string(), 2)]);

    apply(&mut mesh, [Change::Service(service("web", "10.1.0.1"))]);
    assert_eq!((endpoints(&mesh, "web"), mesh.staged_services().count()), (vec!["well".to_string()], 0));
    // An update keeps them, and its health policy counts at once.
    let mut lenient = service("web", "10.1.0.2");
    lenient.load_balancing.health = HealthPolicy::AllowAll;
    apply(&mut mesh, [Change::Service(lenient)]);
    assert_eq!(endpoints(&mesh, "web"), ["sick", "well"]);
    assert!(mesh.service_by_vip("", ip("10.1.0.1"), "default").is_none());
    assert!(mesh.service_by_vip("", ip("10.1.0.2"), "default").is_some());

    apply(&mut mesh, [Change::RemoveService(name("web"))]);
    assert!(
        endpoints(&mesh, "web").is_empty() && mesh.service_by_vip("", ip("10.1.0.2"), "default").is_none()
    );
    apply(&mut mesh, [Change::RemoveWorkload("sick".into()), Change::Service(service("web", "10.1.0.1"))]);
    assert_eq!(endpoints(&mesh, "web"), ["well"]);
    apply(&mut mesh, [Change::RemoveService(name("web")), Change::RemoveWorkload("well".into())]);
    assert_eq!((mesh.staged_services().count(), mesh.services.len()), (0, 0), "nothing is kept of nothing");
}

#[test]
fn the_next_best_workload_takes_over_an_address() {
    let mut mesh = Mesh::empty("".into());
    let mut hbone = workload("b//Pod/x", "10.0.0.1", &[]);
    hbone.protocol = TunnelProtocol::Hbone;
    let all = [workload("a", "10.0.0.1", &[]), workload("a//Pod/x", "10.0.0.1", &[]), hbone.clone()];
    apply(&mut mesh, all.map(Change::Workload));
    assert_eq!(at(&mesh, "10.0.0.1").as_deref(), Some("b//Pod/x"));
    // An update may lower its rank, too.
    hbone.protocol = TunnelProtocol::None;
    apply(&mut mesh, [Change::Workload(hbone)]);
    for uid in ["a//Pod/x", "b//Pod/x", "a"] {
        assert_eq!(at(&mesh, "::ffff:10.0.0.1").as_deref(), Some(uid));
        apply(&mut mesh, [Change::RemoveWorkload(uid.into())]);
    }
    assert_eq!(at(&mesh, "10.0.0.1"), None);
}

#[test]
fn a_workload_that_becomes_host_network_loses_its_address_only() {
    let mut mesh = Mesh::empty("".into());
    let mut pod = workload("a", "10.0.0.1", &["web"]);
    apply(&mut mesh, [Change::Service(service("web", "10.1.0.1")), Change::Workload(pod.clone())]);
    pod.network_mode = NetworkMode::HostNetwork;
    apply(&mut mesh, [Change::Workload(pod)]);
    assert_eq!((at(&mesh, "10.0.0.1"), endpoints(&mesh, "web")), (None, vec!["a".to_string()]));
    apply(&mut mesh, [Change::RemoveWorkload("a".into())]);
    assert!(endpoints(&mesh, "web").is_empty());
}

#[test]
fn a_policy_that_changes_its_scope_moves() {
    let mut mesh = Mesh::empty("".into());
    let policy = |scope| Authorization {
        namespace: "default".into(),
        name: "p".into(),
        scope,
        action: Action::Deny,
        rules: vec![],
        dry_run: false,
    };
    let key = || PolicyName { namespace: "default".into(), name: "p".into() };
    let own = workload("a", "10.0.0.1", &[]);
    let mut listing = own.clone();
    listing.authorization_policies = vec!["default/p".into()];
    let foreign = Workload::new("b", "b", Identity::new("cluster.local", "other", "web").unwrap());
    for (scope, expected) in [
        (PolicyScope::Global, [1, 2, 1]),
        (PolicyScope::WorkloadSelector, [0, 1, 0]),
        (PolicyScope::Namespace, [1, 2, 0]),
        (PolicyScope::Global, [1, 2, 1]),
    ] {
        apply(&mut mesh, [Change::Policy(policy(scope))]);
        let count = |workload| mesh.policies_for(workload).filter(Result::is_ok).count();
        assert_eq!([count(&own), count(&listing), count(&foreign)], expected, "{scope:?}");
        assert_eq!(mesh.policies().count(), 1);
    }
    apply(&mut mesh, [Change::RemovePolicy(key())]);
    assert_eq!(mesh.policies_for(&own).count(), 0);
    assert!(mesh.policies_for(&listing).eq([Err(&"default/p".into())]));

    let stray = Authorization { namespace: "a/b".into(), ..policy(PolicyScope::Global) };
    let error = mesh.apply(Change::Policy(stray)).unwrap_err();
    assert_eq!(
        error.to_string(),
        "policy a/b/p has a namespace with a '/': workloads list policies as namespace/name"
    );
}

#[test]
fn what_is_refused_leaves_everything_as_it_was() {
    let mut mesh = Mesh::empty("".into());
    apply(&mut mesh, [Change::Workload(workload("a", "10.0.0.1", &["web"]))]);
    let version = mesh.version();
    let mut stray = workload("a", "10.0.0.2", &[]);
    stray.namespace = "other".into();
    assert!(matches!(mesh.apply(Change::Workload(stray)), Err(MeshError::NamespaceMismatch { .. })));
    assert_eq!((at(&mesh, "10.0.0.1").as_deref(), at(&mesh, "10.0.0.2")), (Some("a"), None));
    assert_eq!((mesh.version(), mesh.staged_services().count()), (version, 1));
}

#[test]
fn the_version_counts_what_changed_anything() {
    let mut mesh = Mesh::empty("".into());
    for (change, version) in [
        (Change::Workload(workload("a", "10.0.0.1", &[])), 1),
        (Change::Workload(workload("a", "10.0.0.1", &[])), 1),
        (Change::Service(service("web", "10.1.0.1")), 2),
        (Change::Service(service("web", "10.1.0.1")), 2),
        (Change::RemoveWorkload("unknown".into()), 2),
        (Change::RemoveService(name("unknown")), 2),
        (Change::RemovePolicy(PolicyName { namespace: "n".into(), name: "unknown".into() }), 2),
        (Change::RemoveService(name("web")), 3),
    ] {
        apply(&mut mesh, [change.clone()]);
        assert_eq!(mesh.version(), version, "{change:?}");
    }
}

#[test]
fn a_copy_does_not_see_later_changes() {
    let mut mesh = Mesh::empty("".into());
    apply(
        &mut mesh,
        (0..200)
            .map(|n| Change::Workload(workload(&std::format!("{n}"), &std::format!("10.0.0.{n}"), &["web"]))),
    );
    apply(&mut mesh, [Change::Service(service("web", "10.1.0.1"))]);
    let before = mesh.clone();
    let all = endpoints(&before, "web");
    assert_eq!(all.len(), 200);
    apply(&mut mesh, (0..200).map(|n| Change::RemoveWorkload(std::format!("{n}").into())));
    apply(&mut mesh, [Change::RemoveService(name("web"))]);
    assert_eq!((mesh.workload_count(), at(&mesh, "10.0.0.7")), (0, None));
    assert_eq!((endpoints(&before, "web"), at(&before, "10.0.0.7").as_deref()), (all, Some("7")));
}

#[test]
fn replicas_share_what_they_have_in_common() {
    let mut mesh = Mesh::empty("".into());
    apply(&mut mesh, ["a", "b"].map(|uid| Change::Workload(workload(uid, "10.0.0.1", &["web"]))));
    let [a, b] = ["a", "b"].map(|uid| mesh.workload(uid).unwrap());
    assert!(Arc::ptr_eq(&a.node, &b.node) && Arc::ptr_eq(&a.namespace, &b.namespace));
    let [first, second] = [a, b].map(|workload| workload.services.keys().next().unwrap());
    assert!(std::ptr::eq(first, second), "one list of services");
    assert!(Arc::ptr_eq(&a.cluster, &b.cluster));
}

#[test]
fn identities_are_known_per_node() {
    let mut mesh = Mesh::empty("".into());
    let on = |uid: &str, node: &str, account: &str| {
        let mut workload = Workload::new(uid, uid, identity(account));
        workload.node = node.into();
        Change::Workload(workload)
    };
    apply(&mut mesh, [on("a", "1", "x"), on("b", "1", "x"), on("c", "1", "y"), on("d", "2", "x")]);
    let accounts = |mesh: &Mesh, node| {
        let identities = mesh.identities_on(node);
        identities.iter().map(|identity| identity.service_account().to_string()).collect::<Vec<_>>()
    };
    assert_eq!(
        (accounts(&mesh, Some("1")), accounts(&mesh, Some("2"))),
        (vec!["x".into(), "y".into()], vec!["x".into()])
    );
    assert_eq!((accounts(&mesh, None).len(), accounts(&mesh, Some("")).len()), (2, 0));
    apply(&mut mesh, [Change::RemoveWorkload("a".into())]);
    assert!(mesh.has_identity(Some("1"), &identity("x")), "still that of b");
    apply(&mut mesh, [Change::RemoveWorkload("b".into())]);
    assert!(!mesh.has_identity(Some("1"), &identity("x")) && mesh.has_identity(None, &identity("x")));
    apply(&mut mesh, [Change::RemoveWorkload("d".into())]);
    assert!(!mesh.has_identity(None, &identity("x")) && mesh.has_identity(None, &identity("y")));
}

#[test]
fn removing_a_range_uncovers_the_wider_one() {
    let ranged = |hostname: &str, cidr: &str| {
        let mut service = Service::new(name(hostname));
        service.cidrs = vec![NetworkCidr { network: "".into(), cidr: cidr.parse().unwrap() }];
        Change::Service(service)
    };
    let mut mesh = Mesh::empty("".into());
    // Host bits do not count.
    apply(
        &mut mesh,
        [ranged("wide", "10.9.9.9/8"), ranged("narrow", "10.1.0.0/16"), ranged("all", "0.0.0.0/0")],
    );
    for hostname in ["narrow", "wide", "all"] {
        let found = mesh.service_by_vip("", ip("10.1.2.3"), "default").unwrap();
        assert_eq!(&*found.name.hostname, hostname);
        apply(&mut mesh, [Change::RemoveService(name(hostname))]);
    }
    assert!(mesh.service_by_vip("", ip("10.1.2.3"), "default").is_none());
}
