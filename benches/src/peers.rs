//! The systems under test: how each is started as an outbound and an inbound process, and where its clients connect.
use std::fs;
use std::io::ErrorKind;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::fd::BorrowedFd;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use crate::{Failure, load, place};

/// Where the processes of a system live, if not beside this one.
pub(crate) trait World {
    /// The network namespace in which clients are.
    fn clients(&self) -> BorrowedFd<'_>;

    /// Whether the proxies say that they are ready.
    fn is_ready(&self) -> bool;

    /// Whether tunnels are open, and not only connections that go past the proxies.
    fn has_tunnels(&self) -> Result<bool, Failure>;

    /// Has the control plane tell the proxies of so many workloads, and waits until they have said that they took them.
    fn push(&self, workloads: u32) -> Result<(), Failure>;
}

/// Processes that carry octets from `entry` to the application.
pub(crate) struct Running {
    entry: SocketAddr,
    /// Proxies, outbound first.
    pub(crate) pids: Vec<u32>,
    children: Vec<Child>,
    /// Ends after its processes.
    pub(crate) world: Option<Box<dyn World>>,
}

impl Running {
    /// Proxies that somebody else has started.
    pub(crate) fn elsewhere(entry: SocketAddr, pids: Vec<u32>) -> Self {
        Self { entry, pids, children: Vec::new(), world: None }
    }

    /// Runs `work`, which is told where to connect, where clients are. Threads that it starts are there, too.
    pub(crate) fn clients<T: Send>(
        &self,
        work: impl FnOnce(SocketAddr) -> Result<T, Failure> + Send,
    ) -> Result<T, Failure> {
        let Some(world) = &self.world else { return work(self.entry) };
        let (namespace, entry) = (world.clients(), self.entry);
        thread::scope(|scope| {
            let inside = scope.spawn(move || {
                move_into_link_name_space(namespace, Some(LinkNameSpaceType::Network))?;
                work(entry)
            });
            inside.join().map_err(|_| "the load panicked")?
        })
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
pub(crate) fn free(host: Ipv4Addr) -> Result<SocketAddr, Failure> {
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

/// A system that is being started.
pub(crate) struct Start {
    site: Site,
    running: Running,
}

impl Start {
    /// Nothing runs yet; connections to `entry` shall be carried.
    pub(crate) fn new(site: &Site, entry: SocketAddr, world: Option<Box<dyn World>>) -> Self {
        let mut running = Running::elsewhere(entry, Vec::new());
        running.world = world;
        Self { site: site.clone(), running }
    }

    /// Starts a process; its CPU time and memory are what is looked at if it is `measured`.
    pub(crate) fn spawn(&mut self, command: &mut Command, measured: bool) -> Result<(), Failure> {
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
            self.running.pids.push(child.id());
        }
        self.running.children.push(child);
        Ok(())
    }

    /// Waits until the proxies say that they are ready, or else until an octet makes it there and back.
    pub(crate) fn ready(self) -> Result<Running, Failure> {
        self.ready_when(|running| match &running.world {
            Some(world) => world.is_ready(),
            None => load::alive(running.entry),
        })
    }

    /// Waits until `ready` says so.
    pub(crate) fn ready_when(self, ready: impl Fn(&Running) -> bool) -> Result<Running, Failure> {
        let end = Instant::now() + Duration::from_secs(15);
        while !ready(&self.running) {
            if Instant::now() > end {
                let log = fs::read_to_string(self.site.scratch.join("processes.log")).unwrap_or_default();
                return Err(format!("not ready after 15 s; the processes said:\n{log}").into());
            }
            thread::sleep(Duration::from_millis(50));
        }
        Ok(self.running)
    }
}

/// Proxies on loopback, with an application.
struct Local {
    start: Start,
    app: SocketAddr,
    entry: SocketAddr,
}

impl Local {
    fn new(site: &Site) -> Result<Self, Failure> {
        let (app, entry) = (free(SERVER)?, free(CLIENT)?);
        let mut start = Start::new(site, entry, None);
        start.spawn(this()?.args(["app", "--listen", &app.to_string()]), false)?;
        Ok(Self { start, app, entry })
    }

    fn spawn(&mut self, command: &mut Command) -> Result<(), Failure> {
        self.start.spawn(command, true)
    }

    fn ready(self) -> Result<Running, Failure> {
        self.start.ready()
    }
}

/// This program, to be started again.
pub(crate) fn this() -> Result<Command, Failure> {
    Ok(Command::new(std::env::current_exe()?))
}

struct Copy;

impl System for Copy {
    fn name(&self) -> &'static str {
        "copy"
    }

    fn start(&self, site: &Site) -> Result<Running, Failure> {
        let mut local = Local::new(site)?;
        let (out, inn, app) = (local.entry.to_string(), free(SERVER)?.to_string(), local.app.to_string());
        local.spawn(this()?.args(["copy", "--listen", &out, "--to", &inn]))?;
        local.spawn(this()?.args(["copy", "--listen", &inn, "--to", &app]))?;
        local.ready()
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
        let mut local = Local::new(site)?;
        let (listen, peer, app) = (local.entry.to_string(), free(SERVER)?.to_string(), local.app.to_string());
        let (pki, workers) = (site.scratch.display().to_string(), self.workers.to_string());
        let common = ["--pki", &pki, "--workers", &workers];
        let out = ["standin-out", "--listen", &listen, "--peer", &peer, "--target", &app];
        local.spawn(this()?.args(out).args(common))?;
        local.spawn(this()?.args(["standin-in", "--listen", &peer]).args(common))?;
        local.ready()
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
        let mut local = Local::new(site)?;
        let config = site.scratch.join("mesh.yaml");
        fs::write(&config, MESH)?;
        let entry = format!("{}={}", local.entry, local.app);
        for (bind, name, entry) in [(CLIENT, "client", Some(entry)), (SERVER, "server", None)] {
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
            local.spawn(&mut command)?;
        }
        local.ready()
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
        let mut local = Local::new(site)?;
        let inn = free(SERVER)?;
        for (id, (listen, to)) in [(local.entry, inn), (inn, local.app)].into_iter().enumerate() {
            let config = site.scratch.join(format!("envoy-{id}.yaml"));
            fs::write(&config, envoy_config(listen, to))?;
            let mut command = Command::new(&self.binary);
            command.args(["--concurrency", "1", "--disable-hot-restart", "-l", "error", "-c"]).arg(&config);
            local.spawn(&mut command)?;
        }
        local.ready()
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
