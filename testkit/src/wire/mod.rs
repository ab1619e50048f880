//! A core `Tunnel` on a real TCP connection, for tests against other people's HTTP/2.
//!
//! [`Wire`] blocks its thread, plays the applications behind the streams by [`Script`], and is bounded in time: whoever
//! waits says for what, and the test fails with these words.
use std::collections::BTreeMap;
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{Shutdown, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use adit_core::buffer::BufferPool;
use adit_core::hbone::{ConnectRequest, RequestError, Tunnel, TunnelConfig, TunnelError, TunnelEvent};
use adit_core::http2::{ErrorCode, OpenError, StreamId};
use adit_core::identity::{Identity, IdentitySet};
use adit_core::time::Instant;
use adit_core::tls::{Session, TlsContext};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

mod authority;
pub mod frames;
mod intruder;
mod script;

pub use authority::{Authority, Files, ports};
pub use intruder::{App, Intruder};
pub use script::{Answer, Script, Stream};

/// The longest that anything may take.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// A tunnel on a socket, and the applications behind it.
pub struct Wire {
    socket: TcpStream,
    tunnel: Tunnel,
    buffers: BufferPool,
    started: std::time::Instant,
    streams: BTreeMap<StreamId, Stream>,
    answer: Answer,
    seen: Seen,
    /// Our FIN has been sent.
    shut: bool,
}

/// What a tunnel has told so far, beside what belongs to a stream.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    /// The peer, once TLS is complete.
    pub peer: Option<Identity>,
    /// How many streams the peer allows, once it has said so.
    pub limit: Option<u32>,
    /// The peer takes no new streams.
    pub goaway: bool,
    /// Our drain is complete.
    pub drained: bool,
    /// Requests in the order in which they came.
    pub requests: Vec<Result<ConnectRequest, RequestError>>,
    /// The most octets that the tunnel held or queued at the end of a turn.
    pub most_buffered: usize,
    /// Why the tunnel ended.
    pub over: Option<TunnelError>,
}

impl Wire {
    /// A client that accepts `peer` only.
    #[must_use]
    pub fn client(
        socket: TcpStream,
        context: &Arc<TlsContext>,
        peer: &Identity,
        config: TunnelConfig,
    ) -> Self {
        let session = Session::client(context, &IdentitySet::single(peer.clone())).expect("a session");
        let tunnel = Tunnel::client(session, Arc::new(config), Instant::ZERO);
        Self::new(socket, tunnel, Box::new(|_| Err(400)))
    }

    /// A server whose applications do what `answer` says for each request.
    #[must_use]
    pub fn server(
        socket: TcpStream,
        context: &Arc<TlsContext>,
        config: TunnelConfig,
        answer: Answer,
    ) -> Self {
        let session = Session::server(context).expect("a session");
        Self::new(socket, Tunnel::server(session, Arc::new(config), Instant::ZERO), answer)
    }

    fn new(socket: TcpStream, tunnel: Tunnel, answer: Answer) -> Self {
        socket.set_nonblocking(true).expect("a socket that does not block");
        socket.set_nodelay(true).expect("a TCP socket");
        Self {
            socket,
            tunnel,
            buffers: BufferPool::default(),
            started: std::time::Instant::now(),
            streams: BTreeMap::new(),
            answer,
            seen: Seen::default(),
            shut: false,
        }
    }

    // ---- commands

    /// Opens a stream whose application does `script`.
    ///
    /// # Errors
    /// As [`Tunnel::open`].
    pub fn open(&mut self, request: &ConnectRequest, script: Script) -> Result<StreamId, OpenError> {
        let now = self.now();
        let id = self.tunnel.open(now, request)?;
        self.streams.insert(id, Stream::new(script));
        Ok(id)
    }

    /// Resets a stream.
    pub fn reset(&mut self, id: StreamId, code: ErrorCode) {
        let now = self.now();
        self.tunnel.reset(now, id, code, &mut self.buffers);
    }

