//! Taking turns: which of several shards accepts the next connection of a listening socket they share.
//!
//! Messages that become ready together share records, system calls and wake-ups, so a few connections are cheaper on
//! one shard than spread over all. A shard therefore goes on accepting until it has a block of connections more than
//! another one, or until its processor is busy; then the turn passes on. Only the shard whose turn it is has the socket
//! in its reactor, so a new connection wakes nobody else.
use std::fmt;
use std::sync::Arc;
use std::task::Waker;
use std::time::Duration;

use adit_core::time::Instant;

use crate::sync::{AtomicU64, AtomicUsize, AtomicWaker, Ordering};

/// How long the use of a processor is measured before it is judged.
const SAMPLE: Duration = Duration::from_millis(100);
/// How long a shard counts as busy after it was found to be: an idle one does not measure.
const MEMORY: Duration = Duration::from_millis(250);
/// The share of its processor, in percent, from which a shard is busy.
const BUSY: u128 = 75;
/// How many seats a shard has that accepts no more.
const GONE: usize = usize::MAX;

/// The shards that share listening sockets, and how busy each is.
#[derive(Debug)]
pub struct Crew {
    /// Until when each shard counts as busy, in nanoseconds of the shards' clock.
    busy_until: Box<[AtomicU64]>,
}

impl Crew {
    /// A crew of `count` shards.
    #[must_use]
    pub fn new(count: usize) -> Arc<Self> {
        Arc::new(Self { busy_until: (0..count).map(|_| AtomicU64::new(0)).collect() })
    }

    /// How many shards there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.busy_until.len()
    }

    fn is_busy(&self, shard: usize, now: Instant) -> bool {
        self.busy_until.get(shard).is_some_and(|until| until.load(Ordering::Relaxed) > now.as_nanos())
    }

    /// The places of the crew's shards at one listening socket. The turn starts with shard `home`; a shard keeps it for
    /// `block` connections more than others have.
    pub(crate) fn places(self: &Arc<Self>, home: usize, block: usize) -> impl Iterator<Item = Place> + use<> {
        let count = self.count();
        let turns = Arc::new(Turns {
            crew: Arc::clone(self),
            home: home % count.max(1),
            block: block.max(1),
            turn: AtomicUsize::new(home % count.max(1)),
            shards: (0..count).map(|_| Shard::default()).collect(),
        });
        (0..count).map(move |shard| Place { turns: Arc::clone(&turns), shard })
    }
}

/// One listening socket's turns.
struct Turns {
    crew: Arc<Crew>,
    home: usize,
    block: usize,
    /// Whose turn it is.
    turn: AtomicUsize,
    shards: Box<[Shard]>,
}

#[derive(Default)]
struct Shard {
    /// Connections accepted here that are open.
    seats: AtomicUsize,
    /// The driver, to be woken when the turn comes to it.
    driver: AtomicWaker,
}

impl Turns {
    /// The shard that should accept next: the one with the fewest whole blocks of connections, where being busy counts
    /// as a block; among equals the nearest after home.
    fn best(&self, now: Instant) -> Option<usize> {
        let count = self.shards.len();
        let level = |&shard: &usize| {
            let seats = self.shards.get(shard).map_or(GONE, |shard| shard.seats.load(Ordering::Relaxed));
            (seats / self.block).saturating_add(usize::from(self.crew.is_busy(shard, now)))
        };
        (0..count).map(|step| (self.home + step) % count).min_by_key(level)
    }

    fn give(&self, shard: usize) {
        self.turn.store(shard, Ordering::SeqCst);
        if let Some(next) = self.shards.get(shard) {
            next.driver.wake();
        }
    }
}

/// A shard's place at a listening socket.
pub(crate) struct Place {
    turns: Arc<Turns>,
    shard: usize,
}

impl fmt::Debug for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Place").field("shard", &self.shard).finish_non_exhaustive()
    }
}

