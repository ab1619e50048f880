//! A running waypoint: shards that deliver streams here, and the workers beside them.
use std::sync::Arc;

use adit_process::config::Config;
use adit_process::instance::{Instance, Parts, Serve, StartError, seed};

use crate::shared::Shared;
use crate::worker;

/// Starts a waypoint. `parts.serve` is filled in here.
///
/// # Errors
/// As [`Instance::start`].
pub fn start(config: &Config, parts: Parts, shared: &Arc<Shared>) -> Result<Instance, StartError> {
    let seed = seed()?;
    let shared = Arc::clone(shared);
    let serve: Serve = Arc::new(move |index, handle, streams| {
        // Each thread draws on its own.
        let seed = seed.wrapping_add(index as u64);
        Box::pin(worker::run(Arc::clone(&shared), handle, streams, seed))
    });
    Instance::start(config, Parts { serve: Some(serve), ..parts })
}
