//! The task with a real authority in process and with files.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, mpsc};
use std::time::Duration;

use rcgen::{CertificateParams, KeyPair};

use super::*;
use crate::ca::{LocalCa, answer};
use crate::test_ports::test_ports;

fn identity(name: &str) -> Identity {
    Identity::new("cluster.local", "default", name).unwrap()
}

fn config(authority: Authority) -> Config {
    Config {
        authority,
        ports: test_ports(),
        mode: RecordMode::Rustls,
        crl: None,
        settings: Settings::default(),
        seed: 1,
    }
}

fn on_tokio<T>(body: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async { tokio::time::timeout(Duration::from_secs(20), body).await.expect("in time") })
}

/// Lets the task work until `done`; the caller's time limit ends it.
async fn until(done: impl Fn() -> bool) {
    while !done() {
        tokio::task::yield_now().await;
    }
}

async fn ask(certificates: &Certificates, name: &str) -> Answer {
    let (sender, receiver) = tokio::sync::oneshot::channel();
    certificates.request(&identity(name), move |answer| drop(sender.send(answer)));
    receiver.await.unwrap()
}

#[test]
fn one_certificate_for_all_who_ask_and_all_can_be_seen() {
    on_tokio(async {
        let certificates = start(config(Authority::Local(LocalCa::in_memory("cluster.local").unwrap())));
        let (news, seen) = mpsc::channel();
        certificates.subscribe(move |identity, answer| news.send((identity.clone(), answer.is_ok())).is_ok());
        let first = ask(&certificates, "a").await.unwrap();
        let second = ask(&certificates, "a").await.unwrap();
        assert!(Arc::ptr_eq(&first, &second));
        assert_eq!(seen.try_iter().collect::<Vec<_>>(), [(identity("a"), true)]);
        assert_eq!((certificates.counters().issued(), certificates.counters().failed()), (1, 0));
        let held = certificates.held();
        let [(whose, Held::Available(shown))] = &held[..] else { panic!("{held:?}") };
        assert_eq!(*whose, identity("a"));
        assert!(Arc::ptr_eq(shown, &first));
        assert_eq!((shown.chain().len(), shown.roots().len()), (1, 1));
        certificates.forget(&identity("a"));
        until(|| certificates.held().is_empty()).await;
    });
}

#[test]
fn identities_of_the_node_are_fetched_ahead_and_forgotten() {
    on_tokio(async {
        let certificates = start(config(Authority::Local(LocalCa::in_memory("cluster.local").unwrap())));
        certificates.local([identity("a"), identity("b")].into());
        until(|| certificates.counters().issued() == 2).await;
        certificates.local([identity("b")].into());
        until(|| certificates.held().iter().map(|(whose, _)| whose).eq([&identity("b")])).await;
    });
}

/// A directory with the files of one certificate.
struct Directory(PathBuf);

