//! An agent as Istio's: several proxies, restarts, cut connections.

use adit_testkit::cni::{Agent, AgentError, LIMIT, Packet, Pod, Snapshot};
use adit_testkit::netns::Scratch;

use super::rig::{Client, Clock, pod};

fn snapshot(pods: &[&str]) -> Snapshot {
    Snapshot { acks: pods.iter().map(|uid| ((*uid).to_owned(), Ok(()))).collect(), end: Ok(()) }
}

fn start(scratch: &Scratch, pods: impl IntoIterator<Item = Pod>) -> Agent {
    Agent::with_pods(&scratch.path().join("zds"), pods).expect("an agent")
}

fn client(scratch: &Scratch) -> Client {
    Client::start(scratch.path().join("zds"), Clock::Real)
}

#[test]
fn the_newest_proxy_is_told_of_new_pods_and_all_of_those_that_go() {
    let scratch = Scratch::new().expect("a directory");
    let agent = start(&scratch, [pod("a", "net")]);
    assert_eq!(agent.add(pod("b", "uts")), Err(AgentError::NoConnection));
    let mut old = client(&scratch);
    agent.connected(1, LIMIT).expect("a proxy");
    let new = client(&scratch);
    agent.connected(2, LIMIT).expect("two proxies");
    assert_eq!(agent.snapshots(2, LIMIT).expect("two"), vec![snapshot(&["a", "b"]); 2]);

    assert_eq!(agent.add(pod("c", "ipc")), Ok(()));
    assert_eq!((old.seen.running(), new.seen.running().len()), (vec!["a".to_owned(), "b".to_owned()], 3));
    assert_eq!(agent.del("a"), Ok(()));
    assert_eq!((old.seen.running(), new.seen.running().len()), (vec!["b".to_owned()], 2));
    // The old one did not know of it, and is not troubled.
    assert_eq!(agent.del("c"), Ok(()));

    old.drain();
    assert_eq!(old.end(), Ok(()));
    agent.connected(1, LIMIT).expect("one proxy");
    assert_eq!(agent.add(pod("d", "mnt")), Ok(()));
    assert_eq!(new.seen.running(), ["b", "d"]);
}

#[test]
fn a_cut_connection_is_made_again_and_what_was_missed_is_made_up_for() {
    let scratch = Scratch::new().expect("a directory");
    let agent = start(&scratch, [pod("a", "net"), pod("b", "uts")]);
    let client = client(&scratch);
    client.seen.wait("ready", |seen| seen.ready);
    agent.forget("a");
    agent.forget_netns("b");
    agent.cut();
    let snapshots = agent.snapshots(2, LIMIT).expect("another");
    assert_eq!(snapshots[1], snapshot(&["b"]));
    client.seen.wait("ready again", |seen| seen.ready && seen.metrics == (1, 0, 2, 1));
    assert_eq!(client.seen.running(), ["b"]);
}

#[test]
fn an_agent_that_restarts_finds_its_pods_running() {
    let scratch = Scratch::new().expect("a directory");
    let client = client(&scratch);
    let agent = start(&scratch, [pod("a", "net"), pod("b", "uts")]);
    agent.connected(1, LIMIT).expect("a proxy that waited");
    drop(agent);
    client.seen.wait("not ready", |seen| !seen.ready);
    let agent = start(&scratch, [pod("a", "net"), Pod { netns: None, ..pod("b", "uts") }]);
    agent.connected(1, LIMIT).expect("a proxy that comes back");
    assert_eq!(agent.snapshots(1, LIMIT).expect("one"), [snapshot(&["a", "b"])]);
    client.seen.wait("ready again", |seen| seen.ready && seen.metrics == (2, 0, 2, 0));
}

#[test]
fn a_pod_that_cannot_be_started_fails_its_add_and_not_the_next() {
    let scratch = Scratch::new().expect("a directory");
    let agent = start(&scratch, []);
    let client = client(&scratch);
    agent.connected(1, LIMIT).expect("a proxy");
    client.seen.lock().broken.insert("a");
    assert!(matches!(agent.add(pod("a", "net")), Err(AgentError::Refused(_))));
    assert_eq!(agent.add(pod("b", "uts")), Ok(()));
    client.seen.wait("not ready", |seen| !seen.ready && seen.metrics.1 == 1);
    assert_eq!(agent.del("a"), Ok(()));
    client.seen.wait("ready", |seen| seen.ready && seen.metrics == (1, 0, 1, 0));
}

#[test]
fn a_broken_packet_costs_a_connection_and_no_proxy() {
    let scratch = Scratch::new().expect("a directory");
    let agent = start(&scratch, [pod("a", "net")]);
    let client = client(&scratch);
    agent.connected(1, LIMIT).expect("a proxy");
    let answer = agent.with_newest(|connection| connection.request(&Packet::raw([0xff])));
    assert!(matches!(answer, Ok(Err(AgentError::Refused(_)))), "{answer:?}");
    agent.snapshots(2, LIMIT).expect("it comes back");
    client.seen.wait("ready", |seen| seen.ready && seen.metrics == (1, 0, 1, 0));
}
