//! Connections to the agent: delays, readiness, the end.

use std::time::Duration;

use super::*;
use crate::inpod::StartError;

/// Connects, and lets `end` do something with the connection; how long until the next is wanted.
fn delay(machine: &mut Pods<u64>, end: impl FnOnce(&mut Pods<u64>, ConnectionId)) -> Duration {
    let Some(Action::Connect(id)) = machine.poll_action(NOW) else { panic!("no connection is wanted") };
    end(machine, id);
    let Some(at) = machine.poll_timeout() else { return Duration::ZERO };
    assert!(machine.poll_action(NOW).is_none(), "not before its time");
    machine.handle_timeout(at);
    at.saturating_since(NOW)
}

fn hello(machine: &mut Pods<u64>, id: ConnectionId) {
    machine.handle_connected(id);
    assert_eq!(machine.poll_action(NOW), Some(Action::Hello(id)));
}

#[test]
fn an_agent_that_is_not_there_is_asked_ever_less_often() {
    let mut machine = Pods::new(Settings::default());
    let away = |machine: &mut Pods<u64>, id| machine.handle_closed(NOW, id);
    let delays: Vec<_> = (0..12).map(|_| delay(&mut machine, away).as_millis()).collect();
    assert_eq!(delays, [20, 40, 80, 160, 320, 640, 1280, 2560, 5120, 10240, 15000, 15000]);
    delay(&mut machine, |machine, id| {
        hello(machine, id);
        machine.handle_closed(NOW, id);
    });
    assert_eq!(delay(&mut machine, away), Duration::from_millis(20), "it was there meanwhile");
}

#[test]
fn an_agent_that_takes_no_hello_is_left_alone_ever_longer() {
    let mut spread = BTreeSet::new();
    for seed in 0..20 {
        let mut machine = Pods::new(Settings { seed, ..Settings::default() });
        let mut full = Duration::from_millis(5);
        for round in 0..14 {
            let delay = delay(&mut machine, |machine, id| {
                hello(machine, id);
                // Whether it goes before or after the hello makes no difference.
                if round % 2 == 0 {
                    machine.handle_greeted(id);
                }
                machine.handle_closed(NOW, id);
            });
            assert!(
                delay >= full.mul_f64(0.8) && delay <= full.mul_f64(1.2).min(Duration::from_secs(15)),
                "{delay:?}"
            );
            spread.insert(delay);
            full = Duration::from_secs(15).min(full * 2);
        }
        delay(&mut machine, |machine, id| {
            hello(machine, id);
            machine.handle_greeted(id);
            machine.handle_message(id, Message::SnapshotSent);
            assert!(matches!(machine.poll_action(NOW), Some(Action::Reply { error: None, .. })));
            machine.handle_closed(NOW, id);
        });
        let first = delay(&mut machine, |machine, id| {
            hello(machine, id);
            machine.handle_closed(NOW, id);
        });
        assert!(first <= Duration::from_millis(6), "a snapshot starts the delays anew: {first:?}");
    }
    assert!(spread.len() > 200, "no jitter: {}", spread.len());
}

#[test]
fn a_connection_that_brought_its_snapshot_is_made_again_at_once() {
    let mut node = Node::with(&[("a", 1)]);
    let first = node.connection();
    assert!(node.machine.is_ready());
    node.cut();
    assert!(!node.machine.is_ready());
    node.settle();
    assert_ne!(node.connection(), first);
    assert!(!node.machine.is_ready(), "not before the snapshot");
    node.tell(keep("a"));
    assert_eq!(node.tell(Message::SnapshotSent), ["ack"]);
    assert_eq!((node.machine.is_ready(), node.running()), (true, vec![("a", 1)]));
}

#[test]
fn what_is_said_about_an_earlier_connection_is_ignored() {
    let mut node = Node::with(&[("a", 1)]);
    let first = node.connection();
    node.reconnect();
    node.machine.handle_closed(NOW, first);
    node.machine.handle_connected(first);
    node.machine.handle_greeted(first);
    node.machine.handle_message(first, Message::SnapshotSent);
    node.settle();
    assert!(node.done.is_empty() && node.machine.wants_message() && !node.machine.is_ready());
}

#[test]
fn an_answer_does_not_go_to_the_next_connection() {
    let mut node = Node::with(&[]);
    node.machine.handle_message(node.connection(), add("a", 1));
    let Some(Action::Start(start)) = node.machine.poll_action(NOW) else { panic!("no start") };
    node.cut();
    node.machine.handle_started(NOW, start.id, Ok(()));
    node.running.insert(start.id, ("a".into(), 1));
    node.settle();
    assert!(node.done.is_empty(), "{:?}", node.done);
    assert_eq!(node.tell(Message::SnapshotSent), ["stop a", "ack"]);
}

