//! Sessions without cryptography: the same flights, refusals and key changes.
use std::vec::Vec;

use super::support::*;
use crate::tls::{Alert, Session, Side, SymbolicOptions, TlsError};

pub(super) fn established(options: SymbolicOptions) -> (Session, Session) {
    let (client, server) = (identity("client"), identity("server"));
    let mut c = Session::symbolic_with(Side::Client, client.clone(), server.clone(), options);
    let mut s = Session::symbolic_with(Side::Server, server, client, options);
    let log = pump(&mut c, &mut s);
    assert!(log.errors.is_empty(), "{:?}", log.errors);
    (c, s)
}

#[test]
fn carries_data_both_ways_with_key_updates() {
    let (mut client, mut server) =
        established(SymbolicOptions { key_update_after: 3, ..SymbolicOptions::default() });
    assert_eq!((client.peer(), server.peer()), (Some(&identity("server")), Some(&identity("client"))));
    for round in 0..50_u8 {
        if round % 10 == 0 {
            client.update_keys(true).unwrap();
        }
        for forth in [true, false] {
            let (from, to) = if forth { (&mut client, &mut server) } else { (&mut server, &mut client) };
            let mut log = Log::default();
            receive(to, &mut sealed(from, &[round; 20]), &mut log);
            assert_eq!((log.errors, log.data), (Vec::new(), [round; 20].to_vec()));
        }
    }
    client.close();
    server.close();
    assert!(pump(&mut client, &mut server).errors.is_empty());
}

#[test]
fn bad_certificates_are_refused_at_the_same_moments_as_real_ones() {
    let bad = SymbolicOptions { bad_certificate: true, ..SymbolicOptions::default() };
    let (client, server) = (identity("client"), identity("server"));
    // The server's: the client refuses before it shows its own.
    let mut c = Session::symbolic(Side::Client, client.clone(), server.clone());
    let mut s = Session::symbolic_with(Side::Server, server.clone(), client.clone(), bad);
    let log = pump(&mut c, &mut s);
    assert_eq!(log.errors[0].alert(), Some(Alert::BAD_CERTIFICATE));
    assert_eq!(log.errors[1], TlsError::AlertReceived(Alert::BAD_CERTIFICATE));
    assert!(!c.is_established() && !s.is_established());
    // The client's: it is established first and learns later (design D9).
    let mut c = Session::symbolic_with(Side::Client, client.clone(), server.clone(), bad);
    let mut s = Session::symbolic(Side::Server, server, client);
    let log = pump(&mut c, &mut s);
    assert_eq!(log.errors[1], TlsError::AlertReceived(Alert::BAD_CERTIFICATE));
    assert!(c.is_established() && !s.is_established());
}

#[test]
fn wrong_identities_are_refused() {
    let mut c = Session::symbolic(Side::Client, identity("client"), identity("server"));
    let mut s = Session::symbolic(Side::Server, identity("impostor"), identity("client"));
    let log = pump(&mut c, &mut s);
    assert_eq!(log.errors[0].reason(), "unexpected_san");
    assert_eq!(log.errors[1], TlsError::AlertReceived(Alert::ACCESS_DENIED));
}
