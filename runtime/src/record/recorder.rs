//! The recorder: an engine that is another one, and writes down what is done with it.
use std::fmt;
use std::io::{IoSliceMut, Write};
use std::net::SocketAddr;
use std::sync::Arc;

use adit_core::identity::Identity;
use adit_core::mesh::Mesh;
use adit_core::proxy::{Action, Listener, LocalWorkload, Observed, ProxyId, SocketError, SocketId, Ticket};
use adit_core::route::Towards;
use adit_core::time::{Instant, WallClock};
use adit_core::tls::{RecordMode, TlsContext};

use super::format::{Call, Certificate, Digest, Entry, Header, RecordError, Writer, listener_number};
use super::tap::{Draw, abandoned, recording};
use crate::answers::{DemandAnswer, NameAnswer};
use crate::engine::Engine;

/// An [`Engine`] that writes every call into it to `W`, see [the module](super). When writing fails, the recording ends
/// there with a word in the log, and the shard goes on. A call that panics is the last entry.
pub struct Recorder<E, W: Write> {
    engine: E,
    log: Log<W>,
}

struct Log<W: Write> {
    /// `None` once writing has failed.
    writer: Option<Writer<W>>,
    clock: Arc<WallClock>,
    told: Option<u64>,
    last: Instant,
    digest: Digest,
    /// The call that is under way, or a `lend` of which it is not known yet how much was read.
    pending: Option<Entry>,
    /// What the last `lend` gave, with what was read into it.
    lent: Vec<u8>,
}

impl<W: Write> Drop for Log<W> {
    fn drop(&mut self) {
        if std::thread::panicking()
            && let Some(entry) = &mut self.pending
        {
            entry.draws.extend(abandoned());
        }
        self.close(0);
    }
}

impl<W: Write> Log<W> {
    /// Writes what is pending; of what was lent, `n` octets count.
    fn close(&mut self, n: usize) {
        let Some(mut entry) = self.pending.take() else { return };
        if let Call::Lend { octets, .. } = &mut entry.call {
            octets.extend_from_slice(self.lent.get(..n).unwrap_or(&self.lent));
        }
        if let Some(writer) = &mut self.writer
            && let Err(error) = writer.entry(&entry)
        {
            tracing::error!(%error, "the recording ends here");
            self.writer = None;
        }
    }

    /// Begins an entry, with the time since the last one.
    fn open(&mut self, now: Instant, call: Call) {
        self.close(0);
        let clock = self.clock.now().0;
        let clock = (self.told.replace(clock) != Some(clock)).then_some(clock);
        let after = now.as_nanos().saturating_sub(self.last.as_nanos());
        self.last = self.last.max(now);
        self.pending = Some(Entry { after, clock, call, draws: Vec::new(), digest: self.digest.short() });
    }

    /// The call under way has had its result.
    fn result(&mut self, draws: Vec<Draw>, result: &impl fmt::Debug) {
        self.digest.result(result);
        if let Some(entry) = &mut self.pending {
            (entry.draws, entry.digest) = (draws, self.digest.short());
        }
    }
}

impl<E, W: Write> fmt::Debug for Recorder<E, W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Recorder").finish_non_exhaustive()
    }
}

impl<E: Engine, W: Write> Recorder<E, W> {
    /// Records `engine`, which nobody has called yet, to `sink`. `clock` is the wall clock its certificates are judged by.
    ///
    /// # Errors
    /// The header cannot be written.
    pub fn new(engine: E, sink: W, clock: Arc<WallClock>, header: &Header) -> Result<Self, RecordError> {
        let writer = Some(Writer::new(sink, header)?);
        let log = Log {
            writer,
            clock,
            told: None,
            last: Instant::ZERO,
            digest: Digest::default(),
            pending: None,
            lent: Vec::new(),
        };
        Ok(Self { engine, log })
    }

    /// Makes a call and writes it down.
    fn call<T: fmt::Debug>(&mut self, now: Instant, call: Call, run: impl FnOnce(&mut E) -> T) -> T {
        self.log.open(now, call);
        let (result, draws) = recording(|| run(&mut self.engine));
        self.log.result(draws, &result);
        self.log.close(0);
        result
    }
}

/// What a context is remade from.
fn certificate(context: &TlsContext) -> Certificate {
    let der = |certificates: &[rustls::pki_types::CertificateDer<'_>]| {
        certificates.iter().map(|certificate| certificate.as_ref().to_vec()).collect()
    };
    Certificate {
        chain: der(context.chain()),
        roots: der(context.roots()),
        rustls_records: context.settings().mode == RecordMode::Rustls,
        key_update_after: context.settings().key_update_after,
        revocations: context
            .revocations()
            .map(|lists| lists.source().map(<[u8]>::to_vec).map_err(|reason| reason.to_string())),
    }
}

impl<E: Engine, W: Write> Engine for Recorder<E, W> {
    fn handle_accepted(
        &mut self,
        now: Instant,
        proxy: ProxyId,
        listener: Listener,
        peer: SocketAddr,
        local: SocketAddr,
        original: SocketAddr,
    ) -> Option<SocketId> {
        let number = listener_number(listener);
        let call = Call::Accepted { proxy: proxy.0, listener: number, peer, local, original };
        self.call(now, call, |engine| engine.handle_accepted(now, proxy, listener, peer, local, original))
    }

    fn handle_connect(&mut self, now: Instant, to: &Towards) -> Option<SocketId> {
        let service = to.service.as_ref().map(|name| [name.namespace.to_string(), name.hostname.to_string()]);
        let (workload, port) = (to.workload.to_string(), to.port);
        let call = Call::Connect { workload, port, service, target: to.target, client: to.client };
        self.call(now, call, |engine| engine.handle_connect(now, to))
    }