#[test]
fn a_drain_leaves_the_agent_and_takes_no_more_pods() {
    let mut node = Node::with(&[("a", 1)]);
    node.broken.insert("b");
    node.tell(add("b", 2));
    node.machine.begin_drain();
    node.machine.begin_drain();
    assert!(!node.machine.wants_message() && !node.machine.is_ready() && !node.machine.is_over());
    node.settle();
    assert_eq!(node.done, ["close"]);
    assert_eq!(
        (node.running(), node.machine.pending(), node.machine.poll_timeout()),
        (vec![("a", 1)], 0, None)
    );
    assert!(node.machine.is_over());
    node.cut();
    node.machine.handle_timeout(Instant::FAR);
    assert!(node.machine.poll_action(NOW).is_none());
}

#[test]
fn a_drain_without_a_connection_is_over_at_once() {
    let mut machine = Pods::<u64>::new(Settings::default());
    delay(&mut machine, |machine, id| machine.handle_closed(NOW, id));
    machine.begin_drain();
    assert!(machine.is_over() && machine.poll_action(NOW).is_none());
}

#[test]
fn a_proxy_that_starts_into_a_drain_is_stopped() {
    for result in [Ok(()), Err("address in use".into())] {
        let mut node = Node::with(&[]);
        node.machine.handle_message(node.connection(), add("a", 1));
        let Some(Action::Start(start)) = node.machine.poll_action(NOW) else { panic!("no start") };
        node.machine.begin_drain();
        assert!(!node.machine.is_over());
        if result.is_ok() {
            node.running.insert(start.id, ("a".into(), 1));
        }
        let expected: &[&str] = if result.is_ok() { &["stop a", "close"] } else { &["close"] };
        node.machine.handle_started(NOW, start.id, result);
        node.settle();
        assert_eq!(node.done, expected);
        assert!(node.machine.is_over() && node.running.is_empty());
    }
}

#[test]
fn stops_that_are_due_happen_in_a_drain_too() {
    let mut node = Node::with(&[("a", 1), ("b", 2)]);
    node.reconnect();
    node.machine.handle_message(node.connection(), Message::SnapshotSent);
    let Some(Action::Stop { id, .. }) = node.machine.poll_action(NOW) else { panic!("no stop") };
    node.running.remove(&id);
    node.machine.begin_drain();
    node.machine.handle_stopped(id);
    node.settle();
    assert_eq!(node.done, ["stop b", "close"]);
}

#[test]
fn what_leads_into_a_namespace_is_let_go_when_the_proxy_runs_or_the_pod_goes() {
    let held = Arc::new(());
    let message = |uid: &str, inode| Message::Add {
        uid: uid.into(),
        workload: workload(uid),
        netns_id: netns(inode),
        netns: Arc::clone(&held),
    };
    let mut machine = Pods::new(Settings::default());
    let Some(Action::Connect(id)) = machine.poll_action(NOW) else { panic!("no connection") };
    machine.handle_connected(id);
    assert!(machine.poll_action(NOW).is_some());
    machine.handle_greeted(id);
    for (uid, inode, result) in [("a", 1, Ok(())), ("b", 2, Err("no".into()))] {
        machine.handle_message(id, message(uid, inode));
        let Some(Action::Start(start)) = machine.poll_action(NOW) else { panic!("no start") };
        machine.handle_started(NOW, start.id, result);
        assert!(machine.poll_action(NOW).is_some());
    }
    assert_eq!(Arc::strong_count(&held), 2, "only the one that is tried again");
    machine.handle_message(id, Message::Del { uid: "b".into() });
    assert!(machine.poll_action(NOW).is_some());
    assert_eq!(Arc::strong_count(&held), 1);
}

#[test]
fn errors_tell_what_to_do() {
    let taken = StartError::NetnsTaken { netns: netns(7), other: "u".into() };
    assert_eq!(
        taken.to_string(),
        "network namespace 4:7 belongs to pod u, whose proxy runs in it; is that pod gone?"
    );
    let too_old = ProtocolError::NoWorkload("u".into());
    assert_eq!(
        too_old.to_string(),
        "add of pod u has no workload_info; is the CNI agent as new as this proxy?"
    );
}
