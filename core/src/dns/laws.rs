//! Laws of the whole room: what is read is what was written, answers hold the tables' addresses and no others, and what
//! is relayed stays as it was.
use std::collections::BTreeSet;
use std::string::String;
use std::vec;
use std::vec::Vec;

use core::net::{IpAddr, SocketAddr};

use proptest::prelude::*;
use proptest::sample::{select, subsequence};

use super::encode::{Rcode, answer, failure};
use super::forward::{Attempt, ForwardAction, QueryId};
use super::message::{CLASS_INTERNET, HEADER, TYPE_OPT};
use super::*;
use crate::identity::Identity;
use crate::mesh::{Health, IpFamilies, Mesh, NetworkAddress, Service, ServiceName, Visibility, Workload};
use crate::rng::Rng;
use crate::time::Instant;

// ---- an independent reader

/// A record, read by the letter of RFC 1035.
#[derive(Debug, PartialEq, Eq)]
struct Record {
    owner: Vec<Vec<u8>>,
    kind: u16,
    ttl: u32,
    data: Vec<u8>,
}

fn word(octets: &[u8], at: usize) -> u16 {
    u16::from_be_bytes([octets[at], octets[at + 1]])
}

/// The name at `at`, and where what follows begins; pointers are followed, and each must lead back.
fn name(octets: &[u8], mut at: usize) -> (Vec<Vec<u8>>, usize) {
    let (mut labels, mut end) = (vec![], None);
    loop {
        let length = usize::from(octets[at]);
        if length >= 0xc0 {
            end.get_or_insert(at + 2);
            let target = usize::from(word(octets, at) & 0x3fff);
            assert!(target < at, "a pointer must lead back");
            at = target;
        } else if length == 0 {
            return (labels, end.unwrap_or(at + 1));
        } else {
            labels.push(octets[at + 1..=at + length].to_vec());
            at += length + 1;
        }
    }
}

/// Answers of a response with one question, which it must fill to its last octet.
fn records(octets: &[u8]) -> Vec<Record> {
    let mut at = name(octets, HEADER).1 + 4;
    let (answers, additionals) = (word(octets, 6), word(octets, 10));
    let mut read = |_| {
        let (owner, fixed) = name(octets, at);
        let length = usize::from(word(octets, fixed + 8));
        let data = octets[fixed + 10..fixed + 10 + length].to_vec();
        at = fixed + 10 + length;
        let ttl = u32::from(word(octets, fixed + 4)) << 16 | u32::from(word(octets, fixed + 6));
        Record { owner, kind: word(octets, fixed), ttl, data }
    };
    let answers: Vec<Record> = (0..answers).map(&mut read).collect();
    let rest: Vec<Record> = (0..additionals).map(&mut read).collect();
    assert!(rest.iter().all(|record| record.kind == TYPE_OPT));
    assert_eq!((at, word(octets, 8)), (octets.len(), 0), "nothing is left over");
    answers
}

// ---- what is asked

#[derive(Clone, Debug)]
struct Asked {
    id: u16,
    flags: u16,
    labels: Vec<Vec<u8>>,
    kind: u16,
    class: u16,
    edns: Option<Edns>,
}

impl Asked {
    fn octets(&self) -> Vec<u8> {
        let words = [self.id, self.flags, 1, 0, 0, u16::from(self.edns.is_some())];
        let mut octets: Vec<u8> = words.iter().flat_map(|word| word.to_be_bytes()).collect();
        for label in &self.labels {
            octets.push(label.len() as u8);
            octets.extend_from_slice(label);
        }
        octets.push(0);
        octets.extend([self.kind, self.class].iter().flat_map(|word| word.to_be_bytes()));
        if let Some(Edns { payload, version, dnssec }) = self.edns {
            octets.push(0);
            octets.extend([TYPE_OPT, payload].iter().flat_map(|word| word.to_be_bytes()));
            octets.extend([0, version, if dnssec { 0x80 } else { 0 }, 0, 0, 0]);
        }
        octets
    }

    /// A plain question for an address of `hostname`.
    fn address(hostname: &str, v6: bool, edns: Option<Edns>) -> Self {
        let labels = hostname.split('.').map(|label| label.as_bytes().to_vec()).collect();
        Self { id: 7, flags: 0x0100, labels, kind: if v6 { 28 } else { 1 }, class: CLASS_INTERNET, edns }
    }
}

