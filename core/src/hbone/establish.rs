//! Establishment of a tunnel: certificate, dial, TLS, SETTINGS; one outcome, every phase with a deadline.
//!
//! A TLS 1.3 client finishes before the server has judged its certificate (RFC 8446 §4.4.4), so our own TLS being
//! complete proves nothing. A tunnel is ready only when the peer's SETTINGS have arrived (design D9): a server that has
//! refused us sends an alert in their place.
use core::time::Duration;

use crate::time::Instant;

/// How long each phase may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct EstablishLimits {
    /// Waiting for our own certificate.
    pub certificate: Duration,
    /// Connecting the transport.
    pub dial: Duration,
    /// TLS handshake and SETTINGS together.
    pub handshake: Duration,
}

impl Default for EstablishLimits {
    fn default() -> Self {
        Self {
            certificate: Duration::from_secs(10),
            dial: Duration::from_secs(10),
            handshake: Duration::from_secs(10),
        }
    }
}

/// What the owner must do, or how it ended. After `Ready` or `Failed` nothing follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum EstablishEvent {
    /// Get our certificate; answer with [`Establish::handle_certificate`].
    NeedCertificate,
    /// Connect the transport; answer with [`Establish::handle_dialed`].
    Dial,
    /// Begin the TLS handshake; answer with [`Establish::handle_tls`], then [`Establish::handle_settings`].
    StartTls,
    /// Shareable: the peer's SETTINGS arrived (design D9); streams it allows.
    Ready {
        /// SETTINGS_MAX_CONCURRENT_STREAMS, or what stands in for it when the peer sets no limit.
        limit: u32,
    },
    /// It will not come to be; drop the transport if there is one.
    Failed(EstablishError),
}

/// Which phase failed; the cause's own text travels beside it in the shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum EstablishError {
    /// The certificate could not be had.
    #[error("no certificate")]
    Certificate,
    /// No word about the certificate within [`EstablishLimits::certificate`].
    #[error("certificate wait timed out")]
    CertificateTimeout,
    /// The transport could not be connected.
    #[error("connection failed")]
    Dial,
    /// No transport within [`EstablishLimits::dial`].
    #[error("connection timed out")]
    DialTimeout,
    /// The transport closed, or either side refused, before SETTINGS.
    #[error("TLS or HTTP/2 handshake failed")]
    Handshake,
    /// No SETTINGS within [`EstablishLimits::handshake`].
    #[error("TLS or HTTP/2 handshake timed out")]
    HandshakeTimeout,
    /// The owner gave up.
    #[error("cancelled")]
    Cancelled,
}

