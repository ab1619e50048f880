//! One run: every system, every test, interleaved in rounds; medians and ratios at the end.
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use clap::Args;

use crate::measure::{Cpu, median, resident};
use crate::peers::{self, Running, Site, System};
use crate::{Failure, load, pki, place};

/// What to run.
#[derive(Args)]
pub(crate) struct Options {
    /// Rounds; each runs every system once, in turn.
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Octets per connection in bulk tests with one connection (an eighth each with eight), in MiB.
    #[arg(long, default_value_t = 2048)]
    bulk_mib: u64,
    /// Seconds of each request test.
    #[arg(long, default_value_t = 4)]
    seconds: u64,
    /// Idle connections for the memory test: so many that what a process needs once does not count.
    #[arg(long, default_value_t = 10_000)]
    idle: usize,
    /// Simultaneous connections of each burst of the burst test; a process needs as many descriptors.
    #[arg(long, default_value_t = 10_000)]
    burst: usize,
    /// Seconds of rest after each burst before memory is looked at.
    #[arg(long, default_value_t = 30)]
    rest: u64,
    /// Systems to leave out (names as printed).
    #[arg(long, value_delimiter = ',')]
    without: Vec<String>,
    /// Tests to run (names as printed); all when empty.
    #[arg(long, value_delimiter = ',')]
    only: Vec<String>,
    /// The `adit-node` binary; default: beside this one.
    #[arg(long)]
    node: Option<PathBuf>,
    /// An `envoy` binary; Envoy is left out without one.
    #[arg(long)]
    envoy: Option<PathBuf>,
    /// Both proxies on CPU 0, load and application on CPU 1: what a wake-up costs no longer depends on where the scheduler puts
    /// whom.
    #[arg(long)]
    pinned: bool,
    /// An environment variable of `adit-node`, `NAME=VALUE`; may be repeated.
    #[arg(long, value_name = "NAME=VALUE", value_parser = variable)]
    set: Vec<(String, String)>,
}

fn variable(text: &str) -> Result<(String, String), &'static str> {
    let (name, value) = text.split_once('=').ok_or("expected NAME=VALUE")?;
    Ok((name.into(), value.into()))
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
    options: Options,
}

/// Runs the tests through proxies that run already, and prints one line each.
pub(crate) fn against(against: &Against) -> Result<(), Failure> {
    let running = Running::elsewhere(against.entry, against.pid.clone());
    let options = &against.options;
    for _ in 0..options.rounds {
        for (name, test) in selected(options) {
            let sample = one(options, *test, &running).map_err(|error| format!("{name}: {error}"))?;
            let cpu: String = sample.cpu.iter().map(|cpu| format!(" {:9.3}", cpu * 1e6)).collect();
            println!("{name:>11}{cpu}  {:.0}/s{}", sample.rate, sample.note);
        }
    }
    Ok(())
}

fn selected(options: &Options) -> impl Iterator<Item = &'static (&'static str, Test)> {
    TESTS.iter().filter(|(name, _)| options.only.is_empty() || options.only.iter().any(|only| only == name))
}

/// The system all others are compared with.
const BASE: &str = "standin-2";

#[derive(Clone, Copy)]
enum Test {
    Bulk { up: bool, connections: usize },
    Requests { connections: usize },
    Connections,
    Idle,
    Burst,
}

impl Test {
    /// Whether `system` takes it in `round`. The burst test says what becomes of a process over minutes: once is enough, and
    /// only for ours.
    fn is_for(self, system: &str, round: usize) -> bool {
        !matches!(self, Self::Burst) || (round == 0 && system.starts_with("adit-"))
    }
}

const TESTS: &[(&str, Test)] = &[
    ("bulk-1-up", Test::Bulk { up: true, connections: 1 }),
    ("bulk-1-down", Test::Bulk { up: false, connections: 1 }),
    ("bulk-8-up", Test::Bulk { up: true, connections: 8 }),
    ("bulk-8-down", Test::Bulk { up: false, connections: 8 }),
    ("1KiB-16", Test::Requests { connections: 16 }),
    ("connect", Test::Connections),
    ("idle", Test::Idle),
    ("burst", Test::Burst),
];

/// What one test of one system gave.
struct Sample {
    /// CPU-seconds per unit, outbound and inbound process.
    cpu: Vec<f64>,
    /// Units per second.
    rate: f64,
    note: String,
}

/// Runs the bench.
pub(crate) fn run(options: &Options) -> Result<(), Failure> {
    let scratch = std::env::temp_dir().join(format!("adit-bench-{}", std::process::id()));
    std::fs::create_dir_all(&scratch)?;
    pki::write(&scratch, &["client", "server"])?;
    if options.pinned {
        place::on(place::LOAD)?;
    }
    let result = rounds(options, &scratch);
    std::fs::remove_dir_all(&scratch)?;
    result
}

