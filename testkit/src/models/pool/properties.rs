//! What must hold in the pool model, and what must be reached.
use stateright::Property;

use super::PoolModel;
use super::driver::{Seen, Wrong};

type Rule = Property<PoolModel>;

/// All properties that apply within the bounds of `model`.
pub(super) fn all(model: &PoolModel) -> Vec<Rule> {
    let mut all = safety();
    all.extend(liveness());
    all.extend(reached(model));
    all
}

fn safety() -> Vec<Rule> {
    vec![
        Rule::always("no grant over a tunnel's limit", |_, s| !s.wrong.contains(&Wrong::OverLimit)),
        Rule::always("no grant across keys", |_, s| !s.wrong.contains(&Wrong::AcrossKeys)),
        Rule::always("no grant on a tunnel that is not up or goes away", |_, s| {
            !s.wrong.contains(&Wrong::NotUp)
        }),
        Rule::always("one answer per request", |_, s| !s.wrong.contains(&Wrong::AnsweredTwice)),
        Rule::always("grants in the order of asking", |_, s| !s.wrong.contains(&Wrong::OutOfOrder)),
        Rule::always("one dial in flight per key", |_, s| !s.dials_twice_for_a_key()),
        Rule::always("no dial once the stop has begun", |_, s| !s.wrong.contains(&Wrong::DialAfterDrain)),
        Rule::always("the pool cuts no lease", |_, s| !s.wrong.contains(&Wrong::LeaseCut)),
        Rule::always("drained once, with no tunnel left", |_, s| {
            !s.wrong.contains(&Wrong::DrainedEarlyOrTwice)
        }),
        Rule::always("a failed dial reaches every waiter", |_, s| !s.wrong.contains(&Wrong::FailureKept)),
        Rule::always("never more tunnels than allowed", |m, s| s.open_tunnels() <= m.max_tunnels),
        Rule::always("full only when no tunnel is idle", |_, s| !s.wrong.contains(&Wrong::FullTooEarly)),
    ]
}

fn liveness() -> Vec<Rule> {
    vec![
        Rule::always("nobody waits while a tunnel has room", |m, s| !s.room_is_unused(m)),
        Rule::always("nobody waits for ever", |m, s| !(s.is_quiet(m) && s.anybody_waits())),
        Rule::always("no tunnel stays for ever", |m, s| !(s.is_quiet(m) && s.open_tunnels() > 0)),
        Rule::always("the stop ends", |m, s| !(s.is_quiet(m) && s.stops()) || s.has_stopped()),
    ]
}

fn reached(model: &PoolModel) -> Vec<Rule> {
    let mut reached = vec![
        Rule::sometimes("a tunnel is shared", |_, s| s.seen.contains(&Seen::Shared)),
        Rule::sometimes("a release serves a waiter", |_, s| s.seen.contains(&Seen::GrantedByRelease)),
        Rule::sometimes("an idle tunnel closes", |_, s| s.seen.contains(&Seen::ClosedIdle)),
    ];
    if model.budget.failures > 0 {
        reached.push(Rule::sometimes("a failure is shared", |_, s| s.seen.contains(&Seen::FailureShared)));
    }
    if model.budget.settings > 0 {
        reached.push(Rule::sometimes("a raised limit serves a waiter", |_, s| {
            s.seen.contains(&Seen::GrantedBySettings)
        }));
        reached.push(Rule::sometimes("a limit is lowered below the leases", |_, s| {
            s.leases_exceed_a_lowered_limit()
        }));
    }
    if model.budget.goaways > 0 || model.rotation {
        reached.push(Rule::sometimes("a tunnel that goes away closes", |_, s| {
            s.seen.contains(&Seen::ClosedGoAway)
        }));
    }
    if model.limits.contains(&0) {
        reached.push(Rule::sometimes("a peer allows no streams", |_, s| {
            s.seen.contains(&Seen::RefusedNoStreams)
        }));
    }
    if model.max_tunnels < model.requests {
        reached.push(Rule::sometimes("the pool is full", |_, s| s.seen.contains(&Seen::RefusedFull)));
        if model.keys > 1 {
            reached.push(Rule::sometimes("an idle tunnel makes room", |_, s| {
                s.seen.contains(&Seen::ClosedEvicted)
            }));
        }
    }
    if model.drain {
        reached.push(Rule::sometimes("a waiter is refused by the stop", |_, s| {
            s.seen.contains(&Seen::RefusedDraining)
        }));
        reached.push(Rule::sometimes("a lease is cut at the end of the grace", |_, s| {
            s.seen.contains(&Seen::CutByForce)
        }));
        reached.push(Rule::sometimes("a dial outlives the pool's interest", |_, s| {
            s.seen.contains(&Seen::LateDialIgnored)
        }));
        reached.push(Rule::sometimes("the stop completes", |_, s| s.has_stopped()));
    }
    if model.rotation {
        reached.push(Rule::sometimes("the new key is used beside an old lease", |_, s| {
            s.seen.contains(&Seen::NewKeyBesideOldLease)
        }));
    }
    reached
}
