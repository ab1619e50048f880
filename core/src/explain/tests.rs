use std::sync::Arc;
use std::{format, vec};

use super::*;
use crate::mesh::{
    Action, Authorization, Clause, GatewayAddress, GatewayTarget, Health, LoadBalancing, LoadBalancingMode,
    Match, NetworkAddress, PolicyScope, RoutingScope, Rule, Service, ServiceName, TunnelProtocol,
};

fn name(hostname: &str) -> ServiceName {
    ServiceName { namespace: "default".into(), hostname: hostname.into() }
}

fn workload(name: &str, address: &str) -> Workload {
    let mut workload = Workload::new(
        &format!("c//Pod/default/{name}"),
        name,
        Identity::new("cluster.local", "default", name).unwrap(),
    );
    workload.addresses = vec![address.parse().unwrap()];
    workload.protocol = TunnelProtocol::Hbone;
    workload
}

fn gateway(target: GatewayTarget, hbone_port: u16) -> Option<Arc<GatewayAddress>> {
    Some(Arc::new(GatewayAddress { target, hbone_port }))
}

/// `web` at 10.1.0.1 with a near and a far endpoint, `guarded` at 10.1.0.2 behind a waypoint, and a policy for port 8080.
fn mesh() -> Mesh {
    let client = workload("client", "10.0.0.1");
    let (mut near, mut far) = (workload("near", "10.0.0.2"), workload("far", "10.9.0.2"));
    let mut ill = workload("ill", "10.0.0.3");
    ill.status = Health::Unhealthy;
    ill.services.insert(name("web"), Default::default());
    near.services.insert(name("web"), Default::default());
    far.services.insert(name("web"), Default::default());
    far.network = "far".into();
    far.capacity = 3;
    let address = NetworkAddress { network: "far".into(), address: "10.9.0.200".parse().unwrap() };
    far.network_gateway = gateway(GatewayTarget::Address(address), 15009);
    let mut proxy = workload("proxy", "10.0.0.100");
    proxy.services.insert(name("proxies"), Default::default());
    let mut eastwest = workload("eastwest", "10.9.0.200");
    eastwest.network = "far".into();
    let service = |hostname: &str, vip: &str, ports: &[(u16, u16)]| {
        let mut service = Service::new(name(hostname));
        service.addresses = vec![NetworkAddress { network: "".into(), address: vip.parse().unwrap() }];
        service.ports = ports.iter().copied().collect();
        service
    };
    let mut web = service("web", "10.1.0.1", &[(80, 8080), (81, 8081)]);
    web.load_balancing = LoadBalancing {
        mode: LoadBalancingMode::Failover,
        preferences: vec![RoutingScope::Network, RoutingScope::Region],
        ..LoadBalancing::default()
    };
    let mut remote = service("remote", "10.1.0.4", &[(80, 8080)]);
    remote.subject_alt_names = vec![Identity::new("cluster.local", "default", "far").unwrap()];
    far.services.insert(name("remote"), Default::default());
    let mut guarded = service("guarded", "10.1.0.2", &[(80, 8080)]);
    guarded.waypoint = gateway(GatewayTarget::Hostname(name("proxies")), 15008);
    let proxies = service("proxies", "10.1.0.3", &[(15008, 15008)]);
    let only_8080 = Match { destination_ports: vec![8080], ..Match::default() };
    let policy = Authorization {
        namespace: "default".into(),
        name: "only-8080".into(),
        scope: PolicyScope::Namespace,
        action: Action::Allow,
        rules: vec![Rule { clauses: vec![Clause { matches: vec![only_8080] }] }],
        dry_run: false,
    };
    let workloads = vec![client, near, far, ill, proxy, eastwest];
    Mesh::new("".into(), workloads, vec![web, guarded, proxies, remote], vec![policy]).unwrap()
}

fn explained(target: &str) -> Explanation {
    let mesh = mesh();
    let client = mesh.workload_by_name("default", "client", "client").unwrap();
    let address = client.addresses[0];
    explain(&mesh, &RouteConfig::default(), client, address, target.parse().unwrap(), &Rng::new(1))
}

#[track_caller]
fn told(target: &str, expected: &str) {
    let told = format!("\n{}", explained(target));
    assert!(told == expected, "told:{told}\nexpected:{expected}");
}

