//! Asking for a host's addresses ourselves: the question as a message, and the addresses in a response to it.

use alloc::vec::Vec;
use core::net::IpAddr;

use super::message::{
    CLASS_INTERNET, FLAG_RESPONSE, FLAG_TRUNCATED, HEADER, MAX_LABEL, RecordType, TYPE_OPT,
};
use super::names::NameError;

/// RD: the name server is to do what it takes (RFC 1035 §4.1.1).
const FLAG_RECURSION_DESIRED: u16 = 0x0100;
const RCODE: u16 = 0x000f;
const NO_SUCH_NAME: u16 = 3;
/// Octets of a datagram that no path fragments (RFC 9715 §3).
const PAYLOAD: u16 = 1_232;
/// Most octets of a name as text.
const MOST_NAME: usize = 253;
/// Addresses that are taken from one response; nobody needs more of one host.
const MOST_ADDRESSES: usize = 64;

/// What a response says of a host.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct HostAnswer {
    /// Its addresses; the first 64.
    pub addresses: Vec<IpAddr>,
    /// Seconds that they may be kept: the least of all records that lead to them.
    pub ttl: u32,
    /// There is more than the datagram holds: ask again over TCP.
    pub truncated: bool,
}

/// The message that asks for `record_type` of `name`, with EDNS and message id 0: whoever sends it gives it one.
///
/// # Errors
/// [`NameError::Invalid`]: no name of a host; a dot at its end is passed over.
pub fn host_question(name: &str, record_type: RecordType) -> Result<Vec<u8>, NameError> {
    let name = name.strip_suffix('.').unwrap_or(name);
    if name.len() > MOST_NAME {
        return Err(NameError::Invalid);
    }
    let mut message = Vec::with_capacity(HEADER.saturating_add(name.len()).saturating_add(17));
    // One question, one additional record.
    for word in [0, FLAG_RECURSION_DESIRED, 1, 0, 0, 1] {
        message.extend_from_slice(&word.to_be_bytes());
    }
    for label in name.split('.') {
        let length = u8::try_from(label.len()).map_err(|_| NameError::Invalid)?;
        let readable = label.bytes().all(|octet| octet.is_ascii_graphic());
        if label.is_empty() || length > MAX_LABEL || !readable {
            return Err(NameError::Invalid);
        }
        message.push(length);
        message.extend_from_slice(label.as_bytes());
    }
    message.push(0);
    for word in [record_type.0, CLASS_INTERNET] {
        message.extend_from_slice(&word.to_be_bytes());
    }
    // OPT: the root, type, payload, extended rcode and version, flags, no options (RFC 6891 §6.1.2).
    message.push(0);
    for word in [TYPE_OPT, PAYLOAD, 0, 0, 0] {
        message.extend_from_slice(&word.to_be_bytes());
    }
    Ok(message)
}

/// The addresses in `message`, a response to [`host_question`]. That it is one was found out by whoever received it
/// ([`Forwarder`](super::Forwarder)). Chains of names are taken as followed: all records of the type are the host's.
///
/// # Errors
/// What the response says instead; one that cannot be read is [`NameError::ServerFailure`].
pub fn host_answer(message: &[u8], record_type: RecordType) -> Result<HostAnswer, NameError> {
    let mut rest = Rest(message);
    let header = rest.header().ok_or(NameError::ServerFailure)?;
    if header.flags & FLAG_RESPONSE == 0 {
        return Err(NameError::ServerFailure);
    }
    let truncated = header.flags & FLAG_TRUNCATED != 0;
    match header.flags & RCODE {
        0 => {}
        NO_SUCH_NAME => return Err(NameError::NotFound),
        _ => return Err(NameError::ServerFailure),
    }
    let read = rest.addresses(&header, record_type);
    match read {
        // What is cut off may be cut off anywhere.
        _ if truncated => Ok(HostAnswer { addresses: Vec::new(), ttl: 0, truncated }),
        None => Err(NameError::ServerFailure),
        Some((addresses, _)) if addresses.is_empty() => Err(NameError::NoAddress),
        Some((addresses, ttl)) => Ok(HostAnswer { addresses, ttl, truncated }),
    }
}

struct Header {
    flags: u16,
    questions: u16,
    answers: u16,
}

/// What is not read yet of a message.
struct Rest<'a>(&'a [u8]);

impl Rest<'_> {
    fn header(&mut self) -> Option<Header> {
        let _id = self.word()?;
        let (flags, questions, answers) = (self.word()?, self.word()?, self.word()?);
        let (_authorities, _additionals) = (self.word()?, self.word()?);
        Some(Header { flags, questions, answers })
    }

    fn addresses(&mut self, header: &Header, record_type: RecordType) -> Option<(Vec<IpAddr>, u32)> {
        for _ in 0..header.questions {
            self.name()?;
            self.skip(4)?;
        }
        let (mut addresses, mut least) = (Vec::new(), u32::MAX);
        for _ in 0..header.answers {
            self.name()?;
            let (kind, class) = (RecordType(self.word()?), self.word()?);
            let ttl = (u32::from(self.word()?) << 16) | u32::from(self.word()?);
            let length = usize::from(self.word()?);
            let data = self.skip(length)?;
            if class != CLASS_INTERNET || (kind != record_type && kind != RecordType::CNAME) {
                continue;
            }
            least = least.min(ttl);
            let address = match (kind, data.len()) {
                (RecordType::A, 4) => <[u8; 4]>::try_from(data).ok().map(IpAddr::from),
                (RecordType::AAAA, 16) => <[u8; 16]>::try_from(data).ok().map(IpAddr::from),
                _ => None,
            };
            if addresses.len() < MOST_ADDRESSES {
                addresses.extend(address);
            }
        }
        Some((addresses, least))
    }

    fn skip(&mut self, count: usize) -> Option<&[u8]> {
        let (skipped, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(skipped)
    }

    fn word(&mut self) -> Option<u16> {
        let (word, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(u16::from_be_bytes(*word))
    }

    /// Passes over a name: labels up to the root or to a pointer (RFC 1035 §4.1.4), which is not followed.
    fn name(&mut self) -> Option<()> {
        loop {
            let length = *self.skip(1)?.first()?;
            match length {
                0 => return Some(()),
                1..=63 => {
                    self.skip(usize::from(length))?;
                }
                0xc0.. => return self.skip(1).map(drop),
                _ => return None,
            }
        }
    }
}

#[cfg(test)]
mod tests;
