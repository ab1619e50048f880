//! Liveness, draining and the end of a connection (RFC 9113 §5.4.1, §6.8; datapath §3.5).
use serde::{Deserialize, Serialize};

use super::Connection;
use crate::http2::ping::Due;
use crate::http2::{ConnectionError, ErrorCode, Event, Side, StreamId, frame};
use crate::time::Instant;

/// The PING behind the first GOAWAY of a server. It may be guessable: who answers early only shortens its own grace.
const DRAIN_PING: [u8; 8] = *b"draining";

/// How far a graceful end is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(super) enum Drain {
    No,
    /// The warning is out: requests in flight are still taken until the peer has answered our PING.
    Announced {
        until: Instant,
    },
    /// The final GOAWAY is out; the streams it names live on.
    Final,
    /// `Drained` was reported.
    Done,
}

impl Drain {
    pub(super) const fn is_final(self) -> bool {
        matches!(self, Self::Final | Self::Done)
    }

    pub(super) const fn deadline(self) -> Option<Instant> {
        match self {
            Self::Announced { until } => Some(until),
            Self::No | Self::Final | Self::Done => None,
        }
    }
}

impl Connection {
    // --- handle

    /// Time has passed: sends PING when it is due. `nonce` is to be unpredictable, and fresh for every call: it becomes the
    /// PING's payload, so that only who has read the PING can answer it.
    ///
    /// # Errors
    /// The peer did not answer PING or did not acknowledge SETTINGS in time. GOAWAY is queued.
    pub fn handle_timeout(&mut self, now: Instant, nonce: [u8; 8]) -> Result<(), ConnectionError> {
        self.observe(now);
        if self.closed {
            return Ok(());
        }
        let expired = |deadline: Option<Instant>| deadline.is_some_and(|deadline| deadline <= self.now);
        let result = if expired(self.settings_due) {
            Err(ConnectionError::SettingsTimeout)
        } else if expired(self.drain.deadline()) {
            Err(ConnectionError::PingTimeout)
        } else {
            match self.ping.poll(self.config.ping_timeout, nonce, self.now) {
                Due::Nothing => Ok(()),
                Due::Send(payload) => {
                    frame::push_ping(&mut self.control, payload, false);
                    Ok(())
                }
                Due::Dead => Err(ConnectionError::PingTimeout),
            }
        };
        self.fail_on_error(result)
    }

    /// The connection goes on under another clock, which shows `now` (it was serialised in another process). What was
    /// being waited for is waited for anew.
    pub fn rebase(&mut self, now: Instant) {
        self.now = now;
        if self.settings_due.is_some() {
            self.settings_due = Some(now + self.config.settings_timeout);
        }
        if let Drain::Announced { .. } = self.drain {
            self.drain = Drain::Announced { until: now + self.config.ping_timeout };
        }
        self.ping.rebase(self.config.ping_interval, self.config.ping_timeout, now);
        self.spending.rebase(now);
    }

    pub(super) fn drain_ping_answered(&mut self, payload: [u8; 8]) -> bool {
        if payload != DRAIN_PING || self.drain.deadline().is_none() {
            return false;
        }
        // Whatever the peer sent before it saw the warning has arrived by now.
        self.finish_drain();
        true
    }

    pub(super) fn fail_on_error(
        &mut self,
        result: Result<(), ConnectionError>,
    ) -> Result<(), ConnectionError> {
        if let Err(error) = &result {
            self.close(error.code());
        }
        result
    }

    // --- command

    /// Ends gracefully. A server warns (GOAWAY that names no stream, and PING), goes on taking requests until the PING is
    /// answered, and then names the last stream it takes (RFC 9113 §6.8). A client refuses further `open`s and sends
    /// GOAWAY. `Drained` follows when no stream is left.
    pub fn drain(&mut self, now: Instant) {
        self.observe(now);
        if self.closed || self.drain != Drain::No {
            return;
        }
        match self.side {
            Side::Server => {
                frame::push_goaway(&mut self.control, StreamId::MAX, ErrorCode::NO_ERROR);
                frame::push_ping(&mut self.control, DRAIN_PING, false);
                self.drain = Drain::Announced { until: self.now + self.config.ping_timeout };
            }
            Side::Client => self.finish_drain(),
        }
    }

    fn finish_drain(&mut self) {
        frame::push_goaway(&mut self.control, self.last_peer, ErrorCode::NO_ERROR);
        self.drain = Drain::Final;
        self.report_drained();
    }

    pub(super) fn report_drained(&mut self) {
        if self.drain == Drain::Final && self.streams.is_empty() {
            self.drain = Drain::Done;
            self.events.push_back(Event::Drained);
        }
    }

    /// Queues GOAWAY(code) at once, forgets all streams (without an event for each) and ignores further input.
    pub fn close(&mut self, code: ErrorCode) {
        if self.closed {
            return;
        }
        self.closed = true;
        frame::push_goaway(&mut self.control, self.last_peer, code);
        self.streams.clear();
        self.waiting.clear();
        self.block = None;
    }
}
