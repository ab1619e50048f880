//! The program itself: what it says while it waits for a cluster, and when it is ready.
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Instant;

use adit_testkit::apiserver::{ApiServer, GATEWAY_API, ISTIO, KUBERNETES};

use super::rig::{PATIENCE, soon};
use super::{MESH, route};

const WORKLOADS: &str = "
workloads:
- {name: waypoint, workloadName: waypoint, namespace: demo, serviceAccount: waypoint, workloadIps: [127.99.0.1], protocol: HBONE, services: {}}
services:
- {name: shop, namespace: demo, hostname: shop.demo.svc.cluster.local, vips: [/240.240.9.1], ports: {80: 80}, waypoint: {destination: /127.99.0.1, hboneMtlsPort: 15008}}
policies: []
";

/// A loopback address that no other test has: ports on it are as they are in a pod.
fn own() -> Ipv4Addr {
    let [high, low] = u16::try_from(std::process::id() % 65000).unwrap().to_be_bytes();
    Ipv4Addr::new(127, 99, high, low.max(1))
}

/// The program, and the lines that it says.
struct Program {
    child: Child,
    lines: Receiver<String>,
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Program {
    fn start(kubeconfig: &std::path::Path, arguments: &[&str]) -> Self {
        let vars = [
            ("KUBECONFIG", kubeconfig.display().to_string()),
            ("PROXY_MODE", "dedicated".to_owned()),
            ("PROXY_WORKLOAD_INFO", "demo/waypoint/waypoint".to_owned()),
            ("LOCAL_XDS", WORKLOADS.to_owned()),
            ("FAKE_CA", "true".to_owned()),
            ("ADIT_BIND_ADDRESS", own().to_string()),
            ("ADIT_ADMIN_PORT", "0".to_owned()),
            ("ZTUNNEL_WORKER_THREADS", "1".to_owned()),
            ("LOG_FORMAT", "json".to_owned()),
        ];
        let mut child = Command::new(env!("CARGO_BIN_EXE_adit-waypoint"))
            .arg("proxy")
            .args(arguments)
            .env_clear()
            .envs(vars)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let stderr = child.stderr.take().unwrap();
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        Self { child, lines }
    }

    /// Waits for a line with all of these.
    fn line(&self, parts: &[&str]) -> String {
        let deadline = Instant::now() + PATIENCE;
        let mut said = Vec::new();
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.lines.recv_timeout(left) {
                Ok(line) if parts.iter().all(|part| line.contains(part)) => return line,
                Ok(line) => said.push(line),
                Err(error) => panic!("no line with {parts:?}: {error}\n{}", said.join("\n")),
            }
        }
    }
}

/// A kubeconfig that goes with the test.
struct File(std::path::PathBuf);

impl Drop for File {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

/// The status and the text of a page.
fn page(address: SocketAddr, path: &str) -> (u16, String) {
    let mut stream = TcpStream::connect_timeout(&address, PATIENCE).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    let status = text.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap();
    (status, text)
}

#[test]
fn it_is_ready_when_all_is_known_and_tells_what_it_watches() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let server = runtime.block_on(ApiServer::start(&[KUBERNETES, GATEWAY_API, ISTIO].concat()));
    server.apply(MESH);
    server.apply(&route("{backendRefs: [{name: nobody, port: 80}]}"));
    server.forbid("list", "authorizationpolicies", true);
    let file = File(std::env::temp_dir().join(format!("adit-kubeconfig-{}", std::process::id())));
    std::fs::write(&file.0, server.kubeconfig()).unwrap();
    let program = Program::start(&file.0, &["--config-source", "cluster"]);
    let [ready, stats] = [15021, 15020].map(|port| SocketAddr::from((own(), port)));
    // It may not read the policies: nobody knows what they forbid.
    let told = program.line(&["AuthorizationPolicy may not be read"]);
    assert!(told.contains("`list` and `watch`"), "{told}");
    assert_eq!(page(ready, "/healthz/ready").0, 500);
    server.forbid("list", "authorizationpolicies", false);
    program.line(&["HTTPRoute demo/shop", "BackendNotFound"]);
    program.line(&["listening", "cluster"]);
    soon(|| page(ready, "/healthz/ready").0 == 200);
    let (_, metrics) = page(stats, "/metrics");
    assert!(metrics.contains("adit_resource_watches "), "{metrics}");
    let told = server.until("httproutes", "demo", "shop", |route| !route["status"].is_null());
    let route = runtime.block_on(async { tokio::time::timeout(PATIENCE, told).await }).unwrap();
    assert_eq!(route["status"]["parents"][0]["controllerName"], "adit.dev/waypoint");
}
