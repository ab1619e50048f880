//! The state of the limits model: the shipped buckets, the waypoint around them, and the ghost.
use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use adit_core::l7::rate::{Asking, LimitAnswer, LocalLimit, LocalLimits, Part, RatePolicy};
use adit_core::l7::{Request, Scheme};
use adit_core::mesh::ServiceName;
use adit_core::time::Instant;

use super::{Action, Fault, LimitsModel};

/// The buckets, and what an honest outsider knows about them.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct State {
    /// One for all workers; with [`Fault::SharesNothing`], one for each.
    buckets: Vec<LocalLimits>,
    workers: Vec<Worker>,
    now: u8,
    /// Which of the model's limits is in force, and how many changes there were.
    in_force: Version,
    /// There was a change since what is gone was forgotten.
    forgets: bool,
    asked: u8,
    /// The latest configuration that a request went by.
    latest: u8,
    /// What passed, in order, since everything was forgotten last.
    passed: Vec<Passed>,
    /// Clients that were refused last.
    refused: BTreeSet<u8>,
    /// What the newest step was found to do; forgotten at the next, so that history does not multiply states.
    pub(super) wrong: BTreeSet<Wrong>,
    pub(super) seen: BTreeSet<Seen>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Version {
    limit: usize,
    change: u8,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Worker {
    Idle,
    /// Its request came while this was in force.
    Has(u8, Version),
    /// With [`Fault::TakesFromACopy`]: what is put back.
    Holds(LocalLimits),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Passed {
    client: u8,
    at: u8,
}

/// What a step must not do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Wrong {
    TooMany,
    RefusedTooEarly,
}

/// What some step must do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Seen {
    Refused,
    PassesAgain,
    GoesByAnEarlierVersion,
    NotLimited,
    LimitedAgain,
    CommonBucket,
}

impl State {
    pub(super) fn new(model: &LimitsModel) -> Self {
        let separate = model.fault == Some(Fault::SharesNothing);
        Self {
            buckets: vec![LocalLimits::new(); if separate { model.workers } else { 1 }],
            workers: vec![Worker::Idle; model.workers],
            now: 0,
            in_force: Version { limit: 0, change: 0 },
            forgets: false,
            asked: 0,
            latest: 0,
            passed: Vec::new(),
            refused: BTreeSet::new(),
            wrong: BTreeSet::new(),
            seen: BTreeSet::new(),
        }
    }

    // ---- what can happen

    pub(super) fn actions(&self, model: &LimitsModel, actions: &mut Vec<Action>) {
        if self.asked < model.requests && self.workers.contains(&Worker::Idle) {
            actions.extend((0..model.clients).map(Action::Come));
        }
        for (number, worker) in self.workers.iter().enumerate() {
            match worker {
                Worker::Idle => {}
                Worker::Has(..) => actions.push(Action::Take(number)),
                Worker::Holds(_) => actions.push(Action::PutBack(number)),
            }
        }
        if self.now < model.seconds {
            actions.push(Action::Tick);
        }
        if self.in_force.change < model.changes {
            let others = (0..model.limits.len()).filter(|limit| *limit != self.in_force.limit);
            actions.extend(others.map(Action::Change));
        }
        if self.forgets {
            actions.push(Action::Forget);
        }
    }

    // ---- what then happens

    pub(super) fn step(&mut self, model: &LimitsModel, action: Action) {
        self.wrong.clear();
        self.seen.clear();
        match action {
            Action::Come(client) => {
                self.asked += 1;
                let idle = self.workers.iter_mut().find(|worker| **worker == Worker::Idle);
                *idle.expect("somebody is idle") = Worker::Has(client, self.in_force);
            }
            Action::Take(number) => self.take(model, number),
            Action::PutBack(number) => {
                if let Worker::Holds(copy) = std::mem::replace(&mut self.workers[number], Worker::Idle) {
                    self.buckets[0] = copy;
                }
            }
            Action::Tick => self.now += 1,
            Action::Change(limit) => {
                self.in_force = Version { limit, change: self.in_force.change + 1 };
                self.forgets = true;
                if model.fault == Some(Fault::ForgetsAtEachChange) {
                    self.buckets.iter_mut().for_each(|buckets| buckets.retain([].into_iter()));
                }
            }
            Action::Forget => {
                self.forgets = false;
                let policy = policy(model, self.in_force);
                self.buckets.iter_mut().for_each(|buckets| buckets.retain(policy.iter()));
                if policy.is_none() {
                    self.passed.clear();
                    self.refused.clear();
                }
            }
        }
    }

