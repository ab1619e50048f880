//! One attempt at a name server: its socket, and what comes to it.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use adit_core::dns::Transport;
use adit_core::dns::forward::Attempt;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, UdpSocket};
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

use super::Egress;
use super::server::Event;

/// How long a connection to a name server may take (datapath §7.5).
const CONNECT: Duration = Duration::from_secs(5);
/// Most octets of a message.
const MOST: usize = 65_535;

/// Where an attempt goes and who hears of it.
pub(super) struct Upstream {
    pub(super) attempt: Attempt,
    pub(super) server: SocketAddr,
    pub(super) egress: Arc<dyn Egress>,
    pub(super) events: mpsc::Sender<Event>,
}

impl Upstream {
    /// Sends `message` and reports whatever comes back until the task is aborted; then that nothing more can come.
    pub(super) async fn run(self, transport: Transport, message: Vec<u8>) {
        let ended = match transport {
            Transport::Udp => self.udp(&message).await,
            Transport::Tcp => self.tcp(message).await,
        };
        tracing::debug!(target: "dns", server = %self.server, ended = ?ended.err(), "name server cannot respond");
        // An error means that the server has gone: then nobody waits.
        let _ = self.events.send(Event::Failed(self.attempt)).await;
    }

    async fn udp(&self, message: &[u8]) -> io::Result<()> {
        let socket = UdpSocket::from_std(self.egress.udp(self.server)?)?;
        socket.send(message).await?;
        loop {
            socket.readable().await?;
            // Only now: most of the time, many attempts wait and need none.
            let mut octets = vec![0; MOST];
            match socket.try_recv(&mut octets) {
                Ok(length) => self.respond(octets.get(..length).unwrap_or_default().to_vec()).await,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
    }

    async fn tcp(&self, message: Vec<u8>) -> io::Result<()> {
        let socket = TcpSocket::from_std_stream(self.egress.tcp(self.server)?.into());
        let mut stream = timeout(CONNECT, socket.connect(self.server)).await??;
        stream.write_all(&framed(&message)).await?;
        loop {
            let length = stream.read_u16().await?;
            let mut octets = vec![0; usize::from(length)];
            stream.read_exact(&mut octets).await?;
            self.respond(octets).await;
        }
    }

    /// Reports a message and waits until it is written to the client, or was not for it.
    async fn respond(&self, octets: Vec<u8>) {
        let (written, done) = oneshot::channel();
        let event = Event::Responded { attempt: self.attempt, from: self.server, octets, written };
        if self.events.send(event).await.is_ok() {
            // An error is the message being dropped: as good as written.
            let _ = done.await;
        }
    }
}

/// A message behind its length (RFC 1035 §4.2.2). Longer ones than fit do not occur: none was ever read or made.
pub(super) fn framed(message: &[u8]) -> Vec<u8> {
    let length = u16::try_from(message.len()).unwrap_or(u16::MAX);
    let mut octets = Vec::with_capacity(message.len().saturating_add(2));
    octets.extend_from_slice(&length.to_be_bytes());
    octets.extend_from_slice(message);
    octets
}
