//! The one drive loop: a future per shard, which does what the shard asks and tells it what happened.
//!
//! There is no task per socket. A reactor's waker only queues the key of a slot ([`crate::ready`]); the one task of the
//! shard then looks at *all* ready sockets of this turn of the event loop and flushes deferred output once at its end
//! (`design.md` D4, D5). Each poll of the future is one turn; when work is left, it wakes itself, so that the reactor is
//! asked for news in between.
mod accept;
mod actions;
mod lasting;
mod proxies;
mod read;
mod write;

#[cfg(all(test, loom))]
mod loom;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use adit_core::proxy::{Listener, ProxyId, SocketId};
use adit_core::time::{Instant, WallClock};
use socket2::SockRef;

use crate::answers::Questions;
use crate::clock::{self, wall_clock};
use crate::delivery::{Delivering, Opener};
use crate::engine::Engine;
use crate::mailbox::{Connect, Mailbox, Wanted};
use crate::memory::{self, Tide};
use crate::ports::{CertificateSource, Observer};
use crate::ready::{Key, Notifier, ReadyQueue};
use crate::runtime::{Runtime, Timer};
use crate::slots::{Connection, Slots, Transport, Writing};
use crate::socket::{BoundListener, SocketOptions};
use crate::stream::LocalListeners;
use crate::turns::{Meter, Seat};
use accept::ListenerSlot;
use actions::NOWHERE;
use lasting::Lasting;
use proxies::Dialling;

/// How the loop is run.
#[derive(Clone, Debug)]
pub struct DriveConfig {
    /// Options of sockets that the shard's own proxy dials. (Accepted ones have those their listener was bound with.)
    pub socket: SocketOptions,
    /// Octets read from one socket per turn, after which the others have theirs.
    pub read_budget: usize,
    /// Octets read from all sockets per turn, after which output is flushed: it bounds what the first of many busy
    /// sockets waits for the last.
    pub turn_budget: usize,
    /// Connections accepted per listener and turn.
    pub accept_budget: usize,
    /// Keys looked at per turn.
    pub ready_budget: usize,
    /// The wall clock that certificate verification reads, set once per turn.
    pub wall_clock: Option<Arc<WallClock>>,
    /// Addresses this process answers itself.
    pub local_listeners: LocalListeners,
    /// Where streams go that end in this process; a waypoint's shard has one.
    pub deliveries: Option<Arc<Delivering>>,
}

impl Default for DriveConfig {
    fn default() -> Self {
        Self {
            socket: SocketOptions::default(),
            read_budget: 1 << 20,
            turn_budget: 4 << 20,
            accept_budget: 64,
            ready_budget: 1024,
            wall_clock: None,
            local_listeners: LocalListeners::default(),
            deliveries: None,
        }
    }
}

/// A shard and everything it is driven with.
pub struct Setup<E, O, C> {
    /// The shard.
    pub engine: E,
    /// Where its observations go.
    pub observer: O,
    /// Where its certificates come from.
    pub certificates: C,
    /// Who answers its questions.
    pub questions: Questions,
    /// What its own proxy accepts from.
    pub listeners: Vec<BoundListener>,
    /// Where its commands come from.
    pub mailbox: Mailbox,
    /// How it is run.
    pub config: DriveConfig,
}

impl<E, O, C> fmt::Debug for Setup<E, O, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Setup")
            .field("listeners", &self.listeners)
            .field("config", &self.config)
            .finish_non_exhaustive()
    }
}

/// Drives a shard on `runtime` until it is drained. The future belongs on a thread of its own, without a cooperative
/// budget: it yields by itself.
///
/// # Errors
/// A listener cannot be registered.
pub fn drive<R, E, O, C>(runtime: R, setup: Setup<E, O, C>) -> io::Result<Drive<R, E, O, C>>
where
    R: Runtime,
    E: Engine,
    O: Observer,
    C: CertificateSource,
{
    let ready = ReadyQueue::new();
    let own = Dialling::new(None, setup.config.socket, &setup.listeners);
    let mut drive = Drive {
        now: runtime.now(),
        meter: Meter::new(runtime.now(), clock::thread_time()),
        budget: 0,
        timer: runtime.timer()?,
        armed: None,
        timer_notifier: Notifier::new(&ready, Key::Timer),
        mailbox_notifier: Notifier::new(&ready, Key::Mailbox),
        slots: Slots::new(Arc::clone(&ready)),
        listeners: BTreeMap::new(),
        next_listener: 0,
        stopped_listening: false,
        dialling: BTreeMap::from([(ProxyId::OWN, own)]),
        opening: BTreeMap::new(),
        // What was sent before the start.
        again: VecDeque::from([Key::Mailbox]),
        soon: VecDeque::new(),
        tide: Tide::default(),
        lasting: Lasting::default(),
        ready,
        drained: false,
        runtime,
        engine: setup.engine,
        observer: setup.observer,
        certificates: setup.certificates,
        questions: setup.questions,
        mailbox: setup.mailbox,
        config: setup.config,
    };
    drive.listen(ProxyId::OWN, setup.listeners);
    Ok(drive)
}

