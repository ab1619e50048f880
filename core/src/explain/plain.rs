//! Connections of a workload that has no proxy: nobody plans them, and they arrive in plaintext.

use alloc::boxed::Box;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::net::{IpAddr, SocketAddr};

use super::{Arrival, Explanation, Outcome, Path, arrival};
use crate::mesh::{Mesh, TunnelProtocol, Workload};

/// Explains a connection of `source`, which has no proxy, from address `client` to `target`: it goes where it is
/// addressed to, in plaintext; no waypoint, gateway or endpoint is chosen by the mesh. Where the address is that of a
/// workload with a proxy, this one asks the policies, without an identity.
///
/// `config` is that of the proxy there.
#[must_use]
pub fn explain_plain(
    mesh: &Mesh,
    config: &crate::route::RouteConfig,
    source: &Workload,
    client: IpAddr,
    target: SocketAddr,
) -> Explanation {
    let target = SocketAddr::new(target.ip().to_canonical(), target.port());
    let owner = mesh.workload_by_address(mesh.network(), target.ip());
    let service = mesh.service_by_vip(mesh.network(), target.ip(), &source.namespace);
    let mut reasons: Vec<String> = Vec::new();
    reasons.push("the source has no proxy: plaintext, without identity".into());
    let arrival = match (owner, service) {
        (Some(owner), _) => {
            reasons.push(alloc::format!("the address is that of workload {}", owner.uid));
            match owner.protocol {
                TunnelProtocol::Hbone => arrival::plain(mesh, config, owner, client, target),
                TunnelProtocol::None => Arrival::NotJudged,
            }
        }
        (None, Some(service)) => {
            reasons.push(alloc::format!("the target is service {}", service.name));
            Arrival::Elsewhere("the node picks an endpoint: ask for the address of one".into())
        }
        (None, None) => {
            reasons.push("the address belongs to nothing in the mesh".into());
            Arrival::NotJudged
        }
    };
    let path = Path {
        protocol: "TCP",
        dial: Some(target),
        resolve: None,
        peer: owner.map(|owner| owner.uid.to_string()),
        authority: None,
        expected: Vec::new(),
        inner_expected: None,
        pool_key: None,
        arrival,
    };
    Explanation {
        source: source.uid.to_string(),
        source_identity: source.identity(),
        client,
        target,
        service: service.map(|service| service.name.to_string()),
        waypoint: None,
        endpoints: Vec::new(),
        reasons,
        outcome: Outcome::Sent(Box::new(path)),
    }
}
