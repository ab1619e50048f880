//! Two tunnels in one thread, without a runtime and without a socket: the core by itself.
//!
//! Client and server do a real TLS 1.3 handshake, the client asks for a stream with CONNECT, octets go both ways, and each
//! half of the stream ends by itself. [`carry`] plays the event loop: the order of its calls is how a tunnel is driven.
//! Run it with `cargo run -p adit-examples --bin pair`.
use std::io::Read;
use std::sync::Arc;

use adit_core::buffer::BufferPool;
use adit_core::hbone::{ConnectRequest, Tunnel, TunnelConfig, TunnelError, TunnelEvent};
use adit_core::http2::{ErrorCode, Field, StreamId};
use adit_core::identity::IdentitySet;
use adit_core::time::Instant;
use adit_core::tls::Session;
use adit_examples::World;
use anyhow::{Context, ensure};

/// The core reads no clock: time is an argument. Nothing here waits for a deadline, so it may stand still.
const NOW: Instant = Instant::ZERO;

/// A tunnel, the buffers it borrows from, and an application that says one thing and hears another.
struct End {
    name: &'static str,
    tunnel: Tunnel,
    pool: BufferPool,
    says: &'static [u8],
    heard: Vec<u8>,
}

impl End {
    /// The server takes the stream; then the client sends its question; at the question's end the server answers.
    fn handle(&mut self, event: TunnelEvent) -> anyhow::Result<()> {
        println!("{}: {event:?}", self.name);
        match event {
            TunnelEvent::Request { stream, request: Ok(_) } => self.tunnel.accept(NOW, stream, None),
            TunnelEvent::Response { stream, .. } => self.say(stream)?,
            TunnelEvent::Finished { stream } if self.name == "server" => self.say(stream)?,
            TunnelEvent::Data { stream } => {
                self.tunnel.pieces(stream).for_each(|piece| self.heard.extend_from_slice(piece));
                // Until this is said, the sender's window stays closed by as much.
                self.tunnel.delivered(stream, self.tunnel.pending(stream), &mut self.pool);
            }
            _ => {}
        }
        Ok(())
    }

    /// Reads what the application says straight into the record it will leave in, and ends this half of the stream.
    fn say(&mut self, stream: StreamId) -> anyhow::Result<()> {
        let mut lent = self.tunnel.lend_data(stream, &mut self.pool).context("the window is closed")?;
        let n = self.says.read(lent.areas().next().context("nothing was lent")?)?;
        self.tunnel.commit_data(stream, n);
        self.tunnel.finish(stream);
        Ok(())
    }
}

/// Moves what `from` has to send to `to`; false when there was nothing.
fn carry(from: &mut End, to: &mut End) -> anyhow::Result<bool> {
    from.tunnel.flush(NOW, &mut from.pool)?;
    let network: Vec<u8> = from.tunnel.wire().flatten().copied().collect();
    from.tunnel.handle_written(network.len(), &mut from.pool);

    let (mut network, moved) = (network.as_slice(), !network.is_empty());
    while !network.is_empty() {
        let n = network.read(to.tunnel.lend_input(&mut to.pool))?;
        to.tunnel.handle_input(NOW, n, &mut to.pool)?;
        while let Some(event) = to.tunnel.poll_event() {
            to.handle(event)?;
        }
        to.tunnel.settle(&mut to.pool);
    }
    Ok(moved)
}

fn main() -> anyhow::Result<()> {
    let world = World::new()?;
    let (client_id, server_id) = (World::identity("client")?, World::identity("server")?);
    let context = |identity| world.certificate(identity).map_err(anyhow::Error::msg);
    let session = Session::client(&context(&client_id)?, &IdentitySet::single(server_id.clone()))?;
    let client = Tunnel::client(session, Arc::new(TunnelConfig::client()), NOW);
    let session = Session::server(&context(&server_id)?)?;
    let server = Tunnel::server(session, Arc::new(TunnelConfig::server()), NOW);
    let end = |name, tunnel, says| End { name, tunnel, pool: BufferPool::default(), says, heard: Vec::new() };
    let (mut client, mut server) = (end("client", client, b"hello?"), end("server", server, b"hello!"));

    // Allowed before the handshake: the request rides behind the client's last flight.
    let fields = [(":method", "CONNECT"), (":authority", "127.0.0.3:8080")];
    let request = ConnectRequest::from_fields(&fields.map(|(k, v)| Field::new(k.as_bytes(), v.as_bytes())))?;
    client.tunnel.open(NOW, &request)?;
    while carry(&mut client, &mut server)? | carry(&mut server, &mut client)? {}
    ensure!(server.heard == b"hello?" && client.heard == b"hello!", "the octets were not those");
    ensure!(server.tunnel.peer() == Some(&client_id), "the server does not know who called");

    client.tunnel.close(NOW, ErrorCode::NO_ERROR);
    carry(&mut client, &mut server)?;
    ensure!(server.tunnel.handle_eof(NOW) == TunnelError::Closed, "the tunnel did not end in good order");
    Ok(())
}
