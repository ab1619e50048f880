//! Traffic secrets and what follows from them: keys, IVs, the next secret (RFC 8446 §7).
use alloc::vec::Vec;
use core::fmt;

use rustls::crypto::CryptoProvider;
use rustls::crypto::tls13::{HkdfExpander, OkmBlock};
use rustls::{CipherSuite, Tls13CipherSuite};
use serde::{Deserialize, Serialize};
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use super::super::{Suite, TlsError};

/// A traffic secret; never shown, zeroised on drop.
#[derive(Clone, Serialize, Deserialize, Zeroize, ZeroizeOnDrop)]
#[serde(transparent)]
pub(in crate::tls) struct Secret(Vec<u8>);

impl Secret {
    pub(in crate::tls) fn new(octets: &[u8]) -> Self {
        Self(octets.to_vec())
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

/// The key material of one generation.
pub(super) struct Keys {
    key: Zeroizing<[u8; 32]>,
    key_len: usize,
    pub(super) iv: [u8; 12],
}

impl Keys {
    /// The AEAD key.
    pub(super) fn key(&self) -> &[u8] {
        self.key.get(..self.key_len).unwrap_or_default()
    }
}

/// One direction of a connection: its secret and the next sequence number.
pub(in crate::tls) struct Direction {
    suite: &'static Tls13CipherSuite,
    secret: Secret,
    sequence: u64,
}

impl Direction {
    /// A direction at `sequence` under `secret`.
    ///
    /// # Errors
    /// `Crypto` when the secret does not have the length of the suite's hash.
    pub(in crate::tls) fn new(
        suite: &'static Tls13CipherSuite,
        secret: Secret,
        sequence: u64,
    ) -> Result<Self, TlsError> {
        if secret.0.len() != suite.common.hash_provider.output_len() {
            return Err(TlsError::Crypto("traffic secret has the wrong length"));
        }
        Ok(Self { suite, secret, sequence })
    }

    pub(super) const fn suite(&self) -> &'static Tls13CipherSuite {
        self.suite
    }

    pub(super) const fn secret(&self) -> &Secret {
        &self.secret
    }

    pub(super) const fn sequence(&self) -> u64 {
        self.sequence
    }

    /// The sequence number for the next record. It is used up by this call, whatever happens afterwards.
    pub(super) fn take_sequence(&mut self) -> Result<u64, TlsError> {
        let sequence = self.sequence;
        self.sequence = sequence.checked_add(1).ok_or(TlsError::KeyLimit)?;
        Ok(sequence)
    }

    /// Key and IV of the present generation (RFC 8446 §7.3).
    pub(super) fn keys(&self) -> Result<Keys, TlsError> {
        let expander = self.expander();
        let mut keys =
            Keys { key: Zeroizing::new([0; 32]), key_len: self.suite.aead_alg.key_len(), iv: [0; 12] };
        let key = keys.key.get_mut(..keys.key_len).ok_or(TlsError::Crypto("key is too long"))?;
        expand_label(&*expander, b"key", key)?;
        expand_label(&*expander, b"iv", &mut keys.iv)?;
        Ok(keys)
    }

    /// Goes on to the next generation (RFC 8446 §7.2); the sequence begins anew.
    pub(super) fn advance(&mut self) -> Result<(), TlsError> {
        let mut next = Secret(Vec::new());
        next.0.resize(self.secret.0.len(), 0);
        expand_label(&*self.expander(), b"traffic upd", &mut next.0)?;
        self.secret = next;
        self.sequence = 0;
        Ok(())
    }

    fn expander(&self) -> alloc::boxed::Box<dyn HkdfExpander> {
        self.suite.hkdf_provider.expander_for_okm(&OkmBlock::new(&self.secret.0))
    }
}

/// HKDF-Expand-Label with an empty context (RFC 8446 §7.1).
fn expand_label(expander: &dyn HkdfExpander, label: &[u8], out: &mut [u8]) -> Result<(), TlsError> {
    const PREFIX: &[u8] = b"tls13 ";
    const ERROR: TlsError = TlsError::Crypto("key derivation failed");
    let length = u16::try_from(out.len()).map_err(|_| ERROR)?.to_be_bytes();
    let label_length = u8::try_from(PREFIX.len().saturating_add(label.len())).map_err(|_| ERROR)?;
    expander.expand_slice(&[&length, &[label_length], PREFIX, label, &[0]], out).map_err(|_| ERROR)
}

/// The nonce of a record (RFC 8446 §5.3).
pub(super) fn nonce(iv: &[u8; 12], sequence: u64) -> [u8; 12] {
    let mut nonce = *iv;
    for (octet, part) in nonce.iter_mut().rev().zip(sequence.to_le_bytes()) {
        *octet ^= part;
    }
    nonce
}

/// Our name of a rustls suite, if it is one that tunnels use.
pub(in crate::tls) fn suite_of(suite: &Tls13CipherSuite) -> Option<Suite> {
    #[expect(clippy::wildcard_enum_match_arm, reason = "all other suites mean the same: not ours")]
    match suite.common.suite {
        CipherSuite::TLS13_AES_128_GCM_SHA256 => Some(Suite::Aes128Gcm),
        CipherSuite::TLS13_AES_256_GCM_SHA384 => Some(Suite::Aes256Gcm),
        CipherSuite::TLS13_CHACHA20_POLY1305_SHA256 => Some(Suite::Chacha20Poly1305),
        _ => None,
    }
}

/// The provider's implementation of a suite.
pub(in crate::tls) fn tls13_suite(
    provider: &CryptoProvider,
    suite: Suite,
) -> Option<&'static Tls13CipherSuite> {
    provider
        .cipher_suites
        .iter()
        .filter_map(|known| known.tls13())
        .find(|known| suite_of(known) == Some(suite))
}
