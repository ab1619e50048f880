//! Lists that come after a peer was accepted (datapath §4.5, §4.6): whose connection must end, and whose must not.
use std::sync::Arc;
use std::vec;
use std::vec::Vec;

use rustls::pki_types::CertificateDer;

use super::revoked::{Shown, copy, peer_of, pem};
use super::support::*;
use crate::time::UnixTime;
use crate::tls::{Credentials, PeerChain, Revocations, Session, Side, TlsContext, TlsSettings};

/// Our side of a connection that was accepted while nothing was revoked.
struct Accepted {
    side: Side,
    context: Arc<TlsContext>,
    chain: PeerChain,
}

impl Accepted {
    fn new(side: Side, roots: &[CertificateDer<'static>], (chain, key): Shown) -> Self {
        let ports = Library::AwsLc.ports(&SUITES);
        let (leaf, own_key) = ca().issue(Leaf::of(&identity("ourselves")));
        let own = Credentials {
            identity: identity("ourselves"),
            chain: vec![leaf],
            key: own_key,
            roots: roots.to_vec(),
        };
        let context = TlsContext::with_settings(ports.clone(), own, TlsSettings::default()).unwrap();
        let context = context.with_revocations(Arc::default());
        let peer =
            Credentials { identity: identity("peer"), chain, key, roots: vec![ca().certificate.clone()] };
        let peer = TlsContext::with_settings(ports, peer, TlsSettings::default()).unwrap();
        let both = [identity("peer"), identity("ourselves")].into_iter().collect();
        let (mut ours, mut theirs) = match side {
            Side::Client => (Session::client(&context, &both).unwrap(), Session::server(&peer).unwrap()),
            Side::Server => (Session::server(&context).unwrap(), Session::client(&peer, &both).unwrap()),
        };
        assert!(ours.take_peer_chain().is_none());
        pump(&mut ours, &mut theirs);
        let chain = *ours.take_peer_chain().expect("a peer was accepted");
        assert!(ours.take_peer_chain().is_none());
        // Nobody asked the peer to check us.
        assert!(theirs.is_established() && theirs.take_peer_chain().is_none());
        Self { side, context, chain }
    }

    fn is_revoked(&self, lists: &[u8]) -> bool {
        let lists = Revocations::parse(lists).unwrap();
        self.context.is_revoked(self.side, &self.chain, &lists)
    }
}

fn root() -> Vec<CertificateDer<'static>> {
    vec![ca().certificate.clone()]
}

#[test]
fn a_leaf_that_is_revoked_later_is_noticed_by_both_sides() {
    let (shown, other) = (peer_of(ca(), &[]), peer_of(ca(), &[]));
    let list = ca().crl(&[&shown.0[0]], 2040);
    for side in [Side::Client, Side::Server] {
        assert!(Accepted::new(side, &root(), copy(&shown)).is_revoked(&list), "{side:?}");
        let other = Accepted::new(side, &root(), copy(&other));
        assert!(!other.is_revoked(&list), "{side:?}");
        assert!(!other.is_revoked(b""), "{side:?}");
    }
}

#[test]
fn an_intermediate_that_is_revoked_later_takes_its_subtree_through_several_levels() {
    let upper = ca().intermediate("upper later");
    let (lower, sibling) = (upper.intermediate("lower later"), ca().intermediate("sibling later"));
    let accepted = |shown| Accepted::new(Side::Server, &root(), shown);
    let below = accepted(peer_of(&lower, &[&lower, &upper]));
    for (issuer, revoked) in [(ca(), &upper), (&upper, &lower)] {
        assert!(below.is_revoked(&issuer.crl(&[&revoked.certificate], 2040)));
    }
    let list = ca().crl(&[&upper.certificate], 2040);
    assert!(accepted(peer_of(&upper, &[&upper])).is_revoked(&list));
    assert!(!accepted(peer_of(&sibling, &[&sibling])).is_revoked(&list));
}

#[test]
fn junk_intermediate_that_was_presented_is_not_kept() {
    let junk = ca().intermediate("junk later");
    let accepted = Accepted::new(Side::Server, &root(), peer_of(ca(), &[&junk]));
    assert!(!accepted.is_revoked(&ca().crl(&[&junk.certificate], 2040)));
    let mut issuers = 0;
    let mut chain = accepted.chain;
    chain.share_issuers(|_| issuers += 1);
    assert_eq!(issuers, 0);
}

#[test]
fn name_collision_of_two_authorities_ends_only_the_revoked_subtree() {
    let (one, two) = (Ca::new("later twins"), Ca::new("later twins"));
    let roots = [one.certificate.clone(), two.certificate.clone()];
    let (of_one, of_two) = (peer_of(&one, &[]), peer_of(&two, &[]));
    let list = one.crl(&[&of_one.0[0], &of_two.0[0]], 2040);
    for side in [Side::Client, Side::Server] {
        for octets in [&list[..], pem(&[&two.crl(&[], 2040), &list]).as_bytes()] {
            assert!(Accepted::new(side, &roots, copy(&of_one)).is_revoked(octets));
            assert!(!Accepted::new(side, &roots, copy(&of_two)).is_revoked(octets));
        }
    }
}

/// The verdict is as of when the peer was accepted: a certificate that has run out since is neither revoked by that nor
/// safe by that.
#[test]
fn a_certificate_that_expired_since_is_judged_as_of_then() {
    let shown = peer_of(ca(), &[]);
    let accepted = Accepted::new(Side::Client, &root(), copy(&shown));
    accepted.context.ports().clock.set(UnixTime(4_000_000_000));
    let forger = Ca::new("test root");
    assert!(
        !accepted.is_revoked(&forger.crl(&[&shown.0[0]], 2040)),
        "looked into, and found good as of then"
    );
    assert!(accepted.is_revoked(&ca().crl(&[&shown.0[0]], 2040)));
}

/// Nobody is cut off because lists that were demanded cannot be read: that is for new peers.
#[test]
fn lists_that_are_missing_end_nobody() {
    let accepted = Accepted::new(Side::Server, &root(), peer_of(ca(), &[]));
    let missing = Revocations::missing("it is nonsense".into());
    assert!(!accepted.context.is_revoked(Side::Server, &accepted.chain, &missing));
}

#[test]
fn nothing_is_kept_where_revocation_is_not_checked() {
    let context = |name| context(Library::AwsLc, &SUITES, name, TlsSettings::default());
    let mut client = Session::client(&context("client"), &only(&identity("server"))).unwrap();
    let mut server = Session::server(&context("server")).unwrap();
    pump(&mut client, &mut server);
    assert!(client.is_established() && client.take_peer_chain().is_none());
    assert!(server.is_established() && server.take_peer_chain().is_none());
}
