//! The application behind the proxies and the clients before them: cheap, and every octet counted.
//!
//! The first octet of a connection says what it is: `e` echo, `s` swallow until FIN and answer the count (8 octets,
//! big endian), `g` followed by 8 octets: send that many and finish.
use std::io::{self, Read, Write};
use std::mem::MaybeUninit;
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use socket2::SockRef;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

use crate::Failure;

const BLOCK: usize = 1 << 20;
/// `MSG_TRUNC`: the kernel drops TCP octets instead of copying them out.
const MSG_TRUNC: i32 = 0x20;

/// Serves until killed.
pub(crate) fn app(listen: SocketAddr) -> Result<(), Failure> {
    crate::standin::run(1, async move {
        let listener = TcpListener::bind(listen).await?;
        loop {
            let (mut socket, _) = listener.accept().await?;
            socket.set_nodelay(true)?;
            tokio::spawn(async move {
                match socket.read_u8().await? {
                    b'e' => {
                        let mut buffer = vec![0; 16 << 10];
                        loop {
                            let n = socket.read(&mut buffer).await?;
                            if n == 0 {
                                return socket.shutdown().await;
                            }
                            socket.write_all(&buffer[..n]).await?;
                        }
                    }
                    kind => {
                        let socket = socket.into_std()?;
                        socket.set_nonblocking(false)?;
                        thread::spawn(move || if kind == b's' { swallow(socket) } else { source(socket) });
                        Ok(())
                    }
                }
            });
        }
    })
}

fn swallow(mut socket: TcpStream) -> io::Result<()> {
    let total = drop_all(&socket)?;
    socket.write_all(&total.to_be_bytes())?;
    socket.shutdown(Shutdown::Write)
}

fn source(mut socket: TcpStream) -> io::Result<()> {
    let mut count = [0; 8];
    socket.read_exact(&mut count)?;
    send_zeros(&mut socket, u64::from_be_bytes(count))?;
    socket.shutdown(Shutdown::Write)
}

fn send_zeros(socket: &mut TcpStream, mut left: u64) -> io::Result<()> {
    let block = vec![0; BLOCK];
    while left > 0 {
        let n = left.min(BLOCK as u64);
        socket.write_all(&block[..n as usize])?;
        left -= n;
    }
    Ok(())
}

/// Reads to EOF without copying; how many octets there were.
fn drop_all(socket: &TcpStream) -> io::Result<u64> {
    let mut block = vec![MaybeUninit::uninit(); BLOCK];
    let mut total = 0;
    loop {
        match SockRef::from(socket).recv_with_flags(&mut block, MSG_TRUNC)? {
            0 => return Ok(total),
            n => total += n as u64,
        }
    }
}

fn connect(entry: SocketAddr) -> io::Result<TcpStream> {
    let socket = TcpStream::connect(entry)?;
    socket.set_nodelay(true)?;
    socket.set_read_timeout(Some(Duration::from_secs(60)))?;
    Ok(socket)
}

/// Sends `octets` over each of `connections` at once, and has the far side count them.
pub(crate) fn bulk_up(entry: SocketAddr, connections: usize, octets: u64) -> Result<(), Failure> {
    parallel(connections, move || {
        let mut socket = connect(entry)?;
        socket.write_all(b"s")?;
        send_zeros(&mut socket, octets)?;
        socket.shutdown(Shutdown::Write)?;
        let mut count = [0; 8];
        socket.read_exact(&mut count)?;
        counted(octets, u64::from_be_bytes(count))
    })
}

/// Receives `octets` over each of `connections` at once, and counts them.
pub(crate) fn bulk_down(entry: SocketAddr, connections: usize, octets: u64) -> Result<(), Failure> {
    parallel(connections, move || {
        let mut socket = connect(entry)?;
        socket.write_all(b"g")?;
        socket.write_all(&octets.to_be_bytes())?;
        counted(octets, drop_all(&socket)?)
    })
}

fn counted(expected: u64, got: u64) -> Result<(), Failure> {
    if expected == got { Ok(()) } else { Err(format!("{got} octets arrived of {expected}").into()) }
}

fn parallel(
    connections: usize,
    work: impl Fn() -> Result<(), Failure> + Copy + Send + 'static,
) -> Result<(), Failure> {
    let threads: Vec<_> = (0..connections).map(|_| thread::spawn(work)).collect();
    for thread in threads {
        thread.join().map_err(|_| "a load thread panicked")??;
    }
    Ok(())
}

