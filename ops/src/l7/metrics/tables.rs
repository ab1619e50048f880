//! What is counted: series by what their labels are made of, found by the addresses of that.
use std::collections::{BTreeMap, HashMap};
use std::hash::{BuildHasherDefault, Hash, Hasher};
use std::sync::Arc;
use std::time::{Duration, Instant};

use adit_core::l7::telemetry::MetricRules;
use adit_core::proxy::observed::ServiceLabels;

use super::super::record::{Exchange, Peer, Protocol, ResponseFlags, Security};
use super::Reported;
use super::histogram::Histogram;
use super::labels::{Key, Like};
use crate::metrics::{Bounds, LAST_SCRAPES};

/// How often room is sought at most when there are too many series: it means looking at each.
const SEARCH: Duration = Duration::from_secs(1);

/// Ways to series that are remembered at most. They hold what they are made of, wherever else that is gone already.
const MAX_KNOWN: usize = 8192;

/// The numbers of a series.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Counts {
    pub(super) requests: u64,
    pub(super) duration: Histogram,
    pub(super) request_size: Histogram,
    pub(super) response_size: Histogram,
    pub(super) opened: u64,
    pub(super) closed: u64,
    pub(super) sent: u64,
    pub(super) received: u64,
    pub(super) request_messages: u64,
    pub(super) response_messages: u64,
}

impl Counts {
    pub(super) const fn add(&mut self, more: Reported) {
        self.received += more.received;
        self.sent += more.sent;
        self.request_messages += more.request_messages;
        self.response_messages += more.response_messages;
    }

    pub(super) fn join(&mut self, other: &Self) {
        self.requests += other.requests;
        self.duration.join(&other.duration);
        self.request_size.join(&other.request_size);
        self.response_size.join(&other.response_size);
        self.opened += other.opened;
        self.closed += other.closed;
        self.sent += other.sent;
        self.received += other.received;
        self.request_messages += other.request_messages;
        self.response_messages += other.response_messages;
    }
}

/// A series as it was when asked for.
pub(super) struct Row {
    pub(super) key: Arc<Key>,
    pub(super) rules: Arc<MetricRules>,
    pub(super) counts: Box<Counts>,
}

#[derive(Debug)]
struct Series {
    key: Arc<Key>,
    rules: Arc<MetricRules>,
    counts: Box<Counts>,
    touched: Instant,
    /// Since when one of its ends is not in the tables any more.
    gone: Option<Instant>,
}

/// What an exchange is found by: addresses, and numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Quick {
    source: usize,
    destination: usize,
    service: usize,
    rules: usize,
    status: u16,
    protocol: Protocol,
    security: Security,
    grpc: Option<u32>,
    flags: ResponseFlags,
}

fn address<T>(shared: Option<&Arc<T>>) -> usize {
    shared.map_or(0, |shared| Arc::as_ptr(shared).addr())
}

impl Quick {
    fn of(rules: &Arc<MetricRules>, exchange: &Exchange<'_>) -> Self {
        Self {
            source: address(exchange.source),
            destination: address(exchange.destination),
            service: address(exchange.service),
            rules: address(Some(rules)),
            status: exchange.http.status,
            protocol: exchange.protocol,
            security: exchange.security,
            grpc: exchange.http.grpc.and_then(|grpc| grpc.status),
            flags: exchange.flags,
        }
    }
}

/// Where a series is, and what keeps the addresses it is found by from being anybody else's.
#[derive(Debug)]
struct Known {
    number: u64,
    collapsed: bool,
    _source: Option<Arc<Peer>>,
    _destination: Option<Arc<Peer>>,
    _service: Option<Arc<ServiceLabels>>,
    _rules: Arc<MetricRules>,
}

/// All series.
#[derive(Debug)]
pub(super) struct Tables {
    bounds: Bounds,
    /// By number: the order of creation, in which they are written.
    series: BTreeMap<u64, Series>,
    /// Their numbers, by what their labels are made of and the rules.
    numbers: HashMap<(Arc<Key>, Arc<MetricRules>), u64>,
    known: HashMap<Quick, Known, BuildHasherDefault<AddressHasher>>,
    created: u64,
    collapsed: u64,
    expired: u64,
    searched: Option<Instant>,
}

impl Tables {
    pub(super) fn new(bounds: Bounds) -> Self {
        Self {
            bounds,
            series: BTreeMap::new(),
            numbers: HashMap::new(),
            known: HashMap::default(),
            created: 0,
            collapsed: 0,
            expired: 0,
            searched: None,
        }
    }

    /// Counts something in the series of an exchange.
    pub(super) fn count(
        &mut self,
        now: Instant,
        rules: &Arc<MetricRules>,
        exchange: &Exchange<'_>,
        change: impl FnOnce(&mut Counts),
    ) {
        let number = match rules.expressions.is_empty() {
            true => self.known(now, rules, exchange),
            // What is computed may differ between exchanges that look the same.
            false => self.find(now, rules, exchange).0,
        };
        if let Some(series) = self.series.get_mut(&number) {
            change(&mut series.counts);
            series.touched = now;
            series.gone = None;
        }
    }