impl Place {
    /// Whether it is this shard's turn; if not, `waker` is called when it is.
    pub(crate) fn poll_turn(&self, waker: &Waker) -> bool {
        if let Some(own) = self.turns.shards.get(self.shard) {
            // Before the turn is read, so that one which comes in between is not missed.
            own.driver.register(waker);
        }
        self.turns.turn.load(Ordering::SeqCst) == self.shard
    }

    /// A connection was accepted here: takes a seat.
    pub(crate) fn sit(self: &Arc<Self>) -> Seat {
        if let Some(own) = self.turns.shards.get(self.shard) {
            own.seats.fetch_add(1, Ordering::Relaxed);
        }
        Seat(Arc::clone(self))
    }

    /// Passes the turn on if it is this shard's and another shard should have it; says whether it did.
    pub(crate) fn pass_on(&self, now: Instant) -> bool {
        if self.turns.turn.load(Ordering::SeqCst) == self.shard
            && let Some(best) = self.turns.best(now)
            && best != self.shard
        {
            self.turns.give(best);
            return true;
        }
        false
    }

    /// The shards' crew, and which of them this is.
    pub(crate) fn crew(&self) -> (&Arc<Crew>, usize) {
        (&self.turns.crew, self.shard)
    }

    /// The shard accepts no more: nobody waits for it.
    pub(crate) fn leave(&self) {
        if let Some(own) = self.turns.shards.get(self.shard) {
            own.seats.store(GONE, Ordering::Relaxed);
        }
        // Any of the others will do, busy or not.
        self.pass_on(Instant::ZERO);
    }
}

/// What an open connection holds, so that its shard counts it.
#[derive(Debug)]
pub(crate) struct Seat(Arc<Place>);

impl Drop for Seat {
    fn drop(&mut self) {
        if let Some(own) = self.0.turns.shards.get(self.0.shard) {
            let less = |seats| (seats != GONE).then(|| seats - 1);
            // Of one that has left, nothing is counted.
            let _ = own.seats.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less);
        }
    }
}

/// Measures how busy a shard keeps its processor.
#[derive(Debug)]
pub(crate) struct Meter {
    /// When the sample began, and what the thread had used by then.
    since: (Instant, Duration),
}

impl Meter {
    /// Begins a sample.
    pub(crate) fn new(now: Instant, used: Duration) -> Self {
        Self { since: (now, used) }
    }

    /// Whether a sample is over; it costs a system call to see what the thread has `used`.
    pub(crate) fn is_due(&self, now: Instant) -> bool {
        now.saturating_since(self.since.0) >= SAMPLE
    }

