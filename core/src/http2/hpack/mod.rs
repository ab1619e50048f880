//! HPACK (RFC 7541): a full decoder (dynamic table, Huffman, size updates) and an encoder that never indexes.
//!
//! Both directions of a connection have a table of their own. The decoder holds the peer's; ours is always empty, which
//! every block we send says at its start, so that the encoder has no state.
mod decoder;
mod encoder;
mod huffman;
mod integer;
mod table;
#[cfg(test)]
mod tests;

pub use decoder::Decoder;
pub use encoder::encode;

/// Octets that a field counts beyond its name and value, in a table and in a list (RFC 7541 §4.1, RFC 9113 §6.5.2).
pub const FIELD_OVERHEAD: usize = 32;

/// What a decoded block may hold. A field is counted as it was sent: cookie crumbs and repeated names count one by one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
pub struct Limits {
    /// Octets after decoding, each field counted as name + value + [`FIELD_OVERHEAD`] (RFC 9113 §6.5.2).
    pub list_size: usize,
    /// Number of fields.
    pub fields: usize,
}

/// Why a block could not be decoded. The tables of the two ends differ from here on: the connection must end with
/// `COMPRESSION_ERROR` (RFC 9113 §4.3).
#[derive(Clone, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum HpackError {
    /// The block ends inside an integer or a string.
    #[error("header block ends in the middle of a field")]
    Truncated,
    /// An integer is above 2³² − 1 or written in more octets than that needs (RFC 7541 §5.1).
    #[error("HPACK integer is too large")]
    IntegerOverflow,
    /// An index is 0 or beyond both tables (RFC 7541 §2.3.3).
    #[error("no table entry has index {index}")]
    Index {
        /// The index received.
        index: usize,
    },
    /// A Huffman-coded string ends in padding that is longer than 7 bits or not all ones (RFC 7541 §5.2).
    #[error("Huffman-coded string has invalid padding")]
    HuffmanPadding,
    /// A Huffman-coded string holds the end-of-string symbol (RFC 7541 §5.2).
    #[error("Huffman-coded string holds the end-of-string symbol")]
    HuffmanEndOfString,
    /// A dynamic table size update stands behind a field (RFC 7541 §4.2).
    #[error("dynamic table size update is not at the start of its header block")]
    SizeUpdateMisplaced,
    /// A dynamic table size update asks for more than was offered (RFC 7541 §6.3).
    #[error("dynamic table size update to {size} octets, where {limit} are allowed")]
    SizeUpdateTooLarge {
        /// Octets asked for.
        size: usize,
        /// Octets allowed.
        limit: usize,
    },
    /// The first block after the peer acknowledged a lower limit does not begin with a size update that keeps it
    /// (RFC 9113 §4.3.1).
    #[error("dynamic table size update to at most {limit} octets is missing after the limit was lowered")]
    SizeUpdateMissing {
        /// The lowest limit since the last block, in octets.
        limit: usize,
    },
}
