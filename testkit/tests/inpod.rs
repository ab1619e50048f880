//! The machine that decides about pods against an oracle, over random lives of a node.
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use adit_core::inpod::{Action, ConnectionId, Message, NetnsId, Pods, Refusal, Settings, State};
use adit_core::proxy::{LocalWorkload, ProxyId};
use adit_core::time::Instant;
use adit_testkit::oracle::inpod::{Answer, Node, Pod};
use proptest::prelude::*;

/// The namespace of the proxy itself.
const OWN: u8 = 4;
const MAX_PODS: usize = 3;

#[derive(Clone, Copy, Debug)]
enum Event {
    Add(u8, Pod),
    AddWithoutWorkload(u8),
    Keep(u8),
    Del(u8),
    SnapshotSent,
    Invalid,
    /// The connection is lost and made again.
    Lost,
    /// From now on such a pod can be bound, or cannot.
    Bindable(u8, bool),
    /// Five seconds go by.
    Time,
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    let uid = || 0..4u8;
    let event = prop_oneof![
        12 => (uid(), 0..2u8, 0..=OWN).prop_map(|(uid, workload, netns)| {
            // Most pods are what they were, in a namespace of their own.
            let usual = Pod { workload: 0, netns: uid };
            Event::Add(uid, if workload == 0 { usual } else { Pod { workload: netns % 2, netns } })
        }),
        1 => uid().prop_map(Event::AddWithoutWorkload),
        3 => uid().prop_map(Event::Keep),
        6 => uid().prop_map(Event::Del),
        4 => Just(Event::SnapshotSent),
        1 => Just(Event::Invalid),
        3 => Just(Event::Lost),
        4 => (uid(), any::<bool>()).prop_map(|(uid, can)| Event::Bindable(uid, can)),
        4 => Just(Event::Time),
    ];
    proptest::collection::vec(event, 0..60)
}

/// The machine and the world it acts on.
struct World {
    machine: Pods<u8>,
    now: Instant,
    connection: Option<ConnectionId>,
    unbindable: BTreeSet<u8>,
    running: BTreeMap<ProxyId, (u8, Pod)>,
    answers: Vec<Answer>,
    fatal: bool,
    /// How much happens before a drain begins; what ran then.
    drain_in: Option<usize>,
    before: Option<BTreeSet<ProxyId>>,
}

impl World {
    fn new() -> Self {
        let settings = Settings { own_netns: Some(netns(OWN)), max_pods: MAX_PODS, seed: 1 };
        Self {
            machine: Pods::new(settings),
            now: Instant::from_millis(1),
            connection: None,
            unbindable: BTreeSet::new(),
            running: BTreeMap::new(),
            answers: Vec::new(),
            fatal: false,
            drain_in: None,
            before: None,
        }
    }

    /// Something happens; perhaps the drain begins before it.
    fn happens(&mut self) {
        match &mut self.drain_in {
            Some(0) if self.before.is_none() => {
                self.before = Some(self.running.keys().copied().collect());
                self.machine.begin_drain();
            }
            Some(left) => *left = left.saturating_sub(1),
            None => {}
        }
    }

    /// Carries out one action; whether there was one.
    fn step(&mut self) -> bool {
        self.happens();
        let Some(action) = self.machine.poll_action(self.now) else { return false };
        match action {
            Action::Connect(id) => {
                self.connection = Some(id);
                self.machine.handle_connected(id);
            }
            Action::Hello(id) => self.machine.handle_greeted(id),
            Action::Start(start) => {
                let uid = number(&start.uid);
                let pod = Pod { workload: number(&start.workload.name), netns: start.netns };
                assert_eq!(start.netns_id, netns(start.netns));
                self.nonsense();
                self.happens();
                let result = if self.unbindable.contains(&uid) { Err("taken".into()) } else { Ok(()) };
                if result.is_ok() {
                    assert!(self.running.values().all(|(_, other)| other.netns != pod.netns), "shared");
                    assert!(self.running.values().all(|(other, _)| *other != uid), "two for one pod");
                    self.running.insert(start.id, (uid, pod));
                }
                self.machine.handle_started(self.now, start.id, result);
            }
            Action::Stop { id, uid } => {
                let (stopped, _) = self.running.remove(&id).expect("it runs");
                assert_eq!(stopped, number(&uid));
                self.nonsense();
                self.happens();
                self.machine.handle_stopped(id);
            }
            Action::Reply { connection, error } => {
                assert_eq!(Some(connection), self.connection);
                self.answers.push(match error {
                    None => Answer::Ack,
                    Some(Refusal::Protocol(_)) => Answer::Fatal,
                    Some(Refusal::Unreadable(_)) => Answer::Closed,
                    Some(_) => Answer::Error,
                });
            }
            Action::Close(id) => assert_eq!(Some(id), self.connection),
            Action::Fail(_) => self.fatal = true,
        }
        true
    }

    /// What nobody should say, which changes nothing.
    fn nonsense(&mut self) {
        self.machine.handle_started(self.now, ProxyId::OWN, Ok(()));
        self.machine.handle_stopped(ProxyId(u32::MAX));
        if let Some(id) = self.connection {
            self.machine.handle_connected(id);
            self.machine.handle_message(id, Message::SnapshotSent);
        }
    }