fn rounds(options: &Options, scratch: &std::path::Path) -> Result<(), Failure> {
    let node = match &options.node {
        Some(node) => node.clone(),
        None => std::env::current_exe()?.with_file_name("adit-node"),
    };
    let systems = peers::systems(&node, &options.set, options.envoy.as_deref());
    let systems: Vec<_> = systems
        .into_iter()
        .filter(|system| !options.without.iter().any(|name| *name == system.name()))
        .collect();
    let tests: Vec<_> = selected(options).collect();
    let mut samples: BTreeMap<(&str, &'static str), Vec<Sample>> = BTreeMap::new();
    for round in 0..options.rounds {
        for (test_name, test) in &tests {
            for system in systems.iter().filter(|system| test.is_for(system.name(), round)) {
                let running = system.start(&Site { scratch: scratch.into(), pinned: options.pinned })?;
                let sample = one(options, *test, &running)
                    .map_err(|error| format!("{} {test_name}: {error}", system.name()))?;
                eprintln!(
                    "round {round} {test_name:>11} {:<14} {}",
                    system.name(),
                    sample.cpu.iter().map(|cpu| format!("{:9.3}", cpu * 1e6)).collect::<String>()
                        + &sample.note
                );
                samples.entry((test_name, system.name())).or_default().push(sample);
            }
        }
    }
    print(&tests, &systems, &samples);
    Ok(())
}

fn one(options: &Options, test: Test, running: &Running) -> Result<Sample, Failure> {
    match test {
        Test::Idle => return idle(options, running),
        Test::Burst => return bursts(options, running),
        _ => {}
    }
    // A first connection, so that the tunnel is warm.
    if !load::alive(running.entry) {
        return Err("does not carry one octet".into());
    }
    let before: Vec<_> = running.pids.iter().map(|&pid| Cpu::of(pid)).collect::<Result<_, _>>()?;
    let begin = Instant::now();
    let mut note = String::new();
    let units = match test {
        Test::Bulk { up, connections } => {
            let octets = (options.bulk_mib << 20) / connections as u64;
            if up {
                load::bulk_up(running.entry, connections, octets)?;
            } else {
                load::bulk_down(running.entry, connections, octets)?;
            }
            // Per MB, so that all units print alike.
            (octets * connections as u64) as f64 / 1e6
        }
        Test::Requests { connections } => {
            let duration = Duration::from_secs(options.seconds);
            let (done, p50) = load::requests(running.entry, connections, 1024, duration)?;
            note = format!("  p50 {p50:?}");
            done as f64
        }
        Test::Connections => {
            load::connections(running.entry, 16, Duration::from_secs(options.seconds.min(3)))? as f64
        }
        Test::Idle | Test::Burst => 1.0,
    };
    let wall = begin.elapsed().as_secs_f64();
    let cpu = running
        .pids
        .iter()
        .zip(before)
        .map(|(&pid, before)| Ok((Cpu::of(pid)? - before).as_secs() / units))
        .collect::<Result<_, Failure>>()?;
    Ok(Sample { cpu, rate: units / wall, note })
}

/// Resident memory per idle connection, in KiB, after traffic; reported in place of CPU.
fn idle(options: &Options, running: &Running) -> Result<Sample, Failure> {
    drop(load::idle(running.entry, 10, 1024)?);
    let before: Vec<_> = running.pids.iter().map(|&pid| resident(pid)).collect::<Result<_, _>>()?;
    let kept = load::idle(running.entry, options.idle, 1024)?;
    // Buffers are given back about a second after their last use.
    std::thread::sleep(Duration::from_secs(3));
    let cpu: Vec<_> = running
        .pids
        .iter()
        .zip(&before)
        .map(|(&pid, &before)| Ok((resident(pid)?.saturating_sub(before)) as f64 / kept.len() as f64 / 1e6))
        .collect::<Result<_, Failure>>()?;
    Ok(Sample { cpu, rate: 0.0, note: format!("  KiB per connection; idle process {before:?} KiB") })
}

/// Resident memory some time after a second burst over that after the first, each process; reported in place of CPU.
fn bursts(options: &Options, running: &Running) -> Result<Sample, Failure> {
    let residents = || running.pids.iter().map(|&pid| resident(pid)).collect::<Result<Vec<_>, Failure>>();
    let mut seen = vec![residents()?];
    for _ in 0..2 {
        load::burst(running.entry, options.burst, 16 << 10)?;
        std::thread::sleep(Duration::from_secs(options.rest));
        seen.push(residents()?);
    }
    let ratio = |after: (&u64, &u64)| *after.1 as f64 / *after.0 as f64 / 1e6;
    let cpu = match &seen[..] {
        [_, first, second] => first.iter().zip(second).map(ratio).collect(),
        _ => Vec::new(),
    };
    Ok(Sample {
        cpu,
        rate: 0.0,
        note: format!("  second over first; resident before, after 1, 2: {seen:?} KiB"),
    })
}

fn print(
    tests: &[&(&'static str, Test)],
    systems: &[Box<dyn System>],
    samples: &BTreeMap<(&str, &'static str), Vec<Sample>>,
) {
    println!(
        "CPU-µs per MB, per request, per connection; idle: KiB resident per connection; burst: resident \
         after the second over that after the first. Medians."
    );
    println!(
        "{:<12} {:<14} {:>10} {:>10} {:>10} {:>9} {:>9}  rate/s",
        "test", "system", "outbound", "inbound", "both", "/standin2", "/copy"
    );
    let both = |test: &str, system: &str| {
        let all =
            samples.iter().find(|((t, s), _)| *t == test && *s == system).map(|(_, samples)| samples)?;
        Some(median(all.iter().map(|sample| sample.cpu.iter().sum()).collect()))
    };
    for (test, _) in tests {
        for system in systems {
            let Some(all) =
                samples.iter().find(|((t, s), _)| t == test && *s == system.name()).map(|(_, all)| all)
            else {
                continue;
            };
            let side = |i: usize| {
                median(all.iter().map(|sample| sample.cpu.get(i).copied().unwrap_or(0.0)).collect()) * 1e6
            };
            let sum = both(test, system.name()).unwrap_or(f64::NAN);
            println!(
                "{test:<12} {:<14} {:>10.3} {:>10.3} {:>10.3} {:>9.2} {:>9.2}  {:.0}",
                system.name(),
                side(0),
                side(1),
                sum * 1e6,
                sum / both(test, BASE).unwrap_or(f64::NAN),
                sum / both(test, "copy").unwrap_or(f64::NAN),
                median(all.iter().map(|sample| sample.rate).collect()),
            );
        }
    }
}
