//! Own record protection: in place, no allocation, over the AEAD port (design D3).
use alloc::boxed::Box;
use alloc::sync::Arc;

use super::super::aead::{Aead, AeadKey};
use super::super::{HEADROOM, TlsError};
use super::schedule::{Direction, nonce};
use super::{FrozenDirection, FrozenRecords, Opened, RecordLayer, Sealing, prepare, suite_of, unpad};

/// One direction with its key at hand.
struct Keyed {
    direction: Direction,
    key: Box<dyn AeadKey>,
    iv: [u8; 12],
}

impl Keyed {
    fn new(direction: Direction, aead: &dyn Aead) -> Result<Self, TlsError> {
        let keys = direction.keys()?;
        let suite = suite_of(direction.suite()).ok_or(UNSUPPORTED)?;
        let key = aead.key(suite, keys.key()).ok_or(UNSUPPORTED)?;
        Ok(Self { direction, key, iv: keys.iv })
    }

    fn advance(&mut self, aead: &dyn Aead) -> Result<(), TlsError> {
        self.direction.advance()?;
        let keys = self.direction.keys()?;
        let suite = suite_of(self.direction.suite()).ok_or(UNSUPPORTED)?;
        self.key = aead.key(suite, keys.key()).ok_or(UNSUPPORTED)?;
        self.iv = keys.iv;
        Ok(())
    }

    fn freeze(&self) -> FrozenDirection {
        FrozenDirection { secret: self.direction.secret().clone(), sequence: self.direction.sequence() }
    }
}

const UNSUPPORTED: TlsError = TlsError::Crypto("cipher suite is not supported by the AEAD port");

/// Records over the AEAD port.
pub(in crate::tls) struct InPlaceRecords {
    aead: Arc<dyn Aead>,
    send: Keyed,
    receive: Keyed,
    limit: u64,
}

impl InPlaceRecords {
    /// Records that go on from `send` and `receive`.
    ///
    /// # Errors
    /// `Crypto` when the port does not support the suite.
    pub(in crate::tls) fn new(
        send: Direction,
        receive: Direction,
        aead: Arc<dyn Aead>,
    ) -> Result<Self, TlsError> {
        let limit = send.suite().common.confidentiality_limit;
        Ok(Self { send: Keyed::new(send, &*aead)?, receive: Keyed::new(receive, &*aead)?, limit, aead })
    }

    fn seal_prepared(&mut self, sealing: Sealing<'_>) -> Result<(), TlsError> {
        if self.send.direction.sequence() >= self.limit {
            return Err(TlsError::KeyLimit);
        }
        let nonce = nonce(&self.send.iv, self.send.direction.take_sequence()?);
        let tag = self
            .send
            .key
            .seal(nonce, &sealing.header, sealing.inner)
            .map_err(|_| TlsError::Crypto("sealing"))?;
        sealing.tag.copy_from_slice(&tag);
        Ok(())
    }

    /// Seals any inner plaintext under any header, as only a faulty peer does.
    #[cfg(test)]
    pub(in crate::tls) fn seal_raw(&mut self, outer: [u8; 3], inner: &[u8]) -> alloc::vec::Vec<u8> {
        let length = u16::try_from(inner.len() + super::TAG).unwrap().to_be_bytes();
        let header = [outer[0], outer[1], outer[2], length[0], length[1]];
        let mut record = header.to_vec();
        record.extend_from_slice(inner);
        record.extend([0; super::TAG]);
        let (inner, tag) = record[HEADROOM..].split_at_mut(inner.len());
        self.seal_prepared(Sealing { header, inner, tag }).unwrap();
        record
    }
}

impl RecordLayer for InPlaceRecords {
    fn seal(&mut self, content_type: u8, record: &mut [u8]) -> Result<(), TlsError> {
        self.seal_prepared(prepare(content_type, record)?)
    }

    fn open(&mut self, record: &mut [u8]) -> Result<Opened, TlsError> {
        let (header, body) = record.split_first_chunk_mut::<HEADROOM>().ok_or(TlsError::NotOneRecord)?;
        let nonce = nonce(&self.receive.iv, self.receive.direction.take_sequence()?);
        let length = self.receive.key.open(nonce, header, body).map_err(|_| TlsError::BadRecord)?;
        unpad(body.get(..length).ok_or(TlsError::BadRecord)?)
    }

    fn update_send(&mut self) -> Result<(), TlsError> {
        self.send.advance(&*self.aead)
    }

    fn update_receive(&mut self) -> Result<(), TlsError> {
        self.receive.advance(&*self.aead)
    }

    fn sealed(&self) -> u64 {
        self.send.direction.sequence()
    }

    fn limit(&self) -> u64 {
        self.limit
    }

    fn freeze(&self) -> Result<FrozenRecords, TlsError> {
        let suite = suite_of(self.send.direction.suite()).ok_or(UNSUPPORTED)?;
        Ok(FrozenRecords::InPlace { suite, send: self.send.freeze(), receive: self.receive.freeze() })
    }
}
