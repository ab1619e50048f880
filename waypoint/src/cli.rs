//! The command line: commands, flags, help that is documentation, and exit codes.
use std::ffi::OsString;
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use std::str::FromStr;

use adit_core::hbone::Authority;
use adit_core::l7::Normalization;
use adit_core::proxy::LocalWorkload;
use adit_ops::http::Origin;
use clap::{ArgAction, Args, Parser, Subcommand, ValueEnum};

use crate::explain::{self, Caller, Header, Question, QuestionError};
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
    /// Say what would become of a request, and why: at a waypoint that runs, or by files
    #[command(after_long_help = EXPLAIN)]
    Explain(Box<Explain>),
    /// Print the version
    Version,
}

const PROXY: &str = "\
The mesh, certificates, ports and limits are configured by the environment variables of `adit-node proxy --help`, in dedicated
mode: PROXY_MODE=dedicated, and PROXY_WORKLOAD_INFO=namespace/pod/service-account names the waypoint's own pod. Of its listeners
a waypoint has HBONE, readiness, metrics and admin.

Resources come from a directory or from a cluster, and are translated alike.

A directory (--config DIR): every *.yaml, *.yml and *.json file of it, read again when it changes. A file that is no good is
refused by name in the log, and what was good of it before stays.

A cluster (--config-source cluster): every kind is watched in all namespaces, by the pod's service account, or by what KUBECONFIG
names. Until all has been read once the waypoint is not ready; when the API server is away, the last state stays. What becomes of
each resource is written into its status, by the controller `adit.dev/waypoint`, as far as its service has the label
istio.io/use-waypoint with the name of this Gateway. ConfigMaps and Secrets are read only where a resource refers to them.

Kinds: Gateway API (HTTPRoute, GRPCRoute, TLSRoute, TCPRoute,
BackendTLSPolicy, XBackendTrafficPolicy, Gateway, GatewayClass), Istio (AuthorizationPolicy, RequestAuthentication, DestinationRule, VirtualService,
Telemetry), core Services for the protocols of their ports, the ConfigMap `istio` for extension providers. What is not
supported is named in the log, field by field.

Exit status: 0 after a drain, 1 otherwise.";

/// Flags of `proxy`.
#[derive(Clone, Debug, PartialEq, Eq, Args)]
pub struct Proxy {
    /// Directory of manifests
    #[arg(
        long,
        value_name = "DIR",
        env = "WAYPOINT_CONFIG",
        required_unless_present = "config_source",
        required_if_eq("config_source", "directory")
    )]
    pub config: Option<PathBuf>,
    /// Where resources come from; a directory if --config is given alone
    #[arg(long, value_name = "SOURCE", env = "WAYPOINT_CONFIG_SOURCE")]
    pub config_source: Option<ConfigSource>,
    /// Whether what becomes of a cluster's resources is written into their status
    #[arg(long, value_name = "BOOL", env = "WAYPOINT_WRITE_STATUS", default_value_t = true, action = ArgAction::Set)]
    pub write_status: bool,
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

/// Where resources come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ConfigSource {
    /// Files of --config
    Directory,
    /// The API of a Kubernetes cluster
    Cluster,
}

const EXPLAIN: &str = "\
A waypoint that runs, in this pod or through `kubectl port-forward`:
  adit-waypoint explain --to reviews.shop:80 --path /orders?all --from shop/web
  adit-waypoint explain --to reviews.shop:80 --header 'x-group: testers' --admin http://127.0.0.1:15000 --json
Files, before anybody runs them:
  adit-waypoint explain --to reviews.shop:80 --from shop/web --config manifests --mesh mesh.yaml --workload shop/waypoint/waypoint

The answer tells what is made of the path, whose token it is, which policies were consulted, which rules were tried in their
order and why each is not the one, what filters change, mirrors, limits and faults, every backend with its share and endpoints,
retries and timeouts, and in one line what becomes of it. The functions asked are those that requests meet; nothing is sent, no
bucket is emptied, no authorizer or rate limit service is asked.

