//! What others may see of the pods.

use std::fmt;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use adit_core::inpod::{Known, Pods};

/// The machine, which its driver and whoever looks at it share; nobody holds it for longer than a call.
#[derive(Clone)]
pub struct View(Arc<Mutex<Pods<Arc<OwnedFd>>>>);

impl View {
    pub(super) fn new(machine: Pods<Arc<OwnedFd>>) -> Self {
        Self(Arc::new(Mutex::new(machine)))
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Pods<Arc<OwnedFd>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Every pod, by uid (`workloadState` of a dump).
    #[must_use]
    pub fn pods(&self) -> Vec<Known> {
        self.lock().pods().collect()
    }

    /// The agent has told of all its pods, on a connection that lives, and each has its proxy.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.lock().is_ready()
    }
}

impl fmt::Debug for View {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("View").field("pods", &self.pods()).finish()
    }
}
