//! Conversations with `adit-peer server` that a test holds by itself.
use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};

use super::peer::Script;
use super::{HarnessError, Host, Result};

/// Opens a connection on which `script` is played, by hand.
///
/// # Errors
/// Nobody takes it.
pub fn open(from: &Host, to: impl Into<SocketAddr>, script: Script) -> Result<TcpStream> {
    let mut stream = from.connect(to)?;
    let sent = stream.write_all(format!("{script}\n").as_bytes());
    sent.map_err(HarnessError::io("sending"))?;
    Ok(stream)
}

/// Asks who we are; the answer, or nothing from a connection that was refused, or ended without one.
///
/// # Errors
/// Nothing came in time, or the namespace is gone.
pub fn who_am_i(from: &Host, to: impl Into<SocketAddr>) -> Result<Option<String>> {
    let mut answer = String::new();
    let got = match open(from, to, Script::WhoAmI) {
        Ok(mut stream) => stream.read_to_string(&mut answer),
        // Reset before the question went out.
        Err(HarnessError::Io { error, .. }) => Err(error),
        Err(error) => return Err(error),
    };
    match got {
        Ok(0) => Ok(None),
        Ok(_) => Ok(Some(answer)),
        Err(error) if error.kind() == ErrorKind::ConnectionReset => Ok(None),
        Err(error) => Err(HarnessError::io("waiting for an answer")(error)),
    }
}

/// An open connection whose far end says back what it hears.
#[derive(Debug)]
pub struct Echo(TcpStream);

impl Echo {
    /// Opens one and tries it.
    ///
    /// # Errors
    /// Nobody takes it, or nothing comes back.
    pub fn open(from: &Host, to: impl Into<SocketAddr>) -> Result<Self> {
        let mut echo = Self(open(from, to, Script::Echo)?);
        echo.exchange("the first words")?;
        Ok(echo)
    }

    /// Says something and waits to hear it back.
    ///
    /// # Errors
    /// The connection ends, or nothing, or something else, comes back.
    pub fn exchange(&mut self, text: &str) -> Result<()> {
        let mut heard = vec![0; text.len()];
        let done = self.0.write_all(text.as_bytes()).and_then(|()| self.0.read_exact(&mut heard));
        let done = done.and_then(|()| {
            let heard = String::from_utf8_lossy(&heard);
            if heard == text { Ok(()) } else { Err(io::Error::other(format!("heard {heard:?}"))) }
        });
        done.map_err(HarnessError::io(format!("exchanging {text:?}")))
    }

    /// Waits until the connection is cut off.
    ///
    /// # Panics
    /// When it ends otherwise: with a FIN, which could be taken for the end of what was to come, or not at all.
    pub fn wait_cut(mut self) {
        let heard = self.0.read(&mut [0]).map_err(|error| error.kind());
        assert_eq!(heard, Err(ErrorKind::ConnectionReset));
    }
}
