use std::string::ToString;
use std::vec;

use super::*;

mod waypoints;

use crate::identity::Identity;
use crate::mesh::{ApplicationProtocol, ApplicationTunnel, NetworkAddress, Visibility};

const HOST: &str = "server.default.svc.cluster.local";

fn name(hostname: &str) -> ServiceName {
    ServiceName { namespace: "default".into(), hostname: hostname.into() }
}

const CLIENT: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1)), 40_000);

/// At 10.0.0.2; an endpoint of `HOST`.
fn server() -> Workload {
    let mut server = Workload::new("u/server", "server", Identity::new("td", "default", "server").unwrap());
    server.addresses = vec!["10.0.0.2".parse().unwrap()];
    server.services.insert(name(HOST), [(82, 8282)].into());
    server
}

/// 80 → 8080, 81 and 82 named.
fn service() -> Service {
    let mut service = Service::new(name(HOST));
    service.addresses = vec![NetworkAddress { network: "".into(), address: "10.1.0.1".parse().unwrap() }];
    service.ports = [(80, 8080), (81, 0), (82, 0), (83, 15001)].into();
    service
}

fn mesh(services: Vec<Service>) -> Mesh {
    let mut client = Workload::new("u/client", "client", Identity::new("td", "default", "client").unwrap());
    client.addresses = vec!["10.0.0.1".parse().unwrap()];
    Mesh::new("".into(), vec![server(), client], services, vec![]).unwrap()
}

fn authority(text: &str) -> Authority {
    match text.parse() {
        Ok(address) => Authority::Address(address),
        Err(_) => {
            let (host, port) = text.rsplit_once(':').unwrap();
            Authority::Host { host: host.into(), port: port.parse().unwrap() }
        }
    }
}

fn admit(local: &Workload, connected: &str, target: &str) -> Result<InboundPlan, AdmitError> {
    let connected = connected.parse().unwrap();
    admit_hbone(&mesh(vec![service()]), &RouteConfig::default(), local, CLIENT, connected, &authority(target))
}

#[track_caller]
fn admitted(connected: &str, target: &str, to: &str) {
    assert_eq!(
        admit(&server(), connected, target).map(|plan| plan.to.to_string()),
        Ok(to.to_string()),
        "{target}"
    );
}

#[track_caller]
fn refused(target: &str, status: u16, text: &str) {
    let error = admit(&server(), "10.0.0.2:15008", target).unwrap_err();
    assert_eq!((error.status(), error.to_string().as_str()), (status, text), "{target}");
}

// The rows of datapath §5.10 without a waypoint.
#[test]
fn targets_that_are_ours() {
    admitted("10.0.0.2:15008", "10.0.0.2:8080", "10.0.0.2:8080");
    admitted("[fd00::2]:15008", "[fd00::2]:8080", "[fd00::2]:8080");
    admitted("[::ffff:10.0.0.2]:15008", "10.0.0.2:8080", "10.0.0.2:8080");
    admitted("10.0.0.2:15008", "[::ffff:10.0.0.2]:8080", "10.0.0.2:8080");
    // By hostname: the service's port, or our own mapping of a named one.
    admitted("10.0.0.2:15008", "server.default.svc.cluster.local:80", "10.0.0.2:8080");
    admitted("10.0.0.2:15008", "server.default.svc.cluster.local:82", "10.0.0.2:8282");
}

#[test]
fn targets_that_are_not() {
    // Another pod, our own VIP (a waypoint's business), another address of ours than the one connected to.
    refused("10.0.0.1:8080", 400, "ip mismatch: 10.0.0.2 != 10.0.0.1");
    refused("10.1.0.1:80", 400, "ip mismatch: 10.0.0.2 != 10.1.0.1");
    refused("127.0.0.1:8080", 400, "ip mismatch: 10.0.0.2 != 127.0.0.1");
    refused("nowhere.example:80", 503, "no service or workload for hostname: nowhere.example");
    let unresolved = "requested service server.default.svc.cluster.local:81 found, but cannot resolve port";
    refused("server.default.svc.cluster.local:81", 503, unresolved);
    let unresolved = "requested service server.default.svc.cluster.local:99 found, but cannot resolve port";
    refused("server.default.svc.cluster.local:99", 503, unresolved);
}

