//! Programs that others wrote: a test starts them, waits for them, and stops them. One that is missing is a failure.
use std::fs::File;
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU16, AtomicU32, Ordering};
use std::time::{Duration, Instant};

use crate::wire::PATIENCE;

/// How long nobody looks, while something is waited for.
const PAUSE: Duration = Duration::from_millis(20);

/// A folder for one test's files, removed when the test is done.
#[derive(Debug)]
pub struct Folder(pub PathBuf);

impl Folder {
    /// An empty one.
    ///
    /// # Panics
    /// There is no place for temporary files.
    #[must_use]
    pub fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("adit-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).expect("a folder for temporary files");
        Self(path)
    }

    /// Writes a file, and says where it is.
    ///
    /// # Panics
    /// It cannot be written.
    pub fn file(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.0.join(name);
        std::fs::write(&path, content).expect("a writable folder");
        path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn name(command: &Command) -> String {
    command.get_program().to_string_lossy().into_owned()
}

fn missing(program: &str, package: &str, error: &std::io::Error) -> ! {
    panic!("MISSING FOREIGN PEER: {program} cannot be started ({error}): install {package}")
}

/// A running program; stopped when dropped.
#[derive(Debug)]
pub struct Process {
    child: Child,
    log: PathBuf,
}

impl Process {
    /// Starts `command`, whose words go to a file in `folder`; `package` says how to come by it.
    ///
    /// # Panics
    /// It cannot be started.
    #[must_use]
    pub fn start(command: &mut Command, package: &str, folder: &Path) -> Self {
        let program = name(command);
        let log = folder.join(format!("{}.log", program.replace('/', "_")));
        let out = File::create(&log).expect("a log file");
        let both = out.try_clone().expect("a log file");
        match command.stdin(Stdio::null()).stdout(out).stderr(both).spawn() {
            Ok(child) => Self { child, log },
            Err(error) => missing(&program, package, &error),
        }
    }

    /// Waits until it listens on `port` of 127.0.0.1.
    ///
    /// # Panics
    /// It has ended, or takes longer than [`PATIENCE`].
    #[must_use]
    pub fn listens(mut self, port: u16) -> Self {
        let until = Instant::now() + PATIENCE;
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            let ended = self.child.try_wait().expect("a child");
            assert!(
                ended.is_none() && Instant::now() < until,
                "it does not listen: {ended:?}\n{}",
                self.log()
            );
            std::thread::sleep(PAUSE);
        }
        self
    }

    /// Waits until it has said `word`.
    ///
    /// # Panics
    /// It has ended without, or takes longer than [`PATIENCE`].
    #[must_use]
    pub fn says(mut self, word: &str) -> Self {
        let until = Instant::now() + PATIENCE;
        while !self.log().contains(word) {
            let ended = self.child.try_wait().expect("a child");
            let log = self.log();
            assert!(ended.is_none() || log.contains(word), "it ended: {ended:?}\n{log}");
            assert!(Instant::now() < until, "it does not say {word}:\n{log}");
            std::thread::sleep(PAUSE);
        }
        self
    }

    /// Everything it has said.
    #[must_use]
    pub fn log(&self) -> String {
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

/// A program that has ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ran {
    /// How.
    pub status: ExitStatus,
    /// What it wrote.
    pub stdout: Vec<u8>,
    /// What it said besides.
    pub stderr: String,
}

impl Ran {
    /// What it wrote, as a text.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.stdout).into_owned()
    }
}

/// Runs `command` to its end, `patience` at the longest; `package` says how to come by it. Its output goes through files in
/// `folder`, so that it can be of any size.
///
/// # Panics
/// It cannot be started, or does not end in time: then it is stopped.
#[must_use]
pub fn run(command: &mut Command, package: &str, folder: &Path, patience: Duration) -> Ran {
    static RUN: AtomicU32 = AtomicU32::new(0);
    let number = RUN.fetch_add(1, Ordering::Relaxed);
    let paths = ["out", "err"].map(|kind| folder.join(format!("{number}.{kind}")));
    let [out, err] = paths.each_ref().map(|path| File::create(path).expect("a file for output"));
    let program = name(command);
    let mut child = match command.stdin(Stdio::null()).stdout(out).stderr(err).spawn() {
        Ok(child) => child,
        Err(error) => missing(&program, package, &error),
    };
    let [out, err] = paths;
    let said = || String::from_utf8_lossy(&std::fs::read(&err).unwrap_or_default()).into_owned();
    let until = Instant::now() + patience;
    let status = loop {
        if let Some(status) = child.try_wait().expect("a child") {
            break status;
        }
        if Instant::now() > until {
            let _ = child.kill();
            let _ = child.wait();
            panic!("{program} does not end; it has said:\n{}", said());
        }
        std::thread::sleep(PAUSE);
    };
    Ran { status, stdout: std::fs::read(&out).expect("its output"), stderr: said() }
}

/// A free port that no other test of this process is given, and that the kernel gives to nobody by itself: below the range
/// from which it takes the ports of those who ask for any.
///
/// # Panics
/// There is none.
#[must_use]
pub fn free_port() -> u16 {
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
