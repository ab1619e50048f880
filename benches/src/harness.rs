//! One run: every system, every test, interleaved in rounds; medians and ratios at the end.
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use clap::Args;

use crate::measure::median;
use crate::peers::{self, Running, Site, System};
use crate::scenario::{Effort, Sample, TESTS, Test, one};
use crate::{Failure, pki, place};

/// What a run is made of, whatever the systems are.
#[derive(Args)]
pub(crate) struct Plan {
    /// Rounds; each runs every system once, in turn.
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Systems to leave out (names as printed).
    #[arg(long, value_delimiter = ',')]
    without: Vec<String>,
    /// Tests to run (names as printed); a usual choice when empty.
    #[arg(long, value_delimiter = ',')]
    only: Vec<String>,
    /// The `adit-node` binary; default: beside this one.
    #[arg(long)]
    node: Option<PathBuf>,
    /// Both proxies on CPU 0, load and application on CPU 1: what a wake-up costs no longer depends on where the scheduler puts
    /// whom.
    #[arg(long)]
    pinned: bool,
    /// An environment variable of the proxies that take ztunnel's, `NAME=VALUE`; may be repeated.
    #[arg(long, value_name = "NAME=VALUE", value_parser = variable)]
    pub(crate) set: Vec<(String, String)>,
    #[command(flatten)]
    effort: Effort,
}

fn variable(text: &str) -> Result<(String, String), &'static str> {
    let (name, value) = text.split_once('=').ok_or("expected NAME=VALUE")?;
    Ok((name.into(), value.into()))
}

impl Plan {
    /// Our node proxy.
    pub(crate) fn node(&self) -> Result<PathBuf, Failure> {
        match &self.node {
            Some(node) => Ok(node.clone()),
            None => Ok(std::env::current_exe()?.with_file_name("adit-node")),
        }
    }

    /// The tests that were asked for, or else those of `usual`.
    fn tests(&self, usual: &[&str]) -> Result<Vec<(&'static str, Test)>, Failure> {
        let asked: Vec<&str> = self.only.iter().map(String::as_str).collect();
        let wanted = if asked.is_empty() { usual } else { &asked };
        let known = |wanted: &&str| TESTS.iter().find(|(name, _)| name == wanted).copied();
        wanted
            .iter()
            .map(|name| known(name).ok_or_else(|| format!("there is no test {name}").into()))
            .collect()
    }

    /// Runs all of it in a directory of its own, which is removed afterwards.
    pub(crate) fn run(
        &self,
        usual: &[&str],
        mut systems: Vec<Box<dyn System>>,
        prepare: impl FnOnce(&Path) -> Result<(), Failure>,
    ) -> Result<Results, Failure> {
        systems.retain(|system| !self.without.iter().any(|name| *name == system.name()));
        let scratch = std::env::temp_dir().join(format!("adit-bench-{}", std::process::id()));
        std::fs::create_dir_all(&scratch)?;
        if self.pinned {
            place::on(place::LOAD)?;
        }
        let result = prepare(&scratch).and_then(|()| self.rounds(&self.tests(usual)?, &systems, &scratch));
        std::fs::remove_dir_all(&scratch)?;
        result
    }

