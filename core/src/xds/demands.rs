//! Who waits for which name, until the server has said something about it (on-demand mode, interfaces §1.4).

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::net::IpAddr;

use ipnet::IpNet;

/// Whoever waits; the driver chooses the number and each is answered once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Waiter(
    /// The driver's number.
    pub u64,
);

/// What became of a demand. The tables are already up to date when it is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Answer {
    /// A resource of this name or alias has arrived.
    Known,
    /// One has arrived, but was rejected: the tables do not have it, or have an older copy.
    Rejected,
    /// The server does not have it.
    Absent,
}

/// Why nothing was demanded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum DemandError {
    /// All workloads and services are subscribed anyway.
    #[error(
        "nothing can be demanded: everything is subscribed (set XDS_ON_DEMAND=true to subscribe on demand)"
    )]
    NotOnDemand,
    /// Too many wait already.
    #[error(
        "{0} look-ups wait for the control plane already: it does not answer, or not as fast as new names are used"
    )]
    Full(usize),
    /// The key has more octets than any name has.
    #[error("the name is longer than {MAX_KEY} octets")]
    KeyTooLong,
}

/// Octets of a key; a host name has at most 253, a namespace 63, a uid somewhat more.
pub(super) const MAX_KEY: usize = 1024;

#[derive(Clone, Debug)]
struct Demand {
    waiters: Vec<Waiter>,
    /// For keys of the form `network/ip`, to be found by ranges.
    address: Option<(Arc<str>, IpAddr)>,
}

/// All that is waited for.
#[derive(Clone, Debug, Default)]
pub(super) struct Demands {
    keys: BTreeMap<Arc<str>, Demand>,
    waiters: BTreeMap<Waiter, Arc<str>>,
    /// Keys the current stream has not asked for yet.
    unsent: BTreeSet<Arc<str>>,
}

impl Demands {
    pub(super) fn len(&self) -> usize {
        self.waiters.len()
    }

    /// A waiter that already waits is moved to the new key.
    pub(super) fn add(&mut self, key: &str, waiter: Waiter) {
        self.cancel(waiter);
        let key: Arc<str> = key.into();
        let demand = self.keys.entry(Arc::clone(&key)).or_insert_with(|| {
            self.unsent.insert(Arc::clone(&key));
            Demand { waiters: Vec::new(), address: address(&key) }
        });
        demand.waiters.push(waiter);
        self.waiters.insert(waiter, key);
    }

    pub(super) fn cancel(&mut self, waiter: Waiter) {
        let Some(key) = self.waiters.remove(&waiter) else { return };
        let Some(demand) = self.keys.get_mut(&key) else { return };
        demand.waiters.retain(|other| *other != waiter);
        if demand.waiters.is_empty() {
            self.keys.remove(&key);
            self.unsent.remove(&key);
        }
    }

    /// Every key that somebody waits for. From here on they count as asked for.
    pub(super) fn all_for_a_new_stream(&mut self) -> impl Iterator<Item = &Arc<str>> {
        self.unsent.clear();
        self.keys.keys()
    }

    /// Keys that the stream has not asked for yet. From here on they count as asked for.
    pub(super) fn take_unsent(&mut self) -> Vec<Arc<str>> {
        core::mem::take(&mut self.unsent).into_iter().collect()
    }

    pub(super) fn has_unsent(&self) -> bool {
        !self.unsent.is_empty()
    }

    /// Everybody who waits for `name`: it is a resource's name, one of its aliases, or a removed name.
    pub(super) fn answer(&mut self, name: &str) -> Vec<Waiter> {
        if self.keys.is_empty() {
            return Vec::new();
        }
        let mut answered = self.take(name);
        // `network/ip/length`: a range of a service answers for the addresses in it.
        if let Some((network, range)) = range(name) {
            let within: Vec<Arc<str>> = self
                .keys
                .iter()
                .filter(|(_, demand)| {
                    let address = demand.address.as_ref();
                    address.is_some_and(|(own, ip)| &**own == network && range.contains(ip))
                })
                .map(|(key, _)| Arc::clone(key))
                .collect();
            answered.extend(within.iter().flat_map(|key| self.take(key)));
        }
        answered
    }

    fn take(&mut self, key: &str) -> Vec<Waiter> {
        let Some(demand) = self.keys.remove(key) else { return Vec::new() };
        self.unsent.remove(key);
        for waiter in &demand.waiters {
            self.waiters.remove(waiter);
        }
        demand.waiters
    }
}

fn address(key: &str) -> Option<(Arc<str>, IpAddr)> {
    let (network, ip) = key.split_once('/')?;
    Some((network.into(), ip.parse().ok()?))
}

fn range(alias: &str) -> Option<(&str, IpNet)> {
    let (network, range) = alias.split_once('/')?;
    // An address without a length is an exact alias, not a range.
    range.contains('/').then(|| range.parse().ok())?.map(|range| (network, range))
}
