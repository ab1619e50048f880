//! Any octets as a client of HTTP/1.1: where its requests begin and end is the same in whatever pieces they come, the same as a
//! slow reader finds, and the same as hyper finds who reads what the scanner has let pass.
use std::cell::RefCell;
use std::convert::Infallible;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use adit_core::l7::http1::{Place, Scanner};
use adit_core::l7::{Sniffed, sniff};
use adit_core::rng::Rng;
use hyper::body::{Body as _, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::oracle::http1::{Message, Rest, messages};

/// A request by its framing: where it ends, and how much of it is body.
type Framed = (usize, usize);

/// The requests that a scanner sees octet by octet, and how much of all it takes.
fn framed(octets: &[u8]) -> (Vec<Framed>, Result<Place, usize>) {
    let mut scanner = Scanner::new();
    let (mut found, mut begun, mut body) = (Vec::new(), false, 0);
    for (at, octet) in octets.iter().enumerate() {
        let before = scanner.place();
        begun |= before == Place::Between && *octet != b'\r';
        body += usize::from(before == Place::Body);
        if scanner.scan(&[*octet]).is_err() {
            return (found, Err(at));
        }
        if begun && scanner.place() == Place::Between {
            found.push((at + 1, body));
            (begun, body) = (false, 0);
        }
    }
    (found, Ok(scanner.place()))
}

/// The octets, from the first of the first request on.
pub fn body(data: &[u8]) {
    let (found, end) = framed(data);
    let mut rng = Rng::new(data.len() as u64);
    for most in [1 + rng.below(7), 1 + rng.below(200), u64::MAX] {
        in_pieces(data, most, &mut rng, end);
    }
    let (expected, rest) = messages(data);
    let expected: Vec<_> = expected.iter().map(|message| (message.end, message.body.len())).collect();
    assert_eq!(found, expected);
    match (end, rest) {
        (Ok(place), Rest::Nothing) => assert_eq!(place, Place::Between),
        // A line that is not there whole may be wrong already, of which a reader of lines knows nothing.
        (Ok(place), Rest::Beginning) => assert_ne!(place, Place::Between),
        (Err(_), Rest::Beginning | Rest::Malformed) => {}
        (end, rest) => panic!("the scanner says {end:?}, a reader of lines {rest:?}"),
    }
}

/// Pieces of up to `most` octets lead to the same as single octets, at the end of each.
fn in_pieces(data: &[u8], most: u64, rng: &mut Rng, end: Result<Place, usize>) {
    let (mut pieces, mut single) = (Scanner::new(), Scanner::new());
    let mut at = 0;
    while at < data.len() {
        let left = data.len() - at;
        let size = usize::try_from(1 + rng.below(most.min(left as u64))).unwrap_or(left).min(left);
        let piece = &data[at..at + if most == u64::MAX { left } else { size }];
        if let Err(wrong) = pieces.scan(piece) {
            assert_eq!(end, Err(at + wrong.good));
            return;
        }
        for octet in piece {
            single.scan(&[*octet]).expect("what passes at once passes by itself");
        }
        assert_eq!(pieces, single, "after {at} octets and {}", piece.len());
        at += piece.len();
    }
    assert_eq!(end, Ok(pieces.place()));
}

/// A client's octets in pieces; nobody reads the answers.
struct Octets {
    octets: Vec<u8>,
    at: usize,
    rng: Rng,
}

impl AsyncRead for Octets {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let room = (self.octets.len() - self.at).min(buffer.remaining());
        if room > 0 {
            let size = usize::try_from(1 + self.rng.below(room as u64)).unwrap_or(room);
            buffer.put_slice(&self.octets[self.at..self.at + size]);
            self.at += size;
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Octets {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, octets: &[u8]) -> Poll<io::Result<usize>> {
        Poll::Ready(Ok(octets.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// A request as hyper has it.
struct Taken {
    method: String,
    target: String,
    fields: usize,
    /// Unless it broke off.
    body: Option<Vec<u8>>,
}

async fn read(mut incoming: Incoming) -> Option<Vec<u8>> {
    let mut octets = Vec::new();
    while let Some(frame) = std::future::poll_fn(|cx| Pin::new(&mut incoming).poll_frame(cx)).await {
        if let Ok(data) = frame.ok()?.into_data() {
            octets.extend_from_slice(&data);
        }
    }
    Some(octets)
}

/// What hyper takes from `octets`, and whether it has found fault with them.
fn taken(octets: &[u8]) -> (Vec<Taken>, bool) {
    let taken = Rc::new(RefCell::new(Vec::new()));
    let stream = Octets { octets: octets.to_vec(), at: 0, rng: Rng::new(octets.len() as u64) };
    let service = service_fn(|request: Request<Incoming>| {
        let taken = Rc::clone(&taken);
        async move {
            let (parts, body) = request.into_parts();
            let (method, target) = (parts.method.to_string(), parts.uri.to_string());
            let body = read(body).await;
            taken.borrow_mut().push(Taken { method, target, fields: parts.headers.len(), body });
            Ok::<_, Infallible>(Response::builder().status(404).body(String::new()).expect("a response"))
        }
    });
    let connection = hyper::server::conn::http1::Builder::new()
        .half_close(true)
        .serve_connection(TokioIo::new(stream), service);
    let ended = futures_lite::future::block_on(connection);
    (taken.take(), ended.is_err())
}

/// Whether a connection ends with this request, if it is answered.
fn is_last(message: &Message) -> bool {
    !message.current || message.fields.iter().any(|(name, _)| name == "connection")
}

/// The octets, from the first of the first request on, which hyper reads as far as the scanner lets it.
pub fn hyper(data: &[u8]) {
    let good = Scanner::new().scan(data).map_or_else(|wrong| wrong.good, |()| data.len());
    let (expected, _) = messages(&data[..good]);
    let (taken, fault) = taken(&data[..good]);
    let whole: Vec<_> = taken.iter().take_while(|taken| taken.body.is_some()).collect();
    assert!(taken.len() - whole.len() <= 1, "hyper goes on behind a body that broke off");
    assert!(whole.len() <= expected.len(), "hyper takes more requests than there are");
    for (taken, expected) in whole.iter().zip(&expected) {
        assert_eq!((&taken.method, taken.fields), (&expected.method, expected.fields.len()));
        assert_eq!(taken.body.as_ref(), Some(&expected.body), "{}", taken.target);
        // hyper leaves out what follows "#", and completes targets that name a host.
        let target = expected.target.split(|octet| *octet == b'#').next().unwrap_or_default();
        assert!(!target.starts_with(b"/") || target == taken.target.as_bytes(), "{}", taken.target);
    }
    let last = expected.iter().take(whole.len()).any(is_last);
    assert!(
        fault || last || whole.len() == expected.len(),
        "hyper takes {} of {}",
        whole.len(),
        expected.len()
    );
}

/// The longest line that is waited for.
const LONGEST: usize = 8192;

/// What a stream begins with.
pub fn sniffed(data: &[u8]) {
    let all = sniff(data);
    for length in 0..=data.len().min(64) {
        let part = sniff(&data[..length]);
        assert!(part == Sniffed::More || part == all, "{part:?} of {length} octets became {all:?}");
    }
    let longest = [data, &[b'a'; LONGEST]].concat();
    assert_ne!(sniff(&longest), Sniffed::More, "with so many octets it is decided");
    assert_eq!(all == Sniffed::Http2, data.starts_with(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"));
    let line = data.split(|octet| *octet == b'\n').next().unwrap_or_default();
    let (requests, _) = messages(data);
    if !requests.is_empty() && !data.starts_with(b"\r") && line.len() < LONGEST - 1 {
        assert_eq!(all, Sniffed::Http1);
    }
    if all == Sniffed::Http1 {
        // A method and a blank, at the least.
        let method = data.split(|octet| *octet == b' ').next().unwrap_or_default();
        assert!(method.len() < data.len() && !method.is_empty() && method.iter().all(u8::is_ascii_graphic));
    }
}
