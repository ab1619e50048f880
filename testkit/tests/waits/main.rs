//! Connections that wait for an answer from the outside: for the addresses of a name, or for what the tables lack. Each is
//! answered or ended exactly once, and nothing waits in vain.
mod inbound;
mod names;
mod outbound;

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use adit_core::dns::{NameError, NameScope};
use adit_core::mesh::Mesh;
use adit_core::proxy::observed::Observed;
use adit_core::proxy::{
    Action, Listener, ProxyId, Shard, ShardConfig, SocketError, SocketId, Ticket, Unanswered,
};
use adit_core::time::Instant;
use adit_testkit::sim::mesh::{add, config, parse, room};
use adit_testkit::sim::{Script, Weather};
use proptest::prelude::*;

fn addr(text: &str) -> SocketAddr {
    text.parse().expect("an address")
}

fn ip(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

/// A client at 10.0.0.1; behind the service at 10.1.0.1 a plain workload, behind that at 10.1.0.2 one in the mesh, both
/// with names and without addresses.
const NAMED: &str = "
workloads:
- {uid: c, name: client, namespace: ns, serviceAccount: client, workloadIps: [10.0.0.1], protocol: HBONE, services: {}}
- {uid: o, name: out, namespace: ns, serviceAccount: out, hostname: out.example, workloadIps: [], services: {ns/out.example: {'80': 8080}}}
- {uid: s, name: server, namespace: ns, serviceAccount: server, hostname: server.example, workloadIps: [], protocol: HBONE, services: {ns/in.example: {'80': 8080}}}
services:
- {name: out, namespace: ns, hostname: out.example, vips: [/10.1.0.1], ports: {'80': 8080}}
- {name: in, namespace: ns, hostname: in.example, vips: [/10.1.0.2], ports: {'80': 8080}}
policies: []
";

/// Only the client.
const ALONE: &str = "
workloads:
- {uid: c, name: client, namespace: ns, serviceAccount: client, workloadIps: [10.0.0.1], protocol: HBONE, services: {}}
services: []
policies: []
";

const START: Instant = Instant::from_millis(1);

fn shard(mesh: &str, change: impl FnOnce(&mut ShardConfig)) -> Shard {
    let mut config = config("ns", "client", "client");
    change(&mut config);
    Shard::new(Arc::new(config), parse(mesh), START)
}

fn on_demand(config: &mut ShardConfig) {
    config.on_demand = true;
}

/// A captured connection of the client's port `port` to `target`.
fn capture(shard: &mut Shard, port: u16, target: &str) -> Option<SocketId> {
    let target = addr(target);
    shard.handle_accepted(
        START,
        ProxyId::OWN,
        Listener::Outbound,
        SocketAddr::new(ip("10.0.0.1"), port),
        target,
        target,
    )
}

fn actions(shard: &mut Shard) -> Vec<Action> {
    std::iter::from_fn(|| shard.poll_action()).collect()
}

fn dials(actions: &[Action]) -> Vec<String> {
    let dial = |action: &Action| match action {
        Action::Dial { to, .. } => Some(to.to_string()),
        _ => None,
    };
    actions.iter().filter_map(dial).collect()
}

/// What a shard asks for: tickets, and names or keys.
fn questions(shard: &mut Shard) -> Vec<(Ticket, String)> {
    let question = |action| match action {
        Action::Resolve { ticket, name, .. } => Some((ticket, name.to_string())),
        Action::Demand { ticket, key } => Some((ticket, key.to_string())),
        _ => None,
    };
    actions(shard).into_iter().filter_map(question).collect()
}

fn observed(shard: &mut Shard) -> Vec<Observed> {
    std::iter::from_fn(|| shard.poll_observed()).collect()
}

fn errors(shard: &mut Shard) -> Vec<String> {
    let error = |observed| match observed {
        Observed::ConnectionClosed { error: Some(error), .. } | Observed::EarlyDenied { error, .. } => {
            Some(error)
        }
        _ => None,
    };
    observed(shard).into_iter().filter_map(error).collect()
}

/// [`ALONE`], and a plain workload at 10.0.0.5.
fn found() -> Arc<Mesh> {
    let workload = "workloads:
- {uid: p, name: pod, namespace: ns, serviceAccount: pod, workloadIps: [10.0.0.5], services: {}}";
    parse(&ALONE.replace("workloads:", workload))
}

#[test]
fn a_drain_ends_who_waits_when_its_grace_is_over() {
    let mut shard = shard(NAMED, on_demand);
    capture(&mut shard, 1, "10.1.0.1:80").expect("accepted");
    capture(&mut shard, 2, "10.0.0.5:80").expect("accepted");
    shard.drain(START);
    assert_eq!(shard.connections(), 2, "they may still be answered");
    shard.terminate(START);
    assert_eq!(shard.connections(), 0);
    assert_eq!(errors(&mut shard), ["connection closed due to connection drain"; 2]);
    assert!(actions(&mut shard).contains(&Action::Drained));
}

proptest! {
    /// However answers, tables, clients' ends and time come: whoever was taken is dialled or ended exactly once, and in the
    /// end nobody waits.
    #[test]
    fn everybody_is_dialled_or_ended_once(
        calls in prop::collection::vec((0..8_u8, 0..6_u16, any::<bool>()), 1..80),
        most in 1..4_usize,
    ) {
        let mut shard = shard(NAMED, |config| (config.on_demand, config.max_questions) = (true, most));
        let (mut now, mut taken, mut refused, mut port) = (START, 0, 0, 0);
        let (mut tickets, mut sockets) = (Vec::new(), Vec::new());
        let (mut dialled, mut gone) = (0, 0);
        let count = |shard: &mut Shard, tickets: &mut Vec<_>, dialled: &mut usize| {
            for action in actions(shard) {
                match action {
                    Action::Resolve { ticket, .. } => tickets.push((ticket, true)),
                    Action::Demand { ticket, .. } => tickets.push((ticket, false)),
                    Action::Dial { .. } => *dialled += 1,
                    _ => {}
                }
            }
        };
        for (kind, which, yes) in calls {
            let target = ["10.1.0.1:80", "10.0.0.5:80", "10.0.0.6:80", "10.0.0.7:80", "10.0.0.8:80", "10.0.0.9:80"];
            match kind {
                0..=3 => {
                    port += 1;
                    taken += 1;
                    match capture(&mut shard, port, target[usize::from(which)]) {
                        Some(socket) => sockets.push(socket),
                        None => refused += 1,
                    }
                }
                4 if !tickets.is_empty() => {
                    let (ticket, name) = tickets[usize::from(which) % tickets.len()];
                    let ends = if yes { Ok(vec![ip("10.7.7.7")]) } else { Err(NameError::NotFound) };
                    if name {
                        shard.handle_resolved(now, ticket, ends);
                    } else {
                        shard.handle_demanded(now, ticket, if yes { Ok(()) } else { Err(Unanswered::GivenUp) });
                    }
                }
                5 if !sockets.is_empty() => {
                    let socket = sockets.swap_remove(usize::from(which) % sockets.len());
                    shard.handle_error(now, socket, SocketError::Reset);
                }
                6 => {
                    now = now + Duration::from_secs(u64::from(which));
                    shard.handle_timeout(now);
                }
                7 if yes => shard.handle_mesh(now, found()),
                _ => {}
            }
            count(&mut shard, &mut tickets, &mut dialled);
        }
        now = now + Duration::from_secs(10);
        shard.handle_timeout(now);
        count(&mut shard, &mut tickets, &mut dialled);
        // Dials have a deadline of their own.
        shard.handle_timeout(now + Duration::from_secs(10));
        for observed in observed(&mut shard) {
            match observed {
                Observed::ConnectionClosed { .. } | Observed::EarlyDenied { .. } => gone += 1,
                _ => {}
            }
        }
        prop_assert_eq!(gone, taken, "each has one end");
        prop_assert!(dialled + refused <= taken);
        prop_assert_eq!(shard.connections(), 0);
    }
}
