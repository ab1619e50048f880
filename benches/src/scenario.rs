//! What is measured: each test loads running proxies and says what a unit of its load cost them.
use std::time::{Duration, Instant};

use clap::Args;

use crate::measure::{Cpu, resident};
use crate::peers::Running;
use crate::{Failure, load};

/// How much load there is.
#[derive(Args)]
pub(crate) struct Effort {
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
    /// Workloads that the control plane tells of in the test of that name.
    #[arg(long, default_value_t = 100_000)]
    workloads: u32,
}

/// What is done to proxies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Test {
    /// Octets, towards the application or from it.
    Bulk { up: bool, connections: usize },
    /// Requests of so many octets, and answers as long, on connections that are kept.
    Requests { connections: usize, size: usize },
    /// Connections that are opened, used for an octet and closed, 16 at a time.
    Connections,
    /// Nothing, since the start.
    Rest,
    /// Connections that were used once.
    Idle,
    /// Many connections at once, twice.
    Burst,
    /// A large mesh from the control plane.
    Workloads,
}

/// Every test by the name that is printed and told on the command line.
pub(crate) const TESTS: &[(&str, Test)] = &[
    ("bulk-1-up", Test::Bulk { up: true, connections: 1 }),
    ("bulk-1-down", Test::Bulk { up: false, connections: 1 }),
    ("bulk-8-up", Test::Bulk { up: true, connections: 8 }),
    ("bulk-8-down", Test::Bulk { up: false, connections: 8 }),
    ("64B-16", Test::Requests { connections: 16, size: 64 }),
    ("64B-64", Test::Requests { connections: 64, size: 64 }),
    ("1KiB-16", Test::Requests { connections: 16, size: 1024 }),
    ("1KiB-64", Test::Requests { connections: 64, size: 1024 }),
    ("connect", Test::Connections),
    ("rest", Test::Rest),
    ("idle", Test::Idle),
    ("burst", Test::Burst),
    ("workloads", Test::Workloads),
];

impl Test {
    /// What its values count.
    pub(crate) fn unit(self) -> &'static str {
        match self {
            Self::Bulk { .. } => "CPU-µs per MB",
            Self::Requests { .. } => "CPU-µs per request",
            Self::Connections => "CPU-µs per connection",
            Self::Rest => "KiB resident",
            Self::Idle => "KiB resident per connection",
            Self::Burst => "resident after the second over that after the first",
            Self::Workloads => "octets resident per workload",
        }
    }
}

/// What one test of one system gave.
pub(crate) struct Sample {
    /// Of each process, outbound first; see [`Test::unit`].
    pub(crate) values: Vec<f64>,
    /// Units of load per second.
    pub(crate) rate: f64,
    /// What else was seen.
    pub(crate) note: String,
}

/// Runs `test` once.
pub(crate) fn one(effort: &Effort, test: Test, running: &Running) -> Result<Sample, Failure> {
    match test {
        Test::Bulk { up, connections } => {
            let octets = (effort.bulk_mib << 20) / connections as u64;
            loaded(running, |entry| {
                if up {
                    load::bulk_up(entry, connections, octets)?;
                } else {
                    load::bulk_down(entry, connections, octets)?;
                }
                Ok(((octets * connections as u64) as f64 / 1e6, String::new()))
            })
        }
        Test::Requests { connections, size } => loaded(running, |entry| {
            let duration = Duration::from_secs(effort.seconds);
            let (done, p50) = load::requests(entry, connections, size, duration)?;
            Ok((done as f64, format!("  p50 {p50:?}")))
        }),
        Test::Connections => loaded(running, |entry| {
            let done = load::connections(entry, 16, Duration::from_secs(effort.seconds.min(3)))?;
            Ok((done as f64, String::new()))
        }),
        Test::Rest => rest(running),
        Test::Idle => idle(effort, running),
        Test::Burst => bursts(effort, running),
        Test::Workloads => workloads(effort, running),
    }
}

