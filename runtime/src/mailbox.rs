//! Commands into a running shard, from any thread.
//!
//! The mailbox is bounded without ever losing a command: of tables, of certificates per identity, and of "drain" and
//! "terminate", only the latest counts; answers are as few as the shard's questions; a proxy that is removed before the
//! shard has heard of it leaves no command; only connection requests queue up, and those may be refused.
use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::mem;
use std::net::SocketAddr;
use std::sync::{Arc, PoisonError};
use std::task::Waker;

use adit_core::identity::Identity;
use adit_core::mesh::Mesh;
use adit_core::proxy::{LocalWorkload, ProxyId, Ticket};
use adit_core::route::Towards;

use crate::answers::{DemandAnswer, NameAnswer};
use crate::delivery::{Opener, opening};
use crate::pipe;
use crate::ports::CertificateAnswer;
use crate::socket::{BoundListener, NetNs, SocketOptions};
use crate::stream::TunnelStream;
use crate::sync::{AtomicWaker, Mutex, MutexGuard};

/// The most connection requests that wait for the shard at a time.
const MAX_CONNECTS: usize = 1024;

/// Why a stream could not be had.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// The shard has ended.
    #[error("the shard has ended; connect through another one")]
    Ended,
    /// Too many connection requests are waiting.
    #[error("{MAX_CONNECTS} connection requests are waiting for the shard already; try again later")]
    Busy,
}

/// An outbound connection that never was a socket.
pub(crate) struct Connect {
    pub(crate) to: Wanted,
    pub(crate) end: pipe::End,
}

/// Where one leads.
pub(crate) enum Wanted {
    /// As if an application at `source` had been captured on its way to `target`.
    Captured { source: SocketAddr, target: SocketAddr },
    /// To an endpoint that is chosen already.
    Endpoint(Box<Towards>, Opener),
}

/// A proxy that a running shard is to serve as well; see [`adit_core::proxy::Shard::add_proxy`].
#[derive(Debug)]
pub struct NewProxy {
    /// Its name, the same in all shards and never used again.
    pub id: ProxyId,
    /// Whom it stands for.
    pub local: LocalWorkload,
    /// What it accepts from.
    pub listeners: Vec<BoundListener>,
    /// Where the sockets it dials are made; `None`: where the shard's thread lives.
    pub netns: Option<NetNs>,
    /// Options of the sockets it dials.
    pub sockets: SocketOptions,
}

/// A change of the proxies that a shard serves.
pub(crate) enum ProxyCommand {
    Add(Box<NewProxy>),
    /// Calls back when nothing of it is left.
    Remove(ProxyId, Box<dyn FnOnce() + Send>),
}

/// What has arrived since the driver last looked.
#[derive(Default)]
pub(crate) struct Mail {
    pub(crate) drain: bool,
    pub(crate) terminate: bool,
    /// In order.
    pub(crate) proxies: Vec<ProxyCommand>,
    pub(crate) mesh: Option<Arc<Mesh>>,
    pub(crate) certificates: BTreeMap<Identity, CertificateAnswer>,
    pub(crate) resolved: Vec<(Ticket, NameAnswer)>,
    pub(crate) demanded: Vec<(Ticket, DemandAnswer)>,
    pub(crate) connects: VecDeque<Connect>,
    ended: bool,
}

#[derive(Default)]
struct Shared {
    mail: Mutex<Mail>,
    driver: AtomicWaker,
}

impl Shared {
    fn mail(&self) -> MutexGuard<'_, Mail> {
        // The mail is consistent between any two statements, so a panic elsewhere does not spoil it.
        self.mail.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Speaks to one running shard. Cheap to clone; commands to a shard that has ended do nothing.
#[derive(Clone)]
pub struct Handle {
    shared: Arc<Shared>,
}

impl fmt::Debug for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handle").finish_non_exhaustive()
    }
}

