//! Where listening sockets come from and where they go: from the proxy before this one if there is one, and to the one
//! that comes next (`ADIT_HANDOVER_PATH`). No connection is refused in between, for it is the same sockets all along.
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use adit_control::dns::Listeners;
use adit_control::zds::own_netns;
use adit_core::inpod::NetnsId;
use adit_runtime::handover::{self, Endpoint, Estate, HandoverError, Inherited, Predecessor, Prepared};
use adit_runtime::{BindError, BoundListener, ListenerSpec, NetNs, SocketOptions};

/// This process between the one before and the one after it.
#[derive(Clone, Debug)]
pub struct Handover {
    /// Until it is offered.
    prepared: Arc<Mutex<Option<Prepared>>>,
    predecessor: Option<Predecessor>,
    estate: Estate,
}

impl Handover {
    /// Meets whoever answers at `path` now, and prepares to take their place.
    ///
    /// # Errors
    /// There can be no socket at the path.
    pub fn new(path: &Path) -> Result<Self, HandoverError> {
        let prepared = Arc::new(Mutex::new(Some(handover::prepare(path)?)));
        let met =
            Predecessor::meet(path).inspect_err(|error| tracing::warn!(%error, "binding sockets of our own"));
        Ok(Self { prepared, predecessor: met.ok(), estate: Estate::new() })
    }

    /// The sockets of the namespace this process is in.
    ///
    /// # Errors
    /// The namespace cannot be looked at.
    pub fn here(&self) -> io::Result<Sockets> {
        Ok(self.of(own_netns()?))
    }

    /// The sockets of a namespace, such as a pod's.
    #[must_use]
    pub fn of(&self, namespace: NetnsId) -> Sockets {
        let asked = self.predecessor.as_ref().map(|predecessor| predecessor.sockets(namespace));
        let inherited = asked.unwrap_or_else(|| Ok(Inherited::default())).unwrap_or_else(|error| {
            tracing::warn!(%error, "binding sockets of our own");
            Inherited::default()
        });
        Sockets { inherited, estate: Some((self.estate.clone(), namespace)) }
    }

    /// Whoever comes next meets this process from now on. To be called when it serves: if it fails before, the next one still
    /// meets the one before it.
    ///
    /// # Errors
    /// The path cannot be taken.
    pub fn offer(&self) -> Result<(), HandoverError> {
        let prepared = self.prepared.lock().unwrap_or_else(PoisonError::into_inner).take();
        prepared.map_or(Ok(()), |prepared| prepared.serve(self.estate.clone()))
    }

    /// A pod is gone.
    pub fn forget(&self, namespace: NetnsId) {
        self.estate.remove(namespace);
    }

    /// Nothing is handed over any more: this process is about to stop listening.
    pub fn end(&self) {
        self.estate.close();
    }
}

/// Listening sockets of one network namespace: those that there are already, else new ones. By default all are new, and stay
/// with this process.
#[derive(Debug, Default)]
pub struct Sockets {
    inherited: Inherited,
    estate: Option<(Estate, NetnsId)>,
}

impl Sockets {
    /// This process's own listener, which it has already.
    ///
    /// # Errors
    /// Its address cannot be read.
    pub fn bound(listener: TcpListener) -> io::Result<Self> {
        let endpoint = Endpoint::Tcp(listener.local_addr()?);
        Ok(Self { inherited: [(endpoint, listener.into())].into_iter().collect(), estate: None })
    }

    /// A listener for shards, in `netns` (where given, the namespace these sockets are of).
    ///
    /// # Errors
    /// As [`ListenerSpec::bind_in`].
    pub fn listen(
        &mut self,
        spec: &ListenerSpec,
        netns: Option<&NetNs>,
        options: &SocketOptions,
    ) -> Result<BoundListener, BindError> {
        let endpoint = Endpoint::Tcp(spec.address);
        let bound = match self.inherited.take(endpoint) {
            Some(socket) => spec.adopt(socket, options)?,
            None => spec.bind_in(netns, options)?,
        };
        self.offer(endpoint, || Ok(bound.descriptor()));
        Ok(bound)
    }

    /// A listener at `address` for anything else.
    ///
    /// # Errors
    /// What binding says.
    pub fn tcp(&mut self, address: SocketAddr) -> io::Result<TcpListener> {
        let endpoint = Endpoint::Tcp(address);
        let listener = match self.inherited.take(endpoint) {
            Some(socket) => socket.into(),
            None => TcpListener::bind(address)?,
        };
        self.offer(endpoint, || duplicate(&listener));
        Ok(listener)
    }

    /// The DNS proxy's sockets at `address`, if the proxy before this one had both.
    pub fn dns(&mut self, address: SocketAddr) -> Option<Listeners> {
        let udp = self.inherited.take(Endpoint::Udp(address));
        let (udp, tcp) = udp.zip(self.inherited.take(Endpoint::Tcp(address)))?;
        Some(Listeners { udp: vec![udp.into()], tcp: vec![tcp.into()] })
    }

    /// Whoever comes next may have the DNS proxy's.
    pub fn offer_dns(&self, listeners: &Listeners) {
        for socket in &listeners.udp {
            if let Ok(address) = socket.local_addr() {
                self.offer(Endpoint::Udp(address), || duplicate(socket));
            }
        }
        for listener in &listeners.tcp {
            if let Ok(address) = listener.local_addr() {
                self.offer(Endpoint::Tcp(address), || duplicate(listener));
            }
        }
    }

    fn offer(&self, endpoint: Endpoint, socket: impl FnOnce() -> io::Result<Arc<OwnedFd>>) {
        let Some((estate, namespace)) = &self.estate else { return };
        // Whoever asked for any port cannot be meant by its number.
        let (Endpoint::Tcp(address) | Endpoint::Udp(address)) = endpoint;
        if address.port() == 0 {
            return;
        }
        match socket() {
            Ok(socket) => estate.add(*namespace, endpoint, socket),
            Err(error) => tracing::warn!(%error, %address, "this socket cannot be handed over"),
        }
    }
}

fn duplicate(socket: impl AsFd) -> io::Result<Arc<OwnedFd>> {
    Ok(Arc::new(socket.as_fd().try_clone_to_owned()?))
}

/// Listeners on one port of all `addresses`, in their order: for several proxies on one machine, whose peers are dialled on the
/// port one listens on oneself.
///
/// # Errors
/// No port is free on all of them.
pub fn same_port(addresses: &[Ipv4Addr]) -> io::Result<(u16, Vec<TcpListener>)> {
    const ATTEMPTS: usize = 32;
    for _ in 0..ATTEMPTS {
        let mut port = 0;
        let bound = addresses.iter().map(|&address| {
            let listener = TcpListener::bind((address, port))?;
            port = listener.local_addr()?.port();
            Ok(listener)
        });
        if let Ok(bound) = bound.collect::<io::Result<Vec<_>>>() {
            return Ok((port, bound));
        }
    }
    Err(io::Error::new(io::ErrorKind::AddrInUse, "no port is free on all of them"))
}
