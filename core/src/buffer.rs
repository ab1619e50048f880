//! Record-sized buffers and the shard's pool of them: nothing idle holds one.
use alloc::boxed::Box;
use alloc::vec::Vec;

use crate::tls::{HEADROOM, MAX_PAYLOAD, TAILROOM};

/// Octets of one record slot: header, full payload, content type and tag.
pub const RECORD_SLOT: usize = HEADROOM + MAX_PAYLOAD + TAILROOM;

/// Size classes, in record slots: 1, 4, 16, 63 (≈ 16 KiB to 1 MiB).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Class {
    Record,
    Small,
    Medium,
    Large,
}

impl Class {
    pub const fn slots(self) -> usize {
        match self {
            Self::Record => 1,
            Self::Small => 4,
            Self::Medium => 16,
            Self::Large => 63,
        }
    }
    pub const fn octets(self) -> usize {
        self.slots() * RECORD_SLOT
    }
}

/// One buffer on loan from a pool. Contents are whatever its last user left (never another tunnel's plaintext in a read area
/// that is shown before being overwritten).
#[derive(Debug)]
pub struct Chunk {
    pub bytes: Box<[u8]>,
}

impl From<Vec<u8>> for Chunk {
    fn from(bytes: Vec<u8>) -> Self {
        Self { bytes: bytes.into_boxed_slice() }
    }
}

/// The shard's buffers. Keeps a bounded number of free ones per class; gives the rest back to the allocator.
#[derive(Debug, Default)]
pub struct BufferPool {
    _private: (),
}

impl BufferPool {
    pub fn new(max_free_octets: usize) -> Self {
        todo!()
    }
    pub fn take(&mut self, class: Class) -> Chunk {
        todo!()
    }
    pub fn give(&mut self, chunk: Chunk) {
        todo!()
    }
    /// Frees what has lain unused since the last call (the shard calls it about once a second while anything happens).
    pub fn trim(&mut self) {
        todo!()
    }
    /// Octets on loan now.
    pub fn lent(&self) -> usize {
        todo!()
    }
    /// Free octets kept.
    pub fn kept(&self) -> usize {
        todo!()
    }
}
