//! Whom we refuse, with which alert and in which words.
use std::format;
use std::string::{String, ToString};
use std::sync::Arc;
use std::vec;
use std::vec::Vec;

use rcgen::{CustomExtension, ExtendedKeyUsagePurpose};
use rustls::Error;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use super::stock::*;
use super::support::*;
use crate::identity::Identity;
use crate::tls::{Alert, RecordMode, Session, Side, TlsContext, TlsError, TlsSettings};

struct Case {
    name: &'static str,
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
    /// Alert and reason for a server and for a client with this certificate.
    expected: [(Alert, &'static str); 2],
}

fn both(alert: Alert, reason: &'static str) -> [(Alert, &'static str); 2] {
    [(alert, reason); 2]
}

/// A subjectAltName whose names are given as DER.
fn raw_san(names: &[u8]) -> Option<CustomExtension> {
    let mut der = vec![0x30, u8::try_from(names.len()).unwrap()];
    der.extend_from_slice(names);
    Some(CustomExtension::from_oid_content(&[2, 5, 29, 17], der))
}

fn cases() -> Vec<Case> {
    let good = identity("peer").to_string();
    let san = [(Alert::ACCESS_DENIED, "unexpected_san"), (Alert::ACCESS_DENIED, "unexpected_trust_domain")];
    let leaf = |leaf: Leaf| {
        let (certificate, key) = ca().issue(leaf);
        (vec![certificate], key)
    };
    let mut cases = Vec::new();
    let mut add = |name, (chain, key), expected| cases.push(Case { name, chain, key, expected });
    let no_uris = || Leaf::uris(&[]);
    add("other trust domain", leaf(Leaf::uris(&["spiffe://elsewhere/ns/default/sa/peer"])), san);
    add("no SAN", leaf(no_uris()), san);
    add("only a DNS name", leaf(Leaf { dns: true, ..no_uris() }), san);
    let name = Some(good.clone());
    add("the identity as the subject's name", leaf(Leaf { common_name: name.clone(), ..no_uris() }), san);
    let other = Leaf::uris(&["spiffe://elsewhere/ns/default/sa/peer"]);
    add("the same beside another identity", leaf(Leaf { common_name: name, ..other }), san);
    add("wildcard", leaf(Leaf::uris(&["spiffe://*/ns/default/sa/peer"])), san);
    add("two URIs", leaf(Leaf::uris(&[&good, "https://example.com/"])), san);
    add("same URI twice", leaf(Leaf::uris(&[&good, &good])), san);
    add("not SPIFFE", leaf(Leaf::uris(&["https://example.com/"])), san);
    add("not Istio's form", leaf(Leaf::uris(&["spiffe://cluster.local/peer"])), san);
    // A second URI that is not UTF-8: the X.509 library does not see it, the raw count does.
    let mut names = vec![0x86, u8::try_from(good.len()).unwrap()];
    names.extend_from_slice(good.as_bytes());
    names.extend([0x86, 2, 0xff, 0xfe]);
    add("URI and a hidden one", leaf(Leaf { extension: raw_san(&names), ..no_uris() }), san);
    add("URI is not UTF-8", leaf(Leaf { extension: raw_san(&[0x86, 2, 0xff, 0xfe]), ..no_uris() }), san);
    add(
        "two SAN extensions",
        leaf(Leaf { extension: raw_san(&names), ..Leaf::uris(&[&good]) }),
        both(Alert::BAD_CERTIFICATE, "certificate_malformed"),
    );
    add(
        "long form of a short length",
        leaf(Leaf { extension: raw_san(&[0x86, 0x81, 2, b'a', b'b']), ..no_uris() }),
        both(Alert::BAD_CERTIFICATE, "certificate_malformed"),
    );
    add(
        "expired",
        leaf(Leaf { to_year: 2025, ..Leaf::uris(&[&good]) }),
        both(Alert::CERTIFICATE_EXPIRED, "certificate_expired"),
    );
    add(
        "not yet valid",
        leaf(Leaf { from_year: 2030, ..Leaf::uris(&[&good]) }),
        both(Alert::CERTIFICATE_EXPIRED, "certificate_not_yet_valid"),
    );
    add(
        "no usage for TLS",
        leaf(Leaf { usages: vec![ExtendedKeyUsagePurpose::CodeSigning], ..Leaf::uris(&[&good]) }),
        both(Alert::UNSUPPORTED_CERTIFICATE, "certificate_usage"),
    );
    let (certificate, key) = Ca::new("another root").issue(Leaf::uris(&[&good]));
    add("unknown root", (vec![certificate], key), both(Alert::UNKNOWN_CA, "unknown_issuer"));
    // The same name as our root, another key.
    let (certificate, key) = Ca::new("test root").issue(Leaf::uris(&[&good]));
    add("forged", (vec![certificate], key), both(Alert::DECRYPT_ERROR, "certificate_signature"));
    add("six intermediates", chain(&good, 6), both(Alert::BAD_CERTIFICATE, "chain_too_long"));
    let (_, key) = ca().issue(Leaf::uris(&[&good]));
    let garbage = vec![CertificateDer::from(vec![0x30, 3, 1, 2, 3])];
    add("not a certificate", (garbage, key), both(Alert::BAD_CERTIFICATE, "certificate_malformed"));
    cases
}

/// A chain with `depth` intermediates.
fn chain(uri: &str, depth: usize) -> (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>) {
    let mut authorities = vec![ca().intermediate("intermediate 0")];
    for level in 1..depth {
        authorities.push(authorities[level - 1].intermediate(&format!("intermediate {level}")));
    }
    let (leaf, key) = authorities[depth - 1].issue(Leaf::uris(&[uri]));
    let mut chain = vec![leaf];
    chain.extend(authorities.iter().rev().map(|ca| ca.certificate.clone()));
    (chain, key)
}

/// Runs our `side` against a stock peer with this chain.
fn meet(side: Side, chain: Vec<CertificateDer<'static>>, key: PrivateKeyDer<'static>) -> (Ours, Seen) {
    let context = context(Library::AwsLc, &SUITES, "ourselves", TlsSettings::default());
    let provider = Library::AwsLc.provider(&SUITES);
    let stock = Stock { chain, key: Some(key), ..Stock::of(provider, "peer") };
    let (session, mut stock) = match side {
        Side::Client => (Session::client(&context, &only(&identity("peer"))), stock.server()),
        Side::Server => (Session::server(&context), stock.client()),
    };
    let mut ours = Ours::new(session.unwrap());
    let mut seen = Seen::default();
    exchange(&mut ours, &mut stock, &mut seen, || usize::MAX);
    (ours, seen)
}

#[test]
fn table() {
    for side in [Side::Client, Side::Server] {
        for Case { name, chain, key, expected: [as_server, as_client] } in cases() {
            let (alert, reason) = if side == Side::Client { as_server } else { as_client };
            let (mut ours, seen) = meet(side, chain, key);
            let error = ours.error.clone().unwrap_or_else(|| panic!("{side:?} {name}: accepted"));
            assert_eq!((error.alert(), error.reason()), (Some(alert), reason), "{side:?} {name}: {error}");
            let Some(Error::AlertReceived(received)) = seen.error else {
                panic!("{side:?} {name}: peer saw {seen:?}");
            };
            assert_eq!(u8::from(received), alert.0, "{side:?} {name}");
            // After the error the session repeats itself and says no more.
            assert!(!ours.session.is_established() && ours.session.peer().is_none());
            assert_eq!(ours.session.handle_record(&mut [23, 3, 3, 0, 0]), Err(error));
            assert_eq!(ours.session.poll_transmit(&mut Vec::new()), 0);
        }
    }
}

/// Name constraints (RFC 5280 §4.2.1.10) speak of URIs by host; SPIFFE IDs are URIs. Whatever an intermediate's constraints
/// say of them, a chain that they forbid is refused (RUSTSEC-2026-0098).
#[test]
fn name_constraints_on_uris_are_not_passed_over() {
    let subtree = |tag: u8, host: &str| {
        let len = u8::try_from(host.len()).unwrap();
        let mut der = vec![0x30, len + 6, tag, len + 4, 0x30, len + 2, 0x86, len];
        der.extend_from_slice(host.as_bytes());
        let mut extension = CustomExtension::from_oid_content(&[2, 5, 29, 30], der);
        extension.set_criticality(true);
        extension
    };
    for (name, extension) in [
        ("permits another host", subtree(0xa0, "elsewhere")),
        ("excludes ours", subtree(0xa1, "cluster.local")),
    ] {
        let intermediate = ca().constrained("constrained", Some(extension));
        let (leaf, key) = intermediate.issue(Leaf::of(&identity("peer")));
        for side in [Side::Client, Side::Server] {
            let chain = vec![leaf.clone(), intermediate.certificate.clone()];
            let (ours, _) = meet(side, chain, key.clone_key());
            assert!(ours.error.is_some() && ours.session.peer().is_none(), "{side:?} {name}: accepted");
        }
    }
}

/// What must pass, so that the table above is not passed by refusing everything.
#[test]
fn accepted() {
    for side in [Side::Client, Side::Server] {
        let good = identity("peer").to_string();
        let (one, key_one) = ca().issue(Leaf { dns: true, ..Leaf::uris(&[&good]) });
        for (chain, key) in [(vec![one], key_one), chain(&good, 5)] {
            let (ours, seen) = meet(side, chain, key);
            assert_eq!((ours.error, seen.error), (None, None));
            assert_eq!(ours.session.peer(), Some(&identity("peer")));
        }
    }
}

/// Only the usage of the presented side counts.
#[test]
fn usage_is_per_side() {
    for (usage, as_server, as_client) in [
        (ExtendedKeyUsagePurpose::ServerAuth, true, false),
        (ExtendedKeyUsagePurpose::ClientAuth, false, true),
    ] {
        for (side, accepted) in [(Side::Client, as_server), (Side::Server, as_client)] {
            let (leaf, key) = ca().issue(Leaf { usages: vec![usage.clone()], ..Leaf::of(&identity("peer")) });
            assert_eq!(meet(side, vec![leaf], key).0.error.is_none(), accepted, "{side:?} {usage:?}");
        }
    }
}

/// A client without a certificate: certificate_required (RFC 8446 §4.4.2.4).
#[test]
fn client_certificate_is_mandatory() {
    let context = context(Library::AwsLc, &SUITES, "server", TlsSettings::default());
    let stock = Stock { key: None, ..Stock::of(Library::AwsLc.provider(&SUITES), "client") };
    let mut ours = Ours::new(Session::server(&context).unwrap());
    let mut seen = Seen::default();
    exchange(&mut ours, &mut stock.client(), &mut seen, || usize::MAX);
    assert_eq!(ours.error.unwrap().alert(), Some(Alert::CERTIFICATE_REQUIRED));
    assert_eq!(seen.error, Some(Error::AlertReceived(rustls::AlertDescription::CertificateRequired)));
}

/// The words that Istio's operators know (datapath §4.2, §4.3).
#[test]
fn texts() {
    let text = |side, uris: &[&str]| -> String {
        let (leaf, key) = ca().issue(Leaf::uris(uris));
        meet(side, vec![leaf], key).0.error.unwrap().to_string()
    };
    assert_eq!(
        text(Side::Client, &["spiffe://cluster.local/ns/default/sa/other"]),
        "identity verification error: peer did not present the expected SAN \
         (spiffe://cluster.local/ns/default/sa/peer), got spiffe://cluster.local/ns/default/sa/other"
    );
    assert_eq!(
        text(Side::Server, &["spiffe://elsewhere/ns/default/sa/peer"]),
        "identity verification error: peer did not present the expected trustdomain (cluster.local), got \
         spiffe://elsewhere/ns/default/sa/peer"
    );
    assert_eq!(
        text(Side::Client, &["https://a/", "https://b/"]),
        "identity verification error: peer did not present the expected SAN \
         (spiffe://cluster.local/ns/default/sa/peer), got https://a/,https://b/ (exactly one URI SAN is required, \
         certificate has 2)"
    );
}

/// A TLS 1.3 client is done before it is judged (design D9): the refusal comes as its next record.
#[test]
fn refused_client_learns_of_it_from_the_next_record() {
    let elsewhere = Identity::new("elsewhere", "default", "client").unwrap();
    let ports = Library::AwsLc.ports(&SUITES);
    let client = TlsContext::new(ports, ca().credentials(&elsewhere), RecordMode::InPlace).unwrap();
    let server = context(Library::AwsLc, &SUITES, "server", TlsSettings::default());
    let mut client = Session::client(&client, &only(&identity("server"))).unwrap();
    let mut server = Session::server(&server).unwrap();
    let mut wire = Vec::new();
    client.poll_transmit(&mut wire);
    receive(&mut server, &mut wire, &mut Log::default());
    wire.clear();
    server.poll_transmit(&mut wire);
    receive(&mut client, &mut wire, &mut Log::default());
    assert!(client.is_established(), "the client cannot know yet");
    let log = pump(&mut client, &mut server);
    assert_eq!(log.errors.len(), 2, "{:?}", log.errors);
    assert_eq!(log.errors[0].reason(), "unexpected_trust_domain");
    assert_eq!(log.errors[1], TlsError::AlertReceived(Alert::ACCESS_DENIED));
}

/// Certificates are judged by the injected clock, at the time of the handshake.
#[test]
fn the_clock_is_the_injected_one() {
    let ports = Library::AwsLc.ports(&SUITES);
    let clock = Arc::clone(&ports.clock);
    let context = TlsContext::new(ports, ca().credentials(&identity("client")), RecordMode::InPlace).unwrap();
    let server = super::support::context(Library::AwsLc, &SUITES, "server", TlsSettings::default());
    for (seconds, reason) in
        [(NOW.0, None), (1 << 32, Some("certificate_expired")), (5, Some("certificate_not_yet_valid"))]
    {
        clock.set(crate::time::UnixTime(seconds));
        let mut client = Session::client(&context, &only(&identity("server"))).unwrap();
        let log = pump(&mut client, &mut Session::server(&server).unwrap());
        assert_eq!(log.errors.first().map(TlsError::reason), reason);
    }
}

/// Unusable credentials are refused before anybody connects.
#[test]
fn own_credentials_are_checked() {
    let new = |change: &dyn Fn(&mut crate::tls::Credentials)| {
        let mut credentials = ca().credentials(&identity("a"));
        change(&mut credentials);
        TlsContext::new(Library::AwsLc.ports(&SUITES), credentials, RecordMode::InPlace).map(drop)
    };
    assert_eq!(new(&|_| {}), Ok(()));
    for error in [
        new(&|c| c.chain.clear()),
        new(&|c| c.roots.clear()),
        new(&|c| c.roots.push(CertificateDer::from(vec![1, 2, 3]))),
        new(&|c| c.identity = identity("b")),
        new(&|c| c.key = ca().credentials(&identity("a")).key),
        new(&|c| c.chain = vec![CertificateDer::from(vec![0x30, 0])]),
    ] {
        assert!(matches!(error, Err(TlsError::Credentials(_))), "{error:?}");
    }
    let mut ports = Library::AwsLc.ports(&[]);
    ports.aead = Library::Ring.aead();
    let error = TlsContext::new(ports, ca().credentials(&identity("a")), RecordMode::InPlace).map(drop);
    assert_eq!(error.unwrap_err().reason(), "crypto");
}