    /// Drains the tunnel.
    pub fn drain(&mut self) {
        let now = self.now();
        self.tunnel.drain(now);
    }

    /// Says GOAWAY(`code`) and close_notify.
    pub fn close(&mut self, code: ErrorCode) {
        let now = self.now();
        self.tunnel.close(now, code);
    }

    /// Lets an application that holds back go on reading.
    pub fn release(&mut self, id: StreamId) {
        if let Some(stream) = self.streams.get_mut(&id) {
            stream.release();
        }
        self.deliver(id);
    }

    // ---- asks

    /// What an application has seen.
    #[must_use]
    pub fn stream(&self, id: StreamId) -> &Stream {
        &self.streams[&id]
    }

    /// All applications there ever were.
    pub fn streams(&self) -> impl Iterator<Item = &Stream> {
        self.streams.values()
    }

    /// The first stream whose application is as asked for.
    #[must_use]
    pub fn find(&self, mut like: impl FnMut(&Stream) -> bool) -> Option<StreamId> {
        self.streams.iter().find(|(_, stream)| like(stream)).map(|(id, _)| *id)
    }

    /// What the tunnel has told.
    #[must_use]
    pub const fn seen(&self) -> &Seen {
        &self.seen
    }

    /// Streams that HTTP/2 has not closed.
    #[must_use]
    pub fn open_streams(&self) -> usize {
        self.tunnel.open_streams()
    }

    // ---- running

    /// Runs until `done`; panics after [`PATIENCE`] with `what` was awaited.
    #[track_caller]
    pub fn run_until(&mut self, what: &str, mut done: impl FnMut(&Self) -> bool) {
        let until = std::time::Instant::now() + PATIENCE;
        while !done(self) {
            let over = self.seen.over.is_some() && !self.tunnel.wants_write();
            assert!(!over, "the tunnel ended while waiting for {what}: {:?}", self.seen.over);
            assert!(
                std::time::Instant::now() < until,
                "waited in vain for {what}: {:?} {:?}",
                self.seen,
                self.tunnel
            );
            self.turn();
        }
    }

    /// Runs until the tunnel is over and everything queued is written; gives the reason.
    #[track_caller]
    pub fn run_to_end(&mut self) -> TunnelError {
        let until = std::time::Instant::now() + PATIENCE;
        while self.seen.over.is_none() || !self.shut {
            assert!(
                std::time::Instant::now() < until,
                "the tunnel does not end: {:?} {:?}",
                self.seen,
                self.tunnel
            );
            self.turn();
        }
        self.seen.over.clone().expect("it is over")
    }

    fn now(&self) -> Instant {
        Instant::from_nanos(u64::try_from(self.started.elapsed().as_nanos()).unwrap_or(u64::MAX))
    }

    /// Timers, applications, write, wait a little, read.
    fn turn(&mut self) {
        let now = self.now();
        if self.tunnel.poll_timeout().is_some_and(|at| at <= now)
            && let Err(error) = self.tunnel.handle_timeout(now)
        {
            self.seen.over.get_or_insert(error);
        }
        self.events();
        let ids: Vec<_> = self.streams.keys().copied().collect();
        for id in ids {
            self.feed(id);
        }
        if let Err(error) = self.tunnel.flush(now, &mut self.buffers) {
            self.seen.over.get_or_insert(error);
        }
        self.write();
        self.events();
        self.seen.most_buffered = self.seen.most_buffered.max(self.tunnel.buffered());
        if self.seen.over.is_some() {
            if !self.tunnel.wants_write() && !self.shut {
                self.shut = true;
                let _ = self.socket.shutdown(Shutdown::Write);
            }
            if self.shut {
                return;
            }
        }
        self.wait();
        self.read();
    }

