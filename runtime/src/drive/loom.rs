//! No wake-up is lost: the shipped loop, ready queue, mailbox and pipes under loom, which takes every interleaving of
//! the threads that wake the shard's task (up to a number of preemptions). A task that sleeps through its last wake-up
//! shows as a deadlock. Run by `.ci/run loom`; without `--cfg loom` this is not compiled.
//!
//! Left out: the inside of `atomic_waker` (loom's own stands in), and reactors, which [`crate::conformance`] runs for real.
use std::collections::VecDeque;
use std::future::poll_fn;
use std::io::{self, IoSlice, IoSliceMut};
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use ::loom::future::block_on;
use ::loom::thread;
use adit_core::identity::Identity;
use adit_core::mesh::Mesh;
use adit_core::proxy::{Action, LocalWorkload, Observed, ProxyId, SocketError, Ticket};
use adit_core::route::Towards;

use super::*;
use crate::answers::{DemandAnswer, NameAnswer, Questions};
use crate::mailbox::{Handle, mailbox};
use crate::ports::{CertificateAnswer, CertificateReply};
use crate::runtime::{Clear, Readiness};
use crate::stream::TunnelStream;
use crate::sync::{AtomicBool, Mutex, Ordering};

/// Explores `model`: every schedule with at most so many switches that no thread asked for.
fn explore(model: impl Fn() + Send + Sync + 'static) {
    let mut builder = ::loom::model::Builder::new();
    builder.preemption_bound = Some(2);
    builder.check(model);
}

/// A runtime of one timer, which a thread of the test fires.
#[derive(Clone, Default)]
struct Hand {
    fired: Arc<Mutex<(bool, Option<std::task::Waker>)>>,
    /// The clock. Not loom's: reading it must not double the schedules.
    late: Arc<std::sync::atomic::AtomicBool>,
}

const DEADLINE: Instant = Instant::from_nanos(1);

impl Hand {
    fn fire(&self) {
        self.late.store(true, Ordering::SeqCst);
        let mut fired = self.fired.lock().unwrap();
        fired.0 = true;
        let waker = fired.1.take();
        drop(fired);
        waker.into_iter().for_each(std::task::Waker::wake);
    }
}

impl Timer for Hand {
    fn arm(&mut self, _: Instant) {}

    fn poll_expired(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let mut fired = self.fired.lock().unwrap();
        if fired.0 {
            return Poll::Ready(());
        }
        fired.1 = Some(cx.waker().clone());
        Poll::Pending
    }
}

impl Runtime for Hand {
    type Io = NoSocket;
    type Timer = Self;

    fn register(&self, _: OwnedFd) -> io::Result<NoSocket> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn timer(&self) -> io::Result<Self> {
        Ok(self.clone())
    }

    fn now(&self) -> Instant {
        if self.late.load(Ordering::SeqCst) { DEADLINE } else { Instant::from_nanos(0) }
    }
}

/// All streams of these tests are pipes.
enum NoSocket {}

impl AsFd for NoSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match *self {}
    }
}

impl Clear for NoSocket {
    fn clear(self) {
        match self {}
    }
}

impl Readiness for NoSocket {
    type Guard<'a> = NoSocket;

    fn poll_readable<'a>(&'a self, _: &mut Context<'_>) -> Poll<io::Result<NoSocket>> {
        match *self {}
    }

    fn poll_writable<'a>(&'a self, _: &mut Context<'_>) -> Poll<io::Result<NoSocket>> {
        match *self {}
    }
}

/// What the shard has been told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Told {
    octets: usize,
    ends: usize,
    timeouts: usize,
    drains: usize,
    terminations: usize,
}

/// A shard that ends when it has been told all of `goal`.
#[derive(Default)]
struct Listens {
    told: Told,
    goal: Told,
    accepted: u32,
    buffer: [u8; 8],
    actions: VecDeque<Action>,
}

impl Listens {
    fn note(&mut self, change: impl FnOnce(&mut Told)) {
        change(&mut self.told);
        if self.told == self.goal {
            self.actions.push_back(Action::Drained);
        }
    }
}

impl Engine for Listens {
    fn handle_accepted(
        &mut self,
        _: Instant,
        _: ProxyId,
        _: Listener,
        _: SocketAddr,
        _: SocketAddr,
        _: SocketAddr,
    ) -> Option<SocketId> {
        self.accepted += 1;
        Some(SocketId { index: self.accepted - 1, generation: 0 })
    }

