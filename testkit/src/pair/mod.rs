//! Two tunnels on a simulated network, with scripted applications at both ends of every stream.
//!
//! Everything a run does follows from its seed. While it runs every received octet is checked, and so is the contract of
//! `lend_data`: after `None` nothing is tried until `Writable`, so a wake-up that is lost ends as a stuck run.
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use adit_core::hbone::{Tunnel, TunnelConfig, TunnelError};
use adit_core::http2::ErrorCode;
use adit_core::identity::{Identity, IdentitySet};
use adit_core::time::Instant;
use adit_core::tls::{Session, Side, SymbolicOptions, TlsContext, TlsPorts};

mod end;
mod net;
mod script;

pub use net::{Chunks, Net, Rng};
pub use script::{Ending, Script, StreamScript, Transcript, fill, matches};

use end::End;
use net::Wire;

/// What protects the tunnel.
#[derive(Clone, Debug)]
pub enum Sessions {
    /// No cryptography; a KeyUpdate after so many records.
    Symbolic {
        /// Records sealed under one key.
        key_update_after: u64,
    },
    /// Real TLS between two workloads.
    Tls {
        /// The client's.
        client: Arc<TlsContext>,
        /// The server's.
        server: Arc<TlsContext>,
        /// For sessions that are thawed.
        ports: TlsPorts,
    },
}

/// How a run is made.
#[derive(Clone, Debug)]
pub struct Setup {
    /// All chance comes from it.
    pub seed: u64,
    /// What protects the tunnel.
    pub sessions: Sessions,
    /// What lies between the two.
    pub net: Net,
    /// The client's limits.
    pub client: TunnelConfig,
    /// The server's limits.
    pub server: TunnelConfig,
    /// An end is frozen and thawed once in so many turns; 0: never.
    pub hand_over_once_in: usize,
}

impl Default for Setup {
    /// Symbolic, on a good network.
    fn default() -> Self {
        Self {
            seed: 0,
            sessions: Sessions::Symbolic { key_update_after: u64::MAX },
            net: Net::default(),
            client: TunnelConfig::client(),
            server: TunnelConfig::server(),
            hand_over_once_in: 0,
        }
    }
}

/// Something that must never happen did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation(pub String);

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Violation {}

/// What both ends saw, by stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// The client's applications.
    pub client: BTreeMap<usize, Transcript>,
    /// The server's applications.
    pub server: BTreeMap<usize, Transcript>,
    /// How the tunnel ended at the client and at the server.
    pub errors: [Option<TunnelError>; 2],
    /// The most octets of buffers that the client and the server held at once.
    pub most_lent: [usize; 2],
}

/// Two tunnels and the network between them.
pub struct Pair {
    setup: Setup,
    rng: Rng,
    now: Instant,
    ends: [End; 2],
    /// Client to server, server to client.
    wires: [Wire; 2],
    streams: usize,
    most_lent: [usize; 2],
}

/// Longer than anything waits for; a run in which nothing moves for so long is stuck.
const PATIENCE: Duration = Duration::from_secs(120);

/// More turns than any run needs at one moment.
const SPINNING: u32 = 1_000_000;

impl Pair {
    /// Two fresh tunnels that will run `scripts`.
    ///
    /// # Panics
    ///
    /// When the TLS contexts cannot make sessions.
    #[must_use]
    pub fn new(setup: Setup, scripts: Vec<StreamScript>) -> Self {
        let scripts: Arc<[StreamScript]> = scripts.into();
        let [client, server] = sessions(&setup.sessions);
        let ports = match &setup.sessions {
            Sessions::Symbolic { .. } => None,
            Sessions::Tls { ports, .. } => Some(ports.clone()),
        };
        let now = Instant::from_millis(1);
        let (client_config, server_config) = (Arc::new(setup.client.clone()), Arc::new(setup.server.clone()));
        let client = Tunnel::client(client, Arc::clone(&client_config), now);
        let server = Tunnel::server(server, Arc::clone(&server_config), now);
        let streams = scripts.len();
        Self {
            rng: Rng::new(setup.seed),
            now,
            ends: [
                End::new(Side::Client, client, client_config, ports.clone(), Arc::clone(&scripts)),
                End::new(Side::Server, server, server_config, ports, scripts),
            ],
            wires: setup.net.cut.map(|cut| Wire::new(setup.net, cut)),
            setup,
            streams,
            most_lent: [0; 2],
        }
    }

    /// Runs until every stream is gone and nothing is under way, then drains and closes the tunnel.
    ///
    /// # Errors
    ///
    /// A lost, duplicated, reordered or changed octet, an end that is told twice, a stuck run, or a buffer that an idle
    /// tunnel holds.
    pub fn run(mut self) -> Result<Outcome, Violation> {
        self.run_streams()?;
        if self.broken() {
            return self.finish_broken();
        }
        for end in &self.ends {
            if end.lent() > 0 {
                return Err(Violation(format!("{:?} is idle and holds {} octets", end.side, end.lent())));
            }
        }
        self.close()
    }

