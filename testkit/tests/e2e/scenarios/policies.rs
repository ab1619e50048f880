//! Policies of Istio are enforced as soon as they are applied, and no longer than until they are deleted.
use adit_testkit::netns::Echo;

use crate::Result;
use crate::cluster::{APP, Cluster, FAMILIES, OTHER, Pod};
use crate::scenarios::calling::Calling;

/// The pods that play: `client` and `other` call `server`, all of the mesh; `stranger` is not in it.
struct Cast {
    client: Pod,
    other: Pod,
    server: Pod,
    stranger: Pod,
}

/// Deny by principal and by port, allow by principal, and mutual TLS demanded or not.
pub(crate) fn enforced_and_lifted(cluster: &mut Cluster, space: &str) -> Result<()> {
    cluster.label(space, true)?;
    let outside = format!("{space}-outside");
    cluster.label(&outside, false)?;
    let cast = Cast {
        client: cluster.pod(space, "client", 0)?,
        other: cluster.pod(space, "other", 1)?,
        server: cluster.pod(space, "server", 1)?,
        stranger: cluster.pod(&outside, "stranger", 0)?,
    };
    cluster.wait_meshed(&[&cast.client, &cast.other, &cast.server])?;
    cluster.wait_known(&cast.stranger, "is known", |known| known.is_some())?;
    for ipv6 in FAMILIES {
        for caller in [&cast.client, &cast.other, &cast.stranger] {
            assert!(caller.call(cast.server.at(ipv6, APP))?, "{}", caller.name);
        }
    }
    // The client is let in by all of it. istiod tells of a policy and of who is under it in two messages, in either order.
    let callers = FAMILIES.map(|ipv6| (&cast.client, cast.server.at(ipv6, APP)));
    let played = Calling::during(&callers, |calling| {
        deny_principal(cluster, space, &cast)?;
        deny_port(cluster, space, &cast)?;
        allow_principal(cluster, space, &cast)?;
        demand_mtls(cluster, space, &cast)?;
        calling.some_more()
    });
    let cleared = cluster.clear(&outside);
    played.and(cleared)
}

/// A policy for the server.
fn policy(space: &str, name: &str, spec: &str) -> String {
    format!(
        r#"
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {{name: {name}, namespace: {space}}}
spec: {{selector: {{matchLabels: {{app: server}}}}, {spec}}}
"#
    )
}

/// The one who is named is kept out, also from a connection that was open; the others are not.
fn deny_principal(cluster: &Cluster, space: &str, cast: &Cast) -> Result<()> {
    let denied = policy(
        space,
        "no-other",
        &format!(
            "action: DENY, rules: [{{from: [{{source: {{principals: [cluster.local/ns/{space}/sa/other]}}}}]}}]"
        ),
    );
    let open = Echo::open(&cast.other.host, cast.server.at(false, APP))?;
    let mut allowed = Echo::open(&cast.client.host, cast.server.at(false, APP))?;
    cluster.plane.kube.apply(&denied)?;
    for ipv6 in FAMILIES {
        cast.other.wait_call("denied", cast.server.at(ipv6, APP), false)?;
        assert!(cast.client.call(cast.server.at(ipv6, APP))?);
    }
    cluster.machine(&cast.server).proxy.wait_access(&[
        ("direction", "inbound"),
        ("src.identity", &cast.other.identity()),
        (
            "error",
            &format!("connection closed due to policy rejection: explicitly denied by: {space}/no-other"),
        ),
    ])?;
    open.wait_cut();
    allowed.exchange("allowed as before")?;
    cluster.plane.kube.delete(&denied)?;
    for ipv6 in FAMILIES {
        cast.other.wait_call("allowed again", cast.server.at(ipv6, APP), true)?;
    }
    Ok(())
}

/// A port is closed to all, the other is not.
fn deny_port(cluster: &Cluster, space: &str, cast: &Cast) -> Result<()> {
    let denied = policy(
        space,
        "no-port",
        &format!("action: DENY, rules: [{{to: [{{operation: {{ports: [\"{OTHER}\"]}}}}]}}]"),
    );
    assert!(cast.client.call(cast.server.at(false, OTHER))?);
    cluster.plane.kube.apply(&denied)?;
    for caller in [&cast.client, &cast.stranger] {
        caller.wait_call("port denied", cast.server.at(false, OTHER), false)?;
        assert!(caller.call(cast.server.at(false, APP))?, "{}", caller.name);
    }
    cluster.plane.kube.delete(&denied)?;
    cast.client.wait_call("port allowed again", cast.server.at(false, OTHER), true)
}

/// Only the one who is named is let in; who has no identity is not.
fn allow_principal(cluster: &Cluster, space: &str, cast: &Cast) -> Result<()> {
    let allowed = policy(
        space,
        "only-client",
        &format!(
            "action: ALLOW, rules: [{{from: [{{source: {{principals: [cluster.local/ns/{space}/sa/client]}}}}]}}]"
        ),
    );
    cluster.plane.kube.apply(&allowed)?;
    for ipv6 in FAMILIES {
        for caller in [&cast.other, &cast.stranger] {
            caller.wait_call("not allowed", cast.server.at(ipv6, APP), false)?;
        }
        assert!(cast.client.call(cast.server.at(ipv6, APP))?);
    }
    cluster.plane.kube.delete(&allowed)?;
    for caller in [&cast.other, &cast.stranger] {
        caller.wait_call("allowed again", cast.server.at(false, APP), true)?;
    }
    Ok(())
}

/// STRICT refuses plaintext, PERMISSIVE does not.
fn demand_mtls(cluster: &Cluster, space: &str, cast: &Cast) -> Result<()> {
    let mode = |mode: &str| {
        format!(
            r#"
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {{name: default, namespace: {space}}}
spec: {{mtls: {{mode: {mode}}}}}
"#
        )
    };
    for (mode, plain) in [(mode("STRICT"), false), (mode("PERMISSIVE"), true)] {
        cluster.plane.kube.apply(&mode)?;
        for ipv6 in FAMILIES {
            cast.stranger.wait_call("plaintext", cast.server.at(ipv6, APP), plain)?;
            assert!(cast.client.call(cast.server.at(ipv6, APP))?);
        }
    }
    cluster.plane.kube.delete(&mode("STRICT"))
}
