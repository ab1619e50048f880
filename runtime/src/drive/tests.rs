//! The loop, turn by turn: a reactor and a clock moved by hand, a scripted engine that logs, real socket pairs.
use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, VecDeque};
use std::io::{IoSliceMut, Read, Write};
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::rc::Rc;
use std::task::Waker;

use adit_core::identity::Identity;
use adit_core::mesh::Mesh;
use adit_core::proxy::{Action, LocalWorkload, Observed, ProxyId, SocketError, Ticket};
use adit_core::route::Towards;

use super::*;
use crate::answers::{DemandAnswer, NameAnswer};
use crate::mailbox::{Handle, mailbox};
use crate::ports::{CertificateAnswer, CertificateReply};
use crate::runtime::{Clear, Readiness};

mod keepalive;
mod questions;

/// A reactor moved by hand: what it has been asked to watch and has not told yet.
#[derive(Clone, Default)]
struct Hand {
    now: Rc<Cell<Instant>>,
    arms: Rc<RefCell<Vec<Instant>>>,
    sockets: Rc<RefCell<Vec<Rc<State>>>>,
}

#[derive(Default)]
struct State {
    readable: Cell<bool>,
    writable: Cell<bool>,
    hung_up: Cell<bool>,
    waker: RefCell<Option<Waker>>,
}

impl Hand {
    /// An event for the `nth` registered socket.
    fn fire(&self, nth: usize) {
        let state = Rc::clone(&self.sockets.borrow()[nth]);
        state.readable.set(true);
        state.writable.set(true);
        if let Some(waker) = state.waker.take() {
            waker.wake();
        }
    }

    /// The same, because the peer is gone.
    fn hang_up(&self, nth: usize) {
        self.sockets.borrow()[nth].hung_up.set(true);
        self.fire(nth);
    }
}

struct HandIo(OwnedFd, Rc<State>);

impl AsFd for HandIo {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

struct HandGuard<'a>(&'a Cell<bool>);

impl Clear for HandGuard<'_> {
    fn clear(self) {
        self.0.set(false);
    }
}

impl HandIo {
    fn poll<'a>(&self, flag: &'a Cell<bool>, cx: &Context<'_>) -> Poll<io::Result<HandGuard<'a>>> {
        if flag.get() {
            return Poll::Ready(Ok(HandGuard(flag)));
        }
        *self.1.waker.borrow_mut() = Some(cx.waker().clone());
        Poll::Pending
    }
}

impl Readiness for HandIo {
    type Guard<'a> = HandGuard<'a>;

    fn poll_readable<'a>(&'a self, cx: &mut Context<'_>) -> Poll<io::Result<HandGuard<'a>>> {
        self.poll(&self.1.readable, cx)
    }

    fn poll_writable<'a>(&'a self, cx: &mut Context<'_>) -> Poll<io::Result<HandGuard<'a>>> {
        self.poll(&self.1.writable, cx)
    }

    fn poll_hangup(&self, cx: &mut Context<'_>) -> Poll<()> {
        self.poll(&self.1.hung_up, cx).map(drop)
    }
}

struct HandTimer(Hand);

impl Timer for HandTimer {
    fn arm(&mut self, at: Instant) {
        self.0.arms.borrow_mut().push(at);
    }

    fn poll_expired(&mut self, _: &mut Context<'_>) -> Poll<()> {
        let armed = self.0.arms.borrow().last().copied();
        if armed.is_some_and(|at| at <= self.0.now.get()) { Poll::Ready(()) } else { Poll::Pending }
    }
}

impl Runtime for Hand {
    type Io = HandIo;
    type Timer = HandTimer;

    fn register(&self, fd: OwnedFd) -> io::Result<HandIo> {
        let state = Rc::new(State::default());
        state.writable.set(true);
        self.sockets.borrow_mut().push(Rc::clone(&state));
        Ok(HandIo(fd, state))
    }

    fn timer(&self) -> io::Result<HandTimer> {
        Ok(HandTimer(self.clone()))
    }

    fn now(&self) -> Instant {
        self.now.get()
    }
}

/// Logs what it is told; gives out what the test has laid ready.
#[derive(Default)]
struct Script {
    log: Vec<String>,
    /// Room to lend per read; none: back-pressure.
    room: Option<usize>,
    buffer: Vec<u8>,
    actions: VecDeque<Action>,
    deferred: VecDeque<SocketId>,
    wire: BTreeMap<SocketId, Vec<u8>>,
    timeout: Option<Instant>,
    /// Everything read is sent back at the end of the turn.
    echo: bool,
}

