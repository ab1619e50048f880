//! Our node proxy beside the real ztunnel, as nodes of a cluster run them: one process per node in shared mode, which a CNI
//! agent tells of pods over ZDS and which has mesh and certificates from a control plane; pods with real redirection rules.
use std::path::PathBuf;

use clap::Args;

use crate::Failure;
use crate::harness::{Plan, Results};
use crate::peers::{Running, Site, Start, System, this};
use crate::scenario::settle;

mod cluster;

use cluster::Cluster;

/// What to run.
#[derive(Args)]
pub(crate) struct Options {
    #[command(flatten)]
    plan: Plan,
    /// A release build of `ztunnel`; left out without one.
    #[arg(long)]
    ztunnel: Option<PathBuf>,
}

/// What is demanded of ours.
enum Bar {
    /// Both processes together, over ztunnel's.
    Ratio(f64),
    /// Either process.
    Each(f64),
}

/// In the order of the tests.
const BARS: [(&str, Bar); 12] = [
    ("bulk-1-up", Bar::Ratio(0.65)),
    ("bulk-1-down", Bar::Ratio(0.65)),
    ("bulk-8-up", Bar::Ratio(0.65)),
    ("bulk-8-down", Bar::Ratio(0.65)),
    ("64B-16", Bar::Ratio(0.45)),
    ("64B-64", Bar::Ratio(0.45)),
    ("1KiB-16", Bar::Ratio(0.45)),
    ("1KiB-64", Bar::Ratio(0.45)),
    ("connect", Bar::Ratio(0.5)),
    ("rest", Bar::Each(8.0 * 1024.0)),
    ("idle", Bar::Each(1.5)),
    ("workloads", Bar::Each(700.0)),
];

const ZTUNNEL: &str = "ztunnel";

/// Runs the bench.
pub(crate) fn run(options: &Options) -> Result<(), Failure> {
    let node = options.plan.node()?;
    let ours = |name, runtime| Pods {
        name,
        program: node.clone(),
        arguments: vec!["proxy", "--runtime", runtime],
        set: options.plan.set.clone(),
        node: node.clone(),
    };
    let mut systems: Vec<Box<dyn System>> =
        vec![Box::new(ours("adit-tokio", "tokio")), Box::new(ours("adit-smol", "smol"))];
    if let Some(program) = &options.ztunnel {
        let program = program.clone();
        systems.push(Box::new(Pods {
            name: ZTUNNEL,
            program,
            arguments: vec!["proxy", "ztunnel"],
            ..ours(ZTUNNEL, "")
        }));
    }
    print(&options.plan.run(&BARS.map(|(name, _)| name), systems, |_| Ok(()))?);
    Ok(())
}

/// A proxy on two nodes.
struct Pods {
    name: &'static str,
    program: PathBuf,
    arguments: Vec<&'static str>,
    set: Vec<(String, String)>,
    /// The `adit-node` that captures the pods.
    node: PathBuf,
}

impl System for Pods {
    fn name(&self) -> &'static str {
        self.name
    }

    fn start(&self, site: &Site) -> Result<Running, Failure> {
        let cluster = Cluster::new(&self.node)?;
        let app = cluster.app();
        let mut application = cluster.in_pod(this()?.get_program().as_ref());
        let proxies = cluster.proxies(&self.program);
        let mut start = Start::new(site, app, Some(Box::new(cluster)));
        start.spawn(application.args(["app", "--listen", &app.to_string()]), false)?;
        for mut proxy in proxies {
            proxy.args(&self.arguments).envs(self.set.iter().map(|(name, value)| (name, value)));
            start.spawn(&mut proxy, true)?;
        }
        let running = start.ready()?;
        // What a proxy does once for each of its pods (ours tries whether it is captured) is not what is measured.
        settle();
        Ok(running)
    }
}

fn print(results: &Results) {
    println!("Medians.");
    println!(
        "{:<12} {:<11} {:>10} {:>11} {:>10} {:>9}  {:<14} {:>8}  unit",
        "test", "system", "source", "destination", "both", "/ztunnel", "bar", "rate/s"
    );
    for (name, test) in &results.tests {
        let bar = BARS.iter().find(|(of, _)| of == name).map(|(_, bar)| bar);
        for system in &results.systems {
            let Some(both) = results.both(name, system) else { continue };
            let [source, destination] =
                [0, 1].map(|side| results.side(name, system, side).unwrap_or(f64::NAN));
            let ratio = both / results.both(name, ZTUNNEL).unwrap_or(f64::NAN);
            let judged = match bar {
                Some(bar) if *system != ZTUNNEL => bar.judge(ratio, source.max(destination)),
                _ => String::new(),
            };
            println!(
                "{name:<12} {system:<11} {source:>10.3} {destination:>11.3} {both:>10.3} {ratio:>9.3}  {judged:<14} {:>8.0}  {}",
                results.rate(name, system).unwrap_or(f64::NAN),
                test.unit(),
            );
        }
    }
}

impl Bar {
    /// What is demanded, and whether it is so.
    fn judge(&self, ratio: f64, greater: f64) -> String {
        let (seen, demanded) = match self {
            Self::Ratio(demanded) => (ratio, demanded),
            Self::Each(demanded) => (greater, demanded),
        };
        // Without ztunnel there is no ratio.
        let judged = if seen.is_nan() {
            ""
        } else if seen <= *demanded {
            " met"
        } else {
            " missed"
        };
        format!("≤ {demanded}{judged}")
    }
}
