//! Carrying out what the shard asks for.
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::fd::OwnedFd;
use std::task::{Context, Poll};

use adit_core::proxy::{Action, ProxyId, SocketError, SocketId};

use super::Drive;
use crate::answers::{DemandReply, NameReply};
use crate::engine::Engine;
use crate::pipe;
use crate::ports::{CertificateReply, CertificateSource, Observer};
use crate::runtime::Runtime;
use crate::slots::{Connection, Reading, Transport, Writing};
use crate::socket::{self, Dialled};

/// An address nobody has.
pub(super) const NOWHERE: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0);

impl<R, E, O, C> Drive<R, E, O, C>
where
    R: Runtime,
    E: Engine,
    O: Observer,
    C: CertificateSource,
{
    /// Carries out one action. Part of settling, so nothing here settles.
    pub(super) fn act(&mut self, action: Action) {
        match action {
            Action::Dial { proxy, socket, to, source } => {
                if let Err(error) = self.dial(proxy, socket, to, source) {
                    self.engine.handle_error(self.now, socket, socket::socket_error(&error));
                }
            }
            Action::Join { sockets: [a, b] } => {
                let (near, far) = pipe::pair();
                for (id, end) in [(a, near), (b, far)] {
                    self.slots.insert(Connection::new(id, Transport::Pipe(end), Writing::Open));
                    self.soon.push_back(id);
                }
            }
            Action::Deliver { socket, delivered } => {
                let refused = Err(SocketError::Refused);
                let end = self.config.deliveries.as_ref().map_or(refused, |to| to.deliver(*delivered));
                match end {
                    Ok(end) => self.connected(socket, Transport::Pipe(end)),
                    Err(error) => self.engine.handle_error(self.now, socket, error),
                }
            }
            Action::Opened { socket } => {
                if let Some(opener) = self.opening.remove(&socket) {
                    opener.decide(Ok(()));
                }
            }
            Action::Failed { socket, failure } => {
                if let Some(opener) = self.opening.remove(&socket) {
                    opener.decide(Err(failure));
                }
            }
            Action::Leaving { socket } => {
                if let Some((connection, _)) = self.slots.get(socket)
                    && let Transport::Pipe(end) = &connection.transport
                {
                    end.take_leave();
                }
            }
            Action::ShutdownWrite { socket } => self.shutdown_write(socket),
            Action::Close { socket, reset } => {
                if let Some(connection) = self.slots.remove(socket)
                    && reset
                {
                    connection.transport.reset();
                }
            }
            Action::ResumeRead { socket } => self.resume_read(socket),
            Action::NeedCertificate { identity } => {
                let reply = CertificateReply::to_identity(self.mailbox.handle(), identity.clone());
                self.certificates.request(&identity, reply);
            }
            Action::Resolve { proxy, ticket, name, scope } => {
                let reply = NameReply::to_name(self.mailbox.handle(), ticket);
                self.questions.names.request(proxy, &name, scope, reply);
            }
            Action::Demand { ticket, key } => {
                let reply = DemandReply::to_demand(self.mailbox.handle(), ticket);
                self.questions.demands.request(&key, reply);
            }
            Action::StopListening => self.stop_listening(),
            Action::Drained => self.drained = true,
        }
    }

    fn dial(
        &mut self,
        proxy: ProxyId,
        id: SocketId,
        to: SocketAddr,
        source: Option<IpAddr>,
    ) -> io::Result<()> {
        let from = source.map_or(NOWHERE, |ip| SocketAddr::new(ip, 0));
        if let Some(end) = self.config.local_listeners.connect(to, from) {
            self.connected(id, Transport::Pipe(end?));
            return Ok(());
        }
        let Some(by) = self.dialling.get(&proxy) else { return Err(io::ErrorKind::NotConnected.into()) };
        let source = source.filter(|_| by.preserves_sources);
        if by.options.keepalive.is_some() {
            self.lasting.handle_dialled(self.now, proxy, id);
        }
        match socket::dial(by.netns.as_ref(), to, source, &by.options)? {
            Dialled::Connected(fd) => {
                let transport = self.register(fd)?;
                self.connected(id, transport);
            }
            Dialled::Pending(fd) => {
                let transport = self.register(fd)?;
                self.slots.insert(Connection::new(id, transport, Writing::Connecting));
                self.finish_connect(id);
            }
        }
        Ok(())
    }

    pub(super) fn register(&self, fd: OwnedFd) -> io::Result<Transport<R::Io>> {
        self.runtime.register(fd).map(Transport::Fd)
    }

    /// A dial that was done at once.
    fn connected(&mut self, id: SocketId, transport: Transport<R::Io>) {
        self.slots.insert(Connection::new(id, transport, Writing::Open));
        self.soon.push_back(id);
        self.engine.handle_connected(self.now, id);
    }

    /// Looks how a connect went, if it is decided. The caller settles.
    pub(super) fn finish_connect(&mut self, id: SocketId) {
        let Some((connection, notifier)) = self.slots.get(id) else { return };
        let mut cx = Context::from_waker(notifier.waker());
        let Poll::Ready(decided) = connection.transport.poll_connected(&mut cx) else { return };
        match decided {
            Ok(()) => {
                connection.writing = Writing::Open;
                let shutdown = connection.shutdown_wanted;
                // Reading is armed when the socket is looked at again.
                self.soon.push_back(id);
                self.engine.handle_connected(self.now, id);
                if shutdown {
                    self.shutdown_write(id);
                }
            }
            Err(error) => self.fail(id, &error),
        }
    }

    /// Tells the shard that a socket failed; it is neither read nor written any more. The caller settles.
    pub(super) fn fail(&mut self, id: SocketId, error: &io::Error) {
        if let Some((connection, _)) = self.slots.get(id) {
            connection.reading = Reading::Ended;
            connection.writing = Writing::Ended;
        }
        self.engine.handle_error(self.now, id, socket::socket_error(error));
    }
}
