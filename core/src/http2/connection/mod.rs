//! The connection machine: its state, and what its owner drains and asks.
use alloc::collections::{BTreeMap, VecDeque};
use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use self::life::Drain;
use self::message::Block;
use super::budgets::Spending;
use super::closed::{Ending, Endings};
use super::flow::{DEFAULT_WINDOW, ReceiveWindow, SendWindow};
use super::parser::Parser;
use super::ping::Ping;
use super::settings::{self, DEFAULT_TABLE_SIZE, PeerSettings};
use super::stream::Stream;
use super::{
    Budget, Config, ConnectionError, ErrorCode, Event, Initiator, Side, StreamId, StreamMap, frame, hpack,
};
use crate::time::Instant;

mod command;
mod data;
mod input;
mod life;
mod message;

/// A control queue that grew beyond this is given back once it is empty.
const KEPT_CONTROL: usize = 4_096;

/// One HTTP/2 connection, either side; holds no payload.
///
/// After each `handle_*` or command: send what [`poll_control`](Self::poll_control) gives, drain
/// [`poll_event`](Self::poll_event), read [`poll_timeout`](Self::poll_timeout). The whole connection is plain data and
/// may be serialised between any two calls; call [`rebase`](Self::rebase) when it goes on under another clock.
///
/// # Credit
/// Every octet that an [`Event::Data`] reports holds window until the owner passes it to [`consume`](Self::consume),
/// exactly once, whether it was delivered or dropped, and whether or not its stream still exists. Padding, and DATA that
/// is not reported because its stream was reset, are credited here.
///
/// # Failure
/// When a `handle_*` returns an error, GOAWAY is queued and every stream is gone, without an event for each. Events that
/// precede the error (DATA received in the same input, for example) can still be drained. Further input is ignored.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Connection {
    side: Side,
    config: Config,
    /// The latest time we were told.
    now: Instant,
    /// GOAWAY for good was queued by `close` or a failure: input, commands and time no longer matter.
    closed: bool,
    parser: Parser,
    hpack: hpack::Decoder,
    /// A header block whose CONTINUATIONs are awaited.
    block: Option<Block>,
    peer: PeerSettings,
    /// When our SETTINGS must be acknowledged; `None` once they are.
    settings_due: Option<Instant>,
    send_window: SendWindow,
    /// The widest `send_window` has been: what the peer lets us have outstanding.
    send_size: u32,
    receive_window: ReceiveWindow,
    /// Streams that are neither idle nor closed. All were opened by the client: push is off.
    streams: StreamMap<Stream>,
    endings: Endings,
    /// Streams that found no window, in the order in which they asked: what reopens is offered in this order.
    waiting: BTreeMap<u64, StreamId>,
    next_ticket: u64,
    /// The next identifier that our side would use.
    next_local: u32,
    /// The highest stream of the peer that was processed.
    last_peer: StreamId,
    /// The last stream that the peer's GOAWAY lets live.
    peer_goaway: Option<StreamId>,
    drain: Drain,
    ping: Ping,
    spending: Spending,
    /// A budget that an answer of the owner exceeded: the next input fails.
    overdrawn: Option<Budget>,
    /// Frames to be sent.
    control: Vec<u8>,
    /// How many of them the peer provoked.
    replies: u32,
    events: VecDeque<Event>,
}

impl Connection {
    /// Queues preface (client), SETTINGS and the connection WINDOW_UPDATE.
    #[must_use]
    pub fn new(side: Side, config: Config, now: Instant) -> Self {
        let config = config.clamped();
        let mut control = Vec::new();
        let (parser, next_local) = match side {
            Side::Client => {
                control.extend_from_slice(frame::PREFACE);
                (Parser::default(), 1)
            }
            Side::Server => (Parser::with_preface(), 2),
        };
        frame::push_settings(&mut control, &settings::announced(&config, side));
        let more = config.connection_window.saturating_sub(DEFAULT_WINDOW);
        if more > 0 {
            frame::push_window_update(&mut control, StreamId::CONNECTION, more);
        }
        Self {
            side,
            now,
            closed: false,
            parser,
            hpack: hpack::Decoder::new(usize::try_from(DEFAULT_TABLE_SIZE).unwrap_or(usize::MAX)),
            block: None,
            peer: PeerSettings::new(config.assumed_peer_streams),
            settings_due: Some(now + config.settings_timeout),
            send_window: SendWindow::new(DEFAULT_WINDOW),
            send_size: DEFAULT_WINDOW,
            receive_window: ReceiveWindow::new(config.connection_window.max(DEFAULT_WINDOW)),
            streams: StreamMap::default(),
            endings: Endings::default(),
            waiting: BTreeMap::new(),
            next_ticket: 0,
            next_local,
            last_peer: StreamId::CONNECTION,
            peer_goaway: None,
            drain: Drain::No,
            ping: Ping::new(config.ping_interval, now),
            spending: Spending::new(&config.budgets, now),
            overdrawn: None,
            control,
            replies: 0,
            events: VecDeque::new(),
            config,
        }
    }

    // --- poll

