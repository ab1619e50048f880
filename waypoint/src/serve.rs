//! A stream of a client: what it speaks, and who serves that (waypoint.md §5).
use std::future::poll_fn;
use std::pin::Pin;
use std::rc::Rc;

use adit_core::l7::{Protocol, Sniffed, sniff};
use adit_tokio::Stream;
use rustls::server::Acceptor;
use tokio::io::{AsyncRead as _, AsyncReadExt as _, ReadBuf};

use crate::conn::Conn;
use crate::prefixed::Prefixed;
use crate::upstream::Link;
use crate::worker::Worker;
use crate::{http, tcp};

/// The most octets that are looked at to see what a stream speaks.
const LOOK: usize = 8192;
/// The longest greeting of a TLS client that a server name is looked for in.
const LONGEST_HELLO: usize = 32 * 1024;

/// Serves a stream until it ends.
pub(crate) async fn serve(worker: Rc<Worker>, conn: Rc<Conn>, stream: Stream) {
    let declared = worker.shared.in_force.borrow().snapshot.protocol(&conn.target, conn.port);
    match declared {
        Protocol::Http2 | Protocol::Grpc | Protocol::GrpcWeb => {
            let (sniffed, stream) = first_octets(&worker, stream).await;
            // Who speaks the other version is understood all the same.
            match sniffed {
                Sniffed::Http1 => http::serve_http1(&worker, &conn, stream).await,
                _ => http::serve_http2(&worker, &conn, stream).await,
            }
        }
        Protocol::Http => {
            let (sniffed, stream) = first_octets(&worker, stream).await;
            match sniffed {
                Sniffed::Http2 => http::serve_http2(&worker, &conn, stream).await,
                // What is no HTTP is told so.
                _ => http::serve_http1(&worker, &conn, stream).await,
            }
        }
        Protocol::Tls => {
            let (name, stream) = server_name(&worker, stream).await;
            tcp::serve(&worker, &conn, stream, name.as_deref()).await;
        }
        Protocol::Tcp => tcp::serve(&worker, &conn, Prefixed::new(Vec::new(), stream), None).await,
        Protocol::Udp => stream.reset(),
        Protocol::Detect => detect(&worker, &conn, stream).await,
    }
}

/// Serves a stream of which it is known what it speaks.
async fn speaks(worker: &Rc<Worker>, conn: &Rc<Conn>, sniffed: Sniffed, stream: Prefixed<Stream>) {
    match sniffed {
        Sniffed::Http1 => http::serve_http1(worker, conn, stream).await,
        Sniffed::Http2 => http::serve_http2(worker, conn, stream).await,
        Sniffed::Tcp | Sniffed::More => tcp::serve(worker, conn, stream, None).await,
    }
}

/// Serves a stream of which nobody has said what it speaks. Whichever side speaks first decides: a client that says nothing for
/// a moment is connected to its server, and if that greets it, this is no HTTP.
async fn detect(worker: &Rc<Worker>, conn: &Rc<Conn>, mut stream: Stream) {
    let mut octets = Vec::with_capacity(512);
    let looked = tokio::time::timeout(worker.shared.settings.silence, look(&mut stream, &mut octets)).await;
    match looked {
        Ok(sniffed) => return speaks(worker, conn, sniffed, Prefixed::new(octets, stream)).await,
        Err(_) if !octets.is_empty() => {
            // It speaks, slowly.
            let (sniffed, stream) = more_octets(worker, stream, octets).await;
            return speaks(worker, conn, sniffed, stream).await;
        }
        Err(_) => {}
    }
    let mut opened = tcp::open(worker, conn, None).await;
    let Some(mut upstream) = opened.upstream.take() else {
        return tcp::run(worker, conn, Prefixed::new(octets, stream), None, opened).await;
    };
    let mut greeting = Vec::new();
    let limit = opened.idle;
    let idle = async {
        match limit {
            Some(limit) => tokio::time::sleep(limit).await,
            None => std::future::pending().await,
        }
    };
    let client_first = tokio::select! {
        // Octets that are both there: the server's count.
        biased;
        _ = readable(&mut upstream, &mut greeting) => false,
        sniffed = look(&mut stream, &mut octets) => match sniffed {
            Sniffed::Http1 | Sniffed::Http2 => {
                drop(upstream);
                return speaks(worker, conn, sniffed, Prefixed::new(octets, stream)).await;
            }
            Sniffed::Tcp | Sniffed::More => true,
        },
        // Whoever relays sees to the rest.
        () = idle => true,
    };
    let greeting = if client_first { Vec::new() } else { greeting };
    opened.upstream = Some(upstream);
    tcp::run_greeted(worker, conn, Prefixed::new(octets, stream), opened, greeting).await;
}

/// Reads what there is, which is kept.
async fn readable(stream: &mut Link, octets: &mut Vec<u8>) -> std::io::Result<()> {
    let mut buffer = [0; 4096];
    let n = poll_fn(|cx| {
        let mut area = ReadBuf::new(&mut buffer);
        let polled = Pin::new(&mut *stream).poll_read(cx, &mut area);
        polled.map_ok(|()| area.filled().len())
    })
    .await?;
    octets.extend_from_slice(&buffer[..n]);
    Ok(())
}

async fn first_octets(worker: &Worker, stream: Stream) -> (Sniffed, Prefixed<Stream>) {
    more_octets(worker, stream, Vec::with_capacity(512)).await
}

/// Waits until it is known what a client speaks. Whoever says nothing, or hangs up before it has said enough, speaks TCP.
async fn more_octets(
    worker: &Worker,
    mut stream: Stream,
    mut octets: Vec<u8>,
) -> (Sniffed, Prefixed<Stream>) {
    let looking = look(&mut stream, &mut octets);
    let sniffed = tokio::time::timeout(worker.shared.settings.sniff_timeout, looking).await;
    (sniffed.unwrap_or(Sniffed::Tcp), Prefixed::new(octets, stream))
}

async fn look(stream: &mut Stream, octets: &mut Vec<u8>) -> Sniffed {
    loop {
        match stream.read_buf(octets).await {
            Ok(n) if n > 0 => {}
            _ => return sniff(octets),
        }
        match sniff(octets) {
            Sniffed::More if octets.len() < LOOK => {}
            decided => return decided,
        }
    }
}

/// The server name that a TLS client asks for, if its greeting has one (RFC 6066 §3).
async fn server_name(worker: &Worker, mut stream: Stream) -> (Option<Box<str>>, Prefixed<Stream>) {
    let mut octets = Vec::with_capacity(2048);
    let reading = async {
        let mut acceptor = Acceptor::default();
        loop {
            let before = octets.len();
            match stream.read_buf(&mut octets).await {
                Ok(n) if n > 0 && octets.len() <= LONGEST_HELLO => {}
                _ => return None,
            }
            let mut new = &octets[before..];
            while !new.is_empty() {
                acceptor.read_tls(&mut new).ok()?;
            }
            match acceptor.accept() {
                Ok(None) => {}
                Ok(Some(accepted)) => return accepted.client_hello().server_name().map(Into::into),
                // Not TLS, or none that we know: it goes on without a name.
                Err(_) => return None,
            }
        }
    };
    let name = tokio::time::timeout(worker.shared.settings.sniff_timeout, reading).await;
    (name.ok().flatten(), Prefixed::new(octets, stream))
}
