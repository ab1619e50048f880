//! Any message, cut anywhere, gives what the generated code makes of it whole.
use proptest::prelude::*;
use prost_types::Any;

use super::*;
use crate::proto::discovery::DeltaDiscoveryResponse;

/// `messages` behind their prefixes.
fn framed(messages: &[DeltaDiscoveryResponse]) -> Vec<u8> {
    let mut octets = Vec::new();
    for message in messages {
        octets.push(0);
        octets.extend_from_slice(&u32::try_from(message.encoded_len()).unwrap().to_be_bytes());
        octets.extend_from_slice(&message.encode_to_vec());
    }
    octets
}

/// All messages of `octets`, given in chunks of these lengths in turn.
fn read(octets: &[u8], chunks: &[usize]) -> Result<Vec<(Vec<Resource>, Tail)>, InflowError> {
    let (mut inflow, mut rest, mut chunks) = (Inflow::default(), octets, chunks.iter().cycle());
    let (mut messages, mut resources) = (Vec::new(), Vec::new());
    while !rest.is_empty() {
        let (now, later) = rest.split_at(rest.len().min(*chunks.next().unwrap()));
        inflow.push(now);
        rest = later;
        while let Some(piece) = inflow.poll()? {
            match piece {
                Piece::Resource(resource) => resources.push(resource),
                Piece::End(tail) => messages.push((std::mem::take(&mut resources), tail)),
            }
        }
    }
    Ok(messages)
}

fn resource() -> impl Strategy<Value = Resource> {
    let value = proptest::collection::vec(any::<u8>(), 0..300);
    ("[a-z/]{0,40}", "[0-9]{0,3}", proptest::option::of(value)).prop_map(|(name, version, value)| Resource {
        name,
        version,
        resource: value.map(|value| Any { type_url: "type".to_owned(), value }),
        ..Resource::default()
    })
}

fn response() -> impl Strategy<Value = DeltaDiscoveryResponse> {
    let removed = proptest::collection::vec("[a-z/]{0,20}", 0..4);
    (proptest::collection::vec(resource(), 0..6), "[a-z.]{0,30}", "[0-9]{0,4}", removed).prop_map(
        |(resources, type_url, nonce, removed_resources)| DeltaDiscoveryResponse {
            system_version_info: "debug".to_owned(),
            resources,
            type_url,
            nonce,
            removed_resources,
        },
    )
}

proptest! {
    #[test]
    fn pieces_are_the_message(
        messages in proptest::collection::vec(response(), 1..4),
        chunks in proptest::collection::vec(1..200_usize, 1..8),
    ) {
        let expected: Vec<_> = messages
            .iter()
            .cloned()
            .map(|DeltaDiscoveryResponse { resources, type_url, nonce, removed_resources: removed, .. }| {
                (resources, Tail { type_url, nonce, removed })
            })
            .collect();
        prop_assert_eq!(read(&framed(&messages), &chunks), Ok(expected));
    }

    #[test]
    fn nonsense_is_an_error_or_waits(
        octets in proptest::collection::vec(any::<u8>(), 0..200),
        chunks in proptest::collection::vec(1..50_usize, 1..4),
    ) {
        let mut message = vec![0];
        message.extend_from_slice(&u32::try_from(octets.len()).unwrap().to_be_bytes());
        message.extend_from_slice(&octets);
        let whole = DeltaDiscoveryResponse::decode(octets.as_slice());
        // Stricter nowhere but in what the generated code reads and we leave out.
        if whole.is_ok() {
            prop_assert_eq!(read(&message, &chunks).map(|messages| messages.len()), Ok(1));
        } else {
            let _ = read(&message, &chunks);
        }
    }
}

#[test]
fn what_is_too_long_or_compressed_is_refused() {
    assert_eq!(read(&[1, 0, 0, 0, 0], &[9]), Err(InflowError::Compressed));
    let octets = (200 << 20) + 1_u32;
    let [a, b, c, d] = octets.to_be_bytes();
    let error = read(&[0, a, b, c, d], &[2]).unwrap_err();
    assert_eq!(error, InflowError::TooLong { what: "a message", octets: octets.into(), limit: MAX_MESSAGE });
    // A resource of 100 MiB in a message that has room for it.
    let error = read(&[0, 10, 0, 0, 0, 0x12, 0x80, 0x80, 0x80, 0x32], &[1]).unwrap_err();
    assert_eq!(error, InflowError::TooLong { what: "a field", octets: 100 << 20, limit: MAX_FIELD });
    let error = read(&[0, 0, 0, 0, 3, 0x12, 9, 9], &[1]).unwrap_err();
    assert!(error.to_string().contains("longer than its message"), "{error}");
}
