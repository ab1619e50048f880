//! Asking the kernel for one TCP socket by its addresses (sock_diag(7)): a look into a hash table, where listing sockets walks
//! all those of the machine.
use std::io;
use std::net::{IpAddr, SocketAddr};

use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, netlink, recv, send, socket_with,
};

/// `SOCK_DIAG_BY_FAMILY`, of requests and answers.
const BY_FAMILY: u16 = 20;
/// `NLM_F_REQUEST`, without `NLM_F_DUMP`: one socket.
const REQUEST: u16 = 1;
const TCP: u8 = 6;
/// `TCP_LISTEN`: what the kernel finds when there is no connection, but somebody who would take one.
const LISTEN: u8 = 10;
/// `struct nlmsghdr`.
const HEAD: usize = 16;

/// Whether the namespace of this thread has a socket at `local` that is connected to `remote`; both are of one family.
///
/// # Errors
/// The kernel cannot be asked so.
pub(super) fn is_connected(local: SocketAddr, remote: SocketAddr) -> io::Result<bool> {
    let flags = SocketFlags::CLOEXEC;
    let protocol = Some(netlink::SOCK_DIAG);
    let socket = socket_with(AddressFamily::NETLINK, SocketType::RAW, flags, protocol)?;
    send(&socket, &request(local, remote), SendFlags::empty())?;
    let mut answer = [0; 1024];
    // The kernel has answered within the call before.
    let (length, _) = recv(&socket, &mut answer, RecvFlags::DONTWAIT)?;
    parse(&answer[..length])
}

/// `struct nlmsghdr` and `struct inet_diag_req_v2`.
fn request(local: SocketAddr, remote: SocketAddr) -> Vec<u8> {
    let family = if local.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let family = u8::try_from(family.as_raw()).unwrap_or_default();
    // No extensions; any state.
    let mut body = vec![family, TCP, 0, 0, 0xff, 0xff, 0xff, 0xff];
    body.extend([local, remote].map(|address| address.port().to_be_bytes()).concat());
    body.extend([local, remote].map(|address| octets(address.ip())).concat());
    // Any interface, any cookie.
    body.extend([[0; 4], [0xff; 4], [0xff; 4]].concat());
    let length = u32::try_from(HEAD + body.len()).unwrap_or_default();
    // Sequence and port are of no use: there is one request.
    let head = [&length.to_ne_bytes()[..], &BY_FAMILY.to_ne_bytes(), &REQUEST.to_ne_bytes(), &[0; 8]];
    [&head.concat()[..], &body].concat()
}

fn octets(address: IpAddr) -> [u8; 16] {
    let mut octets = [0; 16];
    match address {
        IpAddr::V4(address) => octets[..4].copy_from_slice(&address.octets()),
        IpAddr::V6(address) => octets = address.octets(),
    }
    octets
}

/// Reads a `struct inet_diag_msg`, or an error.
fn parse(answer: &[u8]) -> io::Result<bool> {
    let kind = answer.get(4..6).and_then(|octets| octets.try_into().ok()).map(u16::from_ne_bytes);
    let body = answer.get(HEAD..).unwrap_or_default();
    match (kind, body) {
        (Some(BY_FAMILY), [_family, state, ..]) => Ok(*state != LISTEN),
        // `NLMSG_ERROR`: its number, negative.
        (Some(2), [a, b, c, d, ..]) => {
            let errno = Errno::from_raw_os_error(i32::from_ne_bytes([*a, *b, *c, *d]).saturating_neg());
            if errno == Errno::NOENT { Ok(false) } else { Err(errno.into()) }
        }
        _ => Err(io::ErrorKind::InvalidData.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{TcpListener, TcpStream};

    /// A kernel without sock_diag says that nothing is there; then there is nothing to see here.
    #[test]
    fn a_connection_is_found_by_its_addresses() {
        for address in ["127.0.0.1:0", "[::1]:0"] {
            let Ok(listener) = TcpListener::bind(address) else { continue };
            let listens = listener.local_addr().unwrap();
            let client = TcpStream::connect(listens).unwrap();
            let ours = client.local_addr().unwrap();
            let Ok(true) = is_connected(ours, listens) else { continue };
            assert!(is_connected(listens, ours).unwrap());
            // The listener would take it, but there is none.
            let nobody = SocketAddr::new(ours.ip(), 9);
            assert!(!is_connected(listens, nobody).unwrap());
            assert!(!is_connected(nobody, ours).unwrap());
        }
    }

    #[test]
    fn what_is_no_answer_is_an_error() {
        let answer = |kind: u16, body: &[u8]| {
            parse(&[&[0; 4][..], &kind.to_ne_bytes(), &[0; 10], body].concat()).map_err(|error| error.kind())
        };
        assert_eq!(answer(BY_FAMILY, &[2, 1, 0, 0]), Ok(true));
        assert_eq!(answer(BY_FAMILY, &[2, LISTEN, 0, 0]), Ok(false));
        assert_eq!(answer(2, &(-2_i32).to_ne_bytes()), Ok(false));
        assert_eq!(answer(2, &(-1_i32).to_ne_bytes()), Err(io::ErrorKind::PermissionDenied));
        for (kind, body) in [(2, &[0; 3][..]), (BY_FAMILY, &[2]), (3, &[0; 8])] {
            assert_eq!(answer(kind, body), Err(io::ErrorKind::InvalidData), "{kind} {body:?}");
        }
        assert_eq!(parse(&[]).map_err(|error| error.kind()), Err(io::ErrorKind::InvalidData));
    }
}
