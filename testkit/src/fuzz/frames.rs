//! Any octets into a connection: the same errors however they are cut, and no more in hand than the window allows.
use adit_core::http2::{Config, Connection, Event, Side};
use adit_core::time::Instant;

use super::Choices;
use crate::wire::frames::{PREFACE, settings};

/// First octet: the side (odd: client), whether it begins in good order, and how the rest is cut.
pub fn body(data: &[u8]) {
    let mut choices = Choices::new(data);
    let first = choices.octet();
    let (side, config) =
        if first & 1 == 1 { (Side::Client, Config::client()) } else { (Side::Server, Config::server()) };
    let mut wire = vec![];
    if first & 2 == 0 {
        wire.extend_from_slice(if side == Side::Server { PREFACE } else { &[] });
        wire.extend(settings(&[]));
    }
    wire.extend_from_slice(choices.take(usize::MAX));
    let whole = run(side, &config, &wire, usize::MAX);
    let cut = run(side, &config, &wire, usize::from(first >> 2) + 1);
    assert_eq!(whole, cut, "cutting the octets changes what becomes of them");
}

/// What a connection says to octets that come in pieces of `chunk`.
fn run(side: Side, config: &Config, wire: &[u8], chunk: usize) -> (Vec<Event>, Option<String>, usize) {
    let mut connection = Connection::new(side, config.clone(), Instant::ZERO);
    let (mut events, mut octets) = (vec![], 0);
    let mut control = vec![];
    for piece in wire.chunks(chunk.min(wire.len().max(1))) {
        let result = connection.handle_input(Instant::ZERO, piece);
        while let Some(event) = connection.poll_event() {
            match event {
                Event::Data { start, len, .. } => {
                    assert!(len > 0 && start + len <= piece.len(), "DATA lies outside of what was given");
                    octets += len;
                }
                other => events.push(other),
            }
        }
        assert!(connection.held() <= config.connection_window as usize);
        assert!(connection.open_streams() <= config.max_concurrent_streams as usize);
        if let Err(error) = result {
            assert!(connection.is_closed());
            return (events, Some(error.to_string()), octets);
        }
    }
    connection.poll_control(&mut control);
    assert!(control.len() <= 100 * wire.len() + 200, "replies are out of proportion");
    (events, None, octets)
}
