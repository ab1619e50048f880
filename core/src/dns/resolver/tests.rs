//! Every look-up case of datapath §7.8 that needs no network; §7.8 over sockets is in adit-testkit.
use std::string::{String, ToString};
use std::vec;

use super::super::message::tests::question;
use super::*;
use crate::identity::Identity;
use crate::mesh::{Health, NetworkAddress, NetworkCidr, Service, Visibility};

const DOMAIN: &str = "cluster.local";

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

/// A service `namespace/hostname` with virtual addresses `[network/]address`.
fn service(name: &str, vips: &[&str]) -> Service {
    let (namespace, hostname) = name.split_once('/').unwrap();
    let mut service = Service::new(ServiceName { namespace: namespace.into(), hostname: hostname.into() });
    service.addresses = vips
        .iter()
        .map(|vip| {
            let (network, address) = vip.split_once('/').unwrap_or(("", vip));
            NetworkAddress { network: network.into(), address: ip(address) }
        })
        .collect();
    service
}

fn with(mut service: Service, change: impl FnOnce(&mut Service)) -> Service {
    change(&mut service);
    service
}

/// A pod `cluster/namespace/name`, endpoint of `service`.
fn pod(path: &str, service: &str, addresses: &[&str]) -> Workload {
    let mut parts = path.split('/');
    let (cluster, namespace, name) = (parts.next().unwrap(), parts.next().unwrap(), parts.next().unwrap());
    let identity = Identity::new(DOMAIN, namespace, "app").unwrap();
    let mut workload = Workload::new(&std::format!("{cluster}//Pod/{namespace}/{name}"), name, identity);
    workload.cluster = cluster.into();
    workload.addresses = addresses.iter().map(|address| ip(address)).collect();
    let (namespace, hostname) = service.split_once('/').unwrap();
    let service = ServiceName { namespace: namespace.into(), hostname: hostname.into() };
    workload.services.insert(service, Default::default());
    workload
}

struct World {
    mesh: Mesh,
    resolver: Resolver,
}

impl World {
    fn new(services: Vec<Service>, workloads: Vec<Workload>) -> Self {
        let mesh = Mesh::new("".into(), workloads, services, vec![]).unwrap();
        let resolver = Resolver { cluster_domain: DOMAIN.into(), ipv6: true, preferred_namespace: None };
        Self { mesh, resolver }
    }

    fn resolve(&self, namespace: &str, network: &str, name: &str, record_type: RecordType) -> Resolution {
        let search = kubernetes_search(namespace, DOMAIN);
        let client = Client { namespace, network, cluster: "c1", search: &search };
        let octets = question(name, record_type);
        self.resolver.resolve(&self.mesh, &client, &Query::parse(&octets).unwrap(), &mut Rng::new(1))
    }

    /// What a client of ns1 on network "" is told, as text: addresses in order behind the name that a CNAME leads to.
    #[track_caller]
    fn says(&self, name: &str, record_type: RecordType, expected: &str) {
        self.says_to("ns1", name, record_type, expected);
    }

    #[track_caller]
    fn says_to(&self, namespace: &str, name: &str, record_type: RecordType, expected: &str) {
        let said = text(self.resolve(namespace, "", name, record_type), name);
        assert_eq!(said, expected, "{name} {} from {namespace}", record_type.label());
    }
}

fn text(resolution: Resolution, name: &str) -> String {
    let mut answer = match resolution {
        Resolution::Forward(_) => return "forward".into(),
        Resolution::Answer(answer) => answer,
    };
    answer.addresses.sort();
    let mut words: Vec<String> = answer.addresses.iter().map(ToString::to_string).collect();
    if let Some(labels) = answer.canonical_labels {
        words.insert(0, name.split('.').take(labels).collect::<Vec<_>>().join(".") + ":");
    }
    if words.is_empty() { "nothing".into() } else { words.join(" ") }
}

const A: RecordType = RecordType::A;
const AAAA: RecordType = RecordType::AAAA;

fn world() -> World {
    World::new(
        vec![
            service("ns1/local.io", &["1.1.1.1"]),
            service("ns1/web.ns1.svc.cluster.local", &["2.2.2.2"]),
            service("ns2/other.ns2.svc.cluster.local", &["3.3.3.3"]),
            with(service("ns1/hidden.ns1.svc.cluster.local", &["4.4.4.4"]), |service| {
                service.visibility = Visibility::Namespace;
            }),
            service("ns1/far.ns1.svc.remote.io", &["5.5.5.1", "5.5.5.2", "5.5.5.3", "5.5.5.4"]),
            service("ns1/dual.ns1.svc.cluster.local", &["6.6.6.6", "2001:db8::6"]),
            with(service("ns1/six.ns1.svc.cluster.local", &["7.7.7.7", "2001:db8::7"]), |service| {
                service.ip_families = IpFamilies::Ipv6;
            }),
            with(service("ns1/four.ns1.svc.cluster.local", &["8.8.8.8", "2001:db8::8"]), |service| {
                service.ip_families = IpFamilies::Ipv4;
            }),
        ],
        vec![],
    )
}

