//! The server: plays its part on each connection and prints how it went.
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use futures_lite::future::try_zip;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

use super::script::Script;
use super::wire::{End, HERE, RIGHT, expect, finished, receive, reset, send};
use crate::netns::Pattern;

const BACKLOG: u32 = 4096;

/// The longest first line.
const LINE: usize = 128;

/// Serves on all of `addresses` for ever. `open` counts connections.
pub(super) async fn serve(addresses: Vec<SocketAddr>, open: Arc<AtomicUsize>) -> std::io::Result<()> {
    let mut tasks = Vec::new();
    for address in addresses {
        let socket = if address.is_ipv6() { TcpSocket::new_v6()? } else { TcpSocket::new_v4()? };
        socket.set_reuseaddr(true)?;
        socket.bind(address)?;
        let listener = socket.listen(BACKLOG)?;
        println!("listening {address}");
        let open = Arc::clone(&open);
        tasks.push(tokio::spawn(async move {
            loop {
                // Out of descriptors: the next connection that ends makes room, and yielding lets it.
                let Ok((stream, peer)) = listener.accept().await else {
                    tokio::task::yield_now().await;
                    continue;
                };
                open.fetch_add(1, Ordering::Relaxed);
                let open = Arc::clone(&open);
                tokio::spawn(async move {
                    connection(stream, peer).await;
                    open.fetch_sub(1, Ordering::Relaxed);
                });
            }
        }));
    }
    // They serve until this process is killed; one that panics ends it.
    match tasks.into_iter().next() {
        Some(task) => task.await.map_err(std::io::Error::other),
        None => Ok(()),
    }
}

async fn connection(mut stream: TcpStream, peer: SocketAddr) {
    let script = match first_line(&mut stream).await {
        Ok(script) => script,
        Err(end) => return println!("served {peer} nothing {end}"),
    };
    match play(stream, peer, script).await {
        // Thousands of these: only their failures are told.
        Ok(()) if matches!(script, Script::Bulk { .. }) => {}
        Ok(()) => println!("served {peer} {script} well"),
        Err(end) => println!("served {peer} {script} {end}"),
    }
}

/// Read octet by octet, so that nothing beyond it is taken.
async fn first_line(stream: &mut TcpStream) -> Result<Script, End> {
    let mut line = String::new();
    loop {
        match stream.read_u8().await? {
            b'\n' => return line.parse().map_err(|_| End::Wrong),
            octet if line.len() < LINE => line.push(octet.into()),
            _ => return Err(End::Wrong),
        }
    }
}

async fn play(mut stream: TcpStream, peer: SocketAddr, script: Script) -> Result<(), End> {
    match script {
        Script::WhoAmI => {
            stream.write_all(peer.ip().to_canonical().to_string().as_bytes()).await?;
            stream.shutdown().await?;
            finished(&mut stream).await
        }
        Script::Echo => {
            let (mut from, mut to) = stream.split();
            tokio::io::copy(&mut from, &mut to).await?;
            Ok(stream.shutdown().await?)
        }
        Script::Bulk { up, down, seed } => {
            stream.write_u8(HERE).await?;
            let (from, to) = stream.split();
            let both = try_zip(receive(from, up, Pattern::new(seed)), send(to, down, Pattern::new(seed + 1)));
            if let Err(end) = both.await {
                reset(stream);
                return Err(end);
            }
            stream.write_u8(RIGHT).await?;
            stream.shutdown().await?;
            finished(&mut stream).await
        }
        Script::ServerFirst { up } => {
            stream.shutdown().await?;
            receive(&mut stream, up, Pattern::new(up)).await?;
            finished(&mut stream).await
        }
        Script::ServerResets => {
            stream.write_u8(HERE).await?;
            expect(&mut stream, HERE).await?;
            reset(stream);
            Ok(())
        }
        Script::ClientResets | Script::Hold => {
            stream.write_u8(HERE).await?;
            finished(&mut stream).await?;
            // Ended by FIN.
            Err(End::Eof)
        }
    }
}
