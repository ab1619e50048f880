//! Key exchange: the post-quantum hybrid where both ends have it, and peers without it.
use std::sync::Arc;
use std::vec::Vec;

use rustls::NamedGroup;
use rustls::crypto::CryptoProvider;

use super::stock::*;
use super::support::*;
use crate::tls::{Session, Side, TlsContext, TlsPorts, TlsSettings};

const HYBRID: NamedGroup = NamedGroup::X25519MLKEM768;
/// What `runtime::crypto::provider` offers, in its order.
const OURS: [NamedGroup; 4] = [HYBRID, NamedGroup::X25519, NamedGroup::secp256r1, NamedGroup::secp384r1];

/// A provider with these groups in this order.
fn provider(groups: &[NamedGroup]) -> Arc<CryptoProvider> {
    let mut provider = CryptoProvider::clone(&Library::AwsLc.provider(&SUITES));
    provider.kx_groups.retain(|group| groups.contains(&group.name()));
    provider.kx_groups.sort_by_key(|group| groups.iter().position(|name| *name == group.name()));
    assert_eq!(provider.kx_groups.len(), groups.len());
    Arc::new(provider)
}

fn ours(side: Side, groups: &[NamedGroup]) -> Session {
    let ports = TlsPorts { provider: provider(groups), ..Library::AwsLc.ports(&SUITES) };
    let credentials = ca().credentials(&identity("ourselves"));
    let context = TlsContext::with_settings(ports, credentials, TlsSettings::default()).unwrap();
    match side {
        Side::Client => {
            let expected = [identity("peer"), identity("ourselves")].into_iter().collect();
            Session::client(&context, &expected).unwrap()
        }
        Side::Server => Session::server(&context).unwrap(),
    }
}

/// The group that our `side` and a stock peer with `groups` agree on.
fn meet(side: Side, groups: &[NamedGroup]) -> Option<NamedGroup> {
    let stock = Stock::of(provider(groups), "peer");
    let mut stock = if side == Side::Client { stock.server() } else { stock.client() };
    let (mut ours, mut seen) = (Ours::new(ours(side, &OURS)), Seen::default());
    exchange(&mut ours, &mut stock, &mut seen, || usize::MAX);
    assert_eq!(ours.error, None, "{side:?} {groups:?}");
    assert!(ours.session.is_established() && seen.error.is_none(), "{side:?} {groups:?}");
    stock.negotiated_key_exchange_group().map(|group| group.name())
}

#[test]
fn a_stock_peer_with_the_hybrid_gets_it() {
    for side in [Side::Client, Side::Server] {
        assert_eq!(meet(side, &OURS), Some(HYBRID), "{side:?}");
        // A client's order counts little: what we share with it and like best is chosen by the server.
        assert_eq!(meet(side, &[HYBRID]), Some(HYBRID), "{side:?}");
    }
}

#[test]
fn a_stock_peer_without_the_hybrid_still_connects() {
    for side in [Side::Client, Side::Server] {
        assert_eq!(meet(side, &[NamedGroup::X25519]), Some(NamedGroup::X25519), "{side:?}");
        // As the server has no share of it yet, our client is asked again (HelloRetryRequest).
        for group in [NamedGroup::secp256r1, NamedGroup::secp384r1] {
            assert_eq!(meet(side, &[group]), Some(group), "{side:?}");
        }
    }
}

/// Two of ours: with all groups they take the hybrid, shown by a server that has nothing else, and the first flight
/// stays one record that fits a few segments.
#[test]
fn two_of_ours_negotiate_the_hybrid() {
    for (client, server) in [(&OURS[..], &[HYBRID][..]), (&[HYBRID], &OURS), (&OURS, &OURS)] {
        let (mut client, mut server) = (ours(Side::Client, client), ours(Side::Server, server));
        let mut hello = Vec::new();
        client.poll_transmit(&mut hello);
        assert_eq!(Session::record_len(&hello), Ok(Some(hello.len())));
        // 1184 octets are the hybrid's own (draft-ietf-tls-ecdhe-mlkem §4.1).
        assert!(hello.len() > 1184 && hello.len() < 2048, "{}", hello.len());
        server.handle_record(&mut hello).unwrap();
        let log = pump(&mut client, &mut server);
        assert!(log.errors.is_empty() && client.is_established() && server.is_established(), "{log:?}");
    }
}

/// `COMPLIANCE_POLICY=pqc` on one side only: it refuses to be weaker.
#[test]
fn without_a_common_group_there_is_no_connection() {
    let (mut client, mut server) = (ours(Side::Client, &[HYBRID]), ours(Side::Server, &[NamedGroup::X25519]));
    let log = pump(&mut client, &mut server);
    assert!(!log.errors.is_empty() && !client.is_established() && !server.is_established());
}
