//! Metrics of tunnels, which upstream has none of: opened, open, broken off, and what was refused before it was a connection.
use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use adit_core::proxy::Observed;
use adit_core::proxy::observed::{Direction, Flag};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, NoLabelSet};
use prometheus_client::metrics::MetricType;

use super::labels::{flag, reporter};

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Reports {
    reporter: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, EncodeLabelSet)]
struct Ended {
    reporter: &'static str,
    reason: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, EncodeLabelSet)]
struct Refused {
    reporter: &'static str,
    response_flags: &'static str,
}

/// All counts. Words come from fixed tables, so that there are only so many.
#[derive(Debug, Default)]
struct Counts {
    /// By [`place`].
    opened: [u64; 2],
    /// By [`place`].
    closed: [u64; 2],
    attacks: BTreeMap<Ended, u64>,
    refused: BTreeMap<Refused, u64>,
}

/// Counts of tunnels. Clones share them.
#[derive(Clone, Debug, Default)]
pub(super) struct Tunnels(Arc<Mutex<Counts>>);

const DIRECTIONS: [Direction; 2] = [Direction::Outbound, Direction::Inbound];

/// Where a direction's numbers are.
const fn place(direction: Direction) -> usize {
    match direction {
        Direction::Outbound => 0,
        Direction::Inbound => 1,
    }
}

impl Tunnels {
    /// Counts one event.
    pub(super) fn observe(&self, observed: &Observed) {
        match observed {
            Observed::TunnelOpened { direction, .. } => self.with(|it| it.opened[place(*direction)] += 1),
            Observed::TunnelClosed { direction, attack, reason, .. } => self.with(|it| {
                it.closed[place(*direction)] += 1;
                if *attack {
                    *it.attacks.entry(Ended { reporter: reporter(*direction), reason }).or_default() += 1;
                }
            }),
            Observed::EarlyDenied { direction, flag, .. } => self.refused(*direction, *flag),
            // Of connections, which have metrics of their own.
            Observed::ConnectionOpened(_)
            | Observed::ConnectionClosed { .. }
            | Observed::DryRun { .. }
            | Observed::Resolved { .. }
            | Observed::Judged { .. }
            | Observed::NoLongerAllowed { .. } => {}
        }
    }

    fn refused(&self, direction: Direction, how: Flag) {
        let labels = Refused { reporter: reporter(direction), response_flags: flag(how).1 };
        self.with(|it| *it.refused.entry(labels).or_default() += 1);
    }

    fn with<R>(&self, change: impl FnOnce(&mut Counts) -> R) -> R {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Collector for Tunnels {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let (opened, closed, attacks, refused) =
            self.with(|it| (it.opened, it.closed, it.attacks.clone(), it.refused.clone()));
        let (name, help) = ("adit_tunnels_opened", "Tunnels that were ready for streams.");
        let mut metric = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
        for direction in DIRECTIONS {
            metric
                .encode_family(&Reports { reporter: reporter(direction) })?
                .encode_counter::<NoLabelSet, u64, u64>(&opened[place(direction)], None)?;
        }
        let (name, help) = ("adit_tunnels_open", "Tunnels that are open now.");
        let mut metric = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
        for direction in DIRECTIONS {
            let open = opened[place(direction)].saturating_sub(closed[place(direction)]);
            let open = i64::try_from(open).unwrap_or(i64::MAX);
            metric.encode_family(&Reports { reporter: reporter(direction) })?.encode_gauge(&open)?;
        }
        let help = "Tunnels ended because their peer exceeded a budget, by its name.";
        let name = "adit_tunnels_over_budget";
        let mut metric = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
        for (labels, count) in &attacks {
            metric.encode_family(labels)?.encode_counter::<NoLabelSet, u64, u64>(count, None)?;
        }
        let help = "Refused before enough was known to count a connection: failed handshakes among them.";
        let name = "adit_early_denials";
        let mut metric = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
        for (labels, count) in &refused {
            metric.encode_family(labels)?.encode_counter::<NoLabelSet, u64, u64>(count, None)?;
        }
        Ok(())
    }
}
