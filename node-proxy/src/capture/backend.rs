//! The tools that can write rules, and which of them this machine has.
use std::fmt;

use super::error::CaptureError;
use super::model::Family;
use super::tools::{Step, is_installed};

/// How rules are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Backend {
    /// Tables of their own, by `nft`.
    Nftables,
    /// Chains in the tables of iptables and ip6tables.
    Iptables,
}

impl fmt::Display for Backend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Nftables => "nftables",
            Self::Iptables => "iptables",
        })
    }
}

/// Who shall write rules.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, clap::ValueEnum)]
pub enum Choice {
    /// Whoever wrote those that are there; else nftables if the machine has it; else iptables
    #[default]
    Auto,
    /// `nft`
    Nftables,
    /// `iptables` and `ip6tables`
    Iptables,
}

/// A tool of this machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Tool {
    /// `nft`.
    Nft,
    /// One of the kinds of iptables, by what comes behind `iptables` in its programs' names.
    Iptables(&'static str),
}

impl Tool {
    /// The way it writes rules.
    #[must_use]
    pub(super) const fn backend(self) -> Backend {
        match self {
            Self::Nft => Backend::Nftables,
            Self::Iptables(_) => Backend::Iptables,
        }
    }

    /// A program of the iptables kind, such as `ip6tables-legacy-save`.
    #[must_use]
    pub(super) fn program(kind: &str, family: Family, what: &str) -> String {
        let family = match family {
            Family::V4 => "iptables",
            Family::V6 => "ip6tables",
        };
        format!("{family}{kind}-{what}")
    }
}

/// The tools that are installed, the preferred one first; at least one that `choice` allows.
///
/// # Errors
/// There is none.
pub(super) fn installed(choice: Choice) -> Result<Vec<Tool>, CaptureError> {
    let mut tools = Vec::new();
    if is_installed("nft") {
        tools.push(Tool::Nft);
    }
    if is_installed("iptables-save") {
        tools.push(Tool::Iptables(""));
        // Rules of the other kind may be there as well, and this one does not see them.
        let version = Step::words("iptables", &["--version"]).run().unwrap_or_default();
        let other = if version.contains("nf_tables") { "-legacy" } else { "-nft" };
        if is_installed(&Tool::program(other, Family::V4, "save")) {
            tools.push(Tool::Iptables(other));
        }
    }
    let wanted = match choice {
        Choice::Auto if tools.is_empty() => return Err(CaptureError::NoBackend),
        Choice::Auto => return Ok(tools),
        Choice::Nftables => (Backend::Nftables, "nft"),
        Choice::Iptables => (Backend::Iptables, "iptables-save"),
    };
    let allowed = tools.iter().any(|tool| tool.backend() == wanted.0);
    allowed.then_some(tools).ok_or_else(|| CaptureError::not_installed(wanted.1))
}
