//! Programs that a test starts, waits for, and stops.
use std::fs::File;
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use adit_core::hbone::{Authority as Target, Baggage, ConnectRequest, TunnelConfig};
use adit_core::tls::RecordMode;
use adit_testkit::wire::{Answer, Authority, PATIENCE, Script, Wire};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

/// A folder for one test's files, removed when the test is done.
pub(crate) struct Folder(pub(crate) PathBuf);

impl Folder {
    pub(crate) fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("adit-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).expect("a folder for temporary files");
        Self(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A running program; stopped when dropped.
pub(crate) struct Process {
    child: Child,
    log: PathBuf,
}

impl Process {
    /// Starts `command`; `package` says how to come by it.
    pub(crate) fn start(command: &mut Command, package: &str, folder: &Path) -> Self {
        let program = command.get_program().to_string_lossy().into_owned();
        let log = folder.join(format!("{}.log", program.replace('/', "_")));
        let out = File::create(&log).expect("a log file");
        let both = out.try_clone().expect("a log file");
        match command.stdin(Stdio::null()).stdout(out).stderr(both).spawn() {
            Ok(child) => Self { child, log },
            Err(error) => {
                panic!("MISSING FOREIGN PEER: {program} cannot be started ({error}): install {package}")
            }
        }
    }

    /// Waits until it listens on `port`, or has ended, which is a failure.
    pub(crate) fn listens(mut self, port: u16) -> Self {
        let until = Instant::now() + PATIENCE;
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            let ended = self.child.try_wait().expect("a child");
            assert!(
                ended.is_none() && Instant::now() < until,
                "it does not listen: {ended:?}\n{}",
                self.log()
            );
            std::thread::sleep(Duration::from_millis(20));
        }
        self
    }

    /// Waits until it has said `word`.
    pub(crate) fn says(mut self, word: &str) -> Self {
        let until = Instant::now() + PATIENCE;
        while !self.log().contains(word) {
            let ended = self.child.try_wait().expect("a child");
            let log = self.log();
            assert!(ended.is_none() || log.contains(word), "it ended: {ended:?}\n{log}");
            assert!(Instant::now() < until, "it does not say {word}:\n{log}");
            std::thread::sleep(Duration::from_millis(20));
        }
        self
    }

    /// Everything it has said.
    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("{}", self.log());
        }
    }
}

/// A free port that no other test of this process is given, and that the kernel gives to nobody by itself: below the range
/// from which it takes the ports of those who ask for any.
pub(crate) fn free_port() -> u16 {
    const FIRST: u16 = 10_000;
    const COUNT: u16 = 20_000;
    static GIVEN: AtomicU16 = AtomicU16::new(0);
    let offset = std::process::id() % u32::from(COUNT);
    (0..COUNT)
        .map(|_| u32::from(GIVEN.fetch_add(1, Ordering::Relaxed)) + offset)
        .filter_map(|n| u16::try_from(n % u32::from(COUNT)).ok())
        .map(|n| FIRST + n)
        .find(|&port| TcpListener::bind(("127.0.0.1", port)).is_ok())
        .expect("a port is free")
}

/// Our client on a connection to `port`.
pub(crate) fn client(authority: &Authority, port: u16) -> Wire {
    let socket = TcpStream::connect(("127.0.0.1", port)).expect("a connection");
    let context = authority.context("client", RecordMode::InPlace);
    Wire::client(socket, &context, &Authority::identity("server"), TunnelConfig::client())
}

/// Where a server of ours is to be reached.
pub(crate) fn listener() -> (TcpListener, u16) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("an address").port();
    (listener, port)
}

/// Our server on the next connection, which must come within [`PATIENCE`].
pub(crate) fn accepted(
    authority: &Authority,
    listener: &TcpListener,
    config: TunnelConfig,
    answer: Answer,
) -> Wire {
    let mut ready = [PollFd::new(listener, PollFlags::IN)];
    let patience = Timespec { tv_sec: PATIENCE.as_secs().cast_signed(), tv_nsec: 0 };
    assert_eq!(poll(&mut ready, Some(&patience)), Ok(1), "nobody connects");
    let (socket, _) = listener.accept().expect("a client");
    Wire::server(socket, &authority.context("server", RecordMode::InPlace), config, answer)
}

/// Our server, which serves one connection until it ends, on a thread of its own.
pub(crate) fn server(authority: &Authority, answer: Answer) -> (u16, JoinHandle<Wire>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("an address").port();
    let context = authority.context("server", RecordMode::InPlace);
    let serving = std::thread::spawn(move || {
        let (socket, _) = listener.accept().expect("a client");
        let mut wire = Wire::server(socket, &context, TunnelConfig::server(), answer);
        wire.run_to_end();
        wire
    });
    (port, serving)
}

/// Our server for as many connections as come; each is given out when it has ended.
pub(crate) fn servers(
    authority: &Authority,
    answer: fn(&ConnectRequest) -> Result<Script, u16>,
) -> (u16, Receiver<Wire>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("an address").port();
    let context = authority.context("server", RecordMode::InPlace);
    let (told, ended) = channel();
    std::thread::spawn(move || {
        while let Ok((socket, _)) = listener.accept() {
            let (told, context) = (told.clone(), context.clone());
            std::thread::spawn(move || {
                let mut wire = Wire::server(socket, &context, TunnelConfig::server(), Box::new(answer));
                wire.run_to_end();
                // Nobody may be waiting any more.
                let _ = told.send(wire);
            });
        }
    });
    (port, ended)
}

pub(crate) fn request(authority: &str) -> ConnectRequest {
    ConnectRequest {
        authority: Target::parse(authority.as_bytes()).expect("an authority"),
        baggage: None,
        forwarded: None,
        traceparent: None,
        forwarded_network: None,
    }
}

/// The same with metadata of about `octets`, as no workload has it.
pub(crate) fn huge_request(authority: &str, octets: usize) -> ConnectRequest {
    ConnectRequest { baggage: Some(huge_baggage(octets)), ..request(authority) }
}

/// Metadata of about so many octets.
pub(crate) fn huge_baggage(octets: usize) -> Baggage {
    Baggage { service_name: Some("n".repeat(octets).into()), ..Baggage::default() }
}

/// Octets in which every displacement shows.
pub(crate) fn pattern(len: usize) -> Vec<u8> {
    (0..len).map(|i| (i * 31 + i / 251) as u8).collect()
}
