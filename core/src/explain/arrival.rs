//! What the destination's own proxy would make of a connection: admission and policies.

use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::net::{IpAddr, SocketAddr};

use serde::Serialize;

use crate::identity::Identity;
use crate::mesh::{Mesh, TunnelProtocol, Workload};
use crate::policy::{self, Action, Consulted, Facts, PolicyScope, Verdict};
use crate::route::{self, Hop, InboundPlan, OutboundPlan, RouteConfig};

/// What becomes of a connection at its next peer, as far as the mesh's tables tell.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Arrival {
    /// The next peer is outside the mesh, or has no proxy: no policy of the mesh is enforced.
    NotJudged,
    /// Somebody else decides: a waypoint, or what is behind a network gateway.
    Elsewhere(String),
    /// The destination's proxy refuses the CONNECT, or closes the plaintext connection.
    Refused {
        /// The status it answers with; none in plaintext.
        status: Option<u16>,
        /// Its access log's error.
        error: String,
    },
    /// The destination's proxy asks the policies.
    Judged(Judged),
}

/// What policies say.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Judged {
    /// The destination that they look at.
    pub destination: SocketAddr,
    /// Where the application is dialled.
    pub application: SocketAddr,
    /// Which source address it is shown.
    pub shown_source: String,
    /// Why it was admitted to them, in the order of decision.
    pub reasons: Vec<String>,
    /// Those that bear on the destination, in the order in which they count.
    pub policies: Vec<PolicyLine>,
    /// Whether the connection is admitted.
    pub allowed: bool,
    /// The rule that decided, or why none did.
    pub because: String,
    /// What policies on trial would have said.
    pub dry_run: Vec<String>,
}

/// One policy that bears on a destination.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PolicyLine {
    /// `namespace/name`.
    pub name: String,
    /// `Allow` or `Deny`; none for a policy that is listed and not known.
    pub action: Option<&'static str>,
    /// Why it bears on the destination: `Global`, `Namespace` or `WorkloadSelector`.
    pub scope: &'static str,
    /// Only on trial.
    pub dry_run: bool,
    /// Position of its first rule that holds, from 0.
    pub matched: Option<usize>,
}

pub(super) fn arrival(
    mesh: &Mesh,
    config: &RouteConfig,
    source: &Workload,
    client: IpAddr,
    plan: &OutboundPlan,
) -> Arrival {
    let elsewhere = |who: &str| Arrival::Elsewhere(who.into());
    match (&plan.hop, &plan.destination) {
        (Hop::Plain { .. }, _) | (_, None) => Arrival::NotJudged,
        (Hop::DoubleHbone { .. }, Some(_)) => elsewhere("the other network's proxies decide"),
        (Hop::Hbone { .. } | Hop::Resolve(_), Some(_)) if plan.waypoint.is_some() => {
            elsewhere("the waypoint decides")
        }
        (Hop::Resolve(_), Some(to)) if to.protocol == TunnelProtocol::None => Arrival::NotJudged,
        (Hop::Resolve(_), Some(_)) => elsewhere("the address must be resolved first"),
        (Hop::Hbone { dial, authority, .. }, Some(to)) => {
            let client = SocketAddr::new(client, 0);
            match route::admit_hbone(mesh, config, to, client, *dial, authority) {
                Ok(inbound) => {
                    Arrival::Judged(judged(mesh, Some(source.identity_ref()), to, client, &inbound))
                }
                Err(error) => Arrival::Refused { status: Some(error.status()), error: error.to_string() },
            }
        }
    }
}

/// What the proxy of `to` makes of a plaintext connection to `target`, its own address.
pub(super) fn plain(
    mesh: &Mesh,
    config: &RouteConfig,
    to: &Workload,
    client: IpAddr,
    target: SocketAddr,
) -> Arrival {
    let client = SocketAddr::new(client, 0);
    match route::admit_plain(mesh, config, to, client, target) {
        Ok(inbound) => Arrival::Judged(judged(mesh, None, to, client, &inbound)),
        Err(error) => Arrival::Refused { status: None, error: error.to_string() },
    }
}

fn judged(
    mesh: &Mesh,
    source: Option<&Identity>,
    to: &Workload,
    client: SocketAddr,
    inbound: &InboundPlan,
) -> Judged {
    let facts = Facts { source, source_address: client, destination: inbound.destination };
    let judgement = policy::judge(mesh, to, &facts);
    let (allowed, because) = match judgement.verdict {
        Verdict::Allow { by: Some(rule) } => (true, rule.to_string()),
        Verdict::Allow { by: None } => (true, "no ALLOW policy bears on the workload".to_string()),
        Verdict::Deny(reason) => (false, reason.to_string()),
    };
    let policies = judgement.consulted.iter().map(|consulted| match consulted {
        Consulted::Known { policy, scope, action, dry_run, matched } => PolicyLine {
            name: policy.to_string(),
            action: Some(match action {
                Action::Allow => "Allow",
                Action::Deny => "Deny",
            }),
            scope: match scope {
                PolicyScope::Global => "Global",
                PolicyScope::Namespace => "Namespace",
                PolicyScope::WorkloadSelector => "WorkloadSelector",
            },
            dry_run: *dry_run,
            matched: *matched,
        },
        Consulted::Unknown(key) => PolicyLine {
            name: key.to_string(),
            action: None,
            scope: "WorkloadSelector",
            dry_run: false,
            matched: None,
        },
    });
    Judged {
        destination: inbound.destination,
        application: inbound.to,
        shown_source: inbound.source.to_string(),
        reasons: inbound.reasons.iter().map(ToString::to_string).collect(),
        policies: policies.collect(),
        allowed,
        because,
        dry_run: judgement.on_trial.iter().map(ToString::to_string).collect(),
    }
}
