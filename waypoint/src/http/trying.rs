//! What a request may still do, and its share of its service's retry budget.
use std::sync::Arc;

use adit_core::l7::{Exchange, RetryBudget, RetryPolicy};

use crate::route::Pool;
use crate::shared::ClusterRef;

/// An exchange that gives its share of the budget back when it is dropped: its client may go away at any time.
pub(crate) struct Trying {
    pub(crate) exchange: Exchange,
    /// Where the budget is; a single workload has none, as there are no others to protect from retries.
    cluster: Option<ClusterRef>,
}

impl Trying {
    /// A request begins.
    pub(crate) fn begin(pool: &Pool, policy: &Arc<RetryPolicy>) -> Self {
        match pool {
            Pool::Cluster { cluster, .. } => Self {
                exchange: cluster.with(|cluster| cluster.exchange(Arc::clone(policy))),
                cluster: Some(cluster.clone()),
            },
            Pool::Workload(..) => Self { exchange: Exchange::new(Arc::clone(policy)), cluster: None },
        }
    }

    /// Runs `run` with the exchange and its budget, for a moment.
    pub(crate) fn with<T>(&mut self, run: impl FnOnce(&mut Exchange, &mut RetryBudget) -> T) -> T {
        let Self { exchange, cluster } = self;
        match cluster {
            Some(cluster) => cluster.with(|cluster| run(exchange, cluster.budget())),
            None => run(exchange, &mut RetryBudget::new(100, u32::MAX)),
        }
    }
}

impl Drop for Trying {
    fn drop(&mut self) {
        if let Some(cluster) = &self.cluster {
            cluster.with(|cluster| self.exchange.finish(cluster.budget()));
        }
    }
}