impl Directory {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("adit-files-{name}-{}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn put(&self, name: &str, text: &str) {
        let next = self.0.join("next");
        fs::write(&next, text).unwrap();
        fs::rename(next, self.0.join(name)).unwrap();
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Chain, key and roots for a service account, in PEM.
fn pems(ca: &LocalCa, name: &str) -> [String; 3] {
    let credentials = ca.issue(&identity(name)).unwrap();
    let pem = |tag: &str, der: &[u8]| pem::encode(&pem::Pem::new(tag, der));
    [
        pem("CERTIFICATE", &credentials.chain[0]),
        pem("PRIVATE KEY", credentials.key.secret_der()),
        pem("CERTIFICATE", &credentials.roots[0]),
    ]
}

fn load(directory: &Path) -> Result<Arc<TlsContext>, adit_core::cert::CertError> {
    let credentials = CertificateFiles::new(directory.to_owned()).load(&identity("vm"))?;
    answer::context(credentials, &test_ports(), RecordMode::Rustls, rustls::pki_types::UnixTime::now())
        .map(|c| c.0)
}

const NAMES: [&str; 3] = ["cert-chain.pem", "key.pem", "root-cert.pem"];

#[test]
fn files_are_never_a_mix_of_old_key_and_new_chain() {
    let directory = Directory::new("mix");
    assert!(load(&directory.0).unwrap_err().to_string().contains("cannot read"));
    let (old_ca, new_ca) = (LocalCa::in_memory("old").unwrap(), LocalCa::in_memory("new").unwrap());
    let sets = [pems(&old_ca, "vm"), pems(&new_ca, "vm")];
    // Whatever of the new set has been written already, only the whole sets are taken.
    for written in 0..8_usize {
        for (place, name) in NAMES.into_iter().enumerate() {
            directory.put(name, &sets[written >> place & 1][place]);
        }
        assert_eq!(load(&directory.0).is_ok(), matches!(written, 0 | 7), "{written:03b}");
    }
    for (name, pem) in NAMES.into_iter().zip(pems(&new_ca, "other")) {
        directory.put(name, &pem);
    }
    let error = load(&directory.0).unwrap_err().to_string();
    assert!(
        error.starts_with("certificate files are for spiffe://cluster.local/ns/default/sa/other"),
        "{error}"
    );
}

#[test]
fn files_that_change_are_read_again_and_a_half_written_set_keeps_the_old() {
    let directory = Directory::new("reload");
    let ca = LocalCa::in_memory("cluster.local").unwrap();
    for (name, pem) in NAMES.into_iter().zip(pems(&ca, "vm")) {
        directory.put(name, &pem);
    }
    on_tokio(async {
        let certificates = start(config(Authority::files(&directory.0)));
        let first = ask(&certificates, "vm").await.unwrap();
        let (news, mut seen) = tokio::sync::mpsc::unbounded_channel();
        certificates.subscribe(move |_, answer| news.send(answer.clone()).is_ok());
        let new = pems(&ca, "vm");
        directory.put(NAMES[0], &new[0]);
        // Subscribers are not told: the old certificate is good.
        while certificates.counters().failed() == 0 {
            tokio::task::yield_now().await;
        }
        assert!(Arc::ptr_eq(&first, &ask(&certificates, "vm").await.unwrap()));
        directory.put(NAMES[1], &new[1]);
        let second = seen.recv().await.unwrap().unwrap();
        assert!(!Arc::ptr_eq(&first, &second));
        assert!(Arc::ptr_eq(&second, &ask(&certificates, "vm").await.unwrap()));
        // Somebody else's name gets no certificate from here.
        assert!(ask(&certificates, "stranger").await.unwrap_err().contains("not for"));
    });
}

#[test]
fn new_revocation_lists_reach_those_who_hold_certificates() {
    let directory = Directory::new("crl");
    let path = directory.0.join("crl.pem");
    on_tokio(async {
        let authority = Authority::Local(LocalCa::in_memory("cluster.local").unwrap());
        let certificates = start(Config { crl: Some(path.clone()), ..config(authority) });
        let first = ask(&certificates, "a").await.unwrap();
        let (news, mut seen) = tokio::sync::mpsc::unbounded_channel();
        certificates.subscribe(move |_, answer| news.send(answer.clone()).is_ok());
        directory.put("crl.pem", "nonsense");
        let context = seen.recv().await.unwrap().unwrap();
        assert!(!Arc::ptr_eq(&first, &context));
        assert!(format!("{:?}", context.revocations()).contains("Missing"));
        assert_eq!(certificates.counters().crl_failed(), 1);
        directory.put("crl.pem", "");
        let context = seen.recv().await.unwrap().unwrap();
        assert_eq!(context.revocations().unwrap().lists(), 0);
        assert!(!format!("{:?}", context.revocations()).contains("Missing"));
    });
}

#[test]
fn answers_of_an_authority_are_checked() {
    let ca = LocalCa::in_memory("cluster.local").unwrap();
    let [leaf, key, root] = pems(&ca, "a");
    let key = || {
        use rustls::pki_types::pem::PemObject as _;
        rustls::pki_types::PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap()
    };
    let error = |chain: &[&str]| answer::credentials(&identity("a"), chain, key()).unwrap_err().to_string();
    assert!(error(&[]).contains("no root certificate present"));
    assert!(error(&[&leaf]).contains("no root certificate present"));
    assert!(error(&["", &root]).contains("leaf is no certificate"));
    assert!(error(&[&leaf, ""]).contains("root is no certificate"));
    assert!(error(&[&root, &leaf]).contains("is not (only) for"), "{}", error(&[&root, &leaf]));
    let [other, ..] = pems(&ca, "b");
    assert!(error(&[&other, &root]).contains("it is for spiffe://cluster.local/ns/default/sa/b"));

    let judge = |chain: &[&str], key| {
        let credentials = answer::credentials(&identity("a"), chain, key).unwrap();
        answer::context(credentials, &test_ports(), RecordMode::Rustls, rustls::pki_types::UnixTime::now())
    };
    assert!(judge(&[&leaf, &root], key()).is_ok());
    let foreign = LocalCa::in_memory("elsewhere").unwrap();
    let [_, foreign_key, foreign_root] = pems(&foreign, "a");
    let both = format!("{foreign_root}{root}");
    assert_eq!(judge(&[&leaf, &both], key()).unwrap().0.roots().len(), 2);
    assert!(judge(&[&leaf, &foreign_root], key()).unwrap_err().to_string().contains("its own roots"));
    let foreign_key = {
        use rustls::pki_types::pem::PemObject as _;
        rustls::pki_types::PrivateKeyDer::from_pem_slice(foreign_key.as_bytes()).unwrap()
    };
    assert!(judge(&[&leaf, &root], foreign_key).is_err());
    // Nobody's certificate: an ordinary one with a DNS name.
    let plain = CertificateParams::new(vec!["example.com".into()]).unwrap();
    let plain = plain.self_signed(&KeyPair::generate().unwrap()).unwrap().pem();
    assert!(error(&[&plain, &root]).contains("exactly one URI SAN"));
}
