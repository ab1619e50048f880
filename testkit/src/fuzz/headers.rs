//! Any texts as the headers of a CONNECT: what is read can be written and read again.
use adit_core::hbone::{Authority, Baggage, ConnectRequest, Forwarded, TraceParent};
use adit_core::http2::Field;

use super::Choices;

/// First octet: which header; the rest is its value. All of them together also make a request.
pub fn body(data: &[u8]) {
    let mut choices = Choices::new(data);
    let which = choices.octet();
    let value = choices.take(usize::MAX);
    match which % 4 {
        0 => {
            if let Some(read) = Baggage::parse([value]) {
                let text = read.encode();
                // What may be read but not written, such as tabs, is left out; the rest stays.
                let again = Baggage::parse([text.as_bytes()]).map(|again| again.encode());
                assert_eq!(again.as_deref(), Some(&*text));
            }
        }
        1 => {
            if let Some(read) = Forwarded::parse(value) {
                let text = read.encode();
                assert!(text.is_empty() || Forwarded::parse(text.as_bytes()).is_some(), "{text:?}");
            }
        }
        2 => {
            if let Some(read) = TraceParent::parse(value) {
                assert_eq!(TraceParent::parse(read.encode().as_bytes()), Some(read));
            }
        }
        _ => {
            if let Ok(read) = Authority::parse(value) {
                assert_eq!(Authority::parse(read.to_string().as_bytes()), Ok(read));
            }
        }
    }
    let names: [&[u8]; 6] =
        [b":method", b":authority", b"baggage", b"forwarded", b"traceparent", b"x-forwarded-network"];
    let mut fields: Vec<_> = value
        .split(|octet| *octet == b'\n')
        .zip(names)
        .map(|(value, name)| Field::new(name, value))
        .collect();
    fields.push(Field::new(b":method", b"CONNECT"));
    match ConnectRequest::from_fields(&fields) {
        Ok(request) => drop(request.to_fields()),
        Err(error) => assert!(error.to_string().len() < 2_000),
    }
}
