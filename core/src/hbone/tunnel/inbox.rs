//! The buffer a tunnel reads wire octets into: one contiguous chunk while there is something in it.
use core::ops::Range;

use super::batch::Batch;
use crate::buffer::{BufferPool, Chunk, Class};
use crate::tls::Session;

/// One chunk laid out as `done … start … end … spare`: handled records (their plaintext may be lent), octets that are no
/// whole record yet, and room for the next read.
#[derive(Debug)]
pub(super) struct Inbox {
    chunk: Option<Chunk>,
    start: usize,
    end: usize,
    batch: Batch,
}

impl Inbox {
    /// Any record a peer may send fits into the smallest chunk that is read into.
    const LEAST: Class = Class::Small;

    pub(super) const fn new() -> Self {
        Self { chunk: None, start: 0, end: 0, batch: Batch::new(Self::LEAST) }
    }

    /// Octets of an incomplete record.
    pub(super) fn remainder(&self) -> &[u8] {
        self.chunk.as_ref().and_then(|chunk| chunk.get(self.start..self.end)).unwrap_or_default()
    }

    /// The size of the chunk held, in octets.
    pub(super) fn held(&self) -> usize {
        self.chunk.as_ref().map_or(0, |chunk| chunk.len())
    }

    /// Room for the next read; nothing before it may be lent any more.
    pub(super) fn lend(&mut self, pool: &mut BufferPool) -> &mut [u8] {
        let class = self.batch.class().max(Self::LEAST);
        self.move_to(class, pool);
        match &mut self.chunk {
            Some(chunk) => chunk.get_mut(self.end..).unwrap_or_default(),
            None => &mut [],
        }
    }

    /// Brings the remainder to the front of a chunk of `class`.
    fn move_to(&mut self, class: Class, pool: &mut BufferPool) {
        let range = self.start..self.end;
        match &mut self.chunk {
            Some(chunk) if chunk.class() == class => {
                if range.start > 0 {
                    chunk.copy_within(range.clone(), 0);
                }
            }
            slot => {
                let mut chunk = pool.take(class);
                if let Some(old) = slot.take() {
                    if let (Some(from), Some(to)) = (old.get(range.clone()), chunk.get_mut(..range.len())) {
                        to.copy_from_slice(from);
                    }
                    pool.give(old);
                }
                *slot = Some(chunk);
            }
        }
        (self.start, self.end) = (0, range.len());
    }

    /// Puts `bytes`, at most one record, in as the remainder, and goes on with reads of `batch` (after a thaw).
    pub(super) fn restore(&mut self, bytes: &[u8], batch: Batch, pool: &mut BufferPool) {
        self.batch = batch;
        if bytes.is_empty() {
            return;
        }
        let area = self.lend(pool);
        if let Some(area) = area.get_mut(..bytes.len()) {
            area.copy_from_slice(bytes);
            self.end = bytes.len();
        }
    }

    pub(super) const fn batch(&self) -> Batch {
        self.batch
    }

    /// `n` octets were read into what [`lend`](Self::lend) gave.
    pub(super) fn handle_read(&mut self, n: usize) {
        let room = self.held().saturating_sub(self.end);
        let n = n.min(room);
        self.end = self.end.saturating_add(n);
        self.batch.after_read(n, room);
    }

    /// The next whole record: where it starts in the chunk, and its octets. What no TLS record can be is handed out as it
    /// is, for the session to answer with an alert.
    pub(super) fn next_record(&mut self) -> Option<(usize, &mut [u8])> {
        let (start, end) = (self.start, self.end);
        let bytes = self.chunk.as_mut()?.get_mut(start..end)?;
        let len = match Session::record_len(bytes) {
            Ok(len) => len?,
            Err(_) => bytes.len(),
        };
        self.start = start.saturating_add(len);
        Some((start, bytes.get_mut(..len)?))
    }

    /// Octets of the chunk; `range` comes from a record that was opened in it.
    pub(super) fn get(&self, range: Range<usize>) -> &[u8] {
        self.chunk.as_ref().and_then(|chunk| chunk.get(range)).unwrap_or_default()
    }

    /// Throws away what was not handled.
    pub(super) const fn discard(&mut self) {
        self.start = self.end;
    }

    /// Nothing is lent any more: gives the chunk back, or keeps the remainder of a record in a small one, so that a peer
    /// that stops in the middle of a record does not pin a large chunk.
    pub(super) fn settle(&mut self, pool: &mut BufferPool) {
        let left = self.end.saturating_sub(self.start);
        if left == 0 {
            self.clear(pool);
        } else if self.chunk.as_ref().is_some_and(|chunk| chunk.class() > Self::LEAST) {
            self.move_to(Class::for_octets(left), pool);
        }
    }

    /// Gives the chunk back.
    pub(super) fn clear(&mut self, pool: &mut BufferPool) {
        if let Some(chunk) = self.chunk.take() {
            pool.give(chunk);
        }
        (self.start, self.end) = (0, 0);
    }
}