fn edns() -> impl Strategy<Value = Option<Edns>> {
    prop::option::of(any::<(u16, u8, bool)>().prop_map(|(payload, version, dnssec)| Edns {
        payload,
        version,
        dnssec,
    }))
}

fn asked() -> impl Strategy<Value = Asked> {
    let label = prop::collection::vec(any::<u8>(), 1..=63);
    let labels = prop_oneof![
        prop::collection::vec(label, 0..4),
        prop::collection::vec("[a-zA-Z0-9-]{1,12}".prop_map(String::into_bytes), 0..12),
    ];
    let class = prop_oneof![3 => Just(CLASS_INTERNET), 1 => any::<u16>()];
    // Every flag but that of a response.
    (any::<(u16, u16)>(), labels, any::<u16>(), class, edns()).prop_map(
        |((id, flags), labels, kind, class, edns)| {
            let flags = flags & 0x7fff;
            Asked { id, flags, labels, kind, class, edns }
        },
    )
}

// ---- a small mesh, in which everything meets everything

const NAMESPACES: [&str; 3] = ["ns1", "ns2", "ns3"];
const NETWORKS: [&str; 2] = ["", "far"];
const HOSTS: [&str; 7] = [
    "web.ns1.svc.cluster.local",
    "web.ns2.svc.cluster.local",
    "db.ns1.svc.cluster.local",
    "*.io",
    "*.ns1.svc.cluster.local",
    "local.io",
    "web.ns1",
];
const NAMES: [&str; 12] = [
    "web",
    "web.ns1",
    "web.ns2",
    "web.ns1.svc",
    "web.ns1.svc.cluster.local",
    "web.ns2.svc.cluster.local",
    "db",
    "db-0.db",
    "local.io",
    "x.local.io",
    "local.io.ns1.svc.cluster.local",
    "elsewhere.example",
];

fn address() -> impl Strategy<Value = IpAddr> {
    prop_oneof![
        (0..40_u8).prop_map(|n| IpAddr::from([10, 0, 0, n])),
        (0..40_u16).prop_map(|n| IpAddr::from([0x2001, 0xdb8, 0, 0, 0, 0, 0, n])),
    ]
}

fn service() -> impl Strategy<Value = Service> {
    let vips = prop::collection::vec((select(&NETWORKS), address()), 0..4);
    let families = [IpFamilies::Automatic, IpFamilies::Ipv4, IpFamilies::Ipv6, IpFamilies::Dual];
    (select(&NAMESPACES), select(&HOSTS), vips, any::<(bool, bool)>(), select(families.to_vec())).prop_map(
        |(namespace, hostname, vips, (canonical, hidden), ip_families)| {
            let name = ServiceName { namespace: namespace.into(), hostname: hostname.into() };
            let mut service = Service::new(name);
            let vip = |(network, address): (&str, _)| NetworkAddress { network: network.into(), address };
            service.addresses = vips.into_iter().map(vip).collect();
            (service.canonical, service.ip_families) = (canonical, ip_families);
            service.visibility = if hidden { Visibility::Namespace } else { Visibility::Public };
            service
        },
    )
}

prop_compose! {
    fn mesh()(
        services in prop::collection::vec(service(), 0..8),
        pods in prop::collection::vec(
            (select(&NAMESPACES), subsequence((0..8_usize).collect::<Vec<_>>(), 0..3), any::<bool>(),
             prop::collection::vec(address(), 0..3)),
            0..6,
        ),
    ) -> Mesh {
        let mut seen = BTreeSet::new();
        let services: Vec<Service> =
            services.into_iter().filter(|service| seen.insert(service.name.clone())).collect();
        let pods = pods.into_iter().enumerate().map(|(n, (namespace, of, sick, addresses))| {
            let uid = std::format!("c//Pod/{namespace}/db-{n}");
            let identity = Identity::new("cluster.local", namespace, "app").unwrap();
            let mut pod = Workload::new(&uid, &std::format!("db-{n}"), identity);
            pod.addresses = addresses;
            pod.status = if sick { Health::Unhealthy } else { Health::Healthy };
            for service in of.into_iter().filter_map(|place| services.get(place)) {
                pod.services.insert(service.name.clone(), Default::default());
            }
            pod
        });
        Mesh::new("".into(), pods.collect(), services.clone(), vec![]).unwrap()
    }
}

