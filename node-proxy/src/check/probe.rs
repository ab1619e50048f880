//! A connection from inside a namespace that must come to the proxy's port 15001, and where it ended.
use std::hash::{BuildHasher, RandomState};
use std::io::{self, ErrorKind};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, UdpSocket};
use std::ops::Range;
use std::os::fd::{AsFd, BorrowedFd};
use std::thread;
use std::time::Duration;

use adit_core::proxy::probe::PROBES;
use adit_ops::capture::{CaptureState, Outcome};
use adit_runtime::wildcard;
use socket2::{Domain, Socket, Type};
use tokio::sync::oneshot;

use super::diag;
use super::sockets::tcp;
use crate::capture::{OUTBOUND, namespace};

/// How long a probe may take. What is captured takes no time at all; a full listen queue, a second.
pub(super) const PATIENCE: Duration = Duration::from_secs(2);

/// Where probes come from: ports from which nobody calls where the kernel chooses the port (`ip_local_port_range`, from 32768).
/// Redirection leads all connections of the pod to one listener. If one was made from the probe's own port in the last two minutes,
/// the kernel tells the two apart by giving the probe another port there, by which it would not be found.
const FROM: Range<u16> = 20_480..28_672;

/// Ports that are tried, where others have them.
const PORTS: usize = 8;

/// Probes before something other than the proxy is believed to have taken them: the range of ports may have been made wider.
const TRIES: usize = 3;

/// Whether capture works in the network namespace of `netns`, found out by a connection from inside for each address
/// family: nothing but the kernel is needed. It takes no time where capture works, and up to four seconds where it does
/// not; cancelling is safe. Runs on a thread of its own, under any runtime.
pub async fn capture_state(netns: BorrowedFd<'_>) -> CaptureState {
    let netns = match netns.try_clone_to_owned() {
        Ok(netns) => netns,
        Err(error) => return CaptureState::unknown(format_args!("no descriptor for the namespace: {error}")),
    };
    let (tell, told) = oneshot::channel();
    // The thread moves into the namespace for good, and so ends there.
    let probe = move || {
        let state = namespace::entered(netns.as_fd(), || here(PATIENCE));
        let unknown = |error| CaptureState::unknown(format_args!("the namespace cannot be entered: {error}"));
        // Nobody waits any more where the caller was cancelled.
        let _ = tell.send(state.unwrap_or_else(unknown));
    };
    if let Err(error) = thread::Builder::new().name("adit-probe".to_owned()).spawn(probe) {
        return CaptureState::unknown(format_args!("no thread to look from: {error}"));
    }
    told.await.unwrap_or_else(|_| CaptureState::unknown("the probe ended without an answer"))
}

/// Whether capture works in the namespace of this thread.
pub(super) fn here(patience: Duration) -> CaptureState {
    let [v4, v6] = PROBES.map(|to| probe(to, patience));
    CaptureState { ipv4: v4, ipv6: v6 }
}

fn probe(to: SocketAddr, patience: Duration) -> Outcome {
    if !has_route(to) {
        return Outcome::NoRoute;
    }
    let bypassed = |why: &str| Outcome::NotCaptured { why: why.to_owned() };
    let mut ended = Ok(false);
    for _ in 0..TRIES {
        ended = connect(to, patience).and_then(|probe| came_to_proxy(&probe));
        if !matches!(ended, Ok(false)) {
            break;
        }
    }
    match ended {
        Ok(true) => Outcome::Captured,
        Ok(false) => bypassed("something other than the proxy took the connection"),
        Err(error) => match error.kind() {
            ErrorKind::ConnectionRefused => {
                bypassed("refused: either nothing listens on port 15001, or the connection left the pod")
            }
            ErrorKind::TimedOut => bypassed("no answer: the connection left the pod, or 15001 takes no more"),
            ErrorKind::HostUnreachable | ErrorKind::NetworkUnreachable => {
                bypassed("the connection left the pod, where the network knows no such address")
            }
            _ => Outcome::Unknown { why: error.to_string() },
        },
    }
}

/// Connects from a port of [`FROM`], or from one that the kernel chooses if none is to be had.
fn connect(to: SocketAddr, patience: Duration) -> io::Result<TcpStream> {
    let random = RandomState::new();
    let taken =
        |error: &io::Error| matches!(error.kind(), ErrorKind::AddrInUse | ErrorKind::AddrNotAvailable);
    let from = |port: u16| {
        let socket = Socket::new(Domain::for_address(to), Type::STREAM, None)?;
        socket.bind(&wildcard(to.is_ipv6(), port).into())?;
        socket.connect_timeout(&to.into(), patience)?;
        Ok(TcpStream::from(socket))
    };
    for number in 0..PORTS {
        let [high, low, ..] = random.hash_one(number).to_be_bytes();
        let port = FROM.start + u16::from_be_bytes([high, low]) % (FROM.end - FROM.start);
        match from(port) {
            Err(error) if taken(&error) => {}
            done => return done,
        }
    }
    from(0)
}

/// Whether the namespace would send packets there at all. Connecting a UDP socket sends nothing.
fn has_route(to: SocketAddr) -> bool {
    UdpSocket::bind(wildcard(to.is_ipv6(), 0)).and_then(|socket| socket.connect(to)).is_ok()
}

/// Whether the other end of `probe` is a socket of this very namespace at port 15001.
fn came_to_proxy(probe: &TcpStream) -> io::Result<bool> {
    let ours = probe.local_addr()?;
    // Where redirection of what a pod sends leads.
    let loopback: IpAddr =
        if ours.is_ipv4() { Ipv4Addr::LOCALHOST.into() } else { Ipv6Addr::LOCALHOST.into() };
    if diag::is_connected(SocketAddr::new(loopback, OUTBOUND), ours).unwrap_or(false) {
        return Ok(true);
    }
    // It is not there, or the kernel cannot be asked for one: the list costs it milliseconds.
    Ok(tcp()?.iter().any(|socket| socket.local.port() == OUTBOUND && socket.remote == ours))
}
