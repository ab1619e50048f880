//! The client: connects, straight or by SOCKS5, and plays one script.
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use futures_lite::future::try_zip;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::script::Script;
use super::wire::{End, HERE, RIGHT, expect, finished, receive, reset, send};
use crate::netns::Pattern;

/// No script is silent for so long when things work.
const SILENCE: Duration = Duration::from_secs(15);

/// How much the echo script sends.
const ECHO: u64 = 100_000;

/// Plays `script` with the server at `to`; what is worth telling of it, or how it ended instead.
pub(super) async fn play(to: SocketAddr, script: Script) -> Result<String, End> {
    let limit = match script {
        // Large transfers take their time.
        Script::Bulk { .. } => 8 * SILENCE,
        _ => SILENCE,
    };
    timeout(limit, async { converse(TcpStream::connect(to).await?, script).await })
        .await
        .unwrap_or(Err(End::Silence))
}

async fn converse(mut stream: TcpStream, script: Script) -> Result<String, End> {
    open(&mut stream, script).await?;
    match script {
        Script::WhoAmI => {
            let mut answer = Vec::new();
            stream.read_to_end(&mut answer).await?;
            // Whoever is no server of ours may say more than a line, and anything.
            String::from_utf8_lossy(&answer).lines().next().map(str::to_owned).ok_or(End::Eof)
        }
        Script::Echo => {
            let (mut from, mut to) = stream.split();
            let sending = async {
                send(&mut to, ECHO, Pattern::new(1)).await?;
                Ok::<(), End>(to.shutdown().await?)
            };
            try_zip(sending, receive(&mut from, ECHO, Pattern::new(1))).await?;
            finished(from).await.map(|()| "echoed".to_owned())
        }
        Script::Bulk { up, down, seed } => {
            expect(&mut stream, HERE).await?;
            bulk(&mut stream, up, down, seed).await?;
            Ok("all octets right".to_owned())
        }
        Script::ServerFirst { up } => {
            finished(&mut stream).await?;
            send(&mut stream, up, Pattern::new(up)).await?;
            stream.shutdown().await?;
            Ok("sent after the server's FIN".to_owned())
        }
        Script::ServerResets => {
            expect(&mut stream, HERE).await?;
            stream.write_u8(HERE).await?;
            finished(&mut stream).await?;
            Err(End::Eof)
        }
        Script::ClientResets => {
            expect(&mut stream, HERE).await?;
            reset(stream);
            Ok("reset".to_owned())
        }
        Script::Hold => {
            expect(&mut stream, HERE).await?;
            println!("holding");
            finished(&mut stream).await?;
            Err(End::Eof)
        }
    }
}

/// Sends the first line.
pub(super) async fn open(stream: &mut TcpStream, script: Script) -> Result<(), End> {
    stream.set_nodelay(true)?;
    Ok(stream.write_all(format!("{script}\n").as_bytes()).await?)
}

/// The client's part of [`Script::Bulk`] once the server is there.
pub(super) async fn bulk(stream: &mut TcpStream, up: u64, down: u64, seed: u64) -> Result<(), End> {
    let (mut from, to) = stream.split();
    try_zip(send(to, up, Pattern::new(seed)), receive(&mut from, down, Pattern::new(seed + 1))).await?;
    expect(&mut from, RIGHT).await?;
    finished(from).await
}

/// Connects to `to` by the SOCKS5 proxy at `via` (RFC 1928, no authentication).
pub(super) async fn by_socks5(via: SocketAddr, to: SocketAddr) -> Result<TcpStream, End> {
    let mut stream = TcpStream::connect(via).await?;
    let mut request = vec![5, 1, 0, 5, 1, 0];
    match to.ip() {
        IpAddr::V4(ip) => request.extend([1].iter().chain(&ip.octets())),
        IpAddr::V6(ip) => request.extend([4].iter().chain(&ip.octets())),
    }
    request.extend(to.port().to_be_bytes());
    stream.set_nodelay(true)?;
    stream.write_all(&request).await?;
    // The choice of method, then the answer with an IPv4 address.
    let mut answer = [0; 12];
    stream.read_exact(&mut answer).await?;
    if answer.starts_with(&[5, 0, 5, 0]) { Ok(stream) } else { Err(End::Wrong) }
}

/// Asks for `/healthz/ready` until the answer is 200.
pub(super) async fn ready(at: SocketAddr, within: Duration) -> Result<String, End> {
    let asking = async {
        loop {
            if status(at).await.is_ok_and(|answer| answer.starts_with("HTTP/1.1 200")) {
                return "ready".to_owned();
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(within, asking).await.map_err(|_| End::Silence)
}

async fn status(at: SocketAddr) -> Result<String, End> {
    let mut stream = TcpStream::connect(at).await?;
    let request = format!("GET /healthz/ready HTTP/1.1\r\nHost: {at}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}
