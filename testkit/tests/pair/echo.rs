//! Whole runs by hand: small and bulk, symbolic and real TLS, whole chunks and single octets.
use adit_core::tls::RecordMode;
use adit_testkit::pair::{Chunks, Net, Outcome, Pair, Script, Sessions, Setup, StreamScript};
use adit_testkit::pki::{Ca, ports};

fn tls(mode: RecordMode) -> Sessions {
    let ca = Ca::new();
    Sessions::Tls { client: ca.context("client", mode), server: ca.context("server", mode), ports: ports() }
}

/// Runs and checks that both applications of every stream got all of the other's octets and one end.
fn complete(setup: Setup, scripts: &[StreamScript]) -> Outcome {
    let outcome = Pair::new(setup, scripts.to_vec()).run().unwrap();
    for (index, script) in scripts.iter().enumerate() {
        let (client, server) = (&outcome.client[&index], &outcome.server[&index]);
        assert_eq!(
            (client.received, server.received),
            (script.server.send, script.client.send),
            "stream {index}"
        );
        assert_eq!((client.finished, server.finished), (1, 1));
        assert_eq!((client.closed, server.closed), (1, 1));
        assert_eq!((&client.resets, &server.resets), (&vec![], &vec![]));
    }
    outcome
}

fn both(octets: usize) -> StreamScript {
    StreamScript::new(Script::sends(octets), Script::sends(octets))
}

#[test]
fn client_and_server_exchange_octets_over_real_tls() {
    for mode in [RecordMode::InPlace, RecordMode::Rustls] {
        complete(Setup { sessions: tls(mode), ..Setup::default() }, &[both(1), both(100_000), both(0)]);
    }
}

#[test]
fn one_octet_at_a_time() {
    let net = Net { chunks: Chunks::Fixed(1), ..Net::default() };
    complete(Setup { net, ..Setup::default() }, &[both(20_000), both(3)]);
    complete(Setup { net, sessions: tls(RecordMode::InPlace), ..Setup::default() }, &[both(2_000)]);
}

#[test]
fn bulk_through_small_socket_buffers() {
    let net = Net { buffer: 10_000, chunks: Chunks::Random(30_000), ..Net::default() };
    complete(Setup { net, ..Setup::default() }, &[both(6_000_000)]);
}

#[test]
fn real_tls_is_handed_over_in_mid_transfer() {
    let net = Net { buffer: 30_000, chunks: Chunks::Random(50_000), ..Net::default() };
    let setup = Setup { net, sessions: tls(RecordMode::InPlace), hand_over_once_in: 20, ..Setup::default() };
    complete(setup, &[both(400_000), both(100_000), both(10)]);
}
