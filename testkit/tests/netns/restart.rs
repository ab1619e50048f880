//! The control plane goes away and comes back: what works goes on, what changed meanwhile comes into force, nothing is lost.
use adit_control::proto::istio::security::{Action, Scope};
use adit_testkit::istiod::ads::{ADDRESS, AUTHORIZATION};
use adit_testkit::istiod::ca::Behaviour;
use adit_testkit::netns::{Backend, Node, Result, Runtime, wait_until};

use crate::cluster::{Cluster, Echo, SOON, app, calls, shown, wait_tables, who_am_i};
use crate::resources::{from, pod, policy, server, service, service_key, uid, vip};
use crate::world::{APP, FAMILIES, SERVICE, identity};

const CLOSED: &str = "default/closed";
/// gRPC's status.
const UNAVAILABLE: u8 = 14;

/// A stop, changes of each kind meanwhile, a start.
pub(crate) fn loses_nothing(runtime: Runtime, backend: Backend) -> Result<()> {
    let mut cluster = Cluster::new(runtime, backend)?;
    let client = cluster.pod("client")?;
    let (old, new) = (cluster.pod("old")?, cluster.pod("new")?);
    let denied = policy(CLOSED, Scope::Namespace, Action::Deny, vec![from("nobody")]);
    cluster.push(
        [pod("client", &client), server("old", &old), pod("new", &new)],
        [service("server", 1, (SERVICE, APP)), service("gone", 2, (SERVICE, APP))],
        [denied],
    );
    let client_node = cluster.node("client", &client)?;
    let (old_node, new_node) = (cluster.node("old", &old)?, cluster.node("new", &new)?);
    let (old_app, new_app) = (app(&old)?, app(&new)?);
    let target = |ipv6| (vip(1, ipv6), SERVICE);
    let mut before = Vec::new();
    for ipv6 in FAMILIES {
        before.push(Echo::open(&client, target(ipv6))?);
    }

    cluster.istiod.stop();
    let authority = |behaviour: Behaviour| {
        for name in ["client", "old", "new"] {
            cluster.ca.behave(&identity(name), behaviour.clone());
        }
    };
    authority(Behaviour::Fail(UNAVAILABLE, "the control plane is away".into()));
    let nodes = [&client_node, &old_node, &new_node];
    for node in nodes {
        wait_line(node, "stream from the control plane ended")?;
    }
    let mut during = Vec::new();
    for (ipv6, open) in FAMILIES.into_iter().zip(&mut before) {
        open.exchange("without a control plane")?;
        during.push(Echo::open(&client, target(ipv6))?);
        assert!(who_am_i(&client, target(ipv6))?.is_some());
    }
    let called = || (calls(&old_app), calls(&new_app));
    let wait_called = |wanted| wait_until("calls", SOON, || called() == wanted, || format!("{:?}", called()));
    wait_called((FAMILIES.len(), 0))?;

    // The service moves to the other pod, another one goes away, so does a policy, and one comes.
    let ads = &cluster.istiod.ads;
    ads.remove(ADDRESS, [&*service_key("gone")]);
    ads.remove(AUTHORIZATION, [CLOSED]);
    let late = policy("default/late", Scope::Namespace, Action::Deny, vec![from("nobody")]);
    cluster.push([pod("old", &old), server("new", &new)], [], [late]);
    authority(Behaviour::Sign);
    cluster.tasks.block_on(cluster.istiod.restart());
    for host in [&client, &old, &new] {
        wait_tables(host, "what changed while the control plane was away", |tables| {
            let text = tables.to_string();
            shown(tables, "new").is_some_and(|each| each["services"].to_string().contains("server"))
                && text.contains("late")
                && !text.contains("gone")
                && !text.contains("closed")
        })?;
    }
    // Asked for again by version, not from nothing.
    let asked = cluster.istiod.ads.recorded();
    let resumed: Vec<_> = asked
        .iter()
        .filter(|asked| asked.request.type_url == ADDRESS && asked.request.response_nonce.is_empty())
        .collect();
    assert_eq!(resumed.len(), nodes.len(), "{resumed:#?}");
    for asked in resumed {
        let had = &asked.request.initial_resource_versions;
        assert!(had.contains_key(&uid("old")) && had.contains_key(&service_key("gone")), "{had:?}");
    }
    for (ipv6, (before, during)) in FAMILIES.into_iter().zip(before.iter_mut().zip(&mut during)) {
        before.exchange("still the first way")?;
        during.exchange("still the first way")?;
        assert!(who_am_i(&client, target(ipv6))?.is_some());
    }
    wait_called((FAMILIES.len(), FAMILIES.len()))
}

fn wait_line(node: &Node, text: &str) -> Result<()> {
    node.process().wait_line(text, SOON, |line| line.contains(text).then_some(()))
}
