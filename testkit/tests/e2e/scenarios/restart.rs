//! istiod is stopped and started again: traffic does not notice, and what changes afterwards arrives.
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use adit_testkit::netns::{Echo, wait_until};

use crate::cluster::{APP, Cluster, FAMILIES, Pod, SERVICE};
use crate::scenarios::label::wait_mtls;
use crate::scenarios::service::service;
use crate::{Result, SOON};

/// Calls that must go well between two steps, from each caller.
const BETWEEN: usize = 20;

/// Calls again and again until told to stop; what went wrong.
fn call(caller: &Pod, to: SocketAddr, stop: &AtomicBool, done: &AtomicUsize) -> Vec<String> {
    let mut failures = Vec::new();
    while !stop.load(Ordering::Relaxed) && failures.len() < 10 {
        match caller.call(to) {
            Ok(true) => drop(done.fetch_add(1, Ordering::Relaxed)),
            Ok(false) => failures.push(format!("{to}: refused")),
            Err(error) => failures.push(format!("{to}: {error}")),
        }
    }
    failures
}

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

    let (stop, done) = (AtomicBool::new(false), [AtomicUsize::new(0), AtomicUsize::new(0)]);
    let counts = || [0, 1].map(|number: usize| done[number].load(Ordering::Relaxed));
    let some_more = || -> Result<()> {
        let wanted = counts().map(|count| count + BETWEEN);
        let enough = || counts().iter().zip(wanted).all(|(count, wanted)| *count >= wanted);
        Ok(wait_until("more calls", SOON, enough, || format!("{:?}", counts()))?)
    };
    let failures = thread::scope(|scope| -> Result<Vec<String>> {
        let callers = [(&client, vips[0], &done[0]), (&visitor, vips[1], &done[1])];
        let callers = callers.map(|(caller, vip, done)| {
            let stop = &stop;
            scope.spawn(move || call(caller, (vip, SERVICE).into(), stop, done))
        });
        let mut away_and_back = || -> Result<()> {
            some_more()?;
            cluster.plane.stop_istiod()?;
            for machine in &cluster.machines {
                let noticed = "stream from the control plane ended";
                machine
                    .proxy
                    .process()
                    .wait_line(noticed, SOON, |line| line.contains(noticed).then_some(()))?;
            }
            some_more()?;
            for open in &mut open {
                open.exchange("without a control plane")?;
            }
            cluster.plane.start_istiod()?;
            some_more()
        };
        let played = away_and_back();
        // Whatever has become of that, or the callers never end.
        stop.store(true, Ordering::Relaxed);
        let failures = callers.into_iter().flat_map(|caller| caller.join().expect("no panic")).collect();
        played.map(|()| failures)
    })?;
    assert!(failures.is_empty(), "{failures:#?} beside {:?} that went well", counts());

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
