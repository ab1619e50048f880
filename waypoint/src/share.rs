//! What one client may take of a waypoint, so that others find room: connections, requests under way, octets of bodies kept.
//!
//! A client is an identity, however many connections and tunnels it has. What a client's streams hold inside their tunnels is
//! bounded where tunnels end ([`ShardConfig::max_held_per_identity`](adit_core::proxy::ShardConfig)).
use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use adit_core::identity::Identity;

/// What a piece of a body costs beside its octets: a client may send it octet by octet.
const PER_PIECE: usize = 64;

/// What a client has at this moment.
#[derive(Debug, Default)]
pub(crate) struct Share {
    connections: AtomicUsize,
    requests: AtomicUsize,
    kept: AtomicUsize,
}

/// The shares of all clients that are connected.
#[derive(Debug, Default)]
pub(crate) struct Shares(Mutex<HashMap<Identity, Weak<Share>>>);

impl Shares {
    /// A client's share.
    pub(crate) fn of(&self, client: &Identity) -> Arc<Share> {
        let mut shares = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(share) = shares.get(client).and_then(Weak::upgrade) {
            return share;
        }
        // Whoever has gone is forgotten when somebody comes.
        shares.retain(|_, share| share.strong_count() > 0);
        let share = Arc::<Share>::default();
        shares.insert(client.clone(), Arc::downgrade(&share));
        share
    }

    /// Connections of all clients.
    pub(crate) fn connections(&self) -> usize {
        let shares = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let connections = |share: Arc<Share>| share.connections.load(Ordering::Relaxed);
        shares.values().filter_map(Weak::upgrade).map(connections).sum()
    }
}

/// Which of a share's counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum What {
    Connection,
    Request,
}

impl Share {
    const fn count(&self, what: What) -> &AtomicUsize {
        match what {
            What::Connection => &self.connections,
            What::Request => &self.requests,
        }
    }

    /// One more, unless there are `most`.
    pub(crate) fn take(self: &Arc<Self>, what: What, most: usize) -> Option<Place> {
        let more = |count: usize| (count < most).then_some(count + 1);
        self.count(what).fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).ok()?;
        Some(Place { share: Arc::clone(self), what })
    }

    /// A body of which nothing is kept yet, of a client that may keep `most` octets in all.
    pub(crate) fn keeping(self: &Arc<Self>, most: usize) -> Held {
        Held { share: Arc::clone(self), most, octets: 0 }
    }
}

/// A connection or a request; counted until it is dropped.
#[derive(Debug)]
pub(crate) struct Place {
    share: Arc<Share>,
    what: What,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.share.count(self.what).fetch_sub(1, Ordering::Relaxed);
    }
}

/// What is kept of one body; counted until it is dropped.
#[derive(Debug)]
pub(crate) struct Held {
    share: Arc<Share>,
    most: usize,
    octets: usize,
}

impl Held {
    /// Keeps a piece of `octets` more, if the client's share has room for it.
    pub(crate) fn keep(&mut self, octets: usize) -> bool {
        let cost = octets.saturating_add(PER_PIECE);
        let more = |kept: usize| kept.checked_add(cost).filter(|kept| *kept <= self.most);
        let fits = self.share.kept.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).is_ok();
        if fits {
            self.octets += cost;
        }
        fits
    }

    /// Keeps nothing any more.
    pub(crate) fn release(&mut self) {
        self.share.kept.fetch_sub(std::mem::take(&mut self.octets), Ordering::Relaxed);
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.release();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(name: &str) -> Identity {
        format!("spiffe://cluster.local/ns/demo/sa/{name}").parse().unwrap()
    }

    #[test]
    fn each_client_has_its_own_share_and_gives_it_back() {
        let shares = Shares::default();
        let (a, b) = (shares.of(&client("a")), shares.of(&client("b")));
        let first = a.take(What::Connection, 2).unwrap();
        let second = shares.of(&client("a")).take(What::Connection, 2).unwrap();
        assert!(a.take(What::Connection, 2).is_none());
        let other = b.take(What::Connection, 2).unwrap();
        // Requests are counted apart.
        let request = a.take(What::Request, 1).unwrap();
        assert!(a.take(What::Request, 1).is_none());
        assert_eq!(shares.connections(), 3);
        drop((first, request));
        assert!(a.take(What::Connection, 2).is_some() && a.take(What::Request, 1).is_some());
        drop((second, other));
        assert_eq!(shares.connections(), 0);
    }

    #[test]
    fn what_is_kept_is_bounded_over_all_bodies_of_a_client_and_pieces_cost() {
        let shares = Shares::default();
        let share = shares.of(&client("a"));
        let (mut one, mut two) = (share.keeping(1000), share.keeping(1000));
        assert!(one.keep(500) && !two.keep(500) && two.keep(1000 - 500 - 2 * PER_PIECE));
        assert!(!one.keep(0));
        two.release();
        assert!((0..6).all(|_| one.keep(1)) && !one.keep(1));
        drop((one, two));
        assert_eq!(share.kept.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn clients_that_have_gone_are_forgotten() {
        let shares = Shares::default();
        for number in 0..100 {
            drop(shares.of(&client(&format!("c{number}"))));
        }
        assert_eq!(shares.0.lock().unwrap().len(), 1);
    }
}