#[test]
fn a_service_in_this_network() {
    told(
        "10.1.0.1:80",
        "
source      c//Pod/default/client spiffe://cluster.local/ns/default/sa/client
client      10.0.0.1
target      10.1.0.1:80
service     default/web
waypoint    -
endpoints   default/web port 80, Failover Network Region
            c//Pod/default/far   port 8080   weight 3      rank 1  not preferred
            c//Pod/default/ill   port 8080   weight 1      rank 3  unhealthy
            c//Pod/default/near  port 8080   weight 1      rank 3  eligible
protocol    HBONE
peer        c//Pod/default/near
dial        10.0.0.2:15008
authority   10.0.0.2:8080
expected    spiffe://cluster.local/ns/default/sa/near
pool key    spiffe://cluster.local/ns/default/sa/client (10.0.0.1) to 10.0.0.2:15008 as spiffe://cluster.local/ns/default/sa/near
application 10.0.0.2:8080, shown the client's address 10.0.0.1
admitted    the target is the address connected to
policies    default/only-8080 Allow, Namespace: rule 0 matches
verdict     allowed: default/only-8080 (rule 0)
because     the target is service default/web
            endpoint c//Pod/default/near drawn from 1 eligible of 2
            port 80 maps to 8080
            it speaks HBONE
",
    );
}

#[test]
fn a_connection_that_policies_deny() {
    let explanation = explained("10.1.0.1:81");
    let Outcome::Sent(path) = &explanation.outcome else { panic!("{explanation}") };
    let Arrival::Judged(judged) = &path.arrival else { panic!("{explanation}") };
    assert_eq!((judged.allowed, judged.because.as_str()), (false, "allow policies exist, but none allowed"));
    assert!(!explanation.is_let_through());
    assert_eq!(judged.destination.to_string(), "10.0.0.2:8081");
}

#[test]
fn a_service_behind_a_waypoint() {
    told(
        "10.1.0.2:80",
        "
source      c//Pod/default/client spiffe://cluster.local/ns/default/sa/client
client      10.0.0.1
target      10.1.0.2:80
service     default/guarded
waypoint    default/proxies:15008
endpoints   default/proxies port 15008, Standard
            c//Pod/default/proxy  port 15008  weight 1      rank 0  eligible
protocol    HBONE
peer        c//Pod/default/proxy
dial        10.0.0.100:15008
authority   10.1.0.2:80
expected    spiffe://cluster.local/ns/default/sa/proxy
pool key    spiffe://cluster.local/ns/default/sa/client (10.0.0.1) to 10.0.0.100:15008 as spiffe://cluster.local/ns/default/sa/proxy
verdict     the waypoint decides
because     the target is service default/guarded
            waypoint default/proxies:15008 speaks for the service
            endpoint c//Pod/default/proxy drawn from 1 eligible of 1
",
    );
}

#[test]
fn a_service_of_another_network() {
    told(
        "10.1.0.4:80",
        "
source      c//Pod/default/client spiffe://cluster.local/ns/default/sa/client
client      10.0.0.1
target      10.1.0.4:80
service     default/remote
waypoint    -
endpoints   default/remote port 80, Standard
            c//Pod/default/far  port 8080   weight 3      rank 0  eligible
protocol    DOUBLEHBONE
peer        c//Pod/default/eastwest
dial        10.9.0.200:15009
authority   remote:80
expected    spiffe://cluster.local/ns/default/sa/eastwest
inside      spiffe://cluster.local/ns/default/sa/far
pool key    spiffe://cluster.local/ns/default/sa/client (10.0.0.1) to 10.9.0.200:15009 as spiffe://cluster.local/ns/default/sa/eastwest
verdict     the other network's proxies decide
because     the target is service default/remote
            endpoint c//Pod/default/far drawn from 1 eligible of 1
            port 80 maps to 8080
            c//Pod/default/far is in network \"far\"
            reached through network gateway far/10.9.0.200:15009, tunnel in tunnel
            the address is that of workload c//Pod/default/eastwest
",
    );
}

