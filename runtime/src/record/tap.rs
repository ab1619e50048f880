//! A tap on randomness: a provider of cryptography whose random draws can be written down and given again.
//!
//! Ephemeral keys and signatures are drawn inside the library, out of reach of rustls's own source of randomness. So the
//! tap sits where they come out: random octets, key shares with the secrets agreed on, and signatures. All else that TLS
//! computes follows from these and from what is read.
//!
//! What is tapped belongs to a thread and to one call at a time, as shards do.
use std::cell::RefCell;
use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;

use rustls::crypto::{
    ActiveKeyExchange, CompletedKeyExchange, CryptoProvider, GetRandomFailed, KeyProvider, SecureRandom,
    SharedSecret, SupportedKxGroup,
};
use rustls::ffdhe_groups::FfdheGroup;
use rustls::pki_types::{PrivateKeyDer, SubjectPublicKeyInfoDer};
use rustls::sign::{Signer, SigningKey};
use rustls::{Error, NamedGroup, PeerMisbehaved, ProtocolVersion, SignatureAlgorithm, SignatureScheme};
use serde::{Deserialize, Serialize};

/// Something that was drawn at random.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Draw {
    /// Random octets.
    Random(Vec<u8>),
    /// The public half of an ephemeral key.
    KeyShare {
        /// What is sent.
        public: Vec<u8>,
        /// The group and share of the part that a hybrid also offers by itself.
        component: Option<(u16, Vec<u8>)>,
    },
    /// What a key exchange agreed on; `None` when the peer's share was bad.
    Secret(Option<Vec<u8>>),
    /// The signature scheme that was chosen, if one was.
    Scheme(Option<u16>),
    /// A signature.
    Signature(Vec<u8>),
}

enum Tap {
    Off,
    Recording(Vec<Draw>),
    Replaying(VecDeque<Draw>),
}

thread_local! {
    static TAP: RefCell<Tap> = const { RefCell::new(Tap::Off) };
}

/// Runs `call` and writes down what it draws.
pub(super) fn recording<T>(call: impl FnOnce() -> T) -> (T, Vec<Draw>) {
    TAP.with(|tap| *tap.borrow_mut() = Tap::Recording(Vec::new()));
    let result = call();
    match TAP.with(|tap| tap.replace(Tap::Off)) {
        Tap::Recording(draws) => (result, draws),
        Tap::Off | Tap::Replaying(_) => (result, Vec::new()),
    }
}

/// What a call drew that ended in a panic.
pub(super) fn abandoned() -> Vec<Draw> {
    match TAP.with(|tap| tap.replace(Tap::Off)) {
        Tap::Recording(draws) => draws,
        Tap::Off | Tap::Replaying(_) => Vec::new(),
    }
}

/// Runs `call`, in which a provider made by [`tapped`] gives `draws` again instead of drawing; returns how many were left
/// over. When they do not suffice, or another kind is asked for, cryptography fails.
pub fn replaying<T>(draws: Vec<Draw>, call: impl FnOnce() -> T) -> (T, usize) {
    TAP.with(|tap| *tap.borrow_mut() = Tap::Replaying(draws.into()));
    let result = call();
    match TAP.with(|tap| tap.replace(Tap::Off)) {
        Tap::Replaying(draws) => (result, draws.len()),
        Tap::Off | Tap::Recording(_) => (result, 0),
    }
}

/// Writes a draw down, when that is wanted.
fn drawn(draw: impl FnOnce() -> Draw) {
    TAP.with(|tap| {
        if let Tap::Recording(draws) = &mut *tap.borrow_mut() {
            draws.push(draw());
        }
    });
}

/// Whether draws are given again, and then the next of them.
fn again() -> Option<Result<Draw, Error>> {
    TAP.with(|tap| match &mut *tap.borrow_mut() {
        Tap::Replaying(draws) => Some(draws.pop_front().ok_or_else(unlike)),
        Tap::Off | Tap::Recording(_) => None,
    })
}

fn unlike() -> Error {
    Error::General("the recording has no such draw here: this is not what was recorded".into())
}

