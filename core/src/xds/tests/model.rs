//! A model of the server, and random histories against it: once all is quiet, the client's table is the server's state.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::format;
use std::string::{String, ToString};
use std::time::Duration;
use std::vec::Vec;

use proptest::prelude::*;

use super::super::{Client, Ending, Event, Received, Request, Response, StreamId, Subscription, Waiter};
use super::{ADDRESS, client};
use crate::time::Instant;

/// A resource of the server: its version, and whether it can be decoded.
#[derive(Clone, Debug, PartialEq)]
struct Truth {
    version: u64,
    decodable: bool,
}

/// The server: its state, and what the current stream has been told.
#[derive(Default)]
struct Server {
    state: BTreeMap<String, Truth>,
    version: u64,
    /// Name → version as the server believes the client has it.
    told: BTreeMap<String, String>,
    /// Names asked for on this stream; `None`: all.
    subscribed: Option<BTreeSet<String>>,
    /// Names that must be answered although nothing changed.
    owed: BTreeSet<String>,
    first_seen: bool,
    nonce: u64,
    wire: VecDeque<Response>,
}

impl Server {
    fn put(&mut self, name: &str, decodable: bool) {
        self.version += 1;
        self.state.insert(name.to_string(), Truth { version: self.version, decodable });
    }

    fn stream_lost(&mut self) {
        let (state, version) = (std::mem::take(&mut self.state), self.version);
        *self = Self { state, version, ..Self::default() };
    }

    fn take(&mut self, request: &Request) {
        if &*request.type_url != ADDRESS || !request.nonce.is_empty() {
            return;
        }
        if request.first {
            self.first_seen = true;
            let versions = request.initial_versions.iter();
            self.told = versions.map(|(name, version)| (name.to_string(), version.to_string())).collect();
            self.subscribed = (!request.unsubscribe.is_empty()).then(|| self.told.keys().cloned().collect());
            // A name with a version that is not the current one gets an answer, whatever it is.
            self.owed = request.initial_versions.keys().map(ToString::to_string).collect();
            return;
        }
        if let Some(subscribed) = &mut self.subscribed {
            let names = request.subscribe.iter().map(ToString::to_string);
            for name in names {
                self.told.remove(&name);
                self.owed.insert(name.clone());
                subscribed.insert(name);
            }
        }
    }

    /// Puts what has changed on the wire.
    fn push(&mut self) {
        if !self.first_seen {
            return;
        }
        let wanted = |name: &String| self.subscribed.as_ref().is_none_or(|names| names.contains(name));
        let mut resources = Vec::new();
        for (name, truth) in self.state.iter().filter(|(name, _)| wanted(name)) {
            let version = truth.version.to_string();
            if self.told.get(name) != Some(&version) {
                let outcome = if truth.decodable { Ok(()) } else { Err("odd".to_string()) };
                let received = Received {
                    name: name.as_str().into(),
                    version: version.as_str().into(),
                    aliases: Vec::new(),
                    outcome,
                };
                resources.push(received);
                self.told.insert(name.clone(), version);
            }
        }
        let gone = self.told.keys().chain(&self.owed).filter(|name| !self.state.contains_key(*name));
        let removed: BTreeSet<String> = gone.cloned().collect();
        self.owed.clear();
        for name in &removed {
            self.told.remove(name);
        }
        if resources.is_empty() && removed.is_empty() {
            return;
        }
        self.nonce += 1;
        self.wire.push_back(Response {
            type_url: ADDRESS.into(),
            nonce: self.nonce.to_string().as_str().into(),
            resources,
            removed: removed.iter().map(|name| name.as_str().into()).collect(),
        });
    }
}

/// The client with its driver: a table that holds what was applied.
struct Driver {
    client: Client,
    stream: Option<StreamId>,
    table: BTreeMap<String, String>,
    now: Instant,
    waiting: BTreeSet<Waiter>,
    demanded: BTreeSet<String>,
    acknowledged: u64,
}

impl Driver {
    fn new(mode: Subscription) -> Self {
        Self {
            client: client(mode),
            stream: None,
            table: BTreeMap::new(),
            now: Instant::ZERO,
            waiting: BTreeSet::new(),
            demanded: BTreeSet::new(),
            acknowledged: 0,
        }
    }