    fn rounds(
        &self,
        tests: &[(&'static str, Test)],
        systems: &[Box<dyn System>],
        scratch: &Path,
    ) -> Result<Results, Failure> {
        let names = systems.iter().map(|system| system.name()).collect();
        let mut results = Results { tests: tests.into(), systems: names, samples: BTreeMap::new() };
        for round in 0..self.rounds {
            for &(test_name, test) in tests {
                for system in systems.iter().filter(|system| is_for(test, system.name(), round)) {
                    let name = system.name();
                    let because = |error| format!("{name} {test_name}: {error}");
                    let site = Site { scratch: scratch.into(), pinned: self.pinned };
                    let running = system.start(&site).map_err(because)?;
                    let sample = one(&self.effort, test, &running).map_err(because)?;
                    eprintln!("round {round} {test_name:>11} {name:<14}{}", told(&sample));
                    results.samples.entry((test_name, name)).or_default().push(sample);
                }
            }
        }
        Ok(results)
    }
}

/// Whether `system` takes it in `round`. The burst test says what becomes of a process over minutes: once is enough, and only
/// for ours.
fn is_for(test: Test, system: &str, round: usize) -> bool {
    test != Test::Burst || (round == 0 && system.starts_with("adit-"))
}

fn told(sample: &Sample) -> String {
    let values: String = sample.values.iter().map(|value| format!(" {value:9.3}")).collect();
    format!("{values}  {:.0}/s{}", sample.rate, sample.note)
}

/// What was seen.
pub(crate) struct Results {
    /// In the order in which they were run.
    pub(crate) tests: Vec<(&'static str, Test)>,
    /// Likewise.
    pub(crate) systems: Vec<&'static str>,
    samples: BTreeMap<(&'static str, &'static str), Vec<Sample>>,
}

impl Results {
    /// The median over all rounds of what `value` makes of a sample; nothing of a system that did not take the test.
    fn median(&self, test: &str, system: &str, value: impl Fn(&Sample) -> f64) -> Option<f64> {
        let found = self.samples.iter().find(|((t, s), _)| *t == test && *s == system);
        found.map(|(_, samples)| median(samples.iter().map(value).collect()))
    }

    /// Of the outbound process (0) or the inbound one (1).
    pub(crate) fn side(&self, test: &str, system: &str, side: usize) -> Option<f64> {
        self.median(test, system, |sample| sample.values.get(side).copied().unwrap_or(f64::NAN))
    }

    /// Of both together.
    pub(crate) fn both(&self, test: &str, system: &str) -> Option<f64> {
        self.median(test, system, |sample| sample.values.iter().sum())
    }

    /// Units per second.
    pub(crate) fn rate(&self, test: &str, system: &str) -> Option<f64> {
        self.median(test, system, |sample| sample.rate)
    }
}

/// What to run against the stand-in, a plain copy and Envoy.
#[derive(Args)]
pub(crate) struct Options {
    #[command(flatten)]
    plan: Plan,
    /// An `envoy` binary; Envoy is left out without one.
    #[arg(long)]
    envoy: Option<PathBuf>,
}

const USUAL: &[&str] =
    &["bulk-1-up", "bulk-1-down", "bulk-8-up", "bulk-8-down", "1KiB-16", "connect", "idle", "burst"];

/// The system all others are compared with.
const BASE: &str = "standin-2";

/// Runs the bench.
pub(crate) fn run(options: &Options) -> Result<(), Failure> {
    let plan = &options.plan;
    let systems = peers::systems(&plan.node()?, &plan.set, options.envoy.as_deref());
    print(&plan.run(USUAL, systems, |scratch| pki::write(scratch, &["client", "server"]))?);
    Ok(())
}

/// What to measure of proxies that run already.
#[derive(Args)]
pub(crate) struct Against {
    /// Where to connect so that the connection arrives, through the proxies, at `adit-bench app`.
    #[arg(long)]
    entry: SocketAddr,
    /// The proxies' processes, outbound first.
    #[arg(long, required = true)]
    pid: Vec<u32>,
    #[command(flatten)]
    plan: Plan,
}

/// Runs the tests through proxies that run already, and prints one line each.
pub(crate) fn against(against: &Against) -> Result<(), Failure> {
    let running = Running::elsewhere(against.entry, against.pid.clone());
    let plan = &against.plan;
    for _ in 0..plan.rounds {
        for (name, test) in plan.tests(USUAL)? {
            let sample = one(&plan.effort, test, &running).map_err(|error| format!("{name}: {error}"))?;
            println!("{name:>11}{}", told(&sample));
        }
    }
    Ok(())
}

fn print(results: &Results) {
    println!("Medians.");
    println!(
        "{:<12} {:<14} {:>10} {:>10} {:>10} {:>9} {:>9}  {:>9}  unit",
        "test", "system", "outbound", "inbound", "both", "/standin2", "/copy", "rate/s"
    );
    let or_not = |value: Option<f64>| value.unwrap_or(f64::NAN);
    for (name, test) in &results.tests {
        for system in &results.systems {
            let Some(both) = results.both(name, system) else { continue };
            println!(
                "{name:<12} {system:<14} {:>10.3} {:>10.3} {both:>10.3} {:>9.2} {:>9.2}  {:>9.0}  {}",
                or_not(results.side(name, system, 0)),
                or_not(results.side(name, system, 1)),
                both / or_not(results.both(name, BASE)),
                both / or_not(results.both(name, "copy")),
                or_not(results.rate(name, system)),
                test.unit(),
            );
        }
    }
}
