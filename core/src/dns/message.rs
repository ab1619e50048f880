//! Reading a DNS message: header, first question, EDNS (RFC 1035 §4.1, RFC 6891 §6.1). Total: any octets are refused or read.

use alloc::string::String;
use core::fmt;

/// Octets of a message's header.
pub const HEADER: usize = 12;
/// Most octets of a name on the wire (RFC 1035 §3.1).
const MAX_NAME: usize = 255;
/// Most octets of a label.
pub(super) const MAX_LABEL: u8 = 63;

pub(super) const FLAG_RESPONSE: u16 = 0x8000;
pub(super) const FLAG_TRUNCATED: u16 = 0x0200;
const OPCODE: u16 = 0x7800;
pub(super) const FLAG_DO: u16 = 0x8000;
/// Class IN.
pub const CLASS_INTERNET: u16 = 1;
/// Type OPT (RFC 6891 §6.1.1).
pub(super) const TYPE_OPT: u16 = 41;

/// Over what a question came, and so over what it is relayed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Transport {
    /// Datagrams.
    Udp,
    /// A connection with messages behind their length (RFC 1035 §4.2.2).
    Tcp,
}

impl Transport {
    /// `udp` or `tcp`: the metrics label `request_protocol`.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Udp => "udp",
            Self::Tcp => "tcp",
        }
    }
}

/// Type of the record asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RecordType(pub u16);

impl RecordType {
    /// An IPv4 address.
    pub const A: Self = Self(1);
    /// Another name of this name.
    pub const CNAME: Self = Self(5);
    /// An IPv6 address.
    pub const AAAA: Self = Self(28);
    /// Changes of a zone (RFC 1995).
    pub const IXFR: Self = Self(251);
    /// A whole zone (RFC 5936).
    pub const AXFR: Self = Self(252);

    /// The lower-case mnemonic of a common type, else `unknown`: the metrics label `request_query_type`. Bounded, as a
    /// client chooses the type.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self.0 {
            1 => "a",
            2 => "ns",
            5 => "cname",
            6 => "soa",
            12 => "ptr",
            13 => "hinfo",
            15 => "mx",
            16 => "txt",
            28 => "aaaa",
            33 => "srv",
            35 => "naptr",
            43 => "ds",
            46 => "rrsig",
            47 => "nsec",
            48 => "dnskey",
            52 => "tlsa",
            64 => "svcb",
            65 => "https",
            251 => "ixfr",
            252 => "axfr",
            255 => "any",
            257 => "caa",
            _ => "unknown",
        }
    }
}

/// Why octets are no question.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum MessageError {
    /// Shorter than a header: nothing to answer to.
    #[error("message shorter than the 12 octets of a DNS header")]
    TooShort,
    /// A response. Answering it could go on for ever between two servers.
    #[error("message is a response, not a query")]
    Response,
    /// The first question cannot be read.
    #[error("malformed question: labels of at most 63 octets, 255 in all, then type and class")]
    Question,
}

impl MessageError {
    /// Whether the sender is told (with FORMERR); else the message is dropped.
    #[must_use]
    pub const fn is_answered(self) -> bool {
        matches!(self, Self::Question)
    }
}

/// The first question of a message; borrowed from it.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Question<'a> {
    /// Length octets and labels, the root's zero included.
    name: &'a [u8],
    /// What is asked for.
    pub record_type: RecordType,
    /// Class; nearly always [`CLASS_INTERNET`].
    pub class: u16,
}

impl<'a> Question<'a> {
    /// Reads the question behind the header.
    fn read(octets: &'a [u8]) -> Option<Self> {
        let rest = octets.get(HEADER..)?;
        let mut length = 0_usize;
        loop {
            let label = *rest.get(length)?;
            length = length.checked_add(usize::from(label).checked_add(1)?)?;
            // A pointer (RFC 1035 §4.1.4) has nothing before it to point to.
            if label > MAX_LABEL || length > MAX_NAME {
                return None;
            }
            if label == 0 {
                break;
            }
        }
        let (name, rest) = rest.split_at_checked(length)?;
        let record_type = RecordType(be16(rest, 0)?);
        Some(Self { name, record_type, class: be16(rest, 2)? })
    }

