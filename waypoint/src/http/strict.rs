//! What a parser of HTTP/1.1 may let pass and RFC 9112 would have refused: a scanner in front of hyper, which follows where
//! messages begin and end, and changes nothing of what is well-formed.
//!
//! Refused are: a length and an encoding at once (§6.1), more than one of either (§6.3), an encoding other than `chunked`, which
//! hyper would take off unsaid, a length that is no number, lines of the head or around chunks without CR (§2.2), and sizes of
//! chunks that are none (§7.1). None of it could smuggle a second request through us, who write each message anew; whoever
//! sends it means no good all the same. hyper itself sees to the rest: names, values, folding, versions, bounds.
use std::future::Future as _;
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Sleep;

/// How much of a line is kept when it comes in pieces: no line that counts is longer.
const KEPT: usize = 128;

/// The end of a head that is none: no line of one has the first octet, and hyper looks at a head when it is there whole.
const NO_HEAD: &[u8] = b"\0\r\n\r\n";

/// Where in a message a client is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum At {
    Head,
    /// So many octets of a body are to come.
    Body(u64),
    /// The digits of a chunk's size, of which so many came.
    Size {
        size: u64,
        digits: u8,
    },
    /// After a chunk's size: extensions.
    Extension,
    /// LF after a chunk's size.
    SizeEnd(u64),
    Chunk(u64),
    /// CR after a chunk.
    ChunkCr,
    /// LF after a chunk.
    ChunkLf,
    Trailers,
}

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

/// Follows the messages of a client.
#[derive(Debug)]
struct Scanner {
    at: At,
    /// The beginning of a line that is not there whole.
    line: Vec<u8>,
    /// The last octet that came of it.
    last: Option<u8>,
    /// A request line has come.
    begun: bool,
    length: Option<u64>,
    chunked: bool,
    /// Size of the chunk whose line is being read.
    size: u64,
}

impl Scanner {
    const fn new() -> Self {
        Self {
            at: At::Head,
            line: Vec::new(),
            last: None,
            begun: false,
            length: None,
            chunked: false,
            size: 0,
        }
    }

    /// A head has begun and not ended.
    fn is_within_head(&self) -> bool {
        self.at == At::Head && (self.begun || !self.line.is_empty())
    }

    /// Looks at what has come; on an error also how much of it is well-formed.
    fn scan(&mut self, octets: &[u8]) -> Result<(), (usize, Wrong)> {
        let mut from = 0;
        while let Some(rest) = octets.get(from..).filter(|rest| !rest.is_empty()) {
            from += match self.at {
                At::Head | At::Trailers => {
                    let Some(end) = memchr::memchr(b'\n', rest) else {
                        self.keep(rest);
                        return Ok(());
                    };
                    self.line(&rest[..end]).map_err(|wrong| (from + end, wrong))?;
                    end + 1
                }
                At::Body(left) => {
                    let here = left.min(rest.len() as u64);
                    self.at = if here == left { self.next() } else { At::Body(left - here) };
                    usize::try_from(here).unwrap_or(rest.len())
                }
                At::Chunk(left) => {
                    let here = left.min(rest.len() as u64);
                    self.at = if here == left { At::ChunkCr } else { At::Chunk(left - here) };
                    usize::try_from(here).unwrap_or(rest.len())
                }
                _ => {
                    self.at = self.around(rest[0]).ok_or((from, Wrong::Body))?;
                    1
                }
            };
        }
        Ok(())
    }

    /// Keeps the beginning of a line.
    fn keep(&mut self, octets: &[u8]) {
        self.last = octets.last().copied();
        let room = (KEPT + 1).saturating_sub(self.line.len());
        self.line.extend_from_slice(&octets[..octets.len().min(room)]);
    }

    /// A line has ended, its LF apart.
    fn line(&mut self, end: &[u8]) -> Result<(), Wrong> {
        let wrong = if self.at == At::Head { Wrong::Head } else { Wrong::Body };
        if end.last().copied().or_else(|| self.last.take()) != Some(b'\r') {
            return Err(wrong);
        }
        let mut kept = std::mem::take(&mut self.line);
        let line = if kept.is_empty() {
            end
        } else {
            let room = (KEPT + 1).saturating_sub(kept.len());
            kept.extend_from_slice(&end[..end.len().min(room)]);
            &kept
        };
        if line == b"\r" {
            if self.begun {
                self.at = self.framed();
            }
        } else if self.at == At::Head {
            if self.begun { self.field(line)? } else { self.begun = true }
        }
        self.last = None;
        Ok(())
    }

