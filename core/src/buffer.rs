//! Record-sized buffers and the shard's pool of them: nothing idle holds one.
use alloc::boxed::Box;
use alloc::vec;
use alloc::vec::Vec;
use core::fmt;
use core::ops::{Deref, DerefMut};

use crate::tls::{HEADROOM, MAX_PAYLOAD, TAILROOM};

/// Octets of one record slot: header, full payload, content type and tag.
pub const RECORD_SLOT: usize = HEADROOM + MAX_PAYLOAD + TAILROOM;

/// Size classes, in record slots: 1, 4, 16, 63 (≈ 16 KiB to 1 MiB).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
pub enum Class {
    /// One record: small messages.
    Record,
    /// Four records: the smallest that holds any record a peer may send.
    Small,
    /// Sixteen records.
    Medium,
    /// Sixty-three records: as many as one vectored system call takes.
    Large,
}

impl Class {
    /// All classes, smallest first.
    pub const ALL: [Self; 4] = [Self::Record, Self::Small, Self::Medium, Self::Large];

    /// Record slots of a chunk of this class.
    #[must_use]
    pub const fn slots(self) -> usize {
        match self {
            Self::Record => 1,
            Self::Small => 4,
            Self::Medium => 16,
            Self::Large => 63,
        }
    }

    /// Octets of a chunk of this class.
    #[must_use]
    pub const fn octets(self) -> usize {
        self.slots().saturating_mul(RECORD_SLOT)
    }

    /// Payload octets that a chunk of this class has room for when it is laid out as full records.
    #[must_use]
    pub const fn payload(self) -> usize {
        self.slots().saturating_mul(MAX_PAYLOAD)
    }

    /// The smallest class whose records have room for `octets` of payload; the largest when none has.
    #[must_use]
    pub fn for_payload(octets: usize) -> Self {
        Self::ALL.into_iter().find(|class| class.payload() >= octets).unwrap_or(Self::Large)
    }

    /// The smallest class of at least `octets` octets; the largest when none is.
    #[must_use]
    pub fn for_octets(octets: usize) -> Self {
        Self::ALL.into_iter().find(|class| class.octets() >= octets).unwrap_or(Self::Large)
    }

    /// The next larger class; the largest stays.
    #[must_use]
    pub const fn larger(self) -> Self {
        match self {
            Self::Record => Self::Small,
            Self::Small => Self::Medium,
            Self::Medium | Self::Large => Self::Large,
        }
    }

    /// The next smaller class; the smallest stays.
    #[must_use]
    pub const fn smaller(self) -> Self {
        match self {
            Self::Record | Self::Small => Self::Record,
            Self::Medium => Self::Small,
            Self::Large => Self::Medium,
        }
    }
}

/// One buffer on loan from a [`BufferPool`]; dereferences to its octets.
///
/// Its octets are whatever the last user left, which may be another tunnel's plaintext. That never leaks: a borrower shows
/// only what it has overwritten since (`wire` what was sealed, `pieces` what was read), and a lent read area is counted
/// by what the kernel wrote into it. They are not zeroised either: keys never pass through chunks, and clearing payload
/// would cost a pass over every octet.
pub struct Chunk {
    class: Class,
    bytes: Box<[u8]>,
}

impl Chunk {
    /// Its size class.
    #[must_use]
    pub const fn class(&self) -> Class {
        self.class
    }
}

impl fmt::Debug for Chunk {
    /// The class only: contents are payload.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Chunk({:?})", self.class)
    }
}

impl Deref for Chunk {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes
    }
}

impl DerefMut for Chunk {
    fn deref_mut(&mut self) -> &mut [u8] {
        &mut self.bytes
    }
}

/// The free chunks of one class.
#[derive(Debug, Default)]
struct Shelf {
    free: Vec<Box<[u8]>>,
    /// The fewest that were free at any time since the last `trim`: nobody needed those.
    unused: usize,
}

/// The shard's buffers. Keeps a bounded number of free ones; gives the rest back to the allocator.
#[derive(Debug)]
pub struct BufferPool {
    shelves: [Shelf; 4],
    max_free: usize,
    lent: usize,
    kept: usize,
}

impl Default for BufferPool {
    /// Keeps up to 8 MiB of free chunks.
    fn default() -> Self {
        Self::new(8 << 20)
    }
}

