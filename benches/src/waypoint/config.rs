//! The same position and the same routes, as each side is told of them.
use std::fmt::Write as _;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use clap::ValueEnum;

use crate::Failure;

/// Where the client's proxy is.
pub(super) const CLIENT: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);
/// Where the waypoint is, whoever made it.
pub(super) const WAYPOINT: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 3);
/// Where the application is.
pub(super) const APP: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 4);
/// The service's own address: only the mesh knows it.
pub(super) const SERVICE: SocketAddr =
    SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::new(240, 240, 1, 1)), 80);

/// What a route of its own is for; all are as long as each other.
pub(super) fn path(route: usize) -> String {
    format!("/team-{route:05}")
}

/// How the waypoint reaches the application.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Out {
    /// Over HTTP/1.1: it is no part of the mesh.
    Plain,
    /// Through a tunnel to a node proxy of its own.
    Hbone,
}

/// A mesh of one service with a waypoint in front and one application behind.
pub(super) fn mesh(hbone: u16, app: u16, out: Out) -> String {
    let protocol = match out {
        Out::Plain => "TCP",
        Out::Hbone => "HBONE",
    };
    let workload = |name: &str, address, protocol: &str, services: &str| {
        format!(
            "- {{ uid: Kubernetes//Pod/bench/{name}, name: {name}, namespace: bench, serviceAccount: {name}, \
             workloadIps: [{address}], protocol: {protocol}, services: {{ {services} }} }}\n"
        )
    };
    let behind = format!("bench/app.bench.svc.cluster.local: {{ 80: {app} }}");
    format!(
        "workloads:\n{}{}{}services:\n- {{ name: app, namespace: bench, hostname: app.bench.svc.cluster.local, \
         vips: [/{}], ports: {{ 80: {app} }}, waypoint: {{ destination: /{WAYPOINT}, hboneMtlsPort: {hbone} }} }}\n\
         policies: []\n",
        workload("client", CLIENT, "HBONE", ""),
        workload("waypoint", WAYPOINT, "HBONE", ""),
        workload("app", APP, protocol, &behind),
        SERVICE.ip(),
    )
}

/// Our routes: one `HTTPRoute` each, and what the service's port speaks. No access log on either side.
pub(super) fn manifests(routes: usize) -> String {
    let mut text = String::from(
        "apiVersion: v1\nkind: Service\nmetadata: { name: app, namespace: bench }\n\
         spec: { ports: [{ name: http, port: 80 }] }\n\
         ---\napiVersion: telemetry.istio.io/v1\nkind: Telemetry\nmetadata: { name: quiet, namespace: bench }\n\
         spec: { accessLogging: [{ disabled: true }] }\n",
    );
    for route in 0..routes {
        let path = path(route);
        let _ = write!(
            text,
            "---\napiVersion: gateway.networking.k8s.io/v1\nkind: HTTPRoute\n\
             metadata: {{ name: route-{route}, namespace: bench }}\nspec:\n\
             \x20 parentRefs: [{{ group: \"\", kind: Service, name: app }}]\n\
             \x20 rules:\n  - matches: [{{ path: {{ type: PathPrefix, value: {path} }} }}]\n\
             \x20   filters: [{{ type: RequestHeaderModifier, requestHeaderModifier: {{ set: [{{ name: x-route, value: \"{route}\" }}] }} }}]\n\
             \x20   backendRefs: [{{ name: app, port: 80 }}]\n"
        );
    }
    text
}

/// The certificate of `name`, as our proxies read it.
pub(super) fn certificates(scratch: &Path, name: &str) -> Result<PathBuf, Failure> {
    let directory = scratch.join(name);
    fs::create_dir_all(&directory)?;
    for (from, to) in [
        (format!("{name}.pem"), "cert-chain.pem"),
        (format!("{name}.key"), "key.pem"),
        ("root.pem".to_owned(), "root-cert.pem"),
    ] {
        fs::copy(scratch.join(from), directory.join(to))?;
    }
    Ok(directory)
}