#[test]
fn a_refusal_says_how_far_it_came() {
    told(
        "10.1.0.1:99",
        "
source      c//Pod/default/client spiffe://cluster.local/ns/default/sa/client
client      10.0.0.1
target      10.1.0.1:99
service     -
waypoint    -
endpoints   default/web port 99, Failover Network Region
            c//Pod/default/far   port 0      weight 3      rank 1  no port
            c//Pod/default/ill   port 0      weight 1      rank 3  unhealthy
            c//Pod/default/near  port 0      weight 1      rank 3  no port
refused     no healthy upstream: 10.1.0.1:99
because     the target is service default/web
",
    );
}

#[test]
fn what_is_outside_the_mesh() {
    told(
        "1.2.3.4:443",
        "
source      c//Pod/default/client spiffe://cluster.local/ns/default/sa/client
client      10.0.0.1
target      1.2.3.4:443
service     -
waypoint    -
protocol    TCP
peer        -
dial        1.2.3.4:443
verdict     nobody judges: the next peer has no proxy of the mesh
because     the address belongs to nothing in the mesh: passed through
",
    );
}

// Policies see an address and no identity; the service's waypoint is not asked.
#[test]
fn a_source_without_a_proxy() {
    let mesh = mesh();
    let outside = workload("outside", "10.0.0.77");
    let told = |target: &str| {
        let target = target.parse().unwrap();
        explain_plain(&mesh, &RouteConfig::default(), &outside, outside.addresses[0], target)
    };
    let expected = "\
source      c//Pod/default/outside spiffe://cluster.local/ns/default/sa/outside
client      10.0.0.77
target      10.0.0.2:8080
service     -
waypoint    -
protocol    TCP
peer        c//Pod/default/near
dial        10.0.0.2:8080
application 10.0.0.2:8080, shown the client's address 10.0.0.77
policies    default/only-8080 Allow, Namespace: rule 0 matches
verdict     allowed: default/only-8080 (rule 0)
because     the source has no proxy: plaintext, without identity
            the address is that of workload c//Pod/default/near
";
    assert_eq!(told("10.0.0.2:8080").to_string(), expected);
    assert!(!told("10.0.0.2:8081").is_let_through());
    assert!(told("10.0.0.2:15008").to_string().contains("\nverdict     closed: "));
    let service = told("10.1.0.2:80");
    assert_eq!((service.waypoint.as_deref(), service.service.as_deref()), (None, Some("default/guarded")));
    assert!(service.to_string().contains("the node picks an endpoint"));
    assert!(told("1.2.3.4:5").is_let_through());
}

#[test]
fn what_gets_through() {
    for (target, expected) in [
        ("10.1.0.1:80", true),
        ("10.1.0.1:81", false),
        ("10.1.0.1:99", false),
        ("10.1.0.2:80", true),
        ("10.1.0.4:80", true),
        ("1.2.3.4:443", true),
        ("10.0.0.2:15008", false),
    ] {
        assert_eq!(explained(target).is_let_through(), expected, "{target}");
    }
}

// The decisions are those of the functions that carry traffic.
#[test]
fn it_says_what_the_router_decides() {
    let mesh = mesh();
    let client = mesh.workload_by_name("default", "client", "client").unwrap();
    for (seed, target) in (0..20).flat_map(|seed| {
        ["10.1.0.1:80", "10.1.0.2:80", "10.1.0.4:80", "10.0.0.2:1", "10.1.0.1:5"].map(|target| (seed, target))
    }) {
        let target = target.parse().unwrap();
        let plan = route::outbound(&mesh, &RouteConfig::default(), client, target, &mut Rng::new(seed));
        let told =
            explain(&mesh, &RouteConfig::default(), client, client.addresses[0], target, &Rng::new(seed));
        match (plan, told.outcome) {
            (Ok(plan), Outcome::Sent(path)) => {
                let peer = plan.destination.as_ref().map(|workload| workload.uid.to_string());
                assert_eq!(path.peer, peer);
                let key = plan.hop.tunnel_key(client.identity(), client.addresses[0]);
                assert_eq!(path.pool_key, key.map(PoolKey::from));
                let reasons: Vec<_> = plan.reasons.iter().map(ToString::to_string).collect();
                assert_eq!(told.reasons, reasons);
            }
            (Err(error), Outcome::Refused(text)) => assert_eq!(text, error.to_string()),
            (plan, outcome) => panic!("{plan:?} {outcome:?}"),
        }
    }
}
