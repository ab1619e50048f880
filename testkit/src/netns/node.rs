//! `adit-node proxy` and `adit-waypoint proxy` as processes, and what their logs say.
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value;

use super::{Namespace, Process, Result, binary, peer};

/// Starting takes well under a second; the machine may be busy.
const START: Duration = Duration::from_secs(20);

/// How long to wait for a line of the access log.
const LOG: Duration = Duration::from_secs(10);

/// Which event loop the proxy runs on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Runtime {
    /// tokio.
    Tokio,
    /// smol.
    Smol,
}

impl fmt::Display for Runtime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tokio => "tokio",
            Self::Smol => "smol",
        })
    }
}

/// A proxy to be started, in dedicated mode.
#[derive(Clone, Debug)]
pub struct NodeSpec {
    /// Name of its workload, in namespace `default` with a service account of the same name.
    pub workload: String,
    /// The event loop.
    pub runtime: Runtime,
    /// The mesh file; `None` if variables name a control plane.
    pub mesh: Option<PathBuf>,
    /// The directory of the built-in CA, shared with the proxies that shall trust it; `None` if variables name another CA.
    pub ca: Option<PathBuf>,
    /// Where it listens; the wildcard address if `None`.
    pub bind: Option<IpAddr>,
    /// Further variables.
    pub vars: Vec<(String, String)>,
}

/// A running proxy.
#[derive(Debug)]
pub struct Node {
    process: Process,
}

impl NodeSpec {
    /// Adds a variable.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl ToString) -> Self {
        self.vars.push((name.to_owned(), value.to_string()));
        self
    }

    /// Starts the proxy and waits until it is ready.
    ///
    /// # Errors
    /// It is not built, or does not become ready.
    pub fn start(&self, namespace: Option<&Namespace>) -> Result<Node> {
        self.start_program("adit-node", namespace, &["proxy"])
    }

    /// Starts the waypoint of this workload, with manifests from `config`, and waits until it is ready.
    ///
    /// # Errors
    /// It is not built, or does not become ready.
    pub fn start_waypoint(&self, namespace: Option<&Namespace>, config: &Path) -> Result<Node> {
        self.start_program("adit-waypoint", namespace, &["proxy", "--config", &config.display().to_string()])
    }

    fn start_program(
        &self,
        package: &'static str,
        namespace: Option<&Namespace>,
        arguments: &[&str],
    ) -> Result<Node> {
        let workload = &self.workload;
        let mut vars: Vec<(String, String)> = [
            ("PROXY_MODE", "dedicated".to_owned()),
            ("PROXY_WORKLOAD_INFO", format!("default/{workload}/{workload}")),
            ("ADIT_RUNTIME", self.runtime.to_string()),
            ("ZTUNNEL_WORKER_THREADS", "2".to_owned()),
            ("LOG_FORMAT", "json".to_owned()),
        ]
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value))
        .collect();
        vars.extend(self.mesh.iter().map(|mesh| ("LOCAL_XDS_PATH".to_owned(), mesh.display().to_string())));
        if let Some(ca) = &self.ca {
            vars.push(("FAKE_CA".to_owned(), "true".to_owned()));
            vars.push(("LOCAL_CA_DIR".to_owned(), ca.display().to_string()));
        }
        vars.extend(self.bind.map(|bind| ("ADIT_BIND_ADDRESS".to_owned(), bind.to_string())));
        vars.extend(self.vars.iter().cloned());
        let mut words = vec![binary(package, package)?.display().to_string()];
        words.extend(arguments.iter().map(|&word| word.to_owned()));
        let process = Process::spawn(&format!("{package} of {workload}"), namespace, &words, &vars)?;
        let ready = SocketAddr::new(self.bind.unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST)), 15021);
        let node = Node { process };
        match peer::client(namespace, START, &["ready".to_owned(), ready.to_string()]) {
            Ok(_) => Ok(node),
            // Why the proxy is not ready is in its own log.
            Err(error) => Err(node
                .process
                .wait_line("readiness", Duration::ZERO, |_| None::<()>)
                .err()
                .unwrap_or(error)),
        }
    }
}

impl Node {
    /// The process.
    #[must_use]
    pub fn process(&self) -> &Process {
        &self.process
    }

    /// The process, to end it.
    pub fn process_mut(&mut self) -> &mut Process {
        &mut self.process
    }

    /// Waits for a line of the access log in which every one of `fields` has the given text; an address given without
    /// its port matches any port.
    ///
    /// # Errors
    /// There is none in time.
    pub fn wait_access(&self, fields: &[(&str, &str)]) -> Result<Value> {
        self.process.wait_line(&format!("an access log line with {fields:?}"), LOG, |line| {
            let line: Value = serde_json::from_str(line).ok()?;
            (line.get("scope")? == "access").then_some(())?;
            let all = fields.iter().all(|(name, wanted)| {
                let found = line.get(*name).map_or_else(String::new, text);
                found == *wanted
                    || found.parse::<SocketAddr>().is_ok_and(|found| found.ip().to_string() == *wanted)
            });
            all.then_some(line)
        })
    }

    /// Lines of the log at level ERROR or WARN that are not in the access log: a working proxy prints none.
    #[must_use]
    pub fn complaints(&self) -> Vec<String> {
        let loud = |line: &String| {
            let Ok(parsed) = serde_json::from_str::<Value>(line) else { return true };
            let level = parsed.get("level").map_or_else(String::new, text);
            let scope = parsed.get("scope").map_or_else(String::new, text);
            scope != "access" && (level == "error" || level == "warn")
        };
        self.process.lines().into_iter().filter(loud).collect()
    }
}

fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}
