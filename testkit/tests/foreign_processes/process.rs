//! Our ends of connections with programs that others wrote, and these programs.
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, channel};
use std::thread::JoinHandle;

use adit_core::hbone::{Authority as Target, Baggage, ConnectRequest, TunnelConfig};
use adit_core::tls::RecordMode;
pub(crate) use adit_testkit::foreign::{Folder, Process, free_port};
use adit_testkit::wire::{Answer, Authority, PATIENCE, Script, Wire};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

/// Our client on a connection to `port`.
pub(crate) fn client(authority: &Authority, port: u16) -> Wire {
    let socket = TcpStream::connect(("127.0.0.1", port)).expect("a connection");
    let context = authority.context("client", RecordMode::InPlace);
    Wire::client(socket, &context, &Authority::identity("server"), TunnelConfig::client())
}

/// Where a server of ours is to be reached.
pub(crate) fn listener() -> (TcpListener, u16) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("an address").port();
    (listener, port)
}

/// Our server on the next connection, which must come within [`PATIENCE`].
pub(crate) fn accepted(
    authority: &Authority,
    listener: &TcpListener,
    config: TunnelConfig,
    answer: Answer,
) -> Wire {
    let mut ready = [PollFd::new(listener, PollFlags::IN)];
    let patience = Timespec { tv_sec: PATIENCE.as_secs().cast_signed(), tv_nsec: 0 };
    assert_eq!(poll(&mut ready, Some(&patience)), Ok(1), "nobody connects");
    let (socket, _) = listener.accept().expect("a client");
    Wire::server(socket, &authority.context("server", RecordMode::InPlace), config, answer)
}

/// Our server, which serves one connection until it ends, on a thread of its own.
pub(crate) fn server(authority: &Authority, answer: Answer) -> (u16, JoinHandle<Wire>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("an address").port();
    let context = authority.context("server", RecordMode::InPlace);
    let serving = std::thread::spawn(move || {
        let (socket, _) = listener.accept().expect("a client");
        let mut wire = Wire::server(socket, &context, TunnelConfig::server(), answer);
        wire.run_to_end();
        wire
    });
    (port, serving)
}

/// Our server for as many connections as come; each is given out when it has ended.
pub(crate) fn servers(
    authority: &Authority,
    answer: fn(&ConnectRequest) -> Result<Script, u16>,
) -> (u16, Receiver<Wire>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("an address").port();
    let context = authority.context("server", RecordMode::InPlace);
    let (told, ended) = channel();
    std::thread::spawn(move || {
        while let Ok((socket, _)) = listener.accept() {
            let (told, context) = (told.clone(), context.clone());
            std::thread::spawn(move || {
                let mut wire = Wire::server(socket, &context, TunnelConfig::server(), Box::new(answer));
                wire.run_to_end();
                // Nobody may be waiting any more.
                let _ = told.send(wire);
            });
        }
    });
    (port, ended)
}

pub(crate) fn request(authority: &str) -> ConnectRequest {
    ConnectRequest {
        authority: Target::parse(authority.as_bytes()).expect("an authority"),
        baggage: None,
        forwarded: None,
        traceparent: None,
        forwarded_network: None,
    }
}

/// The same with metadata of about `octets`, as no workload has it.
pub(crate) fn huge_request(authority: &str, octets: usize) -> ConnectRequest {
    ConnectRequest { baggage: Some(huge_baggage(octets)), ..request(authority) }
}

/// Metadata of about so many octets.
pub(crate) fn huge_baggage(octets: usize) -> Baggage {
    Baggage { service_name: Some("n".repeat(octets).into()), ..Baggage::default() }
}

/// Octets in which every displacement shows.
pub(crate) fn pattern(len: usize) -> Vec<u8> {
    (0..len).map(|i| (i * 31 + i / 251) as u8).collect()
}
