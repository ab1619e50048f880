//! A proxy is replaced by another under load, again and again: the listening sockets are handed over, and nobody who connects
//! is refused or cut off.
mod common;

use std::io::{self, Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use common::{Directory, Mesh, PATIENCE, Process, RUNTIMES, ask, echo, vars};
use rustix::process::Signal;

/// Replacements of each proxy of the pair, on each runtime.
const REPLACEMENTS: usize = 5;
/// Clients that connect all the time.
const CLIENTS: usize = 4;

/// One connection: something goes there, comes back, and both ends end.
fn exchange(entry: SocketAddr) -> io::Result<()> {
    let mut stream = TcpStream::connect(entry)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(b"replaced?")?;
    stream.shutdown(Shutdown::Write)?;
    let mut back = Vec::new();
    stream.read_to_end(&mut back)?;
    if back == b"replaced?" { Ok(()) } else { Err(io::Error::other(format!("{back:?} came back"))) }
}

/// Clients, until they are told to stop.
struct Load {
    stop: Arc<AtomicBool>,
    done: Arc<AtomicUsize>,
    threads: Vec<thread::JoinHandle<Vec<io::Error>>>,
}

impl Load {
    fn start(entry: SocketAddr) -> Self {
        let (stop, done) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let client = |_| {
            let (stop, done) = (Arc::clone(&stop), Arc::clone(&done));
            thread::spawn(move || {
                let mut failures = Vec::new();
                while !stop.load(Ordering::Relaxed) && failures.len() < 10 {
                    match exchange(entry) {
                        Ok(()) => drop(done.fetch_add(1, Ordering::Relaxed)),
                        Err(error) => failures.push(error),
                    }
                }
                failures
            })
        };
        let threads = (0..CLIENTS).map(client).collect();
        Self { stop, done, threads }
    }

    /// Waits for further connections through whoever is there now.
    fn some_more(&self) {
        let wanted = self.done.load(Ordering::Relaxed) + 10 * CLIENTS;
        let end = std::time::Instant::now() + PATIENCE;
        while self.done.load(Ordering::Relaxed) < wanted && std::time::Instant::now() < end {
            thread::yield_now();
        }
    }

    fn end(self) -> (usize, Vec<io::Error>) {
        self.stop.store(true, Ordering::Relaxed);
        let failures = self.threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect();
        (self.done.load(Ordering::Relaxed), failures)
    }
}

fn path(directory: &Directory, workload: &str) -> String {
    directory.path().join(format!("{workload}.sock")).display().to_string()
}

/// Starts the next proxy for `workload`, and ends the one before it when the next is ready. Answers what the old one said of
/// connections that did not end well.
fn replace(mesh: &mut Mesh, directory: &Directory, runtime: &str, workload: &str) -> Vec<String> {
    let ip = if workload == "client" { mesh.client_ip } else { mesh.server_ip };
    let mut vars = vars(&mesh.directory, workload, ip);
    vars.push(("ADIT_HANDOVER_PATH", path(directory, workload)));
    if workload == "client" {
        vars.push(("ADIT_ENTRY", format!("{}={}:80", mesh.client_entry(), common::VIP)));
    }
    let mut next = Process::start(&["proxy", "--runtime", runtime], &vars);
    next.line(&["listening"]);
    let current = if workload == "client" { &mut mesh.client } else { &mut mesh.server };
    current.line(&["listening sockets were given to the proxy that comes next"]);
    let mut old = std::mem::replace(current, next);
    old.signal(Signal::TERM);
    assert!(old.end().success(), "{}", old.output());
    errors(workload, &old.output())
}

fn errors(workload: &str, output: &str) -> Vec<String> {
    let said = output.lines().filter(|line| line.contains("error") || line.contains("warn"));
    said.map(|line| format!("{workload}: {line}")).collect()
}

#[test]
fn a_proxy_is_replaced_and_nobody_notices() {
    for runtime in RUNTIMES {
        let directory = Directory::new(&format!("handover-{runtime}"));
        let handover = path(&directory, "{workload}");
        let mut mesh = Mesh::start("handover", runtime, &[("ADIT_HANDOVER_PATH", &handover)], echo);
        let load = Load::start(mesh.client_entry());
        let mut said = Vec::new();
        for _ in 0..REPLACEMENTS {
            load.some_more();
            said.extend(replace(&mut mesh, &directory, runtime, "server"));
            load.some_more();
            said.extend(replace(&mut mesh, &directory, runtime, "client"));
        }
        load.some_more();
        let (done, failures) = load.end();
        said.extend(errors("client", &mesh.client.output()));
        said.extend(errors("server", &mesh.server.output()));
        let said = said.join("\n");
        assert!(failures.is_empty(), "{runtime}: {failures:?} beside {done} that went well\n{said}");
        let ready = ask(mesh.client_readiness(), "GET /healthz/ready HTTP/1.0\r\n\r\n").unwrap();
        assert!(ready.starts_with("HTTP/1.0 200"), "{ready}");
        assert!(!Path::new(&format!("{}.{}", path(&directory, "client"), std::process::id())).exists());
    }
}

#[test]
fn without_a_hand_over_the_second_proxy_does_not_start() {
    let mut mesh = Mesh::start("alone", "tokio", &[], echo);
    let mut second = Process::start(&["proxy"], &vars(&mesh.directory, "server", mesh.server_ip));
    assert!(!second.end().success());
    assert!(second.output().contains("Address already in use"), "{}", second.output());
    assert!(mesh.server.is_running());
}

#[test]
fn a_path_that_cannot_be_used_is_named() {
    let mesh = Mesh::start("nowhere", "tokio", &[], echo);
    let mut vars = vars(&mesh.directory, "server", "127.0.0.1".parse().unwrap());
    vars.retain(|(name, _)| *name != "ADIT_BIND_ADDRESS");
    vars.push(("ADIT_BIND_ADDRESS", common::addresses().1.to_string()));
    vars.push(("ADIT_HANDOVER_PATH", "/no/such/directory/handover.sock".to_owned()));
    let mut process = Process::start(&["proxy"], &vars);
    assert!(!process.end().success());
    let output = process.output();
    assert!(output.contains("ADIT_HANDOVER_PATH") && output.contains("/no/such/directory"), "{output}");
}
