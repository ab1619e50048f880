//! The state of the establishment model: two shipped machines, symbolic TLS between them, and the ghost.
use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;

use adit_core::hbone::establish::{Establish, EstablishError, EstablishEvent};
use adit_core::http2::Side;
use adit_core::time::Instant;

use super::{Action, Certificates, Fault, LIMITS};

/// The machines, the wire, and what an honest outsider knows.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct State {
    now: Instant,
    certificates: Certificates,
    wire: Wire,
    /// Whether the client's dial has no result yet.
    dialing: bool,
    pub(super) client: End,
    /// Exists from the moment the transport is accepted.
    pub(super) server: Option<End>,
    pub(super) wrong: BTreeSet<Wrong>,
    pub(super) seen: BTreeSet<Seen>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Wire {
    None,
    Up,
    /// Both ends are told.
    Cut,
    /// Nothing passes any more, and nobody is told.
    Silent,
}

/// One end.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct End {
    machine: Establish,
    pub(super) tls: Tls,
    /// Whether this end has verified a good certificate of the other.
    pub(super) verified: bool,
    certificate: Answer,
    pub(super) outcome: Option<Outcome>,
    /// Under way to this end.
    inbox: VecDeque<Octet>,
    /// Behind the inbox the stream ends.
    eof: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Answer {
    NotAsked,
    Asked,
    Good,
    None,
}

/// Symbolic TLS of one end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Tls {
    Idle,
    Started,
    Complete,
    Dead,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Outcome {
    Ready(u32),
    Failed(EstablishError),
}

/// Half a flight; only the last octet makes it complete.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Octet {
    flight: Flight,
    last: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Flight {
    ClientHello,
    /// ServerHello to Finished, with the server's certificate.
    Server,
    /// The client's certificate and Finished.
    Client,
    Settings(u32),
    Alert,
}

/// What a step must not do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Wrong {
    AfterOutcome,
    OutOfOrder,
}

/// What some step must do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Seen {
    AlertAtClient,
    AlertAtServer,
    LateDial,
    LateCertificate,
    SplitFlight,
}

/// What each end allows the other.
const CLIENT_ALLOWS: u32 = 1;
const SERVER_ALLOWS: u32 = 2;

impl State {
    pub(super) fn new(fault: Option<Fault>, certificates: Certificates) -> Self {
        let mut state = Self {
            now: Instant::ZERO,
            certificates,
            wire: Wire::None,
            dialing: false,
            client: End::new(fault, Instant::ZERO, Establish::client),
            server: None,
            wrong: BTreeSet::new(),
            seen: BTreeSet::new(),
        };
        state.pump(fault);
        state
    }

    // ---- what can happen

    pub(super) fn actions(&self, actions: &mut Vec<Action>) {
        for (side, end) in self.ends() {
            if end.certificate == Answer::Asked {
                actions.extend([Action::Certificate(side, true), Action::Certificate(side, false)]);
            }
            if end.outcome.is_none() {
                actions.push(Action::Cancel(side));
            }
            if end.reads() {
                actions.extend((1..=end.inbox.len()).map(|octets| Action::Deliver(side, octets)));
            }
            if end.is_at_eof() {
                actions.push(Action::Eof(side));
            }
        }
        if self.dialing {
            actions.extend([Action::Dialed(true), Action::Dialed(false)]);
        }
        if self.wire == Wire::Up {
            actions.extend([Action::Cut, Action::Silence]);
        }
        if self.deadline().is_some() {
            actions.push(Action::Tick);
        }
    }

    // ---- what then happens

    pub(super) fn step(&mut self, fault: Option<Fault>, action: Action) {
        self.wrong.clear();
        self.seen.clear();
        let now = self.now;
        match action {
            Action::Certificate(side, available) => {
                if self.end(side).is_some_and(|end| end.outcome.is_some()) {
                    self.seen.insert(Seen::LateCertificate);
                }
                if let Some(end) = self.end(side) {
                    end.certificate = if available { Answer::Good } else { Answer::None };
                    end.machine.handle_certificate(now, available);
                }
            }
            Action::Dialed(connected) => self.dialed(fault, connected),
            Action::Deliver(side, octets) => self.deliver(fault, side, octets),
            Action::Eof(side) => {
                if let Some(end) = self.end(side) {
                    end.eof = false;
                    end.tls = Tls::Dead;
                    end.machine.handle_failed(now);
                }
            }
            Action::Cut => self.break_wire(Wire::Cut),
            Action::Silence => self.break_wire(Wire::Silent),
            Action::Cancel(side) => {
                if let Some(end) = self.end(side) {
                    end.machine.cancel(now);
                }
            }
            Action::Tick => self.tick(fault),
        }
        self.pump(fault);
    }

    fn tick(&mut self, fault: Option<Fault>) {
        let now = self.deadline().expect("a tick needs a deadline");
        self.now = now;
        if fault == Some(Fault::IgnoresTimers) {
            return;
        }
        for side in [Side::Client, Side::Server] {
            if let Some(end) = self.end(side) {
                end.machine.handle_timeout(now);
            }
        }
    }

