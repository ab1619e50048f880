//! What must hold in the relay model, and what must be reached.
use adit_core::proxy::relay::Outcome;
use stateright::Property;

use super::driver::{Seen, Wrong};
use super::{Fault, RelayModel};

type Rule = Property<RelayModel>;

pub(super) fn all() -> Vec<Rule> {
    vec![
        Rule::always("an end is finished only when all was delivered to it", |_, s| {
            !s.wrong.contains(&Wrong::FinishedTooEarly)
        }),
        Rule::always("an end that has all is told so", |_, s| !s.an_end_is_left_waiting()),
        Rule::always("each end is told once", |_, s| !s.wrong.contains(&Wrong::ToldTwice)),
        Rule::always("nothing follows the end", |_, s| !s.wrong.contains(&Wrong::AfterDone)),
        Rule::always("complete means that no octet was lost", |_, s| !s.wrong.contains(&Wrong::OctetLost)),
        Rule::always("a reset reaches the other end", |_, s| !s.wrong.contains(&Wrong::ResetSwallowed)),
        Rule::always("half-closed implies a deadline", |_, s| !s.half_closed_without_deadline()),
        Rule::always("what can end has ended", |m, s| !s.hangs(m.fault != Some(Fault::IgnoresTimers))),
        Rule::sometimes("complete with octets both ways", |_, s| {
            s.seen.contains(&Seen::CompleteWithOctetsBothWays)
        }),
        Rule::sometimes("an end that is gone is still read to its end", |_, s| {
            s.seen.contains(&Seen::DeliveredAfterGone)
        }),
        Rule::sometimes("a reset drops octets", |_, s| s.seen.contains(&Seen::ResetWithOctetsOnTheWay)),
        Rule::sometimes("a half-closed relay is given up", |_, s| s.done == Some(Outcome::Idle)),
        Rule::sometimes("a call comes too late", |_, s| s.seen.contains(&Seen::CallAfterDone)),
    ]
}
