//! Each row of the table of interfaces §3.2.

use super::*;
use crate::inpod::StartError;

#[test]
fn a_new_pod_is_answered_when_it_is_bound() {
    let mut node = Node::with(&[]);
    assert_eq!(node.tell(add("a", 1)), ["start a 1", "ack"]);
    assert_eq!((node.running(), node.machine.is_ready()), (vec![("a", 1)], true));
    assert_eq!(node.states(), ["a up"]);
}

#[test]
fn nothing_is_answered_or_read_while_a_proxy_starts() {
    let mut node = Node::with(&[]);
    node.machine.handle_message(node.connection(), add("a", 1));
    assert!(!node.machine.wants_message());
    let Some(Action::Start(start)) = node.machine.poll_action(NOW) else { panic!("no start") };
    assert_eq!((&*start.uid, start.workload, start.netns_id, start.netns), ("a", workload("a"), netns(1), 1));
    assert_eq!(node.states(), ["a starting"]);
    assert!(node.machine.poll_action(NOW).is_none() && !node.machine.wants_message());
    // What is said all the same is not heard, and another's result is none.
    node.machine.handle_message(node.connection(), del("a"));
    node.machine.handle_started(NOW, ProxyId(77), Ok(()));
    node.machine.handle_stopped(start.id);
    assert!(node.machine.poll_action(NOW).is_none());
    node.machine.handle_started(NOW, start.id, Ok(()));
    let reply = node.machine.poll_action(NOW);
    assert_eq!(reply, Some(Action::Reply { connection: node.connection(), error: None }));
    assert!(node.machine.wants_message());
    node.machine.handle_started(NOW, start.id, Err("late".into()));
    assert_eq!(node.states(), ["a up"]);
}

#[test]
fn a_known_pod_in_the_same_namespace_is_only_answered() {
    let mut node = Node::with(&[("a", 1)]);
    assert_eq!(node.tell(add("a", 1)), ["ack"]);
    assert_eq!(node.running(), [("a", 1)]);
}

#[test]
fn a_known_pod_in_another_namespace_is_replaced() {
    let mut node = Node::with(&[("a", 1)]);
    let first = *node.running.keys().next().expect("a proxy");
    assert_eq!(node.tell(add("a", 2)), ["stop a", "start a 2", "ack"]);
    assert_eq!(node.running(), [("a", 2)]);
    assert!(!node.running.contains_key(&first), "the new proxy has the old one's id");
    // The same inode of another device is another namespace.
    let elsewhere = NetnsId { device: 5, inode: 2 };
    let again = Message::Add { uid: "a".into(), workload: workload("a"), netns_id: elsewhere, netns: 2 };
    assert_eq!(node.tell(again), ["stop a", "start a 2", "ack"]);
}

#[test]
fn a_pod_that_comes_back_after_its_end_is_new() {
    let mut node = Node::with(&[("a", 1)]);
    assert_eq!(node.tell(del("a")), ["stop a", "ack"]);
    assert_eq!(node.tell(add("a", 1)), ["start a 1", "ack"]);
    assert_eq!(node.tell(del("a")), ["stop a", "ack"]);
    assert!(node.running.is_empty() && node.machine.pods().count() == 0);
}

#[test]
fn an_unknown_pod_that_is_deleted_or_kept_is_only_answered() {
    let mut node = Node::new(Settings::default());
    node.settle();
    assert_eq!(node.tell(keep("x")), ["ack"]);
    assert_eq!(node.tell(del("x")), ["ack"]);
    assert_eq!(node.tell(Message::SnapshotSent), ["ack"]);
    assert_eq!(node.tell(del("x")), ["ack"]);
    assert!(node.machine.is_ready());
}

#[test]
fn the_snapshot_stops_what_it_does_not_name() {
    let mut node = Node::with(&[("a", 1), ("b", 2), ("c", 3), ("d", 4)]);
    node.reconnect();
    assert_eq!(node.tell(add("a", 1)), ["ack"]);
    assert_eq!(node.tell(keep("b")), ["ack"]);
    assert_eq!(node.tell(keep("d")), ["ack"]);
    // Before the snapshot a proxy goes on although its pod has gone.
    assert_eq!(node.tell(del("d")), ["ack"]);
    assert_eq!(node.running().len(), 4);
    assert_eq!(node.tell(Message::SnapshotSent), ["stop c", "stop d", "ack"]);
    assert_eq!(node.running(), [("a", 1), ("b", 2)]);
}

#[test]
fn a_pod_deleted_and_added_within_a_snapshot_stays() {
    let mut node = Node::with(&[("a", 1)]);
    node.reconnect();
    assert_eq!(node.tell(add("a", 1)), ["ack"]);
    assert_eq!(node.tell(del("a")), ["ack"]);
    assert_eq!(node.tell(add("a", 1)), ["ack"]);
    assert_eq!(node.tell(Message::SnapshotSent), ["ack"]);
    assert_eq!(node.running(), [("a", 1)]);
}

