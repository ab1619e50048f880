use std::string::ToString;
use std::vec;

use super::*;

mod waypoints;

use crate::identity::Identity;
use crate::mesh::{Health, IpFamilies, LoadBalancing, NetworkAddress, NetworkMode, ServiceName};

fn name(hostname: &str) -> ServiceName {
    ServiceName { namespace: "default".into(), hostname: hostname.into() }
}

fn identity(account: &str) -> Identity {
    Identity::new("cluster.local", "default", account).unwrap()
}

fn workload(name: &str, addresses: &[&str], protocol: TunnelProtocol) -> Workload {
    let mut workload = Workload::new(&std::format!("c//Pod/default/{name}"), name, identity(name));
    workload.addresses = addresses.iter().map(|address| address.parse().unwrap()).collect();
    workload.protocol = protocol;
    workload
}

fn service(hostname: &str, vips: &[&str], endpoints: &mut [&mut Workload]) -> Service {
    for endpoint in endpoints {
        endpoint.services.insert(name(hostname), Default::default());
    }
    let mut service = Service::new(name(hostname));
    service.ports.insert(80, 8080);
    let address = |vip: &&str| NetworkAddress { network: "".into(), address: vip.parse().unwrap() };
    service.addresses = vips.iter().map(address).collect();
    service
}

fn client() -> Workload {
    workload("client", &["10.0.0.1"], Hbone)
}

fn plan(workloads: &[&Workload], services: &[&Service], target: &str) -> Result<OutboundPlan, RouteError> {
    plan_from(&client(), workloads, services, target)
}

fn plan_from(
    source: &Workload,
    workloads: &[&Workload],
    services: &[&Service],
    target: &str,
) -> Result<OutboundPlan, RouteError> {
    let workloads = workloads.iter().map(|workload| (*workload).clone()).chain([client()]).collect();
    let services = services.iter().map(|service| (*service).clone()).collect();
    let mesh = Mesh::new("".into(), workloads, services, vec![]).unwrap();
    outbound(&mesh, &RouteConfig::default(), source, target.parse().unwrap(), &mut Rng::new(1))
}

fn plain(to: &str) -> Hop {
    Hop::Plain { to: to.parse().unwrap() }
}

fn hbone(dial: &str, authority: &str, accounts: &[&str]) -> Hop {
    Hop::Hbone {
        dial: dial.parse().unwrap(),
        authority: Authority::Address(authority.parse().unwrap()),
        expected: accounts.iter().map(|account| identity(account)).collect(),
    }
}

fn told(plan: &OutboundPlan) -> Vec<std::string::String> {
    plan.reasons.iter().map(ToString::to_string).collect()
}

use TunnelProtocol::{Hbone, None as Plain};

// The rows of datapath §2.8 that need no waypoint or gateway.
#[test]
fn an_unknown_address_is_passed_through() {
    let plan = plan(&[], &[], "1.2.3.4:443").unwrap();
    assert_eq!(plan.hop, plain("1.2.3.4:443"));
    assert_eq!((plan.destination, plan.service), (None, None));
    assert_eq!(plan.reasons, [Reason::NotInMesh]);
}

#[test]
fn a_workload_is_spoken_to_as_it_wants() {
    let (tcp, mesh) = (workload("tcp", &["10.0.0.2"], Plain), workload("mesh", &["10.0.0.3"], Hbone));
    let to_tcp = plan(&[&tcp, &mesh], &[], "10.0.0.2:8080").unwrap();
    assert_eq!(to_tcp.hop, plain("10.0.0.2:8080"));
    assert_eq!(&*to_tcp.destination.unwrap().name, "tcp");
    let to_mesh = plan(&[&tcp, &mesh], &[], "10.0.0.3:8080").unwrap();
    assert_eq!(to_mesh.hop, hbone("10.0.0.3:15008", "10.0.0.3:8080", &["mesh"]));
    assert_eq!(told(&to_mesh), ["the address is that of workload c//Pod/default/mesh", "it speaks HBONE"]);
}

#[test]
fn the_node_of_the_destination_makes_no_difference() {
    let mut near = workload("near", &["10.0.0.2"], Hbone);
    near.node = "here".into();
    let mut source = client();
    source.node = "here".into();
    let plan = plan_from(&source, &[&near], &[], "10.0.0.2:80").unwrap();
    assert_eq!(plan.hop, hbone("10.0.0.2:15008", "10.0.0.2:80", &["near"]));
}

