//! Those who tell proxies what to do go away, and come back.
use std::io::{Read, Write};
use std::net::Ipv4Addr;

use adit_control::proto::istio::security::{Action, Scope};
use adit_testkit::cni::Agent;
use adit_testkit::istiod::ca::Behaviour;
use adit_testkit::netns::{Backend, HarnessError, Host, Result, Runtime, wait_until};

use super::Rig;
use crate::cluster::{SOON, wait_tables, who_am_i};
use crate::resources::{from, pod, policy};
use crate::site::{on, told};
use crate::traffic::LONG;
use crate::world::{FAMILIES, identity};

const PLAN: [(&str, &[&str]); 2] = [("alpha", &["a1", "a2"]), ("beta", &["b1"])];

/// gRPC's status.
const UNAVAILABLE: u8 = 14;

/// Istiod and its authority are away: traffic goes on, old and new. A pod that comes meanwhile, of which nobody knows
/// anything, is served when they are back, and then what has changed is in force.
pub(crate) fn control_plane_gone(runtime: Runtime, backend: Backend) -> Result<()> {
    let mut rig = Rig::new(runtime, backend, &PLAN, &[])?;
    let late = rig.site.cluster.pod("late")?;
    let all = [rig.flows("a1", "b1"), rig.flows("b1", "a1"), rig.flows("a1", "a2")].concat();
    rig.traffic.wait_more(&all, 5)?;

    let cluster = &mut rig.site.cluster;
    cluster.istiod.stop();
    cluster.ca.behave_otherwise(Behaviour::Fail(UNAVAILABLE, "the control plane is away".into()));
    for machine in &rig.site.machines {
        let ended = "stream from the control plane ended";
        machine.node.process().wait_line(ended, SOON, |line| line.contains(ended).then_some(()))?;
    }
    rig.site.machines[0].add("late", late.namespace())?;
    rig.traffic.wait_more(&all, 30)?;

    let denied = policy("default/closed", Scope::Namespace, Action::Deny, vec![from("a2")]);
    cluster.push([on("alpha", pod("late", &late))], [], [denied]);
    cluster.ca.behave_otherwise(Behaviour::Sign);
    cluster.tasks.block_on(cluster.istiod.restart());
    for machine in &rig.site.machines {
        wait_tables(&machine.host, "what changed meanwhile", |tables| {
            let tables = tables.to_string();
            tables.contains("closed") && tables.contains("late")
        })?;
    }
    let far = rig.site.pod("b1");
    let certified = || {
        let lines = rig.site.machines[0].node.process().lines();
        lines.iter().any(|line| line.contains("certificate issued") && line.contains(&identity("late")))
    };
    wait_until("the new pod's certificate", SOON, certified, String::new)?;
    assert_eq!(who_am_i(&late, far.at(true))?, Some(late.address(true).to_string()));
    assert_eq!(who_am_i(&rig.site.pod("a2").host, far.at(true))?, None);
    rig.traffic.wait_more(&all, 5)?;
    rig.site.machines[0].del("late");
    rig.end(&[])
}

/// The agent's socket is cut, and comes back at once; then the agent is gone for a while, and knows of one pod less and one
/// more when it is back. Of the others' traffic nothing is lost.
pub(crate) fn agent_gone(runtime: Runtime, backend: Backend) -> Result<()> {
    let mut rig = Rig::new(runtime, backend, &PLAN, &[])?;
    let new = rig.site.cluster.pod("new")?;
    rig.site.cluster.push([on("alpha", pod("new", &new))], [], []);
    let all = [rig.flows("a1", "b1"), rig.flows("b1", "a1")].concat();
    let (from, to) = (rig.site.pod("a2"), rig.site.pod("b1"));
    let going = FAMILIES.map(|ipv6| rig.traffic.flow(LONG, &from.host, to.at(ipv6)));
    rig.traffic.wait_more(&[&all[..], &going].concat(), 5)?;

    let alpha = &mut rig.site.machines[0];
    for number in 2..=4 {
        alpha.agent().cut();
        let snapshots = alpha.agent().snapshots(number, SOON).expect("it comes back");
        let accepted =
            snapshots.iter().all(|it| it.end.is_ok() && it.acks.iter().all(|(_, ack)| ack.is_ok()));
        assert!(accepted, "{snapshots:?}");
    }
    rig.traffic.wait_more(&[&all[..], &going].concat(), 5)?;

    drop(alpha.agent.take());
    wait_until(
        "not to be ready",
        SOON,
        || status(&alpha.host).is_ok_and(|it| it.contains(" 50")),
        String::new,
    )?;
    rig.traffic.wait_more(&[&all[..], &going].concat(), 20)?;
    let known = [told("a1", rig.site.pods["a1"].host.namespace())?, told("new", new.namespace())?];
    let agent = Agent::with_pods(&alpha.socket, known).map_err(HarnessError::io("starting the CNI agent"))?;
    agent.connected(1, SOON).expect("it comes back");
    alpha.agent = Some(agent);
    wait_until(
        "to be ready",
        SOON,
        || status(&alpha.host).is_ok_and(|it| it.contains(" 200 ")),
        String::new,
    )?;
    for flow in &going {
        flow.wait_cut()?;
    }
    let far = rig.site.pod("b1");
    assert_eq!(who_am_i(&new, far.at(true))?, Some(new.address(true).to_string()));
    rig.traffic.wait_more(&all, 5)?;
    rig.end(&going)
}

/// The first line of what a proxy says when it is asked whether it is ready.
fn status(host: &Host) -> Result<String> {
    let mut stream = host.connect((Ipv4Addr::LOCALHOST, 15021))?;
    let mut answer = String::new();
    let asked = stream.write_all(b"GET /healthz/ready HTTP/1.0\r\nhost: x\r\n\r\n");
    asked.and_then(|()| stream.read_to_string(&mut answer)).map_err(HarnessError::io("asking"))?;
    Ok(answer.lines().next().unwrap_or_default().to_owned())
}
