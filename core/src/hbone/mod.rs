//! HBONE: the CONNECT exchange, establishment of tunnels, and the tunnel itself.
pub mod authority;
pub mod baggage;
pub mod connect;
pub mod establish;
pub mod forwarded;
pub mod traceparent;
pub mod tunnel;

pub use authority::Authority;
pub use baggage::Baggage;
pub use connect::{ConnectRequest, ConnectResponse, RequestError};
pub use forwarded::Forwarded;
pub use traceparent::TraceParent;
pub use tunnel::{Tunnel, TunnelConfig, TunnelError, TunnelEvent};