#[test]
fn our_own_ports_are_refused_after_mapping() {
    for target in
        ["10.0.0.2:15008", "10.0.0.2:15006", "10.0.0.2:15001", "server.default.svc.cluster.local:83"]
    {
        refused(target, 503, "attempted recursive call to ourselves");
    }
    // Not ours unless SOCKS is on.
    admitted("10.0.0.2:15008", "10.0.0.2:15080", "10.0.0.2:15080");
}

#[test]
fn hostnames_of_services_we_may_not_see_are_unknown() {
    let mut foreign = service();
    foreign.name.namespace = "other".into();
    let ask = |services| {
        let target = authority("server.default.svc.cluster.local:80");
        admit_hbone(
            &mesh(services),
            &RouteConfig::default(),
            &server(),
            CLIENT,
            "10.0.0.2:15008".parse().unwrap(),
            &target,
        )
    };
    // It need not list us as an endpoint.
    assert!(ask(vec![foreign.clone()]).is_ok());
    foreign.visibility = Visibility::Namespace;
    assert_eq!(ask(vec![foreign]), Err(AdmitError::UnknownHost(HOST.into())));
}

// datapath §5.3 b, §5.4.
#[test]
fn an_application_tunnel_takes_any_address_and_fixes_the_port() {
    let mut local = server();
    local.application_tunnel =
        Some(ApplicationTunnel { protocol: ApplicationProtocol::None, port: Some(15088) });
    let plan = admit(&local, "10.0.0.2:15008", "10.1.0.1:80").unwrap();
    assert_eq!(plan.to.to_string(), "10.0.0.2:15088");
    assert_eq!(plan.reasons, [Reason::AnyAddress, Reason::ApplicationTunnel { port: 15088 }]);
    // The illegal ports are judged before.
    assert_eq!(admit(&local, "10.0.0.2:15008", "10.1.0.1:15008"), Err(AdmitError::Recursive));
    local.application_tunnel = Some(ApplicationTunnel { protocol: ApplicationProtocol::None, port: None });
    assert_eq!(admit(&local, "10.0.0.2:15008", "10.1.0.1:80").unwrap().to.to_string(), "10.0.0.2:80");
}

// datapath §5.7.
#[test]
fn plaintext_goes_where_it_was_going() {
    let mesh = mesh(vec![service()]);
    let admit =
        |to: &str| admit_plain(&mesh, &RouteConfig::default(), &server(), CLIENT, to.parse().unwrap());
    let plan = admit("[::ffff:10.0.0.2]:8080").unwrap();
    assert_eq!(plan.to.to_string(), "10.0.0.2:8080");
    assert_eq!(&*plan.service.unwrap().name.hostname, HOST);
    // The address is not checked, the port is, whatever the address.
    assert!(admit("10.9.9.9:80").is_ok());
    assert_eq!(admit("10.9.9.9:15006"), Err(AdmitError::Recursive));
}

// datapath §5.5.
#[test]
fn the_service_is_named_by_the_client_or_guessed_from_the_port() {
    let mut second = Service::new(name("z.example"));
    second.ports = [(80, 8080)].into();
    let mut elsewhere = Service::new(name("elsewhere.example"));
    elsewhere.ports = [(80, 8080)].into();
    let mesh = mesh(vec![service(), second, elsewhere]);
    let mut local = server();
    local.services.insert(name("z.example"), Default::default());
    let found = |host, port| {
        destination_service(&mesh, &local, host, port).map(|service| service.name.hostname.to_string())
    };
    assert_eq!(found(None, 8080).as_deref(), Some(HOST));
    assert_eq!(found(None, 8282).as_deref(), Some(HOST), "its own mapping");
    assert_eq!(found(Some("z.example"), 8080).as_deref(), Some("z.example"));
    assert_eq!(found(Some("elsewhere.example"), 8080).as_deref(), Some(HOST), "not one of ours");
    assert_eq!(found(None, 9999), None);
}