#[test]
fn a_service_leads_to_an_endpoint_and_its_port() {
    let mut pod = workload("pod", &["10.0.0.2"], Hbone);
    let mut web = service("web", &["10.1.0.1"], &mut [&mut pod]);
    web.subject_alt_names = vec![identity("web")];
    let plan = plan(&[&pod], &[&web], "10.1.0.1:80").unwrap();
    assert_eq!(plan.hop, hbone("10.0.0.2:15008", "10.0.0.2:8080", &["pod", "web"]));
    assert_eq!(plan.service.as_ref().unwrap().name, web.name);
    assert_eq!(
        told(&plan),
        [
            "the target is service default/web",
            "endpoint c//Pod/default/pod drawn from 1 eligible of 1",
            "port 80 maps to 8080",
            "it speaks HBONE"
        ]
    );
}

#[test]
fn a_service_that_cannot_be_served_fails_and_never_falls_through() {
    let mut pod = workload("pod", &["10.0.0.2"], Hbone);
    let web = service("web", &["10.1.0.1"], &mut [&mut pod]);
    let empty = service("empty", &["10.1.0.2"], &mut []);
    for target in ["10.1.0.2:80", "10.1.0.1:81"] {
        let error = plan(&[&pod], &[&web, &empty], target).unwrap_err();
        assert_eq!(error.to_string(), std::format!("no healthy upstream: {target}"));
    }
    pod.status = Health::Unhealthy;
    let error = plan(&[&pod], &[&web], "10.1.0.1:80").unwrap_err();
    assert_eq!(error, RouteError::NoHealthyUpstream("10.1.0.1:80".parse().unwrap()));
}

#[test]
fn passthrough_services_go_where_the_client_said() {
    let mut pod = workload("pod", &["10.0.0.2"], Hbone);
    let mut web = service("web", &["10.1.0.1"], &mut [&mut pod]);
    web.load_balancing = LoadBalancing { mode: LoadBalancingMode::Passthrough, ..LoadBalancing::default() };
    let plan = plan(&[&pod], &[&web], "10.1.0.1:443").unwrap();
    assert_eq!(plan.hop, plain("10.1.0.1:443"));
    assert_eq!((plan.destination, plan.service), (None, None));
}

#[test]
fn host_network_pods_are_reached_through_services_only() {
    let mut host = workload("host", &["192.168.0.1"], Hbone);
    host.network_mode = NetworkMode::HostNetwork;
    let web = service("web", &["10.1.0.1"], &mut [&mut host]);
    let by_service = plan(&[&host], &[&web], "10.1.0.1:80").unwrap();
    assert_eq!(by_service.hop, hbone("192.168.0.1:15008", "192.168.0.1:8080", &["host"]));
    let by_node = plan(&[&host], &[&web], "192.168.0.1:80").unwrap();
    assert_eq!((by_node.hop, by_node.destination), (plain("192.168.0.1:80"), None));
}

#[test]
fn host_network_pods_that_share_an_address_keep_their_identities() {
    let host = |name: &str| {
        let mut pod = workload(name, &["192.168.0.1"], Hbone);
        pod.network_mode = NetworkMode::HostNetwork;
        pod
    };
    let (mut one, mut two) = (host("one"), host("two"));
    let first = service("first", &["10.1.0.1"], &mut [&mut one]);
    let second = service("second", &["10.1.0.2"], &mut [&mut two]);
    for (target, name) in [("10.1.0.1:80", "one"), ("10.1.0.2:80", "two")] {
        let plan = plan(&[&one, &two], &[&first, &second], target).unwrap();
        assert_eq!(plan.hop, hbone("192.168.0.1:15008", "192.168.0.1:8080", &[name]));
        assert_eq!(&*plan.destination.unwrap().name, name);
    }
}

// datapath §2.5.
#[test]
fn addresses_are_chosen_by_target_then_family() {
    let mut dual = workload("dual", &["fd00::2", "10.0.0.2"], Plain);
    let web = service("web", &["10.1.0.1", "fd01::1", "10.0.0.2"], &mut [&mut dual]);
    let to = |families: IpFamilies, target: &str| {
        let web = Service { ip_families: families, ..web.clone() };
        plan(&[&dual], &[&web], target).map(|plan| plan.hop)
    };
    use IpFamilies::{Automatic, Dual, Ipv4, Ipv6};
    assert_eq!(to(Automatic, "10.1.0.1:80"), Ok(plain("10.0.0.2:8080")));
    assert_eq!(to(Automatic, "[fd01::1]:80"), Ok(plain("[fd00::2]:8080")));
    assert_eq!(to(Dual, "10.1.0.1:80"), Ok(plain("10.0.0.2:8080")));
    assert_eq!(to(Ipv6, "10.1.0.1:80"), Ok(plain("[fd00::2]:8080")));
    assert_eq!(to(Ipv4, "[fd01::1]:80"), Ok(plain("10.0.0.2:8080")));
    // An address of the workload's own is kept, whatever the service says.
    assert_eq!(to(Ipv6, "10.0.0.2:80"), Ok(plain("10.0.0.2:8080")));
    // Direct calls keep their family.
    assert_eq!(plan(&[&dual], &[], "[fd00::2]:1").unwrap().hop, plain("[fd00::2]:1"));
    assert_eq!(plan(&[&dual], &[], "10.0.0.2:1").unwrap().hop, plain("10.0.0.2:1"));
}

