//! The state of the flow model: two shipped connections, the frames between them, and what their owners know.
use std::collections::{BTreeMap, BTreeSet, VecDeque};

use adit_core::http2::{Connection, ConnectionError, ErrorCode, Event, StreamId};
use adit_core::time::Instant;

use super::{Action, FRAME, Fault, FlowModel, WINDOW, setup};

const NOW: Instant = Instant::ZERO;
/// Octets of a frame header.
const HEADER: usize = 9;
/// The flag of a DATA frame that ends its stream.
const END_STREAM: u8 = 1;
/// SETTINGS_INITIAL_WINDOW_SIZE = 32 768, as a whole frame: the server's machine has no command for it, peers do it.
const LOWERED: [u8; 15] = [0, 0, 6, 4, 0, 0, 0, 0, 0, 0, 4, 0, 0, 0x80, 0];

/// The machines, the wire, and what an honest outsider knows.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct State {
    client: Connection,
    server: Connection,
    to_server: VecDeque<Frame>,
    to_client: VecDeque<Vec<u8>>,
    streams: BTreeMap<StreamId, Ghost>,
    server_resets: u8,
    client_resets: u8,
    may_lower: bool,
    pub(super) error: Option<ConnectionError>,
    pub(super) wrong: BTreeSet<Wrong>,
    pub(super) seen: BTreeSet<Seen>,
}

/// A frame on its way; payload is not kept.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Frame {
    Control(Vec<u8>),
    Data { stream: StreamId, header: [u8; HEADER], octets: u32 },
}

/// One stream, as its two owners see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Ghost {
    total: u32,
    sent: u32,
    /// The sender found no capacity and waits to be told.
    parked: bool,
    /// Arrived, and not yet read by the application.
    held: u32,
    arrived: u32,
    finished: bool,
    reset_by_server: bool,
    reset_at_client: bool,
}

/// What a step must not do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Wrong {
    FinishedShort,
}

/// What some step must do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Seen {
    Parked,
    Woken,
    DataAfterReset,
    ReadAfterFinish,
    ReadAfterReset,
    NegativeWindow,
}

impl Ghost {
    const fn is_over(&self) -> bool {
        self.finished || self.reset_by_server || self.reset_at_client
    }

    const fn wants_to_send(&self) -> bool {
        self.sent < self.total && !self.reset_at_client
    }
}

impl State {
    pub(super) fn new(model: &FlowModel) -> Self {
        let (client, server, ids) = setup::connected(model.octets.len());
        let ghost = |total: &u32| Ghost {
            total: *total,
            sent: 0,
            parked: false,
            held: 0,
            arrived: 0,
            finished: false,
            reset_by_server: false,
            reset_at_client: false,
        };
        Self {
            client,
            server,
            to_server: VecDeque::new(),
            to_client: VecDeque::new(),
            streams: ids.into_iter().zip(model.octets.iter().map(ghost)).collect(),
            server_resets: model.server_resets,
            client_resets: model.client_resets,
            may_lower: model.lowers_window,
            error: None,
            wrong: BTreeSet::new(),
            seen: BTreeSet::new(),
        }
    }

    // ---- what can happen

    pub(super) fn actions(&self, actions: &mut Vec<Action>) {
        if self.error.is_some() {
            return;
        }
        for (id, ghost) in &self.streams {
            if ghost.wants_to_send() && !ghost.parked {
                actions.push(Action::Send(*id));
            }
            if ghost.held > 0 {
                actions.push(Action::Read(*id));
            }
            if self.server_resets > 0 && !ghost.is_over() {
                actions.push(Action::ServerResets(*id));
            }
            if self.client_resets > 0 && !ghost.reset_at_client && ghost.sent < ghost.total {
                actions.push(Action::ClientResets(*id));
            }
        }
        if !self.to_server.is_empty() {
            actions.push(Action::ToServer);
        }
        if !self.to_client.is_empty() {
            actions.push(Action::ToClient);
        }
        if self.may_lower {
            actions.push(Action::LowerWindow);
        }
    }

    // ---- what then happens

