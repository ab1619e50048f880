//! Envoy in a waypoint's position, as it is configured.
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::Path;

use super::config::path;

fn address(of: SocketAddr) -> String {
    format!("{{socket_address: {{address: {}, port_value: {}}}}}", of.ip(), of.port())
}

/// What both ends of tunnels have in common.
fn tls(scratch: &Path, more: &str) -> String {
    let files = scratch.display();
    format!(
        r#"common_tls_context:
            tls_params: {{tls_minimum_protocol_version: TLSv1_3, tls_maximum_protocol_version: TLSv1_3}}
            alpn_protocols: [h2]
            tls_certificates:
            - {{certificate_chain: {{filename: "{files}/waypoint.pem"}}, private_key: {{filename: "{files}/waypoint.key"}}}}
            validation_context: {{trusted_ca: {{filename: "{files}/root.pem"}}{more}}}"#
    )
}

/// One endpoint that is a listener of its own.
fn internal(listener: &str) -> String {
    format!(
        r#"load_assignment:
      cluster_name: {listener}
      endpoints: [{{lb_endpoints: [{{endpoint: {{address: {{envoy_internal_address: {{server_listener_name: {listener}}}}}}}}}]}}]
    transport_socket:
      name: envoy.transport_sockets.internal_upstream
      typed_config:
        "@type": type.googleapis.com/envoy.extensions.transport_sockets.internal_upstream.v3.InternalUpstreamTransport
        transport_socket:
          name: envoy.transport_sockets.raw_buffer
          typed_config: {{"@type": type.googleapis.com/envoy.extensions.transport_sockets.raw_buffer.v3.RawBuffer}}"#
    )
}

/// The way to the application: a listener, if there is one for it, and clusters.
///
/// Through tunnels it is Istio's way, but that the endpoint is written down and not found out for each connection: another
/// internal listener asks for a tunnel, on one HTTP/2 connection to the application's proxy, whose identity is compared.
fn application(scratch: &Path, app: SocketAddr, proxy: Option<SocketAddr>) -> (String, String) {
    let Some(proxy) = proxy else {
        let endpoint = format!("{{lb_endpoints: [{{endpoint: {{address: {}}}}}]}}", address(app));
        let cluster = format!(
            "\x20 - name: app\n    type: STATIC\n    load_assignment: {{cluster_name: app, endpoints: [{endpoint}]}}"
        );
        return (String::new(), cluster);
    };
    let listener = format!(
        r#"
  - name: connect_originate
    internal_listener: {{}}
    filter_chains:
    - filters:
      - name: envoy.filters.network.tcp_proxy
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy
          stat_prefix: connect_originate
          cluster: connect_originate
          tunneling_config: {{hostname: "{app}"}}"#
    );
    let identity = ", match_typed_subject_alt_names: [{san_type: URI, matcher: {exact: \"spiffe://cluster.local/ns/bench/sa/app\"}}]";
    let clusters = format!(
        r#"  - name: app
    {internal}
  - name: connect_originate
    type: STATIC
    typed_extension_protocol_options:
      envoy.extensions.upstreams.http.v3.HttpProtocolOptions:
        "@type": type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions
        explicit_http_config: {{http2_protocol_options: {{allow_connect: true}}}}
    load_assignment:
      cluster_name: connect_originate
      endpoints: [{{lb_endpoints: [{{endpoint: {{address: {proxy}}}}}]}}]
    transport_socket:
      name: envoy.transport_sockets.tls
      typed_config:
          "@type": type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext
          {tls}"#,
        internal = internal("connect_originate"),
        proxy = address(proxy),
        tls = tls(scratch, identity),
    );
    (listener, clusters)
}

/// Envoy where Istio puts it: CONNECT is terminated, an internal listener routes, and the application is asked over HTTP/1.1,
/// through a tunnel to its `proxy` if it has one. Retries and path normalization are those that Istio gives its waypoints.
pub(super) fn config(
    scratch: &Path,
    listen: SocketAddr,
    app: SocketAddr,
    proxy: Option<SocketAddr>,
    routes: usize,
) -> String {
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
    let (originate, clusters) = application(scratch, app, proxy);
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
          {tls}
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
            typed_config: {{"@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router}}{originate}
  clusters:
  - name: main_internal
    {internal}
{clusters}
"#,
        listen = address(listen),
        tls = tls(scratch, ""),
        internal = internal("main_internal"),
    )
}
