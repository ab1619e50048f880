//! DNS in a pod: questions come in through its namespace, and what the mesh does not know leaves through it again.
use std::io;
use std::net::{SocketAddr, UdpSocket};

use adit_control::dns::{Direct, Egress};
use adit_runtime::NetNs;
use socket2::Socket;

/// Sockets to name servers, made in a pod's network namespace.
#[derive(Clone, Debug)]
pub(crate) struct FromPod {
    /// The pod's.
    pub(crate) netns: NetNs,
    /// How they are made there.
    pub(crate) direct: Direct,
}

impl Egress for FromPod {
    fn udp(&self, server: SocketAddr) -> io::Result<UdpSocket> {
        self.netns.enter(|| self.direct.udp(server))?
    }

    fn tcp(&self, server: SocketAddr) -> io::Result<Socket> {
        self.netns.enter(|| self.direct.tcp(server))?
    }
}
