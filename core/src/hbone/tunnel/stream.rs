//! What a tunnel knows about one stream beside what HTTP/2 knows; an idle stream holds no buffer.
use super::batch::Batch;
use super::pieces::{Backlog, Chain};
use crate::buffer::Class;

/// One stream of a tunnel, from its request until both ends are done with it and nothing is left to deliver.
#[derive(Debug)]
pub(super) struct Stream {
    /// How much to read from its application.
    pub(super) batch: Batch,
    /// `lend_data` was refused because the queue was full; a `Writable` is owed.
    pub(super) blocked: bool,
    /// Our half has ended, or may not be used.
    pub(super) finished: bool,
    /// HTTP/2 is done with it; only pieces may be left.
    pub(super) closed: bool,
    /// Received octets in the input chunk.
    pub(super) lent: Chain,
    /// Received octets before those, copied.
    pub(super) backlog: Backlog,
}

impl Stream {
    pub(super) fn new() -> Self {
        Self {
            batch: Batch::new(Class::Record),
            blocked: false,
            finished: false,
            closed: false,
            lent: Chain::EMPTY,
            backlog: Backlog::default(),
        }
    }

    /// Whether there is nothing to deliver.
    pub(super) fn is_drained(&self) -> bool {
        self.lent.is_empty() && self.backlog.is_empty()
    }
}
