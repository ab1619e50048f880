//! One end of a pair: a tunnel, its buffers, and the applications behind it.
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use adit_core::buffer::BufferPool;
use adit_core::hbone::{Authority, ConnectRequest, Tunnel, TunnelConfig, TunnelError, TunnelEvent};
use adit_core::http2::{ErrorCode, OpenError, StreamId};
use adit_core::time::Instant;
use adit_core::tls::{Side, TlsPorts};

use super::Violation;
use super::net::{Rng, Wire};
use super::script::{Ending, Script, StreamScript, Transcript, fill, matches};

/// An application and its stream.
#[derive(Debug)]
struct App {
    index: usize,
    script: Script,
    /// `lend_data` said no; nothing may be tried before `Writable`.
    blocked: bool,
    /// Its half has ended.
    ended: bool,
    seen: Transcript,
}

/// One end.
pub(super) struct End {
    pub(super) side: Side,
    pub(super) tunnel: Option<Tunnel>,
    pub(super) pool: BufferPool,
    config: Arc<TunnelConfig>,
    ports: Option<TlsPorts>,
    scripts: Arc<[StreamScript]>,
    apps: BTreeMap<StreamId, App>,
    /// Client: the next script to open.
    next: usize,
    pub(super) ready: bool,
    pub(super) drained: bool,
    pub(super) going_away: bool,
    pub(super) error: Option<TunnelError>,
    /// Streams that are gone: what their applications saw, by index.
    done: BTreeMap<usize, Transcript>,
}

impl End {
    pub(super) fn new(
        side: Side,
        tunnel: Tunnel,
        config: Arc<TunnelConfig>,
        ports: Option<TlsPorts>,
        scripts: Arc<[StreamScript]>,
    ) -> Self {
        Self {
            side,
            tunnel: Some(tunnel),
            pool: BufferPool::default(),
            config,
            ports,
            scripts,
            apps: BTreeMap::new(),
            next: 0,
            ready: false,
            drained: false,
            going_away: false,
            error: None,
            done: BTreeMap::new(),
        }
    }

    fn tunnel(&mut self) -> (&mut Tunnel, &mut BufferPool) {
        (self.tunnel.as_mut().expect("an end has its tunnel between calls"), &mut self.pool)
    }

    /// Reads what has arrived, lets the applications act, and writes; whether anything happened.
    pub(super) fn turn(
        &mut self,
        now: Instant,
        input: &mut Wire,
        output: &mut Wire,
        rng: &mut Rng,
    ) -> Result<bool, Violation> {
        let mut progress = self.read(now, input, rng)?;
        progress |= self.deliver(now, rng)?;
        progress |= self.open(now)?;
        progress |= self.send(now, rng);
        self.events(now)?;
        progress |= self.write(now, output)?;
        Ok(progress)
    }

    fn read(&mut self, now: Instant, input: &mut Wire, rng: &mut Rng) -> Result<bool, Violation> {
        let mut progress = false;
        for _ in 0..64 {
            if self.error.is_some() || !input.readable(now) {
                break;
            }
            let (tunnel, pool) = self.tunnel();
            let n = input.read(now, tunnel.lend_input(pool), rng);
            let result = tunnel.handle_input(now, n, pool);
            progress = true;
            self.events(now)?;
            self.deliver(now, rng)?;
            let (tunnel, pool) = self.tunnel();
            tunnel.settle(pool);
            self.error = result.err();
        }
        if input.at_end() && self.error.is_none() {
            let (tunnel, _) = self.tunnel();
            self.error = Some(tunnel.handle_eof(now));
            progress = true;
        }
        Ok(progress)
    }

    pub(super) fn timeout(&mut self, now: Instant) {
        let (tunnel, _) = self.tunnel();
        if tunnel.poll_timeout().is_some_and(|due| due <= now)
            && let Err(error) = tunnel.handle_timeout(now)
        {
            self.error = Some(error);
        }
    }