    /// Appends queued control frames (preface, SETTINGS, HEADERS, …); whole frames, in order; returns octets appended.
    pub fn poll_control(&mut self, out: &mut Vec<u8>) -> usize {
        let len = self.control.len();
        out.extend_from_slice(&self.control);
        self.replies = 0;
        if self.control.capacity() > KEPT_CONTROL {
            self.control = Vec::new();
        } else {
            self.control.clear();
        }
        len
    }

    /// Whether [`poll_event`](Self::poll_event) has something to tell.
    pub(crate) fn has_events(&self) -> bool {
        !self.events.is_empty()
    }

    /// The oldest event not yet taken.
    #[must_use]
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// When `handle_timeout` is to be called next.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        if self.closed {
            return None;
        }
        [self.settings_due, self.ping.deadline(), self.drain.deadline()].into_iter().flatten().min()
    }

    // --- ask

    /// Whether `poll_control` would give something.
    #[must_use]
    pub fn wants_control(&self) -> bool {
        !self.control.is_empty()
    }

    /// Octets that `poll_control` would append.
    #[must_use]
    pub fn control_octets(&self) -> usize {
        self.control.len()
    }

    /// Streams that are not closed.
    #[must_use]
    pub fn open_streams(&self) -> usize {
        self.streams.len()
    }

    /// How many streams the peer lets us have open; an assumption until its SETTINGS arrive.
    #[must_use]
    pub fn peer_stream_limit(&self) -> u32 {
        self.peer.max_concurrent_streams
    }

    /// Octets reported by [`Event::Data`] and not yet consumed.
    #[must_use]
    pub fn held(&self) -> usize {
        // A DATA frame is charged when it begins; what has not arrived of it is not reported yet.
        let reported = self.receive_window.held().saturating_sub(self.parser.content_to_come());
        usize::try_from(reported).unwrap_or(usize::MAX)
    }

    /// Whether the connection has failed or was closed.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.closed
    }

    // --- common to all parts

    /// Time never goes back.
    fn observe(&mut self, now: Instant) {
        self.now = self.now.max(now);
    }

    fn charge(&mut self, budget: Budget) -> Result<(), ConnectionError> {
        self.spending.charge(&self.config.budgets, budget, self.now)
    }

    /// Whether nobody has opened `stream` yet (RFC 9113 §5.1).
    fn is_idle(&self, stream: StreamId) -> bool {
        let ours = stream.is_client() == (self.side == Side::Client);
        if ours {
            stream.0 >= self.next_local
        } else {
            // Servers open nothing towards us. Above our final GOAWAY the client may go on; that is ignored.
            self.side == Side::Client || (stream > self.last_peer && !self.drain.is_final())
        }
    }

    /// Answers a stream error of the peer (RFC 9113 §5.4.2). Frames for streams already gone are answered too.
    fn stream_error(&mut self, stream: StreamId, code: ErrorCode) -> Result<(), ConnectionError> {
        self.charge(Budget::Resets)?;
        self.replies = self.replies.saturating_add(1);
        frame::push_reset(&mut self.control, stream, code);
        self.end_by_reset(stream, code, Initiator::Library);
        Ok(())
    }

    /// Takes `stream` out of the table after a reset; what follows for it is judged by `by`.
    fn end_by_reset(&mut self, stream: StreamId, code: ErrorCode, by: Initiator) {
        let ending = match by {
            Initiator::Local | Initiator::Library => Ending::ResetByUs,
            Initiator::Remote => Ending::ResetByPeer,
        };
        if self.streams.contains_key(&stream) {
            self.events.push_back(Event::Reset { stream, code, by });
            self.remove(stream, ending);
        } else {
            self.endings.remember(stream, ending);
        }
    }

    /// Takes `stream` out of the table if both its halves ended.
    fn remove_if_over(&mut self, stream: StreamId) {
        if self.streams.get(&stream).is_some_and(Stream::is_over) {
            self.remove(stream, Ending::Finished);
        }
    }

    fn remove(&mut self, stream: StreamId, ending: Ending) {
        let Some(gone) = self.streams.remove(&stream) else { return };
        if let Some(ticket) = gone.ticket {
            self.waiting.remove(&ticket);
        }
        self.endings.closed(stream, ending);
        self.events.push_back(Event::Closed { stream });
        self.report_drained();
    }

    /// Invariants that tests check after every step.
    #[cfg(test)]
    pub(crate) fn check(&self) {
        assert!(self.receive_window.is_conserved());
        assert!(self.streams.values().all(|stream| stream.receive_window.is_conserved()));
        let by_stream: u64 =
            self.streams.values().map(|stream| u64::from(stream.receive_window.held())).sum();
        assert!(by_stream <= self.receive_window.held().into(), "streams hold more than the connection");
        for (ticket, id) in &self.waiting {
            assert_eq!(self.streams.get(id).and_then(|stream| stream.ticket), Some(*ticket));
        }
        let tickets = self.streams.values().filter(|stream| stream.ticket.is_some()).count();
        assert_eq!(tickets, self.waiting.len());
        let (shares, initial) = self.shares();
        let missed =
            self.waiting.values().find(|id| self.streams.get(id).unwrap().sendable(shares, initial) > 0);
        assert_eq!(missed, None, "a stream waits although it could send");
        assert!(!self.streams.values().any(Stream::is_over));
    }
}
