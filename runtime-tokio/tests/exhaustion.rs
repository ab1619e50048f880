//! A process that has run out of descriptors. A file of its own, since the limit is the whole process's.
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use adit_core::identity::Identity;
use adit_core::proxy::{Listener, Observed};
use adit_runtime::conformance::Relay;
use adit_runtime::{
    Clock, DriveConfig, ListenerSpec, Observer, Questions, Setup, SocketOptions, Transparency, mailbox,
};

struct Failures(mpsc::Sender<Option<Duration>>);

impl Observer for Failures {
    fn observe(&mut self, _: Observed) {}

    fn accept_failed(&mut self, _: Listener, _: &io::Error, retry: Option<Duration>) {
        let _ = self.0.send(retry);
    }
}

#[test]
fn a_listener_rests_while_descriptors_are_out_and_then_goes_on() {
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    let target = server.local_addr().unwrap();
    let spec = ListenerSpec {
        listener: Listener::Outbound,
        address: SocketAddr::from(([127, 0, 0, 1], 0)),
        transparency: Transparency::Never,
        reuse_port: false,
    };
    let bound = spec.bind(&SocketOptions::default()).unwrap();
    let address = bound.local_addr().unwrap();
    let (handle, mailbox) = mailbox();
    let (sender, failures) = mpsc::channel();
    let shard = thread::spawn(move || {
        let setup = Setup {
            engine: Relay::to(target),
            observer: Failures(sender),
            certificates: |_: &Identity| Err("the relay asks for no certificate".into()),
            questions: Questions::default(),
            listeners: vec![bound],
            mailbox,
            config: DriveConfig::default(),
        };
        adit_tokio::run(Clock::start(), setup)
    });
    // One round trip, so that the shard has all it needs before the limit falls.
    round_trip(&mut TcpStream::connect(address).unwrap(), &server);

    let mut client = rustix_client();
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    let none = rustix::process::Rlimit { current: Some(0), maximum: limit.maximum };
    rustix::process::setrlimit(rustix::process::Resource::Nofile, none).unwrap();
    rustix::net::connect(&client, &address).unwrap();
    let rests: Vec<_> = (0..3).map(|_| failures.recv_timeout(Duration::from_secs(10)).unwrap()).collect();
    assert_eq!(rests, [50, 100, 200].map(|ms| Some(Duration::from_millis(ms))));

    rustix::process::setrlimit(rustix::process::Resource::Nofile, limit).unwrap();
    round_trip(&mut client, &server);
    handle.terminate();
    shard.join().unwrap().unwrap();
}

/// A client that needs no descriptor any more to connect.
fn rustix_client() -> TcpStream {
    use rustix::net::{AddressFamily, SocketType, socket};
    socket(AddressFamily::INET, SocketType::STREAM, None).unwrap().into()
}

fn round_trip(client: &mut TcpStream, server: &TcpListener) {
    let (mut far, _) = server.accept().unwrap();
    client.write_all(b"ping").unwrap();
    let mut octets = [0; 4];
    far.read_exact(&mut octets).unwrap();
    assert_eq!(&octets, b"ping");
}
