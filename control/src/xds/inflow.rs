//! Responses taken apart while they arrive: the mesh of a large cluster is one message, which is never here as a whole.
use bytes::{Buf as _, Bytes, BytesMut};
use prost::Message as _;
use prost::encoding::{WireType, decode_key, decode_varint};

use crate::grpc::PREFIX;
use crate::proto::discovery::Resource;

/// Octets of a message.
const MAX_MESSAGE: usize = 200 << 20;
/// Octets of one field of a message, such as a resource.
const MAX_FIELD: usize = 32 << 20;
/// Octets of the two numbers before a field.
const MAX_HEAD: usize = 20;

// Fields of `DeltaDiscoveryResponse`.
const RESOURCES: u32 = 2;
const TYPE_URL: u32 = 4;
const NONCE: u32 = 5;
const REMOVED: u32 = 6;

/// Why a stream cannot be read on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InflowError {
    /// Nobody asked for that.
    #[error("the control plane compresses its messages, though no compression was offered")]
    Compressed,
    /// More than is taken.
    #[error("{what} of {octets} octets; at most {limit} are taken")]
    TooLong {
        /// A message, or a field of one.
        what: &'static str,
        /// How long it is.
        octets: u64,
        /// How long it may be.
        limit: usize,
    },
    /// No protocol buffer.
    #[error("a message of the control plane cannot be read: {0}")]
    Malformed(String),
}

/// A piece of a response.
#[derive(Clone, Debug, PartialEq)]
pub enum Piece {
    /// One of its resources.
    Resource(Resource),
    /// All of it has come.
    End(Tail),
}

/// What a response says beside its resources.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tail {
    /// `type_url`.
    pub type_url: String,
    /// `nonce`.
    pub nonce: String,
    /// `removed_resources`.
    pub removed: Vec<String>,
}

/// The octets of one stream of responses.
#[derive(Debug, Default)]
pub struct Inflow {
    octets: BytesMut,
    /// Octets of the current message that have not been taken, and what it has said so far.
    message: Option<(usize, Tail)>,
}

impl Inflow {
    /// These have come.
    pub fn push(&mut self, octets: &[u8]) {
        self.octets.extend_from_slice(octets);
    }

    /// The next piece, if it is whole.
    ///
    /// # Errors
    /// The stream cannot be read on.
    pub fn poll(&mut self) -> Result<Option<Piece>, InflowError> {
        loop {
            let Some((left, tail)) = &mut self.message else {
                match self.prefix()? {
                    true => continue,
                    false => return Ok(None),
                }
            };
            if *left == 0 {
                let tail = std::mem::take(tail);
                self.message = None;
                return Ok(Some(Piece::End(tail)));
            }
            let Some((tag, octets)) = field(&mut self.octets, left)? else { return Ok(None) };
            match tag {
                RESOURCES => {
                    let resource = Resource::decode(octets);
                    let resource = resource.map_err(|error| InflowError::Malformed(error.to_string()))?;
                    return Ok(Some(Piece::Resource(resource)));
                }
                TYPE_URL => tail.type_url = text(&octets)?,
                NONCE => tail.nonce = text(&octets)?,
                REMOVED => tail.removed.push(text(&octets)?),
                _ => {}
            }
        }
    }

    /// Begins a message, if its prefix is here.
    fn prefix(&mut self) -> Result<bool, InflowError> {
        if self.octets.len() < PREFIX {
            return Ok(false);
        }
        if self.octets.get_u8() != 0 {
            return Err(InflowError::Compressed);
        }
        let length = self.octets.get_u32();
        let limit = usize::try_from(length).ok().filter(|length| *length <= MAX_MESSAGE);
        let too_long = InflowError::TooLong { what: "a message", octets: length.into(), limit: MAX_MESSAGE };
        self.message = Some((limit.ok_or(too_long)?, Tail::default()));
        Ok(true)
    }
}

/// Takes a field, if it is whole, off `octets`, of which `left` belong to the message. Its octets are empty where it is a
/// number.
fn field(octets: &mut BytesMut, left: &mut usize) -> Result<Option<(u32, Bytes)>, InflowError> {
    let here = octets.len().min(*left);
    let mut head = octets.get(..here.min(MAX_HEAD)).unwrap_or_default();
    let known = head.len();
    // Too little is no fault while more may come.
    let waits = here < *left && known < MAX_HEAD;
    let numbers = decode_key(&mut head).and_then(|(tag, wire)| {
        let length = match wire {
            WireType::LengthDelimited => decode_varint(&mut head)?,
            WireType::Varint => decode_varint(&mut head).map(|_| 0)?,
            WireType::SixtyFourBit => 8,
            WireType::ThirtyTwoBit => 4,
            // Gone since proto3; what follows is understood as fields of ours that we do not know.
            WireType::StartGroup | WireType::EndGroup => 0,
        };
        Ok((tag, wire, length))
    });
    let taken = known.saturating_sub(head.len());
    let (tag, wire, length) = match numbers {
        Ok(read) => read,
        Err(_) if waits => return Ok(None),
        Err(error) => return Err(InflowError::Malformed(error.to_string())),
    };
    let length = usize::try_from(length)
        .ok()
        .filter(|length| *length <= MAX_FIELD)
        .ok_or(InflowError::TooLong { what: "a field", octets: length, limit: MAX_FIELD })?;
    let whole = taken.saturating_add(length);
    if whole > *left {
        return Err(InflowError::Malformed("a field is longer than its message".to_owned()));
    }
    if octets.len() < whole {
        return Ok(None);
    }
    octets.advance(taken);
    let contents = octets.split_to(length).freeze();
    *left = left.saturating_sub(whole);
    Ok(Some((tag, if wire == WireType::LengthDelimited { contents } else { Bytes::new() })))
}

fn text(octets: &[u8]) -> Result<String, InflowError> {
    let text = std::str::from_utf8(octets).map_err(|error| InflowError::Malformed(error.to_string()))?;
    Ok(text.to_owned())
}

#[cfg(test)]
mod tests;
