//! Connections that wait for an answer from the outside before they can be decided about: for the addresses of a host
//! name (datapath §1.7, §2.5), or for what on-demand discovery says about a name that the tables lack (datapath §2.3).
use alloc::boxed::Box;
use alloc::string::ToString;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::net::{IpAddr, SocketAddr};
use core::time::Duration;

use super::inbound::Arrival;
use super::outbound::Planned;
use super::state::{ConnId, Failure, Phase};
use super::waits::{Open, Question, Queue, Ticket};
use super::{Action, Shard};
use crate::dns::{NameError, NameScope};
use crate::proxy::observed::{Direction, Observed};
use crate::route::{Missing, Resolve};
use crate::time::Instant;

/// Why on-demand discovery has no answer.
#[derive(Clone, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum Unanswered {
    /// This process has no control plane to ask.
    #[error(
        "on-demand discovery is on, but there is no control plane to ask: set XDS_ADDRESS, or XDS_ON_DEMAND=false"
    )]
    NoSource,
    /// The control-plane client refused the question; its own words.
    #[error("the control-plane client refuses the question: {0}")]
    Refused(Arc<str>),
    /// The control plane has said what is there, and it could not be used.
    #[error("what the control plane says is there cannot be used: see the log for why it was rejected")]
    Rejected,
    /// Nobody answered in time.
    #[error("the control plane did not say within {} s what is there: is it reachable?", .0.as_secs_f32())]
    TimedOut(Duration),
    /// As many questions as may be are open.
    #[error("too many questions wait for the control plane: is it reachable?")]
    Full,
    /// Whoever was to answer has ended, or gave the question up.
    #[error("the control-plane client gave the question up")]
    GivenUp,
}

/// How many keys one connection asks for at most: a target, its waypoint, a gateway, a source, and some to spare for
/// tables that change meanwhile.
const MOST_KEYS: usize = 8;

/// A connection that waits; boxed, because hardly any does.
#[derive(Debug)]
pub(super) struct Wait {
    ticket: Ticket,
    then: Then,
}

/// What to go on with.
#[derive(Debug)]
enum Then {
    /// Where to go is decided but for the address.
    Hop(Box<Planned>, Resolve),
    /// A SOCKS5 client named where it wants to go.
    Socks { peer: SocketAddr, name: Arc<str>, port: u16 },
    /// To be decided again.
    Decide(Undecided, Tried),
}

/// A connection about which the tables did not say enough.
#[derive(Debug)]
pub(super) enum Undecided {
    Outbound { peer: SocketAddr, target: SocketAddr },
    InboundPlain { peer: SocketAddr, target: SocketAddr },
    Stream(Box<Arrival>),
}

/// What one connection has asked for, and what came of it. None is asked for twice, so that deciding ends.
#[derive(Debug, Default)]
pub(super) struct Tried {
    keys: Vec<(Missing, Result<(), Unanswered>)>,
    /// It has waited until its own workload was known, or for too long.
    local: bool,
}

impl Tried {
    /// Whether it has waited for its own workload already.
    pub(super) const fn has_waited(&self) -> bool {
        self.local
    }
}

/// How a decision goes on that lacked something.
pub(super) enum Next {
    /// The connection waits; it will be decided again.
    Wait,
    /// It is not there; or nobody has said so, for this reason.
    Decide(Option<Unanswered>),
}

/// An answer, for everybody who waits for it.
enum Answer {
    Addresses(Result<Vec<IpAddr>, NameError>),
    Resource(Result<(), Unanswered>),
    /// The tables know the workload, or it took too long.
    Local,
}

impl Wait {
    /// The client, what it wanted, and which way, as far as is known.
    fn parties(&self) -> (SocketAddr, Option<SocketAddr>, Direction) {
        match &self.then {
            Then::Hop(planned, _) => (planned.peer, Some(planned.target), Direction::Outbound),
            Then::Socks { peer, .. } => (*peer, None, Direction::Outbound),
            Then::Decide(Undecided::Outbound { peer, target }, _) => {
                (*peer, Some(*target), Direction::Outbound)
            }
            Then::Decide(Undecided::InboundPlain { peer, target }, _) => {
                (*peer, Some(*target), Direction::Inbound)
            }
            Then::Decide(Undecided::Stream(arrival), _) => {
                (arrival.peer, Some(arrival.connected), Direction::Inbound)
            }
        }
    }
}

