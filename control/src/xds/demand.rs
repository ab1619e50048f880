//! Look-ups that wait for the control plane (on-demand mode, interfaces §1.4).
use adit_core::xds::{Answer, DemandError};
use tokio::sync::{mpsc, oneshot};

/// Demands that may wait for the client to take them up.
pub(super) const QUEUE: usize = 1024;

/// A name, and who waits for it.
#[derive(Debug)]
pub(super) struct Demanded {
    pub(super) key: String,
    pub(super) answer: oneshot::Sender<Result<Answer, DemandError>>,
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
        let demanded = Demanded { key: key.to_owned(), answer };
        self.0.send(demanded).await.map_err(|_| DemandFailure::Stopped)?;
        Ok(answered.await.map_err(|_| DemandFailure::Stopped)??)
    }
}
