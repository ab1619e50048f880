//! Services that are gone: nothing of them is kept.
use std::io::{Read as _, Write as _};
use std::time::Duration;

use adit_waypoint::settings::Settings;

use super::rig::servers::server;
use super::rig::{PATIENCE, Rig, echo, soon};

#[test]
fn what_was_counted_for_services_that_are_gone_is_forgotten() {
    let (seen, asked) = std::sync::mpsc::channel();
    let (answer, told) = std::sync::mpsc::channel::<()>();
    let told = std::sync::Mutex::new(told);
    let held = server(55, move |mut stream| {
        let mut head = [0; 4096];
        if matches!(stream.read(&mut head), Ok(1..)) {
            let _ = seen.send(());
            let _ = told.lock().unwrap().recv();
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n");
            // Until the waypoint ends it.
            let _ = stream.read(&mut head);
        }
    });
    let mut plan = echo();
    plan.servers = vec![("held", held, vec!["held"])];
    let settings = Settings { sweep: Duration::from_millis(50), ..Settings::default() };
    let rig = Rig::with(&plan, "", settings);
    for service in ["echo-v1", "echo-v2"] {
        assert_eq!(rig.get(service, "/", &[]).status, 200);
    }
    let mut client = rig.client("held", 80);
    client.send("GET /held HTTP/1.1\r\nhost: a\r\n\r\n");
    asked.recv_timeout(PATIENCE).unwrap();
    let name = |service: &str| format!("inbound-vip|80|http|{service}.demo.svc.cluster.local");
    let is =
        |services: &[&str]| rig.world.clusters() == services.iter().map(|service| name(service)).collect();
    assert!(is(&["echo-v1", "echo-v2", "held"]), "{:?}", rig.world.clusters());
    for service in ["echo-v1", "held"] {
        rig.world.remove_service(service).unwrap();
    }
    // Its connection waits for requests that cannot come any more.
    soon(|| is(&["echo-v2", "held"]));
    answer.send(()).unwrap();
    assert_eq!(client.read().status, 200);
    soon(|| is(&["echo-v2"]));
}