Files say nothing of what is under way or ejected, and keys of issuers are not fetched. The mesh file is what LOCAL_XDS_PATH
names for `proxy`. Problems of manifests are told on stderr.

Exit status:
  0  the request would be sent on, or answered as it is configured: a redirect, a fixed answer, a browser's question
  1  it would be refused: denied, no rule, nobody behind it, no HTTP
  2  there is no answer: wrong usage, no waypoint, files that cannot be read, nothing of this waypoint's";

/// Flags of `explain`.
#[derive(Clone, Debug, PartialEq, Eq, Args)]
pub struct Explain {
    /// Whom the request is for: name.namespace, a hostname or an address, and a port
    #[arg(long, value_name = "HOST:PORT", value_parser = explain::target)]
    pub to: Authority,
    /// The method
    #[arg(long, value_name = "METHOD", default_value = "GET")]
    pub method: String,
    /// The path as the client writes it, with its query
    #[arg(long, value_name = "PATH", default_value = "/")]
    pub path: String,
    /// Host of the request; that of --to if it is not given
    #[arg(long, value_name = "HOST")]
    pub host: Option<String>,
    /// A header of the request; may be given several times
    #[arg(long, value_name = "NAME: VALUE")]
    pub header: Vec<Header>,
    /// Who calls: namespace/service-account, or a whole SPIFFE identity. Without it, nobody that policies know
    #[arg(long, value_name = "IDENTITY")]
    pub from: Option<Caller>,
    /// Admin pages of the waypoint to ask
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:15000")]
    pub admin: Origin,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
    /// Files to ask instead of a waypoint.
    #[command(flatten)]
    pub offline: Option<Offline>,
}

/// Files to ask instead of a waypoint that runs.
#[derive(Clone, Debug, PartialEq, Eq, Args)]
#[group(multiple = true, conflicts_with = "admin")]
pub struct Offline {
    /// Ask no waypoint, but the manifests of this directory
    #[arg(long, value_name = "DIR", required = false, requires_all = ["mesh", "workload"])]
    pub config: PathBuf,
    /// The mesh, as LOCAL_XDS_PATH would say it
    #[arg(long, value_name = "FILE", required = false, requires = "config")]
    pub mesh: PathBuf,
    /// The waypoint's own pod
    #[arg(long, value_name = "NAMESPACE/POD/ACCOUNT", required = false, requires = "config")]
    pub workload: Pod,
    /// Name of the waypoint's Gateway
    #[arg(long, value_name = "NAME", default_value = "waypoint", requires = "config")]
    pub gateway: String,
    /// A further class of Gateways that is ours, beside `adit-waypoint`
    #[arg(long, value_name = "CLASS", requires = "config")]
    pub gateway_class: Vec<String>,
    /// Namespace whose policies are for the whole mesh
    #[arg(long, value_name = "NAMESPACE", default_value = "istio-system", requires = "config")]
    pub root_namespace: String,
    /// What names of services end with
    #[arg(long, value_name = "DOMAIN", default_value = "cluster.local", requires = "config")]
    pub cluster_domain: String,
    /// As of `proxy`: NONE, BASE, MERGE_SLASHES or DECODE_AND_MERGE_SLASHES
    #[arg(long, value_name = "HOW", default_value = "BASE", requires = "config")]
    pub path_normalization: How,
}

impl Explain {
    /// The question that is asked.
    ///
    /// # Errors
    /// It has too many headers.
    pub fn question(&self) -> Result<Question, QuestionError> {
        if self.header.len() > explain::MAX_HEADERS {
            return Err(QuestionError::Headers);
        }
        Ok(Question {
            to: self.to.clone(),
            method: self.method.clone(),
            path: self.path.clone(),
            host: self.host.clone(),
            headers: self.header.clone(),
            from: self.from.clone(),
        })
    }
}

/// A pod, as it is written: `namespace/pod/service-account`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pod(pub LocalWorkload);

