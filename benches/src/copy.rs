//! The floor: a TCP proxy on one thread that copies between two sockets with 256 KiB reads and does nothing else.
use std::net::SocketAddr;

use tokio::net::{TcpListener, TcpStream};

use crate::Failure;

const BUFFER: usize = 256 << 10;

/// Copies between each connection to `listen` and one to `to`, until killed.
pub(crate) fn run(listen: SocketAddr, to: SocketAddr) -> Result<(), Failure> {
    crate::standin::run(1, async move {
        let listener = TcpListener::bind(listen).await?;
        loop {
            let (mut client, _) = listener.accept().await?;
            tokio::spawn(async move {
                client.set_nodelay(true)?;
                let mut server = TcpStream::connect(to).await?;
                server.set_nodelay(true)?;
                tokio::io::copy_bidirectional_with_sizes(&mut client, &mut server, BUFFER, BUFFER).await
            });
        }
    })
}
