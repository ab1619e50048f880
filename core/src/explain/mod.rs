//! What would happen to a connection, and why: the decisions that carry traffic, asked without a connection.
//!
//! [`explain`] calls [`route::outbound`] and, where the destination's own proxy is the next peer, [`route::admit_hbone`]
//! and [`policy::judge`](crate::policy::judge): the functions the shard calls. Nothing here decides anything.
//! [`explain_plain`] is for workloads without a proxy.

mod arrival;
mod endpoints;
mod plain;
mod text;

pub use arrival::{Arrival, Judged, PolicyLine};
pub use endpoints::{EndpointLine, EndpointSet};
pub use plain::explain_plain;

use alloc::boxed::Box;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::net::{IpAddr, SocketAddr};

use serde::Serialize;

use crate::identity::{Identity, IdentitySet};
use crate::mesh::{Mesh, Workload};
use crate::pool::TunnelKey;
use crate::rng::Rng;
use crate::route::{self, Hop, Named, OutboundPlan, RouteConfig};

/// What would happen to one connection, and why. Its text is for people, its serialized form for `--json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Explanation {
    /// Uid of the workload that connects.
    pub source: String,
    /// Its identity.
    pub source_identity: Identity,
    /// The address it connects from.
    pub client: IpAddr,
    /// Where it connects to.
    pub target: SocketAddr,
    /// The service that was meant: `namespace/hostname`.
    pub service: Option<String>,
    /// The waypoint it goes through: `namespace/hostname:port` or `network/address:port`.
    pub waypoint: Option<String>,
    /// What endpoints were drawn from, in the order of the draws: those of the service, of its waypoint, of a gateway.
    pub endpoints: Vec<EndpointSet>,
    /// Why, in the order of decision.
    pub reasons: Vec<String>,
    /// What came of it.
    pub outcome: Outcome,
}

/// What came of a connection.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Outcome {
    /// It is closed, with this error in the access log.
    Refused(String),
    /// It is sent on.
    Sent(Box<Path>),
}

/// How a connection is sent on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Path {
    /// `TCP`, `HBONE`, `DOUBLEHBONE`, or `UNRESOLVED` when a name must be looked up first.
    pub protocol: &'static str,
    /// The next peer's address.
    pub dial: Option<SocketAddr>,
    /// The name to look up.
    pub resolve: Option<String>,
    /// Uid of the next peer's workload.
    pub peer: Option<String>,
    /// The CONNECT target.
    pub authority: Option<String>,
    /// Who the next peer may be.
    pub expected: Vec<Identity>,
    /// Who may be at the end of the inner tunnel, where there is one.
    pub inner_expected: Option<Vec<Identity>>,
    /// The pooled tunnel that carries it.
    pub pool_key: Option<PoolKey>,
    /// What the destination's own proxy makes of it, where that is the next peer.
    pub arrival: Arrival,
}

/// Connections with equal keys share tunnels.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PoolKey {
    /// Whose certificate is shown.
    pub source: Identity,
    /// The address tunnels are dialled from.
    pub source_ip: Option<IpAddr>,
    /// Where they are dialled to.
    pub destination: SocketAddr,
    /// Who must answer.
    pub expected: Vec<Identity>,
}

impl Explanation {
    /// Whether the connection gets through, as far as the tables of the mesh tell: a waypoint or another network's
    /// proxies may still refuse what they are sent ([`Arrival::Elsewhere`]).
    #[must_use]
    pub fn is_let_through(&self) -> bool {
        match &self.outcome {
            Outcome::Refused(_) => false,
            Outcome::Sent(path) => match &path.arrival {
                Arrival::NotJudged | Arrival::Elsewhere(_) => true,
                Arrival::Refused { .. } => false,
                Arrival::Judged(judged) => judged.allowed,
            },
        }
    }
}

/// Explains a connection of `source`, from address `client` to `target`, as it would be drawn with `rng`.
///
/// `config` is that of the proxies at both ends.
#[must_use]
pub fn explain(
    mesh: &Mesh,
    config: &RouteConfig,
    source: &Workload,
    client: IpAddr,
    target: SocketAddr,
    rng: &Rng,
) -> Explanation {
    let mut reasons = Vec::new();
    let plan = route::outbound_told(mesh, config, source, target, &mut rng.clone(), &mut reasons);
    if let Ok(plan) = &plan {
        reasons.clone_from(&plan.reasons);
    }
    let planned = plan.as_ref().ok();
    Explanation {
        source: source.uid.to_string(),
        source_identity: source.identity(),
        client,
        target,
        service: planned.and_then(|plan| plan.service.as_ref()).map(|service| service.name.to_string()),
        waypoint: planned.and_then(|plan| plan.waypoint.as_ref()).map(|waypoint| Named(waypoint).to_string()),
        endpoints: endpoints::drawn_from(mesh, source, target, &reasons),
        reasons: reasons.iter().map(ToString::to_string).collect(),
        outcome: match &plan {
            Ok(plan) => Outcome::Sent(Box::new(path(mesh, config, source, client, plan))),
            Err(error) => Outcome::Refused(error.to_string()),
        },
    }
}

fn path(mesh: &Mesh, config: &RouteConfig, source: &Workload, client: IpAddr, plan: &OutboundPlan) -> Path {
    let members = |set: &IdentitySet| set.iter().cloned().collect::<Vec<_>>();
    let mut path = Path {
        protocol: "TCP",
        dial: None,
        resolve: None,
        peer: plan.destination.as_ref().map(|workload| workload.uid.to_string()),
        authority: None,
        expected: Vec::new(),
        inner_expected: None,
        pool_key: plan.hop.tunnel_key(source.identity(), client).map(PoolKey::from),
        arrival: arrival::arrival(mesh, config, source, client, plan),
    };
    match &plan.hop {
        Hop::Plain { to } => path.dial = Some(*to),
        Hop::Hbone { dial, authority, expected } => {
            path.protocol = "HBONE";
            path.dial = Some(*dial);
            path.authority = Some(authority.to_string());
            path.expected = members(expected);
        }
        Hop::DoubleHbone { dial, gateway, authority, expected } => {
            path.protocol = "DOUBLEHBONE";
            path.dial = Some(*dial);
            path.authority = Some(authority.to_string());
            path.expected = members(gateway);
            path.inner_expected = Some(members(expected));
        }
        Hop::Resolve(name) => {
            path.protocol = "UNRESOLVED";
            path.resolve = Some(name.hostname.to_string());
        }
    }
    path
}

impl From<TunnelKey> for PoolKey {
    fn from(key: TunnelKey) -> Self {
        Self {
            source: key.source,
            source_ip: key.source_ip,
            destination: key.destination,
            expected: key.expected.iter().cloned().collect(),
        }
    }
}

#[cfg(test)]
mod tests;