#[test]
fn another_type_for_a_known_service_is_forwarded() {
    for record_type in [2, 5, 12, 15, 16, 33, 65, 255].map(RecordType) {
        world().says("web.ns1.svc.cluster.local", record_type, "forward");
    }
}

#[test]
fn another_class_or_opcode_or_a_signature_is_forwarded() {
    let world = world();
    let search = kubernetes_search("ns1", DOMAIN);
    let client = Client { namespace: "ns1", network: "", cluster: "c1", search: &search };
    let plain = question("local.io", A);
    let mut chaos = plain.clone();
    *chaos.last_mut().unwrap() = 3;
    let mut notify = plain.clone();
    notify[2] = 0x20;
    let mut trailing = plain.clone();
    trailing.push(0);
    let mut two = plain.clone();
    two[5] = 2;
    two.extend_from_slice(&plain[12..]);
    for (octets, ours) in [(plain, true), (chaos, false), (notify, false), (trailing, false), (two, false)] {
        let query = Query::parse(&octets).unwrap();
        let resolution = world.resolver.resolve(&world.mesh, &client, &query, &mut Rng::new(1));
        assert_eq!(matches!(resolution, Resolution::Answer(_)), ours, "{octets:?}");
        assert_eq!(Resolver::concerns(&query), ours);
    }
}

#[test]
fn an_outside_host_of_the_mesh_is_answered_and_others_are_forwarded() {
    let world = world();
    world.says("local.io", A, "1.1.1.1");
    world.says("www.google.com", A, "forward");
    world.says("io", A, "forward");
}

#[test]
fn an_outside_host_behind_the_search_domain_is_answered_with_a_cname() {
    world().says("local.io.ns1.svc.cluster.local", A, "local.io: 1.1.1.1");
}

#[test]
fn a_service_is_found_by_each_of_its_names() {
    let world = world();
    for name in ["web.ns1.svc.cluster.local", "web.ns1", "web", "web.ns1.svc"] {
        world.says(name, A, "2.2.2.2");
    }
}

#[test]
fn another_namespaces_service_is_found_by_its_longer_names_only() {
    let world = world();
    for name in ["other.ns2", "other.ns2.svc", "other.ns2.svc.cluster.local"] {
        world.says(name, A, "3.3.3.3");
    }
    world.says("other", A, "forward");
}

#[test]
fn name_and_namespace_behind_the_search_domain_are_answered_with_a_cname() {
    let world = world();
    world.says("web.ns1.ns1.svc.cluster.local", A, "web.ns1: 2.2.2.2");
    world.says("web.ns1.ns1.svc.cluster.local", AAAA, "web.ns1:");
}

#[test]
fn letter_case_does_not_matter() {
    world().says("WeB.nS1.SVC.Cluster.LOCAL", A, "2.2.2.2");
    world().says("LOCAL.io.NS1.svc.cluster.local", A, "LOCAL.io: 1.1.1.1");
}

#[test]
fn services_of_namespace_visibility_are_answered_in_their_namespace_and_forwarded_elsewhere() {
    let world = world();
    world.says_to("ns1", "hidden.ns1.svc.cluster.local", A, "4.4.4.4");
    world.says_to("ns2", "hidden.ns1.svc.cluster.local", A, "forward");
}

#[test]
fn a_foreign_clusters_domain_is_answered_by_full_name_only() {
    let world = world();
    world.says("far.ns1.svc.remote.io", A, "5.5.5.1 5.5.5.2 5.5.5.3 5.5.5.4");
    world.says("far.ns1", A, "forward");
}

#[test]
fn each_family_is_answered_with_its_own_addresses() {
    let world = world();
    world.says("dual", A, "6.6.6.6");
    world.says("dual", AAAA, "2001:db8::6");
    world.says("web", AAAA, "nothing");
}

#[test]
fn a_service_of_one_family_has_nothing_in_the_other() {
    let world = world();
    world.says("six", A, "nothing");
    world.says("six", AAAA, "2001:db8::7");
    world.says("four", A, "8.8.8.8");
    world.says("four", AAAA, "nothing");
}

#[test]
fn without_ipv6_no_such_address_is_given_out() {
    let mut world = world();
    world.resolver.ipv6 = false;
    world.says("dual", AAAA, "nothing");
    world.says("six", AAAA, "nothing");
    world.says("dual", A, "6.6.6.6");
}

