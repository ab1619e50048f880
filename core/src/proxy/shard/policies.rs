//! Authorization of inbound connections: when they come, and again whenever what bears on them has changed
//! (datapath §6.4, §6.5).
//!
//! Connections are judged again by slices, the first at once and the others a moment apart, so that ten thousand of them
//! stop nobody. The slices go round the table: a change while they do adds a whole round from where they are, so that
//! changes, however frequent, never keep the last connection from its turn.
use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;

use super::inbound::DENIED;
use super::state::{Attach, ConnId, Judged, Phase};
use super::{ProxyId, Shard, report};
use crate::mesh::Workload;
use crate::policy::{DenyReason, PolicySet, Verdict};
use crate::proxy::observed::Observed;
use crate::time::Instant;

/// Connections judged in one go: half a millisecond at a microsecond each.
const SLICE: usize = 512;

/// What a proxy knows of the policies for its workload.
#[derive(Debug, Default)]
pub(super) struct Policies {
    /// The workload as it was last known: its connections outlive its entry, and are judged as its own.
    workload: Option<Arc<Workload>>,
    /// What bears on it; built when it is first needed.
    set: Option<Arc<PolicySet>>,
}

impl Shard {
    /// The tables have changed: drops what no longer stands for `proxy`. True: what was judged by it is to be judged again.
    pub(super) fn policies_changed(&mut self, proxy: ProxyId) -> bool {
        let Some(proxy) = self.proxies.get_mut(proxy) else { return false };
        if let Some(local) = &proxy.workload {
            proxy.policies.workload = Some(Arc::clone(local));
        }
        let Policies { workload: Some(workload), set: Some(set) } = &proxy.policies else { return false };
        let stale = !set.is_current(&self.mesh, workload);
        if stale {
            proxy.policies.set = None;
        }
        stale
    }

    /// Judges the next slice of open inbound connections, and closes those that are allowed no more.
    pub(super) fn judge_again(&mut self, now: Instant) {
        let runs = self.judging.turn(now, self.conns.slots(), SLICE);
        let keys = runs.into_iter().flat_map(|(first, count)| self.conns.keys_within(first, count));
        let ids: Vec<ConnId> = keys.collect();
        for id in ids {
            let Some(conn) = self.conns.get(id).filter(|conn| conn.judged.is_some()) else { continue };
            let Some(set) = self.policy_set(conn.proxy) else { continue };
            let judged = self.conns.get(id).and_then(|conn| conn.judged.as_deref());
            if let Some(Verdict::Deny(reason)) = judged.map(|judged| set.judge(&judged.facts())) {
                self.cut_off(now, id, reason);
            }
        }
    }

    /// What bears on the workload of `proxy` as last known.
    fn policy_set(&mut self, proxy: ProxyId) -> Option<Arc<PolicySet>> {
        let Policies { workload, set } = &mut self.proxies.get_mut(proxy)?.policies;
        let workload = workload.as_ref()?;
        Some(Arc::clone(set.get_or_insert_with(|| Arc::new(PolicySet::new(&self.mesh, workload)))))
    }

    /// Asks the policies about a new connection, those on trial too, and has it judged again when they change.
    pub(super) fn judge(&mut self, id: ConnId, judged: Judged) -> Verdict {
        // Whoever is judged was found to be for a known workload.
        let proxy = self.conns.get(id).map(|conn| conn.proxy);
        let Some(set) = proxy.and_then(|proxy| self.policy_set(proxy)) else {
            return Verdict::Deny(DenyReason::NoneAllowed);
        };
        let facts = judged.facts();
        let report = self.conns.get(id).and_then(|conn| conn.report.as_ref());
        if let Some(connection) = report {
            let said = set.on_trial(&facts).into_iter();
            self.observed
                .extend(said.map(|said| Observed::DryRun { connection: Arc::clone(connection), said }));
        }
        let verdict = set.judge(&facts);
        if let Some(connection) = report {
            let (connection, verdict) = (Arc::clone(connection), verdict.clone());
            self.observed.push_back(Observed::Judged { connection, verdict });
        }
        if let Some(conn) = self.conns.get_mut(id) {
            conn.judged = Some(Box::new(judged));
        }
        verdict
    }

    /// Ends a connection that the policies allow no more, at once and so that nobody takes the part of the octets that
    /// came for the whole of them.
    fn cut_off(&mut self, now: Instant, id: ConnId, reason: DenyReason) {
        let Some(conn) = self.conns.get_mut(id) else { return };
        let failure = report::no_longer_allowed();
        conn.failure = Some(Box::new(failure.clone()));
        if let Some(connection) = conn.report.clone() {
            self.observed.push_back(Observed::NoLongerAllowed { connection, reason });
        }
        if matches!((&conn.phase, conn.downstream), (Phase::Dialing, Attach::Stream(..))) {
            return self.answer_and_fail(now, id, DENIED, &failure);
        }
        self.cut_conn(now, id, &failure);
    }
}