#[test]
fn no_address_in_an_allowed_family_is_an_error() {
    let mut pod = workload("pod", &["10.0.0.2"], Hbone);
    let mut web = service("web", &["10.1.0.1"], &mut [&mut pod]);
    web.ip_families = IpFamilies::Ipv6;
    let error = plan(&[&pod], &[&web], "10.1.0.1:80").unwrap_err();
    assert_eq!(error.to_string(), "no valid routing destination for workload: c//Pod/default/pod");
}

#[test]
fn other_networks_cannot_be_reached_yet() {
    let mut far = workload("far", &["10.0.0.2"], Hbone);
    far.network = "far".into();
    let web = service("web", &["10.1.0.1"], &mut [&mut far]);
    let error = plan(&[&far], &[&web], "10.1.0.1:80").unwrap_err();
    assert_eq!(error, RouteError::NoValidDestination(far.uid.clone()));
    // Its address means nothing here.
    assert_eq!(plan(&[&far], &[&web], "10.0.0.2:80").unwrap().hop, plain("10.0.0.2:80"));
    // A source that is in another network than its proxy.
    let mut source = client();
    source.network = "far".into();
    let near = workload("near", &["10.0.0.3"], Hbone);
    let error = plan_from(&source, &[&near], &[], "10.0.0.3:80").unwrap_err();
    assert_eq!(error.to_string(), "no service for target address: 10.0.0.3:80");
}

// ztunnel: service first when it has an endpoint; else plaintext to the address. Ours: as the owner wants.
#[test]
fn an_address_of_both_a_service_and_a_workload() {
    let owner = workload("owner", &["10.0.0.2"], Hbone);
    let mut pod = workload("pod", &["10.0.0.3"], Hbone);
    let web = service("web", &["10.0.0.2"], &mut [&mut pod]);
    let served = plan(&[&owner, &pod], &[&web], "10.0.0.2:80").unwrap();
    assert_eq!(served.hop, hbone("10.0.0.3:15008", "10.0.0.3:8080", &["pod"]));
    let other_port = plan(&[&owner, &pod], &[&web], "10.0.0.2:81").unwrap();
    assert_eq!(other_port.hop, hbone("10.0.0.2:15008", "10.0.0.2:81", &["owner"]));
    assert_eq!(other_port.service, None);
    assert!(other_port.reasons.contains(&Reason::ServiceWithoutEndpoint));
}

// datapath §1.6.
#[test]
fn loops_are_refused() {
    for target in ["127.0.0.1:15001", "127.9.9.9:15006", "[::1]:15008", "[::ffff:127.0.0.1]:15008"] {
        assert_eq!(plan(&[], &[], target), Err(RouteError::Recursive), "{target}");
    }
    assert_eq!(RouteError::Recursive.to_string(), "attempted recursive call to ourselves");
    // Elsewhere the peer refuses; other ports of loopback are nobody's business.
    assert_eq!(plan(&[], &[], "10.0.0.9:15001").unwrap().hop, plain("10.0.0.9:15001"));
    assert_eq!(plan(&[], &[], "127.0.0.1:80").unwrap().hop, plain("127.0.0.1:80"));
}

#[test]
fn the_hbone_port_is_configurable() {
    let pod = workload("pod", &["127.0.0.3"], Hbone);
    let mesh = Mesh::new("".into(), vec![pod], vec![], vec![]).unwrap();
    let config = RouteConfig { hbone_port: 25008, illegal_ports: vec![25008], ..RouteConfig::default() };
    let target = "[::ffff:127.0.0.3]:80".parse().unwrap();
    let plan = outbound(&mesh, &config, &client(), target, &mut Rng::new(1)).unwrap();
    assert_eq!(plan.hop, hbone("127.0.0.3:25008", "127.0.0.3:80", &["pod"]));
}
