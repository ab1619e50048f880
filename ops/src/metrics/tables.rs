//! What the traffic metrics count: series by label set, and the connections that are open.
//!
//! A connection is looked up once, when it opens, and then only by its address; while it lives nothing is counted, since
//! its octets are read from itself when asked.
use std::collections::{BTreeMap, HashMap};
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::Arc;
use std::time::{Duration, Instant};

use adit_core::proxy::observed::{Carrier, Connection, Direction, Flag};

use super::LAST_SCRAPES;
use super::labels::{FLAGS, Key, Security, flag};
use super::traffic::Bounds;

/// One label set and its counters.
#[derive(Debug)]
struct Series {
    key: Key,
    opened: u64,
    /// Octets of connections that have ended, from the client and from the server.
    forth: u64,
    back: u64,
    closed: [u64; FLAGS],
    live: usize,
    touched: Instant,
    /// Since when the workload that we counted it for is not here any more.
    gone: Option<Instant>,
}

/// A connection that is open, and the number of the series it is counted in.
#[derive(Debug)]
struct Live {
    connection: Arc<Connection>,
    series: u64,
}

/// All counters.
#[derive(Debug, Default)]
pub(super) struct Tables {
    /// By number: the order of creation, in which they are written.
    series: BTreeMap<u64, Series>,
    /// Their numbers by label set.
    numbers: HashMap<Key, u64>,
    recent: Recent,
    /// By address of the connection's report, which is unique while the report is held here.
    live: HashMap<usize, Live, BuildHasherDefault<AddressHasher>>,
    created: u64,
    collapsed: u64,
    expired: u64,
    inbound_tunnels: i64,
}

impl Tables {
    /// Counts a connection that opens.
    pub(super) fn open(&mut self, now: Instant, connection: &Arc<Connection>, bounds: Bounds) {
        let number = match self.recent.get(connection) {
            Some(number) => number,
            None => self.find(now, connection, bounds),
        };
        if let Some(series) = self.series.get_mut(&number) {
            series.opened += 1;
            series.live += 1;
            series.touched = now;
            series.gone = None;
        }
        let live = Live { connection: Arc::clone(connection), series: number };
        self.live.insert(address(connection), live);
    }

    /// The series of a connection, by its labels; made when there is none.
    fn find(&mut self, now: Instant, connection: &Arc<Connection>, bounds: Bounds) -> u64 {
        let key = Key::Like(Arc::clone(connection));
        if let Some(&number) = self.numbers.get(&key) {
            self.recent.add(connection, number);
            return number;
        }
        if self.series.len() >= bounds.series {
            self.expire(now, bounds.idle);
        }
        if self.series.len() >= bounds.series {
            self.collapsed += 1;
            let rest = Key::Other(connection.direction, Security::of(connection.carrier));
            return match self.numbers.get(&rest) {
                Some(&number) => number,
                None => self.create(now, rest),
            };
        }
        let number = self.create(now, key);
        self.recent.add(connection, number);
        number
    }

    fn create(&mut self, now: Instant, key: Key) -> u64 {
        let number = self.created;
        self.created += 1;
        self.numbers.insert(key.clone(), number);
        let closed = [0; FLAGS];
        let series = Series { key, opened: 0, forth: 0, back: 0, closed, live: 0, touched: now, gone: None };
        self.series.insert(number, series);
        number
    }

    /// Counts a connection that ends.
    pub(super) fn close(&mut self, now: Instant, connection: &Arc<Connection>, how: Flag) {
        let Some(live) = self.live.remove(&address(connection)) else { return };
        if let Some(series) = self.series.get_mut(&live.series) {
            series.live = series.live.saturating_sub(1);
            series.touched = now;
            series.forth += connection.traffic.forth();
            series.back += connection.traffic.back();
            series.closed[flag(how).0] += 1;
        }
    }

    /// Counts inbound tunnels that come or go.
    pub(super) fn inbound_tunnels(&mut self, more: i64) {
        self.inbound_tunnels += more;
    }

    /// The connections that are open now, in no order.
    pub(super) fn connections(&self) -> impl Iterator<Item = &Arc<Connection>> {
        self.live.values().map(|live| &live.connection)
    }

    /// The workload of this name is not here any more: what was counted for it is dropped after some scrapes.
    pub(super) fn forget(&mut self, now: Instant, namespace: &str, workload: &str) {
        for series in self.series.values_mut().filter(|series| series.key.is_of(namespace, workload)) {
            series.gone.get_or_insert(now);
        }
    }