/// CPU time per unit of `load`, which says how many there were.
fn loaded(
    running: &Running,
    load: impl FnOnce(std::net::SocketAddr) -> Result<(f64, String), Failure> + Send,
) -> Result<Sample, Failure> {
    warm(running)?;
    let cpu = || running.pids.iter().map(|&pid| Cpu::of(pid)).collect::<Result<Vec<_>, _>>();
    let before = cpu()?;
    let begin = Instant::now();
    let (units, note) = running.clients(load)?;
    let wall = begin.elapsed().as_secs_f64();
    let used = cpu()?.into_iter().zip(before).map(|(after, before)| (after - before).as_secs());
    Ok(Sample { values: used.map(|secs| secs * 1e6 / units).collect(), rate: units / wall, note })
}

/// A first connection, so that the tunnel is warm.
fn warm(running: &Running) -> Result<(), Failure> {
    if !running.clients(|entry| Ok(load::alive(entry)))? {
        return Err("does not carry one octet".into());
    }
    match &running.world {
        Some(world) if !world.has_tunnels()? => Err("carries octets, but through no tunnel".into()),
        _ => Ok(()),
    }
}

fn residents(running: &Running) -> Result<Vec<u64>, Failure> {
    running.pids.iter().map(|&pid| resident(pid)).collect()
}

/// Buffers, and what starting needed, are given back about a second after their last use.
pub(crate) fn settle() {
    std::thread::sleep(Duration::from_secs(3));
}

/// Resident memory of processes that have carried nothing yet but what proved that they are there.
fn rest(running: &Running) -> Result<Sample, Failure> {
    settle();
    let values = residents(running)?.into_iter().map(|kib| kib as f64).collect();
    Ok(Sample { values, rate: 0.0, note: String::new() })
}

/// Resident memory per idle connection, after traffic.
fn idle(effort: &Effort, running: &Running) -> Result<Sample, Failure> {
    warm(running)?;
    running.clients(|entry| load::idle(entry, 10, 1024).map(drop))?;
    let before = residents(running)?;
    let kept = running.clients(|entry| load::idle(entry, effort.idle, 1024))?;
    settle();
    let grown = residents(running)?.into_iter().zip(&before).map(|(now, before)| now.saturating_sub(*before));
    let values = grown.map(|kib| kib as f64 / kept.len() as f64).collect();
    Ok(Sample { values, rate: 0.0, note: format!("  idle process {before:?} KiB") })
}

/// Resident memory some time after a second burst over that after the first.
fn bursts(effort: &Effort, running: &Running) -> Result<Sample, Failure> {
    let before = residents(running)?;
    let after = || {
        running.clients(|entry| load::burst(entry, effort.burst, 16 << 10))?;
        std::thread::sleep(Duration::from_secs(effort.rest));
        residents(running)
    };
    let (first, second) = (after()?, after()?);
    let values = first.iter().zip(&second).map(|(first, second)| *second as f64 / *first as f64).collect();
    let note = format!("  resident before, after 1, 2: {:?} KiB", [before, first, second]);
    Ok(Sample { values, rate: 0.0, note })
}

/// Resident memory per workload of a large mesh.
fn workloads(effort: &Effort, running: &Running) -> Result<Sample, Failure> {
    let world = running.world.as_ref().ok_or("there is no control plane")?;
    settle();
    let before = residents(running)?;
    let begin = Instant::now();
    world.push(effort.workloads)?;
    let wall = begin.elapsed().as_secs_f64();
    settle();
    let after = residents(running)?;
    let grown = after.iter().zip(&before).map(|(now, before)| now.saturating_sub(*before) << 10);
    Ok(Sample {
        values: grown.map(|octets| octets as f64 / f64::from(effort.workloads)).collect(),
        rate: f64::from(effort.workloads) / wall,
        note: format!("  resident before, after: {:?} KiB", [before, after]),
    })
}
