//! Why capture could not be applied, verified or removed, and what to do about it.
use std::path::PathBuf;

/// Why a step failed.
#[derive(Clone, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum CaptureError {
    /// Neither backend is installed.
    #[error("neither nft nor iptables is installed; install the package nftables or iptables")]
    NoBackend,
    /// The backend that was asked for is not installed.
    #[error("`{program}` is not installed; install the package {package}, or leave --backend to `auto`")]
    NotInstalled {
        /// The command.
        program: String,
        /// The package that has it in most distributions.
        package: &'static str,
    },
    /// The system did not start a command.
    #[error("cannot run `{command}`: {cause}")]
    Start {
        /// The command line.
        command: String,
        /// What the system said.
        cause: String,
    },
    /// A command failed.
    #[error("`{command}` failed ({status}): {output}\n{}", advice(.output))]
    Command {
        /// The command line.
        command: String,
        /// How it ended.
        status: String,
        /// What it printed.
        output: String,
    },
    /// The namespace cannot be entered.
    #[error("cannot enter the network namespace {}: {cause}; it takes a file such as /proc/PID/ns/net or /run/netns/NAME, and CAP_SYS_ADMIN", path.display())]
    Namespace {
        /// Its file.
        path: PathBuf,
        /// What the system said.
        cause: String,
    },
    /// There are rules of a sidecar, which use chains of the same name.
    #[error(
        "this namespace has the rules of an Istio sidecar ({family} chain {chain} in nat); a pod cannot have both, and nothing was changed: remove the sidecar first"
    )]
    Sidecar {
        /// Which of them.
        family: super::Family,
        /// The chain that tells.
        chain: String,
    },
    /// Our tables hold more than a pod's rules.
    #[error("table inet istio-ambient-… holds more than a pod's rules ({}); this looks like a node's own namespace, and nothing was changed: name the pod's with --netns", found.join(", "))]
    NotAPod {
        /// What was found.
        found: Vec<String>,
    },
    /// What was applied is not what is there.
    #[error("the rules were written, but are not as they should be; something else changes them as well:\n{}", problems.join("\n"))]
    NotApplied {
        /// The differences.
        problems: Vec<String>,
    },
}

impl CaptureError {
    /// `program` is missing.
    #[must_use]
    pub fn not_installed(program: &str) -> Self {
        let package = match program {
            "nft" => "nftables",
            "ip" => "iproute2",
            _ => "iptables",
        };
        Self::NotInstalled { program: program.to_owned(), package }
    }
}

/// What to do about what a command printed.
fn advice(output: &str) -> &'static str {
    let has = |texts: &[&str]| texts.iter().any(|text| output.contains(text));
    if has(&["Operation not permitted", "Permission denied", "you must be root"]) {
        "Run it as root; in a container, with the capabilities NET_ADMIN and SYS_ADMIN"
    } else if has(&["lock", "Resource temporarily unavailable"]) {
        "Something else changes rules at this time: try again"
    } else if has(&[
        "Table does not exist",
        "can't initialize",
        "No chain/target/match",
        "not supported",
        "No such file",
    ]) {
        "The kernel lacks what the rule needs: load its module on the node (such as iptable_nat, ip6table_nat, \
         xt_REDIRECT, xt_connmark, xt_CT, or nf_tables and nft_redir), or try the other --backend, or --ipv4-only"
    } else {
        "Look at the state with `adit-node capture verify`, and clear it with `adit-node capture remove`"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_come_with_advice() {
        for (output, advised) in [
            ("iptables v1.8.9: Could not fetch rule set: Permission denied (you must be root)", "as root"),
            ("Another app is currently holding the xtables lock.", "try again"),
            ("ip6tables-restore: unable to initialize table 'nat': Table does not exist", "ip6table_nat"),
            ("line 3 failed", "capture remove"),
        ] {
            let (command, status) = ("c".to_owned(), "exit status: 1".to_owned());
            let error = CaptureError::Command { command, status, output: output.to_owned() }.to_string();
            assert!(error.contains(output) && error.contains(advised), "{error}");
        }
    }
}
