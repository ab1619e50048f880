//! What others do for us: JSON and signatures.
use super::claim::Claim;
use super::rule::KeySource;
use super::token::Header;

/// What came of a signature.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Signature {
    /// It is that of a key in the set, made as the header says.
    Valid,
    /// It is not.
    Wrong,
    /// It is made in a way that is not accepted.
    Unsupported,
    /// The set has no key of this name that may sign so.
    NoKey,
    /// There is a set, and nothing in it is a key.
    NoKeys,
    /// There is no set: it could not be fetched, or not yet.
    NotFetched,
}

/// Whoever knows keys, and JSON.
pub trait Keys {
    /// Reads JSON; `None`: it is none, or an object in it has the same name twice.
    fn json(&self, text: &[u8]) -> Option<Claim>;

    /// Whether `signature` is one of `signed` by a key of the set from `keys`, in the way that `header` says. With a `kid` only
    /// the keys of this name count. A key counts only for algorithms of its own type, and `none` is none.
    fn verify(&self, keys: &KeySource, header: &Header, signed: &[u8], signature: &[u8]) -> Signature;
}
