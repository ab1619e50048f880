//! What every start has: the environment, the end of a thread that panics, memory given back.
use std::collections::BTreeMap;
use std::time::Duration;

use adit_ops::readiness::Readiness;
use signal_hook::consts::SIGTERM;

/// The process's environment. What is not Unicode is shown as such in errors.
#[must_use]
pub fn environment() -> BTreeMap<String, String> {
    let text = |text: std::ffi::OsString| text.to_string_lossy().into_owned();
    std::env::vars_os().map(|(name, value)| (text(name), text(value))).collect()
}

/// From when everything is ready until memory is given back: certificates and the first look at how pods are captured come
/// a moment later than readiness, and need more of the program than all that follows.
const CALM: Duration = Duration::from_secs(1);

/// Gives back the memory that only starting has used.
pub async fn settle(readiness: Readiness) {
    readiness.ready().await;
    tokio::time::sleep(CALM).await;
    if let Err(error) = adit_runtime::settle() {
        tracing::debug!(%error, "what starting has used stays in memory");
    }
}

/// A shard that has panicked is a bug, and its connections are gone: rather than limp on unseen, the others drain and
/// the process ends with an error, to be started anew.
pub fn drain_on_panic() {
    let report = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        report(panic);
        // By signal, because the panicking thread may hold any lock.
        if let Err(error) = signal_hook::low_level::raise(SIGTERM) {
            tracing::error!(%error, "the other shards cannot be drained");
        }
    }));
}
