//! The AEAD port: `core` links no cryptography, the runtime hands it in (reference: nostd-tls §5).
use alloc::boxed::Box;
use core::fmt;

/// The record protection algorithms of TLS 1.3 that tunnels use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
pub enum Suite {
    /// TLS_AES_128_GCM_SHA256
    Aes128Gcm,
    /// TLS_AES_256_GCM_SHA384
    Aes256Gcm,
    /// TLS_CHACHA20_POLY1305_SHA256
    Chacha20Poly1305,
}

/// Sealing or opening failed; nothing more is said on purpose.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[error("AEAD operation failed")]
pub struct AeadError;

/// Makes keys.
pub trait Aead: Send + Sync + fmt::Debug {
    /// A key of `suite`; `None` when the suite is not supported or `key` has the wrong length.
    fn key(&self, suite: Suite, key: &[u8]) -> Option<Box<dyn AeadKey>>;
}

/// One AEAD key; its memory is zeroised on drop by the implementation, where its library does that.
pub trait AeadKey: Send + Sync {
    /// Encrypts `in_out` in place and returns the tag.
    ///
    /// # Errors
    /// When the implementation refuses; the session then ends.
    fn seal(&self, nonce: [u8; 12], aad: &[u8], in_out: &mut [u8]) -> Result<[u8; 16], AeadError>;
    /// Decrypts `in_out` (ciphertext followed by 16 octets of tag) in place; returns the plaintext length.
    ///
    /// # Errors
    /// When the tag does not fit; `in_out` then holds no plaintext.
    fn open(&self, nonce: [u8; 12], aad: &[u8], in_out: &mut [u8]) -> Result<usize, AeadError>;
}
