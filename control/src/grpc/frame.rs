//! Messages of gRPC behind their prefixes, and calls of one message each way: what is the same for whoever carries them.
use std::time::Duration;

use bytes::{BufMut as _, Bytes, BytesMut};
use http::header::{CONTENT_TYPE, HeaderMap, HeaderValue, TE};
use http::{Request, Uri};
use prost::Message;

/// Octets before each message: whether it is compressed, and its length.
pub const PREFIX: usize = 5;
/// What `grpc-timeout` may say: eight digits.
const MAX_TIMEOUT: u128 = 99_999_999;

/// Why octets are not one message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub(crate) enum FrameError {
    /// Not even a prefix.
    #[error("is no message")]
    Short,
    /// Another length than the prefix says, or compressed, which nobody asked for.
    #[error("is compressed, cut off or more than one message")]
    NotOne,
}

/// A message behind its prefix, not compressed.
pub(crate) fn framed<M: Message>(message: &M) -> Bytes {
    let message = message.encode_to_vec();
    let mut frame = BytesMut::with_capacity(PREFIX.saturating_add(message.len()));
    frame.put_u8(0);
    // A request of 4 GiB would be refused anyway.
    frame.put_u32(u32::try_from(message.len()).unwrap_or(u32::MAX));
    frame.extend_from_slice(&message);
    frame.freeze()
}

/// The octets of the one message of a body.
///
/// # Errors
/// The body is something else than one message that is not compressed.
pub(crate) fn one(framed: &[u8]) -> Result<&[u8], FrameError> {
    let (prefix, message) = framed.split_first_chunk::<PREFIX>().ok_or(FrameError::Short)?;
    let [compressed, length @ ..] = prefix;
    match *compressed == 0 && u32::from_be_bytes(*length) as usize == message.len() {
        true => Ok(message),
        false => Err(FrameError::NotOne),
    }
}

/// A call of one message ([`framed`]) as a request of HTTP/2, of which the answer is waited for so long.
///
/// # Errors
/// The authority is none.
pub(crate) fn post(
    authority: &str,
    method: &'static str,
    timeout: Duration,
    body: Bytes,
) -> Result<Request<Bytes>, http::Error> {
    let uri = Uri::builder().scheme("http").authority(authority).path_and_query(method).build()?;
    Request::post(uri)
        .header(CONTENT_TYPE, "application/grpc")
        .header(TE, "trailers")
        .header("grpc-timeout", self::timeout(timeout))
        .body(body)
}

/// The value of `grpc-timeout`: a number of up to eight digits that is more than nothing, and its unit.
fn timeout(timeout: Duration) -> String {
    match (timeout.as_millis(), timeout.as_micros()) {
        (0, micros) => format!("{}u", micros.max(1)),
        (millis, _) => format!("{}m", millis.min(MAX_TIMEOUT)),
    }
}

/// The status that a call has ended with, by its answer's headers and trailers: an answer of headers alone has it there.
pub(crate) fn status<'a>(headers: &'a HeaderMap, trailers: Option<&'a HeaderMap>) -> Option<&'a HeaderValue> {
    const STATUS: &str = "grpc-status";
    trailers.and_then(|trailers| trailers.get(STATUS)).or_else(|| headers.get(STATUS))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timeout_is_never_nothing_and_never_too_long() {
        for (given, expected) in [
            (Duration::ZERO, "1u"),
            (Duration::from_nanos(1), "1u"),
            (Duration::from_micros(999), "999u"),
            (Duration::from_millis(1), "1m"),
            (Duration::from_micros(2_500), "2m"),
            (Duration::MAX, "99999999m"),
        ] {
            assert_eq!(timeout(given), expected, "{given:?}");
        }
    }

    #[test]
    fn one_message_is_taken_and_nothing_else() {
        let framed = framed(&"text".to_owned());
        assert_eq!(one(&framed).map(<[u8]>::len), Ok(framed.len() - PREFIX));
        assert_eq!(one(&framed[..4]), Err(FrameError::Short));
        let mut compressed = framed.to_vec();
        compressed[0] = 1;
        let twice = [&framed[..], &framed[..]].concat();
        for other in [&framed[..framed.len() - 1], &compressed, &twice] {
            assert_eq!(one(other), Err(FrameError::NotOne));
        }
    }
}
