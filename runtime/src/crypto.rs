//! The cryptography ports of the core over aws-lc-rs or ring: record protection, and rustls's provider in our order.
use std::sync::Arc;

use adit_core::tls::Aead;
use rustls::crypto::CryptoProvider;
use rustls::{CipherSuite, NamedGroup};

/// Implements the AEAD port over a crate with ring's interface; aws-lc-rs has it too.
macro_rules! aead_port {
    ($(#[$doc:meta])* $name:ident, $key:ident, $library:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default)]
        pub struct $name;

        impl adit_core::tls::Aead for $name {
            fn key(
                &self,
                suite: adit_core::tls::Suite,
                key: &[u8],
            ) -> Option<Box<dyn adit_core::tls::AeadKey>> {
                use adit_core::tls::Suite;
                let algorithm = match suite {
                    Suite::Aes128Gcm => &$library::aead::AES_128_GCM,
                    Suite::Aes256Gcm => &$library::aead::AES_256_GCM,
                    Suite::Chacha20Poly1305 => &$library::aead::CHACHA20_POLY1305,
                };
                let key = $library::aead::UnboundKey::new(algorithm, key).ok()?;
                Some(Box::new($key($library::aead::LessSafeKey::new(key))))
            }
        }

        // Less safe is what the library calls a key whose nonces the caller counts; TLS must (RFC 8446 §5.3).
        struct $key($library::aead::LessSafeKey);

        impl adit_core::tls::AeadKey for $key {
            fn seal(
                &self,
                nonce: [u8; 12],
                aad: &[u8],
                in_out: &mut [u8],
            ) -> Result<[u8; 16], adit_core::tls::AeadError> {
                let nonce = $library::aead::Nonce::assume_unique_for_key(nonce);
                let aad = $library::aead::Aad::from(aad);
                let tag = self.0.seal_in_place_separate_tag(nonce, aad, in_out);
                let tag = tag.map_err(|_| adit_core::tls::AeadError)?;
                tag.as_ref().try_into().map_err(|_| adit_core::tls::AeadError)
            }

            fn open(
                &self,
                nonce: [u8; 12],
                aad: &[u8],
                in_out: &mut [u8],
            ) -> Result<usize, adit_core::tls::AeadError> {
                let nonce = $library::aead::Nonce::assume_unique_for_key(nonce);
                let aad = $library::aead::Aad::from(aad);
                let plain = self.0.open_in_place(nonce, aad, in_out);
                plain.map(|plain| plain.len()).map_err(|_| adit_core::tls::AeadError)
            }
        }
    };
}

#[cfg(feature = "aws-lc-rs")]
aead_port! {
    /// Record protection by aws-lc-rs.
    AwsLcAead, AwsLcKey, aws_lc_rs
}

#[cfg(feature = "ring")]
aead_port! {
    /// Record protection by ring. Unlike aws-lc-rs, ring does not zeroise its keys on drop.
    RingAead, RingKey, ring
}

/// The record protection of this build: aws-lc-rs if it is compiled in, else ring.
#[must_use]
pub fn aead() -> Arc<dyn Aead> {
    #[cfg(feature = "aws-lc-rs")]
    return Arc::new(AwsLcAead);
    #[cfg(all(feature = "ring", not(feature = "aws-lc-rs")))]
    return Arc::new(RingAead);
    #[cfg(not(any(feature = "aws-lc-rs", feature = "ring")))]
    compile_error!("adit-runtime needs one of the features aws-lc-rs (default) and ring");
}

/// rustls's provider of this build with our suites and groups (design D8): AES-256-GCM, AES-128-GCM, and
/// ChaCha20-Poly1305 only where the CPU lacks AES; the post-quantum hybrid first where the library has it.
#[must_use]
pub fn provider() -> Arc<CryptoProvider> {
    #[cfg(feature = "aws-lc-rs")]
    let library = rustls::crypto::aws_lc_rs::default_provider();
    #[cfg(all(feature = "ring", not(feature = "aws-lc-rs")))]
    let library = rustls::crypto::ring::default_provider();
    Arc::new(tunnel_provider(library, has_aes()))
}

/// What `COMPLIANCE_POLICY` demands of the mesh's TLS (datapath §4.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Compliance {
    /// Nothing: the post-quantum hybrid is preferred, peers without it are spoken to as well.
    #[default]
    None,
    /// `pqc`: only the hybrid X25519MLKEM768; peers without it are refused.
    PostQuantum,
}

