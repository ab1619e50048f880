//! Ways in which tokens are signed (RFC 7518 §3.1, RFC 8037 §3.1): those with a public key, and no other.
use aws_lc_rs::signature as lc;

/// An `alg`. There is no `none` and no `HS…`: whoever knows how to check the latter could sign as well.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Algorithm {
    Rs256,
    Rs384,
    Rs512,
    Ps256,
    Ps384,
    Ps512,
    Es256,
    Es384,
    Es512,
    EdDsa,
}

/// A family of keys: what `kty` and `crv` say.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Family {
    Rsa,
    P256,
    P384,
    P521,
    Ed25519,
}

impl Algorithm {
    pub(super) const ALL: [Self; 10] = [
        Self::Rs256,
        Self::Rs384,
        Self::Rs512,
        Self::Ps256,
        Self::Ps384,
        Self::Ps512,
        Self::Es256,
        Self::Es384,
        Self::Es512,
        Self::EdDsa,
    ];

    /// That of an `alg`, to the letter.
    pub(super) fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|algorithm| algorithm.name() == name)
    }

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Rs256 => "RS256",
            Self::Rs384 => "RS384",
            Self::Rs512 => "RS512",
            Self::Ps256 => "PS256",
            Self::Ps384 => "PS384",
            Self::Ps512 => "PS512",
            Self::Es256 => "ES256",
            Self::Es384 => "ES384",
            Self::Es512 => "ES512",
            Self::EdDsa => "EdDSA",
        }
    }

    /// The only keys that may sign so.
    pub(super) const fn family(self) -> Family {
        match self {
            Self::Rs256 | Self::Rs384 | Self::Rs512 | Self::Ps256 | Self::Ps384 | Self::Ps512 => Family::Rsa,
            Self::Es256 => Family::P256,
            Self::Es384 => Family::P384,
            Self::Es512 => Family::P521,
            Self::EdDsa => Family::Ed25519,
        }
    }

    /// Parses a public key of this family for this algorithm.
    pub(super) fn key(self, octets: &[u8]) -> Result<lc::ParsedPublicKey, aws_lc_rs::error::KeyRejected> {
        match self {
            Self::Rs256 => lc::ParsedPublicKey::new(&lc::RSA_PKCS1_2048_8192_SHA256, octets),
            Self::Rs384 => lc::ParsedPublicKey::new(&lc::RSA_PKCS1_2048_8192_SHA384, octets),
            Self::Rs512 => lc::ParsedPublicKey::new(&lc::RSA_PKCS1_2048_8192_SHA512, octets),
            Self::Ps256 => lc::ParsedPublicKey::new(&lc::RSA_PSS_2048_8192_SHA256, octets),
            Self::Ps384 => lc::ParsedPublicKey::new(&lc::RSA_PSS_2048_8192_SHA384, octets),
            Self::Ps512 => lc::ParsedPublicKey::new(&lc::RSA_PSS_2048_8192_SHA512, octets),
            Self::Es256 => lc::ParsedPublicKey::new(&lc::ECDSA_P256_SHA256_FIXED, octets),
            Self::Es384 => lc::ParsedPublicKey::new(&lc::ECDSA_P384_SHA384_FIXED, octets),
            Self::Es512 => lc::ParsedPublicKey::new(&lc::ECDSA_P521_SHA512_FIXED, octets),
            Self::EdDsa => lc::ParsedPublicKey::new(&lc::ED25519, octets),
        }
    }
}
