//! One stream's state (RFC 9113 §5.1), as two halves.
//!
//! ```text
//!   server:           HEADERS received          client:            HEADERS sent
//!                           │                                           │
//!   receive Open, send AwaitHeaders             send Open, receive AwaitHeaders
//!        │ END_STREAM     │ response                 │ END_STREAM     │ final response
//!   receive Ended    send Open                  send Ended       receive Open
//!                         │ END_STREAM                                │ END_STREAM
//!                    send Ended                                  receive Ended
//! ```
//! *idle* is an identifier above the highest used, *closed* one that is no longer in the table; *open* and the two
//! *half-closed* states are combinations of the halves. *reserved* does not occur: push is off.
use serde::{Deserialize, Serialize};

use super::flow::{ReceiveWindow, SendWindow, Shares};

/// How far one direction is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(crate) enum Half {
    /// The other side opened the stream; this direction has yet to answer.
    AwaitHeaders,
    /// DATA may flow.
    Open,
    /// END_STREAM was seen.
    Ended,
}

/// A stream in the table.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(crate) struct Stream {
    pub(crate) send: Half,
    pub(crate) receive: Half,
    /// Whether a 2xx turned it into a tunnel; before that a client sends no DATA (datapath §3.10).
    pub(crate) established: bool,
    pub(crate) send_window: SendWindow,
    pub(crate) receive_window: ReceiveWindow,
    /// What `content-length` leaves to come, where it applies (RFC 9113 §8.1.1).
    pub(crate) content_left: Option<u64>,
    /// Its place in the queue of streams that wait for window.
    pub(crate) ticket: Option<u64>,
}

impl Stream {
    /// Opened by us: HEADERS are queued.
    pub(crate) fn opened(send: SendWindow, receive: ReceiveWindow) -> Self {
        Self {
            send: Half::Open,
            receive: Half::AwaitHeaders,
            established: false,
            send_window: send,
            receive_window: receive,
            content_left: None,
            ticket: None,
        }
    }

    /// Opened by the peer.
    pub(crate) fn requested(send: SendWindow, receive: ReceiveWindow, finished: bool) -> Self {
        Self {
            send: Half::AwaitHeaders,
            receive: if finished { Half::Ended } else { Half::Open },
            ..Self::opened(send, receive)
        }
    }

    /// Whether payload may be sent as far as the stream's state goes.
    pub(crate) fn may_send(&self) -> bool {
        self.send == Half::Open && self.established
    }

    /// Octets that the stream's own window and state allow now.
    pub(crate) fn allowance(&self) -> u32 {
        if self.may_send() { self.send_window.available() } else { 0 }
    }

    /// Octets that it may send now: what its own window allows, and its part of the connection's. `initial` is the
    /// peer's SETTINGS_INITIAL_WINDOW_SIZE.
    pub(crate) fn sendable(&self, shares: Shares, initial: u32) -> u32 {
        self.allowance().min(shares.of(self.send_window.outstanding(initial)))
    }

    /// Whether both halves ended.
    pub(crate) fn is_over(&self) -> bool {
        self.send == Half::Ended && self.receive == Half::Ended
    }

    /// `octets` of content arrive; `false` when that is more than `content-length` announced.
    #[must_use]
    pub(crate) fn count_content(&mut self, octets: u32) -> bool {
        let Some(left) = &mut self.content_left else { return true };
        match left.checked_sub(octets.into()) {
            Some(rest) => {
                *left = rest;
                true
            }
            None => false,
        }
    }

    /// Whether the content may end here as far as `content-length` goes.
    pub(crate) fn content_complete(&self) -> bool {
        matches!(self.content_left, None | Some(0))
    }
}
