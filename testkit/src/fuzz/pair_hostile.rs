//! Any sequence of operations on a tunnel whose peer sends what it likes: no panic, bounded memory, nothing leaked.
use std::sync::Arc;
use std::time::Duration;

use adit_core::buffer::BufferPool;
use adit_core::hbone::{ConnectRequest, Tunnel, TunnelConfig, TunnelEvent};
use adit_core::http2::{ErrorCode, StreamId};
use adit_core::time::Instant;
use adit_core::tls::{HEADROOM, MAX_PAYLOAD, Session, Side, TAILROOM};

use super::Choices;
use crate::wire::Authority;
use crate::wire::frames::{self, CONNECT, PREFACE, frame, headers, settings};

/// Everything but windows and queues is small, so that limits are met.
fn config(side: Side) -> TunnelConfig {
    let mut config = if side == Side::Client { TunnelConfig::client() } else { TunnelConfig::server() };
    config.http2.initial_window = 100_000;
    config.http2.connection_window = 300_000;
    config.http2.max_concurrent_streams = config.http2.max_concurrent_streams.min(20);
    config.max_queued = 100_000;
    config.max_held = 400_000;
    config
}

struct Fight {
    side: Side,
    config: Arc<TunnelConfig>,
    tunnel: Tunnel,
    enemy: Session,
    pool: BufferPool,
    now: Instant,
    streams: Vec<StreamId>,
    over: bool,
}

/// First octet: which side is ours (odd: client); then operations.
pub fn body(data: &[u8]) {
    let mut choices = Choices::new(data);
    let side = if choices.octet() & 1 == 1 { Side::Client } else { Side::Server };
    let mut fight = Fight::new(side);
    while !choices.is_empty() && !fight.over {
        fight.step(&mut choices);
        fight.check();
    }
    fight.tunnel.release(&mut fight.pool);
    assert_eq!(fight.pool.lent(), 0, "buffers were leaked");
}

impl Fight {
    fn new(side: Side) -> Self {
        let (client, server) = (Authority::identity("client"), Authority::identity("server"));
        let config = Arc::new(config(side));
        let (tunnel, enemy) = match side {
            Side::Client => (
                Tunnel::client(
                    Session::symbolic(side, client.clone(), server.clone()),
                    Arc::clone(&config),
                    Instant::ZERO,
                ),
                Session::symbolic(Side::Server, server, client),
            ),
            Side::Server => (
                Tunnel::server(
                    Session::symbolic(side, server.clone(), client.clone()),
                    Arc::clone(&config),
                    Instant::ZERO,
                ),
                Session::symbolic(Side::Client, client, server),
            ),
        };
        let pool = BufferPool::default();
        let mut it =
            Self { side, config, tunnel, enemy, pool, now: Instant::ZERO, streams: vec![], over: false };
        for _ in 0..3 {
            it.flush();
            let mut wire = vec![];
            it.enemy.poll_transmit(&mut wire);
            it.feed(&wire);
        }
        assert!(it.enemy.is_established());
        let preface = if side == Side::Server { PREFACE } else { &[] };
        it.send(&[preface, &settings(&[]), &frame(4, frames::ACK, 0, &[])].concat());
        it
    }

    fn stream(&self, choices: &mut Choices<'_>) -> StreamId {
        let choice = usize::from(choices.octet());
        self.streams.get(choice % self.streams.len().max(1)).copied().unwrap_or(StreamId(1))
    }

