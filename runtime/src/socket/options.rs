//! The options sockets get before they are used.
use std::io;
use std::net::IpAddr;
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};

/// TCP keepalive (Istio: `KEEPALIVE_ENABLED`, `KEEPALIVE_TIME`, `KEEPALIVE_INTERVAL`, `KEEPALIVE_RETRIES`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Keepalive {
    /// Idle time before the first probe.
    pub time: Duration,
    /// Time between probes.
    pub interval: Duration,
    /// Probes without an answer after which the connection is dead.
    pub retries: u32,
}

impl Default for Keepalive {
    fn default() -> Self {
        Self { time: Duration::from_secs(180), interval: Duration::from_secs(180), retries: 9 }
    }
}

/// Options of every TCP socket of the proxy, accepted and dialled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SocketOptions {
    /// `TCP_NODELAY`: the proxy batches by itself.
    pub nodelay: bool,
    /// Keepalive, if any.
    pub keepalive: Option<Keepalive>,
    /// `TCP_USER_TIMEOUT` of `time + retries × interval` of the keepalive (Istio: `USER_TIMEOUT_ENABLED`); nothing
    /// without keepalive.
    pub user_timeout: bool,
    /// `SO_MARK` (Istio: `PACKET_MARK`), which keeps redirection rules from catching our own packets. Needs
    /// `CAP_NET_ADMIN`.
    pub mark: Option<u32>,
}

impl Default for SocketOptions {
    fn default() -> Self {
        Self { nodelay: true, keepalive: Some(Keepalive::default()), user_timeout: false, mark: None }
    }
}

impl SocketOptions {
    /// How long data may stay unacknowledged: what keepalive would need to find a dead peer.
    fn user_timeout(&self) -> Option<Duration> {
        let keepalive = self.keepalive.filter(|_| self.user_timeout)?;
        Some(keepalive.time.saturating_add(keepalive.interval.saturating_mul(keepalive.retries)))
    }

    /// Sets the options. On a listening socket they are inherited by what it accepts (Linux), which spares every
    /// accepted connection these calls.
    ///
    /// # Errors
    /// Only from `SO_MARK`, since without it traffic loops; everything else is a matter of comfort and only logged.
    pub(crate) fn apply(&self, socket: &SockRef<'_>) -> io::Result<()> {
        self.apply_to_dialled(socket)?;
        self.keep_alive(socket);
        Ok(())
    }

    /// Sets all options but keepalive, which can wait until the connection has lasted a while.
    ///
    /// # Errors
    /// As [`apply`](Self::apply).
    pub(crate) fn apply_to_dialled(&self, socket: &SockRef<'_>) -> io::Result<()> {
        if let Some(mark) = self.mark {
            socket.set_mark(mark)?;
        }
        log_failure(socket.set_tcp_nodelay(self.nodelay));
        if let Some(timeout) = self.user_timeout() {
            log_failure(socket.set_tcp_user_timeout(Some(timeout)));
        }
        Ok(())
    }

    /// Takes back what may have been set by a process with other options. What cannot be set cannot have been.
    pub(crate) fn clear(socket: &SockRef<'_>) {
        let _ = socket.set_mark(0);
        log_failure(socket.set_keepalive(false));
        log_failure(socket.set_tcp_user_timeout(None));
    }

    /// Turns keepalive on, if it is wanted.
    pub(crate) fn keep_alive(&self, socket: &SockRef<'_>) {
        if let Some(keepalive) = self.keepalive {
            let parameters = TcpKeepalive::new()
                .with_time(keepalive.time)
                .with_interval(keepalive.interval)
                .with_retries(keepalive.retries);
            log_failure(socket.set_tcp_keepalive(&parameters));
        }
    }
}

/// A socket goes on without an option that is a matter of comfort.
fn log_failure(result: io::Result<()>) {
    if let Err(error) = result {
        tracing::trace!(%error, "failed to set TCP options");
    }
}

/// Whether listeners are made transparent, so that source addresses can be preserved (Istio: `ENABLE_ORIG_SRC`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Transparency {
    /// Unset: try; failure only means that sources are not preserved.
    #[default]
    Try,
    /// `true`: failure to get it is fatal.
    Force,
    /// `false`: do not try.
    Never,
}

/// `IP_TRANSPARENT` in the family of `ip`; needs `CAP_NET_ADMIN`.
///
/// A dual-stack listener takes both, as it accepts from both.
pub(crate) fn set_transparent(socket: &SockRef<'_>, ip: IpAddr) -> io::Result<()> {
    match ip {
        IpAddr::V4(_) => socket.set_ip_transparent_v4(true),
        IpAddr::V6(ip) if ip.is_unspecified() => {
            socket.set_ip_transparent_v4(true)?;
            socket.set_ip_transparent_v6(true)
        }
        IpAddr::V6(_) => socket.set_ip_transparent_v6(true),
    }
}

/// Takes back `IP_TRANSPARENT`, in either family that the socket has.
pub(crate) fn clear_transparent(socket: &SockRef<'_>) {
    let _ = socket.set_ip_transparent_v4(false);
    let _ = socket.set_ip_transparent_v6(false);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn user_timeout_is_what_keepalive_needs() {
        let on = SocketOptions { user_timeout: true, ..SocketOptions::default() };
        assert_eq!(on.user_timeout(), Some(Duration::from_secs(180 + 9 * 180)));
        assert_eq!(SocketOptions::default().user_timeout(), None);
        assert_eq!(SocketOptions { keepalive: None, ..on }.user_timeout(), None);
    }
}
