//! Records without cryptography for models and fuzzing: same sizes, same rules, plaintext and a checksum.
use super::super::{HEADROOM, Side, TlsError};
use super::{FrozenRecords, Opened, RecordLayer, SymbolicCounter, TAG, prepare, unpad};

/// Records whose "tag" is the sequence number and a checksum over direction, generation, header and content. They detect
/// corruption, reordering, replay and a key out of step as real ones do.
pub(in crate::tls) struct SymbolicRecords {
    side: Side,
    send: SymbolicCounter,
    receive: SymbolicCounter,
}

/// What real AES-GCM suites have.
const LIMIT: u64 = 1 << 24;

impl SymbolicRecords {
    /// Records from the beginning.
    pub(in crate::tls) fn new(side: Side) -> Self {
        Self::resume(side, SymbolicCounter::default(), SymbolicCounter::default())
    }

    /// Records that go on where others stopped.
    pub(in crate::tls) const fn resume(side: Side, send: SymbolicCounter, receive: SymbolicCounter) -> Self {
        Self { side, send, receive }
    }
}

impl SymbolicCounter {
    fn take(&mut self) -> Result<Self, TlsError> {
        let taken = *self;
        self.sequence = taken.sequence.checked_add(1).ok_or(TlsError::KeyLimit)?;
        Ok(taken)
    }

    fn advance(&mut self) {
        *self = Self { generation: self.generation.saturating_add(1), sequence: 0 };
    }

    /// The tag of a record from `sender`. FNV-1a: changed content changes it, which is all a model needs.
    fn tag(self, sender: Side, header: &[u8], inner: &[u8]) -> [u8; TAG] {
        let sender = match sender {
            Side::Client => 0_u8,
            Side::Server => 1,
        };
        let mut hash = 0xcbf2_9ce4_8422_2325_u64;
        let seed = [self.generation.to_be_bytes(), self.sequence.to_be_bytes()];
        for &octet in core::iter::once(&sender).chain(seed.as_flattened()).chain(header).chain(inner) {
            hash = (hash ^ u64::from(octet)).wrapping_mul(0x0100_0000_01b3);
        }
        let mut tag = [0; TAG];
        let (sequence, checksum) = tag.split_at_mut(TAG / 2);
        sequence.copy_from_slice(&self.sequence.to_be_bytes());
        checksum.copy_from_slice(&hash.to_be_bytes());
        tag
    }
}

impl RecordLayer for SymbolicRecords {
    fn seal(&mut self, content_type: u8, record: &mut [u8]) -> Result<(), TlsError> {
        let sealing = prepare(content_type, record)?;
        if self.send.sequence >= LIMIT {
            return Err(TlsError::KeyLimit);
        }
        let tag = self.send.take()?.tag(self.side, &sealing.header, sealing.inner);
        sealing.tag.copy_from_slice(&tag);
        Ok(())
    }

    fn open(&mut self, record: &mut [u8]) -> Result<Opened, TlsError> {
        let (header, body) = record.split_at_mut_checked(HEADROOM).ok_or(TlsError::NotOneRecord)?;
        let counter = self.receive.take()?;
        let (inner, tag) = body.split_last_chunk::<TAG>().ok_or(TlsError::BadRecord)?;
        if *tag != counter.tag(self.side.peer(), header, inner) {
            return Err(TlsError::BadRecord);
        }
        unpad(inner)
    }

    fn update_send(&mut self) -> Result<(), TlsError> {
        self.send.advance();
        Ok(())
    }

    fn update_receive(&mut self) -> Result<(), TlsError> {
        self.receive.advance();
        Ok(())
    }

    fn sealed(&self) -> u64 {
        self.send.sequence
    }

    fn limit(&self) -> u64 {
        LIMIT
    }

    fn freeze(&self) -> Result<FrozenRecords, TlsError> {
        Ok(FrozenRecords::Symbolic { side: self.side, send: self.send, receive: self.receive })
    }
}
