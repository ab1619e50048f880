//! Child processes: what they print, what they hold, and their end.
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use super::{HarnessError, Namespace, Result, wait_until};

/// A child process; killed when dropped.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    output: Arc<Output>,
}

/// How much memory a process has, in KiB.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Memory {
    /// Resident now (`VmRSS`).
    pub resident: u64,
    /// The most it ever was (`VmHWM`).
    pub peak: u64,
}

#[derive(Debug, Default)]
struct Output {
    printed: Mutex<Printed>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Printed {
    lines: Vec<String>,
    /// Of stdout and stderr.
    ended: usize,
}

impl Output {
    fn lock(&self) -> MutexGuard<'_, Printed> {
        self.printed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn gather(self: &Arc<Self>, stream: impl Read + Send + 'static) {
        let output = Arc::clone(self);
        thread::spawn(move || {
            for line in BufReader::new(stream).lines().map_while(std::result::Result::ok) {
                output.lock().lines.push(line);
                output.changed.notify_all();
            }
            output.lock().ended += 1;
            output.changed.notify_all();
        });
    }
}

impl Process {
    /// Starts `command`, inside `namespace` if given. Its environment has `PATH` and `vars` only.
    ///
    /// # Errors
    /// It cannot be started.
    pub fn spawn(
        name: &str,
        namespace: Option<&Namespace>,
        words: &[String],
        vars: &[(String, String)],
    ) -> Result<Self> {
        let prefix = namespace.map(Namespace::prefix).into_iter().flatten();
        let mut all = prefix.chain(words.iter().map(String::as_str));
        let mut command = Command::new(all.next().unwrap_or_default());
        command.args(all).env_clear().envs(vars.iter().map(|(name, value)| (name, value)));
        if let Some(path) = std::env::var_os("PATH") {
            command.env("PATH", path);
        }
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().map_err(HarnessError::io(format!("starting {name}")))?;
        let output = Arc::<Output>::default();
        if let Some(stream) = child.stdout.take() {
            output.gather(stream);
        }
        if let Some(stream) = child.stderr.take() {
            output.gather(stream);
        }
        Ok(Self { name: name.to_owned(), child, output })
    }

    /// Its process id.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Everything it has printed so far, stdout and stderr as they came.
    #[must_use]
    pub fn lines(&self) -> Vec<String> {
        self.output.lock().lines.clone()
    }

    /// Waits for a line that `wanted` makes something of; earlier lines count. `what` is for the error.
    ///
    /// # Errors
    /// None came `within` that time, or the process ended without one.
    pub fn wait_line<T>(
        &self,
        what: &str,
        within: Duration,
        mut wanted: impl FnMut(&str) -> Option<T>,
    ) -> Result<T> {
        let start = Instant::now();
        let mut seen = 0;
        let mut printed = self.output.lock();
        loop {
            for line in printed.lines.iter().skip(seen) {
                if let Some(found) = wanted(line) {
                    return Ok(found);
                }
            }
            seen = printed.lines.len();
            let what = what.to_owned();
            if printed.ended == 2 {
                return Err(HarnessError::Ended { name: self.name.clone(), what, seen: printed.tail() });
            }
            let Some(left) = within.checked_sub(start.elapsed()) else {
                return Err(HarnessError::Timeout { what, within, seen: printed.tail() });
            };
            printed =
                self.output.changed.wait_timeout(printed, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Writes a line to its stdin.
    ///
    /// # Errors
    /// It no longer reads.
    pub fn tell(&self, line: &str) -> Result<()> {
        let Some(mut stdin) = self.child.stdin.as_ref() else { return Ok(()) };
        writeln!(stdin, "{line}").map_err(HarnessError::io(format!("writing to {}", self.name)))
    }

    /// Sends a signal.
    ///
    /// # Errors
    /// It is gone.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        let id = i32::try_from(self.id()).ok().and_then(Pid::from_raw);
        let sent = id.map_or(Err(rustix::io::Errno::SRCH), |id| kill_process(id, signal));
        sent.map_err(|errno| HarnessError::Io {
            what: format!("signalling {}", self.name),
            error: errno.into(),
        })
    }

    /// Waits for its end.
    ///
    /// # Errors
    /// It goes on.
    pub fn wait_exit(&mut self, within: Duration) -> Result<ExitStatus> {
        let what = format!("the end of {}", self.name);
        let mut status = None;
        let (child, output) = (&mut self.child, &self.output);
        let ended = || {
            status = child.try_wait().ok().flatten();
            status.is_some()
        };
        wait_until(&what, within, ended, || output.lock().tail())?;
        // The last lines are still on their way.
        wait_until(&what, within, || output.lock().ended == 2, || output.lock().tail())?;
        status.ok_or_else(|| HarnessError::Ended { name: self.name.clone(), what, seen: String::new() })
    }

    /// How many descriptors it holds.
    ///
    /// # Errors
    /// It is gone.
    pub fn descriptors(&self) -> Result<usize> {
        let path = format!("/proc/{}/fd", self.id());
        Ok(fs::read_dir(&path).map_err(HarnessError::io(path))?.count())
    }

    /// How much memory it has.
    ///
    /// # Errors
    /// It is gone.
    pub fn memory(&self) -> Result<Memory> {
        let path = format!("/proc/{}/status", self.id());
        let status = fs::read_to_string(&path).map_err(HarnessError::io(path))?;
        let field = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name));
            line.and_then(|rest| rest.split_whitespace().next()?.parse().ok()).unwrap_or_default()
        };
        Ok(Memory { resident: field("VmRSS:"), peak: field("VmHWM:") })
    }
}

impl Printed {
    /// The end of what was printed, for errors.
    fn tail(&self) -> String {
        let from = self.lines.len().saturating_sub(40);
        self.lines.get(from..).unwrap_or_default().join("\n")
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Both fail only if it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if thread::panicking() {
            eprintln!("---- {} ({})\n{}", self.name, self.id(), self.output.lock().tail());
        }
    }
}
