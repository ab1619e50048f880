//! Relaying what is not ours: whom to ask, when to ask the next one, which response counts (RFC 5452).
//!
//! Every attempt has a message id of its own, drawn by the caller from a source that nobody can foretell, and is to be
//! sent from a socket of its own, connected to the one name server, so that the kernel draws the port. A response counts
//! if it came to that attempt, from that server, with that id, to that question. After too many others the attempt is
//! given up: somebody guesses.
//!
//! Messages are relayed octet for octet; only the id is exchanged, on the way there and back.

use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use alloc::vec::Vec;
use core::net::{IpAddr, SocketAddr};
use core::time::Duration;

use super::encode::{Rcode, failure};
use super::message::{Query, RecordType, Transport, answers, set_id};
use crate::time::Instant;

/// Whom to ask, how long to wait, how much to hold.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ForwarderConfig {
    /// Name servers in order of preference.
    pub servers: Vec<SocketAddr>,
    /// How long one attempt is waited for before the next begins (`timeout` of resolv.conf, 5 s).
    pub timeout: Duration,
    /// How often the whole list of servers is gone through (`attempts` of resolv.conf, 2). 0 counts as 1.
    pub rounds: u32,
    /// Begin each query with another server (`rotate` of resolv.conf).
    pub rotate: bool,
    /// Most queries of one source address under way.
    pub per_source: usize,
    /// Most queries under way.
    pub total: usize,
    /// Most octets of queries under way.
    pub octets: usize,
}

impl ForwarderConfig {
    /// Defaults of resolv.conf; 256 queries per source, 512 and 1 MiB in all.
    #[must_use]
    pub const fn new(servers: Vec<SocketAddr>) -> Self {
        Self {
            servers,
            timeout: Duration::from_secs(5),
            rounds: 2,
            rotate: false,
            per_source: 256,
            total: 512,
            octets: 1 << 20,
        }
    }
}

/// Responses to an attempt that are not to its query, after which it is given up.
const MOST_WRONG: u32 = 32;

/// One query of a client, named by the owner; unique while it is under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct QueryId(pub u64);

/// One message to one name server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Attempt {
    /// The query it is for.
    pub query: QueryId,
    /// 0 for the first.
    pub number: u32,
}

/// Why a query was not relayed, or not answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum ForwardError {
    /// There is nobody to ask.
    #[error("no name servers: add a `nameserver` line to resolv.conf")]
    NoServers,
    /// [`ForwarderConfig::per_source`] is reached.
    #[error("too many queries of this client wait for name servers: are they reachable?")]
    SourceBusy,
    /// [`ForwarderConfig::total`] or [`ForwarderConfig::octets`] is reached.
    #[error("too many queries wait for name servers: are they reachable?")]
    Busy,
    /// The last server did not answer in time.
    #[error("no name server answered in time")]
    TimedOut,
    /// The last server could not be reached.
    #[error("no name server could be reached")]
    Unreachable,
    /// The last server's responses were to other queries.
    #[error("responses from the name server are not to our query: is somebody guessing?")]
    Wrong,
}

/// What the owner must do.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum ForwardAction {
    /// Send `message` to `server` from a new socket; report with [`Forwarder::handle_response`] and
    /// [`Forwarder::handle_failure`].
    Send {
        /// The name of this attempt.
        attempt: Attempt,
        /// Where it goes.
        server: SocketAddr,
        /// By what.
        transport: Transport,
        /// The whole message.
        message: Vec<u8>,
    },
    /// Give the client this response.
    Reply {
        /// Whose.
        query: QueryId,
        /// The whole message.
        message: Vec<u8>,
        /// How it went, for metrics and logs.
        outcome: Outcome,
        /// Nothing else follows; false only for transfers of zones.
        last: bool,
    },
    /// Close the sockets of all attempts of this query: it is over.
    Close {
        /// Which one.
        query: QueryId,
    },
}

/// How a relayed query went.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// A name server responded.
    Answered {
        /// Which one.
        server: SocketAddr,
        /// From the message that it answers to its response.
        took: Duration,
    },
    /// None did: the client gets SERVFAIL.
    Failed(ForwardError),
}

