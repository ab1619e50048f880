//! Running totals over [`Observed`]: what the demo shows and what the shutdown summary says.
use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};

use adit_core::proxy::Observed;
use adit_core::proxy::observed::{Direction, Flag};

/// Totals that any number of shards add to.
#[derive(Debug, Default)]
pub struct Counters {
    inbound: PerDirection,
    outbound: PerDirection,
    early_denied: AtomicU64,
    /// Tunnels ended because their peer exceeded a budget, by the budget's name. Rare, so a lock is fine.
    attacks: Mutex<BTreeMap<&'static str, u64>>,
}

#[derive(Debug, Default)]
struct PerDirection {
    opened: AtomicU64,
    closed: AtomicU64,
    failed: AtomicU64,
    denied: AtomicU64,
    bytes_sent: AtomicU64,
    bytes_received: AtomicU64,
    tunnels_opened: AtomicU64,
    tunnels_closed: AtomicU64,
}

/// The totals of one direction at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Totals {
    /// Connections that began.
    pub opened: u64,
    /// Connections that ended, well or not.
    pub closed: u64,
    /// Connections that ended with an error (any flag but none).
    pub failed: u64,
    /// Those of `failed` that a policy refused.
    pub denied: u64,
    /// Octets, as the access log counts them.
    pub bytes_sent: u64,
    /// Octets, as the access log counts them.
    pub bytes_received: u64,
    /// Tunnels established.
    pub tunnels_opened: u64,
    /// Tunnels ended.
    pub tunnels_closed: u64,
}

/// All totals at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Snapshot {
    /// Connections and tunnels that others opened to us.
    pub inbound: Totals,
    /// Connections and tunnels that we opened to others.
    pub outbound: Totals,
    /// Connections refused before enough was known about them.
    pub early_denied: u64,
    /// Tunnels ended because their peer exceeded a budget, by the budget's name.
    pub attacks: BTreeMap<&'static str, u64>,
}

impl PerDirection {
    fn totals(&self) -> Totals {
        Totals {
            opened: self.opened.load(Relaxed),
            closed: self.closed.load(Relaxed),
            failed: self.failed.load(Relaxed),
            denied: self.denied.load(Relaxed),
            bytes_sent: self.bytes_sent.load(Relaxed),
            bytes_received: self.bytes_received.load(Relaxed),
            tunnels_opened: self.tunnels_opened.load(Relaxed),
            tunnels_closed: self.tunnels_closed.load(Relaxed),
        }
    }
}

impl Totals {
    /// Connections open now. Never wraps, though the two totals are read one after the other.
    #[must_use]
    pub const fn open(&self) -> u64 {
        self.opened.saturating_sub(self.closed)
    }

    /// Tunnels open now.
    #[must_use]
    pub const fn tunnels_open(&self) -> u64 {
        self.tunnels_opened.saturating_sub(self.tunnels_closed)
    }
}

impl Counters {
    const fn of(&self, direction: Direction) -> &PerDirection {
        match direction {
            Direction::Inbound => &self.inbound,
            Direction::Outbound => &self.outbound,
        }
    }

    /// Counts one event.
    pub fn record(&self, observed: &Observed) {
        match observed {
            Observed::ConnectionOpened(connection) => {
                self.of(connection.direction).opened.fetch_add(1, Relaxed);
            }
            Observed::ConnectionClosed { connection, bytes_sent, bytes_received, flag, .. } => {
                let of = self.of(connection.direction);
                of.closed.fetch_add(1, Relaxed);
                of.bytes_sent.fetch_add(*bytes_sent, Relaxed);
                of.bytes_received.fetch_add(*bytes_received, Relaxed);
                if *flag != Flag::None {
                    of.failed.fetch_add(1, Relaxed);
                }
                if *flag == Flag::Deny {
                    of.denied.fetch_add(1, Relaxed);
                }
            }
            // Of a connection that is refused or cut, the end is counted; a policy on trial changes nothing.
            Observed::Judged { .. }
            | Observed::DryRun { .. }
            | Observed::NoLongerAllowed { .. }
            | Observed::Resolved { .. } => {}
            Observed::EarlyDenied { .. } => {
                self.early_denied.fetch_add(1, Relaxed);
            }
            Observed::TunnelOpened { direction, .. } => {
                self.of(*direction).tunnels_opened.fetch_add(1, Relaxed);
            }
            Observed::TunnelClosed { direction, reason, attack, .. } => {
                self.of(*direction).tunnels_closed.fetch_add(1, Relaxed);
                if *attack {
                    let mut attacks = self.attacks.lock().unwrap_or_else(PoisonError::into_inner);
                    *attacks.entry(reason).or_default() += 1;
                }
            }
        }
    }

