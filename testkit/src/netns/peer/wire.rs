//! Reading and writing patterns, and how connections end.
use std::fmt;
use std::io::{self, ErrorKind};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::netns::Pattern;

/// The server says it is there.
pub(super) const HERE: u8 = b'R';
/// The server says that all it read was right.
pub(super) const RIGHT: u8 = b'K';

/// Small, since ten thousand connections have two each.
const CHUNK: usize = 4096;

/// How a connection ended, other than as its script says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum End {
    /// It was refused.
    Refused,
    /// A FIN came too early.
    Eof,
    /// An RST came.
    Reset,
    /// An octet was wrong, or there were too many.
    Wrong,
    /// Nothing came any more.
    Silence,
    /// The network could not do it (unreachable, no ports left, ...).
    Failed,
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Refused => "refused",
            Self::Eof => "eof",
            Self::Reset => "reset",
            Self::Wrong => "wrong",
            Self::Silence => "silence",
            Self::Failed => "failed",
        })
    }
}

impl From<io::Error> for End {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            ErrorKind::ConnectionRefused => Self::Refused,
            ErrorKind::ConnectionReset | ErrorKind::BrokenPipe | ErrorKind::ConnectionAborted => Self::Reset,
            ErrorKind::UnexpectedEof => Self::Eof,
            _ => Self::Failed,
        }
    }
}

/// Writes `count` octets of `pattern`.
pub(super) async fn send(
    mut to: impl AsyncWrite + Unpin,
    count: u64,
    mut pattern: Pattern,
) -> Result<(), End> {
    let mut buffer = [0; CHUNK];
    let mut left = count;
    while left > 0 {
        let now = usize::try_from(left).unwrap_or(CHUNK).min(CHUNK);
        pattern.fill(&mut buffer[..now]);
        to.write_all(&buffer[..now]).await?;
        left -= now as u64;
    }
    Ok(())
}

/// Reads `count` octets and checks each.
pub(super) async fn receive(
    mut from: impl AsyncRead + Unpin,
    count: u64,
    mut pattern: Pattern,
) -> Result<(), End> {
    let mut buffer = [0; CHUNK];
    let mut left = count;
    while left > 0 {
        let now = usize::try_from(left).unwrap_or(CHUNK).min(CHUNK);
        let got = from.read(&mut buffer[..now]).await?;
        if got == 0 {
            return Err(End::Eof);
        }
        if !pattern.matches(&buffer[..got]) {
            return Err(End::Wrong);
        }
        left -= got as u64;
    }
    Ok(())
}

/// Reads one octet that must be `expected`.
pub(super) async fn expect(mut from: impl AsyncRead + Unpin, expected: u8) -> Result<(), End> {
    if from.read_u8().await? == expected { Ok(()) } else { Err(End::Wrong) }
}

/// Reads the FIN that must come next.
pub(super) async fn finished(mut from: impl AsyncRead + Unpin) -> Result<(), End> {
    if from.read(&mut [0]).await? == 0 { Ok(()) } else { Err(End::Wrong) }
}

/// Closes with RST.
pub(super) fn reset(stream: TcpStream) {
    // Should the option fail, the other end reports a FIN and the test fails as it should.
    let _ = stream.set_zero_linger();
}
