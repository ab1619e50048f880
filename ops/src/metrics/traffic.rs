//! Counters of connections by label set: one look-up when a connection opens, none while it lives, octets read from the
//! live ones when asked.
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use adit_core::proxy::Observed;
use adit_core::proxy::observed::{Carrier, Connection, Direction, Flag};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{
    DescriptorEncoder, EncodeLabel, EncodeLabelSet, LabelSetEncoder, NoLabelSet,
};
use prometheus_client::metrics::MetricType;

use super::labels::{ALL_FLAGS, FLAGS, Key, NO_FLAG, Row, Security, flag, reporter};

/// Bounds on what the traffic metrics keep.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Bounds {
    /// Series at the same time, by label set (each gives four lines and one more for every flag it has seen). Beyond
    /// it connections are counted in series whose labels all say `other`.
    pub series: usize,
    /// How long a series without a connection is kept.
    pub idle: Duration,
}

impl Default for Bounds {
    /// 10 000 series, kept for an hour.
    fn default() -> Self {
        Self { series: 10_000, idle: Duration::from_secs(3600) }
    }
}

/// How long the series of a workload are still shown that is not here any more: its last connections are to be counted by
/// whoever scrapes every minute.
const LAST_SCRAPES: Duration = Duration::from_secs(150);

/// One label set and its counters.
#[derive(Debug)]
struct Series {
    opened: u64,
    /// Octets of connections that have ended, from the client and from the server.
    forth: u64,
    back: u64,
    closed: [u64; FLAGS],
    live: usize,
    touched: Instant,
    /// Since when the workload that we counted it for is not here any more.
    gone: Option<Instant>,
    /// Order of creation, in which series are written.
    number: u64,
}

/// A connection that is open, and where it is counted.
#[derive(Debug)]
struct Live {
    connection: Arc<Connection>,
    key: Key,
}

#[derive(Debug, Default)]
struct Tables {
    series: HashMap<Key, Series>,
    /// By address of the connection's report, which is unique while the report is held here.
    live: HashMap<usize, Live>,
    created: u64,
    collapsed: u64,
    expired: u64,
    inbound_tunnels: i64,
}

/// Counters of connections, and the connections that are open. Clones share them.
#[derive(Clone, Debug)]
pub struct Traffic {
    tables: Arc<Mutex<Tables>>,
    bounds: Bounds,
}

impl Traffic {
    /// Nothing counted yet.
    #[must_use]
    pub fn new(bounds: Bounds) -> Self {
        Self { tables: Arc::default(), bounds }
    }

    fn lock(&self) -> MutexGuard<'_, Tables> {
        self.tables.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts one event.
    pub fn observe(&self, now: Instant, observed: &Observed) {
        match observed {
            Observed::ConnectionOpened(connection) => self.opened(now, connection),
            Observed::ConnectionClosed { connection, flag, .. } => self.closed(now, connection, *flag),
            Observed::TunnelOpened { direction: Direction::Inbound, .. } => self.lock().inbound_tunnels += 1,
            Observed::TunnelClosed { direction: Direction::Inbound, .. } => self.lock().inbound_tunnels -= 1,
            Observed::TunnelOpened { .. }
            | Observed::TunnelClosed { .. }
            | Observed::DryRun { .. }
            // Counted with names.
            | Observed::Resolved { .. }
            // Its end is counted.
            | Observed::Judged { .. }
            | Observed::NoLongerAllowed { .. }
            // Upstream counts these nowhere, as too little is known about them.
            | Observed::EarlyDenied { .. } => {}
        }
    }

