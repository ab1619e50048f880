//! Bodies: as they come, kept for another attempt, or our own; none is ever in memory as a whole unless it is small.
use std::cell::RefCell;
use std::collections::VecDeque;
use std::error::Error as _;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use adit_ops::l7::{Details, Messages, ResponseFlags};
use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body as _, Frame, SizeHint};
use hyper::body::Incoming;
use tokio::sync::Notify;

use super::clean::strip_trailers;
use super::local::Local;
use super::watch::Watched;
use crate::share::Held;

/// Why a body breaks off.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BodyError {
    /// Its sender, or who was to read it, has gone.
    #[error(transparent)]
    Gone(#[from] hyper::Error),
    /// The route's time for the whole exchange is over.
    #[error("the answer took longer than its route's timeout")]
    TooLong,
}

/// A body on its way.
pub(crate) enum Body {
    /// None.
    Empty,
    /// Our own.
    Text(Bytes),
    /// As it comes from a peer.
    Incoming(Incoming),
    /// A request's, for one of several attempts.
    Replayed(Replay),
    /// An answer's, of which is told when it ends.
    Watched(Box<Watched>),
}

impl From<Incoming> for Body {
    fn from(incoming: Incoming) -> Self {
        if incoming.is_end_stream() { Self::Empty } else { Self::Incoming(incoming) }
    }
}

impl From<Bytes> for Body {
    fn from(octets: Bytes) -> Self {
        if octets.is_empty() { Self::Empty } else { Self::Text(octets) }
    }
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = self.get_mut();
        match this {
            Self::Empty => Poll::Ready(None),
            Self::Text(text) => {
                let text = std::mem::take(text);
                *this = Self::Empty;
                Poll::Ready((!text.is_empty()).then(|| Ok(Frame::data(text))))
            }
            Self::Incoming(incoming) => Pin::new(incoming).poll_frame(cx).map_err(BodyError::Gone),
            Self::Replayed(replay) => replay.poll_frame(cx).map_err(BodyError::Gone),
            Self::Watched(watched) => watched.poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Empty => true,
            Self::Text(text) => text.is_empty(),
            Self::Incoming(incoming) => incoming.is_end_stream(),
            Self::Replayed(replay) => replay.is_end_stream(),
            Self::Watched(watched) => watched.body().is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Empty => SizeHint::with_exact(0),
            Self::Text(text) => SizeHint::with_exact(text.len() as u64),
            Self::Incoming(incoming) => incoming.size_hint(),
            Self::Replayed(replay) => replay.hint,
            Self::Watched(watched) => watched.body().size_hint(),
        }
    }
}

/// Why a client's body has no end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Broken {
    /// It is not framed as HTTP has it.
    Malformed,
    /// The client has gone.
    Gone,
}

impl Broken {
    fn of(error: &hyper::Error) -> Self {
        let io = error.source().and_then(|source| source.downcast_ref::<io::Error>());
        match io.map(io::Error::kind) {
            Some(io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput) => Self::Malformed,
            _ => Self::Gone,
        }
    }

    /// What is told of the request, and its client if it is still there.
    pub(crate) fn local(self) -> Local {
        let (flags, details) = match self {
            Self::Malformed => (ResponseFlags::DOWNSTREAM_PROTOCOL_ERROR, Details::Http1CodecError),
            Self::Gone => {
                (ResponseFlags::DOWNSTREAM_CONNECTION_TERMINATION, Details::DownstreamRemoteDisconnect)
            }
        };
        Local::new(400, flags, details, "")
    }
}

/// What has been read of a request's body, and the rest.
struct Source {
    incoming: Option<Incoming>,
    /// Data from the beginning on, while it is kept.
    kept: Vec<Bytes>,
    octets: usize,
    limit: usize,
    /// Counts what is kept.
    held: Held,
    /// How long it is, if that was said.
    hint: SizeHint,
    trailers: Option<HeaderMap>,
    /// The beginning is gone: no further attempt can have it.
    spilled: bool,
    /// The body's end was read.
    ended: bool,
    /// Octets read in all.
    read: u64,
    /// The client has not sent it to its end.
    broken: Option<Broken>,
    /// Messages of a gRPC call, as far as they were read.
    messages: Option<Messages>,
    /// Told when the end is read, or when it is known that there will be no copy.
    decided: Rc<Notify>,
}

/// A request's body that may be sent more than once, as long as it is small.
#[derive(Clone)]
pub(crate) struct Kept(Rc<RefCell<Source>>, Rc<Notify>);

impl Kept {
    /// Keeps at most `limit` octets of `incoming`, as far as `held` has room, and counts the messages in it if it is a call of
    /// `grpc`.
    pub(crate) fn new(incoming: Incoming, limit: usize, held: Held, grpc: bool) -> Self {
        let (ended, decided) = (incoming.is_end_stream(), Rc::<Notify>::default());
        let hint = incoming.size_hint();
        Self(
            Rc::new(RefCell::new(Source {
                incoming: (!ended).then_some(incoming),
                kept: Vec::new(),
                octets: 0,
                limit,
                held,
                hint,
                trailers: None,
                spilled: false,
                ended,
                read: 0,
                broken: None,
                messages: grpc.then(Messages::default),
                decided: Rc::clone(&decided),
            })),
            decided,
        )
    }

