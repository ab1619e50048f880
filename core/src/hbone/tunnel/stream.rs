//! What a tunnel knows about one stream beside what HTTP/2 knows; an idle stream holds no buffer.
use serde::{Deserialize, Serialize};

use super::batch::Batch;
use super::pieces::{Backlog, Chain};
use crate::buffer::Class;

/// How far a stream has come; what of it is worth keeping over a hand-over.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(super) struct State {
    /// How much to read from its application.
    pub(super) batch: Batch,
    /// `lend_data` was refused because the queue was full; a `Writable` is owed.
    pub(super) blocked: bool,
    /// Our half has ended, or may not be used.
    pub(super) finished: bool,
    /// Our half is to end as soon as HTTP/2 lets it: the request is not answered yet.
    pub(super) finish_due: bool,
    /// HTTP/2 is done with it; only pieces may be left.
    pub(super) closed: bool,
}

/// One stream of a tunnel, from its request until both ends are done with it and nothing is left to deliver.
#[derive(Debug)]
pub(super) struct Stream {
    pub(super) state: State,
    /// Received octets in the input chunk.
    pub(super) lent: Chain,
    /// Received octets before those, copied.
    pub(super) backlog: Backlog,
}

impl Stream {
    pub(super) fn new() -> Self {
        let batch = Batch::new(Class::Record);
        Self {
            state: State { batch, blocked: false, finished: false, finish_due: false, closed: false },
            lent: Chain::EMPTY,
            backlog: Backlog::default(),
        }
    }

    /// Octets received and not delivered.
    pub(super) fn pending(&self) -> usize {
        self.backlog.octets().saturating_add(self.lent.octets())
    }

    /// Whether there is nothing to deliver.
    pub(super) fn is_drained(&self) -> bool {
        self.lent.is_empty() && self.backlog.is_empty()
    }
}