impl Shard {
    /// What [`Action::Resolve`] asked: the host's addresses, of either family and in any order, or why there are none.
    pub fn handle_resolved(&mut self, now: Instant, ticket: Ticket, answer: Result<Vec<IpAddr>, NameError>) {
        if matches!(self.waits.question(ticket), Some(Question::Name(..)))
            && let Some(open) = self.waits.close(ticket)
        {
            self.go_on(now, open, &Answer::Addresses(answer));
            self.work(now);
        }
    }

    /// What [`Action::Demand`] asked: `Ok` when the control plane has said what is there, or that nothing is. Tables that
    /// came with its answer are to be given before, with [`Shard::handle_mesh`].
    pub fn handle_demanded(&mut self, now: Instant, ticket: Ticket, answer: Result<(), Unanswered>) {
        if matches!(self.waits.question(ticket), Some(Question::Resource(_)))
            && let Some(open) = self.waits.close(ticket)
        {
            self.go_on(now, open, &Answer::Resource(answer));
            self.work(now);
        }
    }

    /// Closes questions whose deadline has come.
    pub(super) fn waits_timeout(&mut self, now: Instant) {
        while let Some(open) = self.waits.expire(now) {
            let answer = match open.question {
                Question::Name(..) => Answer::Addresses(Err(NameError::TimedOut)),
                Question::Resource(_) => {
                    Answer::Resource(Err(Unanswered::TimedOut(self.config.demand_timeout)))
                }
                Question::Local(_) => Answer::Local,
            };
            self.go_on(now, open, &answer);
        }
    }

    /// Tables have come, by whatever way: whoever waits for something in them need not wait for the answer.
    pub(super) fn waits_mesh_changed(&mut self, now: Instant) {
        let proxies = &self.proxies;
        let known = |proxy| proxies.get(proxy).is_some_and(|proxy| proxy.workload.is_some());
        for ticket in self.waits.answered_by(&self.mesh, known) {
            if let Some(open) = self.waits.close(ticket) {
                let answer = match open.question {
                    Question::Local(_) => Answer::Local,
                    Question::Name(..) | Question::Resource(_) => Answer::Resource(Ok(())),
                };
                self.go_on(now, open, &answer);
            }
        }
    }

    fn go_on(&mut self, now: Instant, open: Open, answer: &Answer) {
        for id in open.waiting {
            let Some(conn) = self.conns.get_mut(id) else { continue };
            if !matches!(conn.phase, Phase::Waiting(_)) {
                continue;
            }
            let Phase::Waiting(wait) = core::mem::replace(&mut conn.phase, Phase::Dialing) else { continue };
            match (wait.then, answer) {
                (Then::Hop(planned, resolve), Answer::Addresses(answer)) => {
                    self.hop_resolved(now, id, *planned, &resolve, answer);
                }
                (Then::Socks { peer, name, port }, Answer::Addresses(answer)) => {
                    self.socks_resolved(now, id, peer, (&name, port), answer);
                }
                (Then::Decide(undecided, mut tried), Answer::Resource(answer)) => {
                    if let Some((_, last)) = tried.keys.last_mut() {
                        last.clone_from(answer);
                    }
                    self.decide(now, id, undecided, tried);
                }
                (Then::Decide(undecided, tried), Answer::Local) => self.decide(now, id, undecided, tried),
                // Nobody waits for the other kind: the question and what follows are chosen together.
                (_, _) => self.release_conn(now, id, false),
            }
        }
    }

    fn decide(&mut self, now: Instant, id: ConnId, undecided: Undecided, tried: Tried) {
        match undecided {
            Undecided::Outbound { peer, target } => self.start_outbound(now, id, peer, target, tried),
            Undecided::InboundPlain { peer, target } => {
                self.start_inbound_plain(now, id, peer, target, tried)
            }
            Undecided::Stream(arrival) => self.admit(now, &arrival, Some(id), tried),
        }
    }

    /// Has `id` wait until the tables know the workload of its proxy; denies it when it has waited for that already.
    /// Streams are for [`admit`](Self::admit) to deny.
    pub(super) fn wait_for_local(
        &mut self,
        now: Instant,
        id: ConnId,
        undecided: Undecided,
        mut tried: Tried,
    ) {
        let Some(proxy) = self.conns.get(id).map(|conn| conn.proxy) else { return };
        if !core::mem::replace(&mut tried.local, true)
            && let Some(ticket) = self.ask(now, id, Queue::Locals, Question::Local(proxy))
        {
            return self.wait(id, ticket, Then::Decide(undecided, tried));
        }
        let error = self.no_local(proxy);
        match undecided {
            Undecided::Outbound { peer, target } => {
                self.deny_early(now, id, Direction::Outbound, peer, target, &error.text);
            }
            Undecided::InboundPlain { peer, target } => {
                self.deny_early(now, id, Direction::Inbound, peer, target, &error.text);
            }
            Undecided::Stream(_) => self.fail_conn(now, id, &error),
        }
    }