    /// Drops series that have had no connection for `idle`, and those of workloads that are gone.
    pub(super) fn expire(&mut self, now: Instant, idle: Duration) {
        let before = self.series.len();
        let since = |then| now.saturating_duration_since(then);
        self.series.retain(|_, series| {
            let gone = series.gone.is_some_and(|gone| since(gone) >= LAST_SCRAPES);
            series.live > 0 || !(gone || since(series.touched) >= idle)
        });
        if self.series.len() < before {
            self.expired += u64::try_from(before - self.series.len()).unwrap_or(u64::MAX);
            self.numbers.retain(|_, number| self.series.contains_key(number));
            self.recent = Recent::default();
        }
    }

    /// How many connections were counted in series for the rest.
    pub(super) const fn collapsed(&self) -> u64 {
        self.collapsed
    }

    /// How many series were dropped.
    pub(super) const fn expired(&self) -> u64 {
        self.expired
    }

    /// A copy of every series with the octets of its live connections, in order of creation.
    pub(super) fn snapshot(&self) -> Vec<(Key, Counts)> {
        let mut flowing: HashMap<u64, (u64, u64)> = HashMap::new();
        for live in self.live.values() {
            let (forth, back) = flowing.entry(live.series).or_default();
            *forth += live.connection.traffic.forth();
            *back += live.connection.traffic.back();
        }
        let counts = |(number, series): (&u64, &Series)| {
            let (forth, back) = flowing.get(number).copied().unwrap_or_default();
            let counts = Counts {
                opened: series.opened,
                forth: series.forth + forth,
                back: series.back + back,
                closed: series.closed,
            };
            (series.key.clone(), counts)
        };
        self.series.iter().map(counts).collect()
    }

    /// Sockets that clients have open to us: outbound ones, then inbound ones, of which a tunnel is one.
    pub(super) fn sockets(&self) -> (i64, i64) {
        let count = |wanted: fn(&Connection) -> bool| {
            let n = self.connections().filter(|connection| wanted(connection)).count();
            i64::try_from(n).unwrap_or(i64::MAX)
        };
        let outbound = count(|connection| connection.direction == Direction::Outbound);
        let plain = count(|connection| {
            connection.direction == Direction::Inbound && connection.carrier == Carrier::Tcp
        });
        (outbound, plain.saturating_add(self.inbound_tunnels))
    }
}

/// One series' numbers at one moment.
pub(super) struct Counts {
    pub(super) opened: u64,
    pub(super) forth: u64,
    pub(super) back: u64,
    pub(super) closed: [u64; FLAGS],
}

/// How many connections are remembered.
const RECENT: usize = 8;

/// Connections that came lately, and the numbers of their series. Most connections are like one of these, and a shard
/// gives like connections the same names, so that comparing a few pointers spares hashing two dozen texts.
#[derive(Debug, Default)]
struct Recent {
    known: [Option<(Arc<Connection>, u64)>; RECENT],
    next: usize,
}

impl Recent {
    /// The series of a connection with the very labels of this one, if it is remembered.
    fn get(&self, connection: &Connection) -> Option<u64> {
        let alike = |known: &Connection| {
            Arc::ptr_eq(&known.source.names, &connection.source.names)
                && Arc::ptr_eq(&known.destination.names, &connection.destination.names)
                && known.direction == connection.direction
                && Security::of(known.carrier) == Security::of(connection.carrier)
                && known.service == connection.service
        };
        self.known.iter().flatten().find(|(known, _)| alike(known)).map(|(_, number)| *number)
    }

    /// Remembers a connection in place of the oldest.
    fn add(&mut self, connection: &Arc<Connection>, number: u64) {
        if let Some(place) = self.known.get_mut(self.next % RECENT) {
            *place = Some((Arc::clone(connection), number));
        }
        self.next = (self.next + 1) % RECENT;
    }
}

fn address(connection: &Arc<Connection>) -> usize {
    Arc::as_ptr(connection).addr()
}

/// Hashes one address of ours, which nobody outside chooses: multiplied by the golden ratio, high bits folded into the
/// low ones, which an address has always the same.
#[derive(Debug, Default)]
struct AddressHasher(u64);

impl Hasher for AddressHasher {
    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|byte| self.write_usize((*byte).into()));
    }

    fn write_usize(&mut self, address: usize) {
        let address = u64::try_from(address).unwrap_or(u64::MAX);
        let product = (self.0 ^ address).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        self.0 = product ^ (product >> 32);
    }

    fn finish(&self) -> u64 {
        self.0
    }
}
