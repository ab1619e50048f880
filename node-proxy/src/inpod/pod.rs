//! The listening sockets of a pod, made in its network namespace (datapath §1.1, §1.3).
use adit_core::proxy::Listener;
use adit_runtime::{BoundListener, ListenerSpec, NetNs, SocketOptions};

use crate::config::{Config, Shared};
use crate::handover::Sockets;

/// What listens in every pod, beside DNS.
#[derive(Clone, Debug)]
pub(super) struct PodListeners {
    specs: Vec<ListenerSpec>,
    options: SocketOptions,
    reuse_port: bool,
}

impl PodListeners {
    /// The usual ports, as `config` has them.
    pub(super) fn new(config: &Config, shared: &Shared) -> Self {
        let listen = &config.listen;
        let usual = [
            (Listener::InboundHbone, Some(listen.hbone)),
            (Listener::InboundPlain, Some(listen.inbound_plain)),
            (Listener::Outbound, Some(listen.outbound)),
            (Listener::Socks5, listen.socks5),
        ];
        let reuse_port = shared.reuse_port;
        let spec = |(listener, address): (_, Option<_>)| {
            address.map(|address| ListenerSpec {
                listener,
                address,
                transparency: config.transparency,
                reuse_port,
            })
        };
        Self { specs: usual.into_iter().filter_map(spec).collect(), options: config.sockets, reuse_port }
    }

    /// Has all of them in `netns`: those that there are already, else new ones.
    pub(super) fn bind(&self, netns: &NetNs, sockets: &mut Sockets) -> Result<Vec<BoundListener>, String> {
        let bind = |spec: &ListenerSpec| sockets.listen(spec, Some(netns), &self.options);
        self.specs.iter().map(bind).collect::<Result<_, _>>().map_err(|error| error.to_string())
    }

    /// Whether another process may listen for DNS questions there as well.
    pub(super) const fn dns_reuses_port(&self) -> bool {
        self.reuse_port
    }
}