    fn take(&mut self, model: &LimitsModel, number: usize) {
        let Worker::Has(client, version) = std::mem::replace(&mut self.workers[number], Worker::Idle) else {
            return;
        };
        let Some(policy) = policy(model, version) else {
            _ = self.seen.insert(Seen::NotLimited);
            return;
        };
        let told = if model.fault == Some(Fault::MergesClients) { 0 } else { client };
        let hurry = if model.fault == Some(Fault::HurriesTheClock) { 2 } else { 1 };
        let now = Instant::from_millis(u64::from(self.now) * 1000 * hurry);
        let service = ServiceName { namespace: "ns".into(), hostname: "web.ns".into() };
        let asked = Asked(&[told]);
        let asking = Asking {
            request: &asked,
            source: None,
            source_cluster: None,
            client: IpAddr::V4(Ipv4Addr::LOCALHOST),
            auth: None,
            destination: &service,
        };
        let passes = if model.fault == Some(Fault::TakesFromACopy) {
            let mut copy = self.buckets[0].clone();
            let taken = copy.take(now, &policy, &asking);
            self.workers[number] = Worker::Holds(copy);
            taken.passes
        } else {
            let own = number.min(self.buckets.len() - 1);
            self.buckets[own].take(now, &policy, &asking).passes
        };
        if version.change < self.latest {
            self.seen.insert(Seen::GoesByAnEarlierVersion);
        }
        if version.change >= 2 && version.change > self.latest {
            self.seen.insert(Seen::LimitedAgain);
        }
        self.latest = self.latest.max(version.change);
        self.judge(model, client, version, passes);
    }

    /// What an outsider makes of it.
    fn judge(&mut self, model: &LimitsModel, client: u8, version: Version, passes: bool) {
        let Some(limit) = model.limits[version.limit] else { return };
        let common = model.max_keys < usize::from(model.clients);
        if passes {
            self.passed.push(Passed { client, at: self.now });
            if self.refused.remove(&client) {
                self.seen.insert(Seen::PassesAgain);
            }
            // Whatever limits counted meanwhile: no more came than by the fastest.
            let fastest = model.limits.iter().flatten().map(|limit| limit.seconds).min().unwrap_or(1);
            let times = || self.passed.iter().filter(|passed| passed.client == client).map(|it| it.at);
            for (first, from) in times().enumerate() {
                let count = times().count() - first;
                let came = (self.now - from).div_ceil(fastest);
                if count > usize::try_from(limit.burst).unwrap_or(usize::MAX) + usize::from(came) {
                    self.wrong.insert(Wrong::TooMany);
                }
            }
        } else {
            self.seen.insert(Seen::Refused);
            self.refused.insert(client);
            let its = |passed: &&Passed| common || passed.client == client;
            if self.passed.iter().filter(its).count() < usize::try_from(limit.burst).unwrap_or(usize::MAX) {
                self.wrong.insert(Wrong::RefusedTooEarly);
            }
        }
        let clients: BTreeSet<u8> = self.passed.iter().map(|passed| passed.client).collect();
        if common && clients.len() > self.buckets[0].len() {
            self.seen.insert(Seen::CommonBucket);
        }
    }
}

/// What a configuration says; nothing where it has no limit.
fn policy(model: &LimitsModel, version: Version) -> Option<Arc<RatePolicy>> {
    let rate = model.limits[version.limit]?.rate();
    let by = vec![Part::Header { key: "client".into(), name: "x-client".into(), optional: false }];
    let named = model.fault == Some(Fault::NamesVersions);
    let name = if named { format!("ns/limit-{}", version.change) } else { "ns/limit".to_owned() };
    Some(Arc::new(RatePolicy {
        name: name.into(),
        shadow: false,
        local: vec![LocalLimit { rate, by, max_keys: model.max_keys }],
        global: None,
        answer: LimitAnswer::default(),
    }))
}

/// A request whose only header says whose it is.
struct Asked<'a>(&'a [u8]);

impl Request for Asked<'_> {
    fn method(&self) -> &str {
        "GET"
    }

    fn scheme(&self) -> Scheme {
        Scheme::Http
    }

    fn authority(&self) -> &str {
        "web"
    }

    fn path(&self) -> &str {
        "/"
    }

    fn query(&self) -> Option<&str> {
        None
    }

    fn header<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a [u8]> {
        (name == "x-client").then_some(self.0).into_iter()
    }
}
