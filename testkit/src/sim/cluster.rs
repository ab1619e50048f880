//! Entries of a large cluster as istiod describes it, each made from its number: for measurements.

use std::net::{IpAddr, Ipv4Addr};

use adit_core::hbone::baggage::WorkloadType;
use adit_core::identity::Identity;
use adit_core::mesh::{Locality, NetworkAddress, PortMap, Service, ServiceName, TunnelProtocol, Workload};

const NETWORK: &str = "network-1";
/// Services of one namespace.
const PER_NAMESPACE: usize = 10;
/// Pods go to so many nodes in turn.
const NODES: usize = 1000;

/// Pod `n`, of which `replicas` in sequence belong to one service.
///
/// # Panics
/// Never: the names are valid.
#[must_use]
pub fn workload(n: usize, replicas: usize) -> Workload {
    let of = service_name(n / replicas);
    let (namespace, app) = (of.namespace.clone(), format!("application-{}", n / replicas));
    // As Deployments name their pods.
    let name = format!("{app}-7c9f8d6b5-{n:05x}");
    let identity = Identity::new("cluster.local", &namespace, &app).expect("valid names");
    let mut workload = Workload::new(&format!("Kubernetes//Pod/{namespace}/{name}"), &name, identity);
    workload.addresses = vec![pod_ip(n)];
    workload.network = NETWORK.into();
    workload.protocol = TunnelProtocol::Hbone;
    let node = n % NODES;
    workload.node = format!("ip-10-0-{}-{}.eu-central-1.compute.internal", node / 256, node % 256).into();
    workload.canonical_name = app.as_str().into();
    workload.canonical_revision = "v1".into();
    workload.workload_type = WorkloadType::Deployment;
    workload.workload_name = app.as_str().into();
    workload.locality = Locality {
        region: "eu-central-1".into(),
        zone: ["eu-central-1a", "eu-central-1b", "eu-central-1c"][n % 3].into(),
        subzone: "".into(),
    };
    workload.services = [(of, PortMap::from([(80, 8080), (443, 8443)]))].into_iter().collect();
    workload
}

/// Service `n`.
#[must_use]
pub fn service(n: usize) -> Service {
    let mut service = Service::new(service_name(n));
    service.object_name = format!("application-{n}").into();
    service.addresses = vec![NetworkAddress { network: NETWORK.into(), address: vip(n) }];
    service.ports = [(80, 8080), (443, 0)].into();
    service.canonical = true;
    service
}

/// Key of service `n`.
#[must_use]
pub fn service_name(n: usize) -> ServiceName {
    let namespace = format!("namespace-{}", n / PER_NAMESPACE);
    let hostname = format!("application-{n}.{namespace}.svc.cluster.local").into();
    ServiceName { namespace: namespace.into(), hostname }
}

/// Address of pod `n`, in 10.0.0.0/8.
#[must_use]
pub fn pod_ip(n: usize) -> IpAddr {
    in_range([10, 0, 0, 0], n)
}

/// Virtual address of service `n`, in 172.16.0.0/12.
#[must_use]
pub fn vip(n: usize) -> IpAddr {
    in_range([172, 16, 0, 0], n)
}

fn in_range(first: [u8; 4], n: usize) -> IpAddr {
    let offset = u32::try_from(n).expect("fewer than there are addresses");
    Ipv4Addr::from(u32::from_be_bytes(first) + offset).into()
}
