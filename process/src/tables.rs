//! The tables in force: who writes them publishes here; shards, DNS and the admin pages read them.
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use adit_core::mesh::Mesh;
use adit_runtime::Handle;
use tokio::sync::watch;

/// The mesh as it is now. One writer; readers never wait for it.
#[derive(Debug)]
pub struct Tables {
    current: watch::Sender<Arc<Mesh>>,
    /// What the local file says, where there is one.
    local: OnceLock<Arc<Mesh>>,
    shards: Mutex<Vec<Handle>>,
}

impl Tables {
    /// Begins with `mesh`.
    #[must_use]
    pub fn new(mesh: Arc<Mesh>) -> Self {
        Self { current: watch::Sender::new(mesh), local: OnceLock::new(), shards: Mutex::default() }
    }

    /// Begins anew with a local file's mesh; done once, before anything else is published.
    pub fn load(&self, mesh: Arc<Mesh>) {
        self.publish(Arc::clone(&mesh));
        let _ = self.local.set(mesh);
    }

    /// `mesh` replaces what was published before, everywhere.
    pub fn publish(&self, mesh: Arc<Mesh>) {
        // Under the lock, so that no shard sees an older mesh after a newer one.
        let shards = self.shards.lock().unwrap_or_else(PoisonError::into_inner);
        // What the admin pages show is in force already.
        for shard in &*shards {
            shard.mesh(Arc::clone(&mesh));
        }
        self.current.send_replace(mesh);
    }

    /// From now on these shards get every new mesh, beginning with the one of now if they `began` with another.
    pub fn attach(&self, handles: &[Handle], began: &Arc<Mesh>) {
        let mut shards = self.shards.lock().unwrap_or_else(PoisonError::into_inner);
        let mesh = self.current();
        if !Arc::ptr_eq(&mesh, began) {
            handles.iter().for_each(|handle| handle.mesh(Arc::clone(&mesh)));
        }
        shards.extend_from_slice(handles);
    }

    /// The mesh in force.
    #[must_use]
    pub fn current(&self) -> Arc<Mesh> {
        Arc::clone(&self.current.borrow())
    }

    /// What the local file said.
    #[must_use]
    pub fn local(&self) -> Option<&Arc<Mesh>> {
        self.local.get()
    }

    /// To wait for changes.
    #[must_use]
    pub fn watch(&self) -> watch::Receiver<Arc<Mesh>> {
        self.current.subscribe()
    }
}
