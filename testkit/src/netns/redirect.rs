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
    let program = binary("adit-node", "adit-node")?.display().to_string();
    let (netns, backend) = (format!("/run/netns/{}", namespace.name()), backend.to_string());
    run(&[&program, "capture", "--netns", &netns, "apply", "--backend", &backend]).map(drop)
}
