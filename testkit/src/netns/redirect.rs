//! Capturing a namespace's traffic, as `adit-node capture` does.
use std::fmt;

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
    capture(namespace, &["apply", "--backend", &backend.to_string()])
}

/// Ends what [`redirect`] began.
///
/// # Errors
/// `adit-node` is not built, or a tool is missing.
pub fn release(namespace: &Namespace) -> Result<()> {
    capture(namespace, &["remove"])
}

fn capture(namespace: &Namespace, what: &[&str]) -> Result<()> {
    let program = binary("adit-node", "adit-node")?.display().to_string();
    let netns = format!("/run/netns/{}", namespace.name());
    let words: Vec<&str> =
        [&*program, "capture", "--netns", &netns].into_iter().chain(what.iter().copied()).collect();
    run(&words).map(drop)
}
