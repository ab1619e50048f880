//! A thread with a tokio runtime of its own, for clients and servers beside the data plane, whichever runtime drives that.
use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::thread::JoinHandle;

use tokio::runtime::{Builder, EnterGuard, Handle};
use tokio::sync::oneshot;

/// The thread. Dropping it ends its tasks where they wait, and then itself.
#[derive(Debug)]
pub struct TokioThread {
    runtime: Handle,
    /// Dropping it wakes the thread and tells it to end.
    stop: Option<oneshot::Sender<Infallible>>,
    thread: Option<JoinHandle<()>>,
}

impl TokioThread {
    /// Starts it.
    ///
    /// # Errors
    /// No thread, or no descriptors for its runtime.
    pub fn start(name: &str) -> io::Result<Self> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let handle = runtime.handle().clone();
        let (stop, stopped) = oneshot::channel();
        let work = move || {
            // An error: the sender is gone.
            let _ = runtime.block_on(stopped);
        };
        let thread = std::thread::Builder::new().name(name.to_owned()).spawn(work)?;
        Ok(Self { runtime: handle, stop: Some(stop), thread: Some(thread) })
    }

    /// Runs `task` on the thread.
    pub fn spawn<F>(&self, task: F) -> tokio::task::JoinHandle<F::Output>
    where
        F: Future<Output: Send> + Send + 'static,
    {
        self.runtime.spawn(task)
    }

    /// The thread's runtime, for who starts tasks on it later.
    #[must_use]
    pub const fn handle(&self) -> &Handle {
        &self.runtime
    }

    /// What is started while the guard lives runs on the thread.
    pub fn enter(&self) -> EnterGuard<'_> {
        self.runtime.enter()
    }

    /// Waits on the calling thread, which must not be a runtime's, with this one's timers and sockets.
    pub fn wait<F: Future>(&self, future: F) -> F::Output {
        self.runtime.block_on(future)
    }
}

impl Drop for TokioThread {
    fn drop(&mut self) {
        self.stop.take();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn tasks_run_until_it_is_dropped() {
        let thread = TokioThread::start("test").unwrap();
        let (sender, receiver) = oneshot::channel::<()>();
        let waiting = thread.spawn(async move {
            let _held = sender;
            std::future::pending::<()>().await;
        });
        assert_eq!(thread.wait(thread.spawn(async { 7 })).unwrap(), 7);
        assert!(!waiting.is_finished());
        drop(thread);
        // The task was dropped, and what it held.
        let runtime = Builder::new_current_thread().enable_time().build().unwrap();
        let gone = runtime.block_on(async { tokio::time::timeout(Duration::from_secs(20), receiver).await });
        assert!(gone.expect("in time").is_err());
    }
}