/// `provider`, with a tap on all it draws at random. Its wrappers live as long as the process, so make it once.
#[must_use]
pub fn tapped(provider: &CryptoProvider) -> Arc<CryptoProvider> {
    let mut tapped = provider.clone();
    tapped.secure_random = Box::leak(Box::new(Random(provider.secure_random)));
    tapped.key_provider = Box::leak(Box::new(Keys(provider.key_provider)));
    for group in &mut tapped.kx_groups {
        *group = Box::leak(Box::new(Group(*group)));
    }
    Arc::new(tapped)
}

#[derive(Debug)]
struct Random(&'static dyn SecureRandom);

impl SecureRandom for Random {
    fn fill(&self, buffer: &mut [u8]) -> Result<(), GetRandomFailed> {
        match again() {
            Some(Ok(Draw::Random(octets))) if octets.len() == buffer.len() => buffer.copy_from_slice(&octets),
            Some(_) => return Err(GetRandomFailed),
            None => {
                self.0.fill(buffer)?;
                drawn(|| Draw::Random(buffer.to_vec()));
            }
        }
        Ok(())
    }
}

#[derive(Debug)]
struct Group(&'static dyn SupportedKxGroup);

impl SupportedKxGroup for Group {
    fn start(&self) -> Result<Box<dyn ActiveKeyExchange>, Error> {
        let group = self.0.name();
        match again() {
            Some(Ok(Draw::KeyShare { public, component })) => {
                let component = component.map(|(group, share)| (NamedGroup::from(group), share));
                Ok(Box::new(Again { group, public, component }))
            }
            Some(_) => Err(unlike()),
            None => {
                let exchange = self.0.start()?;
                drawn(|| Draw::KeyShare {
                    public: exchange.pub_key().to_vec(),
                    component: exchange.hybrid_component().map(|(g, share)| (g.into(), share.to_vec())),
                });
                Ok(Box::new(Exchange(exchange)))
            }
        }
    }

    fn start_and_complete(&self, peer: &[u8]) -> Result<CompletedKeyExchange, Error> {
        match again() {
            Some(Ok(Draw::KeyShare { public, .. })) => {
                Ok(CompletedKeyExchange { group: self.0.name(), pub_key: public, secret: secret_again()? })
            }
            // A bad share of the peer's comes to light before ours is drawn.
            Some(Ok(Draw::Secret(None))) => Err(PeerMisbehaved::InvalidKeyShare.into()),
            Some(_) => Err(unlike()),
            None => {
                let done = self.0.start_and_complete(peer);
                if let Ok(done) = &done {
                    drawn(|| Draw::KeyShare { public: done.pub_key.clone(), component: None });
                }
                drawn(|| Draw::Secret(done.as_ref().ok().map(|done| done.secret.secret_bytes().to_vec())));
                done
            }
        }
    }

    fn ffdhe_group(&self) -> Option<FfdheGroup<'static>> {
        self.0.ffdhe_group()
    }

    fn name(&self) -> NamedGroup {
        self.0.name()
    }

    fn fips(&self) -> bool {
        self.0.fips()
    }

    fn usable_for_version(&self, version: ProtocolVersion) -> bool {
        self.0.usable_for_version(version)
    }
}

fn secret_again() -> Result<SharedSecret, Error> {
    match again() {
        Some(Ok(Draw::Secret(Some(secret)))) => Ok(SharedSecret::from(secret)),
        Some(Ok(Draw::Secret(None))) => Err(PeerMisbehaved::InvalidKeyShare.into()),
        _ => Err(unlike()),
    }
}

fn secret_drawn(secret: Result<SharedSecret, Error>) -> Result<SharedSecret, Error> {
    drawn(|| Draw::Secret(secret.as_ref().ok().map(|secret| secret.secret_bytes().to_vec())));
    secret
}

/// A key exchange that is written down.
struct Exchange(Box<dyn ActiveKeyExchange>);

impl ActiveKeyExchange for Exchange {
    fn complete(self: Box<Self>, peer: &[u8]) -> Result<SharedSecret, Error> {
        secret_drawn(self.0.complete(peer))
    }

    fn hybrid_component(&self) -> Option<(NamedGroup, &[u8])> {
        self.0.hybrid_component()
    }

    fn complete_hybrid_component(self: Box<Self>, peer: &[u8]) -> Result<SharedSecret, Error> {
        secret_drawn(self.0.complete_hybrid_component(peer))
    }

    fn pub_key(&self) -> &[u8] {
        self.0.pub_key()
    }

    fn ffdhe_group(&self) -> Option<FfdheGroup<'static>> {
        self.0.ffdhe_group()
    }

    fn group(&self) -> NamedGroup {
        self.0.group()
    }
}