/// Request and answer of `size` octets on `connections` kept connections for `duration`: requests done, and the
/// median latency.
pub(crate) fn requests(
    entry: SocketAddr,
    connections: usize,
    size: usize,
    duration: Duration,
) -> Result<(u64, Duration), Failure> {
    let done = Arc::new(AtomicU64::new(0));
    let total = Arc::clone(&done);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let mut latencies = runtime.block_on(async move {
        let end = Instant::now() + duration;
        let tasks: Vec<_> = (0..connections)
            .map(|_| {
                let done = Arc::clone(&done);
                tokio::spawn(async move {
                    let mut socket = tokio::net::TcpStream::connect(entry).await?;
                    socket.set_nodelay(true)?;
                    socket.write_all(b"e").await?;
                    let (request, mut answer) = (vec![7; size], vec![0; size]);
                    let mut latencies = Vec::new();
                    while Instant::now() < end {
                        let begin = Instant::now();
                        socket.write_all(&request).await?;
                        socket.read_exact(&mut answer).await?;
                        latencies.push(begin.elapsed());
                        done.fetch_add(1, Ordering::Relaxed);
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
    latencies.sort();
    let median = latencies.get(latencies.len() / 2).copied().unwrap_or_default();
    Ok((total.load(Ordering::Relaxed), median))
}

/// Opens, uses for one octet and closes connections, `clients` at a time, for `duration`: how many.
pub(crate) fn connections(entry: SocketAddr, clients: usize, duration: Duration) -> Result<u64, Failure> {
    let done = Arc::new(AtomicU64::new(0));
    let total = Arc::clone(&done);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async move {
        let end = Instant::now() + duration;
        let tasks: Vec<_> = (0..clients)
            .map(|_| {
                let done = Arc::clone(&done);
                tokio::spawn(async move {
                    while Instant::now() < end {
                        let mut socket = tokio::net::TcpStream::connect(entry).await?;
                        socket.write_all(b"e!").await?;
                        socket.read_u8().await?;
                        socket.shutdown().await?;
                        let _ = socket.read(&mut [0]).await?;
                        done.fetch_add(1, Ordering::Relaxed);
                    }
                    Ok::<_, io::Error>(())
                })
            })
            .collect();
        for task in tasks {
            task.await??;
        }
        Ok::<_, Failure>(())
    })?;
    Ok(total.load(Ordering::Relaxed))
}

/// Connections that have echoed `size` octets once and now do nothing.
pub(crate) fn idle(entry: SocketAddr, count: usize, size: usize) -> Result<Vec<TcpStream>, Failure> {
    let (request, mut answer) = (vec![1; size], vec![0; size]);
    (0..count)
        .map(|_| {
            let mut socket = connect(entry)?;
            socket.write_all(b"e")?;
            let mut writer = socket.try_clone()?;
            thread::scope(|scope| {
                let sent = scope.spawn(|| writer.write_all(&request));
                socket.read_exact(&mut answer)?;
                sent.join().map_err(|_| "a load thread panicked")??;
                Ok::<_, Failure>(())
            })?;
            Ok(socket)
        })
        .collect()
}

/// Opens `count` connections, up to `OPENING` at a time, echoes `size` octets on each, keeps all until the last is through
/// and then closes them.
pub(crate) fn burst(entry: SocketAddr, count: usize, size: usize) -> Result<(), Failure> {
    const OPENING: usize = 128;
    let turns = Arc::new(Semaphore::new(OPENING));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async move {
        let tasks: Vec<_> = (0..count)
            .map(|_| {
                let turns = Arc::clone(&turns);
                tokio::spawn(async move {
                    let _turn = turns.acquire().await.map_err(io::Error::other)?;
                    let mut socket = tokio::net::TcpStream::connect(entry).await?;
                    socket.set_nodelay(true)?;
                    socket.write_all(b"e").await?;
                    let (mut reader, mut writer) = socket.split();
                    let (request, mut answer) = (vec![3; size], vec![0; size]);
                    tokio::try_join!(writer.write_all(&request), reader.read_exact(&mut answer))?;
                    Ok::<_, io::Error>(socket)
                })
            })
            .collect();
        let mut open = Vec::with_capacity(count);
        for task in tasks {
            open.push(task.await??);
        }
        Ok(())
    })
}

/// Whether one octet makes it there and back.
pub(crate) fn alive(entry: SocketAddr) -> bool {
    let probe = || -> io::Result<()> {
        let mut socket = TcpStream::connect(entry)?;
        socket.set_read_timeout(Some(Duration::from_secs(2)))?;
        socket.write_all(b"e!")?;
        socket.read_exact(&mut [0])
    };
    probe().is_ok()
}