    /// A header of a request.
    fn field(&mut self, line: &[u8]) -> Result<(), Wrong> {
        // Both names that count begin with one of these.
        if !matches!(line.first(), Some(b'c' | b'C' | b't' | b'T')) {
            return Ok(());
        }
        let Some(colon) = line.iter().position(|octet| *octet == b':') else { return Ok(()) };
        let (name, value) = (&line[..colon], line[colon + 1..].trim_ascii());
        if name.eq_ignore_ascii_case(b"content-length") {
            let length = (line.len() <= KEPT).then(|| number(value)).flatten().ok_or(Wrong::Head)?;
            if self.chunked || self.length.replace(length).is_some() {
                return Err(Wrong::Head);
            }
        } else if name.eq_ignore_ascii_case(b"transfer-encoding") {
            let known = line.len() <= KEPT && value.eq_ignore_ascii_case(b"chunked");
            if !known || self.length.is_some() || self.chunked {
                return Err(Wrong::Head);
            }
            self.chunked = true;
        }
        Ok(())
    }

    /// A head or trailers have ended.
    fn framed(&mut self) -> At {
        match (self.at, self.length, self.chunked) {
            (At::Head, _, true) => At::Size { size: 0, digits: 0 },
            (At::Head, Some(length), _) if length > 0 => At::Body(length),
            _ => self.next(),
        }
    }

    /// Another message begins.
    fn next(&mut self) -> At {
        (self.begun, self.length, self.chunked) = (false, None, false);
        At::Head
    }

    /// An octet around chunks.
    fn around(&mut self, octet: u8) -> Option<At> {
        match self.at {
            At::Size { size, digits } => match (char::from(octet).to_digit(16), octet) {
                (Some(digit), _) if digits < 15 => {
                    Some(At::Size { size: size << 4 | u64::from(digit), digits: digits + 1 })
                }
                (_, b'\r') if digits > 0 => Some(At::SizeEnd(size)),
                (_, b';') if digits > 0 => {
                    self.size = size;
                    Some(At::Extension)
                }
                _ => None,
            },
            At::Extension => match octet {
                b'\r' => Some(At::SizeEnd(self.size)),
                b'\n' | 0 => None,
                _ => Some(At::Extension),
            },
            At::SizeEnd(size) if octet == b'\n' => {
                Some(if size == 0 { At::Trailers } else { At::Chunk(size) })
            }
            At::ChunkCr if octet == b'\r' => Some(At::ChunkLf),
            At::ChunkLf if octet == b'\n' => Some(At::Size { size: 0, digits: 0 }),
            _ => None,
        }
    }
}

