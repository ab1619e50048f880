//! What one short connection through a warm tunnel costs both proxies outside the kernel, in one thread.
//!
//! `shards` is two whole shards with real TLS: the client's proxy accepts, sends CONNECT, the server's admits, judges and
//! dials, three octets go there and one comes back, both sides finish. `told` is what metrics, totals and a silent access
//! log then make of it. The allocations of one connection are printed before; under callgrind,
//! `--toggle-collect='connect::cycle*'` counts instructions.
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use adit_control::ca::{CertificateStore, LocalCa};
use adit_control::local;
use adit_core::mesh::Mesh;
use adit_core::proxy::{Action, Listener, LocalWorkload, Observed, ProxyId, Shard, ShardConfig, SocketId};
use adit_core::route::RouteConfig;
use adit_core::time::WallClock;
use adit_core::tls::{RecordMode, TlsPorts};
use adit_ops::access;
use adit_ops::counters::Counters;
use adit_ops::metrics::{Bounds, Metrics};
use adit_runtime::{Clock, Engine, crypto, wall_clock};
use criterion::{Criterion, criterion_group, criterion_main};

#[path = "common/counting.rs"]
mod counting;

const MESH: &str = r#"
workloads:
- {uid: c, name: client, namespace: bench, serviceAccount: client, workloadIps: [10.0.0.1], protocol: HBONE, services: {}}
- {uid: s, name: server, namespace: bench, serviceAccount: server, workloadIps: [10.0.0.2], protocol: HBONE, services: {}}
services: []
policies: []
"#;

/// One proxy, and what it last asked of its driver.
struct Node {
    shard: Shard,
    store: Arc<CertificateStore>,
    /// The socket of the tunnel, once there is one.
    tunnel: Option<SocketId>,
    /// The application's socket, while it is open.
    app: Option<SocketId>,
    shut: bool,
    closed: usize,
    observed: Vec<Observed>,
}

/// Both proxies, the wire between them being whoever calls.
struct Pair {
    clock: Clock,
    client: Node,
    server: Node,
    wire: Vec<u8>,
    port: u16,
}

fn address(last: u8, port: u16) -> SocketAddr {
    ([10, 0, 0, last], port).into()
}

impl Node {
    fn new(name: &str, mesh: &Arc<Mesh>, store: &Arc<CertificateStore>, clock: &Clock) -> Self {
        let local =
            LocalWorkload { namespace: "bench".into(), name: name.into(), service_account: name.into() };
        let config = ShardConfig::new(local, RouteConfig::default(), 7);
        Self {
            shard: Shard::new(Arc::new(config), Arc::clone(mesh), clock.now()),
            store: Arc::clone(store),
            tunnel: None,
            app: None,
            shut: false,
            closed: 0,
            observed: Vec::new(),
        }
    }

    /// Does what a driver does after every call; what is written to the application is lost.
    fn settle(&mut self, clock: &Clock) {
        loop {
            if let Some(action) = self.shard.poll_action() {
                self.act(clock, action);
            } else if let Some(id) = self.shard.poll_urgent() {
                let octets = self.shard.wire(id).map(<[u8]>::len).sum();
                self.shard.handle_written(clock.now(), id, octets);
            } else {
                return;
            }
        }
    }

    fn act(&mut self, clock: &Clock, action: Action) {
        match action {
            Action::Dial { socket, to, .. } if to.port() == 15_008 => self.tunnel = Some(socket),
            Action::Dial { socket, .. } => {
                self.app = Some(socket);
                self.shard.handle_connected(clock.now(), socket);
            }
            Action::ShutdownWrite { .. } => self.shut = true,
            Action::Close { .. } => self.closed += 1,
            Action::NeedCertificate { identity } => {
                let context = self.store.get(&identity).expect("a certificate");
                self.shard.handle_certificate(clock.now(), &identity, Ok(context));
            }
            Action::ResumeRead { .. } => {}
            other => panic!("unexpected: {other:?}"),
        }
    }

    /// The application sends `octets`.
    fn read(&mut self, clock: &Clock, octets: &[u8]) {
        let app = self.app.expect("an open connection");
        let lent =
            Engine::lend(&mut self.shard, app, |areas| areas[0][..octets.len()].copy_from_slice(octets));
        assert!(lent.is_some(), "the shard lends");
        self.shard.handle_read(clock.now(), app, octets.len());
        self.settle(clock);
    }

    fn finish(&mut self, clock: &Clock) {
        self.shard.handle_eof(clock.now(), self.app.expect("an open connection"));
        self.settle(clock);
    }

    /// Takes what the shard has shown.
    fn observed(&mut self) {
        while let Some(observed) = self.shard.poll_observed() {
            self.observed.push(observed);
        }
    }
}

