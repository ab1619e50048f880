//! Own record protection: in place, no allocation, over the AEAD port (design D3).
use alloc::boxed::Box;

use super::super::aead::{Aead, AeadKey};
use super::super::{HEADROOM, TlsError};
use super::schedule::{Direction, nonce};
use super::{FrozenDirection, FrozenRecords, Opened, RecordLayer, prepare, suite_of, unpad};

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
    aead: alloc::sync::Arc<dyn Aead>,
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
        aead: alloc::sync::Arc<dyn Aead>,
    ) -> Result<Self, TlsError> {
        let limit = send.suite().common.confidentiality_limit;
        Ok(Self { send: Keyed::new(send, &*aead)?, receive: Keyed::new(receive, &*aead)?, limit, aead })
    }
}

impl RecordLayer for InPlaceRecords {
    fn seal(&mut self, content_type: u8, record: &mut [u8]) -> Result<(), TlsError> {
        let sealing = prepare(content_type, record)?;
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