    fn events(&mut self, now: Instant) -> Result<(), Violation> {
        while let Some(event) = self.tunnel().0.poll_event() {
            match event {
                TunnelEvent::Established { .. } | TunnelEvent::Data { .. } => {}
                TunnelEvent::Limit { .. } => self.ready = true,
                TunnelEvent::GoAway => self.going_away = true,
                TunnelEvent::Drained => self.drained = true,
                TunnelEvent::Request { stream, request } => self.answer(now, stream, request)?,
                TunnelEvent::Response { stream, response } => {
                    if let Some(app) = self.apps.get_mut(&stream) {
                        app.seen.status = Some(response.status);
                        if response.status != 200 {
                            app.ended = true;
                        }
                    }
                }
                TunnelEvent::Writable { stream } => {
                    if let Some(app) = self.apps.get_mut(&stream) {
                        app.blocked = false;
                    }
                }
                TunnelEvent::Finished { stream } => {
                    if let Some(app) = self.apps.get_mut(&stream) {
                        app.seen.finished += 1;
                        app.seen.last = now;
                    }
                }
                TunnelEvent::Reset { stream, code, by } => {
                    if let Some(app) = self.apps.get_mut(&stream) {
                        app.seen.resets.push((code, by));
                        app.ended = true;
                    }
                }
                TunnelEvent::Closed { stream } => {
                    if let Some(app) = self.apps.get_mut(&stream) {
                        app.seen.closed += 1;
                        app.ended = true;
                    }
                }
            }
        }
        Ok(())
    }

    fn answer(
        &mut self,
        now: Instant,
        stream: StreamId,
        request: Result<ConnectRequest, impl std::fmt::Display>,
    ) -> Result<(), Violation> {
        let request = request.map_err(|error| Violation(format!("refused a good request: {error}")))?;
        let index = usize::from(request.authority.port()) - 1;
        let script =
            self.scripts.get(index).ok_or_else(|| Violation(format!("request for script {index}")))?;
        let (server, status) = (script.server, script.status);
        let mut app = App::new(index, server);
        let (tunnel, pool) = self.tunnel();
        if status == 200 {
            tunnel.accept(now, stream, None);
        } else {
            tunnel.reject(now, stream, status, pool);
            app.ended = true;
        }
        if let Some(old) = self.apps.insert(stream, app) {
            return Err(Violation(format!("{stream:?} was requested twice, for {} and {index}", old.index)));
        }
        Ok(())
    }

    /// Hands received octets to the applications that read now, and checks each.
    fn deliver(&mut self, now: Instant, rng: &mut Rng) -> Result<bool, Violation> {
        let other = if self.side == Side::Client { Side::Server } else { Side::Client };
        let Some(tunnel) = self.tunnel.as_mut() else { return Ok(false) };
        let mut progress = false;
        let mut gone = Vec::new();
        for (&stream, app) in &mut self.apps {
            if app.script.stalls_until <= now {
                let quota =
                    if app.script.read == usize::MAX { usize::MAX } else { rng.upto(app.script.read) };
                let mut taken = 0;
                for piece in tunnel.pieces(stream) {
                    let piece = &piece[..piece.len().min(quota - taken)];
                    if !matches(app.index, other, app.seen.received, piece) {
                        return Err(Violation(format!(
                            "{:?}: stream {} receives something else than was sent, at {} or within {} octets",
                            self.side,
                            app.index,
                            app.seen.received,
                            piece.len()
                        )));
                    }
                    app.seen.received += piece.len();
                    taken += piece.len();
                    if taken == quota {
                        break;
                    }
                }
                if taken > 0 {
                    tunnel.delivered(stream, taken, &mut self.pool);
                    app.seen.last = now;
                    progress = true;
                }
            }
            if app.seen.closed > 0 && tunnel.pieces(stream).next().is_none() {
                gone.push(stream);
            }
        }
        for stream in gone {
            if let Some(app) = self.apps.remove(&stream)
                && self.done.insert(app.index, app.seen).is_some()
            {
                return Err(Violation(format!("{stream:?} ended twice")));
            }
        }
        Ok(progress)
    }

    /// Client: opens the streams whose time has come.
    fn open(&mut self, now: Instant) -> Result<bool, Violation> {
        let mut progress = false;
        while self.side == Side::Client
            && self.error.is_none()
            && let Some(script) = self.scripts.get(self.next).copied()
            && script.at <= now
        {
            let index = self.next;
            // Port 0 is no port.
            let port = u16::try_from(index + 1).map_err(|_| Violation("too many scripts".into()))?;
            let request = ConnectRequest {
                authority: Authority::Address(SocketAddr::from(([10, 0, 0, 1], port))),
                baggage: None,
                forwarded: None,
                traceparent: None,
                forwarded_network: None,
            };
            match self.tunnel().0.open(now, &request) {
                Ok(stream) => {
                    self.apps.insert(stream, App::new(index, script.client));
                    self.next += 1;
                    progress = true;
                }
                Err(OpenError::Full(_)) => break,
                Err(OpenError::GoingAway) if self.going_away => break,
                Err(error) => return Err(Violation(format!("cannot open: {error}"))),
            }
        }
        Ok(progress)
    }

