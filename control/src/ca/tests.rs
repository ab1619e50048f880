use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::sync::atomic::{AtomicU32, Ordering};

use rustls::pki_types::PrivateKeyDer;
use x509_parser::extensions::{GeneralName, ParsedExtension};
use x509_parser::prelude::{FromDer as _, X509Certificate};

use super::*;

/// A directory of its own for each test, removed at its end.
struct Temporary(PathBuf);

impl Temporary {
    fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let unique = format!("adit-ca-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let path = std::env::temp_dir().join(unique);
        fs::create_dir(&path).unwrap();
        Self(path)
    }

    fn ca(&self) -> PathBuf {
        self.0.join("ca")
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn identity() -> Identity {
    Identity::new("cluster.local", "default", "web").unwrap()
}

/// Whether `issued` is valid for `usage` at `at`, under the roots of `trusting`.
fn verifies(issued: &Credentials, trusting: &Credentials, usage: webpki::KeyUsage, at: SystemTime) -> bool {
    let anchors: Vec<_> =
        trusting.roots.iter().map(|r| webpki::anchor_from_trusted_cert(r).unwrap()).collect();
    let at = UnixTime::since_unix_epoch(at.duration_since(SystemTime::UNIX_EPOCH).unwrap());
    let leaf = webpki::EndEntityCert::try_from(&issued.chain[0]).unwrap();
    leaf.verify_for_usage(webpki::ALL_VERIFICATION_ALGS, &anchors, &[], at, usage, None, None).is_ok()
}

#[test]
fn issues_what_istio_expects_of_a_workload_certificate() {
    let ca = LocalCa::in_memory("cluster.local").unwrap();
    let now = SystemTime::now();
    let issued = ca.issue_at(&identity(), now).unwrap();
    assert_eq!(issued.identity, identity());
    assert_eq!(issued.roots, [ca.root().clone()]);
    assert_eq!(issued.chain.len(), 1, "the root is not sent");
    assert!(matches!(issued.key, PrivateKeyDer::Pkcs8(_)));

    let (_, leaf) = X509Certificate::from_der(&issued.chain[0]).unwrap();
    assert_eq!(leaf.subject().iter().count(), 0);
    let san = leaf.extensions().iter().find_map(|e| match e.parsed_extension() {
        ParsedExtension::SubjectAlternativeName(san) => Some((e.critical, &san.general_names[..])),
        _ => None,
    });
    assert_eq!(san, Some((true, &[GeneralName::URI("spiffe://cluster.local/ns/default/sa/web")][..])));
    assert!(!leaf.is_ca());
    let validity = leaf.validity();
    let lifetime = validity.not_after.timestamp() - validity.not_before.timestamp();
    assert_eq!(u64::try_from(lifetime).unwrap(), (LIFETIME + BACKDATE).as_secs());
    let mut key = leaf.public_key().algorithm.parameters.as_ref().unwrap().as_oid().unwrap().to_id_string();
    assert_eq!(key, "1.2.840.10045.3.1.7", "P-256");
    key = leaf.signature_algorithm.algorithm.to_id_string();
    assert_eq!(key, "1.2.840.10045.4.3.2", "ECDSA with SHA-256");
}

#[test]
fn certificates_verify_for_both_sides_and_only_in_their_time() {
    let ca = LocalCa::in_memory("cluster.local").unwrap();
    let now = SystemTime::now();
    let issued = ca.issue_at(&identity(), now).unwrap();
    let peer = ca.issue(&Identity::new("cluster.local", "default", "db").unwrap()).unwrap();
    let second = Duration::from_secs(1);
    for usage in [webpki::KeyUsage::server_auth(), webpki::KeyUsage::client_auth()] {
        assert!(verifies(&issued, &peer, usage, now));
        assert!(verifies(&issued, &peer, usage, now - BACKDATE + second));
        assert!(!verifies(&issued, &peer, usage, now - BACKDATE - second));
        assert!(verifies(&issued, &peer, usage, now + LIFETIME - second));
        assert!(!verifies(&issued, &peer, usage, now + LIFETIME + second));
    }
    let other = LocalCa::in_memory("cluster.local").unwrap().issue(&identity()).unwrap();
    assert!(!verifies(&issued, &other, webpki::KeyUsage::server_auth(), now), "another CA");
    assert_ne!(issued.key.secret_der(), peer.key.secret_der());
}

#[test]
fn a_directory_is_made_once_and_for_its_owner_only() {
    let temporary = Temporary::new();
    let first = LocalCa::open(&temporary.ca()).unwrap();
    let second = LocalCa::open(&temporary.ca()).unwrap();
    assert_eq!(first.root(), second.root());
    let (a, b) = (first.issue(&identity()).unwrap(), second.issue(&identity()).unwrap());
    assert!(verifies(&a, &b, webpki::KeyUsage::server_auth(), SystemTime::now()));
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&temporary.ca()), 0o700);
    for entry in fs::read_dir(temporary.ca()).unwrap() {
        assert_eq!(mode(&entry.unwrap().path()), 0o600);
    }
    assert_eq!(fs::read_dir(temporary.ca()).unwrap().count(), 3, "root, key, lock");
}