impl FromStr for Pod {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parts: Vec<_> = text.split('/').collect();
        let [namespace, name, account] = parts[..] else {
            return Err("expected namespace/pod/service-account".to_owned());
        };
        let (namespace, name, service_account) = (namespace.into(), name.into(), account.into());
        Ok(Self(LocalWorkload { namespace, name, service_account }))
    }
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
    let args: Vec<_> = args.into_iter().collect();
    // `explain` says "refused" with 1.
    let answers = args.get(1).is_some_and(|command| command == "explain");
    let failure = ExitCode::from(if answers { explain::NO_ANSWER } else { 1 });
    let cli = match Cli::try_parse_from(args) {
        Ok(cli) => cli,
        Err(error) => {
            // Failing to print the help leaves nothing better to do than to exit.
            let _ = error.print();
            return if error.use_stderr() { failure } else { ExitCode::SUCCESS };
        }
    };
    let result = match cli.command {
        Command::Proxy(proxy) => run::proxy(&proxy).map_err(|error| error.to_string()),
        Command::Demo(demo) => demo::main(&demo).map_err(|error| error.to_string()),
        Command::Explain(explain) => explain::run(&explain).map_err(|error| error.to_string()),
        Command::Version => {
            let _ = writeln!(std::io::stdout(), "adit-waypoint {}", env!("CARGO_PKG_VERSION"));
            Ok(ExitCode::SUCCESS)
        }
    };
    result.unwrap_or_else(|error| {
        let _ = writeln!(std::io::stderr(), "error: {error}");
        failure
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
        assert!(proxy(&["--config-source", "directory"]).is_err());
        assert!(proxy(&["--config-source", "cluster"]).is_ok());
        let silent = proxy(&["--config-source", "cluster", "--write-status=false"]);
        assert!(matches!(silent.unwrap().command, Command::Proxy(Proxy { write_status: false, .. })));
        let error = proxy(&["--config", "x", "--path-normalization", "merge"]).unwrap_err().to_string();
        assert!(error.contains("expected NONE, BASE"), "{error}");
    }
    #[test]
    fn explain_asks_a_waypoint_or_files() {
        let explain = |args: &[&str]| {
            Cli::try_parse_from([&["adit-waypoint", "explain", "--to", "a.b:80"], args].concat())
        };
        let parsed = |args: &[&str]| match explain(args).unwrap().command {
            Command::Explain(explain) => explain,
            other => panic!("{other:?}"),
        };
        assert_eq!(parsed(&[]).offline, None);
        let files = ["--config", "x", "--mesh", "m", "--workload", "shop/waypoint/waypoint"];
        let offline = parsed(&files).offline.unwrap();
        assert_eq!((&*offline.workload.0.name, &*offline.gateway), ("waypoint", "waypoint"));
        let all =
            parsed(&["--header", "x-A: b: c", "--header", "y:", "--from", "shop/web", "--path", "/x?y"]);
        let question = all.question().unwrap();
        assert_eq!((&*question.headers[0].name, &*question.headers[0].value), ("x-a", "b: c"));
        for (args, expected) in [
            (&["--config", "x"][..], "--mesh"),
            (&["--mesh", "x"], "--config"),
            (&["--gateway", "x"], "--config"),
            (&[&files[..], &["--admin", "http://127.0.0.1:1"]].concat(), "--admin"),
            (&["--from", "x"], "namespace/service-account"),
            (&["--header", "x"], "name: value"),
            (&["--workload", "x"], "namespace/pod/service-account"),
        ] {
            let error = explain(args).unwrap_err().to_string();
            assert!(error.contains(expected), "{args:?}: {error}");
        }
        let help = Cli::command().find_subcommand_mut("explain").unwrap().render_long_help().to_string();
        for words in ["Exit status:", "--config", "--mesh", "--admin", "nothing is sent"] {
            assert!(help.contains(words), "{words}");
        }
    }
}
