//! What must hold in the flow model, and what must be reached.
use stateright::Property;

use super::FlowModel;
use super::driver::{Seen, Wrong};

type Rule = Property<FlowModel>;

/// All properties that apply within the bounds of `model`.
pub(super) fn all(model: &FlowModel) -> Vec<Rule> {
    let mut all = vec![
        Rule::always("neither end breaks the connection", |_, s| s.error.is_none()),
        Rule::always("unread octets stay within the windows", |_, s| !s.holds_too_much()),
        Rule::always("nothing stalls", |_, s| !s.is_stalled()),
        Rule::always("no window is lost", |_, s| !s.leaks_window()),
        Rule::always("a finished stream has arrived whole", |_, s| !s.wrong.contains(&Wrong::FinishedShort)),
        Rule::sometimes("everything arrives", |_, s| s.all_arrived()),
        Rule::sometimes("a sender finds no window", |_, s| s.seen.contains(&Seen::Parked)),
        Rule::sometimes("a sender is woken", |_, s| s.seen.contains(&Seen::Woken)),
        Rule::sometimes("a stream is read after it was finished", |_, s| {
            s.seen.contains(&Seen::ReadAfterFinish)
        }),
    ];
    if model.server_resets > 0 {
        all.push(Rule::sometimes("DATA is in flight for a stream that was reset", |_, s| {
            s.seen.contains(&Seen::DataAfterReset)
        }));
        all.push(Rule::sometimes("what was unread of a reset stream is given back", |_, s| {
            s.seen.contains(&Seen::ReadAfterReset)
        }));
    }
    if model.lowers_window {
        all.push(Rule::sometimes("a send window is negative", |_, s| s.seen.contains(&Seen::NegativeWindow)));
    }
    all
}
