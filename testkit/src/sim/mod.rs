//! A simulated machine room: shards and scripted applications on a seeded network, no sockets, no clock.
//!
//! Everything is a function of the seed: how octets are cut, which socket goes first, how long a turn takes. The network
//! delivers in order and loses nothing unless a test cuts a link.
use std::collections::{BTreeMap, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use adit_core::dns::NameError;
use adit_core::identity::Identity;
use adit_core::mesh::Mesh;
use adit_core::proxy::{Action, Listener, LocalWorkload, Observed, ProxyId, Shard, SocketError, SocketId};
use adit_core::rng::Rng;
use adit_core::time::Instant;
use adit_core::tls::TlsContext;

mod app;
pub mod cluster;
mod link;
pub mod mesh;

pub use app::{App, Script};
pub use link::LinkId;
use link::{End, Link};

/// Index of a shard in the room.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(pub usize);

/// Index of an application in the room.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AppId(pub usize);

/// Who makes certificates for the shards; refusing is a failed certificate.
pub type Certificates = Box<dyn Fn(&Identity) -> Result<Arc<TlsContext>, Arc<str>>>;

struct Node {
    shard: Shard,
    observed: Vec<Observed>,
    links: BTreeMap<SocketId, (LinkId, usize)>,
    listening: bool,
    drained: bool,
    dead: bool,
}

/// How the network behaves.
#[derive(Clone, Debug)]
pub struct Weather {
    /// Octets that one direction of a connection holds before its writer blocks.
    pub capacity: usize,
    /// The most octets that one read sees; cuts are drawn below it.
    pub chunk: usize,
}

impl Default for Weather {
    fn default() -> Self {
        Self { capacity: 256 << 10, chunk: 64 << 10 }
    }
}

/// The room.
pub struct Room {
    now: Instant,
    rng: Rng,
    weather: Weather,
    nodes: Vec<Node>,
    apps: Vec<App>,
    links: Vec<Link>,
    listeners: BTreeMap<SocketAddr, (NodeId, ProxyId, Listener)>,
    servers: BTreeMap<SocketAddr, Script>,
    certificates: Certificates,
    names: BTreeMap<String, Vec<IpAddr>>,
    discoveries: BTreeMap<String, Arc<Mesh>>,
    asked: Vec<String>,
}

impl Room {
    /// An empty room; everything that happens follows from `seed`.
    #[must_use]
    pub fn new(seed: u64, weather: Weather, certificates: Certificates) -> Self {
        Self {
            now: Instant::from_millis(1),
            rng: Rng::new(seed),
            weather,
            nodes: Vec::new(),
            apps: Vec::new(),
            links: Vec::new(),
            listeners: BTreeMap::new(),
            servers: BTreeMap::new(),
            certificates,
            names: BTreeMap::new(),
            discoveries: BTreeMap::new(),
            asked: Vec::new(),
        }
    }

    /// Puts a shard in the room, listening at `listeners`.
    pub fn add_node(&mut self, shard: Shard, listeners: &[(SocketAddr, Listener)]) -> NodeId {
        let id = NodeId(self.nodes.len());
        for &(address, listener) in listeners {
            self.listeners.insert(address, (id, ProxyId::OWN, listener));
        }
        self.nodes.push(Node {
            shard,
            observed: Vec::new(),
            links: BTreeMap::new(),
            listening: true,
            drained: false,
            dead: false,
        });
        id
    }

    /// Has the shard of `node` serve `local` as well, who listens at `ip` on upstream's ports.
    pub fn add_proxy(&mut self, node: NodeId, proxy: ProxyId, local: LocalWorkload, ip: IpAddr) {
        self.with(node, |shard, now| shard.add_proxy(now, proxy, local));
        for (port, listener) in [(15_008, Listener::InboundHbone), (15_006, Listener::InboundPlain)] {
            self.listeners.insert(SocketAddr::new(ip, port), (node, proxy, listener));
        }
    }

    /// Takes a proxy of `node` away, with its listeners.
    pub fn remove_proxy(&mut self, node: NodeId, proxy: ProxyId) {
        self.listeners.retain(|_, (at, of, _)| (*at, *of) != (node, proxy));
        self.with(node, |shard, now| shard.remove_proxy(now, proxy));
    }

    /// Has an application serve `script` to whoever connects to `address`.
    pub fn serve(&mut self, address: SocketAddr, script: Script) {
        self.servers.insert(address, script);
    }

    /// Has name servers know `name`; no other name exists.
    pub fn name(&mut self, name: &str, addresses: &[IpAddr]) {
        self.names.insert(name.to_owned(), addresses.to_vec());
    }

    /// Has the control plane answer a demand for `key` with these tables; it says of every other key that nothing is there.
    pub fn discover(&mut self, key: &str, tables: Arc<Mesh>) {
        self.discoveries.insert(key.to_owned(), tables);
    }

    /// An application at `from` connects through the captured outbound listener of `node` to `target`.
    pub fn connect(&mut self, node: NodeId, from: SocketAddr, target: SocketAddr, script: Script) -> AppId {
        self.connect_to(node, Listener::Outbound, from, target, script)
    }

    /// An application at `from` reaches `listener` of `node`; `target` is where it wanted to go.
    pub fn connect_to(
        &mut self,
        node: NodeId,
        listener: Listener,
        from: SocketAddr,
        target: SocketAddr,
        script: Script,
    ) -> AppId {
        self.connect_by((node, ProxyId::OWN), listener, from, target, script)
    }

    /// The same by way of one of several proxies of a node.
    pub fn connect_by(
        &mut self,
        by: (NodeId, ProxyId),
        listener: Listener,
        from: SocketAddr,
        target: SocketAddr,
        script: Script,
    ) -> AppId {
        let app = self.add_app(script);
        self.open(End::App(app), by, listener, from, target, target);
        app
    }

    /// Runs until nothing moves any more, at most `turns` turns; panics beyond (a test bound).
    pub fn run(&mut self, turns: usize) {
        for _ in 0..turns {
            if !self.turn() {
                return;
            }
        }
        panic!("the room is still busy after {turns} turns");
    }

    /// Lets time pass up to the next deadline of any shard, and runs what follows; false when there is none.
    pub fn wait(&mut self) -> bool {
        let next =
            self.nodes.iter().filter(|node| !node.dead).filter_map(|node| node.shard.poll_timeout()).min();
        let Some(next) = next else { return false };
        self.now = self.now.max(next);
        for id in 0..self.nodes.len() {
            self.with(NodeId(id), |shard, now| shard.handle_timeout(now));
        }
        self.run(100_000);
        true
    }

    /// Cuts a node out, as kill -9 does: its sockets are reset.
    pub fn kill(&mut self, node: NodeId) {
        self.nodes[node.0].dead = true;
        for link in &mut self.links {
            for end in 0..2 {
                if matches!(link.ends[end], End::Node(id, _) if id == node) {
                    link.reset(end);
                }
            }
        }
    }

    /// Cuts the transport of every tunnel between nodes, without a word.
    pub fn cut_tunnels(&mut self) {
        for link in &mut self.links {
            if matches!(link.ends, [End::Node(..), End::Node(..)]) {
                link.reset(0);
                link.reset(1);
            }
        }
    }

    /// Drives a shard with one call, and everything that follows from it at once.
    pub fn with<R>(&mut self, node: NodeId, call: impl FnOnce(&mut Shard, Instant) -> R) -> R {
        let now = self.now;
        let result = call(&mut self.nodes[node.0].shard, now);
        self.after(node);
        result
    }

    // ---- ask

    /// What a node has said so far.
    #[must_use]
    pub fn observed(&self, node: NodeId) -> &[Observed] {
        &self.nodes[node.0].observed
    }

    /// Forgets what a node has said so far, and so what it keeps alive.
    pub fn forget_observed(&mut self, node: NodeId) {
        self.nodes[node.0].observed.clear();
    }

    /// Names and keys that shards have asked for, in order.
    #[must_use]
    pub fn asked(&self) -> &[String] {
        &self.asked
    }

    /// A node's shard.
    #[must_use]
    pub fn shard(&self, node: NodeId) -> &Shard {
        &self.nodes[node.0].shard
    }

    /// Whether a node's drain is complete.
    #[must_use]
    pub fn is_drained(&self, node: NodeId) -> bool {
        self.nodes[node.0].drained
    }

    /// An application, clients in the order of their `connect`, servers as they were connected to.
    #[must_use]
    pub fn app(&self, id: AppId) -> &App {
        &self.apps[id.0]
    }

    /// All applications, clients and servers.
    #[must_use]
    pub fn apps(&self) -> &[App] {
        &self.apps
    }

    /// Lets an application that holds back go on reading.
    pub fn release(&mut self, id: AppId) {
        self.apps[id.0].release();
    }

    /// Sockets that some node still has.
    #[must_use]
    pub fn sockets(&self, node: NodeId) -> usize {
        self.nodes[node.0].links.len()
    }

    // ---- inside

    fn add_app(&mut self, script: Script) -> AppId {
        self.apps.push(App::new(script));
        AppId(self.apps.len() - 1)
    }

    fn add_link(&mut self, ends: [End; 2]) -> LinkId {
        let id = LinkId(self.links.len());
        self.links.push(Link::new(ends));
        for (index, end) in ends.into_iter().enumerate() {
            match end {
                End::Node(node, socket) => {
                    self.nodes[node.0].links.insert(socket, (id, index));
                }
                End::App(app) => self.apps[app.0].link = Some((id, index)),
            }
        }
        id
    }

    /// A connection reaches a listener of `node`.
    fn open(
        &mut self,
        end: End,
        (node, proxy): (NodeId, ProxyId),
        listener: Listener,
        from: SocketAddr,
        local: SocketAddr,
        target: SocketAddr,
    ) {
        let now = self.now;
        let accepted = self.nodes[node.0].shard.handle_accepted(now, proxy, listener, from, local, target);
        match accepted {
            Some(socket) => {
                self.add_link([end, End::Node(node, socket)]);
            }
            None => self.refuse(end),
        }
        self.after(node);
    }

    fn refuse(&mut self, end: End) {
        match end {
            End::App(app) => self.apps[app.0].handle_reset(),
            End::Node(node, socket) => {
                self.with(node, |shard, now| shard.handle_error(now, socket, SocketError::Refused));
            }
        }
    }

    /// Drains what a shard wants done at once.
    fn after(&mut self, id: NodeId) {
        let now = self.now;
        let mut again = true;
        while std::mem::take(&mut again) {
            while let Some(socket) = self.nodes[id.0].shard.poll_urgent() {
                self.write(id, socket);
                again = true;
            }
            while let Some(action) = self.nodes[id.0].shard.poll_action() {
                self.act(id, now, action);
                again = true;
            }
        }
        let node = &mut self.nodes[id.0];
        while let Some(observed) = node.shard.poll_observed() {
            node.observed.push(observed);
        }
    }

    fn act(&mut self, id: NodeId, now: Instant, action: Action) {
        match action {
            Action::Dial { socket, to, source, .. } => {
                self.dial(id, socket, to, source.map_or(to, |ip| SocketAddr::new(ip, 40_000)))
            }
            Action::Join { sockets: [a, b] } => {
                self.add_link([End::Node(id, a), End::Node(id, b)]);
            }
            Action::ShutdownWrite { socket } => {
                if let Some(&(link, end)) = self.nodes[id.0].links.get(&socket) {
                    self.links[link.0].finish(end);
                }
            }
            Action::Close { socket, reset } => {
                if let Some((link, end)) = self.nodes[id.0].links.remove(&socket) {
                    self.links[link.0].close(end, reset);
                }
            }
            // No node here is a waypoint of its own process.
            Action::Deliver { socket, .. } => {
                self.nodes[id.0].shard.handle_error(now, socket, SocketError::Refused);
            }
            Action::Opened { .. } | Action::Failed { .. } | Action::Leaving { .. } => {}
            // Every readable socket is tried each turn anyway.
            Action::ResumeRead { .. } => {}
            Action::NeedCertificate { identity } => {
                let answer = (self.certificates)(&identity);
                self.nodes[id.0].shard.handle_certificate(now, &identity, answer);
            }
            Action::Resolve { ticket, name, .. } => {
                self.asked.push(name.to_string());
                let answer = self.names.get(&*name).cloned().ok_or(NameError::NotFound);
                self.nodes[id.0].shard.handle_resolved(now, ticket, answer);
            }
            Action::Demand { ticket, key } => {
                self.asked.push(key.to_string());
                let shard = &mut self.nodes[id.0].shard;
                if let Some(tables) = self.discoveries.get(&*key) {
                    shard.handle_mesh(now, Arc::clone(tables));
                }
                shard.handle_demanded(now, ticket, Ok(()));
            }
            Action::StopListening => self.nodes[id.0].listening = false,
            Action::Drained => self.nodes[id.0].drained = true,
        }
    }

    fn dial(&mut self, id: NodeId, socket: SocketId, to: SocketAddr, from: SocketAddr) {
        let end = End::Node(id, socket);
        if let Some(script) = self.servers.get(&to).cloned() {
            let app = self.add_app(script);
            self.add_link([end, End::App(app)]);
        } else if let Some(&(node, proxy, listener)) = self.listeners.get(&to)
            && self.nodes[node.0].listening
            && !self.nodes[node.0].dead
        {
            self.open(end, (node, proxy), listener, from, to, to);
            if !self.nodes[id.0].links.contains_key(&socket) {
                return;
            }
        } else {
            return self.with(id, |shard, now| shard.handle_error(now, socket, SocketError::Refused));
        }
        self.with(id, |shard, now| shard.handle_connected(now, socket));
    }

    /// Writes what a shard has for `socket` as far as the link takes it.
    fn write(&mut self, id: NodeId, socket: SocketId) {
        let now = self.now;
        let Some(&(link, end)) = self.nodes[id.0].links.get(&socket) else { return };
        loop {
            let node = &mut self.nodes[id.0];
            let mut taken = 0;
            let mut offered = 0;
            for slice in node.shard.wire(socket) {
                offered += slice.len();
                let n = self.links[link.0].write(end, slice, self.weather.capacity);
                taken += n;
                if n < slice.len() {
                    break;
                }
            }
            if taken > 0 {
                node.shard.handle_written(now, socket, taken);
            }
            if taken < offered {
                node.shard.handle_write_blocked(now, socket);
                self.links[link.0].blocked[end] = true;
                return;
            }
            if offered == 0 {
                return;
            }
        }
    }

    /// One turn of everybody's event loop; false when nothing moved.
    pub fn turn(&mut self) -> bool {
        let mut moved = false;
        self.now = self.now + std::time::Duration::from_nanos(1_000);
        let mut ends: VecDeque<_> = (0..self.links.len()).flat_map(|link| [(link, 0), (link, 1)]).collect();
        let first = usize::try_from(self.rng.below(ends.len().max(1) as u64)).unwrap_or(0);
        ends.rotate_left(first);
        for (link, end) in ends {
            moved |= match self.links[link].ends[end] {
                End::Node(node, socket) => self.node_turn(node, socket, link, end),
                End::App(app) => self.app_turn(app, link, end),
            };
        }
        for id in (0..self.nodes.len()).map(NodeId) {
            if self.nodes[id.0].dead {
                continue;
            }
            let now = self.now;
            while let Some(socket) = self.nodes[id.0].shard.poll_deferred(now) {
                moved = true;
                self.write(id, socket);
                self.after(id);
            }
            self.after(id);
        }
        moved
    }

    fn node_turn(&mut self, node: NodeId, socket: SocketId, link: usize, end: usize) -> bool {
        if self.nodes[node.0].dead || !self.nodes[node.0].links.contains_key(&socket) {
            return false;
        }
        let now = self.now;
        let mut moved = false;
        if self.links[link].blocked[end] && self.links[link].room(end, self.weather.capacity) > 0 {
            self.links[link].blocked[end] = false;
            self.with(node, |shard, now| shard.handle_writable(now, socket));
            moved = true;
        }
        let most = self.cut();
        let entry = &mut self.links[link];
        if entry.is_reset(end) {
            if entry.take_reset(end) {
                self.with(node, |shard, now| shard.handle_error(now, socket, SocketError::Reset));
                return true;
            }
            return moved;
        }
        let waiting = entry.readable(end);
        if waiting > 0 {
            let Some(mut areas) = self.nodes[node.0].shard.lend(socket) else { return moved };
            let mut read = 0;
            for area in areas.iter_mut() {
                let n = area.len().min(most - read);
                let got = self.links[link].read(end, &mut area[..n]);
                read += got;
                if got < area.len() {
                    break;
                }
            }
            if read > 0 {
                self.nodes[node.0].shard.handle_read(now, socket, read);
                self.after(node);
                moved = true;
            }
        } else if entry.take_fin(end) {
            self.with(node, |shard, now| shard.handle_eof(now, socket));
            moved = true;
        }
        moved
    }

    fn app_turn(&mut self, app: AppId, link: usize, end: usize) -> bool {
        let most = self.cut();
        let capacity = self.weather.capacity;
        self.apps[app.0].turn(&mut self.links[link], end, most, capacity)
    }

    /// How much the next read sees.
    fn cut(&mut self) -> usize {
        let most = self.weather.chunk.max(1) as u64;
        usize::try_from(self.rng.below(most)).unwrap_or(0) + 1
    }
}
