//! Ports for a shard's questions: who knows the addresses of host names, and who asks the control plane.
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use adit_core::dns::{NameError, NameScope};
use adit_core::proxy::{ProxyId, Ticket, Unanswered};

use crate::mailbox::Handle;
use crate::reply::Reply;

/// The addresses of a host, of either family and in any order; none at all counts as [`NameError::NoAddress`].
pub type NameAnswer = Result<Vec<IpAddr>, NameError>;

/// What the control plane says to a demand: `Ok` when it has said what is there, or that nothing is.
pub type DemandAnswer = Result<(), Unanswered>;

/// Who looks host names up for a shard.
pub trait NameSource {
    /// The shard needs the addresses of `name` for `proxy`. Answer through `reply`, at once or later from any thread; do not block. The
    /// shard waits as long as [`adit_core::proxy::ShardConfig::resolve_timeout`] says: bound your own work likewise. It
    /// asks once for a name while it waits, and remembers no answer.
    fn request(&mut self, proxy: ProxyId, name: &Arc<str>, scope: NameScope, reply: NameReply);
}

/// A source with an answer at hand.
impl<F: FnMut(&str, NameScope) -> NameAnswer> NameSource for F {
    fn request(&mut self, _: ProxyId, name: &Arc<str>, scope: NameScope, reply: NameReply) {
        reply.send(self(name, scope));
    }
}

/// Knows no name, and says so.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NoNames;

impl NameSource for NoNames {
    fn request(&mut self, _: ProxyId, _: &Arc<str>, _: NameScope, reply: NameReply) {
        reply.send(Err(NameError::NoResolver));
    }
}

/// Who asks the control plane for what the tables lack. Asked only by shards that are
/// [`on_demand`](adit_core::proxy::ShardConfig::on_demand).
pub trait DemandSource {
    /// The shard needs what is behind `key`: `network/ip` or `namespace/hostname`. Answer through `reply`, at once or later
    /// from any thread; do not block. Give the shard the tables with what was found *before* that
    /// ([`Handle::mesh`]). The shard waits as long as [`adit_core::proxy::ShardConfig::demand_timeout`] says: bound your own
    /// work likewise.
    fn request(&mut self, key: &Arc<str>, reply: DemandReply);
}

/// A source with an answer at hand.
impl<F: FnMut(&str) -> DemandAnswer> DemandSource for F {
    fn request(&mut self, key: &Arc<str>, reply: DemandReply) {
        reply.send(self(key));
    }
}

/// Has no control plane, and says so.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NoDemands;

impl DemandSource for NoDemands {
    fn request(&mut self, _: &Arc<str>, reply: DemandReply) {
        reply.send(Err(Unanswered::NoSource));
    }
}

/// Who answers a shard's questions; by default nobody, and says so.
pub struct Questions {
    /// Who looks host names up.
    pub names: Box<dyn NameSource + Send>,
    /// Who asks the control plane.
    pub demands: Box<dyn DemandSource + Send>,
}

impl Default for Questions {
    fn default() -> Self {
        Self { names: Box::new(NoNames), demands: Box::new(NoDemands) }
    }
}

impl fmt::Debug for Questions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Questions").finish_non_exhaustive()
    }
}

/// Answers one question for a name; dropped, it answers with [`NameError::GivenUp`].
pub type NameReply = Reply<Ticket, NameAnswer>;

impl NameReply {
    pub(crate) const fn to_name(handle: Handle, ticket: Ticket) -> Self {
        Self::new(handle, ticket, Handle::resolved, || Err(NameError::GivenUp))
    }
}

/// Answers one demand; dropped, it answers with [`Unanswered::GivenUp`].
pub type DemandReply = Reply<Ticket, DemandAnswer>;

impl DemandReply {
    pub(crate) const fn to_demand(handle: Handle, ticket: Ticket) -> Self {
        Self::new(handle, ticket, Handle::demanded, || Err(Unanswered::GivenUp))
    }
}