    pub(super) fn step(&mut self, fault: Option<Fault>, action: Action) {
        self.wrong.clear();
        self.seen.clear();
        match action {
            Action::Send(stream) => self.send(fault, stream),
            Action::ToServer => self.deliver_to_server(fault),
            Action::ToClient => self.deliver_to_client(fault),
            Action::Read(stream) => self.read(fault, stream),
            Action::ServerResets(stream) => {
                self.server_resets -= 1;
                self.ghost(stream).reset_by_server = true;
                self.server.reset(NOW, stream, ErrorCode::CANCEL);
                if fault == Some(Fault::ForgetsHeldOfResetStreams) {
                    self.ghost(stream).held = 0;
                }
            }
            Action::ClientResets(stream) => {
                self.client_resets -= 1;
                self.ghost(stream).reset_at_client = true;
                self.client.reset(NOW, stream, ErrorCode::CANCEL);
            }
            Action::LowerWindow => {
                self.may_lower = false;
                self.to_client.push_back(LOWERED.to_vec());
            }
        }
        self.carry_control();
        // Nobody but the deliveries listens to events; commands give only what the ghost knows already.
        while self.client.poll_event().is_some() || self.server.poll_event().is_some() {}
    }

    fn send(&mut self, fault: Option<Fault>, stream: StreamId) {
        let left = self.ghost(stream).total - self.ghost(stream).sent;
        let capacity = u32::try_from(self.client.capacity(stream)).expect("31 bits");
        let octets = left.min(FRAME).min(capacity);
        if fault == Some(Fault::IgnoresCapacity) && octets == 0 {
            let octets = left.min(FRAME);
            self.put_data(stream, data_header(stream, octets), octets);
        } else if octets == 0 {
            self.ghost(stream).parked = true;
            self.seen.insert(Seen::Parked);
        } else {
            let finish = octets == left;
            let length = usize::try_from(octets).expect("small");
            if let Some(header) = self.client.send_data(stream, length, finish) {
                self.put_data(stream, header, octets);
            }
        }
    }

    fn put_data(&mut self, stream: StreamId, header: [u8; HEADER], octets: u32) {
        self.ghost(stream).sent += octets;
        // Control frames that are due go in front.
        self.carry_control();
        self.to_server.push_back(Frame::Data { stream, header, octets });
    }

    fn deliver_to_server(&mut self, fault: Option<Fault>) {
        let Some(frame) = self.to_server.pop_front() else { return };
        let bytes = match frame {
            Frame::Control(bytes) => bytes,
            Frame::Data { stream, header, octets } => {
                if self.ghost(stream).reset_by_server {
                    self.seen.insert(Seen::DataAfterReset);
                    if fault == Some(Fault::DropsDataOfResetStreams) {
                        return;
                    }
                }
                if fault == Some(Fault::LosesData) && header[4] & END_STREAM == 0 {
                    return;
                }
                let mut bytes = header.to_vec();
                bytes.resize(HEADER + usize::try_from(octets).expect("small"), 0);
                bytes
            }
        };
        if let Err(error) = self.server.handle_input(NOW, &bytes) {
            self.error = Some(error);
        }
        while let Some(event) = self.server.poll_event() {
            self.on_server_event(fault, event);
        }
    }

    fn on_server_event(&mut self, fault: Option<Fault>, event: Event) {
        match event {
            Event::Data { stream, len, .. } => {
                let octets = u32::try_from(len).expect("small");
                let ghost = self.ghost(stream);
                ghost.arrived += octets;
                ghost.held += octets;
                if fault == Some(Fault::CreditsOnArrival) {
                    self.server.consume(stream, len);
                }
            }
            Event::Finished { stream } => {
                let ghost = self.ghost(stream);
                ghost.finished = true;
                if ghost.arrived != ghost.total {
                    self.wrong.insert(Wrong::FinishedShort);
                }
            }
            _ => {}
        }
    }

    fn read(&mut self, fault: Option<Fault>, stream: StreamId) {
        let ghost = self.ghost(stream);
        let octets = ghost.held.min(FRAME);
        ghost.held -= octets;
        let ghost = *ghost;
        if ghost.reset_by_server {
            self.seen.insert(Seen::ReadAfterReset);
        } else if ghost.finished {
            self.seen.insert(Seen::ReadAfterFinish);
        }
        let times = match fault {
            Some(Fault::CreditsOnArrival) => 0,
            Some(Fault::CreditsTwice) if ghost.is_over() => 2,
            _ => 1,
        };
        for _ in 0..times {
            self.server.consume(stream, usize::try_from(octets).expect("small"));
        }
    }

