//! The command line: commands, flags, help that is documentation, and exit codes.
use std::ffi::OsString;
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use std::str::FromStr;

use adit_core::l7::Normalization;
use clap::{Args, Parser, Subcommand};

use crate::{demo, run};

/// Adit's waypoint: routes, protects and observes the HTTP of Istio ambient workloads, behind HBONE.
///
/// Try `adit-waypoint demo`: it needs nothing but this binary.
#[derive(Clone, Debug, PartialEq, Eq, Parser)]
#[command(name = "adit-waypoint", version)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The commands.
#[derive(Clone, Debug, PartialEq, Eq, Subcommand)]
pub enum Command {
    /// Run the waypoint
    #[command(after_long_help = PROXY)]
    Proxy(Proxy),
    /// Start a mesh of a waypoint, two versions of a service and a client, all in this process, and show what happens
    Demo(Demo),
    /// Print the version
    Version,
}

const PROXY: &str = "\
The mesh, certificates, ports and limits are configured by the environment variables of `adit-node proxy --help`, in dedicated
mode: PROXY_MODE=dedicated, and PROXY_WORKLOAD_INFO=namespace/pod/service-account names the waypoint's own pod. Of its listeners
a waypoint has HBONE, readiness, metrics and admin.

Manifests: every *.yaml, *.yml and *.json file of the directory, read again when it changes. A file that is no good is refused
by name in the log, and what was good of it before stays. Kinds: Gateway API (HTTPRoute, GRPCRoute, TLSRoute, TCPRoute,
BackendTLSPolicy, Gateway, GatewayClass), Istio (AuthorizationPolicy, RequestAuthentication, DestinationRule, VirtualService,
Telemetry), core Services for the protocols of their ports, the ConfigMap `istio` for extension providers. What is not
supported is named in the log, field by field.

Exit status: 0 after a drain, 1 otherwise.";

/// Flags of `proxy`.
#[derive(Clone, Debug, PartialEq, Eq, Args)]
pub struct Proxy {
    /// Directory of manifests
    #[arg(long, value_name = "DIR", env = "WAYPOINT_CONFIG")]
    pub config: PathBuf,
    /// Name of our Gateway; its namespace is that of our pod
    #[arg(long, value_name = "NAME", env = "GATEWAY", default_value = "waypoint")]
    pub gateway: String,
    /// A further class of Gateways that is ours, beside `adit-waypoint`
    #[arg(long, value_name = "CLASS")]
    pub gateway_class: Vec<String>,
    /// Namespace whose policies are for the whole mesh
    #[arg(long, value_name = "NAMESPACE", env = "ROOT_NAMESPACE", default_value = "istio-system")]
    pub root_namespace: String,
    /// How paths are made alike before anything is decided: NONE, BASE, MERGE_SLASHES or DECODE_AND_MERGE_SLASHES
    #[arg(long, value_name = "HOW", default_value = "BASE")]
    pub path_normalization: How,
    /// File with a secret that all replicas share: clients keep their sessions (sessionPersistence) whichever serves them.
    /// Without it, sessions are each replica's own, and end with it
    #[arg(long, value_name = "FILE")]
    pub session_secret: Option<PathBuf>,
}

/// A way to make paths alike, as it is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct How(pub Normalization);

impl FromStr for How {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "NONE" => Ok(Self(Normalization::None)),
            "BASE" => Ok(Self(Normalization::Base)),
            "MERGE_SLASHES" => Ok(Self(Normalization::MergeSlashes)),
            "DECODE_AND_MERGE_SLASHES" => Ok(Self(Normalization::DecodeAndMergeSlashes)),
            _ => Err("expected NONE, BASE, MERGE_SLASHES or DECODE_AND_MERGE_SLASHES".to_owned()),
        }
    }
}

/// Flags of `demo`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Args)]
pub struct Demo {
    /// Take the scripted tour and end: each step is verified, and the exit code is 0 only if every one was seen to work
    #[arg(long)]
    pub once: bool,
}

/// Runs the program with `args` (the program's own name first).
pub fn main(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let cli = match Cli::try_parse_from(args) {
        Ok(cli) => cli,
        Err(error) => {
            // Failing to print the help leaves nothing better to do than to exit.
            let _ = error.print();
            return if error.use_stderr() { ExitCode::FAILURE } else { ExitCode::SUCCESS };
        }
    };
    let result = match cli.command {
        Command::Proxy(proxy) => run::proxy(&proxy).map_err(|error| error.to_string()),
        Command::Demo(demo) => demo::main(&demo).map_err(|error| error.to_string()),
        Command::Version => {
            let _ = writeln!(std::io::stdout(), "adit-waypoint {}", env!("CARGO_PKG_VERSION"));
            Ok(ExitCode::SUCCESS)
        }
    };
    result.unwrap_or_else(|error| {
        let _ = writeln!(std::io::stderr(), "error: {error}");
        ExitCode::FAILURE
    })
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        Cli::command().debug_assert();
        let proxy = |args: &[&str]| Cli::try_parse_from([&["adit-waypoint", "proxy"], args].concat());
        assert!(proxy(&["--config", "x", "--path-normalization", "MERGE_SLASHES"]).is_ok());
        assert!(proxy(&[]).is_err());
        let error = proxy(&["--config", "x", "--path-normalization", "merge"]).unwrap_err().to_string();
        assert!(error.contains("expected NONE, BASE"), "{error}");
    }
}