impl BufferPool {
    /// An empty pool that keeps at most `max_free_octets` of returned chunks for the next borrower.
    #[must_use]
    pub fn new(max_free_octets: usize) -> Self {
        Self { shelves: Default::default(), max_free: max_free_octets, lent: 0, kept: 0 }
    }

    fn shelf(&mut self, class: Class) -> &mut Shelf {
        let [record, small, medium, large] = &mut self.shelves;
        match class {
            Class::Record => record,
            Class::Small => small,
            Class::Medium => medium,
            Class::Large => large,
        }
    }

    /// A chunk of `class`; it must come back by [`give`](Self::give).
    pub fn take(&mut self, class: Class) -> Chunk {
        self.lent = self.lent.saturating_add(class.octets());
        let shelf = self.shelf(class);
        let bytes = shelf.free.pop();
        shelf.unused = shelf.unused.min(shelf.free.len());
        let bytes = match bytes {
            Some(bytes) => {
                self.kept = self.kept.saturating_sub(class.octets());
                bytes
            }
            None => vec![0; class.octets()].into_boxed_slice(),
        };
        Chunk { class, bytes }
    }

    /// Takes a chunk back.
    pub fn give(&mut self, chunk: Chunk) {
        let octets = chunk.class.octets();
        self.lent = self.lent.saturating_sub(octets);
        let kept = self.kept.saturating_add(octets);
        if kept <= self.max_free {
            self.kept = kept;
            self.shelf(chunk.class).free.push(chunk.bytes);
        }
    }

    /// Frees what has lain unused since the last call (the shard calls it about once a second while anything happens).
    pub fn trim(&mut self) {
        for class in Class::ALL {
            let shelf = self.shelf(class);
            let unused = shelf.unused.min(shelf.free.len());
            let left = shelf.free.len().saturating_sub(unused);
            shelf.free.truncate(left);
            if left == 0 {
                shelf.free = Vec::new();
            }
            shelf.unused = left;
            self.kept = self.kept.saturating_sub(unused.saturating_mul(class.octets()));
        }
    }

    /// Octets on loan now.
    #[must_use]
    pub const fn lent(&self) -> usize {
        self.lent
    }

    /// Free octets kept.
    #[must_use]
    pub const fn kept(&self) -> usize {
        self.kept
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_are_a_ladder() {
        for pair in Class::ALL.windows(2) {
            assert_eq!(pair[0].larger(), pair[1]);
            assert_eq!(pair[1].smaller(), pair[0]);
        }
        assert_eq!(Class::for_payload(0), Class::Record);
        assert_eq!(Class::for_payload(MAX_PAYLOAD), Class::Record);
        assert_eq!(Class::for_payload(MAX_PAYLOAD + 1), Class::Small);
        assert_eq!(Class::for_payload(usize::MAX), Class::Large);
        assert_eq!(Class::for_octets(RECORD_SLOT + 1), Class::Small);
    }

    #[test]
    fn accounts_for_what_is_lent_and_kept() {
        let mut pool = BufferPool::new(Class::Small.octets());
        let (a, b) = (pool.take(Class::Record), pool.take(Class::Small));
        assert_eq!(pool.lent(), Class::Record.octets() + Class::Small.octets());
        pool.give(b);
        assert_eq!((pool.lent(), pool.kept()), (Class::Record.octets(), Class::Small.octets()));
        // No room for another: it goes back to the allocator.
        pool.give(a);
        assert_eq!((pool.lent(), pool.kept()), (0, Class::Small.octets()));
    }

    #[test]
    fn reuses_what_it_keeps() {
        let mut pool = BufferPool::default();
        let mut chunk = pool.take(Class::Record);
        chunk[0] = 7;
        pool.give(chunk);
        assert_eq!(pool.take(Class::Record)[0], 7);
    }

    #[test]
    fn trim_frees_only_what_nobody_needed() {
        let mut pool = BufferPool::default();
        let chunks: Vec<_> = (0..4).map(|_| pool.take(Class::Record)).collect();
        chunks.into_iter().for_each(|chunk| pool.give(chunk));
        pool.trim();
        assert_eq!(pool.kept(), 4 * Class::Record.octets(), "they were in use since the last call");
        let chunk = pool.take(Class::Record);
        pool.give(chunk);
        pool.trim();
        assert_eq!(pool.kept(), Class::Record.octets(), "three lay unused");
        pool.trim();
        assert_eq!(pool.kept(), 0);
    }
}