impl Handle {
    /// Stops gracefully: see [`adit_core::proxy::Shard::drain`].
    pub fn drain(&self) {
        self.post(|mail| mail.drain = true);
    }

    /// Ends everything now.
    pub fn terminate(&self) {
        self.post(|mail| mail.terminate = true);
    }

    /// New tables; tables the shard has not taken yet are skipped.
    pub fn mesh(&self, mesh: Arc<Mesh>) {
        self.post(|mail| mail.mesh = Some(mesh));
    }

    /// A certificate, or why there is none: as an answer or because it was renewed.
    pub fn certificate(&self, identity: Identity, answer: CertificateAnswer) {
        self.post(|mail| {
            mail.certificates.insert(identity, answer);
        });
    }

    /// Has the shard serve one more proxy.
    pub fn add_proxy(&self, proxy: NewProxy) {
        self.post(|mail| mail.proxies.push(ProxyCommand::Add(Box::new(proxy))));
    }

    /// Ends a proxy at once ([`adit_core::proxy::Shard::remove_proxy`]); `done` is called when its sockets are closed, on the
    /// shard's thread if that has heard of it. When the shard has ended, it is dropped without being called.
    pub fn remove_proxy(&self, id: ProxyId, done: impl FnOnce() + Send + 'static) {
        let mut mail = self.shared.mail();
        if mail.ended {
            return;
        }
        let unheard = |command: &ProxyCommand| matches!(command, ProxyCommand::Add(new) if new.id == id);
        if let Some(at) = mail.proxies.iter().position(unheard) {
            let added = mail.proxies.remove(at);
            drop(mail);
            // With its listeners.
            drop(added);
            return done();
        }
        mail.proxies.push(ProxyCommand::Remove(id, Box::new(done)));
        drop(mail);
        self.shared.driver.wake();
    }

    pub(crate) fn resolved(&self, ticket: Ticket, answer: NameAnswer) {
        self.post(|mail| mail.resolved.push((ticket, answer)));
    }

    pub(crate) fn demanded(&self, ticket: Ticket, answer: DemandAnswer) {
        self.post(|mail| mail.demanded.push((ticket, answer)));
    }

    /// Opens a stream to `target` as if an application at `source` had connected there and the connection had been
    /// captured on the outbound listener: routing, policy and tunnels apply. The stream can be written to at once.
    ///
    /// # Errors
    /// The shard has ended, or too many requests are waiting. A failure later shows as a reset of the stream.
    pub fn connect(&self, source: SocketAddr, target: SocketAddr) -> Result<TunnelStream, ConnectError> {
        let near = self.want(Wanted::Captured { source, target })?;
        Ok(TunnelStream::new(near, source, target))
    }

    /// Opens a stream to an endpoint, as the shard's own workload; see [`adit_core::proxy::Shard::handle_connect`].
    /// [`TunnelStream::poll_opened`] tells what came of it.
    ///
    /// # Errors
    /// The shard has ended, or too many requests are waiting.
    pub fn connect_to(&self, to: Towards) -> Result<TunnelStream, ConnectError> {
        let (source, target, (opener, opening)) = (to.client, to.target, opening());
        let near = self.want(Wanted::Endpoint(Box::new(to), opener))?;
        Ok(TunnelStream::new(near, source, target).awaited(opening))
    }

    fn want(&self, to: Wanted) -> Result<pipe::End, ConnectError> {
        let (near, far) = pipe::pair();
        let mut mail = self.shared.mail();
        if mail.ended {
            return Err(ConnectError::Ended);
        }
        if mail.connects.len() >= MAX_CONNECTS {
            return Err(ConnectError::Busy);
        }
        mail.connects.push_back(Connect { to, end: far });
        drop(mail);
        self.shared.driver.wake();
        Ok(near)
    }

    /// Whether the shard has ended.
    #[must_use]
    pub fn is_ended(&self) -> bool {
        self.shared.mail().ended
    }

