//! Scripts: a node whose agent and whose starting of proxies the test decides.

mod connections;
mod pods;
mod retries;

use std::collections::{BTreeMap, BTreeSet};
use std::format;
use std::string::{String, ToString};
use std::sync::Arc;
use std::vec;
use std::vec::Vec;

use super::{Action, ConnectionId, Message, NetnsId, Pods, ProtocolError, Settings, State};
use crate::proxy::{LocalWorkload, ProxyId};
use crate::time::Instant;

const NOW: Instant = Instant::from_millis(1000);

/// A machine and what its driver has done so far.
struct Node {
    machine: Pods<u64>,
    now: Instant,
    connection: Option<ConnectionId>,
    /// Who cannot be started.
    broken: BTreeSet<&'static str>,
    /// What runs: uid and namespace.
    running: BTreeMap<ProxyId, (String, u64)>,
    /// What was done since it was last looked at: `start a 1`, `stop a`, `ack`, `ack: TEXT`, `close`, `fail: TEXT`.
    done: Vec<String>,
}

fn netns(inode: u64) -> NetnsId {
    NetnsId { device: 4, inode }
}

fn workload(name: &str) -> LocalWorkload {
    LocalWorkload { namespace: "ns".into(), name: name.into(), service_account: "sa".into() }
}

fn add(uid: &str, inode: u64) -> Message<u64> {
    Message::Add { uid: uid.into(), workload: workload(uid), netns_id: netns(inode), netns: inode }
}

fn keep(uid: &str) -> Message<u64> {
    Message::Keep { uid: uid.into() }
}

fn del(uid: &str) -> Message<u64> {
    Message::Del { uid: uid.into() }
}

impl Node {
    /// Not connected yet.
    fn new(settings: Settings) -> Self {
        Self {
            machine: Pods::new(settings),
            now: NOW,
            connection: None,
            broken: BTreeSet::new(),
            running: BTreeMap::new(),
            done: Vec::new(),
        }
    }

    /// Connected, and the snapshot has named `pods`, as (uid, namespace).
    fn with(pods: &[(&'static str, u64)]) -> Self {
        let mut node = Self::new(Settings::default());
        node.settle();
        for (uid, inode) in pods {
            node.tell(add(uid, *inode));
        }
        node.tell(Message::SnapshotSent);
        node.done.clear();
        node
    }

    /// Does what the machine wants. Connections are made, hello is said.
    fn settle(&mut self) {
        while let Some(action) = self.machine.poll_action(self.now) {
            match action {
                Action::Connect(id) => {
                    self.connection = Some(id);
                    self.machine.handle_connected(id);
                }
                Action::Hello(id) => self.machine.handle_greeted(id),
                Action::Start(start) => {
                    self.done.push(format!("start {} {}", start.uid, start.netns));
                    let broken = self.broken.contains(&*start.uid);
                    if !broken {
                        let proxy = (start.uid.to_string(), start.netns);
                        assert!(self.running.insert(start.id, proxy).is_none(), "it runs");
                    }
                    let result = if broken { Err("address in use".into()) } else { Ok(()) };
                    self.machine.handle_started(self.now, start.id, result);
                }
                Action::Stop { id, uid } => {
                    self.done.push(format!("stop {uid}"));
                    assert!(self.running.remove(&id).is_some(), "it does not run");
                    self.machine.handle_stopped(id);
                }
                Action::Reply { connection, error } => {
                    assert_eq!(self.connection, Some(connection));
                    self.done.push(error.map_or_else(|| "ack".into(), |error| format!("ack: {error}")));
                }
                Action::Close(_) => self.done.push("close".into()),
                Action::Fail(error) => self.done.push(format!("fail: {error}")),
            }
        }
        assert_eq!(self.machine.active(), self.running.len());
    }

    fn connection(&self) -> ConnectionId {
        self.connection.expect("a connection")
    }

    /// The agent says `message`; what follows.
    fn tell(&mut self, message: Message<u64>) -> Vec<String> {
        assert!(self.machine.wants_message());
        self.machine.handle_message(self.connection(), message);
        self.settle();
        std::mem::take(&mut self.done)
    }

    /// Time goes on to the machine's next deadline; what follows.
    fn sleep(&mut self) -> Vec<String> {
        self.now = self.machine.poll_timeout().expect("a deadline");
        self.machine.handle_timeout(self.now);
        self.settle();
        std::mem::take(&mut self.done)
    }

    /// The connection is lost.
    fn cut(&mut self) {
        self.machine.handle_closed(self.now, self.connection());
    }

    /// The connection is lost, and made again.
    fn reconnect(&mut self) -> Vec<String> {
        self.cut();
        self.settle();
        std::mem::take(&mut self.done)
    }

    fn running(&self) -> Vec<(&str, u64)> {
        let mut running: Vec<_> = self.running.values().map(|(uid, inode)| (uid.as_str(), *inode)).collect();
        running.sort_unstable();
        running
    }

    fn states(&self) -> Vec<String> {
        let known = self.machine.pods().map(|known| match known.state {
            State::Starting => format!("{} starting", known.uid),
            State::Up => format!("{} up", known.uid),
            State::Pending(error) => format!("{} pending: {error}", known.uid),
        });
        known.collect()
    }
}
