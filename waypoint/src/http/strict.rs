//! A client's stream of which hyper reads only what is well-formed: [`Scanner`] says what is, and this what becomes of the rest.
//!
//! Nothing of it could smuggle a second request through us, who write each message anew; whoever sends it means no good all the
//! same.
use std::future::Future as _;
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use adit_core::l7::http1::{Malformed, Part, Place, Scanner};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Sleep;

/// The end of a head that is none: no line of one has the first octet, and hyper looks at a head when it is there whole.
const NO_HEAD: &[u8] = b"\0\r\n\r\n";

/// What is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Wrong {
    /// In a request's head: hyper has not taken it for whole.
    #[error("a request's head is not well-formed")]
    Head,
    /// In a body.
    #[error("a request's body is not framed as RFC 9112 has it")]
    Body,
    /// A head takes too long.
    #[error("a request's head does not come in time")]
    Slow,
    /// The client has ended within a head.
    #[error("a request's head is not complete")]
    Short,
}

/// How long a head takes from its first octets on. hyper's own clock also runs while nobody has anything to ask.
#[derive(Debug)]
struct Slow {
    patience: Duration,
    until: Option<Pin<Box<Sleep>>>,
}

impl Slow {
    /// Ready when a head that is coming has taken too long.
    fn poll(&mut self, cx: &mut Context<'_>, coming: bool) -> Poll<()> {
        if !coming {
            self.until = None;
            return Poll::Pending;
        }
        let patience = self.patience;
        self.until.get_or_insert_with(|| Box::pin(tokio::time::sleep(patience))).as_mut().poll(cx)
    }
}

/// A stream that nobody serves any more, and what was wrong with it.
#[derive(Debug)]
pub(crate) struct Left<S> {
    pub(crate) stream: S,
    pub(crate) wrong: Option<Wrong>,
}

/// Where a stream is laid down by who has served it.
pub(crate) type Slot<S> = Arc<Mutex<Option<Left<S>>>>;

/// A client's stream, of which hyper reads only what is well-formed so far. A head that is not has an end that no head
/// has, so that hyper answers 400; a body that is not breaks off. When it is dropped, the stream is laid into a slot.
#[derive(Debug)]
pub(crate) struct Strict<S> {
    /// There until this is dropped.
    inner: Option<S>,
    slot: Slot<S>,
    scanner: Scanner,
    /// It speaks something else by now.
    switched: Arc<AtomicBool>,
    slow: Slow,
    /// Something is wrong.
    wrong: Option<Wrong>,
    /// What is read then in place of what comes, before nothing is.
    instead: &'static [u8],
}

impl<S> Strict<S> {
    /// `switched` is set when the stream is to be something else than HTTP. A head may take `patience`.
    pub(crate) fn new(inner: S, slot: Slot<S>, switched: Arc<AtomicBool>, patience: Duration) -> Self {
        let slow = Slow { patience, until: None };
        Self { inner: Some(inner), slot, scanner: Scanner::new(), switched, slow, wrong: None, instead: &[] }
    }

    /// A head has begun and not ended.
    fn is_within_head(&self) -> bool {
        self.scanner.place() == Place::Head
    }

    fn refuse(&mut self, wrong: Wrong, buffer: &mut ReadBuf<'_>) -> io::Result<()> {
        if wrong == Wrong::Body {
            return Err(io::Error::new(io::ErrorKind::InvalidData, wrong));
        }
        let (now, later) = self.instead.split_at(self.instead.len().min(buffer.remaining()));
        buffer.put_slice(now);
        self.instead = later;
        Ok(())
    }
}

impl<S> Drop for Strict<S> {
    fn drop(&mut self) {
        let left = self.inner.take().map(|stream| Left { stream, wrong: self.wrong });
        *self.slot.lock().unwrap_or_else(PoisonError::into_inner) = left;
    }
}

fn gone() -> io::Error {
    io::ErrorKind::NotConnected.into()
}

impl<S: AsyncRead + Unpin> AsyncRead for Strict<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if let Some(wrong) = this.wrong {
            return Poll::Ready(this.refuse(wrong, buffer));
        }
        let before = buffer.filled().len();
        let inner = this.inner.as_mut().ok_or_else(gone)?;
        if Pin::new(inner).poll_read(cx, buffer)?.is_pending() {
            let switched = this.switched.load(Ordering::Relaxed);
            ready!(this.slow.poll(cx, !switched && this.is_within_head()));
            // To hyper it is one who hangs up.
            this.wrong = Some(Wrong::Slow);
            return Poll::Ready(Ok(()));
        }
        if this.switched.load(Ordering::Relaxed) {
            return Poll::Ready(Ok(()));
        }
        if buffer.filled().len() == before && buffer.remaining() > 0 && this.is_within_head() {
            this.wrong = Some(Wrong::Short);
            return Poll::Ready(Ok(()));
        }
        let scanned = this.scanner.scan(&buffer.filled()[before..]);
        if !this.is_within_head() {
            // The next one has its own time.
            this.slow.until = None;
        }
        let Err(Malformed { good, part }) = scanned else { return Poll::Ready(Ok(())) };
        let wrong = match part {
            Part::Head => Wrong::Head,
            Part::Body => Wrong::Body,
        };
        this.wrong = Some(wrong);
        // What came before it is read as it is: it may be the whole head of the request that breaks off.
        buffer.set_filled(before + good);
        if wrong == Wrong::Head {
            this.instead = NO_HEAD;
        }
        if good > 0 && wrong == Wrong::Body {
            return Poll::Ready(Ok(()));
        }
        Poll::Ready(this.refuse(wrong, buffer))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Strict<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, octets: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(self.inner.as_mut().ok_or_else(gone)?).poll_write(cx, octets)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(self.inner.as_mut().ok_or_else(gone)?).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.as_ref().is_some_and(S::is_write_vectored)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(self.inner.as_mut().ok_or_else(gone)?).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(self.inner.as_mut().ok_or_else(gone)?).poll_shutdown(cx)
    }
}