/// A running shard; see [`drive`].
#[must_use = "a shard runs only while its future is polled"]
pub struct Drive<R: Runtime, E, O, C> {
    runtime: R,
    engine: E,
    observer: O,
    certificates: C,
    questions: Questions,
    mailbox: Mailbox,
    config: DriveConfig,

    slots: Slots<R::Io>,
    listeners: BTreeMap<u32, ListenerSlot<R::Io>>,
    next_listener: u32,
    /// The shard drains: no listener comes any more.
    stopped_listening: bool,
    /// How each proxy dials.
    dialling: BTreeMap<ProxyId, Dialling>,
    /// Connections of this process that are not open yet.
    opening: BTreeMap<SocketId, Opener>,
    ready: Arc<ReadyQueue>,
    /// Keys to look at in the next turn although no reactor named them: budgets used up.
    again: VecDeque<Key>,
    /// Sockets to look at as soon as possible, in this turn if it is not flushing yet: connected, reads resumed.
    soon: VecDeque<SocketId>,
    mailbox_notifier: Notifier,
    /// When a burst's memory is given back.
    tide: Tide,
    /// Who has no keepalive yet.
    lasting: Lasting,

    timer: R::Timer,
    timer_notifier: Notifier,
    /// What the timer is set to. It is left alone while it would fire early enough, so that deadlines which move with
    /// every message cost nothing.
    armed: Option<Instant>,

    /// The clock as last read.
    now: Instant,
    /// How busy this shard is, where it shares listeners.
    meter: Meter,
    /// What is left of the turn's budget, in octets.
    budget: usize,
    /// The shard is done.
    drained: bool,
}

/// No field is ever pinned.
impl<R: Runtime, E, O, C> Unpin for Drive<R, E, O, C> {}

impl<R: Runtime, E, O, C> fmt::Debug for Drive<R, E, O, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Drive")
            .field("config", &self.config)
            .field("drained", &self.drained)
            .finish_non_exhaustive()
    }
}

impl<R, E, O, C> Future for Drive<R, E, O, C>
where
    R: Runtime,
    E: Engine,
    O: Observer,
    C: CertificateSource,
{
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = self.get_mut();
        // Before anything is popped, so that no key pushed meanwhile goes unnoticed.
        this.ready.register(cx.waker());
        this.turn();
        if this.drained {
            this.slots.clear();
            this.listeners.clear();
            this.opening.clear();
            return Poll::Ready(());
        }
        if !this.again.is_empty() || !this.soon.is_empty() || !this.ready.is_empty() {
            cx.waker().wake_by_ref();
        }
        Poll::Pending
    }
}

