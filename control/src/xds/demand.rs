//! Look-ups that wait for the control plane (on-demand mode, interfaces §1.4).
use std::fmt;
use std::time::{Duration, Instant};

use adit_core::xds::{Answer, DemandError};
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{mpsc, oneshot};

/// Demands that may wait for the client to take them up.
pub(super) const QUEUE: usize = 1024;

/// What became of a demand.
type Answered = Result<Answer, DemandError>;

/// A name, and who waits for it.
#[derive(Debug)]
pub(super) struct Demanded {
    pub(super) key: String,
    pub(super) answer: Waiting,
}

/// Whoever waits for an answer.
pub(super) enum Waiting {
    /// A future.
    Future(oneshot::Sender<Answered>),
    /// A function, called if the answer comes in time.
    Call { answer: Call, until: Instant },
}

/// Takes what became of a demand.
type Call = Box<dyn FnOnce(Result<Answer, DemandFailure>) + Send>;

impl fmt::Debug for Waiting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Future(_) => "Future",
            Self::Call { .. } => "Call",
        })
    }
}

impl Waiting {
    pub(super) fn send(self, answered: Answered) {
        match self {
            // Nobody may be waiting any more.
            Self::Future(waiter) => drop(waiter.send(answered)),
            Self::Call { answer, .. } => answer(answered.map_err(DemandFailure::Refused)),
        }
    }

    /// Whether nobody waits any more.
    pub(super) fn is_closed(&self) -> bool {
        match self {
            Self::Future(waiter) => waiter.is_closed(),
            Self::Call { until, .. } => *until <= Instant::now(),
        }
    }
}

/// Why there is no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DemandFailure {
    /// The client refuses it.
    #[error(transparent)]
    Refused(#[from] DemandError),
    /// The client has been stopped.
    #[error("the control-plane client has stopped")]
    Stopped,
    /// As many demands wait as the client takes up at one time.
    #[error("{QUEUE} look-ups wait for the control-plane client already")]
    Busy,
}

/// Asks for names; copies ask the same client.
#[derive(Clone, Debug)]
pub struct Demands(pub(super) mpsc::Sender<Demanded>);

impl Demands {
    /// Waits until the control plane has said something about `key`: `network/ip`, `namespace/hostname` or a uid. The tables
    /// that were published last then hold it, if it exists. There is no time limit; dropping the future ends the wait.
    ///
    /// # Errors
    /// The client refuses it, or has been stopped.
    pub async fn demand(&self, key: &str) -> Result<Answer, DemandFailure> {
        let (answer, answered) = oneshot::channel();
        let demanded = Demanded { key: key.to_owned(), answer: Waiting::Future(answer) };
        self.0.send(demanded).await.map_err(|_| DemandFailure::Stopped)?;
        Ok(answered.await.map_err(|_| DemandFailure::Stopped)??)
    }

    /// The same for those who cannot wait: has `answer` called once, on the client's thread or, when the client takes no more
    /// demands, on this one. After `patience` it is dropped instead, sooner or later. Does not block.
    pub fn request(
        &self,
        key: &str,
        patience: Duration,
        answer: impl FnOnce(Result<Answer, DemandFailure>) + Send + 'static,
    ) {
        let answer = Waiting::Call { answer: Box::new(answer), until: Instant::now() + patience };
        let (demanded, failure) = match self.0.try_send(Demanded { key: key.to_owned(), answer }) {
            Ok(()) => return,
            Err(TrySendError::Full(demanded)) => (demanded, DemandFailure::Busy),
            Err(TrySendError::Closed(demanded)) => (demanded, DemandFailure::Stopped),
        };
        if let Waiting::Call { answer, .. } = demanded.answer {
            answer(Err(failure));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;

    use super::*;

    #[test]
    fn a_request_is_answered_or_dropped() {
        let (sender, mut taken) = mpsc::channel(1);
        let (demands, (heard, hears)) = (Demands(sender), channel());
        let ask = |patience| {
            let heard = heard.clone();
            demands.request("n/10.0.0.1", patience, move |answer| heard.send(answer).unwrap());
        };
        let long = Duration::from_secs(600);
        ask(long);
        ask(long);
        assert_eq!(hears.try_recv(), Ok(Err(DemandFailure::Busy)));
        let first = taken.try_recv().unwrap();
        assert!(first.key == "n/10.0.0.1" && !first.answer.is_closed());
        first.answer.send(Ok(Answer::Absent));
        assert_eq!(hears.try_recv(), Ok(Ok(Answer::Absent)));
        ask(Duration::ZERO);
        let late = taken.try_recv().unwrap();
        assert!(late.answer.is_closed(), "nobody waits longer than that");
        late.answer.send(Err(DemandError::NotOnDemand));
        assert_eq!(hears.try_recv(), Ok(Err(DemandFailure::Refused(DemandError::NotOnDemand))));
        drop(taken);
        ask(long);
        assert_eq!(hears.try_recv(), Ok(Err(DemandFailure::Stopped)));
    }
}
