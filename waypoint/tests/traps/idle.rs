//! Connections that nobody uses any more.
use std::io::{Read as _, Write as _};
use std::time::Duration;

use adit_waypoint::settings::Settings;

use super::rig::servers::server;
use super::rig::{PATIENCE, Rig, echo};

const HTTP: &str = "apiVersion: v1\nkind: Service\nmetadata: { name: echo, namespace: demo }\nspec: { ports: [{ name: http, port: 80 }] }\n";

fn settings() -> Settings {
    Settings {
        idle_timeout: Duration::from_millis(500),
        sniff_timeout: Duration::from_millis(100),
        tcp_interval: Duration::from_millis(100),
        ..Settings::default()
    }
}

/// Answers when it is told to; says when it is asked.
fn held(last: u8) -> (std::net::SocketAddr, std::sync::mpsc::Receiver<()>, std::sync::mpsc::Sender<()>) {
    let (seen, asked) = std::sync::mpsc::channel();
    let (answer, told) = std::sync::mpsc::channel::<()>();
    let told = std::sync::Mutex::new(told);
    let address = server(last, move |mut stream| {
        let mut head = [0; 4096];
        if matches!(stream.read(&mut head), Ok(1..)) {
            let _ = seen.send(());
            let _ = told.lock().unwrap().recv();
            let _ = stream.write_all(b"HTTP/1.1 204 No Content\r\n\r\n");
        }
    });
    (address, asked, answer)
}

#[test]
fn http_connections_without_requests_are_ended_and_those_with_one_are_not() {
    let (address, asked, answer) = held(50);
    let mut plan = echo();
    plan.servers = vec![("held", address, vec!["held"])];
    let rig = Rig::with(&plan, HTTP, settings());
    let mut busy = rig.client("held", 80);
    busy.send("GET /busy HTTP/1.1\r\nhost: a\r\n\r\n");
    asked.recv_timeout(PATIENCE).unwrap();
    // These have come later, and are ended before.
    let mut silent = rig.client("echo", 80);
    let mut served = rig.client("echo", 80);
    assert_eq!(served.ask("GET", "/served", &[], b"").status, 200);
    assert_eq!((served.rest(), silent.rest()), (Vec::new(), Vec::new()));
    answer.send(()).unwrap();
    assert_eq!(busy.read().status, 204);
    assert_eq!(busy.rest(), b"");
    // Of connections alone nothing is told.
    assert_eq!(rig.records.lines().len(), 2);
}

#[test]
fn http2_connections_without_requests_are_ended_in_good_order() {
    let rig = Rig::with(&echo(), HTTP, settings());
    let entry = rig.entry("echo", 80);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let ended = async {
        let stream = tokio::net::TcpStream::connect(entry).await.unwrap();
        let (sender, connection) = h2::client::handshake(stream).await.unwrap();
        let connection = tokio::spawn(connection);
        let mut sender = sender.ready().await.unwrap();
        let request = super::rig::h2c::request("GET", "/", &[]);
        let response = sender.send_request(request, true).unwrap().0.await.unwrap();
        assert_eq!(response.status(), 200);
        drop(response);
        // The client would keep it.
        let ended = connection.await.unwrap();
        drop(sender);
        ended
    };
    let ended = runtime.block_on(async { tokio::time::timeout(PATIENCE, ended).await.unwrap() });
    assert!(ended.is_ok(), "{ended:?}");
}

#[test]
fn who_says_nothing_to_a_server_that_says_nothing_is_let_go() {
    let silent = server(51, |mut stream| {
        let _ = stream.read(&mut [0]);
    });
    let mut plan = echo();
    plan.servers = vec![("silent", silent, vec!["silent"])];
    let rule = "apiVersion: networking.istio.io/v1\nkind: DestinationRule\nmetadata: { name: d, namespace: demo }\nspec:\n  \
                host: silent.demo.svc.cluster.local\n  trafficPolicy: { connectionPool: { tcp: { idleTimeout: 0.5s } } }\n";
    let rig = Rig::with(&plan, rule, settings());
    assert_eq!(rig.client("silent", 80).rest(), b"");
}