impl Script {
    fn note(&mut self, what: &str, id: SocketId) {
        self.log.push(format!("{what} {}", id.index));
    }
}

impl Engine for Script {
    fn handle_accepted(
        &mut self,
        _: Instant,
        _: ProxyId,
        _: Listener,
        _: SocketAddr,
        _: SocketAddr,
        original: SocketAddr,
    ) -> Option<SocketId> {
        self.log.push(format!("accepted for {original}"));
        None
    }

    fn handle_connect(&mut self, _: Instant, _: &Towards) -> Option<SocketId> {
        None
    }

    fn handle_connected(&mut self, _: Instant, socket: SocketId) {
        self.note("connected", socket);
    }

    fn handle_error(&mut self, _: Instant, socket: SocketId, error: SocketError) {
        self.note(&format!("{error:?}"), socket);
    }

    fn lend<T>(&mut self, _: SocketId, read: impl FnOnce(&mut [IoSliceMut<'_>]) -> T) -> Option<T> {
        self.buffer.resize(self.room?, 0);
        Some(read(&mut [IoSliceMut::new(&mut self.buffer)]))
    }

    fn handle_read(&mut self, _: Instant, socket: SocketId, n: usize) {
        self.note(&format!("read {n} from"), socket);
        if self.echo {
            self.wire.entry(socket).or_default().extend_from_slice(&self.buffer[..n]);
            self.deferred.push_back(socket);
        }
    }

    fn handle_eof(&mut self, _: Instant, socket: SocketId) {
        self.note("end of", socket);
    }

    fn poll_urgent(&mut self) -> Option<SocketId> {
        None
    }

    fn poll_deferred(&mut self, _: Instant) -> Option<SocketId> {
        self.deferred.pop_front()
    }

    fn wire(&self, socket: SocketId) -> impl Iterator<Item = &[u8]> {
        self.wire.get(&socket).into_iter().filter(|wire| !wire.is_empty()).map(Vec::as_slice)
    }

    fn handle_written(&mut self, _: Instant, socket: SocketId, n: usize) {
        self.note(&format!("wrote {n} to"), socket);
        self.wire.entry(socket).or_default().drain(..n);
    }

    fn handle_write_blocked(&mut self, _: Instant, socket: SocketId) {
        self.note("blocked", socket);
    }

    fn handle_writable(&mut self, _: Instant, socket: SocketId) {
        self.note("writable", socket);
        self.deferred.push_back(socket);
    }

    fn handle_timeout(&mut self, now: Instant) {
        self.log.push(format!("timeout at {}", now.as_nanos()));
        self.timeout = None;
    }

    fn handle_mesh(&mut self, _: Instant, _: Arc<Mesh>) {
        self.log.push("mesh".into());
    }

    fn handle_certificate(&mut self, _: Instant, identity: &Identity, answer: CertificateAnswer) {
        self.log.push(format!("{identity}: {:?}", answer.map(|_| ())));
    }

    fn handle_resolved(&mut self, _: Instant, ticket: Ticket, answer: NameAnswer) {
        self.log.push(format!("{}: {answer:?}", ticket.index));
    }

    fn handle_demanded(&mut self, _: Instant, ticket: Ticket, answer: DemandAnswer) {
        self.log.push(format!("{}: {answer:?}", ticket.index));
    }

    fn add_proxy(&mut self, _: Instant, _: ProxyId, _: LocalWorkload) {}

    fn remove_proxy(&mut self, _: Instant, _: ProxyId) {}

    fn drain(&mut self, _: Instant) {
        self.log.push("drain".into());
    }

    fn terminate(&mut self, _: Instant) {
        self.actions.push_back(Action::Drained);
    }

    fn poll_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    fn poll_observed(&mut self) -> Option<Observed> {
        None
    }

    fn poll_timeout(&self) -> Option<Instant> {
        self.timeout
    }
}

/// Answers the first request, keeps the second for later, gives up all others.
struct Certificates(Rc<RefCell<Vec<CertificateReply>>>, usize);

impl CertificateSource for Certificates {
    fn request(&mut self, _: &Identity, reply: CertificateReply) {
        self.1 += 1;
        match self.1 {
            1 => reply.send(Err("none today".into())),
            2 => self.0.borrow_mut().push(reply),
            _ => {}
        }
    }
}

type Driven = Drive<Hand, Script, (), Certificates>;

/// A loop with `count` socket pairs, the far ends of which it returns.
fn driven(count: u32, config: DriveConfig) -> (Driven, Hand, Handle, Vec<UnixStream>) {
    let hand = Hand::default();
    let (handle, mailbox) = mailbox();
    let engine = Script { room: Some(1000), ..Script::default() };
    let certificates = Certificates(Rc::default(), 0);
    let setup = Setup {
        engine,
        observer: (),
        certificates,
        questions: Questions::default(),
        listeners: Vec::new(),
        mailbox,
        config,
    };
    let mut drive = drive(hand.clone(), setup).unwrap();
    let far = (0..count)
        .map(|index| {
            let (near, far) = UnixStream::pair().unwrap();
            near.set_nonblocking(true).unwrap();
            let transport = drive.register(near.into()).unwrap();
            drive.admit(id(index), transport, None);
            far
        })
        .collect();
    assert!(poll(&mut drive).is_pending());
    (drive, hand, handle, far)
}

fn id(index: u32) -> SocketId {
    SocketId { index, generation: 0 }
}

/// One turn.
fn poll(drive: &mut Driven) -> Poll<()> {
    Pin::new(drive).poll(&mut Context::from_waker(Waker::noop()))
}

/// What the engine was told since the last time.
fn log(drive: &mut Driven) -> Vec<String> {
    std::mem::take(&mut drive.engine.log)
}

#[test]
fn output_is_flushed_once_after_all_ready_sockets_were_read() {
    let (mut drive, hand, _, mut far) = driven(2, DriveConfig::default());
    drive.engine.echo = true;
    for (nth, far) in far.iter_mut().enumerate() {
        far.write_all(b"hello").unwrap();
        hand.fire(nth);
    }
    assert!(poll(&mut drive).is_pending());
    assert_eq!(log(&mut drive), ["read 5 from 0", "read 5 from 1", "wrote 5 to 0", "wrote 5 to 1"]);
}

#[test]
fn a_short_read_leaves_the_socket_to_the_reactor() {
    let (mut drive, hand, _, mut far) = driven(1, DriveConfig::default());
    far[0].write_all(b"one").unwrap();
    hand.fire(0);
    let _ = poll(&mut drive);
    // The reactor has not spoken, so this is not looked for.
    far[0].write_all(b"four").unwrap();
    let _ = poll(&mut drive);
    assert_eq!(log(&mut drive), ["read 3 from 0"]);
    hand.fire(0);
    let _ = poll(&mut drive);
    drop(far);
    hand.fire(0);
    let _ = poll(&mut drive);
    assert_eq!(log(&mut drive), ["read 4 from 0", "end of 0"]);
}

#[test]
fn a_reset_is_noticed_while_the_shard_lends_no_room() {
    let (mut drive, hand, _, mut far) = driven(1, DriveConfig::default());
    drive.engine.room = None;
    far[0].write_all(b"nobody reads this").unwrap();
    hand.fire(0);
    let _ = poll(&mut drive);
    far[0].write_all(b"nor that").unwrap();
    hand.fire(0);
    let _ = poll(&mut drive);
    assert!(log(&mut drive).is_empty());
    assert!(drive.again.is_empty() && drive.ready.is_empty(), "octets that nobody reads keep it busy");
    // A peer that closes with this unread resets the connection.
    drive.engine.wire.insert(id(0), b"unread".to_vec());
    drive.engine.deferred.push_back(id(0));
    let _ = poll(&mut drive);
    far.clear();
    hand.hang_up(0);
    let _ = poll(&mut drive);
    assert_eq!(log(&mut drive), ["wrote 6 to 0", "Reset 0"]);
    hand.fire(0);
    let _ = poll(&mut drive);
    assert!(log(&mut drive).is_empty(), "told twice");
}

#[test]
fn an_end_is_not_told_while_the_shard_lends_no_room() {
    let (mut drive, hand, _, mut far) = driven(1, DriveConfig::default());
    drive.engine.room = None;
    far[0].write_all(b"last").unwrap();
    hand.fire(0);
    let _ = poll(&mut drive);
    far.clear();
    hand.hang_up(0);
    let _ = poll(&mut drive);
    assert!(log(&mut drive).is_empty());
    drive.engine.room = Some(1000);
    drive.engine.actions.push_back(Action::ResumeRead { socket: id(0) });
    hand.fire(0);
    let _ = poll(&mut drive);
    let _ = poll(&mut drive);
    hand.fire(0);
    let _ = poll(&mut drive);
    assert_eq!(log(&mut drive), ["read 4 from 0", "end of 0"]);
}

#[test]
fn sources_are_not_borrowed_without_transparent_listeners() {
    // Anybody may bind to this one, given the privilege without which the test shows nothing.
    let source = Some([127, 0, 0, 77].into());
    let server = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let (mut drive, hand, ..) = driven(1, DriveConfig::default());
    drive.engine.actions.push_back(Action::Dial {
        proxy: ProxyId::OWN,
        socket: id(1),
        to: server.local_addr().unwrap(),
        source,
    });
    hand.fire(0);
    let _ = poll(&mut drive);
    let (_, from) = server.accept().unwrap();
    assert_eq!(from.ip(), server.local_addr().unwrap().ip());
}

#[test]
fn a_budget_used_up_continues_in_the_next_turn() {
    let config = DriveConfig { read_budget: 2000, ..DriveConfig::default() };
    let (mut drive, hand, _, mut far) = driven(2, config);
    far[0].write_all(&[0; 3500]).unwrap();
    far[1].write_all(b"me too").unwrap();
    hand.fire(0);
    hand.fire(1);
    let _ = poll(&mut drive);
    assert_eq!(log(&mut drive), ["read 1000 from 0", "read 1000 from 0", "read 6 from 1"]);
    let _ = poll(&mut drive);
    assert_eq!(log(&mut drive), ["read 1000 from 0", "read 500 from 0"]);
}

#[test]
fn the_turns_budget_is_followed_by_a_flush() {
    let config = DriveConfig { turn_budget: 1000, ..DriveConfig::default() };
    let (mut drive, hand, _, mut far) = driven(2, config);
    drive.engine.echo = true;
    for (nth, far) in far.iter_mut().enumerate() {
        far.write_all(&[0; 1000]).unwrap();
        hand.fire(nth);
    }
    let _ = poll(&mut drive);
    assert_eq!(log(&mut drive), ["read 1000 from 0", "wrote 1000 to 0"]);
    let _ = poll(&mut drive);
    assert_eq!(log(&mut drive), ["read 1000 from 1", "wrote 1000 to 1"]);
}

#[test]
fn no_room_stops_reading_until_resumed() {
    let (mut drive, hand, _, mut far) = driven(1, DriveConfig::default());
    drive.engine.room = None;
    far[0].write_all(b"wait").unwrap();
    hand.fire(0);
    let _ = poll(&mut drive);
    drive.engine.room = Some(10);
    let _ = poll(&mut drive);
    assert!(log(&mut drive).is_empty());
    drive.engine.actions.push_back(Action::ResumeRead { socket: id(0) });
    let _ = poll(&mut drive);
    let _ = poll(&mut drive);
    assert_eq!(log(&mut drive), ["read 4 from 0"]);
}

#[test]
fn fin_follows_the_last_octet_through_a_blocked_socket() {
    const LEN: usize = 4 << 20;
    let (mut drive, hand, _, mut far) = driven(1, DriveConfig::default());
    drive.engine.wire.insert(id(0), vec![9; LEN]);
    drive.engine.deferred.push_back(id(0));
    drive.engine.actions.push_back(Action::ShutdownWrite { socket: id(0) });
    let _ = poll(&mut drive);
    assert_eq!(log(&mut drive).last().map(String::as_str), Some("blocked 0"));

    let mut received = Vec::new();
    far[0].set_nonblocking(true).unwrap();
    for _ in 0..LEN {
        match far[0].read_to_end(&mut received) {
            Ok(_) => break,
            Err(error) => assert_eq!(error.kind(), io::ErrorKind::WouldBlock),
        }
        hand.fire(0);
        let _ = poll(&mut drive);
    }
    assert_eq!(received.len(), LEN);
    assert!(log(&mut drive).contains(&"writable 0".into()));
}

#[test]
fn a_reset_is_told_once() {
    let (mut drive, hand, _, far) = driven(1, DriveConfig::default());
    drop(far);
    drive.engine.wire.insert(id(0), b"nobody reads this".to_vec());
    drive.engine.deferred.push_back(id(0));
    let _ = poll(&mut drive);
    hand.fire(0);
    let _ = poll(&mut drive);
    assert_eq!(log(&mut drive), ["Reset 0"]);
}

#[test]
fn closed_sockets_are_gone_and_stale_ids_do_nothing() {
    let (mut drive, hand, _, mut far) = driven(1, DriveConfig::default());
    drive.engine.actions.push_back(Action::Close { socket: id(0), reset: false });
    for action in [
        Action::Close { socket: id(0), reset: true },
        Action::ShutdownWrite { socket: id(0) },
        Action::ResumeRead { socket: id(7) },
    ] {
        drive.engine.actions.push_back(action);
    }
    drive.engine.deferred.push_back(id(0));
    let _ = poll(&mut drive);
    hand.fire(0);
    let _ = poll(&mut drive);
    assert!(log(&mut drive).is_empty());
    assert_eq!(far[0].read(&mut [0]).unwrap(), 0);
}

#[test]
fn the_clock_decides_and_the_timer_is_armed_only_for_earlier_deadlines() {
    let (mut drive, hand, _, _far) = driven(0, DriveConfig::default());
    let at = Instant::from_millis;
    drive.engine.timeout = Some(at(50));
    let _ = poll(&mut drive);
    // A deadline that recedes costs no timer operation, one that comes nearer does.
    drive.engine.timeout = Some(at(90));
    let _ = poll(&mut drive);
    drive.engine.timeout = Some(at(20));
    let _ = poll(&mut drive);
    assert_eq!(*hand.arms.borrow(), [at(50), at(20)]);

    hand.now.set(at(19));
    let _ = poll(&mut drive);
    assert!(log(&mut drive).is_empty());
    hand.now.set(at(20));
    let _ = poll(&mut drive);
    assert_eq!(log(&mut drive), ["timeout at 20000000"]);
}

#[test]
fn a_timer_that_fires_early_is_armed_again() {
    let (mut drive, hand, _, _far) = driven(0, DriveConfig::default());
    let at = Instant::from_millis;
    drive.engine.timeout = Some(at(50));
    let _ = poll(&mut drive);
    drive.engine.timeout = Some(at(90));
    hand.now.set(at(50));
    drive.timer_notifier.waker().wake_by_ref();
    let _ = poll(&mut drive);
    assert_eq!(*hand.arms.borrow(), [at(50), at(90)]);
    assert!(log(&mut drive).is_empty());
}

#[test]
fn commands_arrive_and_the_end_is_final() {
    let (mut drive, _, handle, _far) = driven(1, DriveConfig::default());
    let target = SocketAddr::from(([192, 0, 2, 7], 80));
    let stream = handle.connect(NOWHERE, target).unwrap();
    handle.drain();
    let _ = poll(&mut drive);
    assert_eq!(log(&mut drive), ["drain", "accepted for 192.0.2.7:80"]);
    let mut cx = Context::from_waker(Waker::noop());
    let refused = stream.poll_read(&mut cx, &mut [0]);
    assert!(matches!(refused, Poll::Ready(Err(error)) if error.kind() == io::ErrorKind::ConnectionReset));

    handle.terminate();
    assert!(poll(&mut drive).is_ready());
    drop(drive);
    assert!(handle.is_ended());
}

#[test]
fn a_certificate_request_is_always_answered() {
    let (mut drive, ..) = driven(0, DriveConfig::default());
    let identity = |account| Identity::new("cluster.local", "ns", account).unwrap();
    for account in ["a", "b", "c"] {
        drive.engine.actions.push_back(Action::NeedCertificate { identity: identity(account) });
    }
    // One turn for the requests, one for the answers.
    let _ = poll(&mut drive);
    let _ = poll(&mut drive);
    assert_eq!(
        log(&mut drive),
        [
            "spiffe://cluster.local/ns/ns/sa/a: Err(\"none today\")",
            "spiffe://cluster.local/ns/ns/sa/c: Err(\"the certificate source gave up the request\")",
        ]
    );
    let late = drive.certificates.0.borrow_mut().pop().unwrap();
    late.send(Err("too late".into()));
    let _ = poll(&mut drive);
    assert_eq!(log(&mut drive), ["spiffe://cluster.local/ns/ns/sa/b: Err(\"too late\")"]);
}
