//! Why the harness could not do what a test asked of it.
use std::fmt;
use std::io;
use std::time::Duration;

/// Why a step of the harness failed. `Debug` is the text of `Display`, since tests that return an error print that.
#[derive(thiserror::Error)]
#[non_exhaustive]
pub enum HarnessError {
    /// Namespaces and redirection need root.
    #[error(
        "this test makes network namespaces and must run as root; run it as root, or leave the feature `root-tests` off"
    )]
    NotRoot,
    /// A tool is not installed.
    #[error("`{tool}` is not installed; install {package}")]
    MissingTool {
        /// The command.
        tool: String,
        /// The Debian package that has it.
        package: &'static str,
    },
    /// A binary of this workspace has not been built.
    #[error("{path} does not exist; build it first: cargo build -p {package} --bin {name}")]
    NotBuilt {
        /// Where it was looked for.
        path: String,
        /// Its package.
        package: &'static str,
        /// Its name.
        name: &'static str,
    },
    /// A command failed.
    #[error("`{command}` failed ({status}): {output}")]
    Command {
        /// The whole command line.
        command: String,
        /// How it ended.
        status: String,
        /// What it printed.
        output: String,
    },
    /// Something did not happen in time.
    #[error("not within {} s: {what}\n{seen}", .within.as_secs())]
    Timeout {
        /// What was waited for.
        what: String,
        /// For how long.
        within: Duration,
        /// What was seen instead.
        seen: String,
    },
    /// A process ended that should have gone on.
    #[error("{name} ended while waiting for: {what}\n{seen}")]
    Ended {
        /// Its name.
        name: String,
        /// What was waited for.
        what: String,
        /// What it had printed.
        seen: String,
    },
    /// The system refused.
    #[error("{what}: {error}")]
    Io {
        /// What was tried.
        what: String,
        /// What the system said.
        #[source]
        error: io::Error,
    },
}

impl fmt::Debug for HarnessError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl HarnessError {
    /// For `map_err`: names what was tried.
    pub fn io(what: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let what = what.into();
        move |error| Self::Io { what, error }
    }
}