    /// Its name on the wire: length octets and labels, the root's zero included.
    #[must_use]
    pub const fn name(&self) -> &'a [u8] {
        self.name
    }

    /// Its labels, without the root.
    pub fn labels(&self) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        let mut rest = self.name;
        core::iter::from_fn(move || {
            let (length, behind) = rest.split_first()?;
            let (label, behind) = behind.split_at_checked(usize::from(*length))?;
            rest = behind;
            (!label.is_empty()).then_some(label)
        })
    }

    /// The name in lower case with dots and without the last one; `None` for the root, and where a label holds a dot or
    /// anything but printable ASCII: no hostname looks so.
    #[must_use]
    pub fn hostname(&self) -> Option<String> {
        let mut text = String::with_capacity(self.name.len());
        for label in self.labels() {
            if !text.is_empty() {
                text.push('.');
            }
            for octet in label {
                if !octet.is_ascii_graphic() || *octet == b'.' {
                    return None;
                }
                text.push(char::from(octet.to_ascii_lowercase()));
            }
        }
        (!text.is_empty()).then_some(text)
    }

    /// Whether both ask the same, letter case aside.
    #[must_use]
    pub fn same(&self, other: &Question<'_>) -> bool {
        // Length octets are below 64, where letter case changes nothing.
        self.record_type == other.record_type
            && self.class == other.class
            && self.name.eq_ignore_ascii_case(other.name)
    }

    /// Where in the message it ends.
    pub(super) fn end(&self) -> usize {
        HEADER.saturating_add(self.name.len()).saturating_add(4)
    }
}

impl fmt::Display for Question<'_> {
    /// The name in the client's letter case, octets outside printable ASCII as `\ddd` (RFC 1035 §5.1).
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for label in self.labels() {
            for octet in label {
                match octet {
                    b'.' | b'\\' => write!(f, "\\{}", char::from(*octet))?,
                    octet if octet.is_ascii_graphic() => write!(f, "{}", char::from(*octet))?,
                    octet => write!(f, "\\{octet:03}")?,
                }
            }
            f.write_str(".")?;
        }
        if self.name.len() <= 1 { f.write_str(".") } else { Ok(()) }
    }
}

impl fmt::Debug for Question<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self} {} class {}", self.record_type.label(), self.class)
    }
}

/// What the OPT record of a query says (RFC 6891 §6.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Edns {
    /// Octets that the client takes in one datagram, as it says; below 512 counts as 512.
    pub payload: u16,
    /// Version of EDNS.
    pub version: u8,
    /// The DO bit: DNSSEC records are wanted.
    pub dnssec: bool,
}

/// What stands behind the first question.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Tail {
    /// Nothing, or just an OPT record.
    Plain(Option<Edns>),
    /// Something else, such as a signature: not for us to answer.
    Other,
}

/// A query as far as we look into it; borrowed from its message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Query<'a> {
    octets: &'a [u8],
    flags: u16,
    question: Option<Question<'a>>,
    tail: Tail,
}

impl<'a> Query<'a> {
    /// Reads a message from a client. What stands behind the first question need not be well-formed: whoever it is
    /// relayed to shall judge it.
    ///
    /// # Errors
    /// Octets that are no query: see [`MessageError::is_answered`] for what to do.
    pub fn parse(octets: &'a [u8]) -> Result<Self, MessageError> {
        let header = |at| be16(octets, at).ok_or(MessageError::TooShort);
        let (flags, questions) = (header(2)?, header(4)?);
        let (answers, authorities, additionals) = (header(6)?, header(8)?, header(10)?);
        if flags & FLAG_RESPONSE != 0 {
            return Err(MessageError::Response);
        }
        let mut query = Self { octets, flags, question: None, tail: Tail::Other };
        if questions == 0 {
            return Ok(query);
        }
        let question = Question::read(octets).ok_or(MessageError::Question)?;
        query.question = Some(question);
        if questions == 1 && answers == 0 && authorities == 0 {
            let rest = octets.get(question.end()..).unwrap_or_default();
            query.tail = read_tail(rest, additionals);
        }
        Ok(query)
    }

