//! Streams through the mesh as tokio's `AsyncRead` and `AsyncWrite`.
use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use adit_runtime::{Leaving, TunnelStream};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// A [`TunnelStream`] for tokio.
#[derive(Debug)]
pub struct Stream(TunnelStream);

impl Stream {
    /// The address of this end.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.0.local_addr()
    }

    /// The address of the other end; see [`TunnelStream::peer_addr`].
    #[must_use]
    pub fn peer_addr(&self) -> SocketAddr {
        self.0.peer_addr()
    }

    /// Whether its tunnel's peer has taken its leave; see [`TunnelStream::leaving`].
    #[must_use]
    pub fn leaving(&self) -> Leaving {
        self.0.leaving()
    }

    /// Ends the stream so that the peer sees a reset.
    pub fn reset(self) {
        self.0.reset();
    }
}

impl From<TunnelStream> for Stream {
    fn from(stream: TunnelStream) -> Self {
        Self(stream)
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let n = ready!(self.0.poll_read(cx, buffer.initialize_unfilled()))?;
        buffer.advance(n);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, octets: &[u8]) -> Poll<io::Result<usize>> {
        self.0.poll_write(cx, &[IoSlice::new(octets)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.0.poll_write(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    /// The shard takes what was written without being asked.
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.shutdown();
        Poll::Ready(Ok(()))
    }
}

/// Streams that arrive for an address of this process.
#[derive(Debug)]
pub struct Incoming(adit_runtime::Incoming);

impl From<adit_runtime::Incoming> for Incoming {
    fn from(incoming: adit_runtime::Incoming) -> Self {
        Self(incoming)
    }
}

impl Incoming {
    /// Waits for the next stream.
    pub async fn accept(&mut self) -> Stream {
        Stream(self.0.accept().await)
    }
}
