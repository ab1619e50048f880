//! Bodies over sockets.
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use adit_core::proxy::{LocalWorkload, ProxyId};

use super::rig::{Host, Rig, listener};
use crate::mailbox::NewProxy;
use crate::socket::{SocketOptions, reset_on_close};
use crate::stream::LocalListeners;

/// Octets that differ by place and by seed.
pub(super) fn pattern(seed: u8, len: usize) -> Vec<u8> {
    (0..len).map(|at| u8::try_from(at * 31 % 251).expect("below 251").wrapping_add(seed)).collect()
}

fn read_exactly(mut stream: &TcpStream, len: usize) -> Vec<u8> {
    let mut octets = vec![0; len];
    stream.read_exact(&mut octets).expect("all octets arrive");
    octets
}

fn read_to_end(mut stream: &TcpStream) -> Vec<u8> {
    let mut octets = Vec::new();
    stream.read_to_end(&mut octets).expect("the stream ends well");
    octets
}

/// Reads until something other than octets comes.
fn read_error(mut stream: &TcpStream) -> io::Error {
    io::copy(&mut stream, &mut io::sink()).expect_err("the stream does not end well")
}

/// Several connections at a time, more octets than any buffer holds, both ways at once.
pub fn octets_arrive_unchanged_both_ways(host: &impl Host) {
    let rig = Rig::start(*host, |relay| relay);
    let pairs: Vec<_> = (0..5).map(|_| rig.connect()).collect();
    thread::scope(|scope| {
        for (seed, (client, server)) in (0..).zip(&pairs) {
            for (from, to, seed) in [(client, server, seed), (server, client, seed + 100)] {
                scope.spawn(move || (&*from).write_all(&pattern(seed, 3_000_001)).expect("all octets leave"));
                scope.spawn(move || assert!(read_exactly(to, 3_000_001) == pattern(seed, 3_000_001)));
            }
        }
    });
}

/// The end of one direction arrives after all its octets and leaves the other direction open.
pub fn half_close_is_passed_on_exactly(host: &impl Host) {
    let rig = Rig::start(*host, |relay| relay);
    let (mut client, mut server) = rig.connect();
    client.write_all(&pattern(1, 700_000)).expect("all octets leave");
    client.shutdown(Shutdown::Write).expect("half-closed");
    assert!(read_to_end(&server) == pattern(1, 700_000));
    server.write_all(b"and still an answer").expect("all octets leave");
    drop(server);
    assert_eq!(read_to_end(&client), b"and still an answer");
}

/// A reset of one side resets the other.
pub fn a_reset_is_passed_on(host: &impl Host) {
    let rig = Rig::start(*host, |relay| relay);
    let (mut client, server) = rig.connect();
    client.write_all(b"x").expect("it leaves");
    read_exactly(&server, 1);
    reset_on_close(&server);
    drop(server);
    assert_eq!(read_error(&client).kind(), ErrorKind::ConnectionReset);
}

/// A dial that fails is told to the shard, which resets the client.
pub fn a_refused_dial_resets_the_client(host: &impl Host) {
    let nobody =
        TcpListener::bind("127.0.0.1:0").and_then(|bound| bound.local_addr()).expect("a port is free");
    let server = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let rig = Rig::start_to(*host, server, nobody, LocalListeners::default(), |relay| relay);
    assert_eq!(read_error(&rig.client()).kind(), ErrorKind::ConnectionReset);
}

/// Writes until the other side is stopped; returns how much.
fn fill(mut client: &TcpStream) -> usize {
    client.set_nonblocking(true).expect("it can be");
    let mut sent = 0;
    // Full when nothing fits for as long as a lively relay would need to make room.
    let mut last = Instant::now();
    while last.elapsed() < Duration::from_millis(100) {
        match client.write(&pattern(u8::try_from(sent % 251).expect("below 251"), 65_536)) {
            Ok(n) => (sent, last) = (sent + n, Instant::now()),
            Err(error) if error.kind() == ErrorKind::WouldBlock => thread::yield_now(),
            Err(error) => panic!("{error}"),
        }
        assert!(sent < 256 << 20, "nothing stops the writer");
    }
    sent
}

/// When the server does not read, the client is stopped; when it reads again, everything arrives.
pub fn a_slow_reader_stops_the_writer_and_loses_nothing(host: &impl Host) {
    let rig = Rig::start(*host, |relay| relay);
    let (client, server) = rig.connect();
    let sent = fill(&client);
    client.shutdown(Shutdown::Write).expect("half-closed");
    assert_eq!(read_to_end(&server).len(), sent);
}

/// A client that resets while nothing is read from it, because the server reads nothing, is noticed. Not part of the
/// suite: not every reactor can tell ([`Readiness::poll_hangup`](crate::Readiness::poll_hangup)).
pub fn a_reset_is_noticed_while_nothing_is_read(host: &impl Host) {
    let rig = Rig::start(*host, |relay| relay);
    let (client, server) = rig.connect();
    fill(&client);
    reset_on_close(&client);
    drop(client);
    let until = Instant::now() + Duration::from_secs(20);
    let error = loop {
        if let Some(error) = server.take_error().expect("a socket") {
            break error;
        }
        assert!(Instant::now() < until, "the server hears nothing of the reset");
        thread::yield_now();
    };
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
}

