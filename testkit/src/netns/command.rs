//! Running tools, finding our own binaries, waiting on conditions.
use std::io::ErrorKind;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use super::{HarnessError, Result};

/// Between two looks at a condition.
const STEP: Duration = Duration::from_millis(10);

/// Refuses to go on without root.
///
/// # Errors
/// The process is not root's.
pub fn require_root() -> Result<()> {
    if rustix::process::geteuid().is_root() { Ok(()) } else { Err(HarnessError::NotRoot) }
}

/// Runs a tool to its end and returns what it printed.
///
/// # Errors
/// It is not installed, or did not end well.
pub fn run<S: AsRef<str>>(words: &[S]) -> Result<String> {
    let words: Vec<&str> = words.iter().map(AsRef::as_ref).collect();
    let [tool, arguments @ ..] = words.as_slice() else { return Ok(String::new()) };
    let output = Command::new(tool).args(arguments).output().map_err(|error| match error.kind() {
        ErrorKind::NotFound => {
            HarnessError::MissingTool { tool: (*tool).to_owned(), package: package_of(tool) }
        }
        _ => HarnessError::Io { what: words.join(" "), error },
    })?;
    let stdout = String::from_utf8_lossy(&output.stdout).into_owned();
    if output.status.success() {
        return Ok(stdout);
    }
    let stderr = String::from_utf8_lossy(&output.stderr);
    Err(HarnessError::Command {
        command: words.join(" "),
        status: output.status.to_string(),
        output: format!("{stdout}{stderr}").trim().to_owned(),
    })
}

fn package_of(tool: &str) -> &'static str {
    match tool {
        "ip" => "iproute2",
        "nft" => "nftables",
        _ => "iptables",
    }
}

/// The path of one of this workspace's binaries, of the same profile as the running test.
///
/// # Errors
/// It has not been built: cargo builds only the binaries of a test's own package.
pub fn binary(package: &'static str, name: &'static str) -> Result<PathBuf> {
    let test = std::env::current_exe().map_err(HarnessError::io("finding the test's own path"))?;
    // target/PROFILE/deps/TEST-HASH
    let directory = test.parent().and_then(|deps| deps.parent()).unwrap_or(&test);
    let path = directory.join(name);
    if path.is_file() {
        Ok(path)
    } else {
        Err(HarnessError::NotBuilt { path: path.display().to_string(), package, name })
    }
}

/// Waits until `done` says yes; `seen` is put into the error if it never does.
///
/// # Errors
/// It was not so `within` that time.
pub fn wait_until(
    what: &str,
    within: Duration,
    mut done: impl FnMut() -> bool,
    seen: impl FnOnce() -> String,
) -> Result<()> {
    let start = Instant::now();
    while start.elapsed() < within {
        if done() {
            return Ok(());
        }
        std::thread::sleep(STEP);
    }
    Err(HarnessError::Timeout { what: what.to_owned(), within, seen: seen() })
}