    /// The body from its beginning, for one attempt. Attempts before it read no more.
    pub(crate) fn attempt(&self) -> Body {
        let source = self.0.borrow();
        if source.ended && source.octets == 0 && source.trailers.is_none() {
            return Body::Empty;
        }
        let hint = source.hint;
        let pending: VecDeque<Bytes> = source.kept.iter().cloned().collect();
        drop(source);
        Body::Replayed(Replay { source: Rc::clone(&self.0), pending, trailers_sent: false, hint })
    }

    /// Whether another attempt can have all of it.
    pub(crate) fn is_replayable(&self) -> bool {
        !self.0.borrow().spilled
    }

    /// Why there is no more of it, if that is the client's doing.
    pub(crate) fn broken(&self) -> Option<Broken> {
        self.0.borrow().broken
    }

    /// Octets of the client's that were read.
    pub(crate) fn octets(&self) -> u64 {
        self.0.borrow().read
    }

    /// Messages of a gRPC client's that were read.
    pub(crate) fn messages(&self) -> u64 {
        self.0.borrow().messages.map_or(0, |messages| messages.count())
    }

    /// Reads the first `max` octets, or all if there are no more; says whether there is more. What is read stays for attempts:
    /// `None` where there is no room to keep it, and the request cannot go on.
    pub(crate) async fn beginning(&self, max: usize) -> Result<Option<(Bytes, bool)>, Broken> {
        std::future::poll_fn(|cx| {
            loop {
                let mut source = self.0.borrow_mut();
                if source.ended || source.octets > max || source.spilled {
                    return Poll::Ready(Ok(()));
                }
                // What is asked for may be more than is kept for other attempts.
                let limit = std::mem::replace(&mut source.limit, usize::MAX);
                let read = source.poll_more(cx);
                source.limit = limit;
                if let Err(error) = ready!(read) {
                    return Poll::Ready(Err(Broken::of(&error)));
                }
            }
        })
        .await?;
        let source = self.0.borrow();
        if source.spilled {
            return Ok(None);
        }
        let mut octets = source.kept.concat();
        let partial = octets.len() > max;
        octets.truncate(max);
        Ok(Some((octets.into(), partial)))
    }

    /// Waits until an attempt has read the body to its end.
    pub(crate) async fn ended(&self) {
        self.decided(|source| source.ended.then_some(())).await;
    }

    /// Waits until an attempt has read the body to its end; gives all of it. `None`: it was too large to be kept.
    pub(crate) async fn finished(&self) -> Option<Bytes> {
        self.decided(|source| match (source.spilled, source.ended) {
            (true, _) => Some(None),
            (false, true) => Some(Some(source.kept.concat().into())),
            (false, false) => None,
        })
        .await
    }

    /// Waits until `look` finds what it looks for, which changes when the body ends or is too large.
    async fn decided<T>(&self, look: impl Fn(&Source) -> Option<T>) -> T {
        loop {
            let decided = self.1.notified();
            if let Some(found) = look(&self.0.borrow()) {
                return found;
            }
            decided.await;
        }
    }
}

impl Source {
    /// Reads one more frame of the client's. What is not kept is given.
    fn poll_more(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>, hyper::Error>> {
        let Some(incoming) = &mut self.incoming else {
            self.ended = true;
            return Poll::Ready(Ok(None));
        };
        let frame = match ready!(Pin::new(&mut *incoming).poll_frame(cx)) {
            Some(Ok(frame)) => frame,
            Some(Err(error)) => {
                self.broken = Some(Broken::of(&error));
                return Poll::Ready(Err(error));
            }
            None => {
                (self.ended, self.incoming) = (true, None);
                self.decided.notify_waiters();
                return Poll::Ready(Ok(None));
            }
        };
        // Whoever knows the length does not ask for the end.
        let last = incoming.is_end_stream();
        if last {
            (self.ended, self.incoming) = (true, None);
        }
        let read = match frame.into_data() {
            Ok(data) => {
                self.read = self.read.saturating_add(data.len() as u64);
                if let Some(messages) = &mut self.messages {
                    messages.pass(&data);
                }
                self.octets = self.octets.saturating_add(data.len());
                if self.spilled || self.octets > self.limit || !self.held.keep(data.len()) {
                    self.spilled = true;
                    self.held.release();
                    self.kept = Vec::new();
                    self.decided.notify_waiters();
                } else {
                    self.kept.push(data.clone());
                }
                Some(data)
            }
            Err(frame) => {
                self.trailers = frame.into_trailers().ok().or_else(|| self.trailers.take());
                self.trailers.as_mut().map(strip_trailers);
                None
            }
        };
        if last {
            self.decided.notify_waiters();
        }
        Poll::Ready(Ok(read))
    }
}

/// A request's body for one attempt.
pub(crate) struct Replay {
    source: Rc<RefCell<Source>>,
    pending: VecDeque<Bytes>,
    trailers_sent: bool,
    hint: SizeHint,
}

impl Replay {
    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        if let Some(data) = self.pending.pop_front() {
            return Poll::Ready(Some(Ok(Frame::data(data))));
        }
        let mut source = self.source.borrow_mut();
        loop {
            if source.ended {
                let trailers = source.trailers.clone().filter(|_| !self.trailers_sent);
                self.trailers_sent = true;
                return Poll::Ready(trailers.map(|trailers| Ok(Frame::trailers(trailers))));
            }
            match ready!(source.poll_more(cx)) {
                Ok(Some(data)) => return Poll::Ready(Some(Ok(Frame::data(data)))),
                Ok(None) => {}
                Err(error) => return Poll::Ready(Some(Err(error))),
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        let source = self.source.borrow();
        self.pending.is_empty() && source.ended && (self.trailers_sent || source.trailers.is_none())
    }
}