    fn deliver_to_client(&mut self, fault: Option<Fault>) {
        let Some(bytes) = self.to_client.pop_front() else { return };
        // Nothing was read, so no credit has come back yet for more than the new window.
        let exceeds = |ghost: &Ghost| ghost.held == ghost.arrived && ghost.sent > FRAME;
        if bytes == LOWERED && self.streams.values().any(exceeds) {
            self.seen.insert(Seen::NegativeWindow);
        }
        if let Err(error) = self.client.handle_input(NOW, &bytes) {
            self.error = Some(error);
        }
        while let Some(event) = self.client.poll_event() {
            match event {
                Event::Writable { stream } if fault != Some(Fault::MissesWritable) => {
                    self.seen.insert(Seen::Woken);
                    self.ghost(stream).parked = false;
                }
                Event::Reset { stream, .. } => self.ghost(stream).reset_at_client = true,
                _ => {}
            }
        }
        if fault == Some(Fault::LosesConnectionCredit) {
            self.to_client.retain(|frame| !is_connection_credit(frame));
        }
    }

    /// Puts what both machines have to say on the wire, frame by frame.
    fn carry_control(&mut self) {
        let mut bytes = Vec::new();
        self.client.poll_control(&mut bytes);
        self.to_server.extend(frames(&bytes).map(Frame::Control));
        bytes.clear();
        self.server.poll_control(&mut bytes);
        self.to_client.extend(frames(&bytes));
    }

    // ---- asks, of the ghost alone

    fn ghost(&mut self, stream: StreamId) -> &mut Ghost {
        self.streams.get_mut(&stream).expect("a stream of the model")
    }

    /// More is unread than the windows allow: what bounds memory is broken.
    pub(super) fn holds_too_much(&self) -> bool {
        self.streams.values().map(|ghost| ghost.held).sum::<u32>() > WINDOW
    }

    /// Nothing can move any more, and yet a stream has something to send.
    pub(super) fn is_stalled(&self) -> bool {
        let waits = |ghost: &Ghost| ghost.wants_to_send() && ghost.parked;
        self.is_quiet() && self.streams.values().any(waits)
    }

    /// Nothing is under way, nothing is unread, and nobody is about to send.
    pub(super) fn is_quiet(&self) -> bool {
        let moves = |ghost: &Ghost| ghost.held > 0 || (ghost.wants_to_send() && !ghost.parked);
        self.error.is_none()
            && self.to_server.is_empty()
            && self.to_client.is_empty()
            && !self.streams.values().any(moves)
    }

    /// Window that is held by octets which nobody has any more.
    pub(super) fn leaks_window(&self) -> bool {
        self.is_quiet() && self.server.held() > 0
    }

    pub(super) fn all_arrived(&self) -> bool {
        self.streams.values().all(|ghost| ghost.finished && ghost.held == 0)
    }
}

/// Cuts whole frames apart.
fn frames(mut bytes: &[u8]) -> impl Iterator<Item = Vec<u8>> {
    std::iter::from_fn(move || {
        let (length, _) = bytes.split_at_checked(3)?;
        let payload = length.iter().fold(0, |sum, octet| sum << 8 | usize::from(*octet));
        let (frame, rest) = bytes.split_at(HEADER + payload);
        bytes = rest;
        Some(frame.to_vec())
    })
}

/// WINDOW_UPDATE on stream 0.
fn is_connection_credit(frame: &[u8]) -> bool {
    frame[3] == 8 && frame[5..HEADER] == [0; 4]
}

/// The header of a DATA frame that no machine was asked for.
fn data_header(stream: StreamId, octets: u32) -> [u8; HEADER] {
    let (length, id) = (octets.to_be_bytes(), stream.0.to_be_bytes());
    [length[1], length[2], length[3], 0, 0, id[0], id[1], id[2], id[3]]
}