    fn handle_connect(&mut self, _: Instant, _: &Towards) -> Option<SocketId> {
        None
    }

    fn handle_connected(&mut self, _: Instant, _: SocketId) {}

    fn handle_error(&mut self, _: Instant, socket: SocketId, error: SocketError) {
        panic!("{socket:?}: {error:?}");
    }

    fn lend<T>(&mut self, _: SocketId, read: impl FnOnce(&mut [IoSliceMut<'_>]) -> T) -> Option<T> {
        Some(read(&mut [IoSliceMut::new(&mut self.buffer)]))
    }

    fn handle_read(&mut self, _: Instant, _: SocketId, n: usize) {
        self.note(|told| told.octets += n);
    }

    fn handle_eof(&mut self, _: Instant, _: SocketId) {
        self.note(|told| told.ends += 1);
    }

    fn poll_urgent(&mut self) -> Option<SocketId> {
        None
    }

    fn poll_deferred(&mut self, _: Instant) -> Option<SocketId> {
        None
    }

    fn wire(&self, _: SocketId) -> impl Iterator<Item = &[u8]> {
        std::iter::empty()
    }

    fn handle_written(&mut self, _: Instant, _: SocketId, _: usize) {}

    fn handle_write_blocked(&mut self, _: Instant, _: SocketId) {}

    fn handle_writable(&mut self, _: Instant, _: SocketId) {}

    fn handle_timeout(&mut self, _: Instant) {
        self.note(|told| told.timeouts += 1);
    }

    fn handle_mesh(&mut self, _: Instant, _: Arc<Mesh>) {}

    fn handle_certificate(&mut self, _: Instant, _: &Identity, _: CertificateAnswer) {}

    fn handle_resolved(&mut self, _: Instant, _: Ticket, _: NameAnswer) {}

    fn handle_demanded(&mut self, _: Instant, _: Ticket, _: DemandAnswer) {}

    fn add_proxy(&mut self, _: Instant, _: ProxyId, _: LocalWorkload) {}

    fn remove_proxy(&mut self, _: Instant, _: ProxyId) {}

    fn drain(&mut self, _: Instant) {
        self.note(|told| told.drains += 1);
    }

    fn terminate(&mut self, _: Instant) {
        self.note(|told| told.terminations += 1);
    }

    fn poll_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    fn poll_observed(&mut self) -> Option<Observed> {
        None
    }

    fn poll_timeout(&self) -> Option<Instant> {
        (self.told.timeouts < self.goal.timeouts).then_some(DEADLINE)
    }
}

struct NoCertificates;

impl CertificateSource for NoCertificates {
    fn request(&mut self, _: &Identity, _: CertificateReply) {}
}

type Driven = Drive<Hand, Listens, (), NoCertificates>;

fn driven(goal: Told, config: DriveConfig) -> (Driven, Hand, Handle) {
    let hand = Hand::default();
    let (handle, mailbox) = mailbox();
    let engine = Listens { goal, ..Listens::default() };
    let setup = Setup {
        engine,
        observer: (),
        certificates: NoCertificates,
        questions: Questions::default(),
        listeners: Vec::new(),
        mailbox,
        config,
    };
    (drive(hand.clone(), setup).unwrap(), hand, handle)
}

/// Drives to the end. The threads end before anything is dropped: loom does not see `std`'s reference counts.
fn run<T>(mut drive: Driven, threads: impl IntoIterator<Item = thread::JoinHandle<T>>) {
    block_on(&mut drive);
    threads.into_iter().for_each(|thread| drop(thread.join().unwrap()));
}

fn open(handle: &Handle) -> TunnelStream {
    handle.connect(NOWHERE, NOWHERE).unwrap()
}

fn write(stream: &TunnelStream, octets: &[u8]) {
    let mut cx = Context::from_waker(std::task::Waker::noop());
    assert!(
        matches!(stream.poll_write(&mut cx, &[IoSlice::new(octets)]), Poll::Ready(Ok(n)) if n == octets.len())
    );
}

#[test]
fn commands_of_two_threads_are_both_carried_out() {
    explore(|| {
        let goal = Told { drains: 1, terminations: 1, ..Told::default() };
        let (drive, _, handle) = driven(goal, DriveConfig::default());
        let other = handle.clone();
        run(drive, [thread::spawn(move || other.drain()), thread::spawn(move || handle.terminate())]);
    });
}

#[test]
fn what_a_stream_is_given_while_the_loop_runs_arrives() {
    explore(|| {
        let goal = Told { octets: 3, ends: 1, ..Told::default() };
        let (drive, _, handle) = driven(goal, DriveConfig::default());
        let stream = open(&handle);
        let writer = thread::spawn(move || {
            write(&stream, b"a");
            write(&stream, b"bc");
            stream.shutdown();
            stream
        });
        run(drive, [writer]);
    });
}

#[test]
fn a_stream_opened_while_the_loop_runs_is_taken() {
    explore(|| {
        let goal = Told { octets: 1, ends: 1, ..Told::default() };
        let (drive, _, handle) = driven(goal, DriveConfig::default());
        run(drive, [thread::spawn(move || write(&open(&handle), b"a"))]);
    });
}

#[test]
fn streams_of_two_threads_are_both_read_though_a_turn_takes_one() {
    explore(|| {
        let goal = Told { octets: 2, ..Told::default() };
        let (drive, _, handle) = driven(goal, DriveConfig { ready_budget: 1, ..DriveConfig::default() });
        let streams = [open(&handle), open(&handle)];
        let writers = streams.map(|stream| {
            thread::spawn(move || {
                write(&stream, b"a");
                stream
            })
        });
        run(drive, writers);
    });
}

#[test]
fn the_timer_wakes_the_loop_beside_a_command() {
    explore(|| {
        let goal = Told { timeouts: 1, drains: 1, ..Told::default() };
        let (drive, hand, handle) = driven(goal, DriveConfig::default());
        run(drive, [thread::spawn(move || hand.fire()), thread::spawn(move || handle.drain())]);
    });
}

/// In what order a task looks. The shipped loop is [`Order::Right`]; the others are faults that must be found.
#[derive(Clone, Copy, PartialEq)]
enum Order {
    Right,
    /// Pops first and registers itself then.
    RegistersLate,
    /// Looks at readiness first and marks the key as taken then.
    TakesLate,
}

/// A task in so many words, and a reactor that says twice that a socket is ready. Readiness is a relaxed flag, so that
/// only the ready queue orders it before the look.
fn a_task_that_looks(order: Order) {
    explore(move || {
        let queue = ReadyQueue::new();
        let notifier = Notifier::new(&queue, Key::Socket(0));
        let ready = Arc::new([AtomicBool::new(false), AtomicBool::new(false)]);
        let (waker, flags) = (notifier.waker().clone(), Arc::clone(&ready));
        let reactor = thread::spawn(move || {
            for flag in flags.iter() {
                flag.store(true, Ordering::Relaxed);
                waker.wake_by_ref();
            }
        });
        let mut seen = false;
        block_on(poll_fn(|cx| {
            if order != Order::RegistersLate {
                queue.register(cx.waker());
            }
            while queue.pop().is_some() {
                if order != Order::TakesLate {
                    notifier.taken();
                }
                seen = ready.iter().all(|flag| flag.load(Ordering::Relaxed));
                if order == Order::TakesLate {
                    notifier.taken();
                }
            }
            if order == Order::RegistersLate {
                queue.register(cx.waker());
            }
            if seen { Poll::Ready(()) } else { Poll::Pending }
        }));
        reactor.join().unwrap();
    });
}

#[test]
fn a_task_in_the_right_order_sees_everything() {
    a_task_that_looks(Order::Right);
}

#[test]
#[ignore = "deadlocks on purpose: faults_are_found runs it"]
fn fault_registers_late() {
    a_task_that_looks(Order::RegistersLate);
}

#[test]
#[ignore = "deadlocks on purpose: faults_are_found runs it"]
fn fault_takes_late() {
    a_task_that_looks(Order::TakesLate);
}

/// In processes of their own: what belongs to loom cannot be dropped while its panic unwinds, so they abort.
#[test]
fn faults_are_found() {
    for fault in ["fault_registers_late", "fault_takes_late"] {
        let name = format!("drive::loom::{fault}");
        let mut test = std::process::Command::new(std::env::current_exe().unwrap());
        let output = test.args(["--ignored", "--exact", "--nocapture", &name]).output().unwrap();
        let printed = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && printed.contains("deadlock"), "{fault}: {printed}");
    }
}
