//! Which endpoint of a service a request goes to, and whether it may go at all (Istio: `DestinationRule`).
//!
//! ```text
//!   DestinationRule ─▶ TrafficPolicy ─┐
//!   mesh tables ─▶ endpoints_of ──────┴▶ Cluster ◀── a request ── choose ─▶ Chosen ── handle_outcome, end
//! ```
//!
//! A [`Cluster`] is the state of one service, port and subset. Several threads may share one behind a lock: nothing here waits,
//! and a choice takes no memory.
mod cluster;
mod destinations;
mod gather;
mod key;
mod label;
mod level;
mod locality;
mod maglev;
mod policy;
mod view;
mod warmup;

pub use self::cluster::{Chosen, Cluster, NoEndpoint, Pick};
pub use self::destinations::{Destination, Destinations, PortPolicies, Settled};
pub use self::gather::{Endpoint, Gathered, LeftOut, Spread, WhyLeftOut, endpoints_of};
pub use self::key::{CookieKey, FreshCookie, KeySource};
pub use self::label::{Label, Selector};
pub use self::locality::{Distribute, LocalityPattern, LocalityRule, PatternError, PriorityLabel};
pub use self::maglev::Maglev;
pub use self::policy::{
    Balancer, ConnectionSettings, HashTable, Http2Upgrade, Keepalive, ProxyProtocol, RetryShare,
    TrafficPolicy, UpstreamTls,
};
pub use self::view::{ClusterView, EndpointView, LevelView};
pub use self::warmup::Warmup;