/// Why a policy cannot be followed.
#[derive(Clone, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum ComplianceError {
    /// There is no such policy.
    #[error("COMPLIANCE_POLICY={0} is not known; pqc is, or leave it out")]
    Unknown(String),
    /// ring has no post-quantum key exchange.
    #[error("COMPLIANCE_POLICY=pqc needs a build with aws-lc-rs: this build's library has no X25519MLKEM768")]
    NoHybrid,
}

impl std::str::FromStr for Compliance {
    type Err = ComplianceError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "" => Ok(Self::None),
            "pqc" => Ok(Self::PostQuantum),
            _ => Err(ComplianceError::Unknown(text.to_owned())),
        }
    }
}

/// [`provider`] as a policy demands.
///
/// # Errors
/// This build cannot follow it.
pub fn compliant_provider(policy: Compliance) -> Result<Arc<CryptoProvider>, ComplianceError> {
    let provider = provider();
    match policy {
        Compliance::None => Ok(provider),
        Compliance::PostQuantum => {
            let mut provider = CryptoProvider::clone(&provider);
            provider.kx_groups.retain(|group| group.name() == NamedGroup::X25519MLKEM768);
            if provider.kx_groups.is_empty() {
                Err(ComplianceError::NoHybrid)
            } else {
                Ok(Arc::new(provider))
            }
        }
    }
}

/// `library`'s provider reduced to what tunnels use, in our order of preference.
fn tunnel_provider(mut library: CryptoProvider, aes: bool) -> CryptoProvider {
    let wanted: &[CipherSuite] = if aes {
        &[CipherSuite::TLS13_AES_256_GCM_SHA384, CipherSuite::TLS13_AES_128_GCM_SHA256]
    } else {
        &[
            CipherSuite::TLS13_CHACHA20_POLY1305_SHA256,
            CipherSuite::TLS13_AES_256_GCM_SHA384,
            CipherSuite::TLS13_AES_128_GCM_SHA256,
        ]
    };
    let rank = |suite: CipherSuite| wanted.iter().position(|wanted| *wanted == suite);
    library.cipher_suites.retain(|suite| rank(suite.suite()).is_some());
    library.cipher_suites.sort_by_key(|suite| rank(suite.suite()));
    // A stable sort: the library's own order remains behind the hybrid.
    library.kx_groups.sort_by_key(|group| group.name() != NamedGroup::X25519MLKEM768);
    library
}

/// Whether AES is done by the CPU. Elsewhere than on these two architectures we do not know and assume it is not.
fn has_aes() -> bool {
    #[cfg(any(target_arch = "x86_64", target_arch = "x86"))]
    return std::arch::is_x86_feature_detected!("aes") && std::arch::is_x86_feature_detected!("pclmulqdq");
    #[cfg(target_arch = "aarch64")]
    return std::arch::is_aarch64_feature_detected!("aes")
        && std::arch::is_aarch64_feature_detected!("pmull");
    #[cfg(not(any(target_arch = "x86_64", target_arch = "x86", target_arch = "aarch64")))]
    return false;
}

#[cfg(test)]
mod tests {
    use adit_core::tls::Suite;

    use super::*;

    #[cfg(feature = "aws-lc-rs")]
    fn suites(provider: &CryptoProvider) -> Vec<CipherSuite> {
        provider.cipher_suites.iter().map(|suite| suite.suite()).collect()
    }