    /// Lets the applications send.
    fn send(&mut self, now: Instant, rng: &mut Rng) -> bool {
        let Some(tunnel) = self.tunnel.as_mut() else { return false };
        let mut progress = false;
        for (&stream, app) in self.apps.iter_mut().filter(|(_, app)| !app.ended) {
            let mut ready = app.script.burst.min(app.script.send - app.seen.sent);
            while ready > 0 && !app.blocked {
                let Some(mut lend) = tunnel.lend_data(stream, &mut self.pool) else {
                    app.blocked = true;
                    progress = true;
                    break;
                };
                let lent = lend.octets();
                if rng.once_in(8) {
                    // Nothing there after all.
                    continue;
                }
                let mut n = 0;
                for area in lend.areas() {
                    let area_len = area.len().min(ready - n);
                    fill(app.index, self.side, app.seen.sent + n, &mut area[..area_len]);
                    n += area_len;
                }
                assert!(n <= lent);
                tunnel.commit_data(stream, n);
                app.seen.sent += n;
                ready -= n;
                progress = true;
            }
            if app.seen.sent == app.script.send {
                app.ended = true;
                progress = true;
                match app.script.ending {
                    Ending::Finish => tunnel.finish(stream),
                    Ending::Reset => {
                        tunnel.reset(now, stream, ErrorCode::CONNECT_ERROR, &mut self.pool);
                    }
                }
            }
        }
        progress
    }

    /// Flushes and writes as much as the wire takes.
    fn write(&mut self, now: Instant, output: &mut Wire) -> Result<bool, Violation> {
        let (tunnel, pool) = self.tunnel();
        if !tunnel.wants_write() {
            return Ok(false);
        }
        tunnel.flush(now, pool).map_err(|error| Violation(format!("flush: {error}")))?;
        if tunnel.wire().count() > 64 {
            return Err(Violation("more slices than one system call takes".into()));
        }
        let n = output.write(now, tunnel.wire());
        tunnel.handle_written(n, pool);
        self.events(now)?;
        Ok(n > 0)
    }

    /// Freezes the tunnel and goes on with the thawed one, if it can be frozen yet.
    pub(super) fn hand_over(&mut self, now: Instant) -> Result<(), Violation> {
        let Some(tunnel) = self.tunnel.as_mut() else { return Ok(()) };
        if tunnel.peer().is_none() || self.error.is_some() {
            return Ok(());
        }
        let fail = |what: &str, error: TunnelError| Violation(format!("{what}: {error}"));
        let frozen = self.tunnel.take().map(|tunnel| tunnel.freeze(&mut self.pool));
        let bytes =
            frozen.ok_or_else(|| Violation("no tunnel".into()))?.map_err(|error| fail("freeze", error))?;
        if self.pool.lent() > 0 {
            return Err(Violation(format!("freezing kept {} octets of buffers", self.pool.lent())));
        }
        let config = Arc::clone(&self.config);
        let thawed = match &self.ports {
            Some(ports) => Tunnel::thaw(&bytes, config, ports, now, &mut self.pool),
            None => Tunnel::thaw_symbolic(&bytes, config, now, &mut self.pool),
        };
        self.tunnel = Some(thawed.map_err(|error| fail("thaw", error))?);
        Ok(())
    }

    /// The next time at which an application wakes up or a stream is opened.
    pub(super) fn wakes(&self, now: Instant) -> Option<Instant> {
        let opens = (self.side == Side::Client && self.error.is_none())
            .then(|| self.scripts.get(self.next).map(|script| script.at))
            .flatten();
        let stalls = self.apps.values().map(|app| app.script.stalls_until);
        opens.into_iter().chain(stalls).filter(|&at| at > now).min()
    }

    /// Whether every stream it will have is gone.
    pub(super) fn is_done(&self, streams: usize) -> bool {
        self.apps.is_empty() && self.done.len() == streams
    }

    /// What the applications saw, by stream.
    pub(super) fn transcripts(&self) -> BTreeMap<usize, Transcript> {
        let mut all = self.done.clone();
        all.extend(self.apps.values().map(|app| (app.index, app.seen.clone())));
        all
    }

    /// Octets of memory lent to it.
    pub(super) fn lent(&self) -> usize {
        self.pool.lent()
    }

    pub(super) fn release(&mut self) {
        let (tunnel, pool) = self.tunnel();
        tunnel.release(pool);
    }

    pub(super) fn unfinished(&self) -> String {
        format!("{:?}: {:?} {:?}", self.side, self.tunnel, self.apps.values().collect::<Vec<_>>())
    }
}

impl App {
    fn new(index: usize, script: Script) -> Self {
        let seen = Transcript::default();
        Self { index, script, blocked: false, ended: false, seen }
    }
}
