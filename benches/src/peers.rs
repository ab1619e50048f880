//! The systems under test: how each is started as an outbound and an inbound process, and where its clients connect.
use std::fs;
use std::io::ErrorKind;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::{Failure, load, place};

/// Processes that carry octets from `entry` to the application.
pub(crate) struct Running {
    pub(crate) entry: SocketAddr,
    /// Proxies, outbound first.
    pub(crate) pids: Vec<u32>,
    children: Vec<Child>,
}

impl Running {
    /// Proxies that somebody else has started.
    pub(crate) fn elsewhere(entry: SocketAddr, pids: Vec<u32>) -> Self {
        Self { entry, pids, children: Vec::new() }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        for child in &mut self.children {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// One thing to measure.
pub(crate) trait System {
    fn name(&self) -> &'static str;
    /// Starts application and proxies, and waits until an octet makes it there and back.
    fn start(&self, site: &Site) -> Result<Running, Failure>;
}

/// Where systems are started.
#[derive(Clone)]
pub(crate) struct Site {
    /// A directory for their files.
    pub(crate) scratch: PathBuf,
    /// Proxies have a CPU of their own.
    pub(crate) pinned: bool,
}

/// Everything there is to compare, in the order it is run.
pub(crate) fn systems(node: &Path, set: &[(String, String)], envoy: Option<&Path>) -> Vec<Box<dyn System>> {
    let mut all: Vec<Box<dyn System>> = vec![
        Box::new(Adit { node: node.into(), runtime: "tokio", set: set.into() }),
        Box::new(Adit { node: node.into(), runtime: "smol", set: set.into() }),
        Box::new(Standin { workers: 1 }),
        Box::new(Standin { workers: 2 }),
        Box::new(Copy),
    ];
    if let Some(envoy) = envoy {
        all.push(Box::new(Envoy { binary: envoy.into() }));
    }
    all
}

/// A free port of `host` that the kernel gives to nobody by itself: below the range from which it takes the ports of those
/// who ask for any.
fn free(host: Ipv4Addr) -> Result<SocketAddr, Failure> {
    static NEXT: AtomicU16 = AtomicU16::new(10_000);
    loop {
        let address = SocketAddr::from((host, NEXT.fetch_add(1, Ordering::Relaxed)));
        match TcpListener::bind(address) {
            Err(error) if error.kind() == ErrorKind::AddrInUse && address.port() < 30_000 => {}
            bound => return Ok(bound?.local_addr()?),
        }
    }
}

const CLIENT: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);
const SERVER: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 3);

struct Start {
    site: Site,
    children: Vec<Child>,
    pids: Vec<u32>,
    app: SocketAddr,
}

impl Start {
    fn new(site: &Site) -> Result<Self, Failure> {
        let app = free(SERVER)?;
        let mut start = Self { site: site.clone(), children: Vec::new(), pids: Vec::new(), app };
        start.spawn(this()?.args(["app", "--listen", &app.to_string()]), false)?;
        Ok(start)
    }

    fn spawn(&mut self, command: &mut Command, measured: bool) -> Result<(), Failure> {
        let log =
            fs::File::options().create(true).append(true).open(self.site.scratch.join("processes.log"))?;
        // A child and its threads start where this thread is.
        let elsewhere = measured && self.site.pinned;
        if elsewhere {
            place::on(place::PROXIES)?;
        }
        let child = command
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .map_err(|error| format!("{}: {error}", command.get_program().display()))?;
        if elsewhere {
            place::on(place::LOAD)?;
        }
        if measured {
            self.pids.push(child.id());
        }
        self.children.push(child);
        Ok(())
    }

    fn ready(self, entry: SocketAddr) -> Result<Running, Failure> {
        let running = Running { entry, pids: self.pids, children: self.children };
        let end = Instant::now() + Duration::from_secs(15);
        while !load::alive(entry) {
            if Instant::now() > end {
                let log = fs::read_to_string(self.site.scratch.join("processes.log")).unwrap_or_default();
                return Err(format!("not ready after 15 s; the processes said:\n{log}").into());
            }
            thread::sleep(Duration::from_millis(50));
        }
        Ok(running)
    }
}

fn this() -> Result<Command, Failure> {
    Ok(Command::new(std::env::current_exe()?))
}

struct Copy;

impl System for Copy {
    fn name(&self) -> &'static str {
        "copy"
    }

    fn start(&self, site: &Site) -> Result<Running, Failure> {
        let mut start = Start::new(site)?;
        let (out, inn) = (free(CLIENT)?, free(SERVER)?);
        let app = start.app;
        start.spawn(this()?.args(["copy", "--listen", &out.to_string(), "--to", &inn.to_string()]), true)?;
        start.spawn(this()?.args(["copy", "--listen", &inn.to_string(), "--to", &app.to_string()]), true)?;
        start.ready(out)
    }
}

