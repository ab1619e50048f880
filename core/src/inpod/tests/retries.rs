//! Pods whose proxy cannot be started.

use std::time::Duration;

use super::*;

const FAILED: &str = "ack: no proxy for pod a yet: address in use";

/// A node with one pod, `a`, that cannot be started.
fn node() -> Node {
    let mut node = Node::new(Settings::default());
    node.settle();
    node.broken.insert("a");
    assert_eq!(node.tell(add("a", 1)), ["start a 1", FAILED]);
    node
}

#[test]
fn a_pod_that_cannot_be_started_is_tried_every_five_seconds() {
    let mut node = node();
    assert!(!node.machine.is_ready());
    assert_eq!(node.tell(Message::SnapshotSent), ["ack"]);
    assert_eq!((node.machine.pending(), node.machine.is_ready()), (1, false));
    assert_eq!(node.states(), ["a pending: address in use"]);
    let failed = node.now;
    for round in 1..4 {
        node.machine.handle_timeout(node.now);
        assert_eq!(node.machine.poll_timeout(), Some(failed + Duration::from_secs(5) * round));
        assert_eq!(node.sleep(), ["start a 1"]);
    }
    node.broken.clear();
    assert_eq!(node.sleep(), ["start a 1"]);
    assert_eq!((node.machine.pending(), node.machine.poll_timeout()), (0, None));
    assert!(node.machine.is_ready());
}

#[test]
fn a_pod_stays_pending_while_it_is_tried() {
    let mut node = node();
    node.tell(Message::SnapshotSent);
    node.now = node.machine.poll_timeout().expect("a retry");
    node.machine.handle_timeout(node.now);
    assert!(matches!(node.machine.poll_action(node.now), Some(Action::Start(_))));
    assert_eq!((node.machine.pending(), node.machine.is_ready()), (1, false));
    assert_eq!(node.states(), ["a pending: address in use"]);
}

#[test]
fn another_add_tries_at_once() {
    let mut node = node();
    assert_eq!(node.tell(add("a", 1)), ["start a 1", FAILED]);
    assert_eq!(node.machine.pending(), 1);
    node.broken.clear();
    assert_eq!(node.tell(add("a", 2)), ["start a 2", "ack"]);
    assert_eq!((node.machine.pending(), node.running()), (0, vec![("a", 2)]));
    // The retry that was due finds nothing to do.
    assert_eq!(node.sleep(), Vec::<String>::new());
    assert_eq!(node.machine.poll_timeout(), None);
}

#[test]
fn a_pod_without_a_proxy_may_become_another_workload() {
    let mut node = node();
    node.broken.clear();
    let other = Message::Add { uid: "a".into(), workload: workload("b"), netns_id: netns(1), netns: 1 };
    assert_eq!(node.tell(other), ["start a 1", "ack"]);
    assert_eq!(node.machine.pods().next().map(|known| known.workload), Some(workload("b")));
}

#[test]
fn a_failed_replacement_leaves_no_proxy() {
    let mut node = Node::with(&[("a", 1)]);
    node.broken.insert("a");
    assert_eq!(node.tell(add("a", 2)), ["stop a", "start a 2", FAILED]);
    assert!(node.running.is_empty() && !node.machine.is_ready());
    node.broken.clear();
    assert_eq!(node.sleep(), ["start a 2"]);
}

#[test]
fn del_clears_what_is_pending() {
    for snapshot in [false, true] {
        let mut node = node();
        if snapshot {
            node.tell(Message::SnapshotSent);
        }
        assert_eq!(node.tell(del("a")), ["ack"]);
        assert_eq!((node.machine.pending(), node.machine.pods().count()), (0, 0));
        node.broken.clear();
        assert_eq!(node.sleep(), Vec::<String>::new());
        assert!(node.running.is_empty());
    }
}

#[test]
fn a_new_connection_clears_what_is_pending() {
    let mut node = node();
    node.tell(Message::SnapshotSent);
    node.cut();
    assert_eq!(node.machine.pending(), 1, "while there is no connection it is tried on");
    node.settle();
    assert_eq!((node.machine.pending(), node.machine.poll_timeout()), (0, None));
    assert_eq!(node.tell(Message::SnapshotSent), ["ack"]);
    assert!(node.machine.is_ready());
}

#[test]
fn a_retry_that_fails_after_a_new_connection_is_forgotten() {
    for succeeds in [false, true] {
        let mut node = node();
        node.tell(Message::SnapshotSent);
        node.now = node.machine.poll_timeout().expect("a retry");
        node.machine.handle_timeout(node.now);
        let Some(Action::Start(start)) = node.machine.poll_action(node.now) else { panic!("no start") };
        node.cut();
        // Nothing else is done before the proxy has started or not: the driver connects only then.
        assert!(node.machine.poll_action(node.now).is_none());
        let result = if succeeds { Ok(()) } else { Err("address in use".into()) };
        if succeeds {
            node.running.insert(start.id, ("a".into(), 1));
        }
        node.machine.handle_started(node.now, start.id, result);
        node.settle();
        assert_eq!((node.machine.pending(), node.machine.active()), (0, usize::from(succeeds)));
        let stopped: &[&str] = if succeeds { &["stop a", "ack"] } else { &["ack"] };
        assert_eq!(node.tell(Message::SnapshotSent), stopped);
    }
}

#[test]
fn retries_go_on_while_the_agent_is_away() {
    let mut node = node();
    node.tell(Message::SnapshotSent);
    node.cut();
    let Some(Action::Connect(id)) = node.machine.poll_action(node.now) else { panic!("no connection") };
    node.broken.clear();
    for _ in 0..12 {
        node.machine.handle_closed(node.now, id);
        node.now = node.machine.poll_timeout().expect("a deadline");
        node.machine.handle_timeout(node.now);
        match node.machine.poll_action(node.now) {
            Some(Action::Start(start)) => {
                node.machine.handle_started(node.now, start.id, Ok(()));
                assert_eq!((node.machine.active(), node.machine.is_ready()), (1, false));
                return;
            }
            action => assert!(matches!(action, Some(Action::Connect(_)))),
        }
    }
    panic!("no retry");
}
