//! Flags of `capture` and `check`.
use std::path::PathBuf;
use std::str::FromStr;

use adit_ops::http::Origin;
use clap::{Args, Subcommand};

use crate::capture::{Choice, Interface};

/// Flags of `capture`.
#[derive(Clone, Debug, PartialEq, Eq, Args)]
pub struct Capture {
    /// Network namespace to work in: a file such as /proc/PID/ns/net or /run/netns/NAME [the one this runs in]
    #[arg(long, value_name = "PATH", global = true)]
    pub netns: Option<PathBuf>,
    /// What to do.
    #[command(subcommand)]
    pub verb: CaptureVerb,
}

/// What `capture` does.
#[derive(Clone, Debug, PartialEq, Eq, Subcommand)]
pub enum CaptureVerb {
    /// Write the rules and routes; what is there already stays, what is different is put right
    Apply {
        /// What to write.
        #[command(flatten)]
        request: CaptureRequest,
        /// Only print what would be run in a namespace that has nothing of it; takes no privilege
        #[arg(long)]
        dry_run: bool,
    },
    /// Compare what is there with what should be, and name each difference
    Verify {
        /// What should be.
        #[command(flatten)]
        request: CaptureRequest,
    },
    /// Remove the rules and routes, whoever wrote them, and nothing else
    Remove {
        /// Only print what would be run
        #[arg(long)]
        dry_run: bool,
    },
}

/// Which rules; named as the annotations of pods.
#[derive(Clone, Debug, Default, PartialEq, Eq, Args)]
pub struct CaptureRequest {
    /// Who writes the rules
    #[arg(long, value_enum, default_value = "auto")]
    pub backend: Choice,
    /// Send DNS questions to the DNS proxy (ambient.istio.io/dns-capture)
    #[arg(long, value_name = "BOOL", default_value = "true", num_args = 0..=1, default_missing_value = "true")]
    pub dns_capture: GoBool,
    /// Leave inbound connections alone (ambient.istio.io/bypass-inbound-capture)
    #[arg(long, value_name = "BOOL", default_value = "false", num_args = 0..=1, default_missing_value = "true")]
    pub bypass_inbound_capture: GoBool,
    /// Interfaces of virtual machines or nested containers, whose TCP is outbound traffic
    /// (istio.io/reroute-virtual-interfaces)
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    pub reroute_virtual_interfaces: Vec<Interface>,
    /// Leave IPv6 alone, although the kernel has it
    #[arg(long)]
    pub ipv4_only: bool,
}

/// A boolean as Go's `strconv.ParseBool`, and so Istio, reads annotations.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct GoBool(pub bool);

impl FromStr for GoBool {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(Self(true)),
            "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(Self(false)),
            _ => Err("expected true or false".to_owned()),
        }
    }
}

/// Flags of `check`.
#[derive(Clone, Debug, PartialEq, Eq, Args)]
pub struct Check {
    /// Network namespace to look at: a file such as /proc/PID/ns/net or /run/netns/NAME [the one this runs in]
    #[arg(long, value_name = "PATH", conflicts_with = "admin")]
    pub netns: Option<PathBuf>,
    /// Ask the running proxy at this admin address about all pods that it serves, instead of looking at one
    #[arg(long, value_name = "URL", num_args = 0..=1, default_missing_value = "http://127.0.0.1:15000")]
    pub admin: Option<Origin>,
    /// Do not connect; look only
    #[arg(long, conflicts_with = "admin")]
    pub no_probe: bool,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}
