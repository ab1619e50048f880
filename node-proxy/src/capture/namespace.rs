//! Entering a network namespace, and which address families it has.
use std::fs::{self, File};
use std::os::fd::{AsFd, BorrowedFd};
use std::panic::resume_unwind;
use std::path::Path;
use std::{io, thread};

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use super::error::CaptureError;

/// What a namespace has of IPv6.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Ipv6 {
    /// Nothing: the kernel runs without it.
    Absent,
    /// It is switched off on the loopback interface, so that there can be no route by it.
    NotOnLoopback,
    /// Everything.
    Present,
}

impl Ipv6 {
    /// What the namespace of this thread has.
    #[must_use]
    pub fn here() -> Self {
        // /proc/net would be that of the process's first thread.
        if !Path::new("/proc/thread-self/net/if_inet6").exists() {
            return Self::Absent;
        }
        match fs::read_to_string("/proc/sys/net/ipv6/conf/lo/disable_ipv6") {
            Ok(text) if text.trim() == "1" => Self::NotOnLoopback,
            _ => Self::Present,
        }
    }
}

/// Runs `work` in the namespace of the file `path`, or right here.
///
/// # Errors
/// There is no such namespace, or it may not be entered.
pub fn within<T: Send>(path: Option<&Path>, work: impl FnOnce() -> T + Send) -> Result<T, CaptureError> {
    let Some(path) = path else { return Ok(work()) };
    let failed =
        |cause: io::Error| CaptureError::Namespace { path: path.to_owned(), cause: cause.to_string() };
    let file = File::open(path).map_err(failed)?;
    match thread::scope(|scope| scope.spawn(|| entered(file.as_fd(), work)).join()) {
        Ok(done) => done.map_err(failed),
        Err(panic) => resume_unwind(panic),
    }
}

/// Moves this thread into `namespace`, for good, and does the work there.
pub(crate) fn entered<T>(namespace: BorrowedFd<'_>, work: impl FnOnce() -> T) -> io::Result<T> {
    move_into_link_name_space(namespace, Some(LinkNameSpaceType::Network))?;
    Ok(work())
}