    /// Does all there is to do, and lets time go by until there is a connection; how much.
    fn settle(&mut self) -> Duration {
        let begin = self.now;
        loop {
            while self.step() {}
            if self.machine.wants_message() || self.machine.is_over() {
                return self.now.saturating_since(begin);
            }
            self.now = self.machine.poll_timeout().expect("it connects again");
            self.machine.handle_timeout(self.now);
        }
    }

    fn tell(&mut self, message: Message<u8>) {
        assert!(self.machine.wants_message());
        self.machine.handle_message(self.connection.expect("a connection"), message);
    }

    fn apply(&mut self, event: Event) {
        match event {
            Event::Add(uid, pod) => {
                let workload = LocalWorkload {
                    namespace: "ns".into(),
                    name: pod.workload.to_string().into(),
                    service_account: "sa".into(),
                };
                let (uid, netns_id) = (name(uid), netns(pod.netns));
                self.tell(Message::Add { uid, workload, netns_id, netns: pod.netns });
            }
            Event::AddWithoutWorkload(uid) => self.tell(Message::AddWithoutWorkload { uid: name(uid) }),
            Event::Keep(uid) => self.tell(Message::Keep { uid: name(uid) }),
            Event::Del(uid) => self.tell(Message::Del { uid: name(uid) }),
            Event::SnapshotSent => self.tell(Message::SnapshotSent),
            Event::Invalid => self.tell(Message::Invalid("garbage".into())),
            Event::Lost => {
                let id = self.connection.expect("a connection");
                self.machine.handle_closed(self.now, id);
                self.machine.handle_closed(self.now, id);
            }
            Event::Bindable(uid, can) => {
                if can {
                    self.unbindable.remove(&uid);
                } else {
                    self.unbindable.insert(uid);
                }
            }
            Event::Time => {
                self.now = self.now + Duration::from_secs(5);
                self.machine.handle_timeout(self.now);
            }
        }
    }

    fn running(&self) -> BTreeMap<u8, Pod> {
        self.running.values().copied().collect()
    }
}

fn netns(number: u8) -> NetnsId {
    NetnsId { device: 1, inode: number.into() }
}

fn name(uid: u8) -> std::sync::Arc<str> {
    uid.to_string().into()
}

fn number(text: &str) -> u8 {
    text.parse().expect("a number")
}

/// The same for the oracle; `waited` for a connection.
fn expected(node: &mut Node, event: Event, unbindable: &BTreeSet<u8>, waited: Duration) -> Option<Answer> {
    let can_start = |uid| !unbindable.contains(&uid);
    match event {
        Event::Add(uid, pod) => Some(node.add(uid, pod, can_start)),
        Event::AddWithoutWorkload(_) => Some(node.add_without_workload()),
        Event::Keep(uid) => Some(node.keep(uid)),
        Event::Del(uid) => Some(node.del(uid)),
        Event::SnapshotSent => Some(node.snapshot_sent()),
        Event::Invalid | Event::Lost => {
            if waited >= Duration::from_secs(5) {
                node.retry(can_start);
            }
            node.connected();
            matches!(event, Event::Invalid).then(|| node.invalid())
        }
        Event::Bindable(..) => None,
        Event::Time => {
            node.retry(can_start);
            None
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_machine_does_what_the_table_says(events in events()) {
        let mut node = Node::new(OWN, MAX_PODS);
        let mut world = World::new();
        world.settle();
        for event in events {
            world.apply(event);
            let waited = world.settle();
            let answer = expected(&mut node, event, &world.unbindable, waited);
            prop_assert_eq!(world.answers.drain(..).collect::<Vec<_>>(), answer.into_iter().collect::<Vec<_>>());
            prop_assert_eq!(world.running(), node.running.clone());
            prop_assert_eq!(world.machine.active(), node.running.len());
            if answer == Some(Answer::Fatal) {
                prop_assert!(world.fatal && world.machine.is_over() && !world.machine.is_ready());
                return Ok(());
            }
            let known: BTreeMap<u8, bool> = world
                .machine
                .pods()
                .map(|known| (number(&known.uid), matches!(known.state, State::Pending(_))))
                .collect();
            let pending = node.pending.keys().map(|uid| (*uid, true));
            let running = node.running.keys().map(|uid| (*uid, false));
            prop_assert_eq!(known, pending.chain(running).collect::<BTreeMap<_, _>>());
            prop_assert_eq!(world.machine.pending(), node.pending.len() + node.refused.len());
            prop_assert_eq!(world.machine.is_ready(), node.is_ready());
        }
    }

    /// Wherever a drain begins, no proxy starts any more, what runs is known, and there is an end.
    #[test]
    fn a_drain_ends_whenever_it_begins(events in events(), begins in 0..100usize) {
        let mut world = World::new();
        world.drain_in = Some(begins);
        world.settle();
        for event in events {
            if world.machine.is_over() {
                break;
            }
            world.apply(event);
            world.settle();
        }
        world.drain_in = Some(0);
        world.settle();
        if world.fatal {
            return Ok(());
        }
        let before = world.before.expect("begun");
        prop_assert!(world.running.keys().all(|id| before.contains(id)), "a proxy was started");
        prop_assert!(world.machine.is_over() && !world.machine.is_ready());
        prop_assert_eq!(world.machine.active(), world.running.len());
        prop_assert_eq!(world.machine.poll_timeout(), None);
    }
}
