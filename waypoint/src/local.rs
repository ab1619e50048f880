//! Tasks of hyper's on the thread they belong to.
use std::future::Future;

use hyper::rt::Executor;

/// Spawns on the calling thread.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Local;

impl<F> Executor<F> for Local
where
    F: Future<Output: 'static> + 'static,
{
    fn execute(&self, future: F) {
        tokio::task::spawn_local(future);
    }
}
