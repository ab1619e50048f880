//! What is under way to a cluster, counted while it lives (Istio: `connectionPool`).
use std::rc::Rc;

use adit_core::l7::{Counted as What, Overflow};
use tokio::sync::Notify;

use crate::shared::ClusterRef;

/// One more connection or waiting request, until it is dropped.
pub(crate) struct Counted {
    of: Option<(ClusterRef, What)>,
    /// Told when it ends: somebody may be waiting for its place.
    freed: Rc<Notify>,
}

impl Counted {
    /// Counts one more.
    ///
    /// # Errors
    /// There are too many.
    pub(crate) fn begin(
        cluster: Option<&ClusterRef>,
        what: What,
        freed: &Rc<Notify>,
    ) -> Result<Self, Overflow> {
        if let Some(cluster) = cluster {
            cluster.with(|cluster| cluster.begin(what))?;
        }
        Ok(Self { of: cluster.map(|cluster| (cluster.clone(), what)), freed: Rc::clone(freed) })
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        if let Some((cluster, what)) = self.of.take() {
            cluster.with(|cluster| cluster.finish(what));
        }
        self.freed.notify_waiters();
    }
}
