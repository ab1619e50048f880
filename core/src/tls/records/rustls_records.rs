//! Record protection by rustls alone, keys included: the oracle of our own, and a setting to fall back on.
use alloc::boxed::Box;

use rustls::client::ClientConnectionData;
use rustls::crypto::cipher::{
    AeadKey, InboundOpaqueMessage, Iv, MessageDecrypter, MessageEncrypter, OutboundChunks,
    OutboundPlainMessage,
};
use rustls::kernel::KernelConnection;
use rustls::server::ServerConnectionData;
use rustls::{
    ConnectionTrafficSecrets, ContentType, Error, ExtractedSecrets, PeerMisbehaved, ProtocolVersion,
    Tls13CipherSuite,
};

use super::super::{HEADROOM, TlsError};
use super::{FrozenRecords, Opened, RecordLayer, content, prepare};

/// What rustls keeps of a connection whose records others protect: the way to its next keys.
pub(in crate::tls) enum Kernel {
    Client(KernelConnection<ClientConnectionData>),
    Server(KernelConnection<ServerConnectionData>),
}

impl Kernel {
    fn suite(&self) -> Result<&'static Tls13CipherSuite, TlsError> {
        let suite = match self {
            Self::Client(kernel) => kernel.negotiated_cipher_suite(),
            Self::Server(kernel) => kernel.negotiated_cipher_suite(),
        };
        suite.tls13().ok_or(TlsError::Crypto("no TLS 1.3 cipher suite"))
    }

    fn next_send(&mut self) -> Result<(u64, ConnectionTrafficSecrets), Error> {
        match self {
            Self::Client(kernel) => kernel.update_tx_secret(),
            Self::Server(kernel) => kernel.update_tx_secret(),
        }
    }

    fn next_receive(&mut self) -> Result<(u64, ConnectionTrafficSecrets), Error> {
        match self {
            Self::Client(kernel) => kernel.update_rx_secret(),
            Self::Server(kernel) => kernel.update_rx_secret(),
        }
    }
}

/// Records over `Tls13AeadAlgorithm::{encrypter, decrypter}`. Each sealed record costs an allocation and a copy.
pub(in crate::tls) struct RustlsRecords {
    kernel: Kernel,
    suite: &'static Tls13CipherSuite,
    encrypter: Box<dyn MessageEncrypter>,
    decrypter: Box<dyn MessageDecrypter>,
    send_sequence: u64,
    receive_sequence: u64,
}

impl RustlsRecords {
    /// Records that go on where rustls stopped.
    ///
    /// # Errors
    /// `Crypto` when rustls negotiated something we do not know.
    pub(in crate::tls) fn new(secrets: ExtractedSecrets, kernel: Kernel) -> Result<Self, TlsError> {
        let suite = kernel.suite()?;
        let (send_sequence, send) = secrets.tx;
        let (receive_sequence, receive) = secrets.rx;
        Ok(Self {
            encrypter: encrypter(suite, send)?,
            decrypter: decrypter(suite, receive)?,
            kernel,
            suite,
            send_sequence,
            receive_sequence,
        })
    }
}

fn encrypter(
    suite: &Tls13CipherSuite,
    secrets: ConnectionTrafficSecrets,
) -> Result<Box<dyn MessageEncrypter>, TlsError> {
    let (key, iv) = key_and_iv(secrets)?;
    Ok(suite.aead_alg.encrypter(key, iv))
}

fn decrypter(
    suite: &Tls13CipherSuite,
    secrets: ConnectionTrafficSecrets,
) -> Result<Box<dyn MessageDecrypter>, TlsError> {
    let (key, iv) = key_and_iv(secrets)?;
    Ok(suite.aead_alg.decrypter(key, iv))
}

fn key_and_iv(secrets: ConnectionTrafficSecrets) -> Result<(AeadKey, Iv), TlsError> {
    match secrets {
        ConnectionTrafficSecrets::Aes128Gcm { key, iv }
        | ConnectionTrafficSecrets::Aes256Gcm { key, iv }
        | ConnectionTrafficSecrets::Chacha20Poly1305 { key, iv } => Ok((key, iv)),
        _ => Err(TlsError::Crypto("cipher suite is not one that tunnels use")),
    }
}

impl RecordLayer for RustlsRecords {
    fn seal(&mut self, content_type: u8, record: &mut [u8]) -> Result<(), TlsError> {
        let sealing = prepare(content_type, record)?;
        let sequence = self.send_sequence;
        if sequence >= self.limit() {
            return Err(TlsError::KeyLimit);
        }
        self.send_sequence = sequence.checked_add(1).ok_or(TlsError::KeyLimit)?;
        let (_, payload) = sealing.inner.split_last().ok_or(TlsError::Crypto("sealing"))?;
        let plain = OutboundPlainMessage {
            typ: ContentType::from(content_type),
            version: ProtocolVersion::TLSv1_2,
            payload: OutboundChunks::Single(payload),
        };
        let sealed =
            self.encrypter.encrypt(plain, sequence).map_err(|_| TlsError::Crypto("sealing"))?.encode();
        if sealed.len() != record.len() {
            return Err(TlsError::Crypto("sealing"));
        }
        record.copy_from_slice(&sealed);
        Ok(())
    }

    fn open(&mut self, record: &mut [u8]) -> Result<Opened, TlsError> {
        let (_, body) = record.split_at_mut_checked(HEADROOM).ok_or(TlsError::NotOneRecord)?;
        let sequence = self.receive_sequence;
        self.receive_sequence = sequence.checked_add(1).ok_or(TlsError::KeyLimit)?;
        let opaque = InboundOpaqueMessage::new(ContentType::ApplicationData, ProtocolVersion::TLSv1_2, body);
        let plain = self.decrypter.decrypt(opaque, sequence).map_err(open_error)?;
        // rustls opens in place: the content begins where the ciphertext began.
        let payload = HEADROOM..HEADROOM.saturating_add(plain.payload.len());
        Ok(Opened { content_type: plain.typ.into(), payload })
    }

    fn update_send(&mut self) -> Result<(), TlsError> {
        let (sequence, secrets) = self.kernel.next_send().map_err(|_| TlsError::Crypto("key update"))?;
        self.encrypter = encrypter(self.suite, secrets)?;
        self.send_sequence = sequence;
        Ok(())
    }

    fn update_receive(&mut self) -> Result<(), TlsError> {
        let (sequence, secrets) = self.kernel.next_receive().map_err(|_| TlsError::Crypto("key update"))?;
        self.decrypter = decrypter(self.suite, secrets)?;
        self.receive_sequence = sequence;
        Ok(())
    }

    fn sealed(&self) -> u64 {
        self.send_sequence
    }

    fn limit(&self) -> u64 {
        self.suite.common.confidentiality_limit
    }

    fn freeze(&self) -> Result<FrozenRecords, TlsError> {
        Err(TlsError::NotFreezable("its records are protected by rustls"))
    }
}

#[expect(clippy::wildcard_enum_match_arm, reason = "rustls has no other errors for a record that it opens")]
fn open_error(error: Error) -> TlsError {
    match error {
        Error::PeerSentOversizedRecord => TlsError::PlaintextTooLong,
        Error::PeerMisbehaved(PeerMisbehaved::IllegalTlsInnerPlaintext) => TlsError::NoContentType,
        Error::PeerMisbehaved(PeerMisbehaved::IllegalMiddleboxChangeCipherSpec) => {
            TlsError::UnexpectedRecord(content::CHANGE_CIPHER_SPEC)
        }
        _ => TlsError::BadRecord,
    }
}
