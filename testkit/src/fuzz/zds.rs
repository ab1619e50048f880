//! Any octets as packets of a CNI agent: each is answered once, pods are bounded, and every proxy that was started is known.
use std::collections::BTreeSet;
use std::time::Duration;

use adit_control::zds::request;
use adit_core::inpod::{Action, ConnectionId, Message, NetnsId, Pods, Settings};
use adit_core::proxy::ProxyId;
use adit_core::time::Instant;

use super::Choices;

const MAX_PODS: usize = 4;

/// The machine and what it has had done.
struct Node {
    machine: Pods<u8>,
    now: Instant,
    connection: Option<ConnectionId>,
    running: BTreeSet<ProxyId>,
    /// No proxy can be started.
    broken: bool,
    replies: usize,
}

impl Node {
    /// Does what there is to do until a packet is wanted, or will never be.
    fn settle(&mut self) {
        loop {
            while let Some(action) = self.machine.poll_action(self.now) {
                self.carry_out(action);
            }
            if self.machine.wants_message() || self.machine.is_over() {
                break;
            }
            self.now = self.machine.poll_timeout().expect("somebody to wait for");
            self.machine.handle_timeout(self.now);
        }
        assert_eq!(self.machine.active(), self.running.len());
        assert!(self.machine.pods().count() <= MAX_PODS);
    }

    fn carry_out(&mut self, action: Action<u8>) {
        match action {
            Action::Connect(id) => {
                self.connection = Some(id);
                self.machine.handle_connected(id);
            }
            Action::Hello(id) => self.machine.handle_greeted(id),
            Action::Start(start) if self.broken => {
                self.machine.handle_started(self.now, start.id, Err("broken".into()));
            }
            Action::Start(start) => {
                assert!(self.running.insert(start.id), "an id is used twice");
                self.machine.handle_started(self.now, start.id, Ok(()));
            }
            Action::Stop { id, .. } => {
                assert!(self.running.remove(&id), "it does not run");
                self.machine.handle_stopped(id);
            }
            Action::Reply { error, .. } => {
                self.replies += 1;
                assert!(error.is_none_or(|error| !error.to_string().is_empty()));
            }
            Action::Close(_) | Action::Fail(_) => {}
        }
    }
}

/// Each packet is an octet of circumstances, one of length, and that many octets. Circumstances: bits 0 and 1 are the number of file
/// descriptors, 2 and 3 the namespace they lead to, 4 means that proxies cannot be started, 5 that the connection is lost before,
/// 6 that time goes by after.
pub fn body(data: &[u8]) {
    let settings = Settings { max_pods: MAX_PODS, ..Settings::default() };
    let mut node = Node {
        machine: Pods::new(settings),
        now: Instant::ZERO,
        connection: None,
        running: BTreeSet::new(),
        broken: false,
        replies: 0,
    };
    node.settle();
    let mut choices = Choices::new(data);
    while !choices.is_empty() && !node.machine.is_over() {
        let circumstances = choices.octet();
        let length = usize::from(choices.octet());
        let octets = choices.take(length);
        let netns = NetnsId { device: 1, inode: u64::from(circumstances >> 2 & 3) };
        let namespaces = vec![(netns, 0); usize::from(circumstances & 3)];
        node.broken = circumstances & 0x10 != 0;
        let connection = node.connection.expect("a connection");
        if circumstances & 0x20 != 0 {
            node.machine.handle_closed(node.now, connection);
            node.settle();
        }
        let connection = node.connection.expect("a connection");
        let message =
            request(octets, namespaces).unwrap_or_else(|error| Message::Invalid(error.to_string().into()));
        let before = node.replies;
        node.machine.handle_message(connection, message);
        node.settle();
        assert_eq!(node.replies, before + 1);
        if circumstances & 0x40 != 0 {
            node.now = node.now + Duration::from_secs(5);
            node.machine.handle_timeout(node.now);
            node.settle();
        }
    }
}
