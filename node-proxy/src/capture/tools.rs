//! Running `ip`, `nft` and the iptables family, and saying what went wrong.
use std::fmt;
use std::io::{ErrorKind, Write};
use std::process::{Command, Stdio};

use super::error::CaptureError;

/// One command and what it reads.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Step {
    program: String,
    arguments: Vec<String>,
    input: Option<String>,
}

impl Step {
    /// A command that reads nothing.
    pub(super) fn new(program: impl Into<String>, arguments: impl IntoIterator<Item = String>) -> Self {
        Self { program: program.into(), arguments: arguments.into_iter().collect(), input: None }
    }

    /// With words for arguments.
    pub(super) fn words(program: impl Into<String>, arguments: &[&str]) -> Self {
        Self::new(program, arguments.iter().map(|word| (*word).to_owned()))
    }

    /// What it reads.
    #[must_use]
    pub(super) fn reading(mut self, input: String) -> Self {
        self.input = Some(input);
        self
    }

    /// The command line.
    fn line(&self) -> String {
        std::iter::once(&self.program)
            .chain(&self.arguments)
            .map(String::as_str)
            .collect::<Vec<_>>()
            .join(" ")
    }

    /// Runs it in the network namespace of this thread; what it printed.
    ///
    /// # Errors
    /// It is not installed, or says that it failed.
    pub(super) fn run(&self) -> Result<String, CaptureError> {
        let started = Command::new(&self.program)
            .args(&self.arguments)
            // What they print is read here.
            .env("LC_ALL", "C")
            .stdin(if self.input.is_some() { Stdio::piped() } else { Stdio::null() })
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn();
        let failed =
            |cause: &std::io::Error| CaptureError::Start { command: self.line(), cause: cause.to_string() };
        let mut child = started.map_err(|error| match error.kind() {
            ErrorKind::NotFound => CaptureError::not_installed(&self.program),
            _ => failed(&error),
        })?;
        if let (Some(mut stdin), Some(input)) = (child.stdin.take(), &self.input) {
            // Scripts are a few kilobytes, which a pipe holds; one that ends without reading them says why below.
            let _ = stdin.write_all(input.as_bytes());
        }
        let output = child.wait_with_output().map_err(|error| failed(&error))?;
        let text = |octets: &[u8]| String::from_utf8_lossy(octets).into_owned();
        if output.status.success() {
            return Ok(text(&output.stdout));
        }
        Err(CaptureError::Command {
            command: self.line(),
            status: output.status.to_string(),
            output: format!("{}{}", text(&output.stdout), text(&output.stderr)).trim().to_owned(),
        })
    }
}

/// As a shell takes it.
impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.line())?;
        match &self.input {
            Some(input) => write!(f, " <<'END'\n{input}END"),
            None => Ok(()),
        }
    }
}

/// Whether `program` is there, looked for as the system does.
#[must_use]
pub(super) fn is_installed(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|folder| folder.join(program).is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_command_prints_comes_back_and_its_failure_is_told_whole() {
        let echo = Step::words("cat", &[]).reading("abc\n".to_owned());
        assert_eq!(echo.run().unwrap(), "abc\n");
        assert_eq!(echo.to_string(), "cat <<'END'\nabc\nEND");
        let failed =
            Step::words("sh", &["-c", "echo out; echo why >&2; exit 3"]).run().unwrap_err().to_string();
        for part in ["`sh -c echo out; echo why >&2; exit 3`", "exit status: 3", "out", "why"] {
            assert!(failed.contains(part), "{failed}");
        }
        let missing = Step::words("adit-no-such-tool", &[]).run().unwrap_err().to_string();
        assert!(missing.contains("`adit-no-such-tool` is not installed"), "{missing}");
    }
}
