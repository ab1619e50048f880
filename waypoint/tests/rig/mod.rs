//! What the suites have in common: a mesh on loopback, and clients that show everything that came back.
#![allow(dead_code, unreachable_pub, reason = "each suite takes what it needs")]
pub mod h2c;
pub mod http1;
pub mod servers;

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use adit_waypoint::demo::app::Seen;
use adit_waypoint::demo::world::{Plan, Records, World};
use adit_waypoint::settings::Settings;

pub use self::http1::{Client, Reply};

/// How long anything may take before a test fails: for machines that are much slower than ours.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// A mesh, and what its waypoint has told of.
pub struct Rig {
    pub world: World,
    pub records: Records,
}

impl Rig {
    /// A mesh under `manifests`; `world.problems` says what is wrong with them.
    pub fn new(plan: &Plan, manifests: &str) -> Self {
        Self::with(plan, manifests, Settings::default())
    }

    pub fn with(plan: &Plan, manifests: &str, settings: Settings) -> Self {
        let records = Records::default();
        let world = World::start(plan, manifests, settings, records.recorders()).unwrap();
        Self { world, records }
    }

    pub fn entry(&self, service: &str, port: u16) -> SocketAddr {
        self.world.entry("web", service, port).unwrap()
    }

    /// A client of `service`'s port.
    pub fn client(&self, service: &str, port: u16) -> Client {
        Client::new(self.entry(service, port))
    }

    /// One request on a connection of its own.
    pub fn get(&self, service: &str, path: &str, headers: &[(&str, &str)]) -> Reply {
        self.client(service, 80).ask("GET", path, headers, b"")
    }

    /// What an application has seen of requests for `target`.
    pub fn seen(&self, app: &str, target: &str) -> Vec<Seen> {
        let mut seen = self.world.app(app).unwrap().seen();
        seen.retain(|seen| seen.target == target);
        seen
    }

    /// The lines of requests for `path`, when there are `count`; each is told once, at its end.
    pub fn lines(&self, path: &str, count: usize) -> Vec<String> {
        let lines = || {
            let mut lines = self.records.lines();
            lines.retain(|line| line.split(' ').nth(1) == Some(path));
            lines
        };
        soon(|| lines().len() >= count);
        let lines = lines();
        assert_eq!(lines.len(), count, "{lines:?}");
        lines
    }
}

/// Waits for what comes by itself.
pub fn soon(mut is: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !is() {
        assert!(Instant::now() < deadline, "it did not come in time");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// `echo` with both versions behind, and each on its own, as in the fixture of the conformance suite.
pub fn echo() -> Plan {
    Plan {
        clients: vec!["web"],
        apps: vec![("v1", vec!["echo", "echo-v1"]), ("v2", vec!["echo", "echo-v2"])],
        ports: vec![80],
        threads: 1,
        ..Plan::default()
    }
}

/// A route of `kind` on `service`; `spec` is what follows its parents, indented by two.
pub fn route(kind: &str, name: &str, service: &str, spec: &str) -> String {
    format!(
        "---\napiVersion: gateway.networking.k8s.io/v1\nkind: {kind}\nmetadata: {{ name: {name}, namespace: demo }}\nspec:\n  \
         parentRefs: [{{ group: \"\", kind: Service, name: {service} }}]\n{spec}\n"
    )
}
