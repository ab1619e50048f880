//! Who is who: what an application, the log and policies know of callers, and who goes past the waypoint.
use adit_control::proto::istio::workload::Workload;
use adit_testkit::conformance::{Behind, MESH, V1, V2};
use adit_testkit::netns::{Backend, Result, Runtime, wait_until};

use super::place::{JSON_LOG, Place, identity};
use super::rig::Reply;
use crate::cluster::SOON;
use crate::resources::{HBONE, STRICT, strict};
use crate::world::FAMILIES;

/// Lets through only who satisfies `source`.
fn only(service: &str, source: &str) -> String {
    format!(
        "---\napiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: {{ name: {service}, namespace: {MESH} }}\nspec:\n  \
         targetRefs: [{{ group: \"\", kind: Service, name: {service} }}]\n  action: ALLOW\n  \
         rules: [{{ from: [{{ source: {{ {source} }} }}] }}]\n"
    )
}

/// Whom the application saw.
fn peer(reply: &Reply) -> String {
    reply.told()["peer"].as_str().unwrap_or("nobody").to_owned()
}

/// The application sees the waypoint; the log, metrics and policies know the caller by its identity and its address, whatever
/// the caller says; calls to pods, and from outside of the mesh, go past it.
pub(crate) fn who_is_who(runtime: Runtime, backend: Backend) -> Result<()> {
    let services = [
        ("echo", Behind::Both),
        ("named", Behind::One(V1)),
        ("near", Behind::One(V1)),
        ("known", Behind::One(V2)),
    ];
    let place = Place::new(runtime, backend, services.into(), JSON_LOG)?;
    let addresses = FAMILIES.map(|ipv6| place.host("client").address(ipv6).to_string());
    let blocks = addresses.map(|address| format!("\"{address}\"")).join(", ");
    let policies = [
        JSON_LOG.to_owned(),
        only("named", &format!("principals: [cluster.local/ns/{MESH}/sa/client]")),
        only("near", &format!("ipBlocks: [{blocks}]")),
        only("known", &format!("remoteIpBlocks: [{blocks}]")),
    ];
    place.change(&policies.concat())?;
    for ipv6 in FAMILIES {
        seen(&place, ipv6)?;
        for service in ["named", "near", "known"] {
            let to = place.at(service, 80, ipv6);
            let client = place.ask("client", to, "/", &[])?.expect("an answer");
            assert_eq!(client.status, 200, "{service}");
            // What a client says of itself is not believed, but where Istio believes it too: without trusted proxies in front
            // (`numTrustedProxies`), `remoteIpBlocks` is about whoever `x-forwarded-for` names.
            let own = place.host("client").address(ipv6).to_string();
            let said =
                [("x-forwarded-for", &*own), ("x-envoy-external-address", &*own), ("x-real-ip", &*own)];
            let of_others = [("x-envoy-external-address", &*own), ("x-real-ip", &*own)];
            let forged = if service == "known" { &of_others[..] } else { &said };
            for headers in [&[][..], forged] {
                let other = place.ask("consumer", to, "/", headers)?.expect("an answer");
                assert_eq!((other.status, &*other.body), (403, &b"RBAC: access denied"[..]), "{service}");
            }
        }
        let known = place.at("known", 80, ipv6);
        let client = place.host("client").address(ipv6).to_string();
        let named = place.ask("consumer", known, "/", &[("x-forwarded-for", &client)])?;
        assert_eq!(named.expect("an answer").status, 200);
        past(&place, ipv6)?;
    }
    // With STRICT whoever has no identity is refused, and the waypoint has one.
    let guarded = [V1, V2]
        .map(|app| Workload { authorization_policies: vec![STRICT.to_owned()], ..place.workload(app) });
    place.cluster.push(guarded, [], [strict()]);
    for ipv6 in FAMILIES {
        for app in [V1, V2] {
            let to = place.pod_at(app, ipv6);
            let refused = || place.ask("outside", to, "/", &[]).is_ok_and(|answer| answer.is_err());
            wait_until("the refusal of who has no identity", SOON, refused, String::new)?;
            assert_eq!(place.ask("client", to, "/", &[])?.expect("an answer").status, 200);
        }
        let reply = place.ask("client", place.at("echo", 80, ipv6), "/", &[])?.expect("an answer");
        assert_eq!(reply.status, 200);
    }
    let complaints = place.complaints();
    assert!(complaints.is_empty(), "{complaints:#?}");
    Ok(())
}

/// A request through the waypoint, as everybody on its way tells of it.
fn seen(place: &Place, ipv6: bool) -> Result<()> {
    let (client, waypoint) = (place.host("client").address(ipv6), place.host("waypoint-1").address(ipv6));
    // Of either family: connections to applications are for clients of both.
    let waypoints = FAMILIES.map(|ipv6| place.host("waypoint-1").address(ipv6).to_string());
    let target = place.at("echo", 80, ipv6);
    let path = format!("/seen?ipv6={ipv6}");
    let reply = place.ask("client", target, &path, &[("x-forwarded-client-cert", "URI=spiffe://forged")])?;
    let reply = reply.expect("an answer");
    assert_eq!(reply.status, 200);
    assert!(waypoints.contains(&peer(&reply)), "{}", peer(&reply));
    assert_eq!(reply.saw("x-forwarded-client-cert"), None);

    let line = place.logged(&path)?;
    assert_eq!(line["source_principal"], identity("client"), "{line}");
    assert_eq!(line["destination_principal"], identity(&reply.app()), "{line}");
    let remote =
        line["downstream_remote_address"].as_str().and_then(|it| it.parse::<std::net::SocketAddr>().ok());
    assert_eq!(remote.map(|remote| remote.ip()), Some(client), "{line}");
    assert_eq!(line["downstream_local_address"], target.to_string(), "{line}");

    // Each half of the way, as the node proxies tell of it.
    place.machines[0].node.wait_access(&[
        ("direction", "outbound"),
        ("src.addr", &client.to_string()),
        ("src.identity", &identity("client")),
        ("dst.addr", &std::net::SocketAddr::new(waypoint, HBONE).to_string()),
        ("dst.hbone_addr", &target.to_string()),
        ("dst.identity", &identity("waypoint-1")),
    ])?;
    Ok(())
}

/// Calls to a pod's own address: from another pod, and from where no proxy is.
fn past(place: &Place, ipv6: bool) -> Result<()> {
    for caller in ["client", "outside"] {
        let path = format!("/past/{caller}?ipv6={ipv6}");
        let reply = place.ask(caller, place.pod_at(V1, ipv6), &path, &[])?.expect("an answer");
        assert_eq!((reply.status, reply.app().as_str()), (200, V1));
        assert_eq!(peer(&reply), place.host(caller).address(ipv6).to_string());
        let lines = place.waypoints["waypoint-1"].process().lines();
        assert!(!lines.iter().any(|line| line.contains(&path)), "{path} went through the waypoint");
    }
    Ok(())
}
