//! A TCP connection of the simulated network: two byte queues with FIN and RST.
use std::collections::VecDeque;

use adit_core::proxy::SocketId;

use super::{AppId, NodeId};

/// Index of a connection in the room.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LinkId(pub(super) usize);

/// Who holds one end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    Node(NodeId, SocketId),
    App(AppId),
}

/// What travels from one end to the other.
#[derive(Debug, Default)]
struct Pipe {
    octets: VecDeque<u8>,
    fin: bool,
    fin_taken: bool,
}

/// One connection.
#[derive(Debug)]
pub(super) struct Link {
    pub(super) ends: [End; 2],
    /// `pipes[end]` carries what `end` writes.
    pipes: [Pipe; 2],
    /// An RST on its way to this end, and whether it has been seen.
    reset: [Option<bool>; 2],
    closed: [bool; 2],
    /// This end's writer waits for room.
    pub(super) blocked: [bool; 2],
}

impl Link {
    pub(super) fn new(ends: [End; 2]) -> Self {
        Self { ends, pipes: Default::default(), reset: [None; 2], closed: [false; 2], blocked: [false; 2] }
    }

    pub(super) fn room(&self, end: usize, capacity: usize) -> usize {
        if self.closed[1 - end] { capacity } else { capacity.saturating_sub(self.pipes[end].octets.len()) }
    }

    /// Writes what there is room for. Writing to a closed end brings an RST, as TCP does.
    pub(super) fn write(&mut self, end: usize, bytes: &[u8], capacity: usize) -> usize {
        if self.closed[1 - end] {
            self.reset[end].get_or_insert(false);
            return bytes.len();
        }
        let n = bytes.len().min(self.room(end, capacity));
        self.pipes[end].octets.extend(&bytes[..n]);
        n
    }

    pub(super) fn finish(&mut self, end: usize) {
        self.pipes[end].fin = true;
    }

    /// Closes an end: FIN, or RST when asked for or when something was left unread.
    pub(super) fn close(&mut self, end: usize, reset: bool) {
        self.closed[end] = true;
        if reset || !self.pipes[1 - end].octets.is_empty() {
            self.reset(end);
        } else {
            self.finish(end);
        }
    }

    /// Sends RST from `end`.
    pub(super) fn reset(&mut self, end: usize) {
        self.closed[end] = true;
        if !self.closed[1 - end] {
            self.reset[1 - end].get_or_insert(false);
        }
    }

    pub(super) fn is_reset(&self, end: usize) -> bool {
        self.reset[end].is_some()
    }

    /// True once.
    pub(super) fn take_reset(&mut self, end: usize) -> bool {
        match &mut self.reset[end] {
            Some(seen) => !std::mem::replace(seen, true),
            None => false,
        }
    }

    pub(super) fn readable(&self, end: usize) -> usize {
        self.pipes[1 - end].octets.len()
    }

    pub(super) fn read(&mut self, end: usize, into: &mut [u8]) -> usize {
        let octets = &mut self.pipes[1 - end].octets;
        let n = into.len().min(octets.len());
        for (to, from) in into.iter_mut().zip(octets.drain(..n)) {
            *to = from;
        }
        n
    }

    /// True once, when everything before the FIN has been read.
    pub(super) fn take_fin(&mut self, end: usize) -> bool {
        let pipe = &mut self.pipes[1 - end];
        pipe.fin && pipe.octets.is_empty() && !std::mem::replace(&mut pipe.fin_taken, true)
    }
}