    /// Has `id` wait for the addresses of the workload that it goes to.
    pub(super) fn wait_for_hop(&mut self, now: Instant, id: ConnId, planned: Planned, resolve: Resolve) {
        let Some(proxy) = self.conns.get(id).map(|conn| conn.proxy) else { return };
        let question = Question::Name(proxy, Arc::clone(&resolve.hostname), NameScope::Outside);
        match self.ask(now, id, Queue::Names, question) {
            Some(ticket) => self.wait(id, ticket, Then::Hop(Box::new(planned), resolve)),
            None => self.hop_resolved(now, id, planned, &resolve, &Err(NameError::Busy)),
        }
    }

    /// Has `id` wait for the addresses of the host that its SOCKS5 client named.
    pub(super) fn wait_for_socks(
        &mut self,
        now: Instant,
        id: ConnId,
        peer: SocketAddr,
        (name, port): (Arc<str>, u16),
    ) {
        let Some(proxy) = self.conns.get(id).map(|conn| conn.proxy) else { return };
        let question = Question::Name(proxy, Arc::clone(&name), NameScope::Workload);
        match self.ask(now, id, Queue::Names, question) {
            Some(ticket) => self.wait(id, ticket, Then::Socks { peer, name, port }),
            None => self.socks_resolved(now, id, peer, (&name, port), &Err(NameError::Busy)),
        }
    }

    /// Has `id` wait for what on-demand discovery says about `missing`, unless it has asked for that before.
    pub(super) fn wait_for(
        &mut self,
        now: Instant,
        id: ConnId,
        missing: Missing,
        (undecided, mut tried): (Undecided, Tried),
    ) -> Next {
        if let Some((_, answer)) = tried.keys.iter().find(|(key, _)| *key == missing) {
            return Next::Decide(answer.clone().err());
        }
        if tried.keys.len() >= MOST_KEYS {
            return Next::Decide(None);
        }
        let queue = match &undecided {
            Undecided::Outbound { .. } => Queue::Outbound,
            Undecided::InboundPlain { .. } | Undecided::Stream(_) => Queue::Inbound,
        };
        match self.ask(now, id, queue, Question::Resource(missing.clone())) {
            Some(ticket) => {
                tried.keys.push((missing, Ok(())));
                self.wait(id, ticket, Then::Decide(undecided, tried));
                Next::Wait
            }
            None => Next::Decide(Some(Unanswered::Full)),
        }
    }

    /// Puts a question to the outside, unless it is open already. `None`: too many are.
    fn ask(&mut self, now: Instant, id: ConnId, queue: Queue, question: Question) -> Option<Ticket> {
        let patience = match question {
            Question::Name(..) => self.config.resolve_timeout,
            Question::Resource(_) => self.config.demand_timeout,
            Question::Local(_) => self.config.local_timeout,
        };
        // As many wait for their own workload as there are proxies: that needs no limit of its own.
        let most = if queue == Queue::Locals { usize::MAX } else { self.config.max_questions };
        let limits = (patience, most);
        let (ticket, new) = self.waits.join(now, (queue, question.clone()), limits, id).ok()?;
        if new {
            match question {
                Question::Name(proxy, name, scope) => {
                    self.actions.push_back(Action::Resolve { proxy, ticket, name, scope });
                }
                Question::Resource(missing) => {
                    self.actions.push_back(Action::Demand { ticket, key: missing.to_string().into() });
                }
                Question::Local(_) => {}
            }
        }
        Some(ticket)
    }

    fn wait(&mut self, id: ConnId, ticket: Ticket, then: Then) {
        if let Some(conn) = self.conns.get_mut(id) {
            conn.phase = Phase::Waiting(Box::new(Wait { ticket, then }));
        }
        // The question has the deadline.
        self.set_deadline(id, None);
    }

    /// A connection ends while it waits: nothing was told of it yet.
    pub(super) fn waits_no_longer(&mut self, id: ConnId, wait: &Wait, failure: Option<&Failure>) {
        self.waits.leave(wait.ticket, id);
        if let Some(failure) = failure {
            let (source, destination, direction) = wait.parties();
            let error = failure.text.to_string();
            self.observed.push_back(Observed::EarlyDenied {
                source: Some(source),
                destination,
                direction,
                error,
                flag: failure.flag,
            });
        }
    }
}
