//! A scripted application: what it sends, when it half-closes, and what it has got.
use super::LinkId;
use super::link::Link;

/// What an application does on a connection.
#[derive(Clone, Debug, Default)]
pub struct Script {
    /// Sent first.
    pub send: Vec<u8>,
    /// Send back whatever arrives, and half-close after the peer did.
    pub echo: bool,
    /// Half-close when `send` has left.
    pub finish: bool,
    /// Reset the connection once this many octets have arrived.
    pub reset_after: Option<usize>,
    /// Read nothing until released.
    pub hold: bool,
}

impl Script {
    /// Sends back what it gets.
    #[must_use]
    pub fn echo() -> Self {
        Self { echo: true, ..Self::default() }
    }

    /// Sends `octets` and half-closes.
    #[must_use]
    pub fn send(octets: impl Into<Vec<u8>>) -> Self {
        Self { send: octets.into(), finish: true, ..Self::default() }
    }
}

/// An application with a connection.
#[derive(Debug)]
pub struct App {
    script: Script,
    sent: usize,
    finished: bool,
    got: Vec<u8>,
    fin: bool,
    reset: bool,
    pub(super) link: Option<(LinkId, usize)>,
}

impl App {
    pub(super) fn new(script: Script) -> Self {
        Self { script, sent: 0, finished: false, got: Vec::new(), fin: false, reset: false, link: None }
    }

    /// What has arrived.
    #[must_use]
    pub fn got(&self) -> &[u8] {
        &self.got
    }

    /// The peer half-closed.
    #[must_use]
    pub fn saw_fin(&self) -> bool {
        self.fin
    }

    /// The connection was reset, or refused.
    #[must_use]
    pub fn saw_reset(&self) -> bool {
        self.reset
    }

    pub(super) fn release(&mut self) {
        self.script.hold = false;
    }

    pub(super) fn handle_reset(&mut self) {
        self.reset = true;
    }

    /// One turn: read, write, half-close; whether anything moved.
    pub(super) fn turn(&mut self, link: &mut Link, end: usize, most: usize, capacity: usize) -> bool {
        let mut moved = false;
        if link.is_reset(end) {
            moved |= link.take_reset(end);
            self.reset = true;
            return moved;
        }
        if !self.script.hold {
            let mut buffer = vec![0; most.min(link.readable(end))];
            let n = link.read(end, &mut buffer);
            moved |= n > 0;
            self.got.extend(&buffer[..n]);
            if self.script.echo {
                self.script.send.extend(&buffer[..n]);
            }
            if link.take_fin(end) {
                (self.fin, moved) = (true, true);
                self.script.finish |= self.script.echo;
            }
        }
        if self.script.reset_after.is_some_and(|after| self.got.len() >= after) {
            link.close(end, true);
            self.script.reset_after = None;
            self.finished = true;
            return true;
        }
        let rest = &self.script.send[self.sent..];
        if !rest.is_empty() && !self.finished {
            let n = link.write(end, &rest[..rest.len().min(most)], capacity);
            self.sent += n;
            moved |= n > 0;
        }
        if self.script.finish && !self.finished && self.sent == self.script.send.len() {
            link.finish(end);
            (self.finished, moved) = (true, true);
        }
        moved
    }
}
