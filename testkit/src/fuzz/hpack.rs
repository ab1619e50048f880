//! Any header blocks: decoded lists keep their limits, and what was decoded is encoded and decoded again the same.
use adit_core::http2::hpack::{Decoder, FIELD_OVERHEAD, Limits, encode};

use super::Choices;

/// Blocks, each behind an octet with its length; an even first octet has the table shrunk in between.
pub fn body(data: &[u8]) {
    let mut choices = Choices::new(data);
    let shrinks = choices.octet() & 1 == 0;
    let limits = Limits { list_size: 4_096, fields: 64 };
    let mut decoder = Decoder::new(4_096);
    while !choices.is_empty() {
        let length = usize::from(choices.octet());
        let Ok(fields) = decoder.decode(choices.take(length), limits) else { return };
        if shrinks && length % 7 == 0 {
            decoder.set_max_table_size(length);
        }
        let Some(fields) = fields else { continue };
        let size: usize =
            fields.iter().map(|field| field.name.len() + field.value.len() + FIELD_OVERHEAD).sum();
        assert!(size <= limits.list_size && fields.len() <= limits.fields);
        let mut block = vec![];
        encode(fields.iter().map(|field| (&*field.name, &*field.value)), &mut block);
        let again = Decoder::new(0).decode(&block, limits);
        assert_eq!(again, Ok(Some(fields)));
    }
}
