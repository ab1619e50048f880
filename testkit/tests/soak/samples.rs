//! Memory and descriptors of the proxies, second by second, and whether they grow.
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use adit_testkit::netns::{HarnessError, Host, Result, get};

use crate::site::Machine;

/// Resident memory may peak so far above what it was before any load, in KiB.
pub(crate) const MOST_KIB: u64 = 64 << 10;

/// The share of the time in which caches, pools and the allocator's lists fill.
const WARM_UP: f64 = 0.2;

/// Of the first third, in percent: the bar of issue 4.
const GROWTH: u64 = 105;

/// A shorter run has to be content with [`STEP_KIB`] beyond that.
const LONG: Duration = Duration::from_secs(600);

/// Metrics and dumps are texts of up to a megabyte that are made as a whole, and two may be made at a time. Whether the C library
/// gives their place back to the kernel is chance, and the resident memory goes up or down by such a step once in some minutes.
const STEP_KIB: u64 = 2 << 10;

/// Beyond that, descriptors: a connection that happens to be open in more of the last samples has four.
const STEP_DESCRIPTORS: u64 = 8;

/// Samples from one look at the metrics to the next: what nobody uses any more is dropped then.
const SCRAPE: usize = 5;

/// Rows of the table.
const ROWS: usize = 15;

#[derive(Clone, Copy, Debug)]
struct Sample {
    at: Duration,
    resident: u64,
    descriptors: u64,
}

/// What was seen of each machine.
pub(crate) struct Samples<'a> {
    machines: &'a [Machine],
    begun: Instant,
    seen: Vec<Vec<Sample>>,
    rounds: Vec<u64>,
}

impl<'a> Samples<'a> {
    pub(crate) fn new(machines: &'a [Machine]) -> Self {
        let seen = machines.iter().map(|_| Vec::new()).collect();
        Self { machines, begun: Instant::now(), seen, rounds: Vec::new() }
    }

    /// A sample each second until `end`; `rounds` is how much traffic there was.
    pub(crate) fn take_until(&mut self, end: Instant, rounds: impl Fn() -> u64) -> Result<()> {
        while Instant::now() < end {
            std::thread::sleep(Duration::from_secs(1));
            for (machine, seen) in self.machines.iter().zip(&mut self.seen) {
                if seen.len().is_multiple_of(SCRAPE) {
                    scrape(&machine.host)?;
                }
                let process = machine.node.process();
                let resident = process.memory()?.resident;
                let descriptors = process.descriptors()? as u64;
                seen.push(Sample { at: self.begun.elapsed(), resident, descriptors });
            }
            self.rounds.push(rounds());
        }
        Ok(())
    }

    /// Medians over time.
    pub(crate) fn print(&self) {
        println!("  from s  rounds so far   KiB of each proxy   descriptors of each");
        let each = self.rounds.len().div_ceil(ROWS).max(1);
        for (row, rounds) in self.rounds.chunks(each).enumerate() {
            let of = |what: fn(&Sample) -> u64| -> String {
                let parts = self.seen.iter().filter_map(|seen| seen.chunks(each).nth(row));
                parts.map(|part| format!("{:9}", median(part, what))).collect()
            };
            let from = self.seen[0][row * each].at.as_secs();
            let resident = of(|sample| sample.resident);
            println!("{from:8}{:15}  {resident}  {}", rounds[0], of(|sample| sample.descriptors));
        }
    }

    /// The median of the last third is at most [`GROWTH`] of that of the first, and a step. Medians, since single samples
    /// see what happens to be open, and an admin page being written.
    pub(crate) fn check(&self) {
        let step = if self.begun.elapsed() < LONG { STEP_KIB } else { 0 };
        for (number, seen) in self.seen.iter().enumerate() {
            let all = seen.len();
            let warm = (0..all).find(|at| *at as f64 >= all as f64 * WARM_UP).unwrap_or_default();
            let rest = &seen[warm..];
            let third = rest.len() / 3;
            let (first, last) = (&rest[..third], &rest[rest.len() - third..]);
            let grown = |what: fn(&Sample) -> u64, step: u64| {
                let (first, last) = (median(first, what), median(last, what));
                (first, last, last * 100 > first * GROWTH + step * 100)
            };
            let (first, last, leaks) = grown(|sample| sample.resident, step);
            println!("proxy {number}: {first} KiB in the first third, {last} KiB in the last");
            assert!(!leaks, "memory grows from {first} KiB to {last} KiB");
            let (first, last, leaks) = grown(|sample| sample.descriptors, STEP_DESCRIPTORS);
            println!("proxy {number}: {first} descriptors in the first third, {last} in the last");
            assert!(!leaks, "descriptors grow from {first} to {last}");
        }
    }
}

/// Reads all metrics of a proxy, as Prometheus does.
fn scrape(host: &Host) -> Result<()> {
    let text = get(host, (Ipv4Addr::LOCALHOST, 15020), "/metrics").map_err(HarnessError::io("scraping"))?;
    assert!(text.contains("istio_tcp_connections_opened_total"), "{text}");
    Ok(())
}

fn median(samples: &[Sample], what: fn(&Sample) -> u64) -> u64 {
    let mut values: Vec<_> = samples.iter().map(what).collect();
    values.sort_unstable();
    values.get(values.len() / 2).copied().unwrap_or_default()
}
