//! Counters of connections by label set, as metrics: fed by what shards show, written when asked.
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use adit_core::proxy::Observed;
use adit_core::proxy::observed::{Connection, Direction, Flag};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{
    DescriptorEncoder, EncodeLabel, EncodeLabelSet, LabelSetEncoder, NoLabelSet,
};
use prometheus_client::metrics::MetricType;

use super::labels::{NO_FLAG, Row, flag, reporter};
use super::tables::{Counts, Tables};

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
            Observed::ConnectionOpened(connection) => self.lock().open(now, connection, self.bounds),
            Observed::ConnectionClosed { connection, flag, .. } => self.lock().close(now, connection, *flag),
            Observed::TunnelOpened { direction: Direction::Inbound, .. } => self.lock().inbound_tunnels(1),
            Observed::TunnelClosed { direction: Direction::Inbound, .. } => self.lock().inbound_tunnels(-1),
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

    /// The connections that are open now, in no order.
    #[must_use]
    pub fn connections(&self) -> Vec<Arc<Connection>> {
        self.lock().connections().map(Arc::clone).collect()
    }

    /// The last proxy of a workload is gone from here, by its name in labels: its series are dropped after some scrapes.
    pub fn forget(&self, now: Instant, namespace: &str, workload: &str) {
        self.lock().forget(now, namespace, workload);
    }

    /// Drops series that have had no connection for the set time; done before every scrape, too.
    pub fn expire(&self, now: Instant) {
        self.lock().expire(now, self.bounds.idle);
    }
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
            (tables.snapshot(), tables.sockets(), tables.collapsed(), tables.expired())
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
        let closed = flagged(&Flag::ALL);
        counters(e, "istio_tcp_connections_closed", "The total number of TCP connections closed.", &closed)?;
        let received = plain(|counts| counts.forth);
        let help = "The size of total bytes received during request in case of a TCP connection.";
        counters(e, "istio_tcp_received_bytes", help, &received)?;
        let sent = plain(|counts| counts.back);
        let help = "The size of total bytes sent during response in case of a TCP connection.";
        counters(e, "istio_tcp_sent_bytes", help, &sent)?;
        let failed = flagged(&Flag::ALL[1..]);
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
