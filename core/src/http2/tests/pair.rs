//! Two connections of ours on two byte queues: nothing is lost, credit is conserved, nobody waits for ever.
use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

/// What one end knows about a stream.
#[derive(Debug, Default)]
struct Half {
    /// Octets still to be sent, and sent so far.
    left: usize,
    sent: usize,
    received: usize,
    /// Received and not consumed.
    unread: usize,
    /// Whether it may ask for capacity; else it waits for `Writable`.
    ready: bool,
    finished: bool,
    peer_finished: bool,
    closed: bool,
    was_reset: bool,
}

#[derive(Debug)]
struct End {
    connection: Connection,
    /// Octets on the way to this end.
    inbox: Vec<u8>,
    halves: BTreeMap<StreamId, Half>,
}

/// The octet at `offset` of what the client (or server) sends on `stream`.
fn octet(stream: StreamId, from_client: bool, offset: usize) -> u8 {
    (stream.0 as usize).wrapping_mul(31).wrapping_add(offset).wrapping_add(usize::from(from_client) * 101)
        as u8
}

#[derive(Debug)]
struct Pair {
    ends: [End; 2],
}

const CLIENT: usize = 0;
const SERVER: usize = 1;
const LEFT: usize = 50_000;

impl Pair {
    fn new(initial_window: u32) -> Self {
        let end = |side, config: Config| End {
            connection: Connection::new(
                side,
                Config { initial_window, connection_window: 65_535, ..config },
                Instant::ZERO,
            ),
            inbox: vec![],
            halves: BTreeMap::new(),
        };
        Self { ends: [end(Side::Client, Config::client()), end(Side::Server, Config::server())] }
    }

    /// Puts `side`'s control frames, and then `behind`, on the way to the other.
    fn ship(&mut self, side: usize, behind: &[u8]) {
        let mut wire = vec![];
        self.ends[side].connection.poll_control(&mut wire);
        wire.extend_from_slice(behind);
        self.ends[1 - side].inbox.extend(wire);
        self.events(side, &[]);
    }

    fn events(&mut self, side: usize, input: &[u8]) {
        let end = &mut self.ends[side];
        end.connection.check();
        while let Some(event) = end.connection.poll_event() {
            match event {
                Event::Request { stream, finished, .. } => {
                    assert!(!finished);
                    end.halves.insert(stream, Half { left: LEFT, ..Half::default() });
                }
                Event::Response { .. } | Event::Settings { .. } => {}
                Event::Data { stream, start, len } => {
                    let half = end.halves.get_mut(&stream).unwrap();
                    assert!(!half.closed && !half.peer_finished);
                    for byte in &input[start..start + len] {
                        assert_eq!(*byte, octet(stream, side == SERVER, half.received));
                        half.received += 1;
                    }
                    half.unread += len;
                }
                Event::Finished { stream } => end.halves.get_mut(&stream).unwrap().peer_finished = true,
                Event::Reset { stream, by, .. } => {
                    assert_ne!(by, Initiator::Library, "nobody misbehaved");
                    end.halves.get_mut(&stream).unwrap().was_reset = true;
                }
                Event::Writable { stream } => end.halves.get_mut(&stream).unwrap().ready = true,
                Event::Closed { stream } => end.halves.get_mut(&stream).unwrap().closed = true,
                Event::GoAway { .. } | Event::Drained => unreachable!(),
            }
        }
        let unread: usize = end.halves.values().map(|half| half.unread).sum();
        assert_eq!(end.connection.held(), unread, "held is what was reported and not consumed");
    }

    fn open(&mut self) {
        if let Ok(stream) = self.ends[CLIENT].connection.open(Instant::ZERO, &fields(CONNECT)) {
            self.ends[CLIENT].halves.insert(stream, Half { left: LEFT, ready: true, ..Half::default() });
            self.ship(CLIENT, &[]);
        }
    }

    /// Some stream of `side`.
    fn pick(&self, side: usize, choice: usize) -> Option<StreamId> {
        let halves = &self.ends[side].halves;
        halves.keys().nth(choice.checked_rem(halves.len())?).copied()
    }

    fn respond(&mut self, stream: StreamId) {
        self.ends[SERVER].connection.respond(Instant::ZERO, stream, 200, &[], false);
        if let Some(half) = self.ends[SERVER].halves.get_mut(&stream) {
            half.ready = true;
        }
        self.ship(SERVER, &[]);
    }

    /// Sends up to `max` octets on `stream`; whether any went.
    fn send(&mut self, side: usize, stream: StreamId, max: usize) -> bool {
        let end = &mut self.ends[side];
        let half = end.halves.get_mut(&stream).unwrap();
        if !half.ready || half.finished || half.closed || half.left == 0 {
            return false;
        }
        let capacity = end.connection.capacity(stream);
        if capacity == 0 {
            half.ready = false;
            return false;
        }
        let len = capacity.min(max).min(half.left).max(1);
        let mut wire = end.connection.send_data(stream, len, false).unwrap().to_vec();
        wire.extend((half.sent..half.sent + len).map(|offset| octet(stream, side == CLIENT, offset)));
        half.sent += len;
        half.left -= len;
        self.ship(side, &wire);
        true
    }

