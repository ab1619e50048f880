//! Whom a waypoint stands in front of.
use alloc::string::ToString;
use alloc::vec;
use alloc::vec::Vec;

use super::*;
use crate::identity::Identity;
use crate::mesh::{GatewayAddress, GatewayTarget, NetworkAddress, ServiceName, WeightedWaypoint};

fn name(namespace: &str, hostname: &str) -> ServiceName {
    ServiceName { namespace: namespace.into(), hostname: hostname.into() }
}

fn gateway(hostname: &str) -> Arc<GatewayAddress> {
    let target = GatewayTarget::Hostname(name("ns", hostname));
    Arc::new(GatewayAddress { target, hbone_port: 15008 })
}

fn service(hostname: &str, address: &str, waypoint: Option<&str>) -> Service {
    let mut service = Service::new(name("ns", hostname));
    service.addresses = vec![NetworkAddress { network: "".into(), address: address.parse().unwrap() }];
    service.ports.insert(80, 8080);
    service.waypoint = waypoint.map(gateway);
    service
}

fn workload(name: &str, address: &str, waypoint: Option<&str>) -> Workload {
    let mut workload = Workload::new(name, name, Identity::new("td", "ns", name).unwrap());
    workload.addresses = vec![address.parse().unwrap()];
    workload.waypoint = waypoint.map(gateway);
    workload
}

fn world() -> (Mesh, Workload) {
    let mut own = workload("waypoint", "10.0.0.100", None);
    own.services.insert(name("ns", "waypoint"), Default::default());
    let mut canary = service("canary", "10.1.0.4", Some("other"));
    canary.weighted_waypoints =
        ["other", "waypoint"].map(|to| WeightedWaypoint { gateway: gateway(to), weight: 0 }).to_vec();
    let services = vec![
        service("waypoint", "10.1.0.100", None),
        service("other", "10.1.0.101", None),
        service("ours", "10.1.0.1", Some("waypoint")),
        service("theirs", "10.1.0.2", Some("other")),
        service("free", "10.1.0.3", None),
        canary,
    ];
    let workloads = vec![
        own.clone(),
        workload("pod", "10.0.0.1", Some("waypoint")),
        workload("foreign", "10.0.0.2", Some("other")),
    ];
    (Mesh::new("".into(), workloads, services, vec![]).unwrap(), own)
}

fn asked(text: &str) -> Authority {
    Authority::parse(text.as_bytes()).unwrap()
}

#[test]
fn services_and_workloads_behind_it_are_served_and_nothing_else() {
    let (mesh, own) = world();
    for (authority, expected) in [
        ("10.1.0.1:80", Ok("ours")),
        ("[::ffff:10.1.0.1]:80", Ok("ours")),
        ("ours:80", Ok("ours")),
        ("10.1.0.4:80", Ok("canary")),
        ("10.0.0.1:9999", Ok("pod")),
        ("10.1.0.1:81", Err(404)),
        ("10.1.0.2:80", Err(403)),
        ("theirs:80", Err(403)),
        ("10.1.0.3:80", Err(403)),
        ("10.0.0.2:80", Err(403)),
        ("10.0.0.100:15008", Err(403)),
        ("10.1.0.100:15008", Err(403)),
        ("10.9.9.9:80", Err(404)),
        ("127.0.0.1:15000", Err(404)),
        ("nowhere:80", Err(404)),
    ] {
        let found = front(&mesh, &own, &asked(authority));
        let shown = found.as_ref().map(|plan| match &plan.target {
            Fronted::Service(service) => &*service.name.hostname,
            Fronted::Workload(workload) => &*workload.name,
        });
        assert_eq!(shown.map_err(FrontError::status), expected, "{authority}");
        if let Ok(plan) = &found {
            let by_address = authority.starts_with(|c: char| c.is_ascii_digit() || c == '[');
            assert_eq!((plan.address.is_some(), plan.port), (by_address, asked(authority).port()));
        }
    }
}

#[test]
fn refusals_say_what_to_do() {
    let (mesh, own) = world();
    let texts: Vec<_> = ["10.1.0.2:80", "ours:81", "10.9.9.9:80"]
        .iter()
        .map(|authority| front(&mesh, &own, &asked(authority)).unwrap_err().to_string())
        .collect();
    assert_eq!(
        texts[0],
        "this waypoint does not stand in front of 10.1.0.2:80: see its label istio.io/use-waypoint"
    );
    assert_eq!(texts[1], "service ours has no port 81");
    assert_eq!(
        texts[2],
        "nothing is known at 10.9.9.9:80: the mesh has neither a service nor a workload there"
    );
}
