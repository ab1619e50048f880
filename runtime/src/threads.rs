//! One thread per shard.
use std::io;
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use adit_core::mesh::Mesh;

use crate::mailbox::{Handle, Mailbox, mailbox};

/// Running shards, each on a thread of its own.
#[derive(Debug)]
#[must_use = "dropping it leaves the shards running with nobody to wait for them"]
pub struct Shards {
    threads: Vec<JoinHandle<io::Result<()>>>,
    handles: Vec<Handle>,
}

/// Why waiting for the shards failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ShardError {
    /// A shard could not be started.
    #[error("shard {index} could not be started: {error}")]
    Start {
        /// Which one.
        index: usize,
        /// What the system said.
        #[source]
        error: io::Error,
    },
    /// A shard panicked, which is a bug; its connections are gone.
    #[error("shard {index} panicked; please report the message above")]
    Panicked {
        /// Which one.
        index: usize,
    },
}

/// Starts `count` threads named `adit-0`, `adit-1`, …, each of which runs `run` with its index and its shard's mailbox.
///
/// Adapters build on this; `run` makes the runtime and the shard on the thread that will own them, so neither needs to
/// be `Send`.
///
/// # Errors
/// A thread cannot be started. Those that were get the order to terminate.
pub fn spawn_shards<F>(count: usize, run: F) -> io::Result<Shards>
where
    F: Fn(usize, Mailbox) -> io::Result<()> + Send + Sync + 'static,
{
    let run = Arc::new(run);
    let mut shards = Shards { threads: Vec::new(), handles: Vec::new() };
    for index in 0..count {
        let (handle, mailbox) = mailbox();
        let run = Arc::clone(&run);
        let spawned = thread::Builder::new().name(format!("adit-{index}")).spawn(move || run(index, mailbox));
        match spawned {
            Ok(thread) => {
                shards.threads.push(thread);
                shards.handles.push(handle);
            }
            Err(error) => {
                shards.terminate();
                return Err(error);
            }
        }
    }
    Ok(shards)
}

impl Shards {
    /// A handle to each shard, in order.
    #[must_use]
    pub fn handles(&self) -> &[Handle] {
        &self.handles
    }

    /// New tables for every shard.
    pub fn mesh(&self, mesh: &Arc<Mesh>) {
        for handle in &self.handles {
            handle.mesh(Arc::clone(mesh));
        }
    }

    /// Drains every shard.
    pub fn drain(&self) {
        self.handles.iter().for_each(Handle::drain);
    }

    /// Ends every shard now.
    pub fn terminate(&self) {
        self.handles.iter().for_each(Handle::terminate);
    }

    /// Whether a thread has ended, for whatever reason; [`Shards::join`] says why. Does not block.
    #[must_use]
    pub fn any_ended(&self) -> bool {
        self.threads.iter().any(JoinHandle::is_finished)
    }

    /// Waits until every shard has ended. Blocks.
    ///
    /// # Errors
    /// The first failure, after all have ended.
    pub fn join(self) -> Result<(), ShardError> {
        let mut result = Ok(());
        for (index, thread) in self.threads.into_iter().enumerate() {
            let ended = match thread.join() {
                Ok(ended) => ended.map_err(|error| ShardError::Start { index, error }),
                Err(_) => Err(ShardError::Panicked { index }),
            };
            result = result.and(ended);
        }
        result
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn threads_are_named_and_failures_are_told() {
        let shards = spawn_shards(2, |index, _mailbox| {
            assert_eq!(thread::current().name(), Some(format!("adit-{index}").as_str()));
            if index == 1 { Err(io::ErrorKind::OutOfMemory.into()) } else { Ok(()) }
        })
        .unwrap();
        assert_eq!(shards.handles().len(), 2);
        assert!(matches!(shards.join(), Err(ShardError::Start { index: 1, .. })));
    }

    #[test]
    fn a_panic_names_its_shard() {
        let shards = spawn_shards(1, |_, _| panic!("on purpose")).unwrap();
        assert!(matches!(shards.join(), Err(ShardError::Panicked { index: 0 })));
    }
}
