//! Packets with descriptors between an old and a new process: `SOCK_SEQPACKET`, `SCM_RIGHTS`, bodies by postcard.
use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::time::Duration;

use adit_core::inpod::NetnsId;
use rustix::net::sockopt::{Timeout, set_socket_timeout, socket_peercred};
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketAddrUnix, SocketFlags, SocketType,
};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::Endpoint;

/// Of the conversation. Another version is refused, and then each process binds for itself.
pub(super) const VERSION: u8 = 1;
/// Sockets in one packet; the kernel takes 253.
pub(super) const BATCH: usize = 64;
/// Octets of the largest packet: a label has fewer than 40.
const MAX_PACKET: usize = 4096;

/// What a new process asks.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Question {
    pub(super) version: u8,
    pub(super) namespace: NetnsId,
}

/// Part of the answer; the descriptors come with it, in the same order.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Answer {
    pub(super) version: u8,
    pub(super) endpoints: Vec<Endpoint>,
    /// Nothing follows.
    pub(super) last: bool,
}

fn socket() -> io::Result<OwnedFd> {
    let kind = SocketType::SEQPACKET;
    Ok(rustix::net::socket_with(AddressFamily::UNIX, kind, SocketFlags::CLOEXEC, None)?)
}

/// A socket that listens at `path`, which must be free.
pub(super) fn listen(path: &Path) -> io::Result<OwnedFd> {
    let socket = socket()?;
    // The path gets the socket's own mode, for nobody else.
    rustix::fs::fchmod(&socket, rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR)?;
    rustix::net::bind(&socket, &SocketAddrUnix::new(path)?)?;
    rustix::net::listen(&socket, 16)?;
    Ok(socket)
}

pub(super) fn accept(listener: &OwnedFd) -> io::Result<OwnedFd> {
    Ok(rustix::net::accept_with(listener, SocketFlags::CLOEXEC)?)
}

/// Connects; neither that nor what follows stands still for longer than `patience`.
pub(super) fn connect(path: &Path, patience: Duration) -> io::Result<OwnedFd> {
    let socket = socket()?;
    set_socket_timeout(&socket, Timeout::Recv, Some(patience))?;
    set_socket_timeout(&socket, Timeout::Send, Some(patience))?;
    rustix::net::connect(&socket, &SocketAddrUnix::new(path)?)?;
    Ok(socket)
}

/// As which user the other side runs.
pub(super) fn peer(socket: &OwnedFd) -> io::Result<u32> {
    Ok(socket_peercred(socket)?.uid.as_raw())
}

pub(super) fn send(
    socket: &OwnedFd,
    body: &impl Serialize,
    descriptors: &[BorrowedFd<'_>],
) -> io::Result<()> {
    let body = postcard::to_allocvec(body).map_err(io::Error::other)?;
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(BATCH))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    if !descriptors.is_empty() && !ancillary.push(SendAncillaryMessage::ScmRights(descriptors)) {
        return Err(io::Error::other("too many descriptors for a packet"));
    }
    rustix::net::sendmsg(socket, &[IoSlice::new(&body)], &mut ancillary, SendFlags::NOSIGNAL)?;
    Ok(())
}

/// The next packet; the end of the conversation is an error.
pub(super) fn receive<T: DeserializeOwned>(socket: impl AsFd) -> io::Result<(T, Vec<OwnedFd>)> {
    let mut octets = [0; MAX_PACKET];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(BATCH))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let areas = &mut [IoSliceMut::new(&mut octets)];
    let received = rustix::net::recvmsg(socket, areas, &mut ancillary, RecvFlags::CMSG_CLOEXEC)?;
    // First, so that descriptors are closed whatever else is wrong.
    let mut descriptors = Vec::new();
    for message in ancillary.drain() {
        if let RecvAncillaryMessage::ScmRights(sent) = message {
            descriptors.extend(sent);
        }
    }
    let invalid = |what: &'static str| io::Error::new(io::ErrorKind::InvalidData, what);
    if received.bytes == 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    if received.flags.intersects(ReturnFlags::TRUNC | ReturnFlags::CTRUNC) {
        return Err(invalid("a packet is too long"));
    }
    let body = octets.get(..received.bytes).unwrap_or_default();
    let body = postcard::from_bytes(body).map_err(|_| invalid("a packet cannot be understood"))?;
    Ok((body, descriptors))
}
