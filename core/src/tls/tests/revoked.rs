//! Revocation lists: who is refused, and that nothing that is wrong with a list lets anybody pass.
use std::format;
use std::string::String;
use std::sync::Arc;
use std::vec;
use std::vec::Vec;

use rcgen::{
    CertificateRevocationListParams, CrlIssuingDistributionPoint, CrlScope, KeyIdMethod, RevokedCertParams,
    SerialNumber, date_time_ymd,
};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use super::support::*;
use crate::identity::Identity;
use crate::tls::{Alert, Credentials, CrlError, Facts, Revocations, Session, Side, TlsContext, TlsSettings};

impl Ca {
    /// A list of this authority, in DER, good until `to_year`.
    pub(super) fn crl(&self, revoked: &[&CertificateDer<'_>], to_year: i32) -> Vec<u8> {
        self.crl_for(revoked, to_year, None)
    }

    /// The same with what it is for: `None` is everything.
    fn crl_for(
        &self,
        revoked: &[&CertificateDer<'_>],
        to_year: i32,
        of: Option<CrlIssuingDistributionPoint>,
    ) -> Vec<u8> {
        let revoked_certs = revoked
            .iter()
            .map(|certificate| RevokedCertParams {
                serial_number: SerialNumber::from_slice(&Facts::of(certificate).unwrap().serial),
                revocation_time: date_time_ymd(2021, 1, 1),
                reason_code: None,
                invalidity_date: None,
            })
            .collect();
        let params = CertificateRevocationListParams {
            this_update: date_time_ymd(2020, 1, 1),
            next_update: date_time_ymd(to_year, 1, 1),
            crl_number: SerialNumber::from(1),
            issuing_distribution_point: of,
            revoked_certs,
            key_identifier_method: KeyIdMethod::Sha256,
        };
        params.signed_by(self.issuer()).unwrap().der().to_vec()
    }
}

pub(super) fn pem(ders: &[&[u8]]) -> String {
    ders.iter()
        .map(|der| {
            let text = base64(der);
            format!("-----BEGIN X509 CRL-----\n{text}\n-----END X509 CRL-----\n")
        })
        .collect()
}

fn base64(octets: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for group in octets.chunks(3) {
        let n = group.iter().fold(0_u32, |n, octet| n << 8 | u32::from(*octet)) << (8 * (3 - group.len()));
        for place in 0..4 {
            let sextet = usize::try_from(n >> (18 - 6 * place) & 63).unwrap();
            text.push(if place <= group.len() { char::from(ALPHABET[sextet]) } else { '=' });
        }
    }
    text
}

/// What our `side` says of a peer with this chain, trusting `roots` and knowing `revocations`.
fn judge(
    side: Side,
    roots: &[CertificateDer<'static>],
    (chain, key): (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>),
    revocations: Revocations,
) -> Result<(), (Option<Alert>, &'static str)> {
    let ports = || Library::AwsLc.ports(&SUITES);
    let (ours, own_key) = ca().issue(Leaf::of(&identity("ourselves")));
    let own = Credentials {
        identity: identity("ourselves"),
        chain: vec![ours],
        key: own_key,
        roots: roots.to_vec(),
    };
    let ours = TlsContext::with_settings(ports(), own, TlsSettings::default()).unwrap();
    let ours = ours.with_revocations(Arc::new(revocations));
    let peer = Credentials { identity: identity("peer"), chain, key, roots: vec![ca().certificate.clone()] };
    let peer = TlsContext::with_settings(ports(), peer, TlsSettings::default()).unwrap();
    let both = [identity("peer"), identity("ourselves")].into_iter().collect();
    let (mut ours, mut peer) = match side {
        Side::Client => (Session::client(&ours, &both).unwrap(), Session::server(&peer).unwrap()),
        Side::Server => (Session::server(&ours).unwrap(), Session::client(&peer, &both).unwrap()),
    };
    let log = pump(&mut ours, &mut peer);
    match log.errors.first() {
        None => {
            assert!(ours.is_established() && peer.is_established());
            Ok(())
        }
        Some(error) => Err((error.alert(), error.reason())),
    }
}

pub(super) type Shown = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>);

pub(super) fn peer_of(authority: &Ca, intermediates: &[&Ca]) -> Shown {
    let (leaf, key) = authority.issue(Leaf::of(&identity("peer")));
    let mut chain = vec![leaf];
    chain.extend(intermediates.iter().map(|ca| ca.certificate.clone()));
    (chain, key)
}

pub(super) fn copy((chain, key): &Shown) -> Shown {
    (chain.clone(), key.clone_key())
}

const REVOKED: Result<(), (Option<Alert>, &str)> =
    Err((Some(Alert::CERTIFICATE_REVOKED), "certificate_revoked"));

fn root() -> Vec<CertificateDer<'static>> {
    vec![ca().certificate.clone()]
}

#[test]
fn revoked_server_leaf_and_revoked_client_are_refused() {
    let (shown, other) = (peer_of(ca(), &[]), peer_of(ca(), &[]));
    let list = ca().crl(&[&shown.0[0]], 2040);
    for side in [Side::Client, Side::Server] {
        for octets in [list.clone(), pem(&[&list]).into_bytes()] {
            let revocations = || Revocations::parse(&octets).unwrap();
            assert_eq!(judge(side, &root(), copy(&shown), revocations()), REVOKED, "{side:?}");
            assert_eq!(judge(side, &root(), copy(&other), revocations()), Ok(()), "{side:?}");
        }
    }
}

#[test]
fn revoked_intermediate_takes_its_whole_subtree() {
    let upper = ca().intermediate("upper");
    let (lower, sibling) = (upper.intermediate("lower"), ca().intermediate("sibling"));
    let list = ca().crl(&[&upper.certificate], 2040);
    let revocations = || Revocations::parse(&list).unwrap();
    assert_eq!(judge(Side::Client, &root(), peer_of(&upper, &[&upper]), revocations()), REVOKED);
    assert_eq!(judge(Side::Client, &root(), peer_of(&lower, &[&lower, &upper]), revocations()), REVOKED);
    assert_eq!(judge(Side::Client, &root(), peer_of(&sibling, &[&sibling]), revocations()), Ok(()));
}

#[test]
fn junk_intermediate_in_the_presented_chain_is_ignored() {
    let junk = ca().intermediate("junk");
    let list = ca().crl(&[&junk.certificate], 2040);
    let shown = peer_of(ca(), &[&junk]);
    assert_eq!(judge(Side::Server, &root(), shown, Revocations::parse(&list).unwrap()), Ok(()));
}

#[test]
fn name_collision_of_two_authorities_refuses_only_the_revoked_subtree() {
    let (one, two) = (Ca::new("twins"), Ca::new("twins"));
    let roots = [one.certificate.clone(), two.certificate.clone()];
    let (of_one, of_two) = (peer_of(&one, &[]), peer_of(&two, &[]));
    let list = one.crl(&[&of_one.0[0], &of_two.0[0]], 2040);
    let both = pem(&[&list, &two.crl(&[], 2040)]);
    for octets in [&list[..], both.as_bytes()] {
        for side in [Side::Client, Side::Server] {
            let revocations = || Revocations::parse(octets).unwrap();
            assert_eq!(judge(side, &roots, copy(&of_one), revocations()), REVOKED);
            assert_eq!(judge(side, &roots, copy(&of_two), revocations()), Ok(()));
        }
    }
    // And the second twin's own list counts, although the first one's is found first.
    let both = pem(&[&list, &two.crl(&[&of_two.0[0]], 2040)]);
    assert_eq!(judge(Side::Client, &roots, of_two, Revocations::parse(both.as_bytes()).unwrap()), REVOKED);
}

#[test]
fn a_list_of_another_issuer_says_nothing() {
    let shown = peer_of(ca(), &[]);
    let list = Ca::new("stranger").crl(&[&shown.0[0]], 2040);
    assert_eq!(judge(Side::Client, &root(), shown, Revocations::parse(&list).unwrap()), Ok(()));
}

/// The attack: a list in the name of our root, made by somebody else, neither revokes nor hides a revocation.
#[test]
fn a_forged_list_neither_revokes_nor_hides() {
    let (shown, other) = (peer_of(ca(), &[]), peer_of(ca(), &[]));
    let forger = Ca::new("test root");
    let forged = forger.crl(&[&other.0[0]], 2040);
    let file = pem(&[&forged, &ca().crl(&[&shown.0[0]], 2040)]);
    let revocations = || Revocations::parse(file.as_bytes()).unwrap();
    assert_eq!(judge(Side::Client, &root(), shown, revocations()), REVOKED);
    assert_eq!(judge(Side::Client, &root(), other, revocations()), Ok(()));
}

#[test]
fn a_list_past_its_next_update_still_counts() {
    let shown = peer_of(ca(), &[]);
    let list = ca().crl(&[&shown.0[0]], 2022);
    assert_eq!(judge(Side::Server, &root(), shown, Revocations::parse(&list).unwrap()), REVOKED);
}

#[test]
fn two_lists_of_one_issuer_both_count() {
    let (first, second) = (peer_of(ca(), &[]), peer_of(ca(), &[]));
    let (old, new) = (ca().crl(&[&first.0[0]], 2040), ca().crl(&[&second.0[0]], 2040));
    let file = pem(&[&old, &new]);
    for shown in [first, second] {
        let revocations = Revocations::parse(file.as_bytes()).unwrap();
        assert_eq!(revocations.lists(), 2);
        assert_eq!(judge(Side::Client, &root(), shown, revocations), REVOKED);
    }
}

#[test]
fn an_empty_file_revokes_nothing() {
    for octets in [&b""[..], b"\n  \n"] {
        let revocations = Revocations::parse(octets).unwrap();
        assert_eq!(revocations.lists(), 0);
        assert_eq!(judge(Side::Client, &root(), peer_of(ca(), &[]), revocations), Ok(()));
    }
}

#[test]
fn unparsable_files_are_told_and_lists_that_never_were_refuse_everybody() {
    let list = ca().crl(&[], 2040);
    let cut = &list[..list.len() - 1];
    assert!(matches!(Revocations::parse(cut), Err(CrlError::List { position: 0, .. })));
    assert!(matches!(Revocations::parse(b"nonsense"), Err(CrlError::List { position: 0, .. })));
    // One bad apple.
    let file = pem(&[&list, cut]);
    assert!(matches!(Revocations::parse(file.as_bytes()), Err(CrlError::List { position: 1, .. })));
    let file = pem(&[&list]).replace("MI", "!!");
    assert!(matches!(Revocations::parse(file.as_bytes()), Err(CrlError::Pem(_))));
    let certificate = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    assert_eq!(Revocations::parse(certificate.as_bytes()).unwrap_err(), CrlError::NoList);
    let file = pem(&vec![&list[..]; 65]);
    assert_eq!(Revocations::parse(file.as_bytes()).unwrap_err(), CrlError::TooMany);

    for side in [Side::Client, Side::Server] {
        let missing = Revocations::missing("it is nonsense".into());
        let verdict = judge(side, &root(), peer_of(ca(), &[]), missing);
        assert_eq!(verdict, Err((Some(Alert::BAD_CERTIFICATE), "revocation_unknown")));
    }
}

fn only_at(uri: &str, scope: Option<CrlScope>) -> Option<CrlIssuingDistributionPoint> {
    Some(CrlIssuingDistributionPoint { distribution_point: point(uri), scope })
}

/// RUSTSEC-2026-0049: a list was passed over unless it was for the first of a certificate's distribution points.
#[test]
fn a_list_for_any_distribution_point_of_a_certificate_counts() {
    let leaf = Leaf { lists_at: vec!["http://a/crl", "http://b/crl"], ..Leaf::of(&identity("peer")) };
    let (leaf, key) = ca().issue(leaf);
    let shown = (vec![leaf], key);
    for (at, expected) in [("http://a/crl", REVOKED), ("http://b/crl", REVOKED), ("http://c/crl", Ok(()))] {
        for side in [Side::Client, Side::Server] {
            let list = ca().crl_for(&[&shown.0[0]], 2040, only_at(at, None));
            let verdict = judge(side, &root(), copy(&shown), Revocations::parse(&list).unwrap());
            assert_eq!(verdict, expected, "{side:?}, list for {at}");
        }
    }
}

#[test]
fn a_list_counts_for_what_is_in_its_scope() {
    let leaf = Leaf { lists_at: vec!["http://a/crl"], ..Leaf::of(&identity("peer")) };
    let (leaf, key) = ca().issue(leaf);
    let shown = (vec![leaf], key);
    for (scope, expected) in [(CrlScope::UserCertsOnly, REVOKED), (CrlScope::CaCertsOnly, Ok(()))] {
        let list = ca().crl_for(&[&shown.0[0]], 2040, only_at("http://a/crl", Some(scope)));
        let verdict = judge(Side::Client, &root(), copy(&shown), Revocations::parse(&list).unwrap());
        assert_eq!(verdict, expected, "{scope:?}");
    }
}

/// RUSTSEC-2026-0104: an empty set of reasons made the parser panic. And whatever else is wrong with a list.
#[test]
fn disturbed_lists_are_refused_or_read_and_nothing_panics() {
    let (leaf, _) = ca().issue(Leaf::of(&identity("peer")));
    let list = ca().crl_for(&[&leaf], 2040, only_at("http://a/", None));
    Revocations::parse(&list).unwrap();
    let uri = list.windows(9).position(|octets| octets == b"http://a/").unwrap();
    let mut reasons = list.clone();
    // The first of three nested headers becomes `onlySomeReasons` of no bits.
    reasons[uri - 6..uri - 4].copy_from_slice(&[0x83, 0]);
    assert!(matches!(Revocations::parse(&reasons), Err(CrlError::List { position: 0, .. })));
    let mut unread = 0;
    for at in 0..list.len() {
        for bit in 0..8 {
            let mut disturbed = list.clone();
            disturbed[at] ^= 1 << bit;
            unread += usize::from(Revocations::parse(&disturbed).is_err());
        }
        assert!(Revocations::parse(&list[..at]).is_err() || at == 0);
    }
    assert!(unread > list.len(), "{unread} of {}", list.len() * 8);
}

/// A chain that is wrong in another way is refused with its own reason, lists or not.
#[test]
fn other_reasons_remain() {
    let list = Revocations::parse(&ca().crl(&[], 2040)).unwrap();
    let stranger = Ca::new("stranger");
    let verdict = judge(Side::Client, &root(), peer_of(&stranger, &[]), list);
    assert_eq!(verdict, Err((Some(Alert::UNKNOWN_CA), "unknown_issuer")));
    let (leaf, key) = ca().issue(Leaf { to_year: 2025, ..Leaf::of(&identity("peer")) });
    let list = Revocations::parse(&ca().crl(&[], 2040)).unwrap();
    let verdict = judge(Side::Client, &root(), (vec![leaf], key), list);
    assert_eq!(verdict, Err((Some(Alert::CERTIFICATE_EXPIRED), "certificate_expired")));
}

/// Old and new roots side by side, as while a root is changed: peers of either understand those that trust both.
#[test]
fn multi_root_bundle_lets_old_and_new_authority_meet() {
    let (old, new) = (Ca::new("old"), Ca::new("new"));
    let verdict = |trusted: &[&Ca], shown: &Ca| {
        let roots: Vec<_> = trusted.iter().map(|ca| ca.certificate.clone()).collect();
        judge_by(&roots, shown).is_ok()
    };
    assert!(verdict(&[&old, &new], &old) && verdict(&[&old, &new], &new));
    assert!(verdict(&[&old], &old) && !verdict(&[&old], &new) && !verdict(&[&new], &old));
}

fn judge_by(roots: &[CertificateDer<'static>], shown: &Ca) -> Result<(), (Option<Alert>, &'static str)> {
    judge(Side::Client, roots, peer_of(shown, &[]), Revocations::default())
}

#[test]
fn leaf_two_intermediates_and_root() {
    let upper = ca().intermediate("upper of two");
    let lower = upper.intermediate("lower of two");
    assert_eq!(judge_chain(&[&lower, &upper]), Ok(()));
    // In another order it is found as well; without the upper one there is no way.
    assert_eq!(judge_chain(&[&upper, &lower]), Ok(()));

    fn judge_chain(shown: &[&Ca]) -> Result<(), (Option<Alert>, &'static str)> {
        let lower = shown.iter().find(|ca| ca.is("lower of two")).unwrap();
        judge(Side::Server, &root(), peer_of(lower, shown), Revocations::default())
    }
    let verdict = judge(Side::Server, &root(), peer_of(&lower, &[&lower]), Revocations::default());
    assert_eq!(verdict, Err((Some(Alert::UNKNOWN_CA), "unknown_issuer")));
}

#[test]
fn trust_domain_mismatch_is_refused() {
    let stranger = Identity::new("elsewhere", "default", "peer").unwrap();
    let (leaf, key) = ca().issue(Leaf::of(&stranger));
    let peer = Credentials { identity: stranger, chain: vec![leaf], key, roots: root() };
    let peer =
        TlsContext::with_settings(Library::AwsLc.ports(&SUITES), peer, TlsSettings::default()).unwrap();
    let server = context(Library::AwsLc, &SUITES, "server", TlsSettings::default());
    let mut server = Session::server(&server).unwrap();
    let mut client = Session::client(&peer, &only(&identity("server"))).unwrap();
    let log = pump(&mut client, &mut server);
    assert_eq!(log.errors.first().map(|error| error.reason()), Some("unexpected_trust_domain"));
}
