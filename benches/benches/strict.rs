//! What the scanner before hyper costs a request at a waypoint: each is read whole, with the scanner and without.
//!
//! `curl`: a head of three headers; `browser`: one of twelve, 0.7 KiB; `body`: 64 KiB behind a length; `chunks`: the same in
//! chunks of 8 KiB.
use std::hint::black_box;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use tokio::io::{AsyncRead, ReadBuf};

// Nothing of it is anybody else's, so the waypoint shows it to nobody.
#[allow(dead_code, unused_imports, reason = "the rest of it is the waypoint's")]
#[path = "../../waypoint/src/http/strict.rs"]
mod strict;

use strict::{Slot, Strict};

const CURL: &str =
    "GET /reviews/1 HTTP/1.1\r\nhost: reviews\r\nuser-agent: curl/8.5.0\r\naccept: */*\r\n\r\n";

const BROWSER: &str = "GET /orders?page=2&sort=created HTTP/1.1\r\nhost: shop.example\r\nuser-agent: Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0\r\n\
    accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8\r\naccept-language: en-US,en;q=0.5\r\naccept-encoding: gzip, deflate, br, zstd\r\n\
    referer: https://shop.example/orders?page=1&sort=created\r\ncookie: session=0123456789abcdef0123456789abcdef; theme=dark; consent=1\r\n\
    x-request-id: 1f7a5f0e-5c7c-9a0e-8f4e-2f9f1c1f7a5f\r\nx-forwarded-for: 203.0.113.7\r\nx-forwarded-proto: http\r\n\
    traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\r\ncache-control: max-age=0\r\n\r\n";

/// Gives the same request again and again.
struct Same {
    octets: Arc<[u8]>,
    read: usize,
}

impl AsyncRead for Same {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let rest = self.octets.get(self.read..).unwrap_or_default();
        let now = rest.len().min(buffer.remaining());
        buffer.put_slice(&rest[..now]);
        self.read = (self.read + now) % self.octets.len();
        Poll::Ready(Ok(()))
    }
}

/// Reads one request of `length` octets, in pieces as hyper does.
fn read(stream: &mut (impl AsyncRead + Unpin), buffer: &mut [u8], length: usize) {
    let mut cx = Context::from_waker(Waker::noop());
    let mut left = length;
    while left > 0 {
        let mut area = ReadBuf::new(buffer);
        assert!(Pin::new(&mut *stream).poll_read(&mut cx, &mut area).is_ready());
        assert!(!area.filled().is_empty(), "nothing of it is refused");
        left -= area.filled().len();
        black_box(area.filled());
    }
}

fn requests() -> [(&'static str, Arc<[u8]>); 4] {
    let piece = "x".repeat(8 << 10);
    let length = format!(
        "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: {}\r\n\r\n{}",
        8 * piece.len(),
        piece.repeat(8)
    );
    let chunks = format!("{:x}\r\n{piece}\r\n", piece.len()).repeat(8);
    let chunks = format!("POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n{chunks}0\r\n\r\n");
    [("curl", CURL.to_owned()), ("browser", BROWSER.to_owned()), ("body", length), ("chunks", chunks)]
        .map(|(name, text)| (name, text.into_bytes().into()))
}

fn scanner(c: &mut Criterion) {
    let mut group = c.benchmark_group("strict");
    for (name, octets) in requests() {
        let length = octets.len();
        let same = || Same { octets: Arc::clone(&octets), read: 0 };
        let mut buffer = vec![0; 8 << 10];
        let mut plain = same();
        group.bench_function(BenchmarkId::new("without", name), |b| {
            b.iter(|| read(&mut plain, &mut buffer, length));
        });
        let patience = Duration::from_secs(30);
        let mut strict = Strict::new(same(), Slot::default(), Arc::default(), patience);
        group.bench_function(BenchmarkId::new("with", name), |b| {
            b.iter(|| read(&mut strict, &mut buffer, length));
        });
    }
    group.finish();
}

criterion_group!(benches, scanner);
criterion_main!(benches);
