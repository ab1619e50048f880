//! The agent's end of the socket, packet by packet.

use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::time::{Duration, Instant};

use adit_control::proto::istio::workload::zds::{
    AddWorkload, DelWorkload, KeepWorkload, SnapshotSent, Version, WorkloadInfo, WorkloadRequest,
    WorkloadResponse, ZdsHello, workload_request, workload_response,
};
use prost::Message as _;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags, Shutdown, SocketAddrUnix,
    SocketFlags, SocketType,
};

use super::{AgentError, LIMIT, Pod};

/// What the agent says; descriptors that go with it.
#[derive(Debug)]
pub struct Packet<'a> {
    /// The octets, well formed or not.
    pub octets: Vec<u8>,
    /// Namespaces.
    pub descriptors: Vec<BorrowedFd<'a>>,
}

impl<'a> Packet<'a> {
    fn of(payload: workload_request::Payload, descriptors: Vec<BorrowedFd<'a>>) -> Self {
        Self { octets: WorkloadRequest { payload: Some(payload) }.encode_to_vec(), descriptors }
    }

    /// `add`, with the pod's namespace; without one when it has none, which no agent sends.
    #[must_use]
    pub fn add(pod: &'a Pod) -> Self {
        let workload_info = WorkloadInfo {
            name: pod.name.clone(),
            namespace: pod.namespace.clone(),
            service_account: pod.service_account.clone(),
        };
        let add = AddWorkload { uid: pod.uid.clone(), workload_info: Some(workload_info) };
        let descriptors = pod.netns.iter().map(|netns| netns.as_fd()).collect();
        Self::of(workload_request::Payload::Add(add), descriptors)
    }

    /// `add` as agents before `workload_info` sent it.
    #[must_use]
    pub fn add_without_workload(pod: &'a Pod) -> Self {
        let add = AddWorkload { uid: pod.uid.clone(), workload_info: None };
        let descriptors = pod.netns.iter().map(|netns| netns.as_fd()).collect();
        Self::of(workload_request::Payload::Add(add), descriptors)
    }

    /// `keep`.
    #[must_use]
    pub fn keep(uid: &str) -> Self {
        Self::of(workload_request::Payload::Keep(KeepWorkload { uid: uid.into() }), Vec::new())
    }

    /// `del`.
    #[must_use]
    pub fn del(uid: &str) -> Self {
        Self::of(workload_request::Payload::Del(DelWorkload { uid: uid.into() }), Vec::new())
    }

    /// `snapshot_sent`.
    #[must_use]
    pub fn snapshot_sent() -> Self {
        Self::of(workload_request::Payload::SnapshotSent(SnapshotSent {}), Vec::new())
    }

    /// Octets that may be anything.
    #[must_use]
    pub fn raw(octets: impl Into<Vec<u8>>) -> Self {
        Self { octets: octets.into(), descriptors: Vec::new() }
    }

    /// The same with one more descriptor.
    #[must_use]
    pub fn with(mut self, descriptor: BorrowedFd<'a>) -> Self {
        self.descriptors.push(descriptor);
        self
    }
}

/// Where proxies connect.
#[derive(Debug)]
pub struct Listener(OwnedFd);

impl Listener {
    /// Listens at `path`, whatever file was there before.
    ///
    /// # Errors
    /// From the system, such as a folder that does not exist.
    pub fn bind(path: &Path) -> io::Result<Self> {
        match std::fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let flags = SocketFlags::CLOEXEC;
        let socket = rustix::net::socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None)?;
        rustix::net::bind(&socket, &SocketAddrUnix::new(path)?)?;
        rustix::net::listen(&socket, 16)?;
        Ok(Self(socket))
    }

    /// The next proxy; nothing is said yet.
    ///
    /// # Errors
    /// None comes within `limit`.
    pub fn accept(&self, limit: Duration) -> Result<Connection, AgentError> {
        readable(&self.0, limit)?;
        Ok(Connection(rustix::net::accept_with(&self.0, SocketFlags::CLOEXEC)?))
    }
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// A proxy's connection. Dropping it cuts it.
#[derive(Debug)]
pub struct Connection(OwnedFd);

