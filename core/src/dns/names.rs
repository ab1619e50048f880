//! Looking a host name up for ourselves: by whose meaning, and why there is no address.

/// By whose meaning a name is looked up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum NameScope {
    /// As the local workload's own questions are answered: first by the mesh, then by name servers. For names that a
    /// client gave us (SOCKS5, datapath §1.7).
    Workload,
    /// By name servers only. For hostnames that the mesh itself gives for a workload (datapath §2.5): their own service
    /// may bear the same name, and its virtual address is where the client came from.
    Outside,
    /// By name servers only, with the machine's search domains. For the servers that this process itself needs, before
    /// there is a mesh.
    Machine,
}

/// Why a name has no address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum NameError {
    /// This process looks no names up.
    #[error("no resolver: this proxy was started without one, so use an address")]
    NoResolver,
    /// No name of a host.
    #[error("not a host name: labels of 1 to 63 printable ASCII characters, 253 in all")]
    Invalid,
    /// The name servers say that there is no such name.
    #[error("no such name (NXDOMAIN)")]
    NotFound,
    /// The name exists, but has no A or AAAA record that can be used.
    #[error("the name has no A or AAAA record")]
    NoAddress,
    /// The name servers failed, or refused to answer.
    #[error("the name servers cannot answer (SERVFAIL, REFUSED or the like)")]
    ServerFailure,
    /// Nobody answered in time.
    #[error("no answer in time: are the name servers of resolv.conf reachable?")]
    TimedOut,
    /// As many names as may be are being looked up.
    #[error("too many names are being looked up: are the name servers of resolv.conf reachable?")]
    Busy,
    /// Whoever was to answer has ended, or gave the question up.
    #[error("the resolver gave the question up")]
    GivenUp,
}
