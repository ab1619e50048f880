//! Graceful stop: open, graceful until a deadline, forced, done.
use core::time::Duration;

use crate::time::Instant;
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DrainEvent {
    /// Stop accepting, say GOAWAY, let old work finish.
    Begin,
    /// The deadline passed with work left: end it now.
    Force,
    /// Nothing is left.
    Done,
}
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Drain {
    _private: (),
}
impl Drain {
    pub fn new() -> Self {
        todo!()
    }
    /// Begins; a second call changes nothing. `live` is what is open now.
    pub fn begin(&mut self, now: Instant, grace: Duration, live: usize) {
        todo!()
    }
    pub fn handle_live(&mut self, now: Instant, live: usize) {
        todo!()
    }
    pub fn handle_timeout(&mut self, now: Instant) {
        todo!()
    }
    pub fn is_open(&self) -> bool {
        todo!()
    }
    pub fn poll_event(&mut self) -> Option<DrainEvent> {
        todo!()
    }
    pub fn poll_timeout(&self) -> Option<Instant> {
        todo!()
    }
}