    fn broken(&self) -> bool {
        self.wires.iter().any(Wire::is_broken)
    }

    fn run_streams(&mut self) -> Result<(), Violation> {
        let (mut moved, mut turns) = (self.now, 0_u32);
        loop {
            if self.turn()? {
                moved = self.now;
                turns += 1;
                if turns > SPINNING {
                    return Err(Violation("turns without end while no time passes".into()));
                }
                continue;
            }
            turns = 0;
            let done = self.ends.iter().all(|end| end.is_done(self.streams)) && self.ends[0].ready;
            let failed = self.ends.iter().all(|end| end.error.is_some());
            let asleep = self.ends.iter().any(|end| end.wakes(self.now).is_some());
            if (done || failed && !asleep) && self.wires.iter().all(Wire::is_empty) {
                return Ok(());
            }
            if self.now.saturating_since(moved) > PATIENCE {
                let ends = self.ends.each_ref().map(End::unfinished);
                return Err(Violation(format!("stuck: {}\n{}", ends[0], ends[1])));
            }
            self.pass_time();
        }
    }

    /// Both ends in turn; whether anything happened.
    fn turn(&mut self) -> Result<bool, Violation> {
        let mut progress = false;
        for which in 0..2 {
            let [to_server, to_client] = &mut self.wires;
            let (input, output) = if which == 0 { (to_client, to_server) } else { (to_server, to_client) };
            let end = &mut self.ends[which];
            if self.rng.once_in(self.setup.hand_over_once_in) {
                end.hand_over(self.now)?;
            }
            progress |= end.turn(self.now, input, output, &mut self.rng)?;
            self.most_lent[which] = self.most_lent[which].max(end.lent());
        }
        if self.broken() {
            // A broken connection is broken both ways.
            self.wires.iter_mut().for_each(Wire::end);
        }
        Ok(progress)
    }

    /// Nothing moves now: to the next moment at which something may.
    fn pass_time(&mut self) {
        let wires = self.wires.iter().filter_map(Wire::due);
        let ends = self.ends.iter().filter_map(|end| end.wakes(self.now));
        let timers = self.ends.iter().filter_map(|end| end.tunnel.as_ref()?.poll_timeout());
        let next = wires.chain(ends).chain(timers).filter(|&at| at > self.now).min();
        self.now = next.unwrap_or(self.now + PATIENCE + Duration::from_secs(1));
        for end in &mut self.ends {
            end.timeout(self.now);
        }
    }

    /// Drains the client, closes, and lets the server see the end.
    fn close(mut self) -> Result<Outcome, Violation> {
        if let Some(tunnel) = &mut self.ends[0].tunnel {
            tunnel.drain(self.now);
        }
        self.settle_down()?;
        if !self.ends[0].drained {
            return Err(Violation("the client is drained and does not say so".into()));
        }
        if let Some(tunnel) = &mut self.ends[0].tunnel {
            tunnel.close(self.now, ErrorCode::NO_ERROR);
        }
        self.settle_down()?;
        self.wires[0].end();
        self.turn()?;
        match &self.ends[1].error {
            Some(TunnelError::Closed) if self.ends[1].going_away => {}
            other => return Err(Violation(format!("the server saw {other:?} instead of an orderly end"))),
        }
        self.outcome()
    }

    /// Turns until nothing moves and nothing is under way.
    fn settle_down(&mut self) -> Result<(), Violation> {
        loop {
            if self.turn()? {
                continue;
            }
            if self.wires.iter().all(Wire::is_empty) {
                return Ok(());
            }
            self.pass_time();
        }
    }

    fn finish_broken(mut self) -> Result<Outcome, Violation> {
        for end in &mut self.ends {
            end.release();
        }
        self.outcome()
    }

    fn outcome(self) -> Result<Outcome, Violation> {
        for end in &self.ends {
            if end.lent() > 0 {
                return Err(Violation(format!("{:?} has ended and holds {} octets", end.side, end.lent())));
            }
        }
        let [client, server] = &self.ends;
        Ok(Outcome {
            client: client.transcripts(),
            server: server.transcripts(),
            errors: [client.error.clone(), server.error.clone()],
            most_lent: self.most_lent,
        })
    }
}

fn sessions(sessions: &Sessions) -> [Session; 2] {
    match sessions {
        Sessions::Symbolic { key_update_after } => {
            let options =
                SymbolicOptions { key_update_after: *key_update_after, ..SymbolicOptions::default() };
            let identity = |name| Identity::new("cluster.local", "test", name).expect("a valid identity");
            let (client, server) = (identity("client"), identity("server"));
            [
                Session::symbolic_with(Side::Client, client.clone(), server.clone(), options),
                Session::symbolic_with(Side::Server, server, client, options),
            ]
        }
        Sessions::Tls { client, server, .. } => {
            let expected = IdentitySet::single(server.identity().clone());
            [
                Session::client(client, &expected).expect("a client session"),
                Session::server(server).expect("a server session"),
            ]
        }
    }
}
