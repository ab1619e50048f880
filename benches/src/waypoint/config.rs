//! The same position and the same routes, as each side is told of them.
use std::fmt::Write as _;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

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

/// A mesh of one service with a waypoint in front and one application behind, which is no part of the mesh: what is measured
/// shall not be how it is reached.
pub(super) fn mesh(hbone: u16, app: u16) -> String {
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
        workload("app", APP, "TCP", &behind),
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

/// Envoy where Istio puts it: CONNECT is terminated, an internal listener routes, and the application is asked over HTTP/1.1.
/// Retries and path normalization are those that Istio gives its waypoints.
pub(super) fn envoy(scratch: &Path, listen: SocketAddr, app: SocketAddr, routes: usize) -> String {
    let address =
        |a: SocketAddr| format!("{{socket_address: {{address: {}, port_value: {}}}}}", a.ip(), a.port());
    let mut table = String::new();
    for route in 0..routes {
        let path = path(route);
        let _ = writeln!(
            table,
            "              - {{match: {{path_separated_prefix: {path}}}, \
             request_headers_to_add: [{{header: {{key: x-route, value: \"{route}\"}}, append_action: OVERWRITE_IF_EXISTS_OR_ADD}}], \
             route: {{cluster: app, timeout: 0s, retry_policy: {{retry_on: \"connect-failure,refused-stream,unavailable,cancelled,retriable-status-codes\", \
             num_retries: 2, retriable_status_codes: [503], host_selection_retry_max_attempts: 5}}}}}}"
        );
    }
    let files = scratch.display();
    format!(
        r#"
bootstrap_extensions:
- name: envoy.bootstrap.internal_listener
  typed_config: {{"@type": type.googleapis.com/envoy.extensions.bootstrap.internal_listener.v3.InternalListener}}
static_resources:
  listeners:
  - name: connect_terminate
    address: {listen}
    filter_chains:
    - transport_socket:
        name: envoy.transport_sockets.tls
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext
          require_client_certificate: true
          common_tls_context:
            tls_params: {{tls_minimum_protocol_version: TLSv1_3, tls_maximum_protocol_version: TLSv1_3}}
            alpn_protocols: [h2]
            tls_certificates:
            - {{certificate_chain: {{filename: "{files}/waypoint.pem"}}, private_key: {{filename: "{files}/waypoint.key"}}}}
            validation_context: {{trusted_ca: {{filename: "{files}/root.pem"}}}}
      filters:
      - name: envoy.filters.network.http_connection_manager
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: inbound_hcm
          codec_type: HTTP2
          http2_protocol_options: {{allow_connect: true}}
          upgrade_configs: [{{upgrade_type: CONNECT}}]
          route_config:
            virtual_hosts:
            - name: all
              domains: ["*"]
              routes:
              - match: {{connect_matcher: {{}}}}
                route: {{cluster: main_internal, timeout: 0s, upgrade_configs: [{{upgrade_type: CONNECT, connect_config: {{}}}}]}}
          http_filters:
          - name: envoy.filters.http.router
            typed_config: {{"@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router, suppress_envoy_headers: true}}
  - name: main_internal
    internal_listener: {{}}
    filter_chains:
    - filters:
      - name: envoy.filters.network.http_connection_manager
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: main
          server_name: istio-envoy
          normalize_path: true
          path_with_escaped_slashes_action: KEEP_UNCHANGED
          route_config:
            virtual_hosts:
            - name: app
              domains: ["*"]
              include_request_attempt_count: true
              routes:
{table}
          http_filters:
          - name: envoy.filters.http.router
            typed_config: {{"@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router}}
  clusters:
  - name: main_internal
    load_assignment:
      cluster_name: main_internal
      endpoints: [{{lb_endpoints: [{{endpoint: {{address: {{envoy_internal_address: {{server_listener_name: main_internal}}}}}}}}]}}]
    transport_socket:
      name: envoy.transport_sockets.internal_upstream
      typed_config:
        "@type": type.googleapis.com/envoy.extensions.transport_sockets.internal_upstream.v3.InternalUpstreamTransport
        transport_socket:
          name: envoy.transport_sockets.raw_buffer
          typed_config: {{"@type": type.googleapis.com/envoy.extensions.transport_sockets.raw_buffer.v3.RawBuffer}}
  - name: app
    type: STATIC
    load_assignment:
      cluster_name: app
      endpoints: [{{lb_endpoints: [{{endpoint: {{address: {app}}}}}]}}]
"#,
        listen = address(listen),
        app = address(app),
    )
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