    fn handle_connected(&mut self, now: Instant, socket: SocketId) {
        let call = Call::Connected { socket: socket.into() };
        self.call(now, call, |engine| engine.handle_connected(now, socket));
    }

    fn handle_error(&mut self, now: Instant, socket: SocketId, error: SocketError) {
        let call = Call::Error { socket: socket.into(), error: error.into() };
        self.call(now, call, |engine| engine.handle_error(now, socket, error));
    }

    fn lend<T>(&mut self, socket: SocketId, read: impl FnOnce(&mut [IoSliceMut<'_>]) -> T) -> Option<T> {
        self.log.open(self.log.last, Call::Lend { socket: socket.into(), octets: vec![] });
        let lent = &mut self.log.lent;
        lent.clear();
        let (result, draws) = recording(|| {
            self.engine.lend(socket, |areas| {
                let result = read(areas);
                areas.iter().for_each(|area| lent.extend_from_slice(area));
                result
            })
        });
        let room = result.as_ref().map(|_| self.log.lent.len());
        self.log.result(draws, &room);
        result
    }

    fn handle_read(&mut self, now: Instant, socket: SocketId, n: usize) {
        self.log.close(n);
        let call = Call::Read { socket: socket.into(), n: n as u64 };
        self.call(now, call, |engine| engine.handle_read(now, socket, n));
    }

    fn handle_eof(&mut self, now: Instant, socket: SocketId) {
        self.call(now, Call::Eof { socket: socket.into() }, |engine| engine.handle_eof(now, socket));
    }

    fn poll_urgent(&mut self) -> Option<SocketId> {
        self.call(self.log.last, Call::PollUrgent, E::poll_urgent)
    }

    fn poll_deferred(&mut self, now: Instant) -> Option<SocketId> {
        self.call(now, Call::PollDeferred, |engine| engine.poll_deferred(now))
    }

    fn wire(&self, socket: SocketId) -> impl Iterator<Item = &[u8]> {
        self.engine.wire(socket)
    }

    fn handle_written(&mut self, now: Instant, socket: SocketId, n: usize) {
        let mut left = n;
        for slice in self.engine.wire(socket) {
            let written = slice.get(..left).unwrap_or(slice);
            self.log.digest.octets(written);
            left -= written.len();
        }
        let call = Call::Written { socket: socket.into(), n: n as u64 };
        self.call(now, call, |engine| engine.handle_written(now, socket, n));
    }

    fn handle_write_blocked(&mut self, now: Instant, socket: SocketId) {
        let call = Call::WriteBlocked { socket: socket.into() };
        self.call(now, call, |engine| engine.handle_write_blocked(now, socket));
    }

    fn handle_writable(&mut self, now: Instant, socket: SocketId) {
        let call = Call::Writable { socket: socket.into() };
        self.call(now, call, |engine| engine.handle_writable(now, socket));
    }

    fn handle_timeout(&mut self, now: Instant) {
        self.call(now, Call::Timeout, |engine| engine.handle_timeout(now));
    }

    fn handle_mesh(&mut self, now: Instant, mesh: Arc<Mesh>) {
        self.call(now, Call::Mesh, |engine| engine.handle_mesh(now, mesh));
    }

    fn handle_certificate(
        &mut self,
        now: Instant,
        identity: &Identity,
        answer: Result<Arc<TlsContext>, Arc<str>>,
    ) {
        let told = match &answer {
            Ok(context) => Ok(certificate(context)),
            Err(text) => Err(text.to_string()),
        };
        let call = Call::Certificate { identity: identity.to_string(), answer: told };
        self.call(now, call, |engine| engine.handle_certificate(now, identity, answer));
    }

    fn handle_resolved(&mut self, now: Instant, ticket: Ticket, answer: NameAnswer) {
        let told = answer.as_ref().map_err(|error| (*error).into()).cloned();
        let call = Call::Resolved { ticket: ticket.into(), answer: told };
        self.call(now, call, |engine| engine.handle_resolved(now, ticket, answer));
    }

    fn handle_demanded(&mut self, now: Instant, ticket: Ticket, answer: DemandAnswer) {
        let told = answer.clone().map_err(Into::into);
        let call = Call::Demanded { ticket: ticket.into(), answer: told };
        self.call(now, call, |engine| engine.handle_demanded(now, ticket, answer));
    }

    fn add_proxy(&mut self, now: Instant, id: ProxyId, local: LocalWorkload) {
        let text = |text: &str| text.to_owned();
        let LocalWorkload { namespace, name, service_account } = &local;
        let local_told = [namespace, name, service_account].map(|part| text(part));
        let call = Call::AddProxy { id: id.0, local: local_told };
        self.call(now, call, |engine| engine.add_proxy(now, id, local));
    }

    fn remove_proxy(&mut self, now: Instant, id: ProxyId) {
        self.call(now, Call::RemoveProxy { id: id.0 }, |engine| engine.remove_proxy(now, id));
    }

    fn drain(&mut self, now: Instant) {
        self.call(now, Call::Drain, |engine| engine.drain(now));
    }

    fn terminate(&mut self, now: Instant) {
        self.call(now, Call::Terminate, |engine| engine.terminate(now));
    }

    fn poll_action(&mut self) -> Option<Action> {
        let action = self.engine.poll_action()?;
        Some(self.call(self.log.last, Call::PollAction, |_| action))
    }

    fn poll_observed(&mut self) -> Option<Observed> {
        let observed = self.engine.poll_observed()?;
        Some(self.call(self.log.last, Call::PollObserved, |_| observed))
    }

    fn poll_timeout(&self) -> Option<Instant> {
        self.engine.poll_timeout()
    }
}
