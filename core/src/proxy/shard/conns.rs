//! The life of a user connection: deadlines, what its relay decides, failure, and leaving nothing behind.
use alloc::boxed::Box;
use alloc::string::ToString;
use alloc::sync::Arc;

use super::shares::Usage;
use super::state::{Attach, ConnId, Failure, Phase, Role, SocketId, Timer};
use super::{Action, Shard, SocketError, report};
use crate::http2::ErrorCode;
use crate::proxy::observed::{Connection, Direction, Flag, Observed};
use crate::proxy::relay::{End, Outcome, RelayEvent};
use crate::time::Instant;

/// How many actions the end of one connection comes to: FIN and close for either socket.
const ACTIONS_OF_AN_ENDING: usize = 4;

impl Shard {
    /// Tells the outside that a connection exists; from now on its end is told too. One through a gateway is told of when
    /// its CONNECT is answered, or when it ends.
    pub(super) fn open_report(&mut self, id: ConnId, mut report: Connection) {
        self.conns_opened = self.conns_opened.saturating_add(1);
        report.id = self.conns_opened;
        let report = Arc::new(report);
        let Some(conn) = self.conns.get_mut(id) else { return };
        conn.report = Some(Arc::clone(&report));
        if !conn.is_untold() {
            self.observed.push_back(Observed::ConnectionOpened(report));
        }
    }

    /// Sets or clears the deadline of the running phase.
    pub(super) fn set_deadline(&mut self, id: ConnId, deadline: Option<Instant>) {
        if let Some(conn) = self.conns.get_mut(id) {
            conn.deadline = deadline;
            let at = deadline.into_iter().chain(conn.relay.poll_timeout()).min();
            Self::arm(&mut self.timers, &mut conn.armed, at, Timer::Conn(id));
        }
    }

    pub(super) fn conn_timeout(&mut self, now: Instant, id: ConnId) {
        let Some(conn) = self.conns.get_mut(id) else { return };
        conn.armed = None;
        if conn.deadline.is_some_and(|at| at <= now) {
            conn.deadline = None;
            match &conn.phase {
                Phase::Dialing => return self.dial_failed(now, id, SocketError::TimedOut),
                // Leasing has a deadline only when CONNECT was sent before: it asks again.
                Phase::Asking(_) | Phase::Leasing(_) => {
                    return self.fail_conn(now, id, &report::no_answer(self.config.connect_timeout));
                }
                Phase::Socks(_) => return self.fail_conn(now, id, &report::socks_ended()),
                // It is the question that has a deadline.
                Phase::Relaying | Phase::Waiting(_) => {}
            }
        }
        if let Some(conn) = self.conns.get_mut(id) {
            conn.relay.handle_timeout(now);
        }
        self.after_relay(now, id);
    }

    /// Does what the relay of `id` decided, and arms its timer.
    pub(super) fn after_relay(&mut self, now: Instant, id: ConnId) {
        loop {
            let Some(conn) = self.conns.get_mut(id) else { return };
            if !matches!(conn.phase, Phase::Relaying) && conn.relay.outcome().is_none() {
                // An early half-close is passed on when the other end is there.
                break;
            }
            match conn.relay.poll_event() {
                Some(RelayEvent::Finish(end)) => {
                    let attach = conn.attach(end);
                    self.finish_end(attach);
                }
                Some(RelayEvent::Reset(end)) => {
                    let attach = core::mem::replace(conn.attach_mut(end), Attach::None);
                    self.reset_end(now, attach, ErrorCode::CONNECT_ERROR);
                }
                Some(RelayEvent::Done(outcome)) => {
                    if let (Outcome::Idle, None) = (outcome, &conn.failure) {
                        conn.failure = Some(Box::new(report::idle(self.config.half_closed_idle)));
                    }
                    if conn.loan_to(End::Downstream).is_some_and(|loan| !loan.relayed) {
                        // A SOCKS5 refusal is still to be written; the deadline bounds it.
                        return self.set_deadline(id, Some(now + self.config.close_grace));
                    }
                    return self.release_conn(now, id, false);
                }
                None => break,
            }
        }
        let Some(conn) = self.conns.get_mut(id) else { return };
        if conn.relay.outcome().is_some() && conn.loan_to(End::Downstream).is_none() {
            return self.release_conn(now, id, false);
        }
        let at = conn.deadline.into_iter().chain(conn.relay.poll_timeout()).min();
        // Activity only ever moves the idle deadline away: an early wake-up finds that out and arms again.
        if conn.armed.is_none_or(|armed| at.is_none_or(|at| at < armed)) {
            Self::arm(&mut self.timers, &mut conn.armed, at, Timer::Conn(id));
        }
    }

    /// A live application socket failed.
    pub(super) fn app_error(&mut self, now: Instant, id: ConnId, end: End, error: SocketError) {
        let Some(conn) = self.conns.get_mut(id) else { return };
        if !matches!(conn.phase, Phase::Relaying) {
            let failure = Failure::new(Flag::Connect, format_args!("io error: {error}"));
            return self.answer_and_fail(now, id, 503, &failure);
        }
        if self.config.resets_as_fin {
            conn.relay.handle_gone(now, end);
        } else {
            conn.relay.handle_reset(now, end);
        }
        self.after_relay(now, id);
    }

    /// The dial of the upstream end failed.
    pub(super) fn dial_failed(&mut self, now: Instant, id: ConnId, error: SocketError) {
        let failure = Failure::new(Flag::Connect, format_args!("connection failed: {error}"));
        self.answer_and_fail(now, id, 503, &failure);
    }