    /// Reads all totals. Each is exact; together they may straddle an event that happens meanwhile.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        Snapshot {
            inbound: self.inbound.totals(),
            outbound: self.outbound.totals(),
            early_denied: self.early_denied.load(Relaxed),
            attacks: self.attacks.lock().unwrap_or_else(PoisonError::into_inner).clone(),
        }
    }
}

impl fmt::Display for Totals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { opened, failed, denied, tunnels_opened, .. } = self;
        let plural = |n: u64| if n == 1 { "" } else { "s" };
        write!(f, "{opened} connection{} ({failed} failed, {denied} denied), ", plural(*opened))?;
        write!(f, "{tunnels_opened} tunnel{}, ", plural(*tunnels_opened))?;
        write!(f, "{} sent, {} received", Octets(self.bytes_sent), Octets(self.bytes_received))
    }
}

impl fmt::Display for Snapshot {
    /// The summary in one line.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "outbound: {}; inbound: {}; refused early: {}",
            self.outbound, self.inbound, self.early_denied
        )?;
        for (budget, count) in &self.attacks {
            write!(f, "; tunnels ended for exceeding {budget}: {count}")?;
        }
        Ok(())
    }
}

/// A number of octets for people: `512 B`, `1.5 KiB`, `3.0 GiB`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Octets(
    /// The number.
    pub u64,
);

impl fmt::Display for Octets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
        if self.0 < 1024 {
            return write!(f, "{} B", self.0);
        }
        // Tenths of the unit are computed in integers, so that nothing is rounded up to "1024.0 KiB".
        let mut power = 0;
        while power + 1 < UNITS.len() && self.0 >> (10 * (power + 2)) > 0 {
            power += 1;
        }
        let shift = 10 * (power + 1);
        let tenths = ((u128::from(self.0) * 10) >> shift) % 10;
        write!(f, "{}.{tenths} {}", self.0 >> shift, UNITS[power])
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use adit_core::proxy::observed::{Carrier, Connection, Party, Traffic};

    use super::*;

    fn closed(direction: Direction, flag: Flag, sent: u64, received: u64) -> Observed {
        Observed::ConnectionClosed {
            connection: connection(direction),
            bytes_sent: sent,
            bytes_received: received,
            duration: Duration::ZERO,
            error: None,
            flag,
        }
    }

    fn connection(direction: Direction) -> Arc<Connection> {
        Arc::new(Connection {
            id: 1,
            direction,
            source: Party::default(),
            destination: Party::default(),
            hbone_authority: None,
            service: None,
            carrier: Carrier::Tcp,
            target: None,
            forwarded_host: None,
            trace: None,
            traffic: Traffic::default(),
        })
    }

    #[test]
    fn each_event_moves_its_own_totals() {
        let counters = Counters::default();
        counters.record(&Observed::ConnectionOpened(connection(Direction::Outbound)));
        counters.record(&Observed::ConnectionOpened(connection(Direction::Inbound)));
        counters.record(&Observed::ConnectionOpened(connection(Direction::Inbound)));
        counters.record(&closed(Direction::Inbound, Flag::None, 10, 20));
        counters.record(&closed(Direction::Inbound, Flag::Deny, 1, 2));
        counters.record(&closed(Direction::Outbound, Flag::Connect, 0, 0));
        let closed = |attack| Observed::TunnelClosed {
            id: 1,
            direction: Direction::Inbound,
            reason: "pings",
            attack,
            streams_served: 0,
        };
        counters.record(&closed(true));
        counters.record(&closed(false));
        let Snapshot { inbound, outbound, early_denied, attacks } = counters.snapshot();
        assert_eq!((inbound.opened, inbound.closed, inbound.failed, inbound.denied), (2, 2, 1, 1));
        assert_eq!((inbound.bytes_sent, inbound.bytes_received), (11, 22));
        assert_eq!((inbound.tunnels_closed, inbound.tunnels_open()), (2, 0));
        assert_eq!((outbound.opened, outbound.open(), outbound.failed, outbound.denied), (1, 0, 1, 0));
        assert_eq!(early_denied, 0);
        assert_eq!(attacks, BTreeMap::from([("pings", 1)]));
    }

    #[test]
    fn octets_read_well() {
        let cases = [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1.0 KiB"),
            (1536, "1.5 KiB"),
            (1024 * 1024 - 1, "1023.9 KiB"),
            (1024 * 1024, "1.0 MiB"),
            (u64::MAX, "15.9 EiB"),
        ];
        for (octets, text) in cases {
            assert_eq!(Octets(octets).to_string(), text);
        }
    }
}
