//! HPACK (RFC 7541): a full decoder (dynamic table, Huffman, size updates) and an encoder that never indexes.
use alloc::vec::Vec;

use super::Field;

#[derive(Clone, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum HpackError {
    #[error("header block ends in the middle of a field")]
    Truncated,
    // owner completes
}

/// Limits after decoding (security §1: every field counts, crumbs too).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
pub struct Limits {
    /// Decoded octets, each field counted as name + value + 32 (RFC 9113 §6.5.2).
    pub list_size: usize,
    pub fields: usize,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
pub struct Decoder {
    _private: (),
}

impl Decoder {
    /// `max_table_size`: what the peer may use before it acknowledged our SETTINGS (4096); lowered by `set_max_table_size` on ACK.
    pub fn new(max_table_size: usize) -> Self {
        todo!()
    }
    pub fn set_max_table_size(&mut self, size: usize) {
        todo!()
    }
    /// Decodes one whole header block. `Ok(None)`: within HPACK's rules but over `limits`: the table is in sync, the fields are dropped.
    pub fn decode(&mut self, block: &[u8], limits: Limits) -> Result<Option<Vec<Field>>, HpackError> {
        todo!()
    }
}

/// Appends a header block: static-table names/values where they match in full or by name, literals never indexed otherwise, no Huffman.
pub fn encode<'a>(fields: impl IntoIterator<Item = (&'a [u8], &'a [u8])>, out: &mut Vec<u8>) {
    todo!()
}