    fn post(&self, write: impl FnOnce(&mut Mail)) {
        let mut mail = self.shared.mail();
        if mail.ended {
            return;
        }
        write(&mut mail);
        drop(mail);
        self.shared.driver.wake();
    }
}

/// The shard's end of its [`Handle`]s.
pub struct Mailbox {
    shared: Arc<Shared>,
}

impl fmt::Debug for Mailbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mailbox").finish_non_exhaustive()
    }
}

/// A mailbox for a shard about to be driven, and a handle to it. What is sent before the shard starts waits for it.
#[must_use]
pub fn mailbox() -> (Handle, Mailbox) {
    let shared = Arc::new(Shared::default());
    (Handle { shared: Arc::clone(&shared) }, Mailbox { shared })
}

impl Mailbox {
    /// Another handle to this mailbox.
    #[must_use]
    pub fn handle(&self) -> Handle {
        Handle { shared: Arc::clone(&self.shared) }
    }

    /// Takes everything; `waker` is called when more arrives.
    pub(crate) fn take(&self, waker: &Waker) -> Mail {
        self.shared.driver.register(waker);
        mem::take(&mut *self.shared.mail())
    }
}

impl Drop for Mailbox {
    fn drop(&mut self) {
        let left = mem::replace(&mut *self.shared.mail(), Mail { ended: true, ..Mail::default() });
        // Outside the lock: dropping pipe ends wakes foreign tasks.
        drop(left);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    #[test]
    fn requests_are_bounded_and_the_end_is_told() {
        let (handle, mailbox) = mailbox();
        let (source, target) = (address("10.0.0.1:0"), address("10.0.0.2:80"));
        let streams: Vec<_> = (0..MAX_CONNECTS).map(|_| handle.connect(source, target).unwrap()).collect();
        assert_eq!(handle.connect(source, target).unwrap_err(), ConnectError::Busy);
        assert_eq!(mailbox.take(Waker::noop()).connects.len(), streams.len());

        drop(mailbox);
        assert!(handle.is_ended());
        assert_eq!(handle.connect(source, target).unwrap_err(), ConnectError::Ended);
    }

    #[test]
    fn a_proxy_that_the_shard_has_not_heard_of_goes_without_it() {
        let (handle, mailbox) = mailbox();
        let local = LocalWorkload { namespace: "ns".into(), name: "a".into(), service_account: "a".into() };
        let new = |id| NewProxy {
            id,
            local: local.clone(),
            listeners: Vec::new(),
            netns: None,
            sockets: SocketOptions::default(),
        };
        handle.add_proxy(new(ProxyId(1)));
        handle.add_proxy(new(ProxyId(2)));
        let (done, ends) = std::sync::mpsc::channel();
        let tell = |id| {
            let done = done.clone();
            move || done.send(id).unwrap()
        };
        handle.remove_proxy(ProxyId(1), tell(1));
        assert_eq!(ends.try_recv(), Ok(1));
        handle.remove_proxy(ProxyId(3), tell(3));
        let commands = mailbox.take(Waker::noop()).proxies;
        let ids: Vec<_> = commands
            .iter()
            .map(|command| match command {
                ProxyCommand::Add(new) => (true, new.id.0),
                ProxyCommand::Remove(id, _) => (false, id.0),
            })
            .collect();
        assert_eq!(ids, [(true, 2), (false, 3)]);
        // The shard has ended before it could look.
        drop((commands, mailbox, done));
        handle.remove_proxy(ProxyId(2), || unreachable!());
        assert!(ends.try_recv().is_err());
    }

    #[test]
    fn commands_survive_until_taken_and_are_taken_once() {
        let (handle, mailbox) = mailbox();
        handle.drain();
        handle.terminate();
        let mail = mailbox.take(Waker::noop());
        assert!(mail.drain && mail.terminate);
        let mail = mailbox.take(Waker::noop());
        assert!(!mail.drain && !mail.terminate);
    }
}