impl<R, E, O, C> Drive<R, E, O, C>
where
    R: Runtime,
    E: Engine,
    O: Observer,
    C: CertificateSource,
{
    /// One turn of the event loop.
    fn turn(&mut self) {
        self.now = self.runtime.now();
        if let Some(clock) = &self.config.wall_clock {
            clock.set(wall_clock());
        }
        self.budget = self.config.turn_budget;
        // Keys that were put off take turns with new ones; what this turn puts off belongs to the next.
        let mut put_off = self.again.len();
        for _ in 0..self.config.ready_budget {
            let news = self.ready.pop();
            if let Some(key) = news {
                self.look_at(key);
            }
            let soon = self.soon.pop_front();
            if let Some(id) = soon {
                self.read(id);
            }
            let old = (put_off > 0).then(|| self.again.pop_front()).flatten();
            if let Some(key) = old {
                put_off -= 1;
                self.look_at(key);
            }
            if self.budget == 0 || (news.is_none() && soon.is_none() && old.is_none()) {
                break;
            }
        }
        self.now = self.runtime.now();
        self.expire();
        self.flush();
        while let Some(observed) = self.engine.poll_observed() {
            self.observer.observe(observed);
        }
        self.arm();
        self.measure();
    }

    /// Says how busy this shard is, and passes on turns that it should not have for that.
    fn measure(&mut self) {
        if !self.meter.is_due(self.now) {
            return;
        }
        if let Some((crew, shard)) =
            self.listeners.values().find_map(ListenerSlot::place).map(|place| place.crew())
        {
            self.meter.handle_sample(self.now, clock::thread_time(), crew, shard);
            self.listeners.values_mut().for_each(|listener| listener.pass_on(self.now));
        }
    }

    fn look_at(&mut self, key: Key) {
        match key {
            Key::Socket(index) => {
                if let Some(id) = self.slots.taken(index) {
                    self.progress(id);
                }
            }
            Key::Listener(index) => self.accept(index),
            Key::Timer => {
                self.timer_notifier.taken();
                self.poll_timer();
            }
            Key::Mailbox => {
                self.mailbox_notifier.taken();
                self.read_mail();
            }
        }
    }

    /// Looks at one socket: connects, unblocks, reads.
    fn progress(&mut self, id: SocketId) {
        match self.slots.get(id).map(|(connection, _)| connection.writing) {
            Some(Writing::Connecting) => self.finish_connect(id),
            Some(Writing::Blocked) => self.unblock(id),
            Some(Writing::Open | Writing::Ended) | None => {}
        }
        self.settle();
        self.read(id);
    }

    /// Carries out what the shard asks for and writes what must not wait, until there is nothing of either.
    fn settle(&mut self) {
        loop {
            if let Some(action) = self.engine.poll_action() {
                self.act(action);
            } else if let Some(id) = self.engine.poll_urgent() {
                self.write(id);
            } else {
                return;
            }
        }
    }

    /// Writes all output that was put off, once per turn.
    fn flush(&mut self) {
        self.settle();
        while let Some(id) = self.engine.poll_deferred(self.now) {
            self.write(id);
            self.settle();
        }
    }

    /// Lets deadlines pass. They are judged by the clock; what the timer says only decides when that is done.
    fn expire(&mut self) {
        if self.engine.poll_timeout().is_some_and(|at| at <= self.now) {
            self.engine.handle_timeout(self.now);
            self.settle();
        }
        self.tide.handle_level(self.now, self.slots.used());
        if self.tide.handle_timeout(self.now, self.slots.used()) {
            memory::give_back();
        }
        for (proxy, id) in self.lasting.handle_timeout(self.now) {
            if let Some((connection, _)) = self.slots.get(id)
                && let Transport::Fd(io) = &connection.transport
                && let Some(by) = self.dialling.get(&proxy)
            {
                by.options.keep_alive(&SockRef::from(io));
            }
        }
        for (&index, listener) in &mut self.listeners {
            if listener.rested(self.now) {
                self.again.push_back(Key::Listener(index));
            }
        }
    }

    fn arm(&mut self) {
        let rests = self.listeners.values().filter_map(ListenerSlot::rests_until);
        let others = rests.chain(self.tide.poll_timeout()).chain(self.lasting.poll_timeout());
        let Some(next) = self.engine.poll_timeout().into_iter().chain(others).min() else { return };
        if self.armed.is_none_or(|armed| next < armed) {
            self.timer.arm(next);
            self.armed = Some(next);
            self.poll_timer();
            if self.armed.is_none() {
                // It has expired already: the next turn sees to it.
                self.again.push_back(Key::Timer);
            }
        }
    }

    /// Looks whether the timer has fired, and leaves its waker with it if not.
    fn poll_timer(&mut self) {
        let mut cx = Context::from_waker(self.timer_notifier.waker());
        if self.armed.is_some() && self.timer.poll_expired(&mut cx).is_ready() {
            self.armed = None;
        }
    }

    fn read_mail(&mut self) {
        let mail = self.mailbox.take(self.mailbox_notifier.waker());
        for command in mail.proxies {
            self.command(command);
        }
        if let Some(mesh) = mail.mesh {
            self.engine.handle_mesh(self.now, mesh);
        }
        for (identity, answer) in mail.certificates {
            self.engine.handle_certificate(self.now, &identity, answer);
        }
        // Behind the tables, which may have come with them.
        for (ticket, answer) in mail.demanded {
            self.engine.handle_demanded(self.now, ticket, answer);
        }
        for (ticket, answer) in mail.resolved {
            self.engine.handle_resolved(self.now, ticket, answer);
        }
        if mail.drain {
            self.empty_queues();
            self.engine.drain(self.now);
        }
        if mail.terminate {
            self.engine.terminate(self.now);
        }
        self.settle();
        for connect in mail.connects {
            self.connect(connect);
        }
    }

    /// A connection from within the process.
    fn connect(&mut self, connect: Connect) {
        let Connect { to, end } = connect;
        let socket = match to {
            Wanted::Captured { source, target } => {
                let (own, listener) = (ProxyId::OWN, Listener::Outbound);
                self.engine.handle_accepted(self.now, own, listener, source, NOWHERE, target)
            }
            Wanted::Endpoint(to, opener) => {
                let socket = self.engine.handle_connect(self.now, &to);
                match socket {
                    Some(id) => drop(self.opening.insert(id, opener)),
                    None => {
                        opener.refuse("there are too many connections, or our own workload is not known yet")
                    }
                }
                socket
            }
        };
        match socket {
            Some(id) => self.admit(id, Transport::Pipe(end), None),
            None => end.reset(),
        }
    }

    /// Stores an accepted connection and looks at it for the first time.
    fn admit(&mut self, id: SocketId, transport: Transport<R::Io>, seat: Option<Seat>) {
        self.slots.insert(Connection { seat, ..Connection::new(id, transport, Writing::Open) });
        self.settle();
        self.read(id);
    }
}
