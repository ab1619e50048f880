//! The pages of a process: readiness, metrics, admin.
use std::io::ErrorKind;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use adit_ops::http::{Endpoint, Handler, ServerError, ServerThread};
use adit_ops::readiness::Readiness;

use crate::config::Config;
use crate::handover::Sockets;

/// Readiness, metrics and admin pages, on a thread of their own. `metrics` answers for the page of that name.
///
/// # Errors
/// An address cannot be used, or the thread cannot be started.
pub fn serve(
    config: &Config,
    readiness: Readiness,
    metrics: Arc<dyn Handler>,
    admin: Arc<dyn Handler>,
    sockets: &mut Sockets,
) -> Result<ServerThread, ServerError> {
    let mut page = |address, handler| {
        let listener = sockets.tcp(address).map_err(|cause| ServerError::Bind { address, cause })?;
        Endpoint::on(listener, address, handler)
    };
    let mut pages = vec![
        page(config.listen.readiness, Arc::new(readiness))?,
        page(config.listen.stats, metrics)?,
        page(config.listen.admin, Arc::clone(&admin))?,
    ];
    pages.extend(admin_on_ipv6(config, &pages, |address| page(address, admin))?);
    ServerThread::start("adit-pages", pages)
}

/// The admin pages on `::1` as well, where they are on `127.0.0.1` and this machine has the other.
fn admin_on_ipv6(
    config: &Config,
    pages: &[Endpoint],
    bind: impl FnOnce(SocketAddr) -> Result<Endpoint, ServerError>,
) -> Result<Option<Endpoint>, ServerError> {
    if !config.listen.ipv6 || config.listen.admin.ip() != Ipv4Addr::LOCALHOST {
        return Ok(None);
    }
    let port = pages.last().map_or_else(|| config.listen.admin.port(), |admin| admin.address().port());
    match bind((Ipv6Addr::LOCALHOST, port).into()) {
        // `EADDRNOTAVAIL`, and `EAFNOSUPPORT` where the kernel has no IPv6.
        Err(ServerError::Bind { cause, .. })
            if matches!(cause.kind(), ErrorKind::AddrNotAvailable | ErrorKind::Unsupported) =>
        {
            Ok(None)
        }
        bound => bound.map(Some),
    }
}
