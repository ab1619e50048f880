//! Where application octets are to be read: the payload areas of the records they will be.
use core::mem;

use super::segment::OVERHEAD;
use crate::tls::MAX_PAYLOAD;

/// Payload areas in one chunk.
#[derive(Debug, Default)]
struct Part<'a> {
    /// From the first octet of the first area on.
    bytes: &'a mut [u8],
    /// Octets of the first area.
    first: usize,
    /// Octets of all areas.
    total: usize,
}

/// Where application octets are to be read: record payload areas in order.
#[derive(Debug)]
pub struct Lend<'a> {
    parts: [Part<'a>; 2],
}

impl<'a> Lend<'a> {
    /// Areas of `total` octets: those of `front`, then, where `front` has too few, those of `back`. Each is the rest of a
    /// chunk and what the record at its start has room for; `front` has `front_total` in all.
    pub(super) fn new(
        front: (&'a mut [u8], usize),
        front_total: usize,
        back: Option<(&'a mut [u8], usize)>,
        total: usize,
    ) -> Self {
        let front_total = front_total.min(total);
        let (bytes, first) = back.unwrap_or_default();
        Self {
            parts: [
                Part { bytes: front.0, first: front.1, total: front_total },
                Part { bytes, first, total: total.saturating_sub(front_total) },
            ],
        }
    }

    /// The areas, in wire order; never more than 64. Fill them in order.
    pub fn areas(&mut self) -> impl Iterator<Item = &mut [u8]> {
        self.parts.iter_mut().flat_map(|part| {
            let (mut bytes, mut room, mut left) = (&mut *part.bytes, part.first, part.total);
            core::iter::from_fn(move || {
                let len = room.min(left);
                if len == 0 {
                    return None;
                }
                let (area, rest) = mem::take(&mut bytes).split_at_mut_checked(len)?;
                // The next area lies behind this record's tail and the next record's header.
                bytes = rest.get_mut(OVERHEAD..).unwrap_or_default();
                left = left.saturating_sub(len);
                room = MAX_PAYLOAD;
                Some(area)
            })
        })
    }

    /// Sum of the areas' lengths; never 0.
    #[must_use]
    pub fn octets(&self) -> usize {
        self.parts.iter().map(|part| part.total).fold(0, usize::saturating_add)
    }
}
