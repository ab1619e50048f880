//! Shards' questions to the control plane, when discovery is on demand.

use std::sync::Arc;
use std::time::Duration;

use adit_control::xds::{DemandFailure, Demands};
use adit_core::proxy::Unanswered;
use adit_core::xds::Answer;
use adit_runtime::{DemandReply, DemandSource};

/// A shard's way to the control-plane client. The client must give shards new tables before it answers, as it does when its
/// sink calls [`Handle::mesh`](adit_runtime::Handle::mesh) or [`Shards::mesh`](adit_runtime::Shards::mesh) itself.
#[derive(Clone, Debug)]
pub struct OnDemand {
    demands: Demands,
    patience: Duration,
}

impl OnDemand {
    /// Asks through `demands`. `patience` is what shards have
    /// ([`demand_timeout`](adit_core::proxy::ShardConfig::demand_timeout)): nobody wants an answer that comes later.
    #[must_use]
    pub const fn new(demands: Demands, patience: Duration) -> Self {
        Self { demands, patience }
    }
}

impl DemandSource for OnDemand {
    fn request(&mut self, key: &Arc<str>, reply: DemandReply) {
        self.demands.request(key, self.patience, move |answer| reply.send(told(answer)));
    }
}

/// Something that is there and could not be read is not nothing: what would go there must not take the way of strangers.
fn told(answer: Result<Answer, DemandFailure>) -> Result<(), Unanswered> {
    match answer {
        Ok(Answer::Known | Answer::Absent) => Ok(()),
        Ok(Answer::Rejected) => Err(Unanswered::Rejected),
        Err(DemandFailure::Stopped) => Err(Unanswered::GivenUp),
        Err(failure) => Err(Unanswered::Refused(failure.to_string().into())),
    }
}

#[cfg(test)]
mod tests {
    use adit_core::xds::DemandError;

    use super::*;

    #[test]
    fn only_what_the_control_plane_has_said_is_an_answer() {
        assert_eq!([Answer::Known, Answer::Absent].map(|answer| told(Ok(answer))), [Ok(()), Ok(())]);
        assert_eq!(told(Ok(Answer::Rejected)), Err(Unanswered::Rejected));
        assert_eq!(told(Err(DemandFailure::Stopped)), Err(Unanswered::GivenUp));
        let refused = told(Err(DemandFailure::Refused(DemandError::NotOnDemand))).unwrap_err().to_string();
        assert!(refused.contains("XDS_ON_DEMAND"), "{refused}");
    }
}
