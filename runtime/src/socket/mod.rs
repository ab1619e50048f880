//! System calls on sockets, and the options every socket gets (Istio: the node proxy's socket contract).
mod dial;
mod limits;
mod listen;
mod netns;
mod options;
mod pod_access;

use std::io::{self, IoSlice, IoSliceMut};
use std::net::{IpAddr, SocketAddr};
use std::os::fd::AsFd;

use adit_core::proxy::SocketError;
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, Shutdown, SocketAddrAny};

pub(crate) use dial::{Dialled, dial, is_connected};
pub use limits::{FdLimit, raise_fd_limit};
pub(crate) use listen::{Accepted, BACKLOG};
pub use listen::{BindError, BoundListener, ListenerSpec, wildcard};
pub use netns::NetNs;
pub use options::{Keepalive, SocketOptions, Transparency};
pub use pod_access::{PodAccessError, check_pod_access};

/// Reads into `areas` in order: one system call.
pub(crate) fn read(fd: impl AsFd, areas: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
    match areas {
        // The plain call is the cheaper one for the kernel.
        [area] => Ok(rustix::net::recv(fd, &mut **area, RecvFlags::empty())?.0),
        areas => Ok(rustix::io::readv(fd, areas)?),
    }
}

/// Writes `slices` in order: one system call.
pub(crate) fn write(fd: impl AsFd, slices: &[IoSlice<'_>]) -> io::Result<usize> {
    match slices {
        [slice] => Ok(rustix::net::send(fd, slice, SendFlags::NOSIGNAL)?),
        slices => Ok(rustix::io::writev(fd, slices)?),
    }
}

/// Sends FIN. That the peer was faster with a reset is no news.
pub(crate) fn shutdown_write(fd: impl AsFd) {
    let _ = rustix::net::shutdown(fd, Shutdown::Write);
}

/// Makes the `close` that follows send RST and discard what is queued.
pub(crate) fn reset_on_close(fd: impl AsFd) {
    let _ = rustix::net::sockopt::set_socket_linger(fd, Some(std::time::Duration::ZERO));
}

/// Takes the error that waits on a socket (`SO_ERROR`), such as a reset that nobody has read.
pub(crate) fn error(fd: impl AsFd) -> Option<io::Error> {
    match rustix::net::sockopt::socket_error(fd) {
        Ok(Ok(())) => None,
        Ok(Err(errno)) | Err(errno) => Some(errno.into()),
    }
}

/// The local address, v4-mapped addresses as v4.
pub(crate) fn local_addr(fd: impl AsFd) -> io::Result<SocketAddr> {
    internet(rustix::net::getsockname(fd)?)
}

/// Translates an address of the kernel's, v4-mapped addresses to v4.
pub(crate) fn internet(address: SocketAddrAny) -> io::Result<SocketAddr> {
    Ok(canonical(SocketAddr::try_from(address)?))
}

/// v4-mapped IPv6 as IPv4: a dual-stack listener shows IPv4 peers in the mapped form.
pub(crate) fn canonical(address: SocketAddr) -> SocketAddr {
    match address.ip().to_canonical() {
        IpAddr::V4(ip) => SocketAddr::new(IpAddr::V4(ip), address.port()),
        IpAddr::V6(_) => address,
    }
}

/// What matters to the core about a failed system call.
pub(crate) fn socket_error(error: &io::Error) -> SocketError {
    let errno = Errno::from_io_error(error);
    match (errno, error.kind()) {
        (Some(Errno::CONNRESET | Errno::PIPE), _)
        | (None, io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe) => SocketError::Reset,
        (Some(Errno::CONNREFUSED), _) | (None, io::ErrorKind::ConnectionRefused) => SocketError::Refused,
        (Some(Errno::TIMEDOUT), _) => SocketError::TimedOut,
        (Some(Errno::HOSTUNREACH | Errno::NETUNREACH), _) => SocketError::Unreachable,
        (Some(errno), _) => SocketError::Other(errno.raw_os_error()),
        (None, _) => SocketError::Other(Errno::IO.raw_os_error()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_keep_what_matters() {
        let of = |errno: Errno| socket_error(&errno.into());
        assert_eq!(of(Errno::PIPE), SocketError::Reset);
        assert_eq!(of(Errno::CONNRESET), SocketError::Reset);
        assert_eq!(of(Errno::CONNREFUSED), SocketError::Refused);
        assert_eq!(of(Errno::TIMEDOUT), SocketError::TimedOut);
        assert_eq!(of(Errno::NETUNREACH), SocketError::Unreachable);
        assert_eq!(of(Errno::HOSTUNREACH), SocketError::Unreachable);
        assert_eq!(of(Errno::NOBUFS), SocketError::Other(Errno::NOBUFS.raw_os_error()));
        assert_eq!(socket_error(&io::ErrorKind::ConnectionReset.into()), SocketError::Reset);
    }

    #[test]
    fn mapped_addresses_become_v4() {
        let mapped: SocketAddr = "[::ffff:10.0.0.1]:80".parse().unwrap();
        assert_eq!(canonical(mapped), "10.0.0.1:80".parse().unwrap());
        let plain: SocketAddr = "[fd00::1]:80".parse().unwrap();
        assert_eq!(canonical(plain), plain);
    }
}
