//! Received payload between the wire and the applications: ranges of the input chunk, or copies for who is slow.
use alloc::boxed::Box;
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
    /// Octets in it: counted, because a peer that sends tiny frames makes chains of thousands of pieces.
    octets: u32,
}

impl Chain {
    pub(super) const EMPTY: Self = Self { first: NONE, last: NONE, octets: 0 };

    pub(super) const fn is_empty(self) -> bool {
        self.first == NONE
    }

    /// Octets not delivered yet.
    pub(super) fn octets(self) -> usize {
        usize::try_from(self.octets).unwrap_or(usize::MAX)
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
        chain.octets = chain.octets.saturating_add(len32);
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
        let taken = n.saturating_sub(left);
        chain.octets = chain.octets.saturating_sub(count(taken));
        if chain.is_empty() {
            *chain = Chain::EMPTY;
        }
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

/// What one slow application has not taken yet, copied out of the input chunk. A stream that keeps up has none, and not
/// even the queue's own memory stays with it.
#[derive(Debug, Default)]
pub(super) struct Backlog(Option<Box<Queue>>);

#[derive(Debug, Default)]
struct Queue {
    chunks: VecDeque<Copies>,
    /// Octets not delivered yet, and the memory of all chunks: counted, because both are asked for with every frame. An
    /// HTTP/2 window has 31 bits, so 32 are enough.
    octets: u32,
    held: u32,
}

impl Backlog {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    /// Octets of memory held, spare room included.
    pub(super) fn held(&self) -> usize {
        self.0.as_ref().map_or(0, |queue| usize::try_from(queue.held).unwrap_or(usize::MAX))
    }

    /// Octets not delivered yet.
    pub(super) fn octets(&self) -> usize {
        self.0.as_ref().map_or(0, |queue| usize::try_from(queue.octets).unwrap_or(usize::MAX))
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &[u8]> {
        let chunks = self.0.iter().flat_map(|queue| &queue.chunks);
        chunks.map(|copies| copies.chunk.get(copies.start..copies.end).unwrap_or_default())
    }

    /// Copies `bytes` to the end.
    pub(super) fn append(&mut self, bytes: &[u8], pool: &mut BufferPool) {
        if !bytes.is_empty() {
            self.0.get_or_insert_default().append(bytes, pool);
        }
    }

    /// Takes up to `n` octets off the front; returns how many. Emptied chunks go back.
    pub(super) fn advance(&mut self, n: usize, pool: &mut BufferPool) -> usize {
        let Some(queue) = &mut self.0 else { return 0 };
        let taken = queue.advance(n, pool);
        if queue.chunks.is_empty() {
            self.0 = None;
        }
        taken
    }

    /// Gives everything back; returns how many octets were not delivered.
    pub(super) fn clear(&mut self, pool: &mut BufferPool) -> usize {
        self.advance(usize::MAX, pool)
    }
}

impl Queue {
    fn append(&mut self, mut bytes: &[u8], pool: &mut BufferPool) {
        while !bytes.is_empty() {
            let taken = self.chunks.back_mut().map_or(0, |copies| copies.append(bytes));
            self.octets = self.octets.saturating_add(count(taken));
            bytes = bytes.get(taken..).unwrap_or_default();
            if !bytes.is_empty() {
                let chunk = pool.take(Class::for_octets(bytes.len()));
                self.held = self.held.saturating_add(count(chunk.len()));
                self.chunks.push_back(Copies { chunk, start: 0, end: 0 });
            }
        }
    }

    fn advance(&mut self, n: usize, pool: &mut BufferPool) -> usize {
        let mut left = n;
        while left > 0 {
            let Some(copies) = self.chunks.front_mut() else { break };
            let taken = left.min(copies.end.saturating_sub(copies.start));
            copies.start = copies.start.saturating_add(taken);
            left = left.saturating_sub(taken);
            if copies.start >= copies.end
                && let Some(copies) = self.chunks.pop_front()
            {
                self.held = self.held.saturating_sub(count(copies.chunk.len()));
                pool.give(copies.chunk);
            }
        }
        let taken = n.saturating_sub(left);
        self.octets = self.octets.saturating_sub(count(taken));
        taken
    }
}

/// Octets as the counters have them.
fn count(octets: usize) -> u32 {
    u32::try_from(octets).unwrap_or(u32::MAX)
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

#[cfg(test)]
mod tests {
    use std::vec;

    use proptest::prelude::*;

    use super::*;

    impl Pieces {
        /// What [`Chain::octets`] counts, counted anew.
        fn walk(&self, chain: Chain) -> usize {
            let next = |piece: &&Piece| self.piece(piece.next);
            core::iter::successors(self.piece(chain.first), next).map(|piece| range(piece).len()).sum()
        }
    }

    proptest! {
        #[test]
        fn counters_say_what_a_walk_would(
            calls in prop::collection::vec((0_u8..6, 0_usize..3, 0_usize..70_000), 0..80),
        ) {
            let mut pool = BufferPool::default();
            let mut pieces = Pieces::default();
            let (mut chains, mut backlogs) = ([Chain::EMPTY; 3], [(); 3].map(|()| Backlog::default()));
            let mut at = 0;
            for (call, who, n) in calls {
                let (chain, backlog) = (&mut chains[who], &mut backlogs[who]);
                match call {
                    // A frame header before it, or none between two records' halves of one frame.
                    0 | 1 if n > 0 => {
                        at += if call == 0 { 9 } else { 0 };
                        pieces.push(chain, StreamId(1), at, n);
                        at += n;
                    }
                    2 => { pieces.advance(chain, n); }
                    3 => backlog.append(&vec![7; n], &mut pool),
                    4 => { backlog.advance(n, &mut pool); }
                    5 if n < 10_000 => {
                        pieces.drain().for_each(drop);
                        (chains, at) = ([Chain::EMPTY; 3], 0);
                    }
                    _ => {}
                }
                for chain in chains {
                    prop_assert_eq!(chain.octets(), pieces.walk(chain));
                }
                prop_assert_eq!(pieces.octets(), chains.iter().map(|chain| chain.octets()).sum::<usize>());
                for backlog in &backlogs {
                    prop_assert_eq!(backlog.octets(), backlog.iter().map(<[u8]>::len).sum::<usize>());
                    let chunks = backlog.0.iter().flat_map(|queue| &queue.chunks).map(|copies| copies.chunk.len());
                    prop_assert_eq!(backlog.held(), chunks.sum::<usize>());
                }
            }
            for mut backlog in backlogs {
                backlog.clear(&mut pool);
                prop_assert_eq!((backlog.octets(), backlog.held()), (0, 0));
            }
        }
    }
}
