//! What happens before the first step of the flow model: preface, SETTINGS, CONNECT and its answer.
use std::time::Duration;

use adit_core::http2::{Config, Connection, Event, Field, Side, StreamId};
use adit_core::time::Instant;

use super::{FRAME, WINDOW};

/// Two connections that have settled, with `streams` open and answered streams.
///
/// The server finishes its own half with the answer, so that a stream is closed on it as soon as the client has
/// finished, whatever is still unread.
pub(super) fn connected(streams: usize) -> (Connection, Connection, Vec<StreamId>) {
    let now = Instant::ZERO;
    let small = |config: Config| Config {
        initial_window: WINDOW,
        connection_window: WINDOW,
        max_frame_size: FRAME,
        ping_interval: Duration::ZERO,
        ..config
    };
    let mut client = Connection::new(Side::Client, small(Config::client()), now);
    let mut server = Connection::new(Side::Server, small(Config::server()), now);
    exchange(&mut client, &mut server);
    let fields = [Field::new(b":method", b"CONNECT"), Field::new(b":authority", b"10.0.0.1:80")];
    let open = |_| client.open(now, &fields).expect("the server allows many");
    let ids: Vec<_> = (0..streams).map(open).collect();
    exchange(&mut client, &mut server);
    for id in &ids {
        server.respond(now, *id, 200, &[], true);
    }
    exchange(&mut client, &mut server);
    (client, server, ids)
}

/// Carries control frames until both are silent.
fn exchange(client: &mut Connection, server: &mut Connection) {
    while client.wants_control() || server.wants_control() {
        carry(client, server);
        carry(server, client);
    }
}

fn carry(from: &mut Connection, to: &mut Connection) {
    let mut wire = Vec::new();
    from.poll_control(&mut wire);
    to.handle_input(Instant::ZERO, &wire).expect("our own frames");
    while let Some(event) = to.poll_event() {
        assert!(!matches!(event, Event::Reset { .. } | Event::GoAway { .. }), "{event:?}");
    }
}
