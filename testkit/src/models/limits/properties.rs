//! What must hold in the limits model, and what must be reached.
use stateright::Property;

use super::LimitsModel;
use super::driver::{Seen, Wrong};

type Rule = Property<LimitsModel>;

/// All properties that apply within the bounds of `model`.
pub(super) fn all(model: &LimitsModel) -> Vec<Rule> {
    let mut all = vec![
        Rule::always("in no stretch of time do more pass than the bucket holds and what came", |_, s| {
            !s.wrong.contains(&Wrong::TooMany)
        }),
        Rule::always("nobody is refused before a bucket's worth has passed", |_, s| {
            !s.wrong.contains(&Wrong::RefusedTooEarly)
        }),
        Rule::sometimes("somebody is refused", |_, s| s.seen.contains(&Seen::Refused)),
        Rule::sometimes("tokens come again", |_, s| s.seen.contains(&Seen::PassesAgain)),
    ];
    if model.changes > 0 {
        all.push(Rule::sometimes("a request goes by an earlier configuration than one before it", |_, s| {
            s.seen.contains(&Seen::GoesByAnEarlierVersion)
        }));
    }
    if model.changes > 0 && model.limits.contains(&None) {
        all.push(Rule::sometimes("a request is not limited", |_, s| s.seen.contains(&Seen::NotLimited)));
        all.push(Rule::sometimes("a limit is there again", |_, s| s.seen.contains(&Seen::LimitedAgain)));
    }
    if model.max_keys < usize::from(model.clients) {
        all.push(Rule::sometimes("clients share the common bucket", |_, s| {
            s.seen.contains(&Seen::CommonBucket)
        }));
    }
    all
}