struct Standin {
    workers: usize,
}

impl System for Standin {
    fn name(&self) -> &'static str {
        if self.workers == 1 { "standin-1" } else { "standin-2" }
    }

    fn start(&self, site: &Site) -> Result<Running, Failure> {
        let mut start = Start::new(site)?;
        let (out, inn) = (free(CLIENT)?, free(SERVER)?);
        let (app, workers) = (start.app.to_string(), self.workers.to_string());
        let pki = site.scratch.display().to_string();
        let (listen, peer) = (out.to_string(), inn.to_string());
        start.spawn(
            this()?.args([
                "standin-out",
                "--listen",
                &listen,
                "--peer",
                &peer,
                "--target",
                &app,
                "--pki",
                &pki,
                "--workers",
                &workers,
            ]),
            true,
        )?;
        start.spawn(
            this()?.args(["standin-in", "--listen", &peer, "--pki", &pki, "--workers", &workers]),
            true,
        )?;
        start.ready(out)
    }
}

struct Adit {
    node: PathBuf,
    runtime: &'static str,
    set: Vec<(String, String)>,
}

impl System for Adit {
    fn name(&self) -> &'static str {
        if self.runtime == "tokio" { "adit-tokio" } else { "adit-smol" }
    }

    fn start(&self, site: &Site) -> Result<Running, Failure> {
        let mut start = Start::new(site)?;
        let config = site.scratch.join("mesh.yaml");
        fs::write(&config, MESH)?;
        let entry = free(CLIENT)?;
        for (bind, name, entry) in
            [(CLIENT, "client", Some(format!("{entry}={}", start.app))), (SERVER, "server", None)]
        {
            let mut command = Command::new(&self.node);
            command
                .args(["proxy", "--runtime", self.runtime])
                .env_clear()
                .env("PROXY_MODE", "dedicated")
                .env("PROXY_WORKLOAD_INFO", format!("bench/{name}/{name}"))
                .env("LOCAL_XDS_PATH", &config)
                .env("FAKE_CA", "true")
                .env("LOCAL_CA_DIR", site.scratch.join("ca"))
                .env("ADIT_BIND_ADDRESS", bind.to_string())
                .env("ADIT_READINESS_PORT", "0")
                .env("ADIT_STATS_PORT", "0")
                .env("ADIT_ADMIN_PORT", "0")
                .env("RUST_LOG", "warn,access=off")
                .envs(self.set.iter().map(|(name, value)| (name, value)));
            if let Some(entry) = entry {
                command.env("ADIT_ENTRY", entry);
            }
            start.spawn(&mut command, true)?;
        }
        start.ready(entry)
    }
}

const MESH: &str = r#"
workloads:
- uid: Kubernetes//Pod/bench/client
  name: client
  namespace: bench
  serviceAccount: client
  workloadIps: ["127.0.0.2"]
  protocol: HBONE
  services: {}
- uid: Kubernetes//Pod/bench/server
  name: server
  namespace: bench
  serviceAccount: server
  workloadIps: ["127.0.0.3"]
  protocol: HBONE
  services: {}
services: []
policies: []
"#;

struct Envoy {
    binary: PathBuf,
}

impl System for Envoy {
    fn name(&self) -> &'static str {
        "envoy-tcp"
    }

    fn start(&self, site: &Site) -> Result<Running, Failure> {
        let mut start = Start::new(site)?;
        let (out, inn) = (free(CLIENT)?, free(SERVER)?);
        for (id, (listen, to)) in [(out, inn), (inn, start.app)].into_iter().enumerate() {
            let config = site.scratch.join(format!("envoy-{id}.yaml"));
            fs::write(&config, envoy_config(listen, to))?;
            let mut command = Command::new(&self.binary);
            command.args(["--concurrency", "1", "--disable-hot-restart", "-l", "error", "-c"]).arg(&config);
            start.spawn(&mut command, true)?;
        }
        start.ready(out)
    }
}

fn envoy_config(listen: SocketAddr, to: SocketAddr) -> String {
    let address =
        |a: SocketAddr| format!("{{socket_address: {{address: {}, port_value: {}}}}}", a.ip(), a.port());
    let (listen, to) = (address(listen), address(to));
    format!(
        "
static_resources:
  listeners:
  - address: {listen}
    filter_chains:
    - filters:
      - name: envoy.filters.network.tcp_proxy
        typed_config:
          \"@type\": type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy
          stat_prefix: copy
          cluster: to
  clusters:
  - name: to
    type: STATIC
    load_assignment:
      cluster_name: to
      endpoints: [{{lb_endpoints: [{{endpoint: {{address: {to}}}}}]}}]
"
    )
}