#[test]
fn wildcards() {
    let world = World::new(
        vec![service("ns1/*.wildcard", &["1.0.0.1"]), service("ns1/*.b.wildcard", &["1.0.0.2"])],
        vec![],
    );
    world.says("a.wildcard", A, "1.0.0.1");
    world.says("a.b.wildcard", A, "1.0.0.2");
    world.says("x.y.z.wildcard", A, "1.0.0.1");
    world.says("x.y.b.wildcard", A, "1.0.0.2");
    world.says("wildcard", A, "forward");
    world.says("a.wildcard", AAAA, "nothing");
}

#[test]
fn wildcard_behind_a_search_domain_has_no_cname() {
    let world = World::new(vec![service("ns1/*.wildcard", &["1.0.0.1"])], vec![]);
    world.says("a.wildcard.ns1.svc.cluster.local", A, "1.0.0.1");
}

#[test]
fn a_wildcard_for_an_earlier_name_precedes_a_later_name() {
    let services =
        vec![service("ns1/*.ns1.svc.cluster.local", &["1.0.0.1"]), service("ns1/local.io", &["1.0.0.2"])];
    let world = World::new(services, vec![]);
    world.says("local.io.ns1.svc.cluster.local", A, "1.0.0.1");
}

#[test]
fn only_addresses_of_the_clients_network_are_given_out() {
    let world = World::new(
        vec![
            service("ns1/far.ns1.svc.cluster.local", &["net2/1.0.0.2"]),
            service("ns1/both.ns1.svc.cluster.local", &["net1/1.0.0.1", "net2/1.0.0.2"]),
        ],
        vec![],
    );
    assert_eq!(text(world.resolve("ns1", "net1", "far", A), "far"), "nothing");
    assert_eq!(text(world.resolve("ns1", "net1", "both", A), "both"), "1.0.0.1");
    assert_eq!(text(world.resolve("ns1", "net2", "both", A), "both"), "1.0.0.2");
}

fn headless() -> World {
    let name = "ns1/db.ns1.svc.cluster.local";
    let six = "ns1/six.ns1.svc.cluster.local";
    let mut sick = pod("c1/ns1/db-9", name, &["10.0.0.9"]);
    sick.status = Health::Unhealthy;
    World::new(
        vec![
            service(name, &[]),
            with(service(six, &[]), |service| service.ip_families = IpFamilies::Ipv6),
            service("ns1/vip.ns1.svc.cluster.local", &["1.0.0.1"]),
        ],
        vec![
            pod("c1/ns1/db-0", name, &["10.0.0.1", "10.1.0.1", "2001:db8::1"]),
            pod("c1/ns1/db-1", name, &["2001:db8::2", "10.0.0.2"]),
            sick,
            pod("c1/ns1/six-0", six, &["10.0.0.3", "2001:db8::3"]),
            pod("c1/ns1/vip-0", "ns1/vip.ns1.svc.cluster.local", &["10.0.0.4"]),
        ],
    )
}

#[test]
fn headless_services_are_answered_with_one_address_per_healthy_endpoint() {
    let world = headless();
    world.says("db", A, "10.0.0.1 10.0.0.2");
    world.says("db.ns1.svc.cluster.local", AAAA, "2001:db8::1 2001:db8::2");
    world.says("six", A, "nothing");
    world.says("six", AAAA, "2001:db8::3");
}

#[test]
fn endpoints_that_share_an_address_give_one_record() {
    let name = "ns1/db.ns1.svc.cluster.local";
    let pods = vec![pod("c1/ns1/a", name, &["10.0.0.1"]), pod("c1/ns1/b", name, &["10.0.0.1"])];
    World::new(vec![service(name, &[])], pods).says("db", A, "10.0.0.1");
}

/// The original forwarded them when §7.8 was written; it answers them since its #1918.
#[test]
fn headless_pod_names_are_answered_and_unknown_ones_forwarded() {
    let world = headless();
    for name in ["db-0.db", "db-0.db.ns1", "db-0.db.ns1.svc", "db-0.db.ns1.svc.cluster.local"] {
        world.says(name, A, "10.0.0.1");
    }
    world.says("db-1.db", AAAA, "2001:db8::2");
    world.says("db-0.db.ns1.ns1.svc.cluster.local", A, "db-0.db.ns1: 10.0.0.1");
    world.says("six-0.six", A, "nothing");
    // Unknown, unhealthy, and behind a service that is not headless.
    world.says("db-7.db.ns1.svc.cluster.local", A, "forward");
    world.says("db-9.db.ns1.svc.cluster.local", A, "forward");
    world.says("vip-0.vip.ns1.svc.cluster.local", A, "forward");
    world.says("db-0.db.ns1.svc.remote.io", A, "forward");
}

