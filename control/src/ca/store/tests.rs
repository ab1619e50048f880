use std::time::Duration;

use super::*;
use crate::test_ports::test_ports;

fn store() -> CertificateStore {
    CertificateStore::new(LocalCa::in_memory("cluster.local").unwrap(), test_ports(), RecordMode::InPlace)
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
