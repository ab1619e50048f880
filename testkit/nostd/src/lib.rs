//! Two tunnels in memory with rustls's `std` off, as an embedder without std has it: handshake, verification, records and
//! streams run there, not only compile. `.ci/run nostd` runs it; nothing here is shipped.
#![forbid(unsafe_code)]

/// The shipped cryptography ports: adit-runtime as a whole would switch `std` on.
#[path = "../../../runtime/src/crypto.rs"]
pub mod crypto;

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use adit_core::buffer::BufferPool;
    use adit_core::hbone::{ConnectRequest, Tunnel, TunnelConfig, TunnelError, TunnelEvent};
    use adit_core::http2::{ErrorCode, Field, StreamId};
    use adit_core::identity::{Identity, IdentitySet};
    use adit_core::time::{Instant, UnixTime, WallClock};
    use adit_core::tls::{Credentials, RecordMode, Session, TlsContext, TlsPorts};
    use rustls::pki_types::{CertificateDer, PrivateKeyDer};

    use super::crypto;

    const NOW: Instant = Instant::ZERO;
    /// 2026-01-01, inside the validity of the certificates.
    const TODAY: UnixTime = UnixTime(1_767_225_600);
    /// More than a stream's first window, so that credit must come back.
    const OCTETS: usize = 9 << 20;

    /// With `std` this type has a field, and this does not compile.
    const _WITHOUT_STD: rustls::OtherError = rustls::OtherError();

    macro_rules! made {
        ($name:literal) => {
            include_bytes!(concat!(env!("OUT_DIR"), "/", $name)).as_slice()
        };
    }

    fn identity(name: &str) -> Identity {
        Identity::new("cluster.local", "test", name).expect("an identity")
    }

    fn context(name: &str, leaf: &'static [u8], key: &'static [u8], records: RecordMode) -> Arc<TlsContext> {
        let ports = TlsPorts {
            provider: crypto::provider(),
            aead: crypto::aead(),
            clock: Arc::new(WallClock::new(TODAY)),
        };
        let credentials = Credentials {
            identity: identity(name),
            chain: vec![CertificateDer::from(leaf)],
            key: PrivateKeyDer::try_from(key).expect("a PKCS #8 key"),
            roots: vec![CertificateDer::from(made!("root.der"))],
        };
        TlsContext::new(ports, credentials, records).expect("usable credentials")
    }

    /// A tunnel and an application that sends what is left of `says` and keeps what it hears.
    struct End {
        tunnel: Tunnel,
        pool: BufferPool,
        says: Vec<u8>,
        said: usize,
        stream: Option<StreamId>,
        heard: Vec<u8>,
        ended: Option<TunnelError>,
    }

    impl End {
        fn new(tunnel: Tunnel, says: Vec<u8>) -> Self {
            Self {
                tunnel,
                pool: BufferPool::default(),
                says,
                said: 0,
                stream: None,
                heard: Vec::new(),
                ended: None,
            }
        }

        fn handle(&mut self, event: TunnelEvent) {
            match event {
                TunnelEvent::Request { stream, request } => {
                    assert!(request.is_ok(), "{request:?}");
                    self.tunnel.accept(NOW, stream, None);
                    self.stream = Some(stream);
                }
                TunnelEvent::Response { stream, .. } => self.stream = Some(stream),
                TunnelEvent::Data { stream } => {
                    self.tunnel.pieces(stream).for_each(|piece| self.heard.extend_from_slice(piece));
                    self.tunnel.delivered(stream, self.tunnel.pending(stream), &mut self.pool);
                }
                _ => {}
            }
        }

        /// Sends as much as the windows let it; the last octet ends this half.
        fn say(&mut self) {
            let Some(stream) = self.stream else { return };
            while self.said < self.says.len() {
                let Some(mut lent) = self.tunnel.lend_data(stream, &mut self.pool) else { return };
                let mut n = 0;
                for area in lent.areas() {
                    let rest = &self.says[self.said + n..];
                    let take = rest.len().min(area.len());
                    area[..take].copy_from_slice(&rest[..take]);
                    n += take;
                }
                self.tunnel.commit_data(stream, n);
                self.said += n;
                if self.said == self.says.len() {
                    self.tunnel.finish(stream);
                }
            }
        }
    }

    /// Moves what `from` has to send, at most `chunk` octets at a time; false when there was nothing.
    fn carry(from: &mut End, to: &mut End, chunk: usize) -> bool {
        from.say();
        from.tunnel.flush(NOW, &mut from.pool).expect("flushes");
        let wire: Vec<u8> = from.tunnel.wire().flatten().copied().collect();
        from.tunnel.handle_written(wire.len(), &mut from.pool);
        let mut rest = wire.as_slice();
        while !rest.is_empty() && to.ended.is_none() {
            let room = to.tunnel.lend_input(&mut to.pool);
            let n = rest.len().min(room.len()).min(chunk);
            room[..n].copy_from_slice(&rest[..n]);
            rest = &rest[n..];
            to.ended = to.tunnel.handle_input(NOW, n, &mut to.pool).err();
            while let Some(event) = to.tunnel.poll_event() {
                to.handle(event);
            }
            to.tunnel.settle(&mut to.pool);
        }
        !wire.is_empty()
    }

    fn pattern(seed: usize, len: usize) -> Vec<u8> {
        (0..len).map(|at| (at.wrapping_mul(31) ^ seed ^ (at >> 8)).to_le_bytes()[0]).collect()
    }

    /// A client that expects `expected` and a server, with their handshake still to be done.
    fn pair(records: RecordMode, expected: &str, octets: usize) -> (End, End) {
        let client = context("client", made!("client.der"), made!("client.key.der"), records);
        let server = context("server", made!("server.der"), made!("server.key.der"), records);
        let session = Session::client(&client, &IdentitySet::single(identity(expected))).expect("a session");
        let mut client = Tunnel::client(session, Arc::new(TunnelConfig::client()), NOW);
        let session = Session::server(&server).expect("a session");
        let server = Tunnel::server(session, Arc::new(TunnelConfig::server()), NOW);
        let fields = [(":method", "CONNECT"), (":authority", "127.0.0.3:8080")];
        let fields = fields.map(|(name, value)| Field::new(name.as_bytes(), value.as_bytes()));
        client.open(NOW, &ConnectRequest::from_fields(&fields).expect("a request")).expect("opens");
        (End::new(client, pattern(1, octets)), End::new(server, pattern(2, octets)))
    }

    fn transfer(records: RecordMode, octets: usize, chunk: usize) {
        let (mut client, mut server) = pair(records, "server", octets);
        while carry(&mut client, &mut server, chunk) | carry(&mut server, &mut client, chunk) {}
        assert!(server.heard == client.says, "client to server, {records:?}");
        assert!(client.heard == server.says, "server to client, {records:?}");
        assert_eq!(server.tunnel.peer(), Some(&identity("client")));

        client.tunnel.close(NOW, ErrorCode::NO_ERROR);
        carry(&mut client, &mut server, chunk);
        assert_eq!(server.tunnel.handle_eof(NOW), TunnelError::Closed);
    }

    #[test]
    fn octets_cross_both_ways_in_place() {
        transfer(RecordMode::InPlace, OCTETS, usize::MAX);
    }

    #[test]
    fn octets_cross_both_ways_by_rustls() {
        transfer(RecordMode::Rustls, OCTETS, usize::MAX);
    }

    #[test]
    fn one_octet_at_a_time_is_enough() {
        transfer(RecordMode::InPlace, 40_000, 1);
        transfer(RecordMode::Rustls, 40_000, 1);
    }

    #[test]
    fn a_server_that_is_somebody_else_is_refused_by_its_name() {
        let (mut client, mut server) = pair(RecordMode::InPlace, "another", 10);
        carry(&mut client, &mut server, usize::MAX);
        carry(&mut server, &mut client, usize::MAX);
        assert!(matches!(client.ended, Some(TunnelError::Tls(_))), "{:?}", client.ended);
        assert!(
            client.ended.iter().all(|error| error.to_string().contains("sa/another")),
            "{:?}",
            client.ended
        );
        assert!(server.heard.is_empty());
    }
}
