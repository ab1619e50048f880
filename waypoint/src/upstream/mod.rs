//! Connections to endpoints: one or many requests each, kept while they may serve again.
mod connect;
mod count;
mod link;
mod pool;
mod tls;
mod way;

pub(crate) use self::connect::{SendFailed, UpstreamVersion, dial};
pub(crate) use self::link::Link;
pub(crate) use self::pool::{Lease, LeaseFailed, Pool, PoolKey};
pub(crate) use self::tls::TlsConfigs;
pub(crate) use self::way::Way;