    fn step(&mut self, choices: &mut Choices<'_>) {
        let now = self.now;
        match choices.octet() % 20 {
            // The enemy.
            0 | 1 => {
                let id = u32::from(choices.octet());
                let mut wire = headers(id, choices.octet() & 1, CONNECT);
                if self.side == Side::Client {
                    wire = headers(id, choices.octet() & 1, &[(":status", "200")]);
                }
                self.send(&wire);
            }
            2 | 3 => {
                let (id, flags) = (u32::from(choices.octet()), choices.octet());
                let octets = vec![7; usize::from(choices.octet()) * 64];
                self.send(&frame(0, flags & 9, id, &octets));
            }
            4 => {
                let (kind, flags, id) = (choices.octet() % 11, choices.octet(), choices.octet());
                let length = usize::from(choices.octet());
                self.send(&frame(kind, flags, id.into(), choices.take(length)));
            }
            5 => {
                let length = usize::from(choices.octet());
                self.send(choices.take(length));
            }
            6 => {
                let length = usize::from(choices.octet());
                self.feed(choices.take(length));
            }
            7 => self.send(&frames::window_update(choices.octet().into(), u32::from(choices.octet()) << 12)),
            8 => self.send(&settings(&[(4, u32::from(choices.octet()) << 8)])),
            9 if self.enemy.update_keys(false).is_ok() => {
                let mut wire = vec![];
                self.enemy.poll_transmit(&mut wire);
                self.feed(&wire);
            }
            // We.
            10 => {
                let fields = CONNECT
                    .iter()
                    .map(|(name, value)| adit_core::http2::Field::new(name.as_bytes(), value.as_bytes()));
                let request =
                    ConnectRequest::from_fields(&fields.collect::<Vec<_>>()).expect("a good request");
                self.streams.extend(self.tunnel.open(now, &request));
            }
            11 => self.tunnel.accept(now, self.stream(choices), None),
            12 => self.tunnel.reject(now, self.stream(choices), 503, &mut self.pool),
            13 => {
                let stream = self.stream(choices);
                let share = usize::from(choices.octet());
                if let Some(mut lend) = self.tunnel.lend_data(stream, &mut self.pool) {
                    let total = lend.octets();
                    assert_eq!(lend.areas().map(|area| area.len()).sum::<usize>(), total);
                    self.tunnel.commit_data(stream, total * share / 255);
                }
            }
            14 => self.tunnel.finish(self.stream(choices)),
            15 => self.tunnel.reset(
                now,
                self.stream(choices),
                ErrorCode(choices.octet().into()),
                &mut self.pool,
            ),
            16 => {
                let stream = self.stream(choices);
                let n = self.tunnel.pending(stream) * usize::from(choices.octet()) / 255;
                self.tunnel.delivered(stream, n, &mut self.pool);
            }
            17 => self.flush(),
            18 => {
                self.now = now + Duration::from_millis(u64::from(choices.octet()) * 50);
                self.over |= self.tunnel.handle_timeout(self.now).is_err();
            }
            _ => match choices.octet() {
                0 => self.tunnel.drain(now),
                1 => self.tunnel.close(now, ErrorCode::NO_ERROR),
                2 => self.over |= !matches!(self.tunnel.handle_eof(now).reason(), ""),
                3 => drop(self.tunnel.shed(&mut self.pool)),
                _ => self.hand_over(),
            },
        }
        self.events();
        self.tunnel.settle(&mut self.pool);
    }

    /// Freezes the tunnel and goes on with what thaws.
    fn hand_over(&mut self) {
        let spare = Session::symbolic(self.side, Authority::identity("a"), Authority::identity("b"));
        let spare = Tunnel::server(spare, Arc::clone(&self.config), self.now);
        let tunnel = std::mem::replace(&mut self.tunnel, spare);
        match tunnel.freeze(&mut self.pool) {
            Ok(frozen) => {
                assert_eq!(self.pool.lent(), 0, "a frozen tunnel holds buffers");
                let thawed =
                    Tunnel::thaw_symbolic(&frozen, Arc::clone(&self.config), self.now, &mut self.pool);
                self.tunnel = thawed.expect("what was frozen thaws");
            }
            Err(_) => self.over = true,
        }
    }

    /// Seals `octets` as the enemy and hands them over.
    fn send(&mut self, octets: &[u8]) {
        for payload in octets.chunks(MAX_PAYLOAD) {
            let mut record = vec![0; HEADROOM + payload.len() + TAILROOM];
            record[HEADROOM..HEADROOM + payload.len()].copy_from_slice(payload);
            if self.enemy.seal(&mut record).is_ok() {
                self.feed(&record);
            }
        }
    }

    fn feed(&mut self, mut wire: &[u8]) {
        while !wire.is_empty() && !self.over {
            let area = self.tunnel.lend_input(&mut self.pool);
            let n = area.len().min(wire.len());
            area[..n].copy_from_slice(&wire[..n]);
            wire = &wire[n..];
            let failed = self.tunnel.handle_input(self.now, n, &mut self.pool).is_err();
            self.events();
            self.tunnel.settle(&mut self.pool);
            if failed {
                self.flush();
                self.over = true;
            }
        }
    }

    /// Writes what there is, and lets the enemy's session read it.
    fn flush(&mut self) {
        if self.tunnel.flush(self.now, &mut self.pool).is_err() {
            self.over = true;
        }
        loop {
            let wire: Vec<u8> = self.tunnel.wire().flatten().copied().collect();
            if wire.is_empty() {
                return;
            }
            self.tunnel.handle_written(wire.len(), &mut self.pool);
            let mut rest = wire;
            let mut rest = &mut rest[..];
            while let Ok(Some(length)) = Session::record_len(rest) {
                let (record, behind) = rest.split_at_mut(length);
                let opened = self.enemy.handle_record(record);
                assert!(opened.is_ok() || self.over || self.enemy.failure().is_some(), "{opened:?}");
                rest = behind;
            }
        }
    }

    fn events(&mut self) {
        while let Some(event) = self.tunnel.poll_event() {
            if let TunnelEvent::Request { stream, request: Ok(_) } = event {
                self.streams.push(stream);
            }
        }
    }

    fn check(&self) {
        let held = self.tunnel.held();
        assert!(held <= self.config.max_held, "{held} octets are held");
        // A full batch may be laid when the queue has a single record's room left; what waits to be delivered was settled.
        let bound = self.config.max_held + self.config.max_queued + 200_000;
        assert!(self.tunnel.buffered() <= bound, "{} octets are buffered", self.tunnel.buffered());
    }
}