/// One establishment, either side.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Establish {
    limits: EstablishLimits,
    /// A client dials; a server has its transport already.
    dials: bool,
    state: State,
    /// The newest thing to say. It replaces what was not polled before it and does not matter any more.
    event: Option<EstablishEvent>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum State {
    Pending { phase: Phase, until: Instant },
    Over,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Phase {
    Certificate,
    Dial,
    Tls,
    Settings,
}

impl Establish {
    /// A client: certificate, dial, TLS, SETTINGS.
    #[must_use]
    pub fn client(now: Instant, limits: EstablishLimits) -> Self {
        Self::new(now, limits, true)
    }

    /// A server has its transport already: it needs the certificate, then TLS, and is ready at the client's SETTINGS.
    #[must_use]
    pub fn server(now: Instant, limits: EstablishLimits) -> Self {
        Self::new(now, limits, false)
    }

    fn new(now: Instant, limits: EstablishLimits, dials: bool) -> Self {
        Self {
            limits,
            dials,
            state: State::Pending { phase: Phase::Certificate, until: now + limits.certificate },
            event: Some(EstablishEvent::NeedCertificate),
        }
    }

    // ---- handle

    /// Our certificate is available, or cannot be had.
    pub fn handle_certificate(&mut self, now: Instant, available: bool) {
        if self.phase() != Some(Phase::Certificate) {
            return;
        }
        match (available, self.dials) {
            (false, _) => self.fail(EstablishError::Certificate),
            (true, true) => self.enter(Phase::Dial, now + self.limits.dial, EstablishEvent::Dial),
            (true, false) => self.enter(Phase::Tls, now + self.limits.handshake, EstablishEvent::StartTls),
        }
    }

    /// The dial ended.
    pub fn handle_dialed(&mut self, now: Instant, connected: bool) {
        if self.phase() != Some(Phase::Dial) {
            return;
        }
        if connected {
            self.enter(Phase::Tls, now + self.limits.handshake, EstablishEvent::StartTls);
        } else {
            self.fail(EstablishError::Dial);
        }
    }

    /// Our TLS says complete (not yet ready: D9). The deadline of the handshake goes on.
    pub fn handle_tls(&mut self, _now: Instant) {
        if let State::Pending { phase: phase @ Phase::Tls, .. } = &mut self.state {
            *phase = Phase::Settings;
        }
    }

    /// The peer's first SETTINGS arrived. Without effect before [`Establish::handle_tls`]: nothing that the peer sends
    /// is to be trusted before it is verified.
    pub fn handle_settings(&mut self, _now: Instant, limit: u32) {
        if self.phase() == Some(Phase::Settings) {
            self.state = State::Over;
            self.event = Some(EstablishEvent::Ready { limit });
        }
    }

    /// Transport closed, TLS or HTTP/2 error, peer's alert. A client has no transport before its dial.
    pub fn handle_failed(&mut self, _now: Instant) {
        match self.phase() {
            Some(Phase::Certificate) if self.dials => {}
            Some(Phase::Dial) => self.fail(EstablishError::Dial),
            Some(Phase::Certificate | Phase::Tls | Phase::Settings) => self.fail(EstablishError::Handshake),
            None => {}
        }
    }

    /// Fails the phase whose deadline has passed.
    pub fn handle_timeout(&mut self, now: Instant) {
        let State::Pending { phase, until } = self.state else { return };
        if until <= now {
            self.fail(match phase {
                Phase::Certificate => EstablishError::CertificateTimeout,
                Phase::Dial => EstablishError::DialTimeout,
                Phase::Tls | Phase::Settings => EstablishError::HandshakeTimeout,
            });
        }
    }

    // ---- command

    /// Gives up: `Failed(Cancelled)` unless it has ended already.
    pub fn cancel(&mut self, _now: Instant) {
        if self.phase().is_some() {
            self.fail(EstablishError::Cancelled);
        }
    }

    // ---- poll

    /// The next thing to do, or the outcome; drain it after every handle and command.
    #[must_use = "an establishment not acted on can only time out"]
    pub const fn poll_event(&mut self) -> Option<EstablishEvent> {
        self.event.take()
    }

    /// When to call [`Establish::handle_timeout`]: the deadline of the running phase.
    #[must_use]
    pub const fn poll_timeout(&self) -> Option<Instant> {
        match self.state {
            State::Pending { until, .. } => Some(until),
            State::Over => None,
        }
    }

    const fn phase(&self) -> Option<Phase> {
        match self.state {
            State::Pending { phase, .. } => Some(phase),
            State::Over => None,
        }
    }

    const fn enter(&mut self, phase: Phase, until: Instant, event: EstablishEvent) {
        self.state = State::Pending { phase, until };
        self.event = Some(event);
    }

    const fn fail(&mut self, error: EstablishError) {
        self.state = State::Over;
        self.event = Some(EstablishEvent::Failed(error));
    }
}

#[cfg(test)]
mod tests {
    use std::vec::Vec;

    use super::*;

    const LIMITS: EstablishLimits = EstablishLimits {
        certificate: Duration::from_secs(1),
        dial: Duration::from_secs(2),
        handshake: Duration::from_secs(4),
    };

    const fn at(seconds: u64) -> Instant {
        Instant::from_millis(seconds * 1000)
    }

    /// Everything that can happen to an establishment, at a given time.
    const EVENTS: [fn(&mut Establish, Instant); 10] = [
        |machine, now| machine.handle_certificate(now, true),
        |machine, now| machine.handle_certificate(now, false),
        |machine, now| machine.handle_dialed(now, true),
        |machine, now| machine.handle_dialed(now, false),
        |machine, now| machine.handle_tls(now),
        |machine, now| machine.handle_settings(now, 7),
        |machine, now| machine.handle_failed(now),
        |machine, now| machine.handle_timeout(now),
        |machine, _| machine.handle_timeout(Instant::FAR),
        |machine, now| machine.cancel(now),
    ];

    /// A machine after the first `steps` good events, drained.
    fn after(dials: bool, steps: usize) -> Establish {
        let good: Vec<_> = [0, 2, 4, 5].into_iter().filter(|event| dials || *event != 2).collect();
        let mut machine = Establish::new(at(0), LIMITS, dials);
        let _ = machine.poll_event();
        for event in &good[..steps] {
            EVENTS[*event](&mut machine, at(0));
            let _ = machine.poll_event();
        }
        machine
    }

    /// What each of `EVENTS` makes a machine say after `steps` good events.
    fn row(dials: bool, steps: usize) -> Vec<Option<EstablishEvent>> {
        EVENTS
            .iter()
            .map(|event| {
                let mut machine = after(dials, steps);
                event(&mut machine, at(0));
                machine.poll_event()
            })
            .collect()
    }

    /// The whole table: every event in every state.
    #[test]
    fn every_event_in_every_state() {
        use EstablishError as E;
        use EstablishEvent::{Dial, Failed, Ready, StartTls};
        let failed = |error| Some(Failed(error));
        let cancelled = failed(E::Cancelled);
        let timeout = |error| [None, failed(error), cancelled];
        let with = |first: [Option<EstablishEvent>; 7], last| [&first[..], &timeout(last)[..]].concat();
        let handshake = failed(E::Handshake);
        let certificate = failed(E::Certificate);
        let ready = Some(Ready { limit: 7 });

        let waits = with([Some(Dial), certificate, None, None, None, None, None], E::CertificateTimeout);
        assert_eq!(row(true, 0), waits);
        let dials =
            with([None, None, Some(StartTls), failed(E::Dial), None, None, failed(E::Dial)], E::DialTimeout);
        assert_eq!(row(true, 1), dials);
        let tls = with([None, None, None, None, None, None, handshake], E::HandshakeTimeout);
        assert_eq!(row(true, 2), tls);
        let settings = with([None, None, None, None, None, ready, handshake], E::HandshakeTimeout);
        assert_eq!(row(true, 3), settings);
        assert_eq!(row(true, 4), [None; 10]);

        let waits =
            with([Some(StartTls), certificate, None, None, None, None, handshake], E::CertificateTimeout);
        assert_eq!(row(false, 0), waits);
        assert_eq!(row(false, 1), tls);
        assert_eq!(row(false, 2), settings);
        assert_eq!(row(false, 3), [None; 10]);
    }

    #[test]
    fn first_need_is_the_certificate() {
        for mut machine in [Establish::client(at(0), LIMITS), Establish::server(at(0), LIMITS)] {
            assert_eq!(machine.poll_event(), Some(EstablishEvent::NeedCertificate));
            assert_eq!(machine.poll_event(), None);
        }
    }

    #[test]
    fn each_phase_has_its_deadline_and_settings_share_that_of_tls() {
        let mut machine = Establish::client(at(0), LIMITS);
        assert_eq!(machine.poll_timeout(), Some(at(1)));
        machine.handle_certificate(at(1), true);
        assert_eq!(machine.poll_timeout(), Some(at(3)));
        machine.handle_dialed(at(2), true);
        assert_eq!(machine.poll_timeout(), Some(at(6)));
        machine.handle_tls(at(5));
        assert_eq!(machine.poll_timeout(), Some(at(6)));
        machine.handle_timeout(Instant::from_millis(5_999));
        assert_eq!(machine.poll_timeout(), Some(at(6)));
        machine.handle_timeout(at(6));
        assert_eq!(machine.poll_event(), Some(EstablishEvent::Failed(EstablishError::HandshakeTimeout)));
        assert_eq!(machine.poll_timeout(), None);
    }
}
