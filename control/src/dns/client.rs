//! A client's TCP connection: questions in, answers out in the order in which they are ready (RFC 7766).

use std::io;
use std::net::IpAddr;
use std::time::Duration;

use adit_core::dns::Transport;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, sleep_until, timeout};

use super::server::{Event, ReplyTo};
use super::upstream::framed;

/// How long a connection may take over a question, or rest without one, or leave an answer unread (datapath §7.1).
const IDLE: Duration = Duration::from_secs(5);
/// Most questions of a connection under way (datapath §7.1).
const MOST_UNDER_WAY: usize = 32;

/// One message to a client.
pub(super) struct Reply {
    /// The message; `None` when there is nothing to say to a question.
    pub(super) message: Option<Vec<u8>>,
    /// Nothing else follows to the same question.
    pub(super) last: bool,
    /// Dropped when the message is written.
    pub(super) written: Option<oneshot::Sender<()>>,
}

/// A connection of a client.
pub(super) struct Connection {
    pub(super) id: u64,
    pub(super) peer: IpAddr,
    pub(super) events: mpsc::Sender<Event>,
    /// Closed when the server drains.
    pub(super) drain: watch::Receiver<()>,
}

impl Connection {
    /// Serves it to its end.
    pub(super) async fn run(self, stream: TcpStream) {
        let Self { id, events, .. } = &self;
        let (id, events) = (*id, events.clone());
        if let Err(error) = self.relay(stream).await {
            tracing::debug!(target: "dns", %error, "client connection failed");
        }
        // An error means that the server is gone.
        let _ = events.send(Event::Left(id)).await;
    }

    async fn relay(mut self, stream: TcpStream) -> io::Result<()> {
        let (mut reader, mut writer) = stream.into_split();
        // One message of each question at most is in here: transfers of zones wait for each to be written.
        let (sender, mut replies) = mpsc::channel::<Reply>(MOST_UNDER_WAY);
        let mut buffer = Vec::with_capacity(2_048);
        let mut under_way = 0_usize;
        let mut reading = true;
        let mut deadline = Instant::now() + IDLE;
        loop {
            while under_way < MOST_UNDER_WAY
                && let Some(octets) = take_message(&mut buffer)
            {
                under_way += 1;
                let client = ReplyTo::Tcp { connection: self.id, replies: sender.clone() };
                let event = Event::Asked { client, source: self.peer, octets, transport: Transport::Tcp };
                if self.events.send(event).await.is_err() {
                    return Ok(());
                }
            }
            if under_way == 0 && !reading {
                return Ok(());
            }
            tokio::select! {
                Some(reply) = replies.recv(), if under_way > 0 => {
                    let Reply { message, last, written } = reply;
                    if let Some(message) = message {
                        timeout(IDLE, writer.write_all(&framed(&message))).await??;
                    }
                    drop(written);
                    if last {
                        under_way -= 1;
                    }
                    deadline = Instant::now() + IDLE;
                }
                read = reader.read_buf(&mut buffer), if reading && under_way < MOST_UNDER_WAY => {
                    reading = read? > 0;
                }
                () = sleep_until(deadline), if under_way == 0 => return Ok(()),
                // Nothing is ever sent: this ends when the sender goes.
                _ = self.drain.changed(), if reading => reading = false,
            }
        }
    }
}

/// The first whole message, taken out of the buffer.
fn take_message(buffer: &mut Vec<u8>) -> Option<Vec<u8>> {
    let (length, rest) = buffer.split_first_chunk()?;
    let length = usize::from(u16::from_be_bytes(*length));
    let message = rest.get(..length)?.to_vec();
    buffer.drain(..length + 2);
    Some(message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_taken_whole_and_in_order() {
        let mut buffer = framed(b"one");
        buffer.extend(framed(b""));
        buffer.extend(&framed(b"three")[..6]);
        assert_eq!(take_message(&mut buffer).as_deref(), Some(&b"one"[..]));
        assert_eq!(take_message(&mut buffer).as_deref(), Some(&b""[..]));
        assert_eq!(take_message(&mut buffer), None);
        buffer.push(b'e');
        assert_eq!(take_message(&mut buffer).as_deref(), Some(&b"three"[..]));
        assert_eq!(take_message(&mut buffer), None);
        assert!(buffer.is_empty());
    }
}
