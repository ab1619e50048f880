//! HTTP from a client's proxy through a waypoint to an endpoint's proxy, over real sockets on loopback.
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use adit_waypoint::demo::world::{Plan, Records, World};
use adit_waypoint::settings::Settings;

fn ask(address: SocketAddr, request: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

#[test]
fn a_request_goes_through() {
    let plan = Plan {
        clients: vec!["web"],
        apps: vec![("v1", vec!["echo", "echo-v1"]), ("v2", vec!["echo", "echo-v2"])],
        ports: vec![80],
        ..Plan::default()
    };
    let records = Records::default();
    let world = World::start(&plan, "", Settings::default(), records.recorders()).unwrap();
    let entry = world.entry("web", "echo-v1", 80).unwrap();
    let answer = ask(entry, "GET /a?b HTTP/1.1\r\nhost: echo\r\nconnection: close\r\n\r\n");
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.contains("\"app\":\"v1\""), "{answer}");
    println!("{answer}\n{:?}", records.lines());
}
