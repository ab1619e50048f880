//! Capturing a namespace's traffic, as `adit-node capture` does.
use std::fmt;
use std::path::Path;

use super::{Namespace, Result, binary, run};

/// Who writes the rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Backend {
    /// `iptables` and `ip6tables`.
    Iptables,
    /// `nft`.
    Nftables,
}

impl fmt::Display for Backend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Iptables => "iptables",
            Self::Nftables => "nftables",
        })
    }
}

/// Captures all TCP and DNS of a namespace with the rules that pods have. They go away with the namespace.
///
/// # Errors
/// `adit-node` is not built, a tool is missing, or the kernel lacks what a rule needs.
pub fn redirect(namespace: &Namespace, backend: Backend) -> Result<()> {
    redirect_by(&binary("adit-node", "adit-node")?, namespace, backend)
}

/// As [`redirect`], by this `adit-node`.
///
/// # Errors
/// A tool is missing, or the kernel lacks what a rule needs.
pub fn redirect_by(program: &Path, namespace: &Namespace, backend: Backend) -> Result<()> {
    capture(program, namespace, &["apply", "--backend", &backend.to_string()])
}

/// Ends what [`redirect`] began.
///
/// # Errors
/// `adit-node` is not built, or a tool is missing.
pub fn release(namespace: &Namespace) -> Result<()> {
    capture(&binary("adit-node", "adit-node")?, namespace, &["remove"])
}

fn capture(program: &Path, namespace: &Namespace, what: &[&str]) -> Result<()> {
    let program = program.display().to_string();
    let netns = format!("/run/netns/{}", namespace.name());
    let words: Vec<&str> =
        [&*program, "capture", "--netns", &netns].into_iter().chain(what.iter().copied()).collect();
    run(&words).map(drop)
}
