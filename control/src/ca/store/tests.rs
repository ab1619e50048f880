use std::time::Duration;

use adit_core::time::{UnixTime, WallClock};
use adit_core::tls::{Aead, AeadError, AeadKey, Suite};

use super::*;

fn store() -> CertificateStore {
    let ports = TlsPorts {
        provider: Arc::new(rustls::crypto::aws_lc_rs::default_provider()),
        aead: Arc::new(NoAead),
        clock: Arc::new(WallClock::new(UnixTime(1))),
    };
    CertificateStore::new(LocalCa::in_memory("cluster.local").unwrap(), ports, RecordMode::InPlace)
}

/// Contexts are made here, but nothing is ever sealed with them.
#[derive(Debug)]
struct NoAead;

impl Aead for NoAead {
    fn key(&self, _: Suite, _: &[u8]) -> Option<Box<dyn AeadKey>> {
        Some(Box::new(Self))
    }
}

impl AeadKey for NoAead {
    fn seal(&self, _: [u8; 12], _: &[u8], _: &mut [u8]) -> Result<[u8; 16], AeadError> {
        Err(AeadError)
    }
    fn open(&self, _: [u8; 12], _: &[u8], _: &mut [u8]) -> Result<usize, AeadError> {
        Err(AeadError)
    }
}

fn identity(account: &str) -> Identity {
    Identity::new("cluster.local", "default", account).unwrap()
}

#[test]
fn one_certificate_per_identity_until_half_of_its_life() {
    let store = store();
    let start = SystemTime::now();
    let first = store.get_at(&identity("a"), start).unwrap();
    assert_eq!(*first.identity(), identity("a"));
    let other = store.get_at(&identity("b"), start).unwrap();
    assert!(!Arc::ptr_eq(&first, &other));

    let half = start - BACKDATE + (BACKDATE + LIFETIME) / 2;
    assert_eq!(store.renew_at(&identity("a")), Some(half));
    let just_before = half - Duration::from_secs(1);
    assert!(Arc::ptr_eq(&first, &store.get_at(&identity("a"), just_before).unwrap()));
    let renewed = store.get_at(&identity("a"), half).unwrap();
    assert!(!Arc::ptr_eq(&first, &renewed));
    assert!(store.renew_at(&identity("a")) > Some(half));
    assert_eq!(store.renew_at(&identity("c")), None);
}

#[test]
fn concurrent_callers_get_the_same_one() {
    let store = store();
    let contexts: Vec<_> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..4).map(|_| scope.spawn(|| store.get(&identity("a")).unwrap())).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert!(contexts.windows(2).all(|pair| Arc::ptr_eq(&pair[0], &pair[1])));
}
