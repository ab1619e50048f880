//! What is told of HTTP traffic at a waypoint: one record per request, and the metrics, log lines and spans made of it.
//!
//! ```text
//!   data plane ── Exchange (borrowed, made when a request ends) ──▶ metrics (series by label set)
//!                                                              ├──▶ log (one line)
//!                                                              └──▶ trace ──▶ OTLP exporter
//! ```
mod attributes;
pub mod log;
mod messages;
pub mod metrics;
pub mod otlp;
mod outlet;
pub mod record;
pub mod trace;

pub use self::messages::Messages;
pub use self::outlet::{Outlet, Outlets, Reporter};
pub use self::record::{
    Details, Downstream, Exchange, Grpc, Headers, Http, NoHeaders, Octets, Peer, Protocol, ResetReason,
    ResponseFlags, Security, Upstream, Version,
};
