//! Nodes under a real control plane: etcd, a Kubernetes API server and istiod as they are released, and two machines, each with
//! one `adit-node` in shared mode, an agent that plays istio-cni's part, and pods that are known to Kubernetes.
//!
//! One cluster for all scenarios, which follow one another: starting it takes longer than any of them. Each has a Kubernetes
//! namespace of its own. `.ci/e2e` brings the programs and runs this; arguments are parts of names of scenarios to be run alone.
//! Needs root, `ip`, `iptables`, `nft`, `cargo build -p adit-node -p adit-waypoint` before, and what [`control_plane`] names.

mod agent;
mod cluster;
mod control_plane;
mod machine;
mod objects;
mod scenarios;
mod wire;

use std::error::Error;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use cluster::Cluster;

/// What everything here returns.
type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

/// How long anything that takes a second at most may take on a busy machine.
const SOON: Duration = Duration::from_secs(60);

/// A scenario and the Kubernetes namespace that it has for itself.
type Scenario = fn(&mut Cluster, &str) -> Result<()>;

/// All of them, in order; each with the Kubernetes namespace that it has for itself.
const SCENARIOS: [(&str, &str, Scenario); 6] = [
    ("a_label_brings_mtls_and_nothing_restarts", "label", scenarios::label::brings_mtls),
    ("policies_are_enforced_and_lifted", "policies", scenarios::policies::enforced_and_lifted),
    ("a_service_reaches_both_nodes_and_has_a_name", "service", scenarios::service::reaches_both_nodes),
    ("a_deleted_pod_leaves_nothing", "delete", scenarios::delete::leaves_nothing),
    ("a_waypoint_watches_the_cluster", "wp", scenarios::waypoint::watches_the_cluster),
    // The last: its control plane is not the one the others had.
    ("a_restart_of_istiod_goes_unnoticed", "restart", scenarios::restart::goes_unnoticed),
];

fn main() -> ExitCode {
    let wanted: Vec<String> = std::env::args().skip(1).filter(|word| !word.starts_with('-')).collect();
    let wanted = |name: &str| wanted.is_empty() || wanted.iter().any(|part| name.contains(part));
    let start = Instant::now();
    let mut cluster = match Cluster::start() {
        Ok(cluster) => cluster,
        Err(error) => {
            eprintln!("the cluster does not start: {error}");
            return ExitCode::FAILURE;
        }
    };
    println!("the cluster is up after {:.1} s", start.elapsed().as_secs_f64());
    let (mut passed, mut failed) = (0, Vec::new());
    for (name, space, scenario) in SCENARIOS.into_iter().filter(|(name, ..)| wanted(name)) {
        let start = Instant::now();
        let outcome = run(&mut cluster, space, scenario);
        let took = start.elapsed().as_secs_f64();
        match outcome {
            Ok(()) => {
                passed += 1;
                println!("test {name} ... ok ({took:.1} s)");
            }
            Err(error) => {
                println!("test {name} ... FAILED ({took:.1} s)\n{error}\n{}", cluster.told());
                failed.push(name);
            }
        }
    }
    if failed.is_empty()
        && let Err(error) = cluster.nothing_left()
    {
        println!("test nothing_is_left ... FAILED\n{error}\n{}", cluster.told());
        failed.push("nothing_is_left");
    }
    drop(cluster);
    let (verdict, took) = (if failed.is_empty() { "ok" } else { "FAILED" }, start.elapsed().as_secs_f64());
    println!("\ntest result: {verdict}. {passed} passed; {} failed; finished in {took:.1} s", failed.len());
    if failed.is_empty() && passed > 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Runs one scenario in a fresh Kubernetes namespace and takes away what it made.
fn run(cluster: &mut Cluster, space: &str, scenario: Scenario) -> Result<()> {
    cluster.label(space, false)?;
    let outcome = catch_unwind(AssertUnwindSafe(|| scenario(cluster, space)));
    let cleared = cluster.clear(space);
    match outcome {
        Ok(outcome) => outcome.and(cleared),
        Err(_) => Err("it panicked: see above".into()),
    }
}
