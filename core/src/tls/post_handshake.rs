//! Handshake messages after the handshake: KeyUpdate, and the tickets that a client skips (RFC 8446 §4.6).
use serde::{Deserialize, Serialize};

use super::{Side, TlsError};

const NEW_SESSION_TICKET: u8 = 4;
const KEY_UPDATE: u8 = 24;
/// The longest NewSessionTicket its fields allow.
const MAX_TICKET: u32 = 4 + 4 + (1 + 255) + (2 + 65_535) + (2 + 65_535);

/// Whether the peer wants our keys to change too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Message {
    /// The peer's next record is under its next key.
    KeyUpdate {
        /// Our next records shall be, too.
        requested: bool,
    },
    /// A ticket went by.
    Ticket,
}

/// A message that may be cut into several records, or share one. Five octets at most are kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(super) enum PostHandshake {
    /// Between messages.
    #[default]
    Idle,
    /// Inside a header; so many octets of it are known.
    Header { octets: [u8; 4], known: u8 },
    /// Before the one octet of a KeyUpdate.
    KeyUpdate,
    /// Inside a ticket; so many octets are still to be skipped.
    Ticket { left: u32 },
}

impl PostHandshake {
    /// Whether a message is incomplete, so that no other record may come (RFC 8446 §5.1).
    pub(super) const fn is_partial(self) -> bool {
        !matches!(self, Self::Idle)
    }

    /// Takes what it needs of `input` for one message, if there is a whole one.
    ///
    /// # Errors
    /// Messages that may not come after the handshake, or cannot be right.
    pub(super) fn next(&mut self, side: Side, input: &mut &[u8]) -> Result<Option<Message>, TlsError> {
        while let Some((&octet, rest)) = input.split_first() {
            match *self {
                Self::Idle => *self = Self::Header { octets: [octet, 0, 0, 0], known: 1 },
                Self::Header { mut octets, known } => {
                    if let Some(place) = octets.get_mut(usize::from(known)) {
                        *place = octet;
                    }
                    *self = if known < 3 {
                        Self::Header { octets, known: known.saturating_add(1) }
                    } else {
                        Self::begin(side, octets)?
                    };
                }
                Self::KeyUpdate => {
                    *input = rest;
                    *self = Self::Idle;
                    return match octet {
                        0 | 1 => Ok(Some(Message::KeyUpdate { requested: octet == 1 })),
                        other => Err(TlsError::KeyUpdateValue(other)),
                    };
                }
                Self::Ticket { left } => {
                    let skipped = u32::try_from(input.len()).unwrap_or(u32::MAX).min(left);
                    *input = usize::try_from(skipped).ok().and_then(|n| input.get(n..)).unwrap_or_default();
                    let left = left.saturating_sub(skipped);
                    if left > 0 {
                        *self = Self::Ticket { left };
                        continue;
                    }
                    *self = Self::Idle;
                    return Ok(Some(Message::Ticket));
                }
            }
            *input = rest;
        }
        Ok(None)
    }

    /// What a complete header announces.
    fn begin(side: Side, [message, high, middle, low]: [u8; 4]) -> Result<Self, TlsError> {
        let length = u32::from_be_bytes([0, high, middle, low]);
        match (message, side) {
            (KEY_UPDATE, _) if length == 1 => Ok(Self::KeyUpdate),
            (NEW_SESSION_TICKET, Side::Client) if (1..=MAX_TICKET).contains(&length) => {
                Ok(Self::Ticket { left: length })
            }
            (KEY_UPDATE, _) | (NEW_SESSION_TICKET, Side::Client) => {
                Err(TlsError::MalformedHandshake(message))
            }
            _ => Err(TlsError::UnexpectedHandshake(message)),
        }
    }
}

/// A KeyUpdate as it is sent.
pub(super) const fn key_update(ask_peer: bool) -> [u8; 5] {
    [KEY_UPDATE, 0, 0, 1, if ask_peer { 1 } else { 0 }]
}

#[cfg(test)]
mod tests {
    use alloc::vec;
    use alloc::vec::Vec;

    use super::*;

    /// Feeds `stream` in pieces of `step` octets.
    fn feed(side: Side, stream: &[u8], step: usize) -> Result<(Vec<Message>, bool), TlsError> {
        let mut state = PostHandshake::default();
        let mut seen = Vec::new();
        for mut piece in stream.chunks(step) {
            while !piece.is_empty() {
                seen.extend(state.next(side, &mut piece)?);
            }
        }
        Ok((seen, state.is_partial()))
    }

    /// RFC 8446 §5.1: messages may be coalesced and fragmented at will.
    #[test]
    fn chunking_does_not_matter() {
        let mut stream = vec![4, 0, 0, 3, 7, 7, 7, 24, 0, 0, 1, 1, 4, 0, 1, 0];
        stream.extend([9; 256]);
        stream.extend([24, 0, 0, 1, 0]);
        let expected = vec![
            Message::Ticket,
            Message::KeyUpdate { requested: true },
            Message::Ticket,
            Message::KeyUpdate { requested: false },
        ];
        for step in [1, 2, 3, 5, 7, 64, 10_000] {
            assert_eq!(feed(Side::Client, &stream, step), Ok((expected.clone(), false)), "step {step}");
        }
        stream.pop();
        assert_eq!(feed(Side::Client, &stream, 4).map(|(_, partial)| partial), Ok(true));
    }

    #[test]
    fn refuses_what_may_not_come() {
        for (side, stream, error) in [
            (Side::Server, &[4, 0, 0, 3, 7, 7, 7][..], TlsError::UnexpectedHandshake(4)),
            (Side::Client, &[4, 0, 0, 0], TlsError::MalformedHandshake(4)),
            (Side::Client, &[4, 0xff, 0, 0], TlsError::MalformedHandshake(4)),
            (Side::Client, &[24, 0, 0, 2, 0, 0], TlsError::MalformedHandshake(24)),
            (Side::Client, &[24, 0, 0, 0], TlsError::MalformedHandshake(24)),
            (Side::Server, &[24, 0, 0, 1, 2], TlsError::KeyUpdateValue(2)),
            (Side::Server, &[13, 0, 0, 1], TlsError::UnexpectedHandshake(13)),
            (Side::Client, &[13, 0, 0, 1], TlsError::UnexpectedHandshake(13)),
            (Side::Client, &[0, 0, 0, 0], TlsError::UnexpectedHandshake(0)),
        ] {
            assert_eq!(feed(side, stream, 100), Err(error), "{stream:?}");
        }
    }
}
