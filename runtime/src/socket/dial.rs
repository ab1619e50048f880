//! Dialling: connecting without waiting, with the source address of somebody else when asked.
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsFd, OwnedFd};

use nix::sys::socket::sockopt::IpBindAddressNoPort;
use rustix::io::Errno;
use rustix::net::sockopt;
use socket2::{Domain, Protocol, SockRef, Socket, Type};

use super::options::set_transparent;
use super::{NetNs, SocketOptions, netns};

/// A connect that was begun.
pub(crate) enum Dialled {
    /// It is done already, as connects to this host are.
    Connected(OwnedFd),
    /// Once writable, [`is_connected`] knows how it went.
    Pending(OwnedFd),
}

/// Begins to connect to `to` from within `netns`, if possible from `source`. The socket has
/// no keepalive yet ([`SocketOptions::keep_alive`]).
pub(crate) fn dial(
    netns: Option<&NetNs>,
    to: SocketAddr,
    source: Option<IpAddr>,
    options: &SocketOptions,
) -> io::Result<Dialled> {
    let kind = Type::STREAM.nonblocking();
    let socket = netns::socket(netns, Domain::for_address(to), kind, Protocol::TCP)?;
    options.apply_to_dialled(&SockRef::from(&socket))?;
    // A source of the other family cannot be preserved at all.
    if let Some(source) = source.filter(|source| source.is_ipv4() == to.is_ipv4())
        && let Err(error) = bind_source(&socket, source)
    {
        tracing::warn!(%error, %source, %to, "cannot preserve the source address; connecting with our own");
    }
    match socket.connect(&to.into()) {
        Err(error) if Errno::from_io_error(&error) != Some(Errno::INPROGRESS) => return Err(error),
        // Within a host, and so to every workload of ours, the handshake is over by now although the call says that it
        // is under way: asking saves a turn of the event loop.
        Ok(()) | Err(_) => {}
    }
    let connected = is_connected(&socket)?;
    let fd = socket.into();
    Ok(if connected { Dialled::Connected(fd) } else { Dialled::Pending(fd) })
}

fn bind_source(socket: &Socket, source: IpAddr) -> io::Result<()> {
    // Which implies what `IP_FREEBIND` allows.
    set_transparent(&SockRef::from(socket), source)?;
    choose_port_late(socket);
    socket.bind(&SocketAddr::new(source, 0).into())
}

/// Leaves the choice of the source port to connect, which lets connections to different destinations share one. Bind
/// takes a port for itself: a client with as many connections as there are ports, counting those in TIME_WAIT, would
/// lose its address, and long before that each search for a free port takes milliseconds.
fn choose_port_late(socket: &Socket) {
    if let Err(error) = nix::sys::socket::setsockopt(socket, IpBindAddressNoPort, &true) {
        tracing::trace!(%error, "failed to set IP_BIND_ADDRESS_NO_PORT");
    }
}

/// Whether a connect is done; false while it is under way.
///
/// # Errors
/// It failed.
pub(crate) fn is_connected(fd: impl AsFd) -> io::Result<bool> {
    match rustix::net::getpeername(&fd) {
        Ok(_) => Ok(true),
        Err(Errno::NOTCONN) => {
            // Either it failed, or it is not decided.
            sockopt::socket_error(fd)??;
            Ok(false)
        }
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::super::local_addr;
    use super::*;
    use std::net::TcpListener;

    fn finish(dialled: Dialled) -> io::Result<SocketAddr> {
        let fd = match dialled {
            Dialled::Connected(fd) | Dialled::Pending(fd) => fd,
        };
        let mut poll = [rustix::event::PollFd::new(&fd, rustix::event::PollFlags::OUT)];
        rustix::event::poll(&mut poll, None)?;
        assert!(is_connected(&fd)?, "writable, so it is decided");
        local_addr(&fd)
    }

    #[test]
    fn a_dial_ends_connected_or_refused() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let local = finish(dial(None, address, None, &SocketOptions::default()).unwrap()).unwrap();
        assert_eq!(local, listener.accept().unwrap().1);

        drop(listener);
        let refused = dial(None, address, None, &SocketOptions::default()).and_then(finish).unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused);
    }

    // datapath §1.8. Marks need `CAP_NET_ADMIN`; without it there is nothing to see.
    #[test]
    fn dialled_sockets_carry_the_mark_and_share_no_port() {
        let options = SocketOptions { mark: Some(0x539), ..SocketOptions::default() };
        for address in ["127.0.0.1:0", "[::1]:0"] {
            let Ok(listener) = TcpListener::bind(address) else { continue };
            let Ok(dialled) = dial(None, listener.local_addr().unwrap(), None, &options) else { continue };
            let (Dialled::Connected(fd) | Dialled::Pending(fd)) = dialled;
            let socket = SockRef::from(&fd);
            assert_eq!((socket.mark().unwrap(), socket.reuse_port().unwrap()), (0x539, false), "{address}");
        }
    }

    #[test]
    fn a_bound_address_takes_no_port_before_it_connects() {
        let listener = TcpListener::bind("[::1]:0").or_else(|_| TcpListener::bind("127.0.0.1:0")).unwrap();
        let address = listener.local_addr().unwrap();
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, None).unwrap();
        choose_port_late(&socket);
        socket.bind(&SocketAddr::new(address.ip(), 0).into()).unwrap();
        assert_eq!(local_addr(&socket).unwrap(), SocketAddr::new(address.ip(), 0));
        socket.connect(&address.into()).unwrap();
        assert_eq!(listener.accept().unwrap().1, local_addr(&socket).unwrap());
    }

    #[test]
    fn a_source_that_cannot_be_had_does_not_prevent_the_connection() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        for source in ["127.0.0.5", "fd00::1"] {
            let source: IpAddr = source.parse().unwrap();
            finish(dial(None, address, Some(source), &SocketOptions::default()).unwrap()).unwrap();
            listener.accept().unwrap();
        }
    }
}
