//! istiod is stopped and started again: traffic does not notice, and what changes afterwards arrives.
use adit_testkit::netns::Echo;

use crate::cluster::{APP, Cluster, FAMILIES, SERVICE};
use crate::scenarios::calling::Calling;
use crate::scenarios::label::wait_mtls;
use crate::scenarios::service::service;
use crate::{Result, SOON};

/// Callers on both machines while istiod is away and when it is back; then a pod and a policy that come with the new one.
pub(crate) fn goes_unnoticed(cluster: &mut Cluster, space: &str) -> Result<()> {
    cluster.label(space, true)?;
    cluster.plane.kube.apply(&service(space, "server"))?;
    let (client, visitor) = (cluster.pod(space, "client", 0)?, cluster.pod(space, "visitor", 1)?);
    let servers = [cluster.pod(space, "server-1", 0)?, cluster.pod(space, "server-2", 1)?];
    cluster.wait_meshed(&[&client, &visitor, &servers[0], &servers[1]])?;
    let vips = cluster.vips(space, "server")?;
    for caller in [&client, &visitor] {
        for vip in vips {
            caller.wait_call("the service is known", (vip, SERVICE).into(), true)?;
        }
    }
    let mut open = Vec::new();
    for ipv6 in FAMILIES {
        open.push(Echo::open(&client.host, servers[1].at(ipv6, APP))?);
    }

    let callers = [(&client, (vips[0], SERVICE).into()), (&visitor, (vips[1], SERVICE).into())];
    Calling::during(&callers, |calling| {
        calling.some_more()?;
        cluster.plane.stop_istiod()?;
        for machine in &cluster.machines {
            let noticed = "stream from the control plane ended";
            let seen = |line: &str| line.contains(noticed).then_some(());
            machine.proxy.process().wait_line(noticed, SOON, seen)?;
        }
        calling.some_more()?;
        for open in &mut open {
            open.exchange("without a control plane")?;
        }
        cluster.plane.start_istiod()?;
        calling.some_more()
    })?;

    // A pod of a new identity, and a policy against it.
    let late = cluster.pod(space, "late", 0)?;
    cluster.wait_meshed(&[&late])?;
    late.wait_call("a pod that came later", servers[1].at(false, APP), true)?;
    wait_mtls(cluster, &late, &servers[1], false)?;
    let denied = format!(
        r#"
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {{name: no-late, namespace: {space}}}
spec: {{action: DENY, rules: [{{from: [{{source: {{principals: [cluster.local/ns/{space}/sa/late]}}}}]}}]}}
"#
    );
    cluster.plane.kube.apply(&denied)?;
    late.wait_call("denied", servers[1].at(false, APP), false)?;
    assert!(client.call(servers[1].at(false, APP))?);
    for open in &mut open {
        open.exchange("still the first way")?;
    }
    Ok(())
}