    fn break_wire(&mut self, wire: Wire) {
        self.wire = wire;
        for side in [Side::Client, Side::Server] {
            if let Some(end) = self.end(side) {
                end.inbox.clear();
                end.eof = wire == Wire::Cut && end.tls != Tls::Dead;
            }
        }
    }

    fn dialed(&mut self, fault: Option<Fault>, connected: bool) {
        self.dialing = false;
        self.client.machine.handle_dialed(self.now, connected);
        if self.client.outcome.is_some() {
            self.seen.insert(Seen::LateDial);
        } else if connected {
            self.wire = Wire::Up;
            self.server = Some(End::new(fault, self.now, Establish::server));
        }
    }

    fn deliver(&mut self, fault: Option<Fault>, side: Side, octets: usize) {
        for _ in 0..octets {
            let Some(octet) = self.end(side).and_then(|end| end.inbox.pop_front()) else { return };
            if octet.last {
                self.on_flight(fault, side, octet.flight);
            }
        }
        let rest = self.end(side).and_then(|end| end.inbox.front().copied());
        if rest.is_some_and(|octet| octet.last) {
            self.seen.insert(Seen::SplitFlight);
        }
    }

    /// Symbolic TLS and SETTINGS: what an end does with a whole flight.
    fn on_flight(&mut self, fault: Option<Fault>, side: Side, flight: Flight) {
        let now = self.now;
        let Some(tls) = self.end(side).map(|end| end.tls) else { return };
        match (side, flight, tls) {
            (Side::Server, Flight::ClientHello, Tls::Started) => {
                self.send(Side::Client, Flight::Server);
                if fault == Some(Fault::HalfRttSettings) {
                    self.send(Side::Client, Flight::Settings(SERVER_ALLOWS));
                }
            }
            (Side::Client, Flight::Server, Tls::Started) => {
                let good = self.certificates != Certificates::BadServer;
                if self.judge(side, good, good || fault == Some(Fault::SkipsVerification)) {
                    self.send(Side::Server, Flight::Client);
                    self.send(Side::Server, Flight::Settings(CLIENT_ALLOWS));
                    if fault == Some(Fault::ReadyAtTls) {
                        self.client.machine.handle_settings(now, SERVER_ALLOWS);
                    }
                }
            }
            (Side::Server, Flight::Client, Tls::Started) => {
                let good = self.certificates != Certificates::BadClient;
                let accepts = good || fault == Some(Fault::ServerSkipsVerification);
                if self.judge(side, good, accepts) && fault != Some(Fault::HalfRttSettings) {
                    self.send(Side::Client, Flight::Settings(SERVER_ALLOWS));
                }
            }
            (_, Flight::Settings(limit), Tls::Complete) => {
                if let Some(end) = self.end(side) {
                    end.machine.handle_settings(now, limit);
                }
            }
            (_, Flight::Alert, _) => {
                self.seen.insert(if side == Side::Client {
                    Seen::AlertAtClient
                } else {
                    Seen::AlertAtServer
                });
                self.refuse(side);
            }
            // Out of its turn: a dead end, or one that has been told to skip what would have come before.
            (_, Flight::ClientHello | Flight::Server | Flight::Client | Flight::Settings(_), _) => {}
        }
    }

    /// Judges the other end's certificate: complete, or an alert and failure.
    fn judge(&mut self, side: Side, good: bool, accepts: bool) -> bool {
        let now = self.now;
        if accepts {
            if let Some(end) = self.end(side) {
                end.verified = good;
                end.tls = Tls::Complete;
                end.machine.handle_tls(now);
            }
        } else {
            self.send(other(side), Flight::Alert);
            self.refuse(side);
        }
        accepts
    }

    fn refuse(&mut self, side: Side) {
        let now = self.now;
        if let Some(end) = self.end(side) {
            end.tls = Tls::Dead;
            end.machine.handle_failed(now);
        }
    }

    fn send(&mut self, to: Side, flight: Flight) {
        if self.wire != Wire::Up {
            return;
        }
        if let Some(end) = self.end(to).filter(|end| end.tls != Tls::Dead && !end.eof) {
            end.inbox.extend([false, true].map(|last| Octet { flight, last }));
        }
    }

    // ---- what the machines ask for

    fn pump(&mut self, fault: Option<Fault>) {
        for side in [Side::Client, Side::Server] {
            while let Some(event) = self.end(side).and_then(|end| end.machine.poll_event()) {
                self.on_event(fault, side, event);
            }
        }
    }

