//! CPU time and memory of other processes, from /proc.
use std::fs;
use std::ops::Sub;
use std::time::Duration;

use crate::Failure;

/// CPU time that processes have used so far, in scheduler nanoseconds.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Cpu(u64);

impl Cpu {
    /// Of all threads of `pid`.
    pub(crate) fn of(pid: u32) -> Result<Self, Failure> {
        let mut total = 0;
        for task in fs::read_dir(format!("/proc/{pid}/task"))? {
            let text = fs::read_to_string(task?.path().join("schedstat"))?;
            total += text.split(' ').next().unwrap_or_default().parse::<u64>()?;
        }
        Ok(Self(total))
    }

    pub(crate) fn as_secs(self) -> f64 {
        Duration::from_nanos(self.0).as_secs_f64()
    }
}

impl Sub for Cpu {
    type Output = Self;

    fn sub(self, earlier: Self) -> Self {
        Self(self.0.saturating_sub(earlier.0))
    }
}

/// Resident memory of `pid` in KiB.
pub(crate) fn resident(pid: u32) -> Result<u64, Failure> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).ok_or("no VmRSS")?;
    Ok(line.split_whitespace().next().unwrap_or_default().parse()?)
}

/// The middle one.
pub(crate) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}
