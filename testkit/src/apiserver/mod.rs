//! A stand-in for a Kubernetes API server: lists, watches, single objects and their statuses, with versions and conflicts as the
//! real one has them, and what may go wrong with it. It knows no schemas and checks no one's identity.
mod http;
mod kinds;
mod state;

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde_json::Value;
use tokio::net::TcpListener;
use tokio::sync::watch;

pub use self::kinds::{ApiKind, GATEWAY_API, ISTIO, KUBERNETES};
use self::state::State;

/// Who asked what: method, path and query.
pub type Asked = (String, String);

/// A server, as tasks of the tokio runtime on which it was made. Dropping it ends it.
#[derive(Debug)]
pub struct ApiServer {
    shared: Arc<Shared>,
    address: SocketAddr,
    task: tokio::task::JoinHandle<()>,
}

/// What requests share.
#[derive(Debug)]
pub(crate) struct Shared {
    state: Mutex<State>,
    /// The version of the last change: watches wake by it.
    changed: watch::Sender<u64>,
    /// How often all connections have been cut.
    cut: watch::Sender<u64>,
    /// Whether connections are taken.
    up: watch::Sender<bool>,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let (result, version) = {
            let mut state = self.lock();
            (change(&mut state), state.version())
        };
        self.changed.send_replace(version);
        result
    }
}

impl ApiServer {
    /// Starts one on loopback that has these kinds.
    ///
    /// # Panics
    /// When no port is free.
    pub async fn start(kinds: &[ApiKind]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("a bound socket");
        let shared = Arc::new(Shared {
            state: Mutex::new(State::new(kinds)),
            changed: watch::Sender::new(0),
            cut: watch::Sender::new(0),
            up: watch::Sender::new(true),
        });
        let task = tokio::spawn(http::serve(listener, Arc::clone(&shared)));
        Self { shared, address, task }
    }

    /// How a client finds it.
    #[must_use]
    pub fn kubeconfig(&self) -> String {
        format!(
            "apiVersion: v1\nkind: Config\nclusters: [{{name: it, cluster: {{server: 'http://{}'}}}}]\n\
             users: [{{name: who, user: {{token: secret}}}}]\ncontexts: [{{name: it, context: {{cluster: it, user: who}}}}]\ncurrent-context: it\n",
            self.address
        )
    }

    /// Creates objects (YAML documents) or replaces them, as `kubectl apply` does: their status stays, and another
    /// specification is another generation.
    ///
    /// # Panics
    /// When a document is none of the kinds that there are.
    pub fn apply(&self, documents: &str) {
        let read = adit_control::resources::documents::read(documents, false).expect("documents");
        for object in read {
            self.shared.change(|state| state.apply(object.body()));
        }
    }

    /// Puts an object there as it is, however wrong.
    ///
    /// # Panics
    /// When it is none of the kinds that there are, or has no name.
    pub fn put(&self, object: Value) {
        self.shared.change(|state| state.apply(object));
    }

    /// Deletes an object; nothing if there is none.
    pub fn delete(&self, plural: &str, namespace: &str, name: &str) {
        self.shared.change(|state| state.delete(plural, namespace, name));
    }

    /// An object as it is now.
    #[must_use]
    pub fn object(&self, plural: &str, namespace: &str, name: &str) -> Option<Value> {
        self.shared.lock().object(plural, namespace, name).cloned()
    }

    /// Writes a status as another controller does.
    ///
    /// # Panics
    /// When there is no such object.
    pub fn set_status(&self, plural: &str, namespace: &str, name: &str, status: Value) {
        let written =
            self.shared.change(|state| state.write_status(plural, namespace, name, None, status, true));
        written.expect("an object");
    }

    /// Waits until an object is as it should be; it is told how it is.
    pub async fn until(
        &self,
        plural: &str,
        namespace: &str,
        name: &str,
        holds: impl Fn(&Value) -> bool,
    ) -> Value {
        let mut changed = self.shared.changed.subscribe();
        loop {
            changed.borrow_and_update();
            if let Some(object) = self.object(plural, namespace, name).filter(|object| holds(object)) {
                return object;
            }
            // The sender lives as long as `self` does.
            let _ = changed.changed().await;
        }
    }

    /// Waits until requests of this kind have come, so many in all.
    pub async fn asked(&self, count: usize, of: impl Fn(&Asked) -> bool) {
        let mut changed = self.shared.changed.subscribe();
        loop {
            changed.borrow_and_update();
            if self.requests().iter().filter(|asked| of(asked)).count() >= count {
                return;
            }
            let _ = changed.changed().await;
        }
    }

    /// All requests so far.
    #[must_use]
    pub fn requests(&self) -> Vec<Asked> {
        self.shared.lock().requests.clone()
    }

    /// Has further kinds.
    pub fn install(&self, kinds: &[ApiKind]) {
        self.shared.change(|state| state.install(kinds));
    }

    /// Has a kind no more, nor its objects.
    pub fn uninstall(&self, plural: &str) {
        self.shared.change(|state| state.uninstall(plural));
    }

    /// Finds no path of a group, though it is listed: as while a server starts. Or finds them again.
    pub fn hide(&self, group: &str, hidden: bool) {
        self.shared.change(|state| state.hide(group, hidden));
    }

    /// Forgets what has changed so far: who watches from an older version on is told 410.
    pub fn forget(&self) {
        self.shared.change(State::forget);
    }

    /// Allows a verb (`list`, `watch`, `get`, `patch`) for a kind no more, or again.
    pub fn forbid(&self, verb: &str, plural: &str, forbidden: bool) {
        self.shared.change(|state| state.forbid(verb, plural, forbidden));
    }

    /// Before so many of the next writes of a status somebody else writes to the object.
    pub fn meddle(&self, times: usize) {
        self.shared.change(|state| state.meddle = times);
    }

    /// Cuts all connections.
    pub fn cut(&self) {
        self.shared.cut.send_modify(|times| *times += 1);
    }

    /// Takes no connections any more and cuts those there are, or takes them again.
    pub fn set_up(&self, up: bool) {
        self.shared.up.send_replace(up);
        if !up {
            self.cut();
        }
    }
}

impl Drop for ApiServer {
    fn drop(&mut self) {
        self.task.abort();
        self.cut();
    }
}