impl Connection {
    /// Waits for the proxy's hello.
    ///
    /// # Errors
    /// None comes in time, or one of another version.
    pub fn hello(&self) -> Result<(), AgentError> {
        let octets = self.receive(LIMIT)?;
        match ZdsHello::decode(&*octets) {
            Ok(hello) if hello.version == i32::from(Version::V1) => Ok(()),
            other => Err(AgentError::Unexpected(format!("{other:?}"))),
        }
    }

    /// Sends a packet, and waits for nothing.
    ///
    /// # Errors
    /// It does not go out within 5 s.
    pub fn send(&self, packet: &Packet<'_>) -> Result<(), AgentError> {
        ready(&self.0, PollFlags::OUT, LIMIT)?;
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(16))];
        let mut ancillary = SendAncillaryBuffer::new(&mut space);
        if !packet.descriptors.is_empty() {
            assert!(ancillary.push(SendAncillaryMessage::ScmRights(&packet.descriptors)), "sixteen at most");
        }
        let flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
        match rustix::net::sendmsg(&self.0, &[IoSlice::new(&packet.octets)], &mut ancillary, flags) {
            Ok(_) => Ok(()),
            Err(Errno::PIPE | Errno::CONNRESET) => Err(AgentError::Closed),
            Err(errno) => Err(errno.into()),
        }
    }

    /// Waits for an ack.
    ///
    /// # Errors
    /// The ack has an error, or none comes within `limit`.
    pub fn ack(&self, limit: Duration) -> Result<(), AgentError> {
        let octets = self.receive(limit)?;
        let response = WorkloadResponse::decode(&*octets);
        match response.as_ref().map(|response| response.payload.as_ref()) {
            Ok(Some(workload_response::Payload::Ack(ack))) if ack.error.is_empty() => Ok(()),
            Ok(Some(workload_response::Payload::Ack(ack))) => Err(AgentError::Refused(ack.error.clone())),
            _ => Err(AgentError::Unexpected(format!("{response:?}"))),
        }
    }

    /// Sends a packet and waits for the ack.
    ///
    /// # Errors
    /// See [`send`](Self::send) and [`ack`](Self::ack).
    pub fn request(&self, packet: &Packet<'_>) -> Result<(), AgentError> {
        self.send(packet)?;
        self.ack(LIMIT)
    }

    /// Waits until the proxy closes the connection.
    ///
    /// # Errors
    /// It does not within `limit`, or says something instead.
    pub fn closed(&self, limit: Duration) -> Result<(), AgentError> {
        match self.receive(limit) {
            Err(AgentError::Closed) => Ok(()),
            Err(error) => Err(error),
            Ok(octets) => Err(AgentError::Unexpected(octets.escape_ascii().to_string())),
        }
    }

    /// Whether the proxy is still there and says nothing, as it should between requests.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        matches!(readable(&self.0, Duration::ZERO), Err(AgentError::Late(_)))
    }

    /// Ends the connection while others still hold it.
    pub fn cut(&self) {
        // It may be over already.
        let _ = rustix::net::shutdown(&self.0, Shutdown::Both);
    }

    fn receive(&self, limit: Duration) -> Result<Vec<u8>, AgentError> {
        readable(&self.0, limit)?;
        let mut octets = [0; adit_control::zds::MAX_PACKET];
        match rustix::net::recv(&self.0, &mut octets, RecvFlags::TRUNC | RecvFlags::DONTWAIT) {
            Ok((0, _)) | Err(Errno::CONNRESET) => Err(AgentError::Closed),
            Ok((taken, sent)) if taken == sent => Ok(octets[..taken].to_vec()),
            Ok((_, sent)) => Err(AgentError::Unexpected(format!("a packet of {sent} octets"))),
            Err(errno) => Err(errno.into()),
        }
    }
}

impl AsFd for Connection {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

fn readable(fd: impl AsFd, limit: Duration) -> Result<(), AgentError> {
    ready(fd, PollFlags::IN, limit)
}

fn ready(fd: impl AsFd, what: PollFlags, limit: Duration) -> Result<(), AgentError> {
    let end = Instant::now() + limit;
    loop {
        let left = end.saturating_duration_since(Instant::now());
        let timeout =
            Timespec { tv_sec: left.as_secs().cast_signed(), tv_nsec: i64::from(left.subsec_nanos()) };
        match poll(&mut [PollFd::new(&fd, what)], Some(&timeout)) {
            Ok(0) => return Err(AgentError::Late(limit)),
            Ok(_) => return Ok(()),
            Err(Errno::INTR) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
}
