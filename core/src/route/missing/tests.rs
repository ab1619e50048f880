//! Which name each decision lacks, and that nothing is asked for which the tables hold.
use std::string::ToString;
use std::vec::Vec;

use super::*;
use crate::hbone::Authority;
use crate::identity::Identity;
use crate::mesh::{Service, TunnelProtocol};
use crate::rng::Rng;
use crate::route::{RouteConfig, admit_hbone, outbound};

fn named(namespace: &str, hostname: &str) -> ServiceName {
    ServiceName { namespace: namespace.into(), hostname: hostname.into() }
}

fn gateway(to: &str) -> Arc<GatewayAddress> {
    let target = match to.parse() {
        Ok(address) => GatewayTarget::Address(NetworkAddress { network: "n".into(), address }),
        Err(_) => GatewayTarget::Hostname(named("gw", to)),
    };
    Arc::new(GatewayAddress { target, hbone_port: 15008 })
}

fn workload(name: &str, address: &str) -> Workload {
    let mut workload = Workload::new(name, name, Identity::new("td", "ns", name).unwrap());
    workload.addresses = [address.parse().unwrap()].into();
    workload.network = "n".into();
    workload.protocol = TunnelProtocol::Hbone;
    workload
}

fn service(hostname: &str, vip: &str) -> Service {
    let mut service = Service::new(named("ns", hostname));
    service.addresses = [NetworkAddress { network: "n".into(), address: vip.parse().unwrap() }].into();
    service.ports.insert(80, 8080);
    service
}

fn mesh(workloads: &[&Workload], services: &[&Service]) -> Mesh {
    let workloads = workloads.iter().map(|w| (*w).clone()).chain([workload("client", "10.0.0.1")]).collect();
    let services: Vec<_> = services.iter().map(|s| (*s).clone()).collect();
    Mesh::new("n".into(), workloads, services, Vec::new()).unwrap()
}

fn lacks_outbound(mesh: &Mesh, target: &str) -> Option<std::string::String> {
    let target: core::net::SocketAddr = target.parse().unwrap();
    let client = workload("client", "10.0.0.1");
    let outcome = outbound(mesh, &RouteConfig::default(), &client, target, &mut Rng::new(1));
    Missing::outbound(mesh, target.ip(), &outcome).map(|missing| missing.to_string())
}

fn lacks_inbound(mesh: &Mesh, authority: &str) -> Option<std::string::String> {
    let authority = match authority.parse() {
        Ok(address) => Authority::Address(address),
        Err(_) => Authority::Host { host: authority.into(), port: 80 },
    };
    let (local, client) = (workload("client", "10.0.0.1"), "10.0.0.9:1".parse().unwrap());
    let connected = "10.0.0.1:15008".parse().unwrap();
    let admitted = admit_hbone(mesh, &RouteConfig::default(), &local, client, connected, &authority);
    Missing::inbound(mesh, &local, &admitted.unwrap_err()).map(|missing| missing.to_string())
}

#[test]
fn an_outbound_decision_lacks_its_target_its_waypoint_or_its_gateway() {
    let key = |text: &str| Some(text.to_string());
    let pod = workload("pod", "10.0.0.2");
    let (mut behind, mut unnamed) = (workload("behind", "10.0.0.3"), workload("unnamed", "10.0.0.4"));
    behind.waypoint = Some(gateway("wp.gw.svc"));
    unnamed.waypoint = Some(gateway("10.0.0.200"));
    let mut far = workload("far", "10.0.0.2");
    far.network = "other".into();
    far.network_gateway = Some(gateway("east.gw.svc"));
    let mut web = service("web.ns.svc", "10.1.0.1");
    far.services.insert(web.name.clone(), Default::default());
    let empty = service("empty.ns.svc", "10.1.0.2");
    web.ip_families = crate::mesh::IpFamilies::Automatic;
    let tables = mesh(&[&pod, &behind, &unnamed, &far], &[&web, &empty]);
    for (target, wanted) in [
        ("10.9.9.9:80", key("n/10.9.9.9")),
        ("[::ffff:10.9.9.9]:80", key("n/10.9.9.9")),
        ("[fd00::9]:80", key("n/fd00::9")),
        ("127.0.0.1:80", None),
        ("10.0.0.2:80", None),
        ("10.0.0.3:80", key("gw/wp.gw.svc")),
        ("10.0.0.4:80", key("n/10.0.0.200")),
        ("10.1.0.1:80", key("gw/east.gw.svc")),
        // Its endpoints come with a service.
        ("10.1.0.2:80", None),
    ] {
        assert_eq!(lacks_outbound(&tables, target), wanted, "{target}");
    }
    // A waypoint that is there without an endpoint is not asked for.
    let mut waypoint = Service::new(named("gw", "wp.gw.svc"));
    waypoint.ports.insert(15008, 15008);
    assert_eq!(lacks_outbound(&mesh(&[&behind], &[&waypoint]), "10.0.0.3:80"), None);
}

#[test]
fn a_refused_connect_lacks_what_is_at_its_target_or_its_waypoint_or_its_service() {
    let key = |text: &str| Some(text.to_string());
    let mut behind = workload("behind", "10.0.0.3");
    behind.waypoint = Some(gateway("wp.gw.svc"));
    let mut web = service("web.ns.svc", "10.1.0.1");
    web.waypoint = Some(gateway("10.0.0.200"));
    let pod = workload("pod", "10.0.0.2");
    let tables = mesh(&[&behind, &pod], &[&web]);
    for (authority, wanted) in [
        ("10.9.9.9:80", key("n/10.9.9.9")),
        ("10.0.0.3:80", key("gw/wp.gw.svc")),
        ("10.1.0.1:80", key("n/10.0.0.200")),
        ("10.0.0.2:80", None),
        ("10.0.0.1:15006", None),
        ("db.far.svc.cluster.local", key("far/db.far.svc.cluster.local")),
        ("db.example", key("ns/db.example")),
    ] {
        assert_eq!(lacks_inbound(&tables, authority), wanted, "{authority}");
    }
    let mut hidden = service("db.far.svc.cluster.local", "10.1.0.9");
    hidden.name.namespace = "far".into();
    hidden.visibility = crate::mesh::Visibility::Namespace;
    let tables = mesh(&[], &[&hidden]);
    assert_eq!(lacks_inbound(&tables, "db.far.svc.cluster.local"), None, "it is there, and not to be seen");
}

#[test]
fn what_has_come_is_missing_no_longer() {
    let tables = mesh(&[&workload("pod", "10.0.0.2")], &[&service("web", "10.1.0.1")]);
    let address =
        |text: &str| Missing::Address(NetworkAddress { network: "n".into(), address: text.parse().unwrap() });
    for (missing, there) in [
        (address("10.0.0.2"), true),
        (address("10.1.0.1"), true),
        (address("10.0.0.3"), false),
        (Missing::Host(named("ns", "web")), true),
        (Missing::Host(named("other", "web")), false),
    ] {
        assert_eq!(missing.is_in(&tables), there, "{missing}");
    }
    assert_eq!(Missing::at(&tables, "n", "10.0.0.2".parse().unwrap()), None);
    let elsewhere = Missing::at(&tables, "m", "::ffff:10.0.0.2".parse().unwrap());
    assert_eq!(elsewhere.map(|missing| missing.to_string()), Some("m/10.0.0.2".to_string()));
}
