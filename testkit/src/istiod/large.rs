//! Resources of a large mesh, as big as istiod makes them.
use std::net::Ipv4Addr;

use adit_control::proto::istio::workload::{
    Locality, NetworkAddress, Port, PortList, Service, TunnelProtocol, Workload, WorkloadType,
};

/// Workloads behind each service.
pub const REPLICAS: u32 = 20;

/// The workload of this number, up to 16 million: one of the replicas of an application, with every field that istiod fills
/// for a pod of a Deployment. Its network is `network-1`.
#[must_use]
pub fn workload(n: u32) -> Workload {
    let of = n / REPLICAS;
    let (namespace, app) = (namespace(of), format!("application-{of}"));
    let name = format!("{app}-{n}");
    let node = n % 1000;
    let ports = vec![
        Port { service_port: 80, target_port: 8080, app_protocol: 0 },
        Port { service_port: 443, target_port: 8443, app_protocol: 0 },
    ];
    Workload {
        uid: format!("Kubernetes//Pod/{namespace}/{name}"),
        addresses: vec![Ipv4Addr::from(0x0a00_0000 + n).octets().to_vec()],
        network: "network-1".to_owned(),
        tunnel_protocol: TunnelProtocol::Hbone.into(),
        trust_domain: "cluster.local".to_owned(),
        service_account: app.clone(),
        node: format!("ip-10-0-{}-{}.eu-central-1.compute.internal", node / 256, node % 256),
        canonical_name: app.clone(),
        canonical_revision: "v1".to_owned(),
        workload_type: WorkloadType::Deployment.into(),
        workload_name: app,
        locality: Some(Locality {
            region: "eu-central-1".to_owned(),
            zone: format!("eu-central-1{}", ["a", "b", "c"][n as usize % 3]),
            ..Locality::default()
        }),
        services: [(format!("{namespace}/{}", hostname(of)), PortList { ports })].into(),
        cluster_id: "Kubernetes".to_owned(),
        namespace,
        name,
        ..Workload::default()
    }
}

/// The service in front of the application of this number.
#[must_use]
pub fn service(n: u32) -> Service {
    Service {
        name: format!("application-{n}"),
        namespace: namespace(n),
        hostname: hostname(n),
        addresses: vec![NetworkAddress {
            network: "network-1".to_owned(),
            address: Ipv4Addr::from(0xac10_0000 + n).octets().to_vec(),
            ..NetworkAddress::default()
        }],
        ports: vec![Port { service_port: 80, target_port: 8080, app_protocol: 0 }],
        ..Service::default()
    }
}

fn namespace(service: u32) -> String {
    format!("namespace-{}", service / 10)
}

fn hostname(service: u32) -> String {
    format!("application-{service}.{}.svc.cluster.local", namespace(service))
}
