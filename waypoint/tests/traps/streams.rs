//! Bodies, trailers, upgrades: what goes on after a head.
use std::io::{Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{LazyLock, OnceLock};

use http::HeaderMap;

use super::rig::servers::server;
use super::rig::{PATIENCE, Rig, echo, h2c, soon};

static RIG: LazyLock<Rig> = LazyLock::new(|| Rig::new(&echo(), ""));

#[test]
fn trailers_go_both_ways() {
    let mut client = RIG.client("echo-v1", 80);
    client.send(
        "POST /trailers HTTP/1.1\r\nhost: a\r\nte: trailers\r\ntrailer: x-end\r\nx-app-trailers: 1\r\n\
         transfer-encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\nx-end: 1\r\n\r\n",
    );
    let reply = client.read();
    assert_eq!((reply.status, reply.told()["body"].as_str()), (200, Some("hi")));
    assert_eq!(reply.trailers, [("x-app-trailer".to_owned(), "1".to_owned())]);
    let mut trailers = HeaderMap::new();
    trailers.insert("x-end", "1".parse().unwrap());
    let request = h2c::request("POST", "/trailers-2", &[("x-app-trailers", "1"), ("te", "trailers")]);
    let replies = h2c::ask(RIG.entry("echo-v1", 80), vec![request], b"hi", Some(trailers));
    assert_eq!((replies[0].status, replies[0].told()["body"].as_str()), (200, Some("hi")));
    assert_eq!(replies[0].trailers.as_ref().unwrap()["x-app-trailer"], "1");
}

#[test]
fn who_waits_to_be_told_to_go_on_is_told() {
    let mut client = RIG.client("echo-v1", 80);
    client.send("POST /expect HTTP/1.1\r\nhost: a\r\nexpect: 100-continue\r\ncontent-length: 5\r\n\r\n");
    assert_eq!(client.read().status, 100);
    client.send("hello");
    let reply = client.read();
    assert_eq!((reply.status, reply.told()["body"].as_str()), (200, Some("hello")));
}

#[test]
fn a_websocket_is_relayed() {
    let mut client = RIG.client("echo-v1", 80);
    client.send(
        "GET /ws HTTP/1.1\r\nhost: a\r\nconnection: Upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\n\
         sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
    );
    let reply = client.read();
    assert_eq!((reply.status, reply.header("upgrade")), (101, Some("websocket")));
    // Nothing of it is looked at: octets that would be wrong in HTTP pass.
    for octets in [&b"hello\n\0\r\n\r\n"[..], b"\n\n", b"x: y\nTransfer-Encoding: a\r\n"] {
        client.send(octets);
        let mut echoed = vec![0; octets.len()];
        client.0.read_exact(&mut echoed).unwrap();
        assert_eq!(echoed, octets);
    }
    client.end();
    assert_eq!(client.rest(), b"");
    assert!(RIG.lines("/ws", 1)[0].starts_with("GET /ws 101 "));
}

/// A client of HTTP/2 that asks for a WebSocket (RFC 8441).
async fn extended(
    entry: SocketAddr,
    path: &str,
) -> (http::Response<h2::RecvStream>, h2::SendStream<bytes::Bytes>) {
    let stream = tokio::net::TcpStream::connect(entry).await.unwrap();
    let (sender, connection) = h2::client::handshake(stream).await.unwrap();
    tokio::spawn(connection);
    let mut sender = sender.ready().await.unwrap();
    while !sender.is_extended_connect_protocol_enabled() {
        // Until its settings are there.
        tokio::task::yield_now().await;
    }
    let mut request = h2c::request("CONNECT", path, &[("sec-websocket-version", "13")]);
    request.extensions_mut().insert(h2::ext::Protocol::from("websocket"));
    let (response, stream) = sender.send_request(request, false).unwrap();
    (response.await.unwrap(), stream)
}

#[test]
fn a_websocket_over_http2_is_relayed() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let talking = async {
        let (response, mut stream) = extended(RIG.entry("echo-v1", 80), "/ws-2").await;
        assert_eq!(response.status(), 200);
        assert!(!response.headers().contains_key("sec-websocket-accept"));
        let mut incoming = response.into_body();
        for octets in [&b"hello\n\0\r\n\r\n"[..], b"\n\n"] {
            stream.send_data(octets.into(), false).unwrap();
            let mut echoed = Vec::new();
            while echoed.len() < octets.len() {
                let data = incoming.data().await.unwrap().unwrap();
                incoming.flow_control().release_capacity(data.len()).unwrap();
                echoed.extend_from_slice(&data);
            }
            assert_eq!(echoed, octets);
        }
        stream.send_data(bytes::Bytes::new(), true).unwrap();
        // The end may come in a frame of its own.
        while let Some(data) = incoming.data().await {
            assert_eq!(data.unwrap(), "");
        }
    };
    runtime.block_on(async { tokio::time::timeout(PATIENCE, talking).await.unwrap() });
    let seen = RIG.seen("v1", "/ws-2").remove(0);
    assert_eq!((&*seen.method, &*seen.headers["upgrade"]), ("GET", "websocket"));
    assert_eq!(seen.headers["sec-websocket-key"].len(), 24);
    assert!(RIG.lines("/ws-2", 1)[0].starts_with("GET /ws-2 101 "));
}

