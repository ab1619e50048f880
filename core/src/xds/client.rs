//! The machine itself: one stream at a time, all types on it.

use alloc::collections::{BTreeMap, VecDeque};
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt::Write as _;
use core::time::Duration;

use super::backoff::Backoff;
use super::demands::{Demands, MAX_KEY};
use super::{
    Answer, DemandError, Ending, Reason, Received, Request, ResourceType, Response, Version, Waiter,
};
use crate::time::Instant;

/// How much of a type is subscribed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Subscription {
    /// All of it.
    Wildcard,
    /// What is demanded by name, and what the server adds (`XDS_ON_DEMAND`).
    OnDemand,
}

/// What a [`Client`] is told at its start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// How workloads and services are subscribed; policies are always subscribed whole.
    pub addresses: Subscription,
    /// How many may wait for demanded names at the same time.
    pub max_waiters: usize,
    /// Decides the jitter of delays.
    pub seed: u64,
}

impl Default for Config {
    fn default() -> Self {
        Self { addresses: Subscription::Wildcard, max_waiters: 10_000, seed: 0 }
    }
}

/// One attempt at a stream; whatever is said about an earlier one is ignored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StreamId(u64);

/// What the owner should know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// Every type that is subscribed whole has been accepted once: the proxy may become ready. Told once.
    Synced,
    /// A demand is over.
    Answered {
        /// Whose.
        waiter: Waiter,
        /// How.
        answer: Answer,
    },
    /// A stream has ended, or could not be opened.
    Ended {
        /// For the metric.
        reason: Reason,
        /// When the next is tried.
        retry_in: Duration,
    },
}

/// How old the tables may be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Staleness {
    /// For how long there has been no stream; none while there is one.
    pub without_stream: Option<Duration>,
    /// Since when nothing has been accepted from the server; none before the first time. Quiet meshes are quiet: this is no
    /// fault while there is a stream.
    pub since_push: Option<Duration>,
}

/// Where the one stream is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stream {
    /// None until then.
    Waiting(Instant),
    /// The driver shall open one.
    Wanted,
    /// The driver opens it.
    Opening,
    /// Requests can be sent.
    Open {
        since: Instant,
        /// It has brought a response.
        fruitful: bool,
    },
}

/// What is kept of one type over all streams.
#[derive(Clone, Debug)]
struct Subscribed {
    kind: ResourceType,
    mode: Subscription,
    /// Name → last accepted version; empty for none, and for what was last rejected.
    retained: BTreeMap<Arc<str>, Version>,
    /// A response of it has been accepted in full.
    accepted: bool,
}

/// Requests that may wait to be sent before no more responses are taken (interfaces §1.4).
const MAX_REQUESTS: usize = 100;
/// Octets of the text that says why resources are rejected, after which the rest is only counted.
const MAX_ERROR: usize = 8192;

/// A delta ADS client; see the [module](super).
#[derive(Clone, Debug)]
pub struct Client {
    max_waiters: usize,
    types: Vec<Subscribed>,
    stream: Stream,
    id: StreamId,
    backoff: Backoff,
    demands: Demands,
    requests: VecDeque<Request>,
    events: VecDeque<Event>,
    synced: bool,
    without_stream_since: Option<Instant>,
    last_push: Option<Instant>,
    /// What has been said so far of a response whose end has not come.
    part: Part,
}

/// See [`Client::handle_resource`].
#[derive(Clone, Debug, Default)]
struct Part {
    errors: Errors,
    /// Something of it was accepted.
    good: bool,
    /// Who waits for it. They are told when it is published, and so outlive a stream that breaks off before.
    answers: Vec<(Waiter, Answer)>,
}

impl Client {
    /// A client that wants its first stream at once.
    #[must_use]
    pub fn new(config: &Config, now: Instant) -> Self {
        let types = ResourceType::ALL.into_iter().map(|kind| Subscribed {
            kind,
            mode: match kind {
                ResourceType::Address => config.addresses,
                ResourceType::Authorization => Subscription::Wildcard,
            },
            retained: BTreeMap::new(),
            accepted: false,
        });
        Self {
            max_waiters: config.max_waiters,
            types: types.collect(),
            stream: Stream::Wanted,
            id: StreamId(0),
            backoff: Backoff::new(config.seed),
            demands: Demands::default(),
            requests: VecDeque::new(),
            events: VecDeque::new(),
            synced: false,
            without_stream_since: Some(now),
            last_push: None,
            part: Part::default(),
        }
    }

