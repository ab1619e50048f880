//! HTTP/1.1 from clients, and the application that answers it: as little of it as there can be.
use std::io;
use std::net::SocketAddr;
use std::thread;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::Failure;

/// Octets of an answer's body.
const BODY: usize = 1024;
/// No head is longer.
const ROOM: usize = 16 << 10;

/// An application that answers every request with 1 KiB, on a thread of its own until this process ends.
pub(super) fn application(listen: SocketAddr) -> Result<SocketAddr, Failure> {
    let listener = std::net::TcpListener::bind(listen)?;
    listener.set_nonblocking(true)?;
    let address = listener.local_addr()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    thread::spawn(move || {
        runtime.block_on(async move {
            let listener = TcpListener::from_std(listener)?;
            loop {
                let (socket, _) = listener.accept().await?;
                // A client that hangs up is no fault.
                tokio::spawn(answers(socket));
            }
            #[expect(unreachable_code, reason = "it says what kind of errors there are")]
            io::Result::Ok(())
        })
    });
    Ok(address)
}

/// Where the head at the beginning of `octets` ends.
fn end_of_head(octets: &[u8]) -> Option<usize> {
    octets.windows(4).position(|four| four == b"\r\n\r\n").map(|at| at + 4)
}

async fn answers(mut socket: TcpStream) -> io::Result<()> {
    socket.set_nodelay(true)?;
    let head = format!("HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: {BODY}\r\n\r\n");
    let answer = [head.as_bytes(), &[b'x'; BODY]].concat();
    let mut octets = Vec::with_capacity(ROOM);
    loop {
        while let Some(end) = end_of_head(&octets) {
            octets.drain(..end);
            socket.write_all(&answer).await?;
        }
        if octets.len() >= ROOM || socket.read_buf(&mut octets).await? == 0 {
            return Ok(());
        }
    }
}

/// One request, and whether its answer is what it should be.
async fn ask(socket: &mut TcpStream, request: &[u8], answer: &mut Vec<u8>) -> io::Result<()> {
    socket.write_all(request).await?;
    answer.clear();
    loop {
        if let Some(end) = end_of_head(answer)
            && answer.len() >= end + BODY
        {
            return match answer.starts_with(b"HTTP/1.1 200 ") && answer.len() == end + BODY {
                true => Ok(()),
                false => Err(io::Error::other("the answer is not the application's")),
            };
        }
        if answer.len() >= ROOM || socket.read_buf(answer).await? == 0 {
            let text = String::from_utf8_lossy(answer).into_owned();
            return Err(io::Error::other(format!("no whole answer came: {text}")));
        }
    }
}

fn request(path: &str) -> Vec<u8> {
    format!(
        "GET {path}/items?n=1 HTTP/1.1\r\nhost: app.bench.svc.cluster.local\r\nuser-agent: bench\r\naccept: */*\r\n\r\n"
    )
    .into_bytes()
}

/// What clients have seen.
pub(super) struct Seen {
    pub(super) requests: u64,
    pub(super) p50: Duration,
    pub(super) p99: Duration,
}

/// Requests for `path` on `connections` kept connections, for `duration`.
pub(super) fn requests(
    entry: SocketAddr,
    path: &str,
    connections: usize,
    duration: Duration,
) -> Result<Seen, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let request: std::sync::Arc<[u8]> = request(path).into();
    let mut latencies = runtime.block_on(async move {
        let end = Instant::now() + duration;
        let tasks: Vec<_> = (0..connections)
            .map(|_| {
                let request = std::sync::Arc::clone(&request);
                tokio::spawn(async move {
                    let mut socket = TcpStream::connect(entry).await?;
                    socket.set_nodelay(true)?;
                    let (mut answer, mut latencies) = (Vec::with_capacity(ROOM), Vec::new());
                    while Instant::now() < end {
                        let begin = Instant::now();
                        ask(&mut socket, &request, &mut answer).await?;
                        latencies.push(begin.elapsed());
                    }
                    Ok::<_, io::Error>(latencies)
                })
            })
            .collect();
        let mut all = Vec::new();
        for task in tasks {
            all.extend(task.await??);
        }
        Ok::<_, Failure>(all)
    })?;
    latencies.sort_unstable();
    let at = |share: usize| latencies.get(latencies.len() * share / 100).copied().unwrap_or_default();
    Ok(Seen { requests: latencies.len() as u64, p50: at(50), p99: at(99) })
}

/// Whether a request for `path` is answered.
pub(super) fn alive(entry: SocketAddr, path: &str) -> bool {
    let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build() else {
        return false;
    };
    let probe = async {
        let mut socket = TcpStream::connect(entry).await?;
        ask(&mut socket, &request(path), &mut Vec::with_capacity(ROOM)).await
    };
    let within = runtime.block_on(async { tokio::time::timeout(Duration::from_secs(2), probe).await });
    matches!(within, Ok(Ok(())))
}
