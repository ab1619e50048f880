//! What a node proxy should do with its pods (interfaces §3.2), as sets in the words of that table: every event is over before the
//! next begins.

use std::collections::{BTreeMap, BTreeSet};

/// What a pod is; small numbers stand for names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pod {
    /// Which workload it is.
    pub workload: u8,
    /// Which network namespace it has.
    pub netns: u8,
}

/// How a request is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// An empty ack.
    Ack,
    /// An ack with an error; the connection stays.
    Error,
    /// An ack with an error; the connection is closed.
    Closed,
    /// An ack with an error; the process ends.
    Fatal,
}

/// The state of one node proxy.
#[derive(Clone, Debug)]
pub struct Node {
    /// Pods whose proxies run.
    pub running: BTreeMap<u8, Pod>,
    /// Pods whose proxies could not be started.
    pub pending: BTreeMap<u8, Pod>,
    /// Pods named since the connection was made for which there was no room.
    pub refused: BTreeSet<u8>,
    /// Pods named since the connection was made.
    snapshot: BTreeSet<u8>,
    /// The snapshot is complete.
    received: bool,
    /// The namespace of the proxy itself.
    own: u8,
    /// How many pods are taken.
    max: usize,
}

impl Node {
    /// A proxy in the namespace `own` that takes `max` pods, and is connected.
    #[must_use]
    pub const fn new(own: u8, max: usize) -> Self {
        Self {
            running: BTreeMap::new(),
            pending: BTreeMap::new(),
            refused: BTreeSet::new(),
            snapshot: BTreeSet::new(),
            received: false,
            own,
            max,
        }
    }

    /// A connection has been made again.
    pub fn connected(&mut self) {
        self.snapshot.clear();
        self.pending.clear();
        self.refused.clear();
        self.received = false;
    }

    /// `add`; `can_start` tells whether a pod could be bound now.
    pub fn add(&mut self, uid: u8, pod: Pod, can_start: impl Fn(u8) -> bool) -> Answer {
        let known = self.running.contains_key(&uid) || self.pending.contains_key(&uid);
        if !known && self.running.len() + self.pending.len() >= self.max {
            self.refused.insert(uid);
            return Answer::Error;
        }
        self.refused.remove(&uid);
        self.snapshot.insert(uid);
        if let Some(running) = self.running.get(&uid) {
            if running.workload != pod.workload {
                return Answer::Error;
            }
            if running.netns == pod.netns {
                return Answer::Ack;
            }
            self.running.remove(&uid);
        }
        self.pending.insert(uid, pod);
        if self.start(uid, can_start) { Answer::Ack } else { Answer::Error }
    }

    /// `add` without `workload_info`.
    #[must_use]
    pub const fn add_without_workload(&self) -> Answer {
        Answer::Fatal
    }

    /// `keep`.
    pub fn keep(&mut self, uid: u8) -> Answer {
        if self.received {
            return Answer::Fatal;
        }
        self.snapshot.insert(uid);
        Answer::Ack
    }

    /// `del`.
    pub fn del(&mut self, uid: u8) -> Answer {
        self.snapshot.remove(&uid);
        self.pending.remove(&uid);
        self.refused.remove(&uid);
        if self.received {
            self.running.remove(&uid);
        }
        Answer::Ack
    }

    /// `snapshot_sent`.
    pub fn snapshot_sent(&mut self) -> Answer {
        if self.received {
            return Answer::Fatal;
        }
        self.received = true;
        self.running.retain(|uid, _| self.snapshot.contains(uid));
        Answer::Ack
    }

    /// A packet that cannot be read: the connection will be made again.
    #[must_use]
    pub const fn invalid(&self) -> Answer {
        Answer::Closed
    }

    /// Five seconds have gone by.
    pub fn retry(&mut self, can_start: impl Fn(u8) -> bool) {
        for uid in self.pending.keys().copied().collect::<Vec<_>>() {
            self.start(uid, &can_start);
        }
    }

    /// Whether the node proxy is ready.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.received && self.pending.is_empty() && self.refused.is_empty()
    }

    /// Whether a pod that is pending runs now.
    fn start(&mut self, uid: u8, can_start: impl Fn(u8) -> bool) -> bool {
        let Some(pod) = self.pending.get(&uid).copied() else { return false };
        let taken = self.running.values().any(|other| other.netns == pod.netns);
        let starts = can_start(uid) && !taken && pod.netns != self.own;
        if starts {
            self.pending.remove(&uid);
            self.running.insert(uid, pod);
        }
        starts
    }
}