    fn opened(&self, now: Instant, connection: &Arc<Connection>) {
        let key = Key::Like(Arc::clone(connection));
        let mut tables = self.lock();
        let full = tables.series.len() >= self.bounds.series;
        if full && !tables.series.contains_key(&key) {
            tables.expire(now, self.bounds.idle);
        }
        let full = tables.series.len() >= self.bounds.series;
        let key = if full && !tables.series.contains_key(&key) {
            tables.collapsed += 1;
            Key::Other(connection.direction, Security::of(connection.carrier))
        } else {
            key
        };
        let number = tables.created;
        let (created, key) = match tables.series.entry(key) {
            Entry::Occupied(mut entry) => {
                entry.get_mut().open(now);
                (0, entry.key().clone())
            }
            Entry::Vacant(entry) => {
                let key = entry.key().clone();
                entry.insert(Series::new(now, number)).open(now);
                (1, key)
            }
        };
        tables.created += created;
        tables.live.insert(address(connection), Live { connection: Arc::clone(connection), key });
    }

    fn closed(&self, now: Instant, connection: &Arc<Connection>, how: Flag) {
        let mut tables = self.lock();
        let Some(live) = tables.live.remove(&address(connection)) else { return };
        if let Some(series) = tables.series.get_mut(&live.key) {
            series.live = series.live.saturating_sub(1);
            series.touched = now;
            series.forth += connection.traffic.forth();
            series.back += connection.traffic.back();
            series.closed[flag(how).0] += 1;
        }
    }

    /// The connections that are open now, in no order.
    #[must_use]
    pub fn connections(&self) -> Vec<Arc<Connection>> {
        self.lock().live.values().map(|live| Arc::clone(&live.connection)).collect()
    }

    /// The last proxy of a workload is gone from here, by its name in labels: its series are dropped after some scrapes.
    pub fn forget(&self, now: Instant, namespace: &str, workload: &str) {
        for (key, series) in &mut self.lock().series {
            if key.is_of(namespace, workload) {
                series.gone.get_or_insert(now);
            }
        }
    }

    /// Drops series that have had no connection for the set time; done before every scrape, too.
    pub fn expire(&self, now: Instant) {
        self.lock().expire(now, self.bounds.idle);
    }
}

fn address(connection: &Arc<Connection>) -> usize {
    Arc::as_ptr(connection).addr()
}

impl Series {
    const fn new(now: Instant, number: u64) -> Self {
        Self { opened: 0, forth: 0, back: 0, closed: [0; FLAGS], live: 0, touched: now, gone: None, number }
    }

    fn open(&mut self, now: Instant) {
        self.opened += 1;
        self.live += 1;
        self.touched = now;
        self.gone = None;
    }
}

impl Tables {
    fn expire(&mut self, now: Instant, idle: Duration) {
        let before = self.series.len();
        let since = |then| now.saturating_duration_since(then);
        self.series.retain(|_, series| {
            let (idle, gone) =
                (since(series.touched) >= idle, series.gone.is_some_and(|gone| since(gone) >= LAST_SCRAPES));
            series.live > 0 || !(idle || gone)
        });
        self.expired += u64::try_from(before - self.series.len()).unwrap_or(u64::MAX);
    }

    /// A copy of every series with the octets of its live connections, in order of creation.
    fn snapshot(&self) -> Vec<(Key, Counts)> {
        #[expect(clippy::mutable_key_type, reason = "what changes in a connection is no part of the key")]
        let mut flowing: HashMap<&Key, (u64, u64)> = HashMap::new();
        for live in self.live.values() {
            let (forth, back) = flowing.entry(&live.key).or_default();
            *forth += live.connection.traffic.forth();
            *back += live.connection.traffic.back();
        }
        let mut rows: Vec<_> = self.series.iter().collect();
        rows.sort_by_key(|(_, series)| series.number);
        rows.into_iter()
            .map(|(key, series)| {
                let (forth, back) = flowing.get(key).copied().unwrap_or_default();
                let counts = Counts {
                    opened: series.opened,
                    forth: series.forth + forth,
                    back: series.back + back,
                    closed: series.closed,
                };
                (key.clone(), counts)
            })
            .collect()
    }

