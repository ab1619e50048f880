//! Connections to endpoints: one or many requests each, kept while they may serve again.
mod connect;
mod pool;

pub(crate) use self::connect::{SendFailed, UpstreamVersion, dial};
pub(crate) use self::pool::{Lease, Pool, PoolKey};
