//! A service in front of endpoints on several nodes: who gets the connections.
use adit_control::proto::istio::workload::{Workload, WorkloadStatus};
use adit_testkit::netns::{Backend, Result, Runtime, wait_until};

use crate::cluster::{Cluster, SOON, app, calls, shown, wait_tables, who_am_i};
use crate::resources::{pod, server, service, vip};
use crate::world::{APP, FAMILIES, SERVICE};

/// So many connections that a share of a tenth is neither nothing nor a quarter, but once in ten million times; and that a
/// share of a half is never so little.
const CALLS: usize = 160;

/// Some more connections.
const MORE: usize = 20;

/// Weights are honoured; whoever is unhealthy gets nothing; without any endpoint nobody is called in their stead.
pub(crate) fn endpoints(runtime: Runtime, backend: Backend) -> Result<()> {
    let mut cluster = Cluster::new(runtime, backend)?;
    let (client, first, second) = (cluster.pod("client")?, cluster.pod("first")?, cluster.pod("second")?);
    let weighing = |weight| Workload { capacity: Some(weight), ..server("first", &first) };
    cluster.push(
        [pod("client", &client), weighing(9), server("second", &second)],
        [service("server", 1, (SERVICE, APP))],
        [],
    );
    let client_node = cluster.node("client", &client)?;
    let (first_node, second_node) = (cluster.node("first", &first)?, cluster.node("second", &second)?);
    let (first_app, second_app) = (app(&first)?, app(&second)?);
    let served = || (calls(&first_app), calls(&second_app));
    let wait_served = |total: usize| {
        let all = || served().0 + served().1 == total;
        wait_until("all calls to be served", SOON, all, || format!("{:?}", served()))
    };

    for number in 0..CALLS {
        let ipv6 = FAMILIES[number % 2];
        let answer = who_am_i(&client, (vip(1, ipv6), SERVICE))?;
        assert_eq!(answer, Some(client.address(ipv6).to_string()));
    }
    wait_served(CALLS)?;
    let (most, some) = served();
    assert!(0 < some && some < CALLS / 4, "{most} and {some}");
    for node in [&first_node, &second_node] {
        node.wait_access(&[
            ("direction", "inbound"),
            ("src.workload", "client"),
            ("message", "connection complete"),
        ])?;
    }

    let unhealthy = |workload| Workload { status: WorkloadStatus::Unhealthy.into(), ..workload };
    let is_unhealthy = |name: &'static str| {
        move |tables: &serde_json::Value| {
            shown(tables, name).is_some_and(|each| each["status"] == "Unhealthy")
        }
    };
    cluster.push([unhealthy(weighing(9))], [], []);
    wait_tables(&client, "the first endpoint to be unhealthy", is_unhealthy("first"))?;
    for number in 0..MORE {
        assert!(who_am_i(&client, (vip(1, FAMILIES[number % 2]), SERVICE))?.is_some());
    }
    wait_served(CALLS + MORE)?;
    assert_eq!(served(), (most, some + MORE));

    cluster.push([unhealthy(server("second", &second))], [], []);
    wait_tables(&client, "the second endpoint to be unhealthy", is_unhealthy("second"))?;
    for ipv6 in FAMILIES {
        let target = std::net::SocketAddr::new(vip(1, ipv6), SERVICE);
        assert_eq!(who_am_i(&client, target)?, None);
        client_node.wait_access(&[
            ("direction", "outbound"),
            ("dst.addr", &target.to_string()),
            ("error", &format!("no healthy upstream: {target}")),
        ])?;
    }
    assert_eq!(served().0 + served().1, CALLS + MORE);
    Ok(())
}
