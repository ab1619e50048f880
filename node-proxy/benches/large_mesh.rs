//! A real process and a large mesh from a control plane: how soon it is ready, and what it costs to hold.
//!
//! `cargo bench -p adit-node --bench large_mesh [-- WORKLOADS]`; 100 000 unless told otherwise, and a service for each 20.
use std::error::Error;
use std::fs;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use adit_node::thread::TokioThread;
use adit_testkit::istiod::Istiod;
use adit_testkit::istiod::large::{REPLICAS, service, workload};

const PATIENCE: Duration = Duration::from_secs(120);
const POLL: Duration = Duration::from_millis(1);

fn main() -> Result<(), Box<dyn Error>> {
    // Cargo says `--bench` too.
    let count = std::env::args().skip(1).find_map(|argument| argument.parse().ok()).unwrap_or(100_000);
    let thread = TokioThread::start("istiod")?;
    let istiod = thread.wait(Istiod::start("istiod.test"));
    {
        let _entered = thread.enter();
        istiod.ads.set_services((0..count / REPLICAS).map(service));
        istiod.ads.set_workloads((0..count).map(workload));
        istiod.ads.hold(true);
    }
    let root = std::env::temp_dir().join(format!("adit-large-mesh-{}.pem", std::process::id()));
    fs::write(&root, istiod.root())?;
    let node = Node(
        Command::new(env!("CARGO_BIN_EXE_adit-node"))
            .env_clear()
            .envs([
                ("PROXY_MODE", "dedicated"),
                ("PROXY_WORKLOAD_INFO", "namespace-0/application-0-0/application-0"),
                ("FAKE_CA", "true"),
                ("NETWORK", "network-1"),
                ("ALT_XDS_HOSTNAME", "istiod.test"),
                ("ADIT_BIND_ADDRESS", "127.77.0.1"),
                ("RUST_LOG", "warn"),
            ])
            .env("XDS_ADDRESS", format!("https://{}", istiod.address()))
            .env("XDS_ROOT_CA", &root)
            .stdin(Stdio::null())
            .spawn()?,
    );
    let asked = thread.wait(istiod.ads.request(|_| true));
    drop(asked);
    let before = node.memory("VmRSS:")?;
    let begun = Instant::now();
    istiod.ads.hold(false);
    while !is_ready() {
        assert!(begun.elapsed() < PATIENCE, "not ready in time");
        std::thread::sleep(POLL);
    }
    let ready = Instant::now();
    let took = ready - begun;
    // Whatever the control plane said after it was ready is too late to be waited for.
    let after_delivery = istiod.last_spoke().map_or(took, |last| ready.saturating_duration_since(last));
    let peak = node.memory("VmHWM:")?;
    // Memory that was needed only for the loading goes back to the system.
    std::thread::sleep(Duration::from_secs(2));
    let after = node.memory("VmRSS:")?;
    println!(
        "{count} workloads: ready {took:.2?} after the control plane may speak, {after_delivery:.2?} after its last octet; \
         resident {:.1} MiB before, {:.1} MiB after, {:.1} MiB at most ({:.2} of after)",
        before / 1024.0,
        after / 1024.0,
        peak / 1024.0,
        peak / after
    );
    fs::remove_file(root)?;
    Ok(())
}

/// Whether the process says that it is ready.
fn is_ready() -> bool {
    use std::io::{Read as _, Write as _};
    let Ok(mut stream) = std::net::TcpStream::connect("127.77.0.1:15021") else { return false };
    let mut answer = String::new();
    stream.write_all(b"GET /healthz/ready HTTP/1.0\r\nhost: x\r\n\r\n").is_ok()
        && stream.read_to_string(&mut answer).is_ok()
        && answer.contains("200 OK")
}

/// The process; it goes with this one.
struct Node(Child);

impl Node {
    /// A line of its status, in KiB.
    fn memory(&self, line: &str) -> Result<f64, Box<dyn Error>> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.0.id()))?;
        let line = status.lines().find_map(|found| found.strip_prefix(line)).ok_or("no such line")?;
        Ok(line.split_whitespace().next().unwrap_or_default().parse()?)
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