    /// Ends a connection because of `failure`.
    pub(super) fn fail_conn(&mut self, now: Instant, id: ConnId, failure: &Failure) {
        let Some(conn) = self.conns.get_mut(id) else { return };
        if conn.failure.is_none() {
            conn.failure = Some(Box::new(failure.clone()));
        }
        self.release_conn(now, id, false);
    }

    /// Breaks a connection off in the middle, so that neither application takes what it got for all there is: sockets are
    /// reset, streams end with CONNECT_ERROR. With `resets_as_fin` it ends as if it were complete, as upstream's do.
    pub(super) fn cut_conn(&mut self, now: Instant, id: ConnId, failure: &Failure) {
        let Some(conn) = self.conns.get_mut(id) else { return };
        if conn.failure.is_none() {
            conn.failure = Some(Box::new(failure.clone()));
        }
        if self.config.resets_as_fin {
            return self.release_conn(now, id, false);
        }
        let ends = [End::Downstream, End::Upstream].map(|end| match conn.attach_mut(end) {
            attach @ Attach::Stream(..) => core::mem::replace(attach, Attach::None),
            Attach::Socket(_) | Attach::None => Attach::None,
        });
        for end in ends {
            self.reset_end(now, end, ErrorCode::CONNECT_ERROR);
        }
        self.release_conn(now, id, true);
    }

    /// Forgets a connection: closes what is attached, gives back buffers, reports its end.
    pub(super) fn release_conn(&mut self, now: Instant, id: ConnId, reset: bool) {
        let Some(mut conn) = self.conns.remove(id) else { return };
        self.count(conn.proxy, Usage::connection_gone);
        match &conn.phase {
            Phase::Leasing(_) => self.pool.cancel(now, id.into()),
            Phase::Waiting(wait) => self.waits_no_longer(id, wait, conn.failure.as_deref()),
            Phase::Socks(_) | Phase::Asking(_) | Phase::Dialing | Phase::Relaying => {}
        }
        Self::arm(&mut self.timers, &mut conn.armed, None, Timer::Conn(id));
        let complete = conn.relay.outcome() == Some(Outcome::Complete);
        for attach in [conn.downstream, conn.upstream] {
            match attach {
                Attach::Socket(socket) => {
                    self.told_failed(socket, conn.failure.as_deref());
                    self.close_socket(socket, reset);
                }
                // A stream that HTTP/2 is done with is not reset; but what it has left is credited in any case.
                Attach::Stream(..) => {
                    let code = if complete { ErrorCode::NO_ERROR } else { ErrorCode::CANCEL };
                    self.reset_end(now, attach, code);
                }
                Attach::None => {}
            }
        }
        self.give_loans(&mut conn);
        self.end_nested(now, conn.nested, conn.failure.as_deref());
        let untold = conn.is_untold();
        if let Some(connection) = conn.report {
            if untold {
                self.observed.push_back(Observed::ConnectionOpened(Arc::clone(&connection)));
            }
            let (forth, back) = (conn.relay.total(End::Downstream), conn.relay.total(End::Upstream));
            let (bytes_sent, bytes_received) = match connection.direction {
                Direction::Outbound => (forth, back),
                Direction::Inbound => (back, forth),
            };
            self.observed.push_back(Observed::ConnectionClosed {
                connection,
                bytes_sent,
                bytes_received,
                duration: now.saturating_since(conn.opened),
                error: conn.failure.as_ref().map(|failure| failure.text.to_string()),
                flag: conn.failure.map_or(Flag::None, |failure| failure.flag),
            });
        }
        self.told_live(now);
    }

    /// Half-closes one end.
    fn finish_end(&mut self, attach: Attach) {
        match attach {
            Attach::Socket(socket) => self.actions.push_back(Action::ShutdownWrite { socket }),
            Attach::Stream(tunnel, stream) => {
                if let Some(state) = self.tunnels.get_mut(tunnel).and_then(|slot| slot.tunnel.as_mut()) {
                    state.finish(stream);
                }
                self.touch(tunnel);
            }
            Attach::None => {}
        }
    }

    /// Aborts one end.
    pub(super) fn reset_end(&mut self, now: Instant, attach: Attach, code: ErrorCode) {
        match attach {
            Attach::Socket(socket) => self.close_socket(socket, true),
            Attach::Stream(tunnel, stream) => {
                if let Some(slot) = self.tunnels.get_mut(tunnel) {
                    slot.streams.remove(&stream);
                    if let Some(state) = slot.tunnel.as_mut() {
                        state.reset(now, stream, code, &mut self.buffers);
                    }
                }
                self.account(tunnel);
                self.touch(tunnel);
            }
            Attach::None => {}
        }
    }

    /// Forgets a socket and has the driver close it.
    pub(super) fn close_socket(&mut self, socket: SocketId, reset: bool) {
        if let Some(entry) = self.sockets.remove(socket) {
            debug_assert!(matches!(entry.role, Role::App { .. } | Role::Tunnel(_)));
            // Closing says FIN as well: one call does for both when nothing came between.
            let fin = Action::ShutdownWrite { socket };
            let back = self.actions.iter().rev().take(ACTIONS_OF_AN_ENDING).position(|action| *action == fin);
            if let Some(back) = back {
                self.actions.remove(self.actions.len().saturating_sub(back).saturating_sub(1));
            }
            self.actions.push_back(Action::Close { socket, reset });
        }
    }
}
