//! Metrics of the process and of its runtimes, read when they are asked for (interfaces §5.3).
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{
    DescriptorEncoder, EncodeLabel, EncodeLabelSet, LabelSetEncoder, NoLabelSet,
};
use prometheus_client::metrics::MetricType;
use tokio::runtime::Handle;

/// Reads open files and their limit, memory, processor time and threads.
#[derive(Debug)]
pub(super) struct Process;

/// What `/proc/self/stat` (proc_pid_stat(5)) says, in the kernel's units.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stat {
    /// `utime` and `stime` together, in clock ticks.
    ticks: u64,
    threads: u64,
    /// In pages.
    resident: u64,
}

impl Stat {
    /// Reads the line. The command's name, the second field, may hold anything, so that fields are counted from its end.
    fn read(line: &str) -> Option<Self> {
        let (_, fields) = line.rsplit_once(')')?;
        let fields: Vec<&str> = fields.split_whitespace().collect();
        // Numbered from 1 in the manual, of which the third is the first here.
        let field = |number: usize| fields.get(number.checked_sub(3)?)?.parse::<u64>().ok();
        Some(Self { ticks: field(14)?.saturating_add(field(15)?), threads: field(20)?, resident: field(24)? })
    }
}

fn gauge(encoder: &mut DescriptorEncoder<'_>, name: &str, help: &str, value: u64) -> fmt::Result {
    let value = i64::try_from(value).unwrap_or(i64::MAX);
    encoder.encode_descriptor(name, help, None, MetricType::Gauge)?.encode_gauge(&value)
}

impl Collector for Process {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        if let Ok(entries) = std::fs::read_dir("/proc/self/fd") {
            // One of them is the directory being read.
            let open = u64::try_from(entries.count().saturating_sub(1)).unwrap_or(u64::MAX);
            gauge(&mut encoder, "process_open_fds", "Number of open file descriptors.", open)?;
        }
        let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
        let limit = limit.current.unwrap_or(u64::MAX);
        gauge(&mut encoder, "process_max_fds", "Maximum number of file descriptors.", limit)?;
        let line = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
        let Some(stat) = Stat::read(&line) else { return Ok(()) };
        let page = u64::try_from(rustix::param::page_size()).unwrap_or(u64::MAX);
        let resident = stat.resident.saturating_mul(page);
        gauge(&mut encoder, "process_resident_memory_bytes", "Resident memory in octets.", resident)?;
        gauge(&mut encoder, "process_threads", "Number of threads.", stat.threads)?;
        #[expect(clippy::cast_precision_loss, reason = "2^53 ticks are three million years")]
        let seconds = stat.ticks as f64 / rustix::param::clock_ticks_per_second() as f64;
        let help = "Processor time in seconds, of the user and of the system.";
        encoder
            .encode_descriptor("process_cpu_seconds", help, None, MetricType::Counter)?
            .encode_counter::<NoLabelSet, f64, u64>(&seconds, None)
    }
}

/// The tokio runtimes that drive shards; each counts as its workers. Clones share the list.
#[derive(Clone, Debug, Default)]
pub struct Runtimes(Arc<Mutex<Vec<Handle>>>);

impl Runtimes {
    /// From now on `runtime` is told about.
    pub fn add(&self, runtime: Handle) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(runtime);
    }
}

struct Worker(usize);

impl EncodeLabelSet for Worker {
    fn encode(&self, encoder: &mut LabelSetEncoder<'_>) -> fmt::Result {
        ("worker", self.0.to_string().as_str()).encode(encoder.encode_label())
    }
}

/// What one worker has done since it started.
struct Work {
    busy: f64,
    parks: u64,
    parks_and_unparks: u64,
}

/// One of a worker's numbers.
type Count = fn(&Work) -> u64;

impl Collector for Runtimes {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let runtimes = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if runtimes.is_empty() {
            // Shards on smol have no such numbers.
            return Ok(());
        }
        let mut work = Vec::new();
        let (mut queued, mut tasks) = (0_u64, 0_u64);
        for metrics in runtimes.iter().map(Handle::metrics) {
            queued += u64::try_from(metrics.global_queue_depth()).unwrap_or(u64::MAX);
            tasks += u64::try_from(metrics.num_alive_tasks()).unwrap_or(u64::MAX);
            work.extend((0..metrics.num_workers()).map(|worker| Work {
                busy: metrics.worker_total_busy_duration(worker).as_secs_f64(),
                parks: metrics.worker_park_count(worker),
                parks_and_unparks: metrics.worker_park_unpark_count(worker),
            }));
        }
        let e = &mut encoder;
        let workers = u64::try_from(work.len()).unwrap_or(u64::MAX);
        gauge(e, "tokio_num_workers", "Number of worker threads of the data plane.", workers)?;
        gauge(e, "tokio_global_queue_depth", "Tasks in the queues of the data plane's runtimes.", queued)?;
        gauge(e, "tokio_num_alive_tasks", "Tasks alive in the data plane's runtimes.", tasks)?;
        let help = "Time the worker was busy.";
        let name = "tokio_worker_total_busy_duration_seconds";
        let mut metric = e.encode_descriptor(name, help, None, MetricType::Counter)?;
        for (worker, work) in work.iter().enumerate() {
            metric
                .encode_family(&Worker(worker))?
                .encode_counter::<NoLabelSet, f64, f64>(&work.busy, None)?;
        }
        let counts: [(_, _, Count); 2] = [
            ("tokio_worker_park_count", "How often the worker went to sleep.", |work| work.parks),
            ("tokio_worker_park_unpark_count", "How often the worker went to sleep or woke.", |work| {
                work.parks_and_unparks
            }),
        ];
        for (name, help, value) in counts {
            let mut metric = e.encode_descriptor(name, help, None, MetricType::Counter)?;
            for (worker, work) in work.iter().enumerate() {
                metric
                    .encode_family(&Worker(worker))?
                    .encode_counter::<NoLabelSet, u64, u64>(&value(work), None)?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::Stat;

    #[test]
    fn the_commands_name_may_hold_anything() {
        let rest = "S 1 2 3 4 5 6 7 8 9 10 70 30 13 14 15 16 9 18 19 20 512 22";
        let expected = Some(Stat { ticks: 100, threads: 9, resident: 512 });
        for name in ["adit-node", "a b", ") S 1 (", "(("] {
            assert_eq!(Stat::read(&format!("7 ({name}) {rest}\n")), expected, "{name}");
        }
        for bad in ["", "7 (a", "7 (a) S", "7 (a) S 1 2 3 4 5 6 7 8 9 10 x 30 13 14 15 16 9 18 19 20 512"] {
            assert_eq!(Stat::read(bad), None, "{bad}");
        }
    }
}
