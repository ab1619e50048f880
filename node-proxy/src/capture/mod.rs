//! `adit-node capture`: the redirection rules and routes of a captured pod, applied, verified and removed (interfaces §3.6).
//!
//! | module | subject |
//! |---|---|
//! | `model`, `rules` | a rule as data; the rules that a pod has |
//! | `iptables`, `nftables` | both ways to write them, and to read them back |
//! | `routes` | the route for borrowed addresses |
//! | `observed`, `verify` | what is there, and every difference from what should be |
//! | `backend`, `state` | the tools of this machine; what they tell of a namespace |
//! | `apply` | from what is there to what should be, or to nothing |
//! | `tools`, `error` | commands, and what went wrong with them |
//! | [`namespace`] | entering network namespaces |
//!
//! Everything but `tools`, `state` and [`namespace`] is pure, and what those do follows from plans that can be printed.

mod apply;
mod backend;
mod command;
mod error;
mod iptables;
pub mod model;
pub mod namespace;
mod nftables;
mod observed;
mod routes;
pub mod rules;
mod state;
mod tools;
mod verify;

use std::fmt;
use std::path::Path;

pub use self::apply::Plan;
pub use self::backend::{Backend, Choice};
pub(crate) use self::command::run;
pub use self::error::CaptureError;
pub use self::model::{Family, Interface, InterfaceError};
pub use self::rules::{DNS_PROXY, HBONE, INBOUND, OUTBOUND, Options};
pub use self::state::State;
pub use self::verify::Problem;

/// What a namespace shall have, and by whom.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Request {
    /// What differs from pod to pod.
    pub options: Options,
    /// Who writes the rules.
    pub backend: Choice,
    /// Leave IPv6 alone, although the kernel has it.
    pub ipv4_only: bool,
}

/// What [`apply()`] and [`remove()`] did.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Done {
    /// Who wrote the rules; `None` if there was nothing to remove.
    pub backend: Option<Backend>,
    /// Whether anything had to be changed.
    pub changed: bool,
}

/// What [`verify()`] found.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Verdict {
    /// Whose rules there are; `None` if there are none at all.
    pub backend: Option<Backend>,
    /// Every difference; empty if all is as it should be.
    pub problems: Vec<Problem>,
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.problems.iter().try_for_each(|problem| writeln!(f, "{problem}"))
    }
}

/// Makes the rules and routes of the namespace `netns` (this thread's if `None`) what `request` says: nothing is written if
/// they are already. If it fails and there was nothing of ours before, nothing is left.
///
/// # Errors
/// See [`CaptureError`].
pub fn apply(netns: Option<&Path>, request: &Request) -> Result<Done, CaptureError> {
    namespace::within(netns, || {
        let state = State::read(request.backend)?;
        let plan = Plan::to_apply(&state, request)?;
        plan.run(&state, || verdict(request))
    })?
}

/// Compares the rules and routes of the namespace `netns` (this thread's if `None`) with what `request` says.
///
/// # Errors
/// See [`CaptureError`].
pub fn verify(netns: Option<&Path>, request: &Request) -> Result<Verdict, CaptureError> {
    namespace::within(netns, || verdict(request))?
}

fn verdict(request: &Request) -> Result<Verdict, CaptureError> {
    Ok(State::read(request.backend)?.verdict(request))
}

/// Removes all rules and routes of ours from the namespace `netns` (this thread's if `None`), whoever wrote them, and
/// touches nothing else.
///
/// # Errors
/// See [`CaptureError`].
pub fn remove(netns: Option<&Path>) -> Result<Done, CaptureError> {
    namespace::within(netns, || {
        let state = State::read(Choice::Auto)?;
        let plan = Plan::to_remove(&state)?;
        plan.run(&state, || Ok(State::read(Choice::Auto)?.leftovers()))
    })?
}
