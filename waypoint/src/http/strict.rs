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

/// Where a stream is laid down by who has served it.
pub(crate) type Slot<S> = Arc<Mutex<Option<S>>>;

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
    /// Something is wrong: this is read in place of what comes, then nothing.
    refused: Option<&'static [u8]>,
}

impl<S> Strict<S> {
    /// `switched` is set when the stream is to be something else than HTTP. A head may take `patience`.
    pub(crate) fn new(inner: S, slot: Slot<S>, switched: Arc<AtomicBool>, patience: Duration) -> Self {
        let slow = Slow { patience, until: None };
        Self { inner: Some(inner), slot, scanner: Scanner::new(), switched, slow, refused: None }
    }

    /// A head has begun and not ended.
    fn is_within_head(&self) -> bool {
        self.scanner.place() == Place::Head
    }

    fn refuse(&mut self, buffer: &mut ReadBuf<'_>) {
        if let Some(rest) = &mut self.refused {
            let (now, later) = rest.split_at(rest.len().min(buffer.remaining()));
            buffer.put_slice(now);
            *rest = later;
        }
    }
}

impl<S> Drop for Strict<S> {
    fn drop(&mut self) {
        *self.slot.lock().unwrap_or_else(PoisonError::into_inner) = self.inner.take();
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
        if this.refused.is_some() {
            this.refuse(buffer);
            return Poll::Ready(Ok(()));
        }
        let before = buffer.filled().len();
        let inner = this.inner.as_mut().ok_or_else(gone)?;
        if Pin::new(inner).poll_read(cx, buffer)?.is_pending() {
            let switched = this.switched.load(Ordering::Relaxed);
            ready!(this.slow.poll(cx, !switched && this.is_within_head()));
            // Whoever takes so long for a head has the answer of those who hang up.
            this.refused = Some(&[]);
            return Poll::Ready(Ok(()));
        }
        if this.switched.load(Ordering::Relaxed) {
            return Poll::Ready(Ok(()));
        }
        let scanned = this.scanner.scan(&buffer.filled()[before..]);
        if !this.is_within_head() {
            // The next one has its own time.
            this.slow.until = None;
        }
        let Err(Malformed { good, part }) = scanned else { return Poll::Ready(Ok(())) };
        match part {
            Part::Head => {
                buffer.set_filled(before + good);
                this.refused = Some(NO_HEAD);
                this.refuse(buffer);
                Poll::Ready(Ok(()))
            }
            Part::Body => {
                this.refused = Some(&[]);
                Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, part)))
            }
        }
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