    fn turn(&mut self, server: &mut Server) {
        self.now = self.now + Duration::from_secs(20);
        self.client.handle_timeout(self.now);
        if let Some(stream) = self.client.poll_open() {
            self.client.handle_connected(self.now, stream);
            self.stream = Some(stream);
        }
        while let Some(request) = self.client.poll_request() {
            self.acknowledged += u64::from(!request.nonce.is_empty());
            server.take(&request);
        }
        while let Some(event) = self.client.poll_event() {
            if let Event::Answered { waiter, .. } = event {
                assert!(self.waiting.remove(&waiter), "answered twice: {waiter:?}");
            }
        }
    }

    fn receive(&mut self, response: Response) {
        let Some(stream) = self.stream else { return };
        for resource in response.resources.iter().filter(|resource| resource.outcome.is_ok()) {
            self.table.insert(resource.name.to_string(), resource.version.to_string());
        }
        for name in &response.removed {
            self.table.remove(&**name);
        }
        self.client.handle_response(self.now, stream, response);
    }

    fn lose(&mut self, server: &mut Server, ending: Ending<'_>) {
        if let Some(stream) = self.stream.take() {
            self.client.handle_closed(self.now, stream, ending);
        }
        server.stream_lost();
    }
}

#[derive(Clone, Debug)]
enum Step {
    Put(u8, bool),
    Remove(u8),
    Push,
    Receive,
    Turn,
    Lose(u8),
    Demand(u8),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => (0..6u8, prop::bool::weighted(0.7)).prop_map(|(name, good)| Step::Put(name, good)),
        2 => (0..6u8).prop_map(Step::Remove),
        3 => Just(Step::Push),
        3 => Just(Step::Receive),
        4 => Just(Step::Turn),
        1 => (0..4u8).prop_map(Step::Lose),
        2 => (0..8u8).prop_map(Step::Demand),
    ]
}

fn run(mode: Subscription, steps: &[Step]) {
    let (mut server, mut driver) = (Server::default(), Driver::new(mode));
    let name = |n: u8| format!("r{n}");
    let mut waiter = 0;
    for step in steps {
        match step {
            Step::Put(n, decodable) => server.put(&name(*n), *decodable),
            Step::Remove(n) => drop(server.state.remove(&name(*n))),
            Step::Push => server.push(),
            Step::Receive => {
                if let Some(response) = server.wire.pop_front() {
                    driver.receive(response);
                }
            }
            Step::Turn => driver.turn(&mut server),
            Step::Lose(how) => {
                let unknown = Ending::Status { code: 2, message: "" };
                let endings = [Ending::CouldNotOpen, unknown, Ending::Failed, Ending::Complete];
                driver.lose(&mut server, endings[usize::from(*how)]);
            }
            Step::Demand(n) => {
                waiter += 1;
                if driver.client.demand(&name(*n), Waiter(waiter)).is_ok() {
                    driver.waiting.insert(Waiter(waiter));
                    driver.demanded.insert(name(*n));
                }
            }
        }
    }
    // Quiet: nothing changes any more, and the stream lives.
    for _ in 0..4 {
        driver.turn(&mut server);
        server.push();
        while let Some(response) = server.wire.pop_front() {
            driver.receive(response);
        }
    }
    driver.turn(&mut server);

    assert!(driver.waiting.is_empty(), "forgotten: {:?}", driver.waiting);
    for (name, version) in &driver.table {
        let truth =
            server.state.get(name).unwrap_or_else(|| panic!("{name} is gone, but still in the table"));
        assert!(!truth.decodable || truth.version.to_string() == *version, "{name} is old");
    }
    let known = |name: &&String| mode == Subscription::Wildcard || driver.table.contains_key(*name);
    for (name, truth) in server.state.iter().filter(|(name, _)| known(name)) {
        assert!(!truth.decodable || driver.table.contains_key(name), "{name} is missing");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn a_wildcard_table_becomes_the_servers_state(steps in prop::collection::vec(step(), 0..60)) {
        run(Subscription::Wildcard, &steps);
    }

    #[test]
    fn an_on_demand_table_becomes_the_servers_state(steps in prop::collection::vec(step(), 0..60)) {
        run(Subscription::OnDemand, &steps);
    }
}