fn resolve(mesh: &Mesh, namespace: &str, octets: &[u8], seed: u64) -> Resolution {
    let search = kubernetes_search(namespace, "cluster.local");
    let client = Client { namespace, network: "", cluster: "c", search: &search };
    let resolver = Resolver { cluster_domain: "cluster.local".into(), ipv6: true, preferred_namespace: None };
    resolver.resolve(mesh, &client, &Query::parse(octets).unwrap(), &mut Rng::new(seed))
}

proptest! {
    #[test]
    fn any_octets_are_read_or_refused_and_an_error_answers_them(octets: Vec<u8>) {
        let read = Query::parse(&octets);
        if let Ok(query) = &read {
            prop_assert_eq!(query.octets(), &octets[..]);
        }
        for rcode in [Rcode::FormatError, Rcode::ServerFailure] {
            let error = failure(&octets, rcode);
            // Answering an answer could go on for ever.
            prop_assert_eq!(Query::parse(&error), Err(MessageError::Response));
            if octets.len() >= 2 {
                prop_assert_eq!(&error[..2], &octets[..2]);
            }
        }
    }

    #[test]
    fn what_is_read_is_what_was_written(asked in asked()) {
        let octets = asked.octets();
        let length: usize = asked.labels.iter().map(|label| label.len() + 1).sum();
        let read = Query::parse(&octets);
        if length > 254 {
            prop_assert_eq!(read, Err(MessageError::Question));
            return Ok(());
        }
        let query = read.unwrap();
        let question = query.question().unwrap();
        prop_assert_eq!((query.id(), query.opcode()), (asked.id, asked.flags & 0x7800));
        prop_assert_eq!((question.record_type.0, question.class), (asked.kind, asked.class));
        prop_assert_eq!(question.labels().collect::<Vec<_>>(), asked.labels);
        prop_assert_eq!(query.limit(Transport::Tcp), 65_535);
        let room = asked.edns.map_or(512, |edns| edns.payload.max(512));
        prop_assert_eq!(query.limit(Transport::Udp), usize::from(room));
    }

    /// Ours is what the tables say: of one service that the client may see, of the family asked for, on its own network
    /// or, without virtual addresses, of healthy endpoints.
    #[test]
    fn answers_hold_the_tables_addresses_and_no_others(
        mesh in mesh(), namespace in select(&NAMESPACES), name in select(&NAMES), v6: bool, seed: u64,
    ) {
        let octets = Asked::address(name, v6, None).octets();
        let Resolution::Answer(given) = resolve(&mesh, namespace, &octets, seed) else { return Ok(()) };
        let service = mesh.service(&given.service).expect("a service of the mesh");
        prop_assert!(service.visibility == Visibility::Public || *service.name.namespace == *namespace);
        let family = |address: &IpAddr| address.is_ipv6() == v6;
        let gated = matches!((service.ip_families, v6), (IpFamilies::Ipv4, true) | (IpFamilies::Ipv6, false));
        let near: BTreeSet<IpAddr> = if service.addresses.is_empty() {
            prop_assert!(service.name.hostname.ends_with(".svc.cluster.local"), "only such services are headless");
            let endpoints = mesh.endpoints(&service.name).iter();
            endpoints.filter_map(|endpoint| endpoint.addresses.iter().copied().find(family)).collect()
        } else {
            let near = service.addresses.iter().filter(|vip| vip.network.is_empty());
            near.map(|vip| vip.address).filter(family).collect()
        };
        let distinct: BTreeSet<IpAddr> = given.addresses.iter().copied().collect();
        prop_assert_eq!(distinct.len(), given.addresses.len(), "an address is given once");
        if gated {
            prop_assert!(given.addresses.is_empty());
        } else if name == "db-0.db" && service.addresses.is_empty() && distinct != near {
            // A pod's own name.
            prop_assert!(distinct.len() <= 1 && distinct.is_subset(&near), "{:?} of {:?}", distinct, near);
        } else {
            prop_assert_eq!(distinct, near);
        }
    }

    /// A question in which the mesh has no say goes on, whatever the tables hold.
    #[test]
    fn what_is_no_plain_question_for_an_address_is_never_answered(mesh in mesh(), asked in asked(), seed: u64) {
        let octets = asked.octets();
        let Ok(query) = Query::parse(&octets) else { return Ok(()) };
        let plain = asked.flags & 0x7800 == 0 && asked.class == CLASS_INTERNET && [1, 28].contains(&asked.kind);
        prop_assert_eq!(Resolver::concerns(&query), plain);
        let resolution = resolve(&mesh, "ns1", &octets, seed);
        prop_assert!(plain || resolution == Resolution::Forward(NotOurs::Kind));
    }

    /// As many records as fit into the limit, each once, in their order, under the name asked for or the one that the CNAME
    /// leads to; and a client is told when there were more.
    #[test]
    fn what_is_written_can_be_read(
        addresses in prop::collection::btree_set(0..3_000_u32, 0..400), v6: bool, edns in edns(),
        labels in prop::option::of(1..4_usize), tcp: bool,
    ) {
        let octets = Asked::address("a.b.c.d", v6, edns).octets();
        let query = Query::parse(&octets).unwrap();
        let address = |n: &u32| if v6 { IpAddr::from(u128::from(*n).to_be_bytes()) } else { IpAddr::from(n.to_be_bytes()) };
        let service = ServiceName { namespace: "ns".into(), hostname: "h".into() };
        let given = Answer { service, addresses: addresses.iter().map(address).collect(), canonical_labels: labels };
        let limit = query.limit(if tcp { Transport::Tcp } else { Transport::Udp });
        let written = answer(&query, &given, limit);
        prop_assert!(written.len() <= limit);
        prop_assert_eq!(word(&written, 0), 7);
        let mut read = records(&written);
        let all: Vec<Vec<u8>> = ["a", "b", "c", "d"].map(|label| label.as_bytes().to_vec()).into();
        let mut owner = all.clone();
        if let Some(labels) = labels && !given.addresses.is_empty() {
            let chain = read.remove(0);
            prop_assert_eq!((chain.owner, chain.kind, chain.ttl), (all, 5, 30));
            owner.truncate(labels);
            prop_assert_eq!(name(&chain.data, 0).0, owner.clone());
        }
        let truncated = word(&written, 2) & 0x0200 != 0;
        prop_assert_eq!(truncated, read.len() < given.addresses.len());
        let each = if v6 { 28 } else { 16 };
        prop_assert!(!truncated || written.len() + each > limit, "there was room for more");
        for (record, address) in read.iter().zip(&given.addresses) {
            let data = match address {
                IpAddr::V4(address) => address.octets().to_vec(),
                IpAddr::V6(address) => address.octets().to_vec(),
            };
            let kind = if v6 { 28 } else { 1 };
            prop_assert_eq!(record, &Record { owner: owner.clone(), kind, ttl: 30, data });
        }
    }

    /// There and back octet for octet, but for the id, which is never the client's by design but by chance.
    #[test]
    fn what_is_relayed_stays_as_it_was(asked in asked(), tail: Vec<u8>, response: Vec<u8>, ids: [u16; 2], tcp: bool) {
        let mut octets = asked.octets();
        // Whatever stands behind the question is nobody's business here.
        octets.extend_from_slice(&tail);
        let Ok(query) = Query::parse(&octets) else { return Ok(()) };
        let server = SocketAddr::from(([192, 0, 2, 1], 53));
        let mut machine = Forwarder::new(ForwarderConfig::new(vec![server]));
        let transport = if tcp { Transport::Tcp } else { Transport::Udp };
        let mut drawn = ids.into_iter();
        let entropy = &mut || drawn.next().unwrap_or_default();
        machine.handle_query(Instant::ZERO, QueryId(1), [10, 0, 0, 1].into(), transport, &query, entropy).unwrap();
        let Some(ForwardAction::Send { message, transport: over, .. }) = machine.poll_action() else {
            panic!("nothing is sent")
        };
        prop_assert_eq!(over, transport, "over what it came");
        prop_assert_eq!((word(&message, 0), &message[2..]), (ids[0], &octets[2..]));
        // A response: the header and question of the query, and anything behind them.
        let mut back = message[..HEADER + query.question().unwrap().name().len() + 4].to_vec();
        back[2] |= 0x80;
        back.extend_from_slice(&response);
        let attempt = Attempt { query: QueryId(1), number: 0 };
        machine.handle_response(Instant::ZERO, attempt, server, back.clone(), entropy);
        back[..2].copy_from_slice(&octets[..2]);
        match machine.poll_action() {
            Some(ForwardAction::Reply { message, .. }) => prop_assert_eq!(message, back),
            other => panic!("{other:?}"),
        }
    }
}
