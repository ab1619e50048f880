//! For whom a waypoint stands: services, pods (`istio.io/waypoint-for: workload`), or both.
use adit_control::proto::istio::workload::{Service, Workload};
use adit_testkit::conformance::{Behind, MESH, V1, V2};
use adit_testkit::netns::{Backend, Result, Runtime, wait_until};

use super::place::{Place, gateway};
use crate::cluster::SOON;
use crate::world::FAMILIES;

/// A policy of the waypoint itself, and so of everything behind it.
fn no_secrets() -> String {
    format!(
        "---\napiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: {{ name: no-secrets, namespace: {MESH} }}\nspec:\n  \
         targetRefs: [{{ group: gateway.networking.k8s.io, kind: Gateway, name: waypoint }}]\n  action: DENY\n  \
         rules: [{{ to: [{{ operation: {{ paths: [/secret] }} }}] }}]\n"
    )
}

/// Calls to a pod go through its waypoint, and calls to its service do only if the service has one.
pub(crate) fn workload(runtime: Runtime, backend: Backend) -> Result<()> {
    let place = Place::new(runtime, backend, vec![("echo", Behind::One(V1))], &no_secrets())?;
    let fronted = Workload { waypoint: Some(gateway()), ..place.workload(V1) };
    let plain = Service { waypoint: None, ..place.service("echo") };
    let waypoints = FAMILIES.map(|ipv6| place.host("waypoint-1").address(ipv6).to_string());
    let both = [("for services", false, true), ("for workloads", true, false), ("for all", true, true)];
    for (what, of_pod, of_service) in both {
        let workload = if of_pod { fronted.clone() } else { place.workload(V1) };
        let service = if of_service { place.service("echo") } else { plain.clone() };
        place.cluster.push([workload], [service], []);
        for ipv6 in FAMILIES {
            let client = place.host("client").address(ipv6).to_string();
            for (to, through) in [
                (place.pod_at(V1, ipv6), of_pod),
                (place.at("echo", 80, ipv6), of_service),
                (place.pod_at(V2, ipv6), false),
            ] {
                let peer = || {
                    let reply = place.ask("client", to, "/", &[]).ok()?.ok()?;
                    Some(reply.told()["peer"].as_str()?.to_owned())
                };
                // As soon as proxies know of the change. A waypoint comes from an address of either family.
                let right = || {
                    peer()
                        .is_some_and(|peer| if through { waypoints.contains(&peer) } else { peer == client })
                };
                wait_until(&format!("{to} {what}"), SOON, right, || format!("{:?}", peer()))?;
                let status = if through { 403 } else { 200 };
                let reply = place.ask("client", to, "/secret", &[])?.expect("an answer");
                assert_eq!(reply.status, status, "{to} {what}");
            }
        }
    }
    let complaints = place.complaints();
    assert!(complaints.is_empty(), "{complaints:#?}");
    Ok(())
}