#[test]
fn of_equally_named_pods_the_clients_cluster_comes_first_then_its_namespace() {
    let name = "ns1/db.ns1.svc.cluster.local";
    let mut pods = vec![
        pod("c1/ns1/db-0", name, &["10.0.0.1"]),
        pod("c1/ns2/db-0", name, &["10.0.0.2"]),
        pod("c2/ns1/db-0", name, &["10.0.0.3"]),
        pod("c2/ns2/db-0", name, &["10.0.0.4"]),
    ];
    for expected in ["10.0.0.1", "10.0.0.2", "10.0.0.3", "10.0.0.4"] {
        for entries in [pods.clone(), pods.iter().rev().cloned().collect()] {
            World::new(vec![service(name, &[])], entries).says("db-0.db", A, expected);
        }
        pods.remove(0);
    }
}

#[test]
fn an_outside_host_without_virtual_address_is_forwarded_with_and_without_endpoints() {
    let world = World::new(
        vec![service("ns1/with.io", &[]), service("ns1/without.io", &[])],
        vec![pod("c1/ns1/e", "ns1/with.io", &["10.0.0.1"])],
    );
    world.says("with.io", A, "forward");
    world.says("without.io", A, "forward");
}

#[test]
fn ranges_are_never_given_out() {
    let range = |cidr: &str| NetworkCidr { network: "".into(), cidr: cidr.parse().unwrap() };
    let world = World::new(
        vec![
            with(service("ns1/range.io", &[]), |service| service.cidrs = vec![range("10.0.0.0/8")]),
            with(service("ns1/both.io", &["1.0.0.1"]), |service| service.cidrs = vec![range("10.0.0.0/8")]),
            with(service("ns1/full.io", &[]), |service| service.cidrs = vec![range("1.0.0.2/32")]),
        ],
        vec![],
    );
    world.says("range.io", A, "forward");
    world.says("both.io", A, "1.0.0.1");
    world.says("full.io", A, "1.0.0.2");
}

#[test]
fn of_several_namespaces_own_then_canonical_then_preferred_then_first() {
    let mut services = vec![
        service("ns1/x.io", &["1.0.0.1"]),
        with(service("ns4/x.io", &["1.0.0.4"]), |service| service.canonical = true),
        service("ns3/x.io", &["1.0.0.3"]),
        service("ns2/x.io", &["1.0.0.2"]),
        service("ns5/x.io", &["1.0.0.5"]),
    ];
    for expected in ["1.0.0.1", "1.0.0.4", "1.0.0.3", "1.0.0.2"] {
        let mut world = World::new(services.clone(), vec![]);
        world.resolver.preferred_namespace = Some("ns3".into());
        world.says("x.io", A, expected);
        services.remove(0);
    }
}

#[test]
fn an_own_service_that_cannot_be_answered_hides_no_other() {
    let services = vec![service("ns1/x.io", &[]), service("ns2/x.io", &["1.0.0.2"])];
    World::new(services, vec![]).says("x.io", A, "1.0.0.2");
}

#[test]
fn of_equally_named_services_hidden_ones_do_not_count() {
    let hidden = with(service("ns2/x.io", &["1.0.0.2"]), |service| {
        service.visibility = Visibility::Namespace;
        service.canonical = true;
    });
    let world = World::new(vec![hidden, service("ns3/x.io", &["1.0.0.3"])], vec![]);
    world.says_to("ns1", "x.io", A, "1.0.0.3");
    world.says_to("ns2", "x.io", A, "1.0.0.2");
}

#[test]
fn names_that_no_host_has_are_forwarded() {
    let world = world();
    let mut dotted = question("local.io", A);
    dotted[13] = b'.';
    let query = Query::parse(&dotted).unwrap();
    let client = Client { namespace: "ns1", network: "", cluster: "", search: &[] };
    let resolution = world.resolver.resolve(&world.mesh, &client, &query, &mut Rng::new(1));
    assert_eq!(resolution, Resolution::Forward(NotOurs::Name));
    world.says("", A, "forward");
}

#[test]
fn the_order_of_addresses_changes_and_every_one_comes_first() {
    let addresses = ["1.0.0.1", "1.0.0.2", "1.0.0.3", "1.0.0.4"];
    let world = World::new(vec![service("ns1/x.io", &addresses)], vec![]);
    let client = Client { namespace: "ns1", network: "", cluster: "", search: &[] };
    let octets = question("x.io", A);
    let mut rng = Rng::new(3);
    let mut first = [0_u32; 4];
    for _ in 0..400 {
        let query = Query::parse(&octets).unwrap();
        let Resolution::Answer(answer) = world.resolver.resolve(&world.mesh, &client, &query, &mut rng)
        else {
            panic!("forwarded")
        };
        let place = addresses.iter().position(|address| ip(address) == answer.addresses[0]).unwrap();
        first[place] += 1;
    }
    assert!(first.iter().all(|count| *count > 60), "{first:?}");
}