    fn finish(&mut self, side: usize, stream: StreamId) {
        let end = &mut self.ends[side];
        if let Some(wire) = end.connection.send_data(stream, 0, true) {
            end.halves.get_mut(&stream).unwrap().finished = true;
            self.ship(side, &wire);
        }
    }

    fn reset(&mut self, side: usize, stream: StreamId) {
        self.ends[side].connection.reset(Instant::ZERO, stream, ErrorCode::CANCEL);
        self.ship(side, &[]);
    }

    fn deliver(&mut self, side: usize, max: usize) -> bool {
        let end = &mut self.ends[side];
        let chunk: Vec<u8> = end.inbox.drain(..max.min(end.inbox.len())).collect();
        if chunk.is_empty() {
            return false;
        }
        end.connection.handle_input(Instant::ZERO, &chunk).unwrap();
        self.events(side, &chunk);
        self.ship(side, &[]);
        true
    }

    fn consume(&mut self, side: usize, stream: StreamId, max: usize) -> bool {
        let half = self.ends[side].halves.get_mut(&stream).unwrap();
        let len = half.unread.min(max);
        half.unread -= len;
        self.ends[side].connection.consume(stream, len);
        self.ship(side, &[]);
        len > 0
    }

    /// The peer of `side` lowers (or restores) the window it grants.
    fn lower_window(&mut self, side: usize, to: u32) {
        self.ends[side].inbox.extend(settings_of(&[(settings::INITIAL_WINDOW_SIZE, to)]));
    }

    /// Everybody does what is left to do, only waking on events.
    fn settle(&mut self) {
        loop {
            let mut moved = false;
            for side in [CLIENT, SERVER] {
                moved |= self.deliver(side, usize::MAX);
                for stream in self.ends[side].halves.keys().copied().collect::<Vec<_>>() {
                    moved |= self.consume(side, stream, usize::MAX);
                    if side == SERVER {
                        self.respond(stream);
                    }
                    moved |= self.send(side, stream, usize::MAX);
                    let half = &self.ends[side].halves[&stream];
                    if half.left == 0 && !half.finished && !half.closed {
                        self.finish(side, stream);
                        moved = true;
                    }
                }
            }
            if !moved {
                return;
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]

    #[test]
    fn nothing_is_lost_and_nobody_waits_for_ever(
        window in prop_oneof![Just(1u32), 2u32..300, Just(20_000), Just(60_000), Just(1_000_000)],
        ops in prop::collection::vec((0u8..16, 0usize..2, any::<usize>(), 1usize..40_000), 0..80),
    ) {
        let mut pair = Pair::new(window.max(100));
        pair.ship(CLIENT, &[]);
        pair.ship(SERVER, &[]);
        pair.open();
        for (op, side, choice, amount) in ops {
            let stream = pair.pick(side, choice);
            match (op, stream) {
                (0, _) => pair.open(),
                (1, Some(stream)) if side == SERVER => pair.respond(stream),
                (2..=4, Some(stream)) => { pair.send(side, stream, amount); }
                (5, Some(stream)) if amount % 4 == 0 => {
                    // Ends early: what is left is not sent.
                    pair.ends[side].halves.get_mut(&stream).unwrap().left = 0;
                    pair.finish(side, stream);
                }
                (6, Some(stream)) if amount % 3 == 0 => pair.reset(side, stream),
                (7, _) if window > 1_000 => {
                    pair.lower_window(side, u32::try_from(amount).unwrap().min(window) % window);
                    pair.lower_window(side, if amount % 2 == 0 { window } else { window / 2 });
                }
                (8..=11, _) => { pair.deliver(side, amount); }
                (12, _) => { pair.deliver(side, amount % 13 + 1); }
                (_, Some(stream)) => { pair.consume(side, stream, amount); }
                _ => {}
            }
        }
        pair.settle();
        for side in [CLIENT, SERVER] {
            let end = &pair.ends[side];
            prop_assert_eq!(end.connection.open_streams(), 0, "{:?}", end.halves);
            prop_assert_eq!(end.connection.held(), 0);
            for (stream, half) in &end.halves {
                prop_assert!(half.closed);
                let Some(other) = pair.ends[1 - side].halves.get(stream) else {
                    prop_assert!(half.was_reset);
                    continue;
                };
                if !half.was_reset && !other.was_reset {
                    prop_assert!(half.peer_finished);
                    prop_assert_eq!(half.received, other.sent);
                }
            }
        }
    }
}
