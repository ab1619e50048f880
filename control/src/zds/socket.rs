//! The agent's socket: packets with file descriptors (interfaces §3.1).

use std::io::{self, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::sync::Arc;

use adit_core::inpod::{Message, NetnsId};
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendFlags,
    SocketAddrUnix, SocketFlags, SocketType,
};
use tokio::io::Interest;
use tokio::net::UnixDatagram;

use super::packet::{self, MAX_PACKET, PacketError};

/// A network namespace, as its holders share it.
pub(super) type Netns = Arc<OwnedFd>;

/// A connection to the agent. Tokio has no type for packets with connections; of the one for packets without only its
/// readiness is used, which is the same for both.
#[derive(Debug)]
pub(super) struct Socket(UnixDatagram);

impl Socket {
    /// Connects without waiting: a local socket is taken at once or not at all. On a tokio runtime.
    pub(super) fn connect(path: &Path) -> io::Result<Self> {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let socket = rustix::net::socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None)?;
        rustix::net::connect(&socket, &SocketAddrUnix::new(path)?)?;
        Ok(Self(UnixDatagram::from_std(socket.into())?))
    }

    /// Sends a packet. An agent that keeps to one request at a time always has room for the answer.
    pub(super) fn send(&self, packet: &[u8]) -> io::Result<()> {
        rustix::net::send(&self.0, packet, SendFlags::NOSIGNAL)?;
        Ok(())
    }

    /// The next message; `None` when the agent has closed the connection. May be dropped and called again.
    pub(super) async fn receive(&self) -> io::Result<Option<Message<Netns>>> {
        self.0.async_io(Interest::READABLE, || receive(self.0.as_fd())).await
    }
}

fn receive(socket: BorrowedFd<'_>) -> io::Result<Option<Message<Netns>>> {
    let mut octets = [0; MAX_PACKET];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let received = rustix::net::recvmsg(
        socket,
        &mut [IoSliceMut::new(&mut octets)],
        &mut ancillary,
        RecvFlags::CMSG_CLOEXEC | RecvFlags::DONTWAIT,
    )?;
    // Taken first: whatever else is wrong, descriptors that came are closed.
    let mut descriptors = Vec::new();
    for message in ancillary.drain() {
        if let RecvAncillaryMessage::ScmRights(sent) = message {
            descriptors.extend(sent);
        }
    }
    if received.bytes == 0 {
        return Ok(None);
    }
    let message = if received.flags.contains(ReturnFlags::TRUNC) {
        Err(PacketError::TooLong)
    } else if received.flags.contains(ReturnFlags::CTRUNC) {
        Err(PacketError::DescriptorsCut)
    } else {
        namespaces(descriptors)
            .and_then(|found| packet::request(octets.get(..received.bytes).unwrap_or_default(), found))
    };
    Ok(Some(message.unwrap_or_else(|error| Message::Invalid(error.to_string().into()))))
}

fn namespaces(descriptors: Vec<OwnedFd>) -> Result<Vec<(NetnsId, Netns)>, PacketError> {
    let identified = descriptors.into_iter().map(|fd| Ok((identify(&fd)?, Arc::new(fd))));
    let identified: io::Result<Vec<_>> = identified.collect();
    identified.map_err(|error| PacketError::Stat(error.to_string().into()))
}

/// Which network namespace `fd` leads to.
fn identify(fd: impl AsFd) -> io::Result<NetnsId> {
    let stat = rustix::fs::fstat(fd)?;
    Ok(NetnsId { device: stat.st_dev, inode: stat.st_ino })
}

/// The network namespace that this process was started in.
///
/// # Errors
/// It cannot be looked at.
pub fn own_netns() -> io::Result<NetnsId> {
    identify(std::fs::File::open("/proc/self/ns/net")?)
}