/// While one connection moves as much as it can, a message on another one goes round.
pub fn a_busy_connection_does_not_starve_another(host: &impl Host) {
    let rig = Rig::start(*host, |relay| relay);
    let (busy, sink) = rig.connect();
    let (mut client, mut server) = rig.connect();
    thread::scope(|scope| {
        scope.spawn(|| while (&busy).write_all(&[0; 65_536]).is_ok() {});
        scope.spawn(|| io::copy(&mut &sink, &mut io::sink()));
        for round in 0..100 {
            client.write_all(&[round]).expect("it leaves");
            assert_eq!(read_exactly(&server, 1), [round]);
            server.write_all(&[round]).expect("it leaves");
            assert_eq!(read_exactly(&client, 1), [round]);
        }
        busy.shutdown(Shutdown::Both).expect("it ends");
    });
}

/// The shard's deadline is told to it when it has passed, and not before.
pub fn deadlines_pass(host: &impl Host) {
    const LIFETIME: Duration = Duration::from_millis(30);
    let rig = Rig::start(*host, |relay| relay.living(LIFETIME));
    let begin = Instant::now();
    let (client, _server) = rig.connect();
    assert_eq!(read_error(&client).kind(), ErrorKind::ConnectionReset);
    assert!(begin.elapsed() >= LIFETIME);
    rig.wait();
}

/// Draining closes the listener at once and the shard when its last connection has ended.
pub fn drain_stops_listening_and_lets_connections_end(host: &impl Host) {
    let mut rig = Rig::start(*host, |relay| relay);
    let (mut client, mut server) = rig.connect();
    rig.handle.drain();
    while TcpStream::connect(rig.address).is_ok() {
        thread::yield_now();
    }
    // Attempts that came before the drain may have reached the server: resets those.
    rig.server = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    client.write_all(b"still here").expect("it leaves");
    assert_eq!(read_exactly(&server, 10), b"still here");
    assert!(!rig.handle.is_ended());
    server.write_all(b"bye").expect("it leaves");
    drop(server);
    assert_eq!(read_to_end(&client), b"bye");
    drop(client);
    rig.wait();
}

/// A connection in the queue of a socket that closes is reset, so the queue is emptied first.
pub fn what_waits_when_a_drain_begins_is_served(host: &impl Host) {
    const CLIENTS: usize = 10;
    let (go, wait) = mpsc::channel();
    let rig = Rig::start(*host, move |relay| {
        // The test has failed if nobody says go.
        let _ = wait.recv();
        relay
    });
    let clients: Vec<_> = (0..CLIENTS).map(|_| rig.client()).collect();
    rig.handle.drain();
    go.send(()).expect("the relay waits");
    for _ in 0..CLIENTS {
        let (mut server, _) = rig.server.accept().expect("the relay dials");
        server.write_all(b"served").expect("all octets leave");
    }
    for client in clients {
        assert_eq!(read_to_end(&client), b"served");
    }
    rig.wait();
}

/// Terminating resets what is open and ends the shard.
pub fn terminate_ends_everything(host: &impl Host) {
    let rig = Rig::start(*host, |relay| relay);
    let (client, server) = rig.connect();
    rig.handle.terminate();
    assert_eq!(read_error(&client).kind(), ErrorKind::ConnectionReset);
    assert_eq!(read_error(&server).kind(), ErrorKind::ConnectionReset);
    rig.wait();
}

/// A command does not need a running shard to be heard.
pub fn commands_sent_before_the_start_are_taken(host: &impl Host) {
    let (hold, held) = mpsc::channel::<()>();
    let rig = Rig::start(*host, move |relay| {
        // The shard starts once this channel is closed.
        let _ = held.recv();
        relay
    });
    rig.handle.drain();
    drop(hold);
    rig.wait();
}

/// While the shard runs, it begins to serve one more proxy, and ends that one with its connections and listener.
pub fn a_proxy_comes_and_goes(host: &impl Host) {
    let mut rig = Rig::start(*host, |relay| relay);
    let own = rig.connect();
    let first = rig.address;
    for round in 1..4 {
        let id = ProxyId(round);
        let bound = listener();
        rig.address = bound.local_addr().expect("it is bound");
        // What has come before the shard has heard of the listener is not lost.
        let early = rig.client();
        let local = LocalWorkload { namespace: "ns".into(), name: "a".into(), service_account: "a".into() };
        let proxy =
            NewProxy { id, local, listeners: vec![bound], netns: None, sockets: SocketOptions::default() };
        rig.handle.add_proxy(proxy);
        let (at_server, _) = rig.server.accept().expect("the relay dials");
        (&early).write_all(b"x").expect("it leaves");
        assert_eq!(read_exactly(&at_server, 1), b"x");

        let (done, ends) = mpsc::channel();
        rig.handle.remove_proxy(id, move || done.send(()).expect("the test waits"));
        ends.recv_timeout(Duration::from_secs(20)).expect("it ends in time");
        assert_eq!(read_error(&early).kind(), ErrorKind::ConnectionReset);
        let refused = TcpStream::connect(rig.address).expect_err("nobody listens");
        assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
        // What is gone is gone; the shard's own connection is not.
        let (done, ends) = mpsc::channel();
        rig.handle.remove_proxy(id, move || done.send(()).expect("the test waits"));
        ends.recv_timeout(Duration::from_secs(20)).expect("it ends in time");
    }
    rig.address = first;
    (&own.0).write_all(b"still here").expect("it leaves");
    assert_eq!(read_exactly(&own.1, 10), b"still here");
    rig.connect();
}