    #[cfg(feature = "aws-lc-rs")]
    #[test]
    fn suites_and_groups_are_in_our_order() {
        let library = rustls::crypto::aws_lc_rs::default_provider;
        let with_aes = tunnel_provider(library(), true);
        let aes = [CipherSuite::TLS13_AES_256_GCM_SHA384, CipherSuite::TLS13_AES_128_GCM_SHA256];
        assert_eq!(suites(&with_aes), aes);
        assert_eq!(with_aes.kx_groups.first().map(|group| group.name()), Some(NamedGroup::X25519MLKEM768));
        assert_eq!(with_aes.kx_groups.len(), library().kx_groups.len());

        let without = suites(&tunnel_provider(library(), false));
        assert_eq!(without.first(), Some(&CipherSuite::TLS13_CHACHA20_POLY1305_SHA256));
        assert_eq!(without.get(1..), Some(&aes[..]));
    }

    #[cfg(feature = "aws-lc-rs")]
    #[test]
    fn compliance_policies() {
        assert_eq!("pqc".parse(), Ok(Compliance::PostQuantum));
        assert_eq!("".parse(), Ok(Compliance::None));
        assert_eq!("fips".parse::<Compliance>(), Err(ComplianceError::Unknown("fips".to_owned())));
        let groups = |policy| {
            let provider = compliant_provider(policy).expect("aws-lc-rs has all");
            provider.kx_groups.iter().map(|group| group.name()).collect::<Vec<_>>()
        };
        assert_eq!(groups(Compliance::PostQuantum), [NamedGroup::X25519MLKEM768]);
        assert_eq!(groups(Compliance::None).len(), 4);
    }

    /// RFC 8439 §2.8.2, GCM test cases 2 and 14 (McGrew and Viega): each library computes the same, known values.
    #[test]
    fn ports_compute_known_answers() {
        let zero_tag_128 =
            [0xab, 0x6e, 0x47, 0xd4, 0x2c, 0xec, 0x13, 0xbd, 0xf5, 0x3a, 0x67, 0xb2, 0x12, 0x57, 0xbd, 0xdf];
        let zero_tag_256 =
            [0xd0, 0xd1, 0xc8, 0xa7, 0x99, 0x99, 0x6b, 0xf0, 0x26, 0x5b, 0x98, 0xb5, 0xd4, 0x8a, 0xb9, 0x19];
        for port in ports() {
            for (suite, length, tag) in
                [(Suite::Aes128Gcm, 16, zero_tag_128), (Suite::Aes256Gcm, 32, zero_tag_256)]
            {
                let key = port.key(suite, &vec![0; length]).expect("suite is supported");
                let mut text = [0; 16];
                assert_eq!(key.seal([0; 12], &[], &mut text), Ok(tag), "{port:?} {suite:?}");
            }
        }
    }

    #[test]
    fn ports_open_what_they_sealed_and_nothing_else() {
        for port in ports() {
            for (suite, length) in
                [(Suite::Aes128Gcm, 16), (Suite::Aes256Gcm, 32), (Suite::Chacha20Poly1305, 32)]
            {
                assert!(port.key(suite, &vec![0; length - 1]).is_none(), "{port:?} {suite:?}: short key");
                let key = port.key(suite, &vec![7; length]).expect("suite is supported");
                let mut record = *b"some payload";
                let tag = key.seal([1; 12], b"aad", &mut record).expect("seals");
                let sealed: Vec<u8> = record.iter().chain(&tag).copied().collect();
                for (nonce, aad, flip) in
                    [([2; 12], &b"aad"[..], 0), ([1; 12], b"aaa", 0), ([1; 12], b"aad", 1)]
                {
                    let mut bad = sealed.clone();
                    bad[3] ^= flip;
                    assert!(key.open(nonce, aad, &mut bad).is_err());
                }
                let mut good = sealed.clone();
                assert_eq!(key.open([1; 12], b"aad", &mut good), Ok(12));
                assert_eq!(&good[..12], b"some payload");
            }
        }
    }

    fn ports() -> Vec<Box<dyn Aead>> {
        vec![
            #[cfg(feature = "aws-lc-rs")]
            Box::new(AwsLcAead),
            #[cfg(feature = "ring")]
            Box::new(RingAead),
        ]
    }
}