    /// Requests can be sent on `stream` now. (Servers may send response headers only after the first request.)
    pub fn handle_connected(&mut self, now: Instant, stream: StreamId) {
        if stream != self.id || self.stream != Stream::Opening {
            return;
        }
        self.stream = Stream::Open { since: now, fruitful: false };
        self.without_stream_since = None;
        for subscribed in &self.types {
            let mut initial_versions = subscribed.retained.clone();
            let mut nothing = Vec::new();
            if subscribed.mode == Subscription::OnDemand {
                // Subscribed and unsubscribed at once is the only way to say "nothing"; an empty list means all.
                nothing.push("*".into());
                // Without a version even if one is retained: the server must say something, or nobody would be answered.
                for key in self.demands.all_for_a_new_stream() {
                    initial_versions.insert(Arc::clone(key), Version::default());
                }
            }
            self.requests.push_back(Request {
                type_url: subscribed.kind.url().into(),
                first: true,
                subscribe: nothing.clone(),
                unsubscribe: nothing,
                initial_versions,
                ..Request::default()
            });
        }
    }

    /// `stream` is over, or will never be. Tables stay as they are.
    pub fn handle_closed(&mut self, now: Instant, stream: StreamId, ending: Ending<'_>) {
        if stream != self.id {
            return;
        }
        let (fruitful, lived) = match self.stream {
            Stream::Opening => (false, Duration::ZERO),
            Stream::Open { since, fruitful } => (fruitful, now.saturating_since(since)),
            Stream::Waiting(_) | Stream::Wanted => return,
        };
        self.requests.clear();
        (self.part.errors, self.part.good) = (Errors::default(), false);
        self.without_stream_since.get_or_insert(now);
        let retry_in = self.backoff.after(ending, fruitful, lived);
        self.stream = if retry_in.is_zero() { Stream::Wanted } else { Stream::Waiting(now + retry_in) };
        self.events.push_back(Event::Ended { reason: ending.into(), retry_in });
    }

    /// A resource of a response has come on `stream`, whose end has not, and the driver has applied it if it could.
    /// Should the stream break off before that, it stays applied, and the next stream says so.
    pub fn handle_resource(&mut self, stream: StreamId, kind: ResourceType, resource: &Received) {
        if self.is_current(stream) {
            self.take_in(kind, resource);
        }
    }

    /// A response has come to its end on `stream`. The driver has applied what it could of it, and published that.
    pub fn handle_response(&mut self, now: Instant, stream: StreamId, response: Response) {
        if stream != self.id {
            return;
        }
        let Stream::Open { fruitful, .. } = &mut self.stream else { return };
        *fruitful = true;
        // A type that nobody asked for is acknowledged and otherwise left alone.
        if let Some(kind) = ResourceType::from_url(&response.type_url) {
            for resource in &response.resources {
                self.take_in(kind, resource);
            }
            self.take_end(kind, &response.removed);
        }
        let Part { errors, good, answers } = core::mem::take(&mut self.part);
        self.events.extend(answers.into_iter().map(|(waiter, answer)| Event::Answered { waiter, answer }));
        let error = errors.into_text();
        if error.is_none() || good {
            self.last_push = Some(now);
        }
        self.requests.push_back(Request {
            type_url: response.type_url,
            nonce: response.nonce,
            error,
            ..Request::default()
        });
    }

    fn take_in(&mut self, kind: ResourceType, resource: &Received) {
        let Self { types, demands, part, .. } = self;
        let Some(subscribed) = types.iter_mut().find(|subscribed| subscribed.kind == kind) else { return };
        let (version, answer) = match &resource.outcome {
            Ok(()) => {
                part.good = true;
                (resource.version.clone(), Answer::Known)
            }
            Err(reason) => {
                part.errors.add(&resource.name, reason);
                (Version::default(), Answer::Rejected)
            }
        };
        subscribed.retained.insert(Arc::clone(&resource.name), version);
        for name in core::iter::once(&resource.name).chain(&resource.aliases) {
            part.tell(kind, demands, name, answer);
        }
    }

    fn take_end(&mut self, kind: ResourceType, removed: &[Arc<str>]) {
        let Self { types, demands, part, .. } = self;
        let Some(subscribed) = types.iter_mut().find(|subscribed| subscribed.kind == kind) else { return };
        for name in removed {
            subscribed.retained.remove(name);
            part.tell(kind, demands, name, Answer::Absent);
        }
        subscribed.accepted |= part.errors.count == 0;
        let whole = |subscribed: &&Subscribed| subscribed.mode == Subscription::Wildcard;
        if !self.synced && self.types.iter().filter(whole).all(|subscribed| subscribed.accepted) {
            self.synced = true;
            self.events.push_back(Event::Synced);
        }
    }