    fn on_event(&mut self, fault: Option<Fault>, side: Side, event: EstablishEvent) {
        let now = self.now;
        let connected = self.wire != Wire::None;
        let Some(end) = self.end(side) else { return };
        let is_over = end.outcome.is_some();
        let certified = end.certificate == Answer::Good;
        let mut in_order = true;
        match event {
            EstablishEvent::NeedCertificate => {
                end.certificate = Answer::Asked;
                if fault == Some(Fault::AnswersForCertificate) && side == Side::Client {
                    end.machine.handle_certificate(now, true);
                }
            }
            EstablishEvent::Dial => {
                in_order = certified && side == Side::Client;
                self.dialing = true;
            }
            EstablishEvent::StartTls => {
                in_order = certified && connected;
                end.tls = Tls::Started;
                if side == Side::Client {
                    self.send(Side::Server, Flight::ClientHello);
                }
            }
            EstablishEvent::Ready { limit } => end.outcome = Some(Outcome::Ready(limit)),
            EstablishEvent::Failed(error) => {
                end.outcome = Some(Outcome::Failed(error));
                if fault == Some(Fault::StartsOver) && side == Side::Client {
                    end.machine = Establish::client(now, LIMITS);
                }
                self.hang_up(side);
            }
        }
        if is_over {
            self.wrong.insert(Wrong::AfterOutcome);
        }
        if !in_order {
            self.wrong.insert(Wrong::OutOfOrder);
        }
    }

    /// This end drops the transport; the other will notice behind what is under way.
    fn hang_up(&mut self, side: Side) {
        if let Some(end) = self.end(side) {
            end.tls = Tls::Dead;
            end.inbox.clear();
            end.eof = false;
        }
        if self.wire == Wire::Up
            && let Some(end) = self.end(other(side))
        {
            end.eof = end.tls != Tls::Dead;
        }
    }

    // ---- asks, of the ghost alone

    fn ends(&self) -> impl Iterator<Item = (Side, &End)> {
        let server = self.server.iter().map(|end| (Side::Server, end));
        std::iter::once((Side::Client, &self.client)).chain(server)
    }

    fn end(&mut self, side: Side) -> Option<&mut End> {
        match side {
            Side::Client => Some(&mut self.client),
            Side::Server => self.server.as_mut(),
        }
    }

    /// The next deadline that is still to come.
    fn deadline(&self) -> Option<Instant> {
        let all = self.ends().filter_map(|(_, end)| end.machine.poll_timeout());
        all.filter(|deadline| *deadline > self.now && *deadline < Instant::FAR).min()
    }

    pub(super) fn has_bad_certificate(&self) -> bool {
        self.certificates != Certificates::Good
    }

    /// Every end without an outcome has a deadline, and one that its limits allow.
    pub(super) fn deadlines_are_armed(&self) -> bool {
        let latest = self.now + LIMITS.handshake;
        self.pending().all(|end| end.machine.poll_timeout().is_some_and(|deadline| deadline <= latest))
    }

    /// Every end without an outcome has its deadline still before it.
    pub(super) fn deadlines_are_heeded(&self) -> bool {
        self.pending().all(|end| end.machine.poll_timeout().is_none_or(|deadline| deadline > self.now))
    }

    fn pending(&self) -> impl Iterator<Item = &End> {
        self.ends().map(|(_, end)| end).filter(|end| end.outcome.is_none())
    }

    /// Nothing is left that must happen, and yet an end has no outcome.
    pub(super) fn pends_for_ever(&self) -> bool {
        let moves = self.ends().any(|(_, end)| end.is_at_eof() || (end.reads() && !end.inbox.is_empty()));
        !moves && self.deadline().is_none() && self.pending().next().is_some()
    }

    /// Readiness that tells another limit than the peer's.
    pub(super) fn tells_a_wrong_limit(&self) -> bool {
        self.ends().any(|(side, end)| {
            let theirs = if side == Side::Client { SERVER_ALLOWS } else { CLIENT_ALLOWS };
            matches!(end.outcome, Some(Outcome::Ready(limit)) if limit != theirs)
        })
    }

    pub(super) fn any_ready(&self) -> bool {
        self.ends().any(|(_, end)| end.is_ready())
    }

    pub(super) fn any_ready_unverified(&self) -> bool {
        self.ends().any(|(_, end)| end.is_ready() && !end.verified)
    }

    pub(super) fn server_accepted(&self) -> bool {
        self.server.as_ref().is_some_and(|end| end.verified)
    }

    pub(super) fn failed(&self, side: Side, error: EstablishError) -> bool {
        self.ends().any(|(this, end)| this == side && end.outcome == Some(Outcome::Failed(error)))
    }
}

impl End {
    fn new(
        fault: Option<Fault>,
        now: Instant,
        start: fn(Instant, super::EstablishLimits) -> Establish,
    ) -> Self {
        let mut limits = LIMITS;
        if fault == Some(Fault::NoHandshakeLimit) {
            limits.handshake = Duration::MAX;
        }
        Self {
            machine: start(now, limits),
            tls: Tls::Idle,
            verified: false,
            certificate: Answer::NotAsked,
            outcome: None,
            inbox: VecDeque::new(),
            eof: false,
        }
    }

    pub(super) const fn is_ready(&self) -> bool {
        matches!(self.outcome, Some(Outcome::Ready(_)))
    }

    /// Octets wait in the transport until TLS has begun.
    const fn reads(&self) -> bool {
        matches!(self.tls, Tls::Started | Tls::Complete)
    }

    fn is_at_eof(&self) -> bool {
        self.eof && self.inbox.is_empty()
    }
}

const fn other(side: Side) -> Side {
    match side {
        Side::Client => Side::Server,
        Side::Server => Side::Client,
    }
}
