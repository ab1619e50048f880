//! Processes, configuration and control plane change under steady requests.
use adit_testkit::conformance::{Behind, MESH, V1, V2};
use adit_testkit::netns::{Backend, Result, Runtime, wait_until};
use rustix::process::Signal;

use super::load::Load;
use super::place::Place;
use crate::cluster::{SOON, shown, wait_tables};
use crate::world::FAMILIES;

/// Answers that each caller has between two disturbances.
const BETWEEN: usize = 10;

fn place(runtime: Runtime, backend: Backend) -> Result<Place> {
    Place::new(runtime, backend, vec![("echo", Behind::Both)], "")
}

/// A waypoint is killed: callers get errors, at once, and answers again as soon as there is one.
pub(crate) fn killed(runtime: Runtime, backend: Backend) -> Result<()> {
    let mut place = place(runtime, backend)?;
    let load = Load::start(&place, "echo");
    for _ in 0..2 {
        load.wait_more(BETWEEN)?;
        let mut waypoint = place.waypoints.remove("waypoint-1").expect("it runs");
        waypoint.process().signal(Signal::KILL)?;
        waypoint.process_mut().wait_exit(SOON)?;
        load.wait_failed()?;
        place.start_waypoint("waypoint-1")?;
    }
    load.wait_more(BETWEEN)?;
    let (answers, failures) = load.finish();
    println!("{runtime}: {answers} answers, {} failures", failures.len());
    // Without it nothing is left: whatever went through the first two has ended, at both ends.
    place.waypoints.clear();
    for machine in &place.machines {
        machine.wait_unused()?;
    }
    Ok(())
}

/// One waypoint takes the place of the other, as in a rolling update: the new one is ready, the mesh learns that the old one ends, and
/// it does. Not one request fails.
pub(crate) fn replicas(runtime: Runtime, backend: Backend) -> Result<()> {
    let mut place = place(runtime, backend)?;
    let load = Load::start(&place, "echo");
    load.wait_more(BETWEEN)?;
    for (old, new) in [("waypoint-1", "waypoint-2"), ("waypoint-2", "waypoint-1")] {
        place.cluster.push([place.replica(new, false)], [], []);
        place.start_waypoint(new)?;
        // Both serve.
        place.cluster.push([place.replica(new, true)], [], []);
        let served = || {
            let lines = place.waypoints[new].process().lines();
            lines.iter().any(|line| line.contains(" /load "))
        };
        wait_until("the new waypoint to serve", SOON, served, String::new)?;
        load.wait_more(BETWEEN)?;
        place.cluster.push([place.replica(old, false)], [], []);
        for machine in &place.machines {
            wait_tables(&machine.host, "that the old waypoint ends", |tables| {
                shown(tables, old).is_some_and(|it| it["status"] == "Unhealthy")
            })?;
        }
        let mut waypoint = place.waypoints.remove(old).expect("it runs");
        waypoint.process().signal(Signal::TERM)?;
        let status = waypoint.process_mut().wait_exit(SOON)?;
        assert!(status.success(), "{status:?}");
        load.wait_more(BETWEEN)?;
    }
    let (answers, failures) = load.finish();
    assert!(failures.is_empty(), "{failures:#?} beside {answers} answers");
    Ok(())
}

/// A route that sends all requests to `app`, a policy that is for none of them, and a change of how endpoints are drawn.
fn manifests(turn: usize) -> String {
    let app = [V1, V2][turn % 2];
    let route = format!(
        "---\napiVersion: gateway.networking.k8s.io/v1\nkind: HTTPRoute\nmetadata: {{ name: load, namespace: {MESH} }}\nspec:\n  \
         parentRefs: [{{ group: \"\", kind: Service, name: echo }}]\n  rules: [{{ backendRefs: [{{ name: {app}, port: 80 }}] }}]\n"
    );
    let policy = format!(
        "---\napiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: {{ name: none, namespace: {MESH} }}\n\
         spec: {{ action: DENY, rules: [{{ to: [{{ operation: {{ paths: [/none] }} }}] }}] }}\n"
    );
    let rule = format!(
        "---\napiVersion: networking.istio.io/v1\nkind: DestinationRule\nmetadata: {{ name: drawn, namespace: {MESH} }}\n\
         spec: {{ host: echo.{MESH}.svc.cluster.local, trafficPolicy: {{ loadBalancer: {{ simple: ROUND_ROBIN }} }} }}\n"
    );
    match turn % 3 {
        0 => route,
        1 => route + &policy,
        _ => policy + &rule,
    }
}

/// Manifests change, the proxies of both machines are replaced, istiod is restarted: not one request fails, and each change is
/// in force.
pub(crate) fn changes(runtime: Runtime, backend: Backend) -> Result<()> {
    const TURNS: usize = 12;
    let services = vec![("echo", Behind::Both), (V1, Behind::One(V1)), (V2, Behind::One(V2))];
    let mut place = Place::new(runtime, backend, services, "")?;
    let load = Load::start(&place, "echo");
    load.wait_more(BETWEEN)?;
    for turn in 0..TURNS {
        place.change(&manifests(turn))?;
        load.wait_more(2)?;
        if turn % 3 != 2 {
            let reply = place.ask("client", place.at("echo", 80, false), "/turn", &[])?.expect("an answer");
            assert_eq!((reply.status, reply.app().as_str()), (200, [V1, V2][turn % 2]));
        }
    }
    // Two proxies of one machine listen side by side: the next one lives elsewhere, and takes over the pods' sockets.
    for (number, name) in ["alpha-2", "beta-2"].into_iter().enumerate() {
        let home = place.cluster.host(name)?;
        let machine = &mut place.machines[number];
        let next = machine.spec.start(Some(home.namespace()))?;
        let mut old = std::mem::replace(&mut machine.node, next);
        machine.host = home;
        load.wait_more(BETWEEN)?;
        old.process().signal(Signal::TERM)?;
        load.wait_more(BETWEEN)?;
        let status = old.process_mut().wait_exit(SOON * 2)?;
        assert!(status.success(), "{status:?}");
    }
    let istiod = &mut place.cluster.istiod;
    istiod.stop();
    load.wait_more(BETWEEN)?;
    let tasks = &place.cluster.tasks;
    tasks.block_on(istiod.restart());
    load.wait_more(BETWEEN)?;
    let (answers, failures) = load.finish();
    assert!(failures.is_empty(), "{failures:#?} beside {answers} answers");

    // What the control plane says afterwards is heard: the second application has gone.
    place.cluster.istiod.ads.remove(adit_testkit::istiod::ads::ADDRESS, [&*place.workload(V2).uid]);
    place.change("")?;
    for ipv6 in FAMILIES {
        let gone = || {
            let all = (0..10).map(|_| place.ask("client", place.at("echo", 80, ipv6), "/", &[]));
            all.into_iter().all(|reply| reply.is_ok_and(|reply| reply.is_ok_and(|reply| reply.app() == V1)))
        };
        wait_until("requests for the one that is left", SOON, gone, String::new)?;
    }
    Ok(())
}
