//! The pods of a node (shared mode): which of them have a proxy, as the node's CNI agent tells it.

use core::fmt;

/// One proxy of one pod. Never used twice in a process: whatever is said late about an earlier proxy of the same pod cannot
/// be taken for news of the present one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ProxyId(u64);

impl fmt::Display for ProxyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "#{}", self.0)
    }
}

/// Which network namespace a file descriptor leads to (`fstat`). Unique as long as somebody holds the namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NetnsId {
    /// Device (`st_dev`).
    pub device: u64,
    /// Inode (`st_ino`).
    pub inode: u64,
}

impl fmt::Display for NetnsId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.device, self.inode)
    }
}
