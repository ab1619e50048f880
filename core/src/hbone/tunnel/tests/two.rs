//! Two tunnels joined by hand, for scripts that need every call in its place.
use std::sync::Arc;
use std::vec::Vec;

use crate::buffer::BufferPool;
use crate::hbone::{Authority, ConnectRequest, Tunnel, TunnelConfig, TunnelError, TunnelEvent};
use crate::http2::StreamId;
use crate::identity::Identity;
use crate::time::Instant;
use crate::tls::{Session, Side};

pub(super) const NOW: Instant = Instant::from_millis(1);

/// A tunnel and its buffers.
pub(super) struct Half {
    pub(super) tunnel: Tunnel,
    pub(super) pool: BufferPool,
}

impl Half {
    /// All events so far.
    pub(super) fn events(&mut self) -> Vec<TunnelEvent> {
        core::iter::from_fn(|| self.tunnel.poll_event()).collect()
    }

    /// Flushes and takes everything off the wire.
    pub(super) fn output(&mut self) -> Vec<u8> {
        self.tunnel.flush(NOW, &mut self.pool).unwrap();
        let bytes: Vec<u8> = self.tunnel.wire().flatten().copied().collect();
        self.tunnel.handle_written(bytes.len(), &mut self.pool);
        bytes
    }

    /// Hands in octets without settling.
    pub(super) fn input(&mut self, mut bytes: &[u8]) -> Result<(), TunnelError> {
        while !bytes.is_empty() {
            let area = self.tunnel.lend_input(&mut self.pool);
            let (now, later) = bytes.split_at(area.len().min(bytes.len()));
            area[..now.len()].copy_from_slice(now);
            bytes = later;
            let result = self.tunnel.handle_input(NOW, now.len(), &mut self.pool);
            self.check();
            result?;
        }
        Ok(())
    }

    /// What is counted is what is there.
    pub(super) fn check(&self) {
        let mut held = 0;
        for (stream, entry) in self.tunnel.streams.iter() {
            let walked: usize = self.tunnel.pieces(stream).map(<[u8]>::len).sum();
            assert_eq!(self.tunnel.pending(stream), walked, "{stream:?}");
            held += entry.backlog.held();
        }
        assert_eq!(self.tunnel.held(), held);
    }

    /// Sends `data` on `stream` as far as the tunnel takes it; returns how much.
    pub(super) fn send(&mut self, stream: StreamId, data: &[u8]) -> usize {
        let mut left = data;
        while !left.is_empty() {
            let Some(mut lend) = self.tunnel.lend_data(stream, &mut self.pool) else { break };
            let mut n = 0;
            for area in lend.areas() {
                let taken = area.len().min(left.len());
                area[..taken].copy_from_slice(&left[..taken]);
                left = &left[taken..];
                n += taken;
            }
            self.tunnel.commit_data(stream, n);
        }
        data.len() - left.len()
    }

    /// What `stream` has received and not delivered.
    pub(super) fn pending(&self, stream: StreamId) -> Vec<u8> {
        self.tunnel.pieces(stream).flatten().copied().collect()
    }
}

fn identity(name: &str) -> Identity {
    Identity::new("cluster.local", "test", name).unwrap()
}

/// A client and a server that have not spoken yet.
pub(super) fn fresh(client: TunnelConfig, server: TunnelConfig) -> (Half, Half) {
    let session = |side, local, peer| Session::symbolic(side, identity(local), identity(peer));
    let (at_client, at_server) =
        (session(Side::Client, "client", "server"), session(Side::Server, "server", "client"));
    let half = |tunnel| Half { tunnel, pool: BufferPool::default() };
    (
        half(Tunnel::client(at_client, Arc::new(client), NOW)),
        half(Tunnel::server(at_server, Arc::new(server), NOW)),
    )
}

/// Lets both talk until neither has anything to say.
pub(super) fn settle(client: &mut Half, server: &mut Half) {
    loop {
        let (up, down) = (client.output(), server.output());
        if up.is_empty() && down.is_empty() {
            return;
        }
        server.input(&up).unwrap();
        client.input(&down).unwrap();
        client.tunnel.settle(&mut client.pool);
        server.tunnel.settle(&mut server.pool);
        client.check();
        server.check();
    }
}

/// Two that know each other, with their first events taken.
pub(super) fn established() -> (Half, Half) {
    let (mut client, mut server) = fresh(TunnelConfig::client(), TunnelConfig::server());
    settle(&mut client, &mut server);
    assert!(matches!(
        client.events()[..],
        [TunnelEvent::Established { .. }, TunnelEvent::Limit { streams: 200 }]
    ));
    assert!(matches!(server.events()[..], [TunnelEvent::Established { .. }, TunnelEvent::Limit { .. }]));
    (client, server)
}

pub(super) fn request() -> ConnectRequest {
    ConnectRequest {
        authority: Authority::Address("10.0.0.1:80".parse().unwrap()),
        baggage: None,
        forwarded: None,
        traceparent: None,
        forwarded_network: None,
    }
}

/// Opens a stream and has it accepted; events are taken.
pub(super) fn open(client: &mut Half, server: &mut Half) -> StreamId {
    let stream = client.tunnel.open(NOW, &request()).unwrap();
    settle(client, server);
    server.tunnel.accept(NOW, stream, None);
    settle(client, server);
    client.events();
    server.events();
    stream
}
