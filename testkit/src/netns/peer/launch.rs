//! Starting `adit-peer` from a test.
use std::net::SocketAddr;
use std::time::Duration;

use super::{End, Script};
use crate::netns::{Namespace, Process, Result, binary};

/// Until a server listens.
const START: Duration = Duration::from_secs(10);

/// A running server.
#[derive(Debug)]
pub struct Server {
    process: Process,
}

impl Server {
    /// Starts one on all of `addresses` and waits until it listens.
    ///
    /// # Errors
    /// It does not come up.
    pub fn start(namespace: Option<&Namespace>, addresses: &[SocketAddr]) -> Result<Self> {
        let mut words = vec!["server".to_owned()];
        words.extend(addresses.iter().map(ToString::to_string));
        let process = spawn("the server", namespace, &words)?;
        for address in addresses {
            let wanted = format!("listening {address}");
            process.wait_line(&wanted, START, |line| (line == wanted).then_some(()))?;
        }
        Ok(Self { process })
    }

    /// The process.
    #[must_use]
    pub fn process(&self) -> &Process {
        &self.process
    }

    /// Waits until a connection on which `script` was played has ended; `None` if it ended as it should.
    ///
    /// # Errors
    /// There is none in time.
    pub fn wait_served(&self, script: Script, within: Duration) -> Result<Option<End>> {
        let what = format!("the server's end of `{script}`");
        self.process.wait_line(&what, within, |line| {
            let rest = line.strip_prefix("served ")?.split_once(' ')?.1;
            match rest.strip_prefix(&script.to_string())?.trim() {
                "well" => Some(None),
                end => [End::Refused, End::Eof, End::Reset, End::Wrong, End::Silence, End::Failed]
                    .into_iter()
                    .find(|known| known.to_string() == end)
                    .map(Some),
            }
        })
    }

    /// Waits until no connection is open any more.
    ///
    /// # Errors
    /// Some are still open after that time.
    pub fn wait_idle(&self, within: Duration) -> Result<()> {
        let start = std::time::Instant::now();
        loop {
            let asked = self.process.lines().len();
            self.process.tell("how many?")?;
            let mut seen = 0;
            let open: usize = self.process.wait_line("the server's count", START, |line| {
                seen += 1;
                line.strip_prefix("serving ").filter(|_| seen > asked)?.parse().ok()
            })?;
            if open == 0 {
                return Ok(());
            }
            let left = within.checked_sub(start.elapsed()).unwrap_or_default();
            if left.is_zero() {
                let what = format!("the end of {open} connections at the server");
                return self.process.wait_line(&what, left, |_| None);
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

/// Runs `adit-peer` with `words` to its end and returns its last line.
///
/// # Errors
/// It fails, or does not end `within` that time.
pub fn client(namespace: Option<&Namespace>, within: Duration, words: &[String]) -> Result<String> {
    let mut process = spawn("the client", namespace, words)?;
    let status = process.wait_exit(within)?;
    let lines = process.lines();
    match lines.last() {
        Some(last) if status.success() => Ok(last.clone()),
        _ => process.wait_line("an outcome", Duration::ZERO, |_| None),
    }
}

/// Starts `adit-peer`.
///
/// # Errors
/// It cannot be started.
pub fn spawn(name: &str, namespace: Option<&Namespace>, words: &[String]) -> Result<Process> {
    let mut all = vec![binary("adit-testkit", "adit-peer")?.display().to_string()];
    all.extend_from_slice(words);
    Process::spawn(name, namespace, &all, &[])
}