    fn known(&mut self, now: Instant, rules: &Arc<MetricRules>, exchange: &Exchange<'_>) -> u64 {
        let quick = Quick::of(rules, exchange);
        if let Some(known) = self.known.get(&quick) {
            self.collapsed += u64::from(known.collapsed);
            return known.number;
        }
        let (number, collapsed) = self.find(now, rules, exchange);
        // Several addresses may stand for the same, if those who make them make them twice.
        if self.known.len() >= MAX_KNOWN {
            self.known.clear();
        }
        let known = Known {
            number,
            collapsed,
            _source: exchange.source.cloned(),
            _destination: exchange.destination.cloned(),
            _service: exchange.service.cloned(),
            _rules: Arc::clone(rules),
        };
        self.known.insert(quick, known);
        number
    }

    /// The series of an exchange by its labels, made when there is none; and whether it is the one for the rest.
    fn find(&mut self, now: Instant, rules: &Arc<MetricRules>, exchange: &Exchange<'_>) -> (u64, bool) {
        let key = (Arc::new(Key::Like(Box::new(Like::of(rules, exchange)))), Arc::clone(rules));
        if let Some(&number) = self.numbers.get(&key) {
            return (number, false);
        }
        if self.series.len() >= self.bounds.series
            && self.searched.is_none_or(|then| now.saturating_duration_since(then) >= SEARCH)
        {
            self.searched = Some(now);
            self.expire(now);
        }
        if self.series.len() < self.bounds.series {
            return (self.create(now, key), false);
        }
        self.collapsed += 1;
        let rest = (Arc::new(Key::Other(exchange.protocol, exchange.security)), Arc::clone(rules));
        let number = self.numbers.get(&rest).copied();
        (number.unwrap_or_else(|| self.create(now, rest)), true)
    }

    fn create(&mut self, now: Instant, key: (Arc<Key>, Arc<MetricRules>)) -> u64 {
        let number = self.created;
        self.created += 1;
        let (labels, rules) = key.clone();
        self.numbers.insert(key, number);
        let series = Series { key: labels, rules, counts: Box::default(), touched: now, gone: None };
        self.series.insert(number, series);
        number
    }

    /// A workload is not in the tables any more.
    pub(super) fn forget(&mut self, now: Instant, namespace: &str, workload: &str) {
        for series in self.series.values_mut() {
            if matches!(&*series.key, Key::Like(like) if like.is_of(namespace, workload)) {
                series.gone.get_or_insert(now);
            }
        }
    }

    /// Drops series that nothing was counted in for long, and those of workloads that are gone.
    pub(super) fn expire(&mut self, now: Instant) {
        let before = self.series.len();
        let since = |then| now.saturating_duration_since(then);
        self.series.retain(|_, series| {
            let gone = series.gone.is_some_and(|gone| since(gone) >= LAST_SCRAPES);
            !gone && since(series.touched) < self.bounds.idle
        });
        if self.series.len() < before {
            self.expired += u64::try_from(before - self.series.len()).unwrap_or(u64::MAX);
            self.numbers.retain(|_, number| self.series.contains_key(number));
            // What was collapsed for want of room may have a series of its own again.
            self.known.clear();
        }
    }

    /// How many series there are.
    pub(super) fn len(&self) -> usize {
        self.series.len()
    }

    /// How many exchanges were counted in series for the rest.
    pub(super) const fn collapsed(&self) -> u64 {
        self.collapsed
    }

    /// How many series were dropped.
    pub(super) const fn expired(&self) -> u64 {
        self.expired
    }

    /// A copy of every series, in order of creation.
    pub(super) fn snapshot(&self) -> Vec<Row> {
        let row = |series: &Series| Row {
            key: Arc::clone(&series.key),
            rules: Arc::clone(&series.rules),
            counts: series.counts.clone(),
        };
        self.series.values().map(row).collect()
    }
}

/// Hashes addresses of ours and small numbers, which peers choose only in part (status, flags): each word is multiplied by the
/// golden ratio, and the high bits are folded into the low ones, which addresses have all the same.
#[derive(Debug, Default)]
struct AddressHasher(u64);

impl Hasher for AddressHasher {
    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|byte| self.write_u64((*byte).into()));
    }

    fn write_u64(&mut self, word: u64) {
        let product = (self.0.rotate_left(5) ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        self.0 = product ^ (product >> 32);
    }

    fn write_usize(&mut self, word: usize) {
        self.write_u64(u64::try_from(word).unwrap_or(u64::MAX));
    }

    fn write_u32(&mut self, word: u32) {
        self.write_u64(word.into());
    }

    fn write_u16(&mut self, word: u16) {
        self.write_u64(word.into());
    }

    fn write_isize(&mut self, word: isize) {
        self.write_u64(word.cast_unsigned().try_into().unwrap_or(u64::MAX));
    }

    fn finish(&self) -> u64 {
        self.0
    }
}