impl Pair {
    fn new() -> Self {
        let clock = Clock::start();
        let mesh = Arc::new(local::parse(Path::new("bench.yaml"), MESH, "").expect("a good mesh"));
        let ca = LocalCa::in_memory("cluster.local").expect("randomness");
        let wall = Arc::new(WallClock::new(wall_clock()));
        let ports = TlsPorts { provider: crypto::provider(), aead: crypto::aead(), clock: wall };
        let store = Arc::new(CertificateStore::new(ca, ports, RecordMode::InPlace));
        let client = Node::new("client", &mesh, &store, &clock);
        let server = Node::new("server", &mesh, &store, &clock);
        let mut pair = Self { clock, client, server, wire: Vec::new(), port: 0 };
        pair.open();
        let dialled = pair.client.tunnel.expect("a tunnel is dialled");
        let (from, to) = (address(1, 33_333), address(2, 15_008));
        let now = pair.clock.now();
        pair.client.shard.handle_connected(now, dialled);
        let accepted =
            pair.server.shard.handle_accepted(now, ProxyId::OWN, Listener::InboundHbone, from, to, to);
        pair.server.tunnel = Some(accepted.expect("a tunnel is accepted"));
        pair.client.settle(&pair.clock);
        pair.server.settle(&pair.clock);
        while pair.server.app.is_none() {
            pair.carry();
        }
        pair.carry();
        pair.use_and_close();
        pair
    }

    /// An application connects.
    fn open(&mut self) {
        self.port = self.port.wrapping_add(1);
        let (peer, target) = (address(1, self.port), address(2, 80));
        let now = self.clock.now();
        let accepted = self.client.shard.handle_accepted(
            now,
            ProxyId::OWN,
            Listener::Outbound,
            peer,
            address(1, 15_001),
            target,
        );
        self.client.app = Some(accepted.expect("room"));
        self.client.settle(&self.clock);
    }

    /// What both proxies have for each other, once each way.
    fn carry(&mut self) {
        carry(&self.clock, &mut self.wire, &mut self.client, &mut self.server);
        carry(&self.clock, &mut self.wire, &mut self.server, &mut self.client);
    }

    fn use_and_close(&mut self) {
        let Self { clock, client, server, wire, .. } = self;
        client.read(clock, b"e!");
        carry(clock, wire, client, server);
        server.read(clock, b"!");
        carry(clock, wire, server, client);
        client.finish(clock);
        carry(clock, wire, client, server);
        assert!(std::mem::take(&mut server.shut), "FIN reaches the server");
        server.finish(clock);
        carry(clock, wire, server, client);
        for node in [client, server] {
            assert_eq!((std::mem::take(&mut node.closed), node.shard.connections()), (1, 0));
            node.app = None;
            node.observed();
        }
    }
}

/// One whole connection.
#[inline(never)]
fn cycle(pair: &mut Pair) {
    pair.open();
    pair.carry();
    pair.use_and_close();
}

/// Flushes `from` and hands what it writes to `to`.
fn carry(clock: &Clock, wire: &mut Vec<u8>, from: &mut Node, to: &mut Node) {
    let now = clock.now();
    while let Some(id) = from.shard.poll_deferred(now) {
        wire.clear();
        from.shard.wire(id).for_each(|slice| wire.extend_from_slice(slice));
        from.shard.handle_written(now, id, wire.len());
        from.settle(clock);
        let tunnel = to.tunnel.expect("a tunnel");
        let mut rest = &wire[..];
        while !rest.is_empty() {
            let taken = Engine::lend(&mut to.shard, tunnel, |areas| {
                let (now, later) = rest.split_at(areas[0].len().min(rest.len()));
                areas[0][..now.len()].copy_from_slice(now);
                rest = later;
                now.len()
            });
            to.shard.handle_read(now, tunnel, taken.expect("room"));
            to.settle(clock);
        }
    }
}

/// Tells `pages` of what both proxies have shown.
#[inline(never)]
fn tell((counters, metrics): &(Counters, Metrics), pair: &mut Pair) {
    for observed in pair.client.observed.drain(..).chain(pair.server.observed.drain(..)) {
        counters.record(&observed);
        metrics.observe(&observed);
        access::log(&observed);
    }
}

fn connect(criterion: &mut Criterion) {
    let mut pair = Pair::new();
    let pages = (Counters::default(), Metrics::new("bench", Bounds::default()));
    tell(&pages, &mut pair);
    for _ in 0..100 {
        cycle(&mut pair);
        tell(&pages, &mut pair);
    }
    let before = counting::allocations();
    for _ in 0..100 {
        cycle(&mut pair);
    }
    let shards = counting::allocations();
    tell(&pages, &mut pair);
    let told = counting::allocations();
    println!("allocations of 100 connections: shards {}, told {}", shards - before, told - shards);

    let mut group = criterion.benchmark_group("connect");
    group.bench_function("shards", |bencher| {
        bencher.iter(|| {
            cycle(&mut pair);
            pair.client.observed.clear();
            pair.server.observed.clear();
        });
    });
    group.bench_function("told", |bencher| {
        bencher.iter(|| {
            cycle(&mut pair);
            tell(&pages, &mut pair);
        });
    });
    group.finish();
}

criterion_group!(benches, connect);
criterion_main!(benches);
