//! Process limits on descriptors.
use std::io;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// The descriptor limit before and after [`raise_fd_limit`]; `None` is unlimited.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FdLimit {
    /// The soft limit found.
    pub before: Option<u64>,
    /// The soft limit now.
    pub now: Option<u64>,
}

/// Raises the soft limit of open descriptors to the hard limit: every connection of the proxy is at least one.
///
/// # Errors
/// The system refuses.
pub fn raise_fd_limit() -> io::Result<FdLimit> {
    let found = getrlimit(Resource::Nofile);
    if found.current != found.maximum {
        setrlimit(Resource::Nofile, Rlimit { current: found.maximum, maximum: found.maximum })?;
    }
    Ok(FdLimit { before: found.current, now: found.maximum })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_soft_limit_becomes_the_hard_limit() {
        let limit = raise_fd_limit().unwrap();
        let found = getrlimit(Resource::Nofile);
        assert_eq!(limit.now, found.maximum);
        assert_eq!(found.current, found.maximum);
    }
}