    /// Ends a sample and begins the next.
    pub(crate) fn handle_sample(&mut self, now: Instant, used: Duration, crew: &Crew, shard: usize) {
        let (since, before) = self.since;
        let (took, used_in_it) = (now.saturating_since(since), used.saturating_sub(before));
        let busy = used_in_it.as_nanos() * 100 >= took.as_nanos() * BUSY;
        let until = if busy { (now + MEMORY).as_nanos() } else { 0 };
        if let Some(own) = crew.busy_until.get(shard) {
            own.store(until, Ordering::Relaxed);
        }
        self.since = (now, used);
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicU32;
    use std::task::Wake;

    fn places(count: usize, home: usize, block: usize) -> (Arc<Crew>, Vec<Arc<Place>>) {
        let crew = Crew::new(count);
        let places = crew.places(home, block).map(Arc::new).collect();
        (crew, places)
    }

    fn whose(places: &[Arc<Place>]) -> usize {
        let mine: Vec<_> = (0..places.len()).filter(|&i| places[i].poll_turn(Waker::noop())).collect();
        assert_eq!(mine.len(), 1, "exactly one shard accepts");
        mine[0]
    }

    /// Accepts where the turn is; returns whose it was.
    fn accept(places: &[Arc<Place>], now: Instant) -> (usize, Seat) {
        let shard = whose(places);
        let seat = places[shard].sit();
        places[shard].pass_on(now);
        (shard, seat)
    }

    #[test]
    fn a_block_stays_together_and_the_next_goes_elsewhere() {
        let (_crew, places) = places(3, 1, 4);
        let (shards, seats): (Vec<_>, Vec<_>) = (0..14).map(|_| accept(&places, Instant::ZERO)).unzip();
        assert_eq!(shards, [1, 1, 1, 1, 2, 2, 2, 2, 0, 0, 0, 0, 1, 1]);
        drop(seats);
        assert_eq!(accept(&places, Instant::ZERO).0, 1);
    }

    #[test]
    fn blocks_of_one_go_round_by_what_is_open() {
        let (_crew, places) = places(2, 0, 1);
        let (first, kept) = accept(&places, Instant::ZERO);
        let (second, gone) = accept(&places, Instant::ZERO);
        assert_eq!((first, second), (0, 1));
        drop(gone);
        // The turn has gone home meanwhile; it moves on with the next connection.
        let (third, _third) = accept(&places, Instant::ZERO);
        let (fourth, _fourth) = accept(&places, Instant::ZERO);
        assert_eq!((third, fourth), (0, 1));
        drop(kept);
    }

    #[test]
    fn a_busy_shard_counts_as_a_block_fuller_until_it_rests() {
        let (crew, places) = places(2, 0, 4);
        let ms = |ms| Instant::ZERO + Duration::from_millis(ms);
        let mut meter = Meter::new(ms(0), Duration::ZERO);
        assert!(!meter.is_due(ms(99)) && meter.is_due(ms(100)));
        meter.handle_sample(ms(100), Duration::from_millis(75), &crew, 0);
        places[0].pass_on(ms(100));
        let (shards, _seats): (Vec<_>, Vec<_>) = (0..5).map(|_| accept(&places, ms(101))).unzip();
        assert_eq!(shards, [1, 1, 1, 1, 0], "four on the idle one, then they are equal");
        meter.handle_sample(ms(200), Duration::from_millis(140), &crew, 0);
        assert!(!crew.is_busy(0, ms(201)));
        meter.handle_sample(ms(300), Duration::from_millis(240), &crew, 0);
        assert!(crew.is_busy(0, ms(549)) && !crew.is_busy(0, ms(551)), "an idle shard does not measure");
    }

    #[test]
    fn one_that_leaves_hands_the_turn_on_and_never_gets_it_back() {
        let (_crew, places) = places(2, 0, 4);
        let (_, early) = accept(&places, Instant::ZERO);
        places[0].leave();
        drop(early);
        for _ in 0..10 {
            std::mem::forget(accept(&places, Instant::ZERO));
        }
        assert_eq!(whose(&places), 1);
        places[1].leave();
    }

    #[test]
    fn the_turn_wakes_whom_it_comes_to() {
        #[derive(Default)]
        struct Count(AtomicU32);
        impl Wake for Count {
            fn wake(self: Arc<Self>) {
                self.0.fetch_add(1, Ordering::SeqCst);
            }
        }
        let (_crew, places) = places(2, 0, 1);
        let count = Arc::new(Count::default());
        assert!(!places[1].poll_turn(&Waker::from(Arc::clone(&count))));
        let _seat = places[0].sit();
        places[0].pass_on(Instant::ZERO);
        assert_eq!(count.0.load(Ordering::SeqCst), 1);
        assert!(places[1].poll_turn(Waker::noop()));
    }
}

/// No turn is lost, whatever the threads' order.
#[cfg(all(test, loom))]
mod loom_tests {
    use super::*;
    use std::future::poll_fn;
    use std::task::Poll;

    #[test]
    fn a_turn_that_is_passed_on_is_taken() {
        ::loom::model(|| {
            let crew = Crew::new(2);
            let places: Vec<_> = crew.places(0, 1).map(Arc::new).collect();
            let [first, second] = <[_; 2]>::try_from(places).expect("two");
            let giver = ::loom::thread::spawn(move || {
                let seat = first.sit();
                first.pass_on(Instant::ZERO);
                drop(seat);
            });
            ::loom::future::block_on(poll_fn(|cx| match second.poll_turn(cx.waker()) {
                true => Poll::Ready(()),
                false => Poll::Pending,
            }));
            giver.join().unwrap();
        });
    }
}
