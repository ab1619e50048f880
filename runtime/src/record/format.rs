//! The file: a magic number, a header, and entries, each with its length before it and encoded by postcard.
use std::fmt::{self, Write as _};
use std::io::{self, Read, Write};
use std::net::{IpAddr, SocketAddr};

use adit_core::proxy::Listener;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::faults::{DemandFault, Id, NameFault, SocketFault};
use super::tap::Draw;

/// The first octets of a recording.
const MAGIC: &[u8; 8] = b"adit-rec";
/// The version of the format; any change of [`Header`], [`Entry`] or what they contain is a new one.
pub const VERSION: u16 = 5;
/// No entry is longer: one call reads a megabyte or so at most.
const MAX_ENTRY: u32 = 64 << 20;

/// Why a recording cannot be read or written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RecordError {
    /// The file cannot be read or written.
    #[error("the recording cannot be read or written: {0}")]
    Io(#[from] io::Error),
    /// It is none.
    #[error("this is no recording of a shard")]
    NotARecording,
    /// It was written by another version.
    #[error("the recording has version {0}, this build reads version {VERSION}: use the build that wrote it")]
    Version(u16),
    /// It is damaged.
    #[error("the recording is damaged at entry {at}")]
    Damaged {
        /// How many entries were good.
        at: u64,
    },
}

/// What a recording begins with.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Header {
    /// The shard's seed ([`adit_core::proxy::ShardConfig::seed`]).
    pub seed: u64,
    /// What a person should know about where it comes from.
    pub about: String,
}

/// All listeners, in the order of their numbers in a recording.
const LISTENERS: [Listener; 4] =
    [Listener::Outbound, Listener::InboundPlain, Listener::InboundHbone, Listener::Socks5];

/// The number of a listener.
pub(super) fn listener_number(listener: Listener) -> u8 {
    (0..).zip(LISTENERS).find(|(_, other)| *other == listener).map_or(u8::MAX, |(number, _)| number)
}

/// The listener with this number.
#[must_use]
pub fn listener_of(number: u8) -> Option<Listener> {
    LISTENERS.get(usize::from(number)).copied()
}

/// What a [`TlsContext`](adit_core::tls::TlsContext) is remade from; a key is not needed, since signatures are recorded.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Certificate {
    /// DER, leaf first.
    pub chain: Vec<Vec<u8>>,
    /// DER.
    pub roots: Vec<Vec<u8>>,
    /// Records are left to rustls.
    pub rustls_records: bool,
    /// See [`adit_core::tls::TlsSettings::key_update_after`]. Its budgets are taken to be the default ones.
    pub key_update_after: u64,
    /// What peers are checked by, if they are: revocation lists as they were read, or why there are none.
    pub revocations: Option<Result<Vec<u8>, String>>,
}

/// A method of [`Engine`](crate::Engine) and its arguments. `poll_action` and `poll_observed` are recorded only when they
/// gave something, since otherwise they do nothing; `wire` and `poll_timeout` never do anything.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[expect(missing_docs, reason = "as the arguments of the methods they are named after")]
pub enum Call {
    Accepted {
        proxy: u32,
        listener: u8,
        peer: SocketAddr,
        local: SocketAddr,
        original: SocketAddr,
    },
    Connect {
        workload: String,
        port: u16,
        /// Namespace, hostname.
        service: Option<[String; 2]>,
        target: SocketAddr,
        client: SocketAddr,
    },
    Connected {
        socket: Id,
    },
    Error {
        socket: Id,
        error: SocketFault,
    },
    /// With what was read into the areas before the next call.
    Lend {
        socket: Id,
        octets: Vec<u8>,
    },
    Read {
        socket: Id,
        n: u64,
    },
    Eof {
        socket: Id,
    },
    PollUrgent,
    PollDeferred,
    Written {
        socket: Id,
        n: u64,
    },
    WriteBlocked {
        socket: Id,
    },
    Writable {
        socket: Id,
    },
    Timeout,
    /// Which tables it were is not recorded.
    Mesh,
    Certificate {
        identity: String,
        answer: Result<Certificate, String>,
    },
    Resolved {
        ticket: Id,
        answer: Result<Vec<IpAddr>, NameFault>,
    },
    Demanded {
        ticket: Id,
        answer: Result<(), DemandFault>,
    },
    AddProxy {
        id: u32,
        /// Namespace, name, service account.
        local: [String; 3],
    },
    RemoveProxy {
        id: u32,
    },
    Drain,
    Terminate,
    PollAction,
    PollObserved,
}

/// One call.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Entry {
    /// Nanoseconds since the entry before it, on the shard's clock.
    pub after: u64,
    /// The wall clock, in seconds since 1970, when it has changed.
    pub clock: Option<u64>,
    /// The call.
    pub call: Call,
    /// What was drawn at random meanwhile, in order.
    pub draws: Vec<Draw>,
    /// The [`Digest`] after it.
    pub digest: u32,
}

/// A running digest (FNV-1a) of all that a shard has answered: results by their `Debug` form, and octets written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Digest(u64);

impl Default for Digest {
    fn default() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }
}

impl Digest {
    /// Adds octets.
    pub fn octets(&mut self, octets: &[u8]) {
        for octet in octets {
            self.0 = (self.0 ^ u64::from(*octet)).wrapping_mul(0x0100_0000_01b3);
        }
    }

    /// Adds a result.
    pub fn result(&mut self, result: &impl fmt::Debug) {
        // Writing into a digest cannot fail.
        let _ = write!(self, "{result:?};");
    }