    /// Gives a stream what its application sends.
    fn feed(&mut self, id: StreamId) {
        let Some(stream) = self.streams.get_mut(&id) else { return };
        while !stream.to_send().is_empty() {
            let Some(mut lend) = self.tunnel.lend_data(id, &mut self.buffers) else { return };
            let mut n = 0;
            for area in lend.areas() {
                let rest = &stream.to_send()[n..];
                let len = rest.len().min(area.len());
                area[..len].copy_from_slice(&rest[..len]);
                n += len;
                if len < area.len() {
                    break;
                }
            }
            self.tunnel.commit_data(id, n);
            stream.handle_sent(n);
        }
        if stream.take_finish() {
            self.tunnel.finish(id);
        }
    }

    fn write(&mut self) {
        loop {
            let Some(slice) = self.tunnel.wire().next() else { return };
            match self.socket.write(slice) {
                Ok(n) => self.tunnel.handle_written(n, &mut self.buffers),
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {
                    return;
                }
                Err(_) => return self.cut(),
            }
        }
    }

    /// Waits until the socket is ready, 20 ms at most: timers are looked at that often.
    fn wait(&self) {
        let mut flags = PollFlags::IN;
        if self.tunnel.wants_write() {
            flags |= PollFlags::OUT;
        }
        let mut fds = [PollFd::new(&self.socket, flags)];
        let _ = poll(&mut fds, Some(&Timespec { tv_sec: 0, tv_nsec: 20_000_000 }));
    }

    fn read(&mut self) {
        let area = self.tunnel.lend_input(&mut self.buffers);
        match self.socket.read(area) {
            Ok(0) => self.cut(),
            Ok(n) => {
                let now = self.now();
                let result = self.tunnel.handle_input(now, n, &mut self.buffers);
                self.events();
                self.tunnel.settle(&mut self.buffers);
                if let Err(error) = result {
                    self.seen.over.get_or_insert(error);
                }
            }
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {}
            Err(_) => self.cut(),
        }
    }

    /// The transport is gone: nothing more can be written.
    fn cut(&mut self) {
        let now = self.now();
        let error = self.tunnel.handle_eof(now);
        self.seen.over.get_or_insert(error);
        self.events();
        self.shut = true;
    }

    fn events(&mut self) {
        while let Some(event) = self.tunnel.poll_event() {
            match event {
                TunnelEvent::Established { peer } => self.seen.peer = Some(peer),
                TunnelEvent::Limit { streams } => self.seen.limit = Some(streams),
                TunnelEvent::Request { stream, request } => self.asked(stream, request),
                TunnelEvent::Response { stream, response } => {
                    self.with(stream, |it| it.status = Some(response.status))
                }
                TunnelEvent::Data { stream } => self.deliver(stream),
                TunnelEvent::Finished { stream } => self.with(stream, Stream::handle_finished),
                TunnelEvent::Reset { stream, code, by } => {
                    self.with(stream, |it| it.reset = Some((code, by)))
                }
                TunnelEvent::Closed { stream } => self.with(stream, |it| it.closed = true),
                TunnelEvent::GoAway => self.seen.goaway = true,
                TunnelEvent::Drained => self.seen.drained = true,
                // Every stream is tried each turn anyway.
                TunnelEvent::Writable { .. } => {}
            }
        }
    }

    fn asked(&mut self, id: StreamId, request: Result<ConnectRequest, RequestError>) {
        let now = self.now();
        if let Ok(request) = &request {
            match (self.answer)(request) {
                Ok(script) => {
                    self.tunnel.accept(now, id, script.baggage.clone());
                    self.streams.insert(id, Stream::new(script));
                }
                Err(status) => self.tunnel.reject(now, id, status, &mut self.buffers),
            }
        }
        self.seen.requests.push(request);
    }

    fn deliver(&mut self, id: StreamId) {
        let Some(stream) = self.streams.get_mut(&id).filter(|stream| !stream.holds()) else { return };
        let pieces: Vec<u8> = self.tunnel.pieces(id).flatten().copied().collect();
        stream.handle_octets(&pieces);
        self.tunnel.delivered(id, pieces.len(), &mut self.buffers);
    }

    fn with(&mut self, id: StreamId, call: impl FnOnce(&mut Stream)) {
        if let Some(stream) = self.streams.get_mut(&id) {
            call(stream);
        }
    }
}
