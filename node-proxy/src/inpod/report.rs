//! What metrics and readiness say of the pods' proxies (interfaces §4.3, §5.3).
use adit_control::zds::PodObserver;
use adit_ops::metrics::Pods;
use adit_ops::readiness::{Readiness, Task};

/// The readiness task of shared mode: pending until the CNI agent has told of all its pods and each has its proxy, and again
/// while the agent cannot be reached.
pub(crate) const PROXIES_READY: &str = "workload proxy manager";

/// Tells metrics and readiness.
#[derive(Debug)]
pub(crate) struct Reports {
    metrics: Pods,
    readiness: Readiness,
    /// While it is pending.
    pending: Option<Task>,
}

impl Reports {
    /// Not ready at first.
    pub(crate) fn new(metrics: Pods, readiness: Readiness) -> Self {
        let pending = Some(readiness.wait_for(PROXIES_READY));
        Self { metrics, readiness, pending }
    }
}

impl PodObserver for Reports {
    fn counts(&self, active: usize, pending: usize) {
        self.metrics.set(active, pending);
    }

    fn started(&self) {
        self.metrics.started();
    }

    fn stopped(&self) {
        self.metrics.stopped();
    }

    fn ready(&mut self, ready: bool) {
        match (ready, self.pending.take()) {
            (true, Some(task)) => task.done(),
            (false, None) => self.pending = Some(self.readiness.wait_for(PROXIES_READY)),
            (true, None) => {}
            (false, task) => self.pending = task,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn readiness_comes_and_goes() {
        let readiness = Readiness::new();
        let mut reports = Reports::new(Pods::default(), readiness.clone());
        for (ready, pending) in
            [(false, &[PROXIES_READY][..]), (true, &[]), (true, &[]), (false, &[PROXIES_READY]), (true, &[])]
        {
            reports.ready(ready);
            assert_eq!(readiness.pending(), pending);
        }
    }
}