#[test]
fn a_packet_that_cannot_be_read_costs_the_connection() {
    let mut node = Node::with(&[("a", 1)]);
    let old = node.connection();
    let invalid = Message::Invalid("2 file descriptors".into());
    assert_eq!(node.tell(invalid), ["ack: cannot read the request: 2 file descriptors", "close"]);
    assert_ne!(node.connection(), old, "connected again");
    assert_eq!((node.running(), node.machine.is_ready()), (vec![("a", 1)], false));
}

#[test]
fn protocol_errors_are_answered_and_fatal() {
    let cases: [(Message<u64>, ProtocolError); 3] = [
        (Message::AddWithoutWorkload { uid: "b".into() }, ProtocolError::NoWorkload("b".into())),
        (keep("a"), ProtocolError::KeepAfterSnapshot("a".into())),
        (Message::SnapshotSent, ProtocolError::SecondSnapshot),
    ];
    for (message, error) in cases {
        let mut node = Node::with(&[("a", 1)]);
        let expected = [format!("ack: protocol error: {error}"), format!("fail: {error}")];
        assert!(node.machine.wants_message());
        node.machine.handle_message(node.connection(), message);
        node.settle();
        assert_eq!(node.done, expected);
        // Proxies are left to their owner, who drains them; nothing is taken any more.
        assert!(node.machine.is_over() && !node.machine.wants_message() && !node.machine.is_ready());
        assert_eq!((node.running().len(), node.machine.poll_timeout()), (1, None));
        node.cut();
        assert!(node.machine.poll_action(NOW).is_none());
    }
}

#[test]
fn a_proxy_does_not_change_what_it_stands_for() {
    let mut node = Node::with(&[("a", 1)]);
    for inode in [1, 2] {
        let other =
            Message::Add { uid: "a".into(), workload: workload("b"), netns_id: netns(inode), netns: inode };
        let expected = "ack: pod a has a proxy as sa.ns (a): it cannot become sa.ns (b); delete it first";
        assert_eq!(node.tell(other), [expected]);
    }
    assert_eq!((node.running(), node.states()), (vec![("a", 1)], vec!["a up".to_string()]));
}

#[test]
fn two_pods_do_not_share_a_namespace() {
    let mut node = Node::with(&[("a", 1)]);
    let taken = StartError::NetnsTaken { netns: netns(1), other: "a".into() };
    assert_eq!(node.tell(add("b", 1)), [format!("ack: no proxy for pod b yet: {taken}")]);
    assert!(!node.machine.is_ready());
    assert_eq!(node.states(), ["a up".to_string(), format!("b pending: {taken}")]);
    assert_eq!(node.sleep(), Vec::<String>::new());
    // The first pod has gone, only its end was late.
    assert_eq!(node.tell(del("a")), ["stop a", "ack"]);
    assert_eq!(node.sleep(), ["start b 1"]);
    assert_eq!((node.running(), node.machine.is_ready()), (vec![("b", 1)], true));
}

#[test]
fn no_pod_has_the_namespace_of_the_proxy() {
    let mut node = Node::new(Settings { own_netns: Some(netns(9)), ..Settings::default() });
    node.settle();
    let own = StartError::OwnNetns(netns(9));
    assert_eq!(node.tell(add("a", 9)), [format!("ack: no proxy for pod a yet: {own}")]);
    assert_eq!(node.tell(add("b", 8)), ["start b 8", "ack"]);
}

#[test]
fn pods_are_bounded() {
    let mut node = Node::new(Settings { max_pods: 2, ..Settings::default() });
    node.settle();
    node.broken.insert("b");
    node.tell(add("a", 1));
    node.tell(add("b", 2));
    node.tell(Message::SnapshotSent);
    for _ in 0..2 {
        assert_eq!(node.tell(add("c", 3)), ["ack: this proxy has 2 pods and takes no more"]);
        assert_eq!(
            (node.machine.pending(), node.machine.is_ready()),
            (2, false),
            "b cannot be started, c is not taken"
        );
    }
    // Those that are known may still change, and an end makes room.
    assert_eq!(node.tell(add("a", 4)), ["stop a", "start a 4", "ack"]);
    assert_eq!(node.tell(del("b")), ["ack"]);
    assert_eq!((node.machine.pending(), node.machine.is_ready()), (1, false));
    assert_eq!(node.tell(add("c", 3)), ["start c 3", "ack"]);
    assert_eq!((node.machine.pending(), node.machine.is_ready()), (0, true));
    // One that was not taken and is gone is missed by nobody.
    node.tell(add("d", 5));
    assert!(!node.machine.is_ready());
    assert_eq!(node.tell(del("d")), ["ack"]);
    assert!(node.machine.is_ready());
}
