//! Proxies that come and go while the shard runs (in-pod mode): their listeners, and where their sockets are made.
use adit_core::proxy::ProxyId;

use super::Drive;
use super::accept::ListenerSlot;
use crate::engine::Engine;
use crate::mailbox::{NewProxy, ProxyCommand};
use crate::ports::{CertificateSource, Observer};
use crate::ready::{Key, Notifier};
use crate::runtime::Runtime;
use crate::socket::{BoundListener, NetNs, SocketOptions};

/// How sockets are made that one proxy dials.
#[derive(Debug)]
pub(super) struct Dialling {
    pub(super) netns: Option<NetNs>,
    pub(super) options: SocketOptions,
    /// Dials may borrow the source that the shard names: the listeners were bound so (datapath §5.6).
    pub(super) preserves_sources: bool,
}

impl Dialling {
    pub(super) fn new(netns: Option<NetNs>, options: SocketOptions, listeners: &[BoundListener]) -> Self {
        Self { netns, options, preserves_sources: listeners.iter().any(BoundListener::is_transparent) }
    }
}

impl<R, E, O, C> Drive<R, E, O, C>
where
    R: Runtime,
    E: Engine,
    O: Observer,
    C: CertificateSource,
{
    pub(super) fn command(&mut self, command: ProxyCommand) {
        match command {
            ProxyCommand::Add(proxy) => self.add_proxy(*proxy),
            ProxyCommand::Remove(id, done) => {
                self.listeners.retain(|_, listener| listener.proxy() != id);
                self.engine.remove_proxy(self.now, id);
                // Its sockets close with it.
                self.settle();
                self.dialling.remove(&id);
                done();
            }
        }
    }

    fn add_proxy(&mut self, proxy: NewProxy) {
        let NewProxy { id, local, listeners, netns, sockets } = proxy;
        // After the drain has begun, nothing listens any more.
        if self.stopped_listening {
            return;
        }
        self.dialling.insert(id, Dialling::new(netns, sockets, &listeners));
        self.engine.add_proxy(self.now, id, local);
        self.listen(id, listeners);
    }

    /// Accepts from `listeners` for `proxy` from now on.
    pub(super) fn listen(&mut self, proxy: ProxyId, listeners: Vec<BoundListener>) {
        for bound in listeners {
            // Never used again, so that a late wake-up of a listener that is gone finds nothing.
            let index = self.next_listener;
            self.next_listener = index.wrapping_add(1);
            let notifier = Notifier::new(&self.ready, Key::Listener(index));
            self.listeners.insert(index, ListenerSlot::new(proxy, bound, notifier));
            // It is watched from its first look on; what waits already has woken nobody.
            self.again.push_back(Key::Listener(index));
        }
    }
}