    /// The time of [`poll_timeout`](Self::poll_timeout) has come, or not yet.
    pub fn handle_timeout(&mut self, now: Instant) {
        if let Stream::Waiting(until) = self.stream
            && until <= now
        {
            self.stream = Stream::Wanted;
        }
    }

    /// Asks the server for `key` (`network/ip`, `namespace/hostname` or a uid) and lets `waiter` wait for
    /// [`Event::Answered`]. Without a stream it is asked for as soon as there is one.
    ///
    /// # Errors
    /// Everything is subscribed, too many wait, or the key is too long.
    pub fn demand(&mut self, key: &str, waiter: Waiter) -> Result<(), DemandError> {
        if !self.types.iter().any(|subscribed| subscribed.mode == Subscription::OnDemand) {
            return Err(DemandError::NotOnDemand);
        }
        if key.len() > MAX_KEY {
            return Err(DemandError::KeyTooLong);
        }
        if self.demands.len() >= self.max_waiters {
            return Err(DemandError::Full(self.demands.len()));
        }
        self.demands.add(key, waiter);
        Ok(())
    }

    /// `waiter` waits no longer and gets no answer.
    pub fn cancel(&mut self, waiter: Waiter) {
        self.demands.cancel(waiter);
    }

    /// A stream to open now; then [`handle_connected`](Self::handle_connected) or [`handle_closed`](Self::handle_closed).
    pub fn poll_open(&mut self) -> Option<StreamId> {
        if self.stream != Stream::Wanted {
            return None;
        }
        self.stream = Stream::Opening;
        self.id = StreamId(self.id.0.wrapping_add(1));
        Some(self.id)
    }

    /// The next request for the current stream. Demands that have come together go together.
    pub fn poll_request(&mut self) -> Option<Request> {
        if let Some(request) = self.requests.pop_front() {
            return Some(request);
        }
        if !self.has_request() {
            return None;
        }
        Some(Request {
            type_url: ResourceType::Address.url().into(),
            subscribe: self.demands.take_unsent(),
            ..Request::default()
        })
    }

    /// What has happened.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// When to call [`handle_timeout`](Self::handle_timeout).
    #[must_use]
    pub const fn poll_timeout(&self) -> Option<Instant> {
        match self.stream {
            Stream::Waiting(until) => Some(until),
            Stream::Wanted | Stream::Opening | Stream::Open { .. } => None,
        }
    }

    /// Whether [`poll_request`](Self::poll_request) has one.
    #[must_use]
    pub fn has_request(&self) -> bool {
        let open = matches!(self.stream, Stream::Open { .. });
        open && (!self.requests.is_empty() || self.demands.has_unsent())
    }

    /// Whether the driver may read a response. A server that does not read our answers gets no more of them queued.
    #[must_use]
    pub fn wants_response(&self) -> bool {
        matches!(self.stream, Stream::Open { .. }) && self.requests.len() < MAX_REQUESTS
    }

    /// Whether what comes on `stream` counts. What a driver reads from any other must not be applied.
    #[must_use]
    pub fn is_current(&self, stream: StreamId) -> bool {
        stream == self.id && matches!(self.stream, Stream::Open { .. })
    }

    /// Whether [`Event::Synced`] has been told.
    #[must_use]
    pub const fn is_synced(&self) -> bool {
        self.synced
    }

    /// How old the tables may be.
    #[must_use]
    pub fn staleness(&self, now: Instant) -> Staleness {
        Staleness {
            without_stream: self.without_stream_since.map(|since| now.saturating_since(since)),
            since_push: self.last_push.map(|push| now.saturating_since(push)),
        }
    }
}

impl Part {
    fn tell(&mut self, kind: ResourceType, demands: &mut Demands, name: &str, answer: Answer) {
        // Only addresses are ever demanded.
        if kind == ResourceType::Address {
            self.answers.extend(demands.answer(name).into_iter().map(|waiter| (waiter, answer)));
        }
    }
}

/// The text of a refusal: `name: reason; name: reason`.
#[derive(Clone, Debug, Default)]
struct Errors {
    text: String,
    count: usize,
    left_out: usize,
}

impl Errors {
    fn add(&mut self, name: &str, reason: &str) {
        self.count = self.count.saturating_add(1);
        let length = self.text.len().saturating_add(name.len()).saturating_add(reason.len());
        if length > MAX_ERROR {
            self.left_out = self.left_out.saturating_add(1);
            return;
        }
        let separator = if self.text.is_empty() { "" } else { "; " };
        // Writing to a text cannot fail.
        let _ = write!(self.text, "{separator}{name}: {reason}");
    }

    fn into_text(mut self) -> Option<String> {
        if self.left_out > 0 {
            let _ = write!(self.text, "; and {} more", self.left_out);
        }
        (self.count > 0).then_some(self.text)
    }
}