#[test]
fn a_backend_that_answers_as_if_nobody_had_asked_for_a_websocket_is_no_yes() {
    let plain = server(45, |mut stream| {
        let mut head = [0; 4096];
        let _ = stream.read(&mut head);
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n");
    });
    let mut plan = echo();
    plan.servers = vec![("plain", plain, vec!["plain"])];
    let rig = Rig::new(&plan, "");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let asking = async { extended(rig.entry("plain", 80), "/no-ws").await.0.status().as_u16() };
    let status = runtime.block_on(async { tokio::time::timeout(PATIENCE, asking).await.unwrap() });
    assert_eq!(status, 502);
    assert!(rig.lines("/no-ws", 1)[0].starts_with("GET /no-ws 502 UPE upgrade_failed"));
}

#[test]
fn a_long_answer_goes_on_while_policies_change() {
    let (told, go) = std::sync::mpsc::channel();
    let go = std::sync::Mutex::new(go);
    let long = server(1, move |mut stream| {
        let mut head = [0; 4096];
        let _ = stream.read(&mut head);
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nfirst");
        if go.lock().unwrap().recv().is_ok() {
            let _ = stream.write_all(b"after");
        }
    });
    let mut plan = echo();
    plan.servers = vec![("long", long, vec!["long"])];
    let mut rig = Rig::new(&plan, "");
    let mut client = rig.client("long", 80);
    client.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n");
    let mut begun = Vec::new();
    soon(|| {
        let mut octet = [0];
        client.0.read_exact(&mut octet).unwrap();
        begun.push(octet[0]);
        begun.ends_with(b"first")
    });
    let deny = "apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: { name: p, namespace: demo }\n\
                spec: { targetRefs: [{ group: \"\", kind: Service, name: long }] }\n";
    rig.world.apply(deny).unwrap();
    assert_eq!(rig.client("long", 80).ask("GET", "/", &[], b"").status, 403);
    told.send(()).unwrap();
    let mut rest = [0; 5];
    client.0.read_exact(&mut rest).unwrap();
    assert_eq!(&rest, b"after");
    // The connection lives; its next request is judged anew.
    assert_eq!(client.ask("GET", "/", &[], b"").status, 403);
}

/// The first of them makes the connection, the others wait for it.
#[test]
fn requests_that_come_together_share_a_connection() {
    static OPENED: AtomicUsize = AtomicUsize::new(0);
    static APP: OnceLock<SocketAddr> = OnceLock::new();
    let counting = server(2, |client| {
        OPENED.fetch_add(1, Ordering::SeqCst);
        let app = TcpStream::connect(APP.get().unwrap()).unwrap();
        let (mut from_client, mut to_app) = (client.try_clone().unwrap(), app.try_clone().unwrap());
        let up = std::thread::spawn(move || std::io::copy(&mut from_client, &mut to_app));
        let _ = std::io::copy(&mut &app, &mut &client);
        let _ = client.shutdown(Shutdown::Both);
        let _ = up.join();
    });
    let mut plan = echo();
    plan.servers = vec![("counting", counting, vec!["counting"])];
    let rig = Rig::new(&plan, "");
    APP.set(rig.world.app("v1").unwrap().address()).unwrap();
    let requests = (0..50).map(|turn| h2c::request("GET", &format!("/{turn}"), &[])).collect();
    assert_eq!(h2c::ask_at_once(rig.entry("counting", 80), requests), [200; 50]);
    assert_eq!(OPENED.load(Ordering::SeqCst), 1);
}
