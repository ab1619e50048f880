//! Questions that a shard has put to the outside, and the connections that wait for each: host names to be looked up,
//! and what the tables lack. That a proxy's own workload is in the tables is only waited for.
//!
//! A question is put once while it is open; whoever needs the same answer meanwhile waits along, and shares it. It is
//! closed by its answer or at its deadline, whichever comes first, whether or not anybody still waits: so the number of
//! open questions bounds what whoever answers is burdened with.
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::time::Duration;

use super::ProxyId;
use super::state::ConnId;
use crate::dns::NameScope;
use crate::mesh::Mesh;
use crate::proxy::slab::{Slab, slab_key};
use crate::route::Missing;
use crate::time::Instant;

slab_key! {
    /// One question of a shard to the outside. Answers to stale ones are ignored.
    pub Ticket
}

/// What is asked.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Question {
    /// The addresses of a host, as a proxy's network knows them.
    Name(ProxyId, Arc<str>, NameScope),
    /// Something that may be in the mesh.
    Resource(Missing),
    /// Who the workload of a proxy is. Asked of nobody: it comes with the tables, or it does not.
    Local(ProxyId),
}

impl Question {
    /// Whether nobody but `proxy` can have a use for the answer.
    fn is_of(&self, proxy: ProxyId) -> bool {
        match self {
            Self::Name(of, ..) | Self::Local(of) => *of == proxy,
            Self::Resource(_) => false,
        }
    }
}

/// Questions are counted by what raises them, so that peers cannot use up the share of the local workload.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Queue {
    Names,
    Outbound,
    Inbound,
    /// As many as there are proxies.
    Locals,
}

/// As many questions of a queue are open as may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Full;

/// An open question, or one that was just closed.
#[derive(Debug)]
pub(super) struct Open {
    pub(super) question: Question,
    queue: Queue,
    deadline: Instant,
    pub(super) waiting: BTreeSet<ConnId>,
}

/// All open questions.
#[derive(Debug, Default)]
pub(super) struct Waits {
    open: Slab<Ticket, Open>,
    tickets: BTreeMap<Question, Ticket>,
    deadlines: BTreeSet<(Instant, Ticket)>,
    counts: BTreeMap<Queue, usize>,
}

impl Waits {
    /// Has `conn` wait for the answer to `question`. True: it is new, and to be put to the outside; it is waited for
    /// `patience` long. `most` questions of a queue may be open.
    pub(super) fn join(
        &mut self,
        now: Instant,
        (queue, question): (Queue, Question),
        (patience, most): (Duration, usize),
        conn: ConnId,
    ) -> Result<(Ticket, bool), Full> {
        if let Some(&ticket) = self.tickets.get(&question)
            && let Some(open) = self.open.get_mut(ticket)
        {
            open.waiting.insert(conn);
            return Ok((ticket, false));
        }
        let count = self.counts.entry(queue).or_default();
        if *count >= most {
            return Err(Full);
        }
        *count = count.saturating_add(1);
        let deadline = now + patience;
        let open = Open { question: question.clone(), queue, deadline, waiting: BTreeSet::from([conn]) };
        // All slots in use is more than any `most`.
        let ticket = self.open.insert(open).ok_or(Full)?;
        self.tickets.insert(question, ticket);
        self.deadlines.insert((deadline, ticket));
        Ok((ticket, true))
    }

    /// `conn` waits no longer. The question stays open.
    pub(super) fn leave(&mut self, ticket: Ticket, conn: ConnId) {
        if let Some(open) = self.open.get_mut(ticket) {
            open.waiting.remove(&conn);
        }
    }

    /// What `ticket` asks, while it is open.
    pub(super) fn question(&self, ticket: Ticket) -> Option<&Question> {
        self.open.get(ticket).map(|open| &open.question)
    }

    /// Closes a question.
    pub(super) fn close(&mut self, ticket: Ticket) -> Option<Open> {
        let open = self.open.remove(ticket)?;
        self.tickets.remove(&open.question);
        self.deadlines.remove(&(open.deadline, ticket));
        if let Some(count) = self.counts.get_mut(&open.queue) {
            *count = count.saturating_sub(1);
        }
        Some(open)
    }

    /// Closes a question whose deadline has come.
    pub(super) fn expire(&mut self, now: Instant) -> Option<Open> {
        let &(_, ticket) = self.deadlines.first().filter(|(at, _)| *at <= now)?;
        self.close(ticket)
    }

    /// When [`expire`](Self::expire) has something to close.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.deadlines.first().map(|&(at, _)| at)
    }

    /// Open questions to which `mesh` is an answer; `known`: whether the workload of a proxy is in it.
    pub(super) fn answered_by(&self, mesh: &Mesh, known: impl Fn(ProxyId) -> bool) -> Vec<Ticket> {
        let answered = |(question, ticket): (&Question, &Ticket)| match question {
            Question::Resource(missing) => missing.is_in(mesh).then_some(*ticket),
            Question::Local(proxy) => known(*proxy).then_some(*ticket),
            Question::Name(..) => None,
        };
        self.tickets.iter().filter_map(answered).collect()
    }

    /// Closes what only `proxy` has asked; nobody waits for it any more.
    pub(super) fn forget(&mut self, proxy: ProxyId) {
        let of = self.tickets.iter().filter(|(question, _)| question.is_of(proxy));
        let tickets: Vec<_> = of.map(|(_, ticket)| *ticket).collect();
        for ticket in tickets {
            self.close(ticket);
        }
    }

    /// How many questions are open.
    pub(super) fn len(&self) -> usize {
        self.open.len()
    }
}

#[cfg(test)]
mod tests;
