//! Writing our own answers: records with compressed owner names, EDNS as the client had it, truncation.

use alloc::vec::Vec;
use core::net::IpAddr;

use super::message::{
    CLASS_INTERNET, Edns, FLAG_DO, FLAG_RESPONSE, FLAG_TRUNCATED, HEADER, Query, RecordType, TYPE_OPT, Tail,
};
use super::resolver::Answer;

/// Seconds that a client may keep our records (datapath §7.4).
pub const TTL: u32 = 30;

const FLAG_AUTHORITATIVE: u16 = 0x0400;
const FLAG_RECURSION_AVAILABLE: u16 = 0x0080;
/// Copied from the query: opcode, recursion desired (RFC 1035 §4.1.1), checking disabled (RFC 4035 §3.2.2).
const COPIED: u16 = 0x7800 | 0x0100 | 0x0010;
/// Points to the question's name, right behind the header (RFC 1035 §4.1.4).
const POINTER_TO_QUESTION: u16 = 0xc00c;
/// Octets of a record behind its owner's name: type, class, time to live, length.
const FIXED: usize = 10;
/// Octets of an OPT record without options.
const OPT: usize = 11;

/// Why a query gets no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Rcode {
    /// The query cannot be read.
    FormatError,
    /// No name server answered, or we have too much to do.
    ServerFailure,
}

impl Rcode {
    const fn code(self) -> u16 {
        match self {
            Self::FormatError => 1,
            Self::ServerFailure => 2,
        }
    }
}

/// The response to `query`, of at most `limit` octets ([`Query::limit`]): as many records as fit, with TC set where some do not.
///
/// A known name without addresses gives an answer without records (NODATA), and no SOA: nobody keeps it.
#[must_use]
pub fn answer(query: &Query<'_>, answer: &Answer, limit: usize) -> Vec<u8> {
    let mut flags = FLAG_AUTHORITATIVE;
    let Some(question) = query.question() else { return failure(query.octets(), Rcode::FormatError) };
    let edns = match query.tail() {
        Tail::Plain(edns) => edns,
        Tail::Other => None,
    };
    let mut message = Vec::with_capacity(limit.min(512));
    message.resize(HEADER, 0);
    message.extend_from_slice(query.octets().get(HEADER..question.end()).unwrap_or_default());
    let room = limit.saturating_sub(if edns.is_some() { OPT } else { 0 });
    let mut records = 0_u16;
    let mut owner = POINTER_TO_QUESTION;
    // A chain makes no sense without what it leads to: NODATA needs none.
    if let Some(labels) = answer.canonical_labels
        && !answer.addresses.is_empty()
    {
        let mut target = Vec::new();
        for label in question.labels().take(labels) {
            target.push(u8::try_from(label.len()).unwrap_or(0));
            target.extend_from_slice(label);
        }
        target.push(0);
        if push(&mut message, owner, RecordType::CNAME, &target, room) {
            records = 1;
            let at = message.len().saturating_sub(target.len());
            owner = 0xc000 | u16::try_from(at).unwrap_or(0);
        }
    }
    for address in &answer.addresses {
        let fits = match address {
            IpAddr::V4(address) => push(&mut message, owner, RecordType::A, &address.octets(), room),
            IpAddr::V6(address) => push(&mut message, owner, RecordType::AAAA, &address.octets(), room),
        };
        if !fits {
            flags |= FLAG_TRUNCATED;
            break;
        }
        records = records.saturating_add(1);
    }
    if let Some(edns) = edns {
        push_opt(&mut message, edns);
    }
    let header = Header { flags, questions: 1, answers: records, additionals: u16::from(edns.is_some()) };
    header.write(query.octets(), &mut message);
    message
}

/// A response without records that says `rcode`. The question comes back where it can be read.
///
/// `query` is whatever the client sent, as far as it goes.
#[must_use]
pub fn failure(query: &[u8], rcode: Rcode) -> Vec<u8> {
    let parsed = Query::parse(query).ok();
    let question = parsed.as_ref().and_then(Query::question);
    let edns = match parsed.map(|query| query.tail()) {
        Some(Tail::Plain(edns)) => edns,
        Some(Tail::Other) | None => None,
    };
    let mut message = alloc::vec![0; HEADER];
    if let Some(question) = question {
        message.extend_from_slice(query.get(HEADER..question.end()).unwrap_or_default());
    }
    if let Some(edns) = edns {
        push_opt(&mut message, edns);
    }
    let header = Header {
        flags: rcode.code(),
        questions: u16::from(question.is_some()),
        answers: 0,
        additionals: u16::from(edns.is_some()),
    };
    header.write(query, &mut message);
    message
}

struct Header {
    flags: u16,
    questions: u16,
    answers: u16,
    additionals: u16,
}

impl Header {
    /// Fills in the first octets of `message`, a response to `query`.
    fn write(&self, query: &[u8], message: &mut [u8]) {
        let octet = |at: usize| query.get(at).copied().unwrap_or(0);
        let asked = u16::from_be_bytes([octet(2), octet(3)]);
        let flags = FLAG_RESPONSE | FLAG_RECURSION_AVAILABLE | asked & COPIED | self.flags;
        let words = [
            u16::from_be_bytes([octet(0), octet(1)]),
            flags,
            self.questions,
            self.answers,
            0,
            self.additionals,
        ];
        for (place, word) in message.chunks_exact_mut(2).zip(words) {
            place.copy_from_slice(&word.to_be_bytes());
        }
    }
}

/// Appends a record if the message stays within `room`.
fn push(message: &mut Vec<u8>, owner: u16, record_type: RecordType, data: &[u8], room: usize) -> bool {
    let Ok(length) = u16::try_from(data.len()) else { return false };
    let size = data.len().saturating_add(FIXED).saturating_add(2);
    if message.len().saturating_add(size) > room {
        return false;
    }
    for word in [owner, record_type.0, CLASS_INTERNET] {
        message.extend_from_slice(&word.to_be_bytes());
    }
    message.extend_from_slice(&TTL.to_be_bytes());
    message.extend_from_slice(&length.to_be_bytes());
    message.extend_from_slice(data);
    true
}

/// An OPT record with the client's payload (at least 512), version and DO bit, without options.
fn push_opt(message: &mut Vec<u8>, edns: Edns) {
    message.push(0);
    let flags = if edns.dnssec { FLAG_DO } else { 0 };
    for word in [TYPE_OPT, edns.payload.max(512), u16::from(edns.version), flags, 0] {
        message.extend_from_slice(&word.to_be_bytes());
    }
}

#[cfg(test)]
mod tests;
