//! Real `adit-node` processes on loopback, and clients for them.
#![allow(dead_code, reason = "each test file uses a part of this")]

use std::fmt::Write as _;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// How long anything may take on a busy machine before a test fails.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// The service's own address, which only the mesh knows.
pub(crate) const VIP: Ipv4Addr = Ipv4Addr::new(240, 240, 0, 9);

/// Both runtimes: every test body runs on each.
pub(crate) const RUNTIMES: [&str; 2] = ["tokio", "smol"];

/// A directory that goes with the test.
pub(crate) struct Directory(PathBuf);

impl Directory {
    pub(crate) fn new(name: &str) -> Self {
        let unique = format!("adit-{name}-{}-{:?}", std::process::id(), std::thread::current().id());
        let path = std::env::temp_dir().join(unique.replace(['(', ')'], ""));
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A process, its output so far, and its end.
pub(crate) struct Process {
    child: Child,
    output: Arc<Mutex<String>>,
    readers: Vec<JoinHandle<()>>,
}

impl Process {
    /// Starts `adit-node` with nothing in its environment but `vars`.
    pub(crate) fn start(arguments: &[&str], vars: &[(&str, String)]) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_adit-node"))
            .args(arguments)
            .env_clear()
            .envs(vars.iter().map(|(name, value)| (*name, value.as_str())))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let output = Arc::new(Mutex::new(String::new()));
        let stdout = collect(child.stdout.take().unwrap(), "out", &output);
        let stderr = collect(child.stderr.take().unwrap(), "err", &output);
        Self { child, output, readers: vec![stdout, stderr] }
    }

    /// Everything it wrote; each line begins with `out: ` or `err: `.
    pub(crate) fn output(&self) -> String {
        self.output.lock().unwrap().clone()
    }

    /// Waits for a line that contains all of `parts`, and returns it.
    pub(crate) fn line(&mut self, parts: &[&str]) -> String {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let output = self.output();
            if let Some(line) = output.lines().find(|line| parts.iter().all(|part| line.contains(part))) {
                return line.to_owned();
            }
            let ended = self.child.try_wait().unwrap();
            assert!(
                Instant::now() < deadline && ended.is_none(),
                "no line with {parts:?}; {ended:?}\n{output}"
            );
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    pub(crate) fn signal(&self, signal: rustix::process::Signal) {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, signal).unwrap();
    }

    pub(crate) fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// Waits for its end.
    pub(crate) fn end(&mut self) -> ExitStatus {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                for reader in self.readers.drain(..) {
                    reader.join().unwrap();
                }
                return status;
            }
            assert!(Instant::now() < deadline, "the process does not end\n{}", self.output());
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// How many descriptors it holds.
    pub(crate) fn descriptors(&self) -> usize {
        std::fs::read_dir(format!("/proc/{}/fd", self.child.id())).unwrap().count()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn collect(
    from: impl Read + Send + 'static,
    name: &'static str,
    into: &Arc<Mutex<String>>,
) -> JoinHandle<()> {
    let into = Arc::clone(into);
    std::thread::spawn(move || {
        for line in BufReader::new(from).lines().map_while(Result::ok) {
            let _ = writeln!(into.lock().unwrap(), "{name}: {line}");
        }
    })
}

/// Gives each mesh of this process addresses of its own in 127.0.0.0/8: tests run side by side, and HBONE needs the same
/// port on both proxies. The second octet comes from the process, so that test binaries do not meet either.
pub(crate) fn addresses() -> (Ipv4Addr, Ipv4Addr) {
    static NEXT: AtomicU8 = AtomicU8::new(1);
    let n = NEXT.fetch_add(1, Ordering::Relaxed);
    let process = std::process::id().to_le_bytes();
    let octet = |octet: u8| octet % 250 + 2;
    (
        Ipv4Addr::new(127, octet(process[0]), octet(process[1]), n * 2),
        Ipv4Addr::new(127, octet(process[0]), octet(process[1]), n * 2 + 1),
    )
}

/// Two workloads, `client` and `server`, each with a proxy, and an application behind the second.
pub(crate) struct Mesh {
    pub(crate) directory: Directory,
    pub(crate) client: Process,
    pub(crate) server: Process,
    pub(crate) client_ip: Ipv4Addr,
    pub(crate) server_ip: Ipv4Addr,
}

const HBONE_PORT: u16 = 15008;
const READINESS_PORT: u16 = 15021;
const SOCKS5_PORT: u16 = 15080;
const ENTRY_PORT: u16 = 15090;

impl Mesh {
    /// Starts both proxies on `runtime` and waits until they listen. `{workload}` in `more` is `client` or `server`. `application` listens on `server_ip`, see
    /// [`application`]; service port 80 leads to it, and port 81 as well, but a policy closes 81's target.
    pub(crate) fn start(
        name: &str,
        runtime: &str,
        more: &[(&str, &str)],
        application: fn(TcpStream),
    ) -> Self {
        let directory = Directory::new(name);
        let (client_ip, server_ip) = addresses();
        let open = serve(server_ip, application);
        let closed = serve(server_ip, application);
        std::fs::write(directory.path().join("mesh.yaml"), yaml(client_ip, server_ip, open, closed)).unwrap();
        let start = |workload: &str, ip: Ipv4Addr| {
            let mut vars = vars(&directory, workload, ip);
            vars.extend(more.iter().map(|(name, value)| (*name, value.replace("{workload}", workload))));
            if workload == "client" {
                vars.push(("ADIT_ENTRY", format!("{ip}:{ENTRY_PORT}={VIP}:80")));
            }
            Process::start(&["proxy", "--runtime", runtime, "ztunnel"], &vars)
        };
        let (mut client, mut server) = (start("client", client_ip), start("server", server_ip));
        client.line(&["listening"]);
        server.line(&["listening"]);
        Self { directory, client, server, client_ip, server_ip }
    }

    /// Starts a further proxy for the server's workload, as after a crash.
    pub(crate) fn restart_server(&mut self, runtime: &str) {
        let vars = vars(&self.directory, "server", self.server_ip);
        self.server = Process::start(&["proxy", "--runtime", runtime], &vars);
        self.server.line(&["listening"]);
    }

    /// A connection to the service through the client's SOCKS5 port.
    pub(crate) fn connect(&self, port: u16) -> io::Result<TcpStream> {
        let (stream, code) = self.socks5(&[&[1][..], &VIP.octets(), &port.to_be_bytes()].concat())?;
        assert_eq!(code, 0);
        Ok(stream)
    }

    /// A SOCKS5 request and the code of its answer.
    pub(crate) fn socks5(&self, target: &[u8]) -> io::Result<(TcpStream, u8)> {
        socks5(self.client_ip, target)
    }

    pub(crate) fn client_readiness(&self) -> SocketAddr {
        (self.client_ip, READINESS_PORT).into()
    }

    /// What connects here is captured on its way to the service's port 80.
    pub(crate) fn client_entry(&self) -> SocketAddr {
        (self.client_ip, ENTRY_PORT).into()
    }

    pub(crate) fn server_hbone(&self) -> SocketAddr {
        (self.server_ip, HBONE_PORT).into()
    }
}

/// A SOCKS5 request to the proxy at `ip`, and the code of its answer.
pub(crate) fn socks5(ip: Ipv4Addr, target: &[u8]) -> io::Result<(TcpStream, u8)> {
    let mut stream = TcpStream::connect((ip, SOCKS5_PORT))?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    stream.write_all(&[5, 1, 0])?;
    stream.read_exact(&mut [0; 2])?;
    stream.write_all(&[&[5, 1, 0], target].concat())?;
    let mut reply = [0; 10];
    stream.read_exact(&mut reply)?;
    Ok((stream, reply[1]))
}

/// The environment of a proxy for `workload` at `ip`.
pub(crate) fn vars(directory: &Directory, workload: &str, ip: Ipv4Addr) -> Vec<(&'static str, String)> {
    let path = |name: &str| directory.path().join(name).display().to_string();
    vec![
        ("LOCAL_XDS_PATH", path("mesh.yaml")),
        ("PROXY_MODE", "dedicated".to_owned()),
        ("PROXY_WORKLOAD_INFO", format!("test/{workload}/{workload}")),
        ("FAKE_CA", "true".to_owned()),
        ("LOCAL_CA_DIR", path("ca")),
        ("ADIT_BIND_ADDRESS", ip.to_string()),
        ("UNSTABLE_ENABLE_SOCKS5", "true".to_owned()),
        ("ENABLE_ORIG_SRC", "false".to_owned()),
    ]
}

pub(crate) fn yaml(client: Ipv4Addr, server: Ipv4Addr, open: SocketAddr, closed: SocketAddr) -> String {
    let (open, closed) = (open.port(), closed.port());
    format!(
        "workloads:
- {{ name: client, namespace: test, serviceAccount: client, workloadIps: [{client}], protocol: HBONE, services: {{}} }}
- name: server
  namespace: test
  serviceAccount: server
  workloadIps: [{server}]
  protocol: HBONE
  services: {{ test/server.test: {{ 80: {open}, 81: {closed} }} }}
services:
- name: server
  namespace: test
  hostname: server.test
  vips: [/{VIP}]
  ports: {{ 80: {open}, 81: {closed} }}
policies:
- name: closed
  namespace: test
  scope: Namespace
  action: Deny
  rules: [[[{{ destinationPorts: [{closed}] }}]]]
"
    )
}

/// Serves each connection to a free port of `ip` on a thread of its own.
pub(crate) fn serve(ip: Ipv4Addr, application: fn(TcpStream)) -> SocketAddr {
    let listener = TcpListener::bind((ip, 0)).unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            std::thread::spawn(move || application(stream));
        }
    });
    address
}

/// An application that repeats octets and ends when its client ends.
pub(crate) fn echo(mut stream: TcpStream) {
    let _ = stream.try_clone().and_then(|mut from| io::copy(&mut from, &mut stream));
    let _ = stream.shutdown(std::net::Shutdown::Write);
}

/// Octets that do not repeat soon.
pub(crate) fn pattern(length: usize, seed: u64) -> Vec<u8> {
    let mut state = seed | 1;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 56) as u8
    };
    (0..length).map(|_| next()).collect()
}

/// The whole answer to one request.
pub(crate) fn ask(address: SocketAddr, request: &str) -> io::Result<String> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(request.as_bytes())?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}