fn number(digits: &[u8]) -> Option<u64> {
    let all = !digits.is_empty() && digits.iter().all(u8::is_ascii_digit);
    std::str::from_utf8(digits).ok().filter(|_| all)?.parse().ok()
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
    pub(crate) const fn new(inner: S, slot: Slot<S>, switched: Arc<AtomicBool>, patience: Duration) -> Self {
        let slow = Slow { patience, until: None };
        Self { inner: Some(inner), slot, scanner: Scanner::new(), switched, slow, wrong: None, instead: &[] }
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
            ready!(this.slow.poll(cx, !switched && this.scanner.is_within_head()));
            // To hyper it is one who hangs up.
            this.wrong = Some(Wrong::Slow);
            return Poll::Ready(Ok(()));
        }
        if this.switched.load(Ordering::Relaxed) {
            return Poll::Ready(Ok(()));
        }
        if buffer.filled().len() == before && buffer.remaining() > 0 && this.scanner.is_within_head() {
            this.wrong = Some(Wrong::Short);
            return Poll::Ready(Ok(()));
        }
        let scanned = this.scanner.scan(&buffer.filled()[before..]);
        if !this.scanner.is_within_head() {
            // The next one has its own time.
            this.slow.until = None;
        }
        let Err((good, wrong)) = scanned else { return Poll::Ready(Ok(())) };
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

#[cfg(test)]
mod tests {
    use super::*;

    /// Looks at `octets` in pieces of `piece`.
    fn scan(octets: &str, piece: usize) -> Result<Scanner, (usize, Wrong)> {
        let mut scanner = Scanner::new();
        for (number, piece_of) in octets.as_bytes().chunks(piece).enumerate() {
            scanner.scan(piece_of).map_err(|(good, wrong)| (number * piece + good, wrong))?;
        }
        Ok(scanner)
    }

    #[test]
    fn what_is_well_formed_passes_in_any_pieces() {
        let long = "x".repeat(3 * KEPT);
        for octets in [
            "GET / HTTP/1.1\r\nhost: a\r\n\r\n".repeat(2),
            "\r\n\r\nPOST / HTTP/1.1\r\nContent-Length: 5\r\n\r\n\n\n\n\n\nGET / HTTP/1.1\r\n\r\n".to_owned(),
            "POST / HTTP/1.1\r\nTransfer-Encoding: Chunked\r\n\r\n5;a=b\r\n\n\n\n\n\n\r\nA\r\n0123456789\r\n0\r\nx: y\r\n\r\nGET / HTTP/1.1\r\n\r\n"
                .to_owned(),
            format!("GET /{long} HTTP/1.1\r\nx: {long}\r\ncookie: {long}\r\n\r\n"),
            "POST / HTTP/1.1\r\ncontent-length: 0\r\n\r\n".to_owned(),
        ] {
            for piece in [1, 2, 3, 7, 64, octets.len()] {
                let scanner = scan(&octets, piece).unwrap();
                assert_eq!((scanner.at, scanner.begun), (At::Head, false), "{octets:?} by {piece}");
            }
        }
    }

    #[test]
    fn what_is_not_is_refused_in_any_pieces() {
        let padded = format!("transfer-encoding: {}chunked\r\n", " ".repeat(2 * KEPT));
        let body = |size: &str| format!("transfer-encoding: chunked\r\n\r\n{size}");
        for (rest, wrong) in [
            ("content-length: 1\r\ntransfer-encoding: chunked\r\n", Wrong::Head),
            ("transfer-encoding: chunked\r\ncontent-length: 1\r\n", Wrong::Head),
            ("content-length: 1\r\ncontent-length: 1\r\n", Wrong::Head),
            ("content-length: 1, 1\r\n", Wrong::Head),
            ("content-length: +1\r\n", Wrong::Head),
            ("content-length:\r\n", Wrong::Head),
            ("content-length: 99999999999999999999\r\n", Wrong::Head),
            ("transfer-encoding: gzip, chunked\r\n", Wrong::Head),
            ("transfer-encoding: chunked, chunked\r\n", Wrong::Head),
            ("transfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n", Wrong::Head),
            ("transfer-encoding: identity\r\n", Wrong::Head),
            (&padded, Wrong::Head),
            ("x: y\n", Wrong::Head),
            ("\n", Wrong::Head),
            (&body("5\n"), Wrong::Body),
            (&body("\r\n"), Wrong::Body),
            (&body("0x5\r\n"), Wrong::Body),
            (&body("-5\r\n"), Wrong::Body),
            (&body("5 \r\n"), Wrong::Body),
            (&body("5;a\n"), Wrong::Body),
            (&body("1000000000000000\r\n"), Wrong::Body),
            (&body("1\r\nab\r\n"), Wrong::Body),
            (&body("0\r\nx: y\n"), Wrong::Body),
        ] {
            let octets = format!("POST / HTTP/1.1\r\n{rest}");
            for piece in [1, 2, 3, 7, 64, octets.len()] {
                let (_, found) = scan(&octets, piece).unwrap_err();
                assert_eq!(found, wrong, "{octets:?} by {piece}");
            }
        }
    }

    #[test]
    fn what_is_kept_of_a_line_is_bounded() {
        let scanner = scan(&format!("GET /{}", "x".repeat(100_000)), 10).unwrap();
        assert!(scanner.line.len() <= KEPT + 1);
    }
}
