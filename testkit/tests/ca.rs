//! The certificate manager with a scripted istiod, over real TLS on loopback.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use adit_control::ca::{IstioCa, Request};
use adit_control::cert::{Answer, Authority, Certificates, Config, Held, start};
use adit_control::grpc::{Auth, Connector, Roots, Token};
use adit_core::cert::Settings;
use adit_core::identity::Identity;
use adit_core::tls::RecordMode;
use adit_testkit::istiod::ca::{Behaviour, NAME, ScriptedCa};
use adit_testkit::pki;

fn identity(name: &str) -> Identity {
    Identity::new("cluster.local", "default", name).unwrap()
}

/// A directory that goes with the test.
struct Directory(PathBuf);

impl Directory {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("adit-ca-{name}-{}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn put(&self, name: &str, text: &str) -> PathBuf {
        let (next, path) = (self.0.join("next"), self.0.join(name));
        fs::write(&next, text).unwrap();
        fs::rename(next, &path).unwrap();
        path
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

struct World {
    directory: Directory,
    ca: ScriptedCa,
    certificates: Certificates,
}

fn connector(ca: &ScriptedCa, roots: &Path, token: &Path) -> Connector {
    let extra = [("x-team".to_owned(), "mesh".to_owned())];
    Connector {
        server: ca.address().to_string().parse().unwrap(),
        roots: Roots::File(roots.to_owned()),
        alternative_name: Some(NAME.try_into().unwrap()),
        auth: Arc::new(Auth::new(Some(Token::File(token.to_owned())), "Kubernetes", extra).unwrap()),
        // The authority speaks it, as istiod does.
        post_quantum_only: true,
        mark: None,
        names: None,
    }
}

impl World {
    async fn new(name: &str, settings: Settings) -> Self {
        let directory = Directory::new(name);
        let (ca, root) = ScriptedCa::start().await.unwrap();
        let (root, token) = (directory.put("root.pem", &root), directory.put("token", "t0ken\n"));
        let authority = Authority::Istio(IstioCa::new(connector(&ca, &root, &token), Request::default()));
        let config = Config {
            authority,
            ports: pki::ports(),
            mode: RecordMode::InPlace,
            crl: None,
            settings,
            seed: 1,
        };
        Self { directory, ca, certificates: start(config) }
    }

    async fn ask(&self, name: &str) -> Answer {
        let (sender, receiver) = tokio::sync::oneshot::channel();
        self.certificates.request(&identity(name), move |answer| drop(sender.send(answer)));
        receiver.await.unwrap()
    }
}

fn on_tokio(body: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async { tokio::time::timeout(Duration::from_secs(30), body).await.expect("in time") });
}

async fn until(mut condition: impl FnMut() -> bool) {
    while !condition() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[test]
fn success_and_what_the_request_says() {
    on_tokio(async {
        let world = World::new("success", Settings::default()).await;
        let context = world.ask("a").await.unwrap();
        assert_eq!((context.identity(), context.chain().len()), (&identity("a"), 1));
        // The last element of the answer is a bundle of two.
        assert_eq!(context.roots().len(), 2);
        world.directory.put("token", "renewed");
        world.ask("b").await.unwrap();
        let seen = world.ca.seen();
        let uri = identity("a").to_string();
        assert_eq!((&seen[0].sans[..], seen[0].impersonated.as_ref()), (&[uri.clone()][..], Some(&uri)));
        assert_eq!((seen[0].signer.as_ref(), seen[0].validity), (None, 24 * 3600));
        for (request, token) in [(0, "Bearer t0ken"), (1, "Bearer renewed")] {
            let headers = &seen[request].headers;
            assert_eq!((&*headers["authorization"], &*headers["clusterid"]), (token, "Kubernetes"));
            assert_eq!(headers["x-team"], "mesh");
        }
        assert_eq!(world.ca.connections(), 1, "calls share a connection");
    });
}

#[test]
fn empty_chain_wrong_identity_and_wrong_key_are_refused() {
    on_tokio(async {
        let world = World::new("wrong", Settings::default()).await;
        let behave = |name: &str, behaviour| world.ca.behave(&identity(name).to_string(), behaviour);
        behave("empty", Behaviour::Empty);
        behave("no-roots", Behaviour::NoRoots);
        behave("other", Behaviour::SignFor(identity("victim").to_string()));
        behave("plain", Behaviour::SignFor("https://example.com/".to_owned()));
        behave("key", Behaviour::OtherKey);
        behave("refused", Behaviour::Fail(16, "no pod of this account on your node".to_owned()));
        behave("over", Behaviour::Valid(Duration::ZERO));
        for (name, text) in [
            ("empty", "no root certificate present"),
            ("no-roots", "no root certificate present"),
            ("other", "it is for spiffe://cluster.local/ns/default/sa/victim"),
            ("plain", "is not (only) for spiffe://cluster.local/ns/default/sa/plain"),
            ("key", "certificate cannot be used"),
            ("refused", "refused: Unauthenticated: no pod of this account on your node"),
            ("over", "certificate expired"),
        ] {
            let error = world.ask(name).await.unwrap_err();
            assert!(error.contains(text), "{name}: {error}");
        }
        let held = world.certificates.held();
        assert_eq!(held.len(), 7);
        assert!(held.iter().all(|(_, held)| matches!(held, Held::Unavailable(_))), "{held:?}");
    });
}

#[test]
fn no_more_than_eight_calls_at_a_time() {
    on_tokio(async {
        let world = World::new("eight", Settings::default()).await;
        let mut all = tokio::task::JoinSet::new();
        for n in 0..24 {
            let name = format!("sa-{n}");
            world.ca.behave(&identity(&name).to_string(), Behaviour::Hold);
            let certificates = world.certificates.clone();
            all.spawn(async move {
                let (sender, receiver) = tokio::sync::oneshot::channel();
                certificates.request(&identity(&name), move |answer| drop(sender.send(answer)));
                receiver.await.unwrap().unwrap();
            });
        }
        for round in 1..=3 {
            until(|| world.ca.seen().len() == 8 * round && world.ca.in_flight() == 8).await;
            world.ca.release();
        }
        all.join_all().await;
        assert_eq!(world.ca.most_in_flight(), 8);
    });
}

#[test]
fn an_authority_that_never_answers_is_given_up() {
    on_tokio(async {
        let settings = Settings { call_timeout: Duration::from_millis(200), ..Settings::default() };
        let world = World::new("silent", settings).await;
        world.ca.behave(&identity("a").to_string(), Behaviour::Hold);
        assert!(world.ask("a").await.unwrap_err().contains("did not answer within"));
    });
}

#[test]
fn a_certificate_is_retained_when_its_refresh_fails() {
    on_tokio(async {
        let world = World::new("retained", Settings::default()).await;
        let uri = identity("a").to_string();
        // Past its half from the beginning: another one is asked for after about a second.
        world.ca.behave(&uri, Behaviour::Valid(Duration::from_secs(600)));
        let first = world.ask("a").await.unwrap();
        world.ca.behave(&uri, Behaviour::Fail(14, "restarting".to_owned()));
        until(|| world.certificates.counters().failed() > 0).await;
        assert!(Arc::ptr_eq(&first, &world.ask("a").await.unwrap()));
        world.ca.behave(&uri, Behaviour::Sign);
        until(|| world.certificates.counters().issued() > 1).await;
        assert!(!Arc::ptr_eq(&first, &world.ask("a").await.unwrap()));
    });
}

#[test]
fn new_roots_of_the_authority_are_taken_from_the_file() {
    on_tokio(async {
        let world = World::new("roots", Settings::default()).await;
        world.ask("a").await.unwrap();
        let root = world.ca.rotate();
        // The connection has gone and the old root does not vouch for the new certificate.
        let error = world.ask("b").await.unwrap_err();
        assert!(error.contains("cannot be reached"), "{error}");
        world.directory.put("root.pem", &root);
        until(|| world.certificates.counters().issued() > 1).await;
        world.ask("b").await.unwrap();
    });
}

#[test]
fn a_server_of_another_name_or_root_is_not_spoken_to() {
    on_tokio(async {
        let directory = Directory::new("name");
        let (ca, root) = ScriptedCa::start().await.unwrap();
        let (root, token) = (directory.put("root.pem", &root), directory.put("token", "t0ken"));
        let good = connector(&ca, &root, &token);
        let nameless = Connector { alternative_name: None, ..good.clone() };
        let (_, foreign) = ScriptedCa::start().await.unwrap();
        let foreign = Connector { roots: Roots::Pem(foreign), ..good.clone() };
        for connector in [nameless, foreign] {
            let error = IstioCa::new(connector, Request::default()).issue(&identity("a")).await.unwrap_err();
            assert!(error.to_string().contains("cannot be reached"), "{error}");
        }
        assert_eq!(ca.seen().len(), 0, "the token was sent to nobody");
        let ours = Request { impersonate: false, signer: Some("vault".to_owned()), ..Request::default() };
        IstioCa::new(good, ours).issue(&identity("a")).await.unwrap();
        assert_eq!(
            (ca.seen()[0].impersonated.clone(), ca.seen()[0].signer.as_deref()),
            (None, Some("vault"))
        );
    });
}
