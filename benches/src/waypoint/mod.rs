//! `adit-bench waypoint`: our waypoint and Envoy in the same position, in one run.
//!
//! The client is an `adit-node` for both, with an entry that leads to a service; the waypoint of that service terminates its
//! tunnels, finds the last of the routes, sets a header and asks the application over HTTP/1.1: in plaintext (`--out plain`), or
//! through a tunnel of its own to a further `adit-node` (`--out hbone`). One worker thread each.
mod config;
mod envoy;
mod load;
mod systems;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use crate::measure::{Cpu, median, resident};
use crate::peers::Site;
use crate::scenario::settle;
use crate::{Failure, pki, place};
use config::Out;
use systems::System;

/// What is run.
#[derive(Args)]
pub(crate) struct Options {
    /// An `envoy` binary; Envoy is left out without one.
    #[arg(long)]
    envoy: Option<PathBuf>,
    /// The `adit-waypoint` binary; default: beside this one.
    #[arg(long)]
    waypoint: Option<PathBuf>,
    /// The `adit-node` binary; default: beside this one.
    #[arg(long)]
    node: Option<PathBuf>,
    /// Rounds; each runs every system once, in turn.
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Seconds of load with each number of connections.
    #[arg(long, default_value_t = 4)]
    seconds: u64,
    /// Kept connections.
    #[arg(long, value_delimiter = ',', default_value = "1,16,64")]
    connections: Vec<usize>,
    /// Routes; load is carried with the number in `--loaded`, of the others it is the memory.
    #[arg(long, value_delimiter = ',', default_value = "1,100,10000")]
    routes: Vec<usize>,
    /// Routes of those that carry load.
    #[arg(long, default_value_t = 100)]
    loaded: usize,
    /// How the application is reached.
    #[arg(long, value_enum, default_value_t = Out::Plain)]
    out: Out,
    /// The waypoint on CPU 0, everybody else on CPU 1.
    #[arg(long)]
    pinned: bool,
}

/// What was measured, by test and system, a value for each round.
#[derive(Default)]
struct Results(BTreeMap<(String, &'static str), Vec<f64>>);

impl Results {
    fn put(&mut self, test: String, system: &System, value: f64) {
        self.0.entry((test, system.name())).or_default().push(value);
    }

    fn median(&self, test: &str, system: &'static str) -> Option<f64> {
        self.0.get(&(test.to_owned(), system)).map(|values| median(values.clone()))
    }
}

/// Runs the bench.
pub(crate) fn run(options: &Options) -> Result<(), Failure> {
    let scratch = std::env::temp_dir().join(format!("adit-bench-{}", std::process::id()));
    std::fs::create_dir_all(&scratch)?;
    if options.pinned {
        place::on(place::LOAD)?;
    }
    let site = Site { scratch: scratch.clone(), pinned: options.pinned };
    let result = pki::write(&scratch, &["client", "waypoint", "app"]).and_then(|()| measured(options, &site));
    std::fs::remove_dir_all(&scratch)?;
    print(options, &result?);
    Ok(())
}

fn measured(options: &Options, site: &Site) -> Result<Results, Failure> {
    let beside = |given: &Option<PathBuf>, name: &str| -> Result<PathBuf, Failure> {
        Ok(given.clone().map_or_else(|| std::env::current_exe().map(|this| this.with_file_name(name)), Ok)?)
    };
    let node = beside(&options.node, "adit-node")?;
    let mut systems = vec![System::Adit(beside(&options.waypoint, "adit-waypoint")?)];
    systems.extend(options.envoy.clone().map(System::Envoy));
    systems.push(System::Nobody);
    let app = load::application((config::APP, 0).into())?;
    let mut results = Results::default();
    for round in 0..options.rounds {
        for &routes in &options.routes {
            for system in systems.iter().filter(|system| **system != System::Nobody) {
                let (running, entry) = system.start(site, &node, app, options.out, routes)?;
                load::requests(entry, &config::path(routes - 1), 1, Duration::from_millis(200))?;
                settle();
                for &pid in &running.pids {
                    let mib = resident(pid)? as f64 / 1024.0;
                    eprintln!("round {round} {routes:>6} routes {:<7} {mib:8.2} MiB", system.name());
                    results.put(memory(routes), system, mib);
                }
            }
        }
        for &connections in &options.connections {
            for system in &systems {
                loaded(options, site, (&node, app), (round, connections), system, &mut results)?;
            }
        }
    }
    Ok(results)
}

fn memory(routes: usize) -> String {
    format!("resident, {routes} routes (MiB)")
}

fn cost(connections: usize) -> String {
    format!("CPU-µs per request, {connections} connections")
}

fn latency(connections: usize, which: &str) -> String {
    format!("added {which}, {connections} connections (µs)")
}

/// One system under load once.
fn loaded(
    options: &Options,
    site: &Site,
    (node, app): (&PathBuf, std::net::SocketAddr),
    (round, connections): (usize, usize),
    system: &System,
    results: &mut Results,
) -> Result<(), Failure> {
    let (running, entry) = system.start(site, node, app, options.out, options.loaded)?;
    let path = config::path(options.loaded - 1);
    load::requests(entry, &path, connections, Duration::from_millis(500))?;
    let cpu = || running.pids.iter().map(|&pid| Cpu::of(pid)).collect::<Result<Vec<_>, _>>();
    let before = cpu()?;
    let seen = load::requests(entry, &path, connections, Duration::from_secs(options.seconds))?;
    let used: f64 = cpu()?.into_iter().zip(before).map(|(after, before)| (after - before).as_secs()).sum();
    let each = used * 1e6 / seen.requests as f64;
    let micros = |duration: Duration| duration.as_secs_f64() * 1e6;
    eprintln!(
        "round {round} {connections:>3} connections {:<7} {each:8.2} CPU-µs  p50 {:7.0} µs  p99 {:7.0} µs  {}/s",
        system.name(),
        micros(seen.p50),
        micros(seen.p99),
        seen.requests / options.seconds.max(1),
    );
    results.put(cost(connections), system, each);
    results.put(latency(connections, "p50"), system, micros(seen.p50));
    results.put(latency(connections, "p99"), system, micros(seen.p99));
    Ok(())
}

fn print(options: &Options, results: &Results) {
    let out = match options.out {
        Out::Plain => "plain",
        Out::Hbone => "HBONE",
    };
    println!(
        "Medians of {} rounds; HBONE in, {out} out; load with {} routes.",
        options.rounds, options.loaded
    );
    println!("| what | adit | envoy | ratio |\n|---|---|---|---|");
    let row = |test: &str, base: f64| {
        let of = |system| results.median(test, system).map(|value| value - base);
        let (ours, theirs) = (of("adit").unwrap_or(f64::NAN), of("envoy").unwrap_or(f64::NAN));
        println!("| {test} | {ours:.1} | {theirs:.1} | {:.2} |", ours / theirs);
    };
    for &connections in &options.connections {
        row(&cost(connections), 0.0);
        for which in ["p50", "p99"] {
            let test = latency(connections, which);
            row(&test, results.median(&test, "nobody").unwrap_or(f64::NAN));
        }
    }
    for &routes in &options.routes {
        row(&memory(routes), 0.0);
    }
}