    /// The message id that the client chose.
    #[must_use]
    pub fn id(&self) -> u16 {
        id(self.octets)
    }

    /// The first question, if there is one.
    #[must_use]
    pub const fn question(&self) -> Option<Question<'a>> {
        self.question
    }

    /// The whole message.
    #[must_use]
    pub const fn octets(&self) -> &'a [u8] {
        self.octets
    }

    /// Type of the first question; 0 (reserved) without one.
    #[must_use]
    pub fn record_type(&self) -> RecordType {
        self.question.map_or(RecordType(0), |question| question.record_type)
    }

    /// Kind of query; 0 is QUERY (RFC 1035 §4.1.1).
    #[must_use]
    pub const fn opcode(&self) -> u16 {
        self.flags & OPCODE
    }

    pub(super) const fn flags(&self) -> u16 {
        self.flags
    }

    pub(super) const fn tail(&self) -> Tail {
        self.tail
    }

    /// Most octets of an answer: what the client says (at least 512), 512 without EDNS (RFC 1035 §4.2.1), 65 535 over TCP.
    #[must_use]
    pub fn limit(&self, transport: Transport) -> usize {
        match (transport, self.tail) {
            (Transport::Tcp, _) => usize::from(u16::MAX),
            (Transport::Udp, Tail::Plain(Some(edns))) => usize::from(edns.payload.max(512)),
            (Transport::Udp, Tail::Plain(None) | Tail::Other) => 512,
        }
    }
}

/// Whether `octets` answer `query` sent with message id `sent`: a response with this id and opcode to this question.
///
/// A server that could not read the question may answer with an error and none.
#[must_use]
pub fn answers(octets: &[u8], sent: u16, query: &Query<'_>) -> bool {
    let (Some(id), Some(flags), Some(questions)) = (be16(octets, 0), be16(octets, 2), be16(octets, 4)) else {
        return false;
    };
    if octets.len() < HEADER
        || id != sent
        || flags & FLAG_RESPONSE == 0
        || (flags ^ query.flags()) & OPCODE != 0
    {
        return false;
    }
    match (query.question(), questions) {
        (None, _) => true,
        (Some(_), 0) => flags & 0xf != 0,
        (Some(asked), _) => Question::read(octets).is_some_and(|question| question.same(&asked)),
    }
}

/// The message id; 0 of octets too short to have one.
#[must_use]
pub(super) fn id(octets: &[u8]) -> u16 {
    be16(octets, 0).unwrap_or_default()
}

/// Puts `id` in place of the message id.
pub(super) fn set_id(octets: &mut [u8], id: u16) {
    if let Some(place) = octets.get_mut(..2) {
        place.copy_from_slice(&id.to_be_bytes());
    }
}

/// The sections behind the question, of which only `additionals` may have a record.
fn read_tail(rest: &[u8], additionals: u16) -> Tail {
    match additionals {
        0 if rest.is_empty() => Tail::Plain(None),
        1 => read_opt(rest).map_or(Tail::Other, |edns| Tail::Plain(Some(edns))),
        _ => Tail::Other,
    }
}

/// An OPT record up to the end of the message: root, type, payload, extended rcode and version, flags, length, options.
fn read_opt(rest: &[u8]) -> Option<Edns> {
    let (root, rest) = rest.split_first()?;
    let options = rest.get(10..)?;
    if *root != 0 || be16(rest, 0)? != TYPE_OPT || usize::from(be16(rest, 8)?) != options.len() {
        return None;
    }
    let [_, version] = be16(rest, 4)?.to_be_bytes();
    Some(Edns { payload: be16(rest, 2)?, version, dnssec: be16(rest, 6)? & FLAG_DO != 0 })
}

fn be16(octets: &[u8], at: usize) -> Option<u16> {
    let both = octets.get(at..at.checked_add(2)?)?;
    both.try_into().ok().map(u16::from_be_bytes)
}

#[cfg(test)]
pub(super) mod tests;
