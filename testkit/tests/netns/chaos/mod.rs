//! Disturbances under steady traffic, each octet of which is compared: what has nothing to do with the disturbance goes on, every
//! other connection ends or goes on, nothing hangs, memory is bounded, and afterwards no proxy holds more than before.
mod control;
mod links;
mod pods;
mod proxies;
mod slow;

pub(crate) use control::{agent_gone, control_plane_gone};
pub(crate) use links::{delay, loss, narrow};
pub(crate) use pods::namespace_gone;
pub(crate) use proxies::{descriptors_run_out, killed};
pub(crate) use slow::one_stalled_stream;

use std::sync::Arc;

use adit_testkit::netns::{Backend, Result, Runtime};

use crate::site::{Rest, Site};
use crate::traffic::{CALLS, Flow, LONG, Traffic};

/// What traffic and a disturbance may take beyond what a proxy holds at rest, in KiB: some windows of streams (4 MiB), not one for
/// each connection.
const MOST_KIB: u64 = 12 << 10;

/// A site with steady traffic.
struct Rig {
    site: Site,
    traffic: Traffic,
    rests: Vec<Rest>,
}

impl Rig {
    fn new(
        runtime: Runtime,
        backend: Backend,
        plan: &[(&str, &[&str])],
        vars: &[(&str, &str)],
    ) -> Result<Self> {
        Self::of(Site::new(runtime, backend, plan, vars)?)
    }

    fn of(site: Site) -> Result<Self> {
        let rests = site.rest()?;
        let traffic = Traffic::new(site.cluster.tasks.handle().clone());
        Ok(Self { site, traffic, rests })
    }

    /// Starts what lasts over IPv4 and IPv6, and calls over IPv4, from one pod to another.
    fn flows(&mut self, from: &str, to: &str) -> Vec<Arc<Flow>> {
        let (from, to) = (self.site.pod(from), self.site.pod(to));
        let kinds = [(LONG, false), (LONG, true), (CALLS, false)];
        kinds.map(|(manner, ipv6)| self.traffic.flow(manner, &from.host, to.at(ipv6))).into()
    }

    /// Ends all traffic: what failed has been looked at, or nothing has. All proxies are as before.
    fn end(self, looked_at: &[Arc<Flow>]) -> Result<()> {
        let looked_at: Vec<_> = looked_at.iter().map(|flow| flow.what().to_owned()).collect();
        let mut failed = self.traffic.finish();
        failed.retain(|failure| !looked_at.iter().any(|what| failure.starts_with(what)));
        assert!(failed.is_empty(), "{failed:#?}");
        self.site.check_rest(&self.rests, MOST_KIB)
    }
}