    /// As an entry has it.
    #[must_use]
    pub fn short(self) -> u32 {
        let [a, b, c, d, e, f, g, h] = self.0.to_le_bytes();
        u32::from_le_bytes([a ^ e, b ^ f, c ^ g, d ^ h])
    }
}

impl fmt::Write for Digest {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.octets(text.as_bytes());
        Ok(())
    }
}

/// Writes a recording.
pub(super) struct Writer<W>(W);

impl<W: Write> Writer<W> {
    pub(super) fn new(mut sink: W, header: &Header) -> Result<Self, RecordError> {
        sink.write_all(MAGIC)?;
        sink.write_all(&VERSION.to_le_bytes())?;
        let mut this = Self(sink);
        this.item(header)?;
        Ok(this)
    }

    pub(super) fn entry(&mut self, entry: &Entry) -> Result<(), RecordError> {
        self.item(entry)
    }

    fn item(&mut self, item: &impl Serialize) -> Result<(), RecordError> {
        let octets = postcard::to_allocvec(item).map_err(io::Error::other)?;
        let length = u32::try_from(octets.len()).map_err(io::Error::other)?;
        self.0.write_all(&length.to_le_bytes())?;
        self.0.write_all(&octets)?;
        Ok(())
    }
}

/// Reads a recording. Entries come out one by one; a last one that was cut off, as by a crash, is left out.
#[derive(Debug)]
pub struct Reader<R> {
    source: R,
    header: Header,
    entries: u64,
    ended: bool,
}

impl<R: Read> Reader<R> {
    /// Reads the header.
    ///
    /// # Errors
    /// It is no recording, one of another version, or it cannot be read.
    pub fn new(mut source: R) -> Result<Self, RecordError> {
        let (mut magic, mut version) = ([0; 8], [0; 2]);
        let begin = source.read_exact(&mut magic).and_then(|()| source.read_exact(&mut version));
        if begin.is_err() || magic != *MAGIC {
            return Err(RecordError::NotARecording);
        }
        let version = u16::from_le_bytes(version);
        if version != VERSION {
            return Err(RecordError::Version(version));
        }
        let header = item(&mut source)?.ok_or(RecordError::NotARecording)?;
        let header = postcard::from_bytes(&header).map_err(|_| RecordError::NotARecording)?;
        Ok(Self { source, header, entries: 0, ended: false })
    }

    /// What it begins with.
    pub const fn header(&self) -> &Header {
        &self.header
    }

    fn read<T: DeserializeOwned>(&mut self) -> Result<Option<T>, RecordError> {
        let damaged = RecordError::Damaged { at: self.entries };
        let Some(octets) = item(&mut self.source)? else { return Ok(None) };
        self.entries += 1;
        postcard::from_bytes(&octets).map(Some).map_err(|_| damaged)
    }
}

/// The octets of the next item; `None` at the end, or when it is cut off.
fn item(source: &mut impl Read) -> Result<Option<Vec<u8>>, RecordError> {
    let mut length = [0; 4];
    let read = source.read_exact(&mut length).and_then(|()| {
        let length = u32::from_le_bytes(length).min(MAX_ENTRY);
        let mut octets = Vec::new();
        source.take(u64::from(length)).read_to_end(&mut octets)?;
        if octets.len() == length as usize { Ok(octets) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
    });
    match read {
        Ok(octets) => Ok(Some(octets)),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(None),
        Err(error) => Err(error.into()),
    }
}

impl<R: Read> Iterator for Reader<R> {
    type Item = Result<Entry, RecordError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ended {
            return None;
        }
        let next = self.read().transpose();
        self.ended = !matches!(next, Some(Ok(_)));
        next
    }
}

#[cfg(test)]
mod tests {
    use adit_core::proxy::SocketId;

    use super::*;

    fn id() -> Id {
        SocketId { index: 1, generation: 2 }.into()
    }

    fn recording() -> Vec<u8> {
        let mut octets = Vec::new();
        let header = Header { seed: 7, about: "a test".into() };
        let mut writer = Writer::new(&mut octets, &header).unwrap();
        for call in [Call::PollUrgent, Call::Lend { socket: id(), octets: vec![3; 300] }, Call::Drain] {
            let draws = vec![Draw::Random(vec![1, 2])];
            writer.entry(&Entry { after: 5, clock: Some(9), call, draws, digest: 1 }).unwrap();
        }
        octets
    }

    #[test]
    fn what_was_written_is_read() {
        let octets = recording();
        let reader = Reader::new(octets.as_slice()).unwrap();
        assert_eq!((reader.header().seed, reader.header().about.as_str()), (7, "a test"));
        let calls: Vec<_> = reader.map(|entry| entry.unwrap().call).collect();
        assert_eq!(calls.len(), 3);
        assert_eq!(calls[1], Call::Lend { socket: id(), octets: vec![3; 300] });
    }

    #[test]
    fn a_recording_may_be_cut_anywhere_and_nothing_else_is_one() {
        let octets = recording();
        for end in 0..octets.len() {
            match Reader::new(&octets[..end]) {
                Ok(reader) => assert!(reader.map(Result::unwrap).count() < 3),
                Err(error) => assert!(matches!(error, RecordError::NotARecording), "{error}"),
            }
        }
        let mut other = octets.clone();
        other[8] = 99;
        assert!(matches!(Reader::new(other.as_slice()), Err(RecordError::Version(99))));
        let mut damaged = octets;
        *damaged.last_mut().unwrap() = 0xff;
        let results: Vec<_> = Reader::new(damaged.as_slice()).unwrap().collect();
        assert!(matches!(results[..], [Ok(_), Ok(_), Err(RecordError::Damaged { at: 2 })]), "{results:?}");
    }
}
