//! Any octets as a message to the DNS proxy and as a response to it, with hickory-proto as the oracle.
use std::net::SocketAddr;
use std::sync::{Arc, LazyLock};

use adit_core::dns::encode::{Rcode, answer, failure};
use adit_core::dns::forward::{Attempt, ForwardAction, QueryId};
use adit_core::dns::{
    Client, Forwarder, ForwarderConfig, MessageError, Query, RecordType, Resolution, Resolver, Transport,
    host_answer, kubernetes_search,
};
use adit_core::identity::Identity;
use adit_core::mesh::{Mesh, NetworkAddress, Service, ServiceName, Workload};
use adit_core::rng::Rng;
use adit_core::time::Instant;
use hickory_proto::op::{Message, ResponseCode};

const DOMAIN: &str = "cluster.local";

/// Any host below `io` with many addresses, and a headless service with a pod.
static MESH: LazyLock<Mesh> = LazyLock::new(|| {
    let name = |hostname: &str| ServiceName { namespace: "ns1".into(), hostname: hostname.into() };
    let mut any = Service::new(name("*.io"));
    let vip = |n: u8, address: SocketAddr| NetworkAddress {
        network: Arc::default(),
        address: if n.is_multiple_of(2) {
            address.ip()
        } else {
            [0x20, 1, 0xd, 0xb8, 0, 0, 0, u16::from(n)].into()
        },
    };
    any.addresses = (0..120).map(|n| vip(n, SocketAddr::from(([10, 0, 0, n], 0)))).collect();
    let headless = name("db.ns1.svc.cluster.local");
    let identity = Identity::new(DOMAIN, "ns1", "db").expect("an identity");
    let mut pod = Workload::new("c//Pod/ns1/db-0", "db-0", identity);
    pod.addresses = vec![[10, 1, 0, 1].into()];
    pod.services.insert(headless.clone(), Default::default());
    Mesh::new(Arc::default(), vec![pod], vec![any, Service::new(headless)], vec![]).expect("a mesh")
});

/// The input is a client's message, and then a name server's response to it.
pub fn body(data: &[u8]) {
    let oracle = Message::from_vec(data).ok();
    host(data, oracle.as_ref());
    let query = match Query::parse(data) {
        Ok(query) => query,
        Err(error) => {
            if error == MessageError::Question {
                // A pointer in the first name is the one thing that others may let pass.
                assert!(
                    oracle.is_none_or(|message| message.queries.is_empty())
                        || data.iter().skip(12).any(|octet| *octet >= 0xc0),
                    "hickory reads it"
                );
            }
            refused(data);
            return;
        }
    };
    if let (Some(message), Some(question)) = (&oracle, query.question()) {
        let theirs = message.queries.first().expect("the question that we read");
        assert_eq!(u16::from(theirs.query_type()), question.record_type.0);
        assert_eq!(u16::from(theirs.query_class()), question.class);
        let labels: Vec<&[u8]> = theirs.name().iter().collect();
        assert_eq!(labels, question.labels().collect::<Vec<_>>());
    }
    answered(&query);
    relayed(&query, data);
}

/// Addresses that we find in a response others find too.
fn host(data: &[u8], oracle: Option<&Message>) {
    for kind in [RecordType::A, RecordType::AAAA] {
        let (Ok(found), Some(oracle)) = (host_answer(data, kind), oracle) else { continue };
        let theirs: Vec<_> = oracle.answers.iter().filter_map(|record| record.data.ip_addr()).collect();
        assert!(found.addresses.iter().all(|address| theirs.contains(address)), "{found:?}");
    }
}

/// What we answer is a response that others can read, within its limit and with every address that fits.
fn answered(query: &Query<'_>) {
    refused(query.octets());
    let search = kubernetes_search("ns1", DOMAIN);
    let client = Client { namespace: "ns1", network: "", cluster: "", search: &search };
    let resolver = Resolver { cluster_domain: DOMAIN.into(), ipv6: true, preferred_namespace: None };
    let Resolution::Answer(given) = resolver.resolve(&MESH, &client, query, &mut Rng::new(1)) else { return };
    for transport in [Transport::Udp, Transport::Tcp] {
        let limit = query.limit(transport);
        let octets = answer(query, &given, limit);
        assert!(octets.len() <= limit, "{} of {limit} octets", octets.len());
        let read = Message::from_vec(&octets).expect("our answer can be read");
        assert_eq!(read.metadata.id, query.id());
        assert!(read.metadata.authoritative && read.metadata.response_code == ResponseCode::NoError);
        let chain = usize::from(given.canonical_labels.is_some() && !given.addresses.is_empty());
        if !read.metadata.truncation {
            assert_eq!(read.answers.len(), given.addresses.len() + chain);
        }
        let expected: Vec<&[u8]> =
            query.question().into_iter().flat_map(|question| question.labels()).collect();
        let labels = given.canonical_labels.unwrap_or(expected.len());
        for record in read.answers.iter().skip(chain) {
            assert_eq!(record.name.iter().collect::<Vec<_>>(), expected[..labels], "whose address");
        }
    }
}

/// Errors are readable responses, whatever they are about.
fn refused(data: &[u8]) {
    for rcode in [Rcode::FormatError, Rcode::ServerFailure] {
        let octets = failure(data, rcode);
        let read = Message::from_vec(&octets).expect("our error can be read");
        assert_eq!(octets.get(..2).filter(|_| data.len() >= 2), data.get(..2));
        assert!(read.answers.is_empty());
    }
}

/// A query ends: by a response to it, or by its last time-out. Nothing stays behind.
fn relayed(query: &Query<'_>, data: &[u8]) {
    let server = SocketAddr::from(([192, 0, 2, 1], 53));
    let mut machine = Forwarder::new(ForwarderConfig::new(vec![server]));
    let id = QueryId(1);
    let source = [10, 0, 0, 1].into();
    let entropy = &mut || 0x5555;
    machine.handle_query(Instant::ZERO, id, source, Transport::Udp, query, entropy).expect("there is room");
    let Some(ForwardAction::Send { attempt, message, .. }) = machine.poll_action() else {
        panic!("nothing is sent")
    };
    assert_eq!(attempt, Attempt { query: id, number: 0 });
    assert_eq!((&message[..2], &message[2..]), (&[0x55, 0x55][..], &data[2..]));
    // The query itself is no response to it; with the bit of a response it is, unless it says so little.
    machine.handle_response(Instant::ZERO, attempt, server, message.clone(), entropy);
    assert!(machine.poll_action().is_none());
    let mut response = message;
    response[2] |= 0x80;
    machine.handle_response(Instant::ZERO, attempt, server, response.clone(), entropy);
    response[..2].copy_from_slice(&data[..2]);
    match machine.poll_action() {
        Some(ForwardAction::Reply { message, .. }) => assert_eq!(message, response),
        other => panic!("the response is not taken: {other:?}"),
    }
    assert!(matches!(machine.poll_action(), Some(ForwardAction::Close { .. })));
    assert_eq!((machine.outstanding(), machine.poll_deadline()), (0, None));
}