/// A key exchange that is given again.
struct Again {
    group: NamedGroup,
    public: Vec<u8>,
    component: Option<(NamedGroup, Vec<u8>)>,
}

impl ActiveKeyExchange for Again {
    fn complete(self: Box<Self>, _: &[u8]) -> Result<SharedSecret, Error> {
        secret_again()
    }

    fn hybrid_component(&self) -> Option<(NamedGroup, &[u8])> {
        self.component.as_ref().map(|(group, share)| (*group, share.as_slice()))
    }

    fn complete_hybrid_component(self: Box<Self>, _: &[u8]) -> Result<SharedSecret, Error> {
        secret_again()
    }

    fn pub_key(&self) -> &[u8] {
        &self.public
    }

    fn ffdhe_group(&self) -> Option<FfdheGroup<'static>> {
        None
    }

    fn group(&self) -> NamedGroup {
        self.group
    }
}

#[derive(Debug)]
struct Keys(&'static dyn KeyProvider);

impl KeyProvider for Keys {
    fn load_private_key(&self, key: PrivateKeyDer<'static>) -> Result<Arc<dyn SigningKey>, Error> {
        // Who gives signatures again needs no key.
        let replays = TAP.with(|tap| matches!(*tap.borrow(), Tap::Replaying(_)));
        let key = if replays { None } else { Some(self.0.load_private_key(key)?) };
        Ok(Arc::new(Key(key)))
    }

    fn fips(&self) -> bool {
        self.0.fips()
    }
}

/// A signing key; without a library's key it gives again only.
struct Key(Option<Arc<dyn SigningKey>>);

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Key").finish_non_exhaustive()
    }
}

impl SigningKey for Key {
    fn choose_scheme(&self, offered: &[SignatureScheme]) -> Option<Box<dyn Signer>> {
        match again() {
            Some(Ok(Draw::Scheme(scheme))) => {
                Some(Box::new(SignerTap { scheme: SignatureScheme::from(scheme?), real: None }))
            }
            Some(_) => None,
            None => {
                let real = self.0.as_ref().and_then(|key| key.choose_scheme(offered));
                drawn(|| Draw::Scheme(real.as_ref().map(|signer| signer.scheme().into())));
                let real = real?;
                Some(Box::new(SignerTap { scheme: real.scheme(), real: Some(real) }))
            }
        }
    }

    fn public_key(&self) -> Option<SubjectPublicKeyInfoDer<'_>> {
        self.0.as_ref()?.public_key()
    }

    fn algorithm(&self) -> SignatureAlgorithm {
        self.0.as_ref().map_or(SignatureAlgorithm::ECDSA, |key| key.algorithm())
    }
}

#[derive(Debug)]
struct SignerTap {
    scheme: SignatureScheme,
    real: Option<Box<dyn Signer>>,
}

impl Signer for SignerTap {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, Error> {
        match (again(), &self.real) {
            (Some(Ok(Draw::Signature(signature))), _) => Ok(signature),
            (None, Some(real)) => {
                let signature = real.sign(message)?;
                drawn(|| Draw::Signature(signature.clone()));
                Ok(signature)
            }
            _ => Err(unlike()),
        }
    }

    fn scheme(&self) -> SignatureScheme {
        self.scheme
    }
}
