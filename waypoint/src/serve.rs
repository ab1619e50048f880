//! A stream of a client: what it speaks, and who serves that.
use std::rc::Rc;

use adit_core::l7::{Sniffed, sniff};
use adit_tokio::Stream;
use tokio::io::AsyncReadExt as _;

use crate::conn::Conn;
use crate::prefixed::Prefixed;
use crate::worker::Worker;
use crate::{http, tcp};

/// The most octets that are looked at to see what a stream speaks.
const LOOK: usize = 8192;

/// Serves a stream until it ends.
pub(crate) async fn serve(worker: Rc<Worker>, conn: Rc<Conn>, stream: Stream) {
    let (sniffed, stream) = look(&worker, stream).await;
    match sniffed {
        Sniffed::Http1 => http::serve_http1(&worker, &conn, stream).await,
        Sniffed::Http2 => http::serve_http2(&worker, &conn, stream).await,
        Sniffed::Tcp | Sniffed::More => tcp::serve(&worker, &conn, stream).await,
    }
}

/// Waits for the first octets. Whoever says nothing, or hangs up before it has said enough, speaks TCP.
async fn look(worker: &Worker, mut stream: Stream) -> (Sniffed, Prefixed<Stream>) {
    let mut octets = Vec::with_capacity(512);
    let reading = async {
        loop {
            match stream.read_buf(&mut octets).await {
                Ok(n) if n > 0 && octets.len() < LOOK => {}
                _ => return sniff(&octets),
            }
            match sniff(&octets) {
                Sniffed::More => {}
                decided => return decided,
            }
        }
    };
    let sniffed = tokio::time::timeout(worker.shared.settings.sniff_timeout, reading).await;
    (sniffed.unwrap_or(Sniffed::Tcp), Prefixed::new(octets, stream))
}
