//! Decoding of header blocks (RFC 7541 §3, §6).
use alloc::borrow::Cow;
use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use super::table::{self, Name, Table};
use super::{HpackError, Limits, huffman, integer};
use crate::http2::Field;

/// The decoding half of one connection.
///
/// Holds at most the allowed table size in octets. The work for a block is linear in its octets plus
/// [`Limits::list_size`], whatever it holds: fields are copied out of the table only while they are within the limits.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Decoder {
    table: Table,
    /// The largest size that the peer may set now, in octets.
    limit: usize,
    /// Set when the limit fell below the table's capacity: the next block must begin by going this low.
    owed: Option<usize>,
}

impl Decoder {
    /// A decoder whose peer may use `max_table_size` octets from the start: 4096 until it has acknowledged our SETTINGS
    /// (RFC 9113 §6.5.2).
    #[must_use]
    pub const fn new(max_table_size: usize) -> Self {
        Self { table: Table::new(max_table_size), limit: max_table_size, owed: None }
    }

    /// Changes what the peer may use, in octets. To be called when it acknowledges the SETTINGS that say so.
    ///
    /// After a reduction the next block must begin with a size update (RFC 9113 §4.3.1).
    pub fn set_max_table_size(&mut self, size: usize) {
        self.limit = size;
        if size < self.table.capacity() {
            self.owed = Some(self.owed.map_or(size, |owed| owed.min(size)));
        }
    }

    /// Decodes one whole header block.
    ///
    /// `Ok(None)` means that the block keeps HPACK's rules but not `limits`: its fields are dropped, the table is in step
    /// with the peer's, and the connection can go on.
    ///
    /// # Errors
    /// Any [`HpackError`]; the decoder is of no more use then.
    pub fn decode(&mut self, block: &[u8], limits: Limits) -> Result<Option<Vec<Field>>, HpackError> {
        let mut input = block;
        self.take_size_updates(&mut input)?;
        let mut list = List::new(limits);
        while let Some(first) = input.first() {
            match first {
                // Indexed field, §6.1
                0x80..=0xff => {
                    let index = integer::decode(&mut input, 0x7f)?;
                    let (name, value) = self.table.get(index).ok_or(HpackError::Index { index })?;
                    list.push(name, value);
                }
                // Literal with incremental indexing, §6.2.1
                0x40..=0x7f => {
                    let (name, value) = self.literal(&mut input, 0x3f)?;
                    list.push(name.as_ref(), &value);
                    self.table.insert(name, &value);
                }
                // Size update, §6.3
                0x20..=0x3f => return Err(HpackError::SizeUpdateMisplaced),
                // Literal without indexing, or never indexed: the same to one who does not send it on, §6.2.2, §6.2.3
                0x00..=0x1f => {
                    let (name, value) = self.literal(&mut input, 0x0f)?;
                    list.push(name.as_ref(), &value);
                }
            }
        }
        Ok(list.fields)
    }

    /// spec: rfc7541#4.2, rfc9113#4.3.1
    fn take_size_updates(&mut self, input: &mut &[u8]) -> Result<(), HpackError> {
        while let Some(0x20..=0x3f) = input.first() {
            let size = integer::decode(input, 0x1f)?;
            if size > self.limit {
                return Err(HpackError::SizeUpdateTooLarge { size, limit: self.limit });
            }
            if self.owed.is_some_and(|owed| size <= owed) {
                self.owed = None;
            }
            self.table.set_capacity(size);
        }
        self.owed.map_or(Ok(()), |limit| Err(HpackError::SizeUpdateMissing { limit }))
    }

    /// A literal's name, by index or in full, and its value.
    fn literal<'a>(&self, input: &mut &'a [u8], mask: u8) -> Result<(Name<'a>, Cow<'a, [u8]>), HpackError> {
        let name = match integer::decode(input, mask)? {
            0 => Name::Literal(string(input)?),
            index => self.table.name(index).ok_or(HpackError::Index { index })?,
        };
        Ok((name, string(input)?))
    }
}

/// spec: rfc7541#5.2
fn string<'a>(input: &mut &'a [u8]) -> Result<Cow<'a, [u8]>, HpackError> {
    let coded = input.first().is_some_and(|first| first & 0x80 != 0);
    let length = integer::decode(input, 0x7f)?;
    let (octets, rest) = input.split_at_checked(length).ok_or(HpackError::Truncated)?;
    *input = rest;
    Ok(if coded { huffman::decode(octets)?.into() } else { octets.into() })
}

/// The fields of a block while they are within the limits.
struct List {
    /// `None` once a limit was passed.
    fields: Option<Vec<Field>>,
    limits: Limits,
    /// Octets so far, as RFC 9113 §6.5.2 counts them.
    size: usize,
}

impl List {
    const fn new(limits: Limits) -> Self {
        Self { fields: Some(Vec::new()), limits, size: 0 }
    }

    fn push(&mut self, name: &[u8], value: &[u8]) {
        let Some(fields) = &mut self.fields else { return };
        self.size = self.size.saturating_add(table::size(name, value));
        if self.size > self.limits.list_size || fields.len() >= self.limits.fields {
            self.fields = None;
        } else {
            fields.push(Field { name: name.into(), value: value.into() });
        }
    }
}

#[cfg(test)]
impl Decoder {
    /// Octets in use in the dynamic table.
    pub(super) const fn table_size(&self) -> usize {
        self.table.size()
    }
}