    /// Sockets that clients have open to us: outbound ones, then inbound ones, of which a tunnel is one.
    fn sockets(&self) -> (i64, i64) {
        let count = |wanted: fn(&Connection) -> bool| {
            let n = self.live.values().filter(|live| wanted(&live.connection)).count();
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
struct Counts {
    opened: u64,
    forth: u64,
    back: u64,
    closed: [u64; FLAGS],
}

/// A single label.
struct Reporter(&'static str);

impl EncodeLabelSet for Reporter {
    fn encode(&self, encoder: &mut LabelSetEncoder<'_>) -> fmt::Result {
        ("reporter", self.0).encode(encoder.encode_label())
    }
}

/// The rows of one metric: labels and value.
type Rows<'a> = Vec<(Row<'a>, u64)>;

fn counters(encoder: &mut DescriptorEncoder<'_>, name: &str, help: &str, rows: &Rows<'_>) -> fmt::Result {
    let mut metric = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
    for (row, value) in rows {
        let mut metric = metric.encode_family(row)?;
        metric.encode_counter::<NoLabelSet, u64, u64>(value, None)?;
    }
    Ok(())
}

fn counter(encoder: &mut DescriptorEncoder<'_>, name: &str, help: &str, value: u64) -> fmt::Result {
    let mut metric = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
    metric.encode_counter::<NoLabelSet, u64, u64>(&value, None)
}

impl Collector for Traffic {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        self.expire(Instant::now());
        // Written without the lock, so that a scrape holds up no shard.
        let (rows, (outbound, inbound), collapsed, expired) = {
            let tables = self.lock();
            (tables.snapshot(), tables.sockets(), tables.collapsed, tables.expired)
        };
        let plain = |value: fn(&Counts) -> u64| -> Rows<'_> {
            rows.iter().map(|(key, counts)| (Row { key, flag: NO_FLAG }, value(counts))).collect()
        };
        let flagged = |flags: &[Flag]| -> Rows<'_> {
            rows.iter()
                .flat_map(|(key, counts)| {
                    flags.iter().map(move |how| {
                        let (place, word) = flag(*how);
                        (Row { key, flag: word }, counts.closed[place])
                    })
                })
                .filter(|(_, value)| *value > 0)
                .collect()
        };
        let e = &mut encoder;
        let opened = plain(|counts| counts.opened);
        counters(e, "istio_tcp_connections_opened", "The total number of TCP connections opened.", &opened)?;
        let closed = flagged(&ALL_FLAGS);
        counters(e, "istio_tcp_connections_closed", "The total number of TCP connections closed.", &closed)?;
        let received = plain(|counts| counts.forth);
        let help = "The size of total bytes received during request in case of a TCP connection.";
        counters(e, "istio_tcp_received_bytes", help, &received)?;
        let sent = plain(|counts| counts.back);
        let help = "The size of total bytes sent during response in case of a TCP connection.";
        counters(e, "istio_tcp_sent_bytes", help, &sent)?;
        let failed = flagged(&ALL_FLAGS[1..]);
        let help = "The total number of TCP connections that failed to establish (unstable).";
        counters(e, "istio_tcp_connections_failed", help, &failed)?;

        let help = "The current number of open TCP sockets (unstable).";
        let mut metric = e.encode_descriptor("istio_tcp_sockets_open", help, None, MetricType::Gauge)?;
        for (direction, open) in [(Direction::Outbound, outbound), (Direction::Inbound, inbound)] {
            metric.encode_family(&Reporter(reporter(direction)))?.encode_gauge(&open)?;
        }

        let help = "Series of the traffic metrics that are kept now.";
        let series = i64::try_from(rows.len()).unwrap_or(i64::MAX);
        e.encode_descriptor("adit_metrics_series", help, None, MetricType::Gauge)?.encode_gauge(&series)?;
        let help = "Connections counted under labels that say `other`, because there were too many series.";
        counter(e, "adit_metrics_collapsed_connections", help, collapsed)?;
        let help = "Series dropped because they had had no connection for long.";
        counter(e, "adit_metrics_expired_series", help, expired)
    }
}
