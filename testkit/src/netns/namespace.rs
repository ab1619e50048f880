//! Network namespaces that are removed with their owner.
use std::fs::{self, File};
use std::os::fd::{AsFd, OwnedFd};
use std::panic::resume_unwind;
use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use super::command::{require_root, run};
use super::{HarnessError, Result};

/// All our namespaces are named so, then the test's process id, a number, and a role.
const PREFIX: &str = "adit-test";

/// Where `ip netns exec` looks for files to be seen inside, in a directory named as the namespace.
const ETC: &str = "/etc/netns";

static NEXT: AtomicU32 = AtomicU32::new(0);

/// A named network namespace (`ip netns`) with its loopback up.
#[derive(Debug)]
pub struct Namespace {
    name: String,
}

impl Namespace {
    /// Makes one; `role` is for people who look at `ip netns list`.
    ///
    /// # Errors
    /// Not root, no `ip`, or the kernel refuses.
    pub fn new(role: &str) -> Result<Self> {
        require_root()?;
        sweep()?;
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("{PREFIX}-{}-{number}-{role}", std::process::id());
        run(&["ip", "netns", "add", &name])?;
        let namespace = Self { name };
        namespace.ip("link set lo up")?;
        Ok(namespace)
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Runs a command inside, given as one line of words without quoting.
    ///
    /// # Errors
    /// As [`run`].
    pub fn run(&self, line: &str) -> Result<String> {
        let words: Vec<&str> = self.prefix().into_iter().chain(line.split_whitespace()).collect();
        run(&words)
    }

    /// Runs `ip` on it.
    ///
    /// # Errors
    /// As [`run`].
    pub fn ip(&self, line: &str) -> Result<String> {
        let words: Vec<&str> = ["ip", "-n", &self.name].into_iter().chain(line.split_whitespace()).collect();
        run(&words)
    }

    /// Runs `work` on a thread inside. Sockets belong to the namespace in which they were made, wherever they are used.
    ///
    /// # Errors
    /// The namespace is gone.
    pub fn enter<T: Send>(&self, work: impl FnOnce() -> T + Send) -> Result<T> {
        enter(&self.name, work)
    }

    /// Opens it, for whoever shall hold it or go there.
    ///
    /// # Errors
    /// The namespace is gone.
    pub fn open(&self) -> Result<OwnedFd> {
        open(&self.name).map(OwnedFd::from)
    }

    /// What processes started inside find in `/etc/resolv.conf` (ip-netns(8)).
    ///
    /// # Errors
    /// The system refuses.
    pub fn set_resolv_conf(&self, text: &str) -> Result<()> {
        let directory = Path::new(ETC).join(&self.name);
        let path = directory.join("resolv.conf");
        let written = fs::create_dir_all(&directory).and_then(|()| fs::write(&path, text));
        written.map_err(HarnessError::io(format!("writing {}", path.display())))
    }

    /// The words before a command that make it run inside. The command keeps the process id.
    #[must_use]
    pub fn prefix(&self) -> [&str; 4] {
        ["ip", "netns", "exec", &self.name]
    }
}

/// As [`Namespace::enter`], for whoever has only its name.
///
/// # Errors
/// The namespace is gone.
pub fn enter<T: Send>(name: &str, work: impl FnOnce() -> T + Send) -> Result<T> {
    let namespace = open(name)?;
    let inside = || {
        move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network))?;
        Ok::<T, rustix::io::Errno>(work())
    };
    match thread::scope(|scope| scope.spawn(inside).join()) {
        Ok(done) => done.map_err(|errno| HarnessError::io(format!("entering {name}"))(errno.into())),
        Err(panic) => resume_unwind(panic),
    }
}

fn open(name: &str) -> Result<File> {
    let path = Path::new("/run/netns").join(name);
    File::open(&path).map_err(HarnessError::io(format!("opening {}", path.display())))
}

/// Removes what [`Namespace::set_resolv_conf`] wrote; mostly nothing.
fn forget(name: &str) {
    let _ = fs::remove_dir_all(Path::new(ETC).join(name));
}

impl Drop for Namespace {
    fn drop(&mut self) {
        forget(&self.name);
        if let Err(error) = run(&["ip", "netns", "delete", &self.name]) {
            eprintln!("{error}");
        }
    }
}

/// Removes what tests that were killed have left: namespaces of processes that are no more, with whatever runs in them.
fn sweep() -> Result<()> {
    for line in run(&["ip", "netns", "list"])?.lines() {
        let Some(name) = line.split_whitespace().next().filter(|name| name.starts_with(PREFIX)) else {
            continue;
        };
        let owner = name[PREFIX.len()..].split('-').nth(1).unwrap_or_default();
        if owner.is_empty() || Path::new("/proc").join(owner).exists() {
            continue;
        }
        for process in run(&["ip", "netns", "pids", name]).unwrap_or_default().lines() {
            // It may end by itself in the meantime.
            let _ = run(&["kill", "-9", process]);
        }
        forget(name);
        match run(&["ip", "netns", "delete", name]) {
            // Another test may have swept it at the same time.
            Ok(_) | Err(HarnessError::Command { .. }) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
