//! Received payload between the wire and the applications: ranges of the input chunk, or copies for who is slow.
use alloc::collections::VecDeque;
use alloc::vec::Vec;

use super::inbox::Inbox;
use crate::buffer::{BufferPool, Chunk, Class};
use crate::http2::StreamId;

/// "No piece" in a chain.
const NONE: u32 = u32::MAX;

/// A run of one stream's payload in the input chunk, linked to the stream's next.
#[derive(Clone, Copy, Debug)]
struct Piece {
    stream: StreamId,
    start: u32,
    end: u32,
    next: u32,
}

/// One stream's pieces in the input chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Chain {
    first: u32,
    last: u32,
}

impl Chain {
    pub(super) const EMPTY: Self = Self { first: NONE, last: NONE };

    pub(super) const fn is_empty(self) -> bool {
        self.first == NONE
    }
}

/// The pieces of all streams in the input chunk, in order of arrival.
#[derive(Debug, Default)]
pub(super) struct Pieces {
    list: Vec<Piece>,
    /// Octets not delivered yet.
    octets: usize,
}

impl Pieces {
    /// Pieces that a tunnel keeps room for between reads; a read that had more gives the room back.
    const KEPT: usize = 256;

    pub(super) const fn octets(&self) -> usize {
        self.octets
    }

    fn piece(&self, index: u32) -> Option<&Piece> {
        self.list.get(usize::try_from(index).ok()?)
    }

    fn piece_mut(&mut self, index: u32) -> Option<&mut Piece> {
        self.list.get_mut(usize::try_from(index).ok()?)
    }

    /// Appends `len` octets at `start` of the input chunk to `chain`.
    pub(super) fn push(&mut self, chain: &mut Chain, stream: StreamId, start: usize, len: usize) {
        let (Ok(index), Ok(start), Ok(len32)) =
            (u32::try_from(self.list.len()), u32::try_from(start), u32::try_from(len))
        else {
            return;
        };
        self.octets = self.octets.saturating_add(len);
        let end = start.saturating_add(len32);
        match self.piece_mut(chain.last) {
            Some(last) if last.end == start => {
                last.end = end;
                return;
            }
            Some(last) => last.next = index,
            None => chain.first = index,
        }
        chain.last = index;
        self.list.push(Piece { stream, start, end, next: NONE });
    }

    /// The octets of `chain`.
    pub(super) fn iter<'a>(&'a self, chain: Chain, inbox: &'a Inbox) -> impl Iterator<Item = &'a [u8]> {
        let mut at = chain.first;
        core::iter::from_fn(move || {
            let piece = self.piece(at)?;
            at = piece.next;
            Some(inbox.get(range(piece)))
        })
    }

    /// Takes up to `n` octets off the front of `chain`; returns how many.
    pub(super) fn advance(&mut self, chain: &mut Chain, n: usize) -> usize {
        let mut left = n;
        while left > 0 {
            let Some(piece) = self.piece_mut(chain.first) else { break };
            let taken = left.min(range(piece).len());
            piece.start = piece.start.saturating_add(u32::try_from(taken).unwrap_or(u32::MAX));
            left = left.saturating_sub(taken);
            if piece.start >= piece.end {
                chain.first = piece.next;
            }
        }
        if chain.is_empty() {
            *chain = Chain::EMPTY;
        }
        let taken = n.saturating_sub(left);
        self.octets = self.octets.saturating_sub(taken);
        taken
    }

    /// What was never delivered, in order of arrival; forgets all pieces.
    pub(super) fn drain(&mut self) -> impl Iterator<Item = (StreamId, core::ops::Range<usize>)> {
        self.octets = 0;
        self.list.drain(..).map(|piece| (piece.stream, range(&piece))).filter(|(_, range)| !range.is_empty())
    }

    /// Gives back the room that a busy time has left.
    pub(super) fn shrink(&mut self) {
        if self.list.capacity() > Self::KEPT {
            self.list = Vec::new();
        }
    }
}

fn range(piece: &Piece) -> core::ops::Range<usize> {
    // A u32 fits where there are sockets; on a smaller machine no chunk is that long.
    usize::try_from(piece.start).unwrap_or(usize::MAX)..usize::try_from(piece.end).unwrap_or(usize::MAX)
}

/// A chunk of copies, laid out as `delivered … start … end … spare`.
#[derive(Debug)]
struct Copies {
    chunk: Chunk,
    start: usize,
    end: usize,
}

/// What one slow application has not taken yet, copied out of the input chunk.
#[derive(Debug, Default)]
pub(super) struct Backlog {
    chunks: VecDeque<Copies>,
}

impl Backlog {
    pub(super) fn is_empty(&self) -> bool {
        self.chunks.is_empty()
    }

    /// Octets of memory held, spare room included.
    pub(super) fn held(&self) -> usize {
        self.chunks.iter().map(|copies| copies.chunk.len()).fold(0, usize::saturating_add)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &[u8]> {
        self.chunks.iter().map(|copies| copies.chunk.get(copies.start..copies.end).unwrap_or_default())
    }

    /// Copies `bytes` to the end.
    pub(super) fn append(&mut self, mut bytes: &[u8], pool: &mut BufferPool) {
        while !bytes.is_empty() {
            let taken = self.chunks.back_mut().map_or(0, |copies| copies.append(bytes));
            bytes = bytes.get(taken..).unwrap_or_default();
            if !bytes.is_empty() {
                let chunk = pool.take(Class::for_octets(bytes.len()));
                self.chunks.push_back(Copies { chunk, start: 0, end: 0 });
            }
        }
    }

    /// Takes up to `n` octets off the front; returns how many. Emptied chunks go back.
    pub(super) fn advance(&mut self, n: usize, pool: &mut BufferPool) -> usize {
        let mut left = n;
        while left > 0 {
            let Some(copies) = self.chunks.front_mut() else { break };
            let taken = left.min(copies.end.saturating_sub(copies.start));
            copies.start = copies.start.saturating_add(taken);
            left = left.saturating_sub(taken);
            if copies.start >= copies.end
                && let Some(copies) = self.chunks.pop_front()
            {
                pool.give(copies.chunk);
            }
        }
        if self.chunks.is_empty() {
            // Not even the queue's own memory stays with a stream that keeps up.
            self.chunks = VecDeque::new();
        }
        n.saturating_sub(left)
    }

    /// Gives everything back; returns how many octets were not delivered.
    pub(super) fn clear(&mut self, pool: &mut BufferPool) -> usize {
        self.advance(usize::MAX, pool)
    }
}

impl Copies {
    fn append(&mut self, bytes: &[u8]) -> usize {
        let Some(spare) = self.chunk.get_mut(self.end..) else { return 0 };
        let taken = spare.len().min(bytes.len());
        if let (Some(to), Some(from)) = (spare.get_mut(..taken), bytes.get(..taken)) {
            to.copy_from_slice(from);
        }
        self.end = self.end.saturating_add(taken);
        taken
    }
}