#[test]
fn whoever_starts_together_gets_the_same_authority() {
    let temporary = Temporary::new();
    let directory = temporary.ca();
    let start = std::sync::Barrier::new(8);
    let roots: Vec<_> = std::thread::scope(|scope| {
        let open = || {
            start.wait();
            LocalCa::open(&directory).unwrap().root().clone()
        };
        let threads: Vec<_> = (0..8).map(|_| scope.spawn(open)).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert!(roots.windows(2).all(|pair| pair[0] == pair[1]));
}

#[test]
fn an_interrupted_first_use_is_taken_over() {
    let temporary = Temporary::new();
    LocalCa::open(&temporary.ca()).unwrap();
    fs::remove_file(temporary.ca().join("root-cert.pem")).unwrap();
    fs::write(temporary.ca().join("root-key.partial"), "half a k").unwrap();
    LocalCa::open(&temporary.ca()).unwrap();
}

#[test]
fn unsafe_or_broken_directories_are_refused() {
    let temporary = Temporary::new();
    let (root, key) = (temporary.ca().join("root-cert.pem"), temporary.ca().join("root-key.pem"));
    LocalCa::open(&temporary.ca()).unwrap();
    let refused = || LocalCa::open(&temporary.ca()).expect_err("opened").to_string();

    fs::set_permissions(&key, Permissions::from_mode(0o640)).unwrap();
    let error = refused();
    assert!(error.contains("mode 0640") && error.contains("chmod 600"), "{error}");
    fs::set_permissions(&key, Permissions::from_mode(0o600)).unwrap();

    fs::set_permissions(temporary.ca(), Permissions::from_mode(0o770)).unwrap();
    let error = refused();
    assert!(error.contains("mode 0770") && error.contains("chmod 700"), "{error}");
    fs::set_permissions(temporary.ca(), Permissions::from_mode(0o700)).unwrap();

    let (kept_root, kept_key) = (fs::read(&root).unwrap(), fs::read(&key).unwrap());
    let (_, foreign) = new_root("adit").unwrap();
    fs::write(&key, foreign.as_bytes()).unwrap();
    assert!(refused().contains("does not verify what its key signs"), "{}", refused());
    fs::write(&key, "nonsense").unwrap();
    assert!(refused().contains("no private key"), "{}", refused());
    fs::write(&key, &kept_key).unwrap();
    fs::write(&root, "nonsense").unwrap();
    assert!(refused().contains("no certificate"), "{}", refused());
    fs::write(&root, &kept_root).unwrap();
    LocalCa::open(&temporary.ca()).unwrap();

    fs::remove_file(&key).unwrap();
    assert!(refused().contains("is missing beside its root certificate"), "{}", refused());
    assert_eq!(fs::read(&root).unwrap(), kept_root, "a root that others trust is never replaced");

    let error = LocalCa::open(Path::new("/proc/nothing/here")).expect_err("opened").to_string();
    assert!(error.starts_with("built-in CA: cannot create /proc/nothing/here: "), "{error}");
}

#[test]
fn nothing_secret_is_shown() {
    let ca = LocalCa::in_memory("cluster.local").unwrap();
    assert_eq!(format!("{ca:?}"), "LocalCa { .. }");
}
