//! Record protection by rustls's own cipher objects: the oracle of the other one, and a setting to fall back on.
use alloc::boxed::Box;

use rustls::crypto::cipher::{
    AeadKey, InboundOpaqueMessage, Iv, MessageDecrypter, MessageEncrypter, OutboundChunks, OutboundPlainMessage,
};
use rustls::{ContentType, PeerMisbehaved, ProtocolVersion};

use super::super::{HEADROOM, TlsError};
use super::schedule::Direction;
use super::{FrozenRecords, Opened, RecordLayer, content, prepare};

/// Records over `Tls13AeadAlgorithm::{encrypter, decrypter}`. Each sealed record costs an allocation and a copy.
pub(in crate::tls) struct RustlsRecords {
    send: Direction,
    receive: Direction,
    encrypter: Box<dyn MessageEncrypter>,
    decrypter: Box<dyn MessageDecrypter>,
    limit: u64,
}

fn encrypter(direction: &Direction) -> Result<Box<dyn MessageEncrypter>, TlsError> {
    let keys = direction.keys()?;
    Ok(direction.suite().aead_alg.encrypter(AeadKey::from(keys.padded_key()), Iv::from(keys.iv)))
}

fn decrypter(direction: &Direction) -> Result<Box<dyn MessageDecrypter>, TlsError> {
    let keys = direction.keys()?;
    Ok(direction.suite().aead_alg.decrypter(AeadKey::from(keys.padded_key()), Iv::from(keys.iv)))
}

impl RustlsRecords {
    /// Records that go on from `send` and `receive`.
    pub(in crate::tls) fn new(send: Direction, receive: Direction) -> Result<Self, TlsError> {
        Ok(Self {
            encrypter: encrypter(&send)?,
            decrypter: decrypter(&receive)?,
            limit: send.suite().common.confidentiality_limit,
            send,
            receive,
        })
    }
}

impl RecordLayer for RustlsRecords {
    fn seal(&mut self, content_type: u8, record: &mut [u8]) -> Result<(), TlsError> {
        let sealing = prepare(content_type, record)?;
        if self.send.sequence() >= self.limit {
            return Err(TlsError::KeyLimit);
        }
        let sequence = self.send.take_sequence()?;
        let (_, payload) = sealing.inner.split_last().ok_or(TlsError::Crypto("sealing"))?;
        let plain = OutboundPlainMessage {
            typ: ContentType::from(content_type),
            version: ProtocolVersion::TLSv1_2,
            payload: OutboundChunks::Single(payload),
        };
        let sealed = self.encrypter.encrypt(plain, sequence).map_err(|_| TlsError::Crypto("sealing"))?.encode();
        if sealed.len() != record.len() {
            return Err(TlsError::Crypto("sealing"));
        }
        record.copy_from_slice(&sealed);
        Ok(())
    }

    fn open(&mut self, record: &mut [u8]) -> Result<Opened, TlsError> {
        let (_, body) = record.split_at_mut_checked(HEADROOM).ok_or(TlsError::NotOneRecord)?;
        let opaque = InboundOpaqueMessage::new(ContentType::ApplicationData, ProtocolVersion::TLSv1_2, body);
        let plain = self.decrypter.decrypt(opaque, self.receive.take_sequence()?).map_err(open_error)?;
        // rustls opens in place: the content begins where the ciphertext began.
        let payload = HEADROOM..HEADROOM.saturating_add(plain.payload.len());
        Ok(Opened { content_type: plain.typ.into(), payload })
    }

    fn update_send(&mut self) -> Result<(), TlsError> {
        self.send.advance()?;
        self.encrypter = encrypter(&self.send)?;
        Ok(())
    }

    fn update_receive(&mut self) -> Result<(), TlsError> {
        self.receive.advance()?;
        self.decrypter = decrypter(&self.receive)?;
        Ok(())
    }

    fn sealed(&self) -> u64 {
        self.send.sequence()
    }

    fn limit(&self) -> u64 {
        self.limit
    }

    fn freeze(&self) -> Result<FrozenRecords, TlsError> {
        Err(TlsError::NotFreezable("its records are protected by rustls"))
    }
}

#[expect(clippy::wildcard_enum_match_arm, reason = "rustls has no other errors for a record that it opens")]
fn open_error(error: rustls::Error) -> TlsError {
    match error {
        rustls::Error::PeerSentOversizedRecord => TlsError::PlaintextTooLong,
        rustls::Error::PeerMisbehaved(PeerMisbehaved::IllegalTlsInnerPlaintext) => TlsError::NoContentType,
        rustls::Error::PeerMisbehaved(PeerMisbehaved::IllegalMiddleboxChangeCipherSpec) => {
            TlsError::UnexpectedRecord(content::CHANGE_CIPHER_SPEC)
        }
        _ => TlsError::BadRecord,
    }
}