/// The machine. Late and unknown ids are ignored throughout.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Forwarder {
    config: ForwarderConfig,
    pending: BTreeMap<QueryId, Pending>,
    deadlines: BTreeSet<(Instant, QueryId)>,
    per_source: BTreeMap<IpAddr, usize>,
    octets: usize,
    /// Where the next query begins, with `rotate`.
    start: usize,
    actions: VecDeque<ForwardAction>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Pending {
    source: IpAddr,
    transport: Transport,
    message: Vec<u8>,
    /// In the list of servers, of the first attempt.
    start: usize,
    asked: Vec<Asked>,
    deadline: Instant,
    /// Responses were relayed already (transfers of zones).
    begun: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Asked {
    server: SocketAddr,
    id: u16,
    at: Instant,
    wrong: u32,
    /// Its socket may still bring a response.
    open: bool,
}

impl Forwarder {
    /// A machine with nothing under way.
    #[must_use]
    pub const fn new(config: ForwarderConfig) -> Self {
        Self {
            config,
            pending: BTreeMap::new(),
            deadlines: BTreeSet::new(),
            per_source: BTreeMap::new(),
            octets: 0,
            start: 0,
            actions: VecDeque::new(),
        }
    }

    /// A client's query that is to be relayed. `entropy` gives message ids; it must not be foreseeable.
    ///
    /// # Errors
    /// Nobody to ask, or too much under way: nothing is kept, and the client is best told with SERVFAIL, so that it
    /// does not wait. What is under way already is never dropped for something new.
    pub fn handle_query(
        &mut self,
        now: Instant,
        query: QueryId,
        source: IpAddr,
        transport: Transport,
        message: &Query<'_>,
        entropy: &mut dyn FnMut() -> u16,
    ) -> Result<(), ForwardError> {
        let source = source.to_canonical();
        if self.config.servers.is_empty() {
            return Err(ForwardError::NoServers);
        }
        if self.per_source.get(&source).is_some_and(|count| *count >= self.config.per_source) {
            return Err(ForwardError::SourceBusy);
        }
        let octets = self.octets.saturating_add(message.octets().len());
        if self.pending.len() >= self.config.total
            || octets > self.config.octets
            || self.pending.contains_key(&query)
        {
            return Err(ForwardError::Busy);
        }
        self.octets = octets;
        let count = self.per_source.entry(source).or_default();
        *count = count.saturating_add(1);
        let start = if self.config.rotate { self.start } else { 0 };
        self.start = self.start.wrapping_add(1);
        let pending = Pending {
            source,
            transport,
            message: message.octets().to_vec(),
            start,
            asked: Vec::new(),
            deadline: now,
            begun: false,
        };
        self.pending.insert(query, pending);
        self.ask_next(now, query, ForwardError::NoServers, entropy);
        Ok(())
    }

    /// `octets` came from `from` to the socket of `attempt`.
    pub fn handle_response(
        &mut self,
        now: Instant,
        attempt: Attempt,
        from: SocketAddr,
        mut octets: Vec<u8>,
        entropy: &mut dyn FnMut() -> u16,
    ) {
        let Some(pending) = self.pending.get_mut(&attempt.query) else { return };
        let Some(asked) = usize::try_from(attempt.number).ok().and_then(|at| pending.asked.get_mut(at))
        else {
            return;
        };
        if !asked.open {
            return;
        }
        let Ok(query) = Query::parse(&pending.message) else { return };
        if !same_address(from, asked.server) || !answers(&octets, asked.id, &query) {
            asked.wrong = asked.wrong.saturating_add(1);
            if asked.wrong >= MOST_WRONG {
                self.give_up(now, attempt, ForwardError::Wrong, entropy);
            }
            return;
        }
        set_id(&mut octets, query.id());
        let outcome = Outcome::Answered { server: asked.server, took: now.saturating_since(asked.at) };
        // A zone comes in many messages (RFC 5936 §2.2); where it ends is for the client to see, who then hangs up.
        let last = pending.transport == Transport::Udp
            || !matches!(query.record_type(), RecordType::AXFR | RecordType::IXFR);
        self.actions.push_back(ForwardAction::Reply { query: attempt.query, message: octets, outcome, last });
        if last {
            self.forget(attempt.query);
            return;
        }
        pending.begun = true;
        let (deadline, later) = (pending.deadline, now + self.config.timeout);
        pending.deadline = later;
        self.deadlines.remove(&(deadline, attempt.query));
        self.deadlines.insert((later, attempt.query));
    }

    /// The socket of `attempt` cannot bring a response any more: refused, unreachable, closed.
    pub fn handle_failure(&mut self, now: Instant, attempt: Attempt, entropy: &mut dyn FnMut() -> u16) {
        self.give_up(now, attempt, ForwardError::Unreachable, entropy);
    }

    /// The client of `query` is gone: nobody waits for the response.
    pub fn handle_gone(&mut self, query: QueryId) {
        self.forget(query);
    }

    /// Time has passed: whoever has waited long enough asks the next server, or gives up.
    pub fn handle_timeout(&mut self, now: Instant, entropy: &mut dyn FnMut() -> u16) {
        while let Some((deadline, query)) = self.deadlines.first().copied() {
            if deadline > now {
                return;
            }
            self.deadlines.pop_first();
            self.ask_next(now, query, ForwardError::TimedOut, entropy);
        }
    }

    /// When [`handle_timeout`](Self::handle_timeout) is due.
    #[must_use]
    pub fn poll_deadline(&self) -> Option<Instant> {
        self.deadlines.first().map(|(deadline, _)| *deadline)
    }

    /// The next thing to do.
    pub fn poll_action(&mut self) -> Option<ForwardAction> {
        self.actions.pop_front()
    }

    /// Queries under way.
    #[must_use]
    pub fn outstanding(&self) -> usize {
        self.pending.len()
    }

    fn give_up(
        &mut self,
        now: Instant,
        attempt: Attempt,
        why: ForwardError,
        entropy: &mut dyn FnMut() -> u16,
    ) {
        let Some(pending) = self.pending.get_mut(&attempt.query) else { return };
        let at = usize::try_from(attempt.number).unwrap_or(usize::MAX);
        let latest = at.checked_add(1) == Some(pending.asked.len());
        let Some(asked) = pending.asked.get_mut(at) else { return };
        // Of an earlier attempt nobody waits for the end, its successor is under way.
        if core::mem::take(&mut asked.open) && latest {
            self.ask_next(now, attempt.query, why, entropy);
        }
    }

    /// Asks the next server; after the last one the query has failed for reason `why`. Earlier attempts stay open: a
    /// slow server may still be the first to respond.
    fn ask_next(
        &mut self,
        now: Instant,
        query: QueryId,
        why: ForwardError,
        entropy: &mut dyn FnMut() -> u16,
    ) {
        let Some(pending) = self.pending.get_mut(&query) else { return };
        self.deadlines.remove(&(pending.deadline, query));
        let servers = &self.config.servers;
        let rounds = usize::try_from(self.config.rounds.max(1)).unwrap_or(usize::MAX);
        let number = pending.asked.len();
        let turn = pending.start.wrapping_add(number).checked_rem(servers.len());
        let server = turn.and_then(|turn| servers.get(turn)).copied();
        let left = number < servers.len().saturating_mul(rounds) && !pending.begun;
        let (Some(server), true) = (server, left) else {
            // A zone that has begun to arrive ends when nothing more comes: the client has had its responses.
            if !pending.begun {
                let message = failure(&pending.message, Rcode::ServerFailure);
                let outcome = Outcome::Failed(why);
                self.actions.push_back(ForwardAction::Reply { query, message, outcome, last: true });
            }
            self.forget(query);
            return;
        };
        let mut message = pending.message.clone();
        let fresh = entropy();
        set_id(&mut message, fresh);
        pending.asked.push(Asked { server, id: fresh, at: now, wrong: 0, open: true });
        pending.deadline = now + self.config.timeout;
        self.deadlines.insert((pending.deadline, query));
        let attempt = Attempt { query, number: u32::try_from(number).unwrap_or(u32::MAX) };
        let transport = pending.transport;
        self.actions.push_back(ForwardAction::Send { attempt, server, transport, message });
    }

    fn forget(&mut self, query: QueryId) {
        let Some(pending) = self.pending.remove(&query) else { return };
        self.deadlines.remove(&(pending.deadline, query));
        self.octets = self.octets.saturating_sub(pending.message.len());
        if let Some(count) = self.per_source.get_mut(&pending.source) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                self.per_source.remove(&pending.source);
            }
        }
        self.actions.push_back(ForwardAction::Close { query });
    }
}

/// Equal address and port, in either notation of IPv4; the zone of a link-local address is the socket's matter.
fn same_address(a: SocketAddr, b: SocketAddr) -> bool {
    a.ip().to_canonical() == b.ip().to_canonical() && a.port() == b.port()
}

#[cfg(test)]
mod tests;
