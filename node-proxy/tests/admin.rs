//! Metrics and admin pages of real processes, while a connection is open between them.
mod common;

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr};

use common::{Mesh, ask, echo};

fn get(ip: Ipv4Addr, port: u16, method: &str, target: &str) -> String {
    let request = format!("{method} {target} HTTP/1.0\r\nhost: x\r\n\r\n");
    ask(SocketAddr::from((ip, port)), &request).unwrap()
}

#[test]
fn a_live_connection_is_counted_and_shown() {
    let mut mesh = Mesh::start("admin", "tokio", &[("ISTIO_META_ISTIO_VERSION", "1.30.0")], echo);
    let mut stream = mesh.connect(80).unwrap();
    stream.write_all(b"hello").unwrap();
    stream.read_exact(&mut [0; 5]).unwrap();

    // Its octets show while it lives, at both ends.
    for (ip, reporter) in [(mesh.client_ip, "source"), (mesh.server_ip, "destination")] {
        let text = get(ip, 15020, "GET", "/metrics");
        let line = |name: &str| {
            let start = format!("{name}{{reporter=\"{reporter}\"");
            let line = text.lines().find(|line| line.starts_with(&start));
            line.unwrap_or_else(|| panic!("{start} is missing in {text}")).to_owned()
        };
        for name in ["istio_tcp_received_bytes_total", "istio_tcp_sent_bytes_total"] {
            assert!(line(name).ends_with("} 5"), "{}", line(name));
        }
        let opened = line("istio_tcp_connections_opened_total");
        assert!(opened.contains("source_principal=\"spiffe://cluster.local/ns/test/sa/client\""), "{opened}");
        assert!(opened.contains("destination_service=\"server.test\""), "{opened}");
        assert!(
            opened.contains("connection_security_policy=\"mutual_tls\"") && opened.ends_with("} 1"),
            "{opened}"
        );
        assert!(text.contains("istio_build{component=\"ztunnel\",tag=\"1.30.0\"} 1"), "{text}");
    }

    let answer = get(mesh.client_ip, 15000, "GET", "/config_dump");
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.contains("content-type: application/json"), "{head}");
    let dump: serde_json::Value =
        serde_json::from_str(body).unwrap_or_else(|error| panic!("{error}: {body}"));
    let proxies: Vec<_> = dump["workloadState"].as_object().unwrap().values().collect();
    let outbound = &proxies[0]["connections"]["outbound"][0];
    assert_eq!((proxies[0]["state"].as_str(), outbound["protocol"].as_str()), (Some("Up"), Some("HBONE")));
    assert_eq!(outbound["actualDst"], mesh.server_hbone().to_string());
    assert_eq!(dump["certificates"][0]["state"], "Available");
    assert_eq!(dump["certificates"][0]["identity"], "spiffe://cluster.local/ns/test/sa/client");
    assert_eq!(dump["workloads"].as_array().unwrap().len(), 2);
    assert_eq!(dump["config"]["proxyMode"], "Dedicated");

    // The client's process says more about itself once it is told to, and ends when it is told to.
    assert!(get(mesh.client_ip, 15000, "POST", "/logging?level=access:debug").contains("info,access=debug"));
    drop(stream);
    drop(mesh.connect(80).unwrap());
    mesh.client.line(&["out: ", "\tdebug\taccess\tconnection opened\t"]);
    assert!(get(mesh.client_ip, 15000, "POST", "/quitquitquit").ends_with("shutdown now\n"));
    assert!(mesh.client.end().success());
}
