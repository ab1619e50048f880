//! The server: one task that owns the decisions, fed by tasks that each own a socket.

use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use adit_core::dns::encode::{self, Rcode};
use adit_core::dns::forward::{Attempt, ForwardAction, ForwardError, Outcome, QueryId};
use adit_core::dns::{
    Answer, Asked, Client, DnsObserved, Forwarder, NameScope, NotOurs, Query, RecordType, Resolution,
    Resolver, Transport, kubernetes_search,
};
use adit_core::mesh::{Mesh, Workload};
use adit_core::proxy::LocalWorkload;
use adit_core::rng::Rng;
use adit_core::time::Instant;
use tokio::net::{TcpListener, UdpSocket};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::sleep_until;

use super::client::{Connection, Reply};
use super::upstream::Upstream;
use super::{Listeners, Setup};

/// Most connections of clients; further ones are closed at once.
const MOST_CONNECTIONS: usize = 256;
/// Most questions that wait for the mesh to know their workload; further ones fail at once.
const MOST_PARKED: usize = 256;
/// Most reports of socket tasks that wait for the server's.
pub(super) const MOST_EVENTS: usize = 256;
/// How long nothing is accepted or received after it failed, as it does when there are no more file descriptors.
const PAUSE: Duration = Duration::from_millis(100);
/// The source of questions that come from no client.
const OURSELVES: IpAddr = IpAddr::V4(Ipv4Addr::UNSPECIFIED);

/// What a socket's task reports.
pub(super) enum Event {
    /// A client sent this.
    Asked { client: ReplyTo, source: IpAddr, octets: Vec<u8>, transport: Transport },
    /// The data plane itself asks.
    Sought { client: ReplyTo, octets: Vec<u8>, transport: Transport, scope: NameScope },
    /// A name server sent this. `written` is dropped when more may come.
    Responded { attempt: Attempt, from: SocketAddr, octets: Vec<u8>, written: oneshot::Sender<()> },
    /// A name server will send nothing more.
    Failed(Attempt),
    /// A client's connection has ended.
    Left(u64),
}

/// Where an answer goes.
#[derive(Clone)]
pub(super) enum ReplyTo {
    Udp {
        socket: Arc<UdpSocket>,
        to: SocketAddr,
    },
    Tcp {
        connection: u64,
        replies: mpsc::Sender<Reply>,
    },
    /// The data plane itself.
    Own(mpsc::Sender<Reply>),
}

impl ReplyTo {
    fn send(&self, reply: Reply) {
        match self {
            Self::Udp { socket, to } => {
                // A datagram for which there is no room is lost, as on any network: the client asks again.
                if let Some(message) = &reply.message
                    && let Err(error) = socket.try_send_to(message, *to)
                {
                    tracing::debug!(target: "dns", %error, client = %to, "answer not sent");
                }
            }
            // Never full: it has room for as many as the connection has questions under way. Closed: nobody waits.
            Self::Tcp { replies, .. } | Self::Own(replies) => drop(replies.try_send(reply)),
        }
    }

    fn is_of(&self, id: u64) -> bool {
        matches!(self, Self::Tcp { connection, .. } if *connection == id)
    }
}

/// A client that waits for an answer.
struct Waiting {
    client: ReplyTo,
    transport: Transport,
    record_type: RecordType,
    workload: Option<Arc<Workload>>,
    since: Instant,
}

/// A question whose workload the mesh does not know yet.
struct Parked {
    client: ReplyTo,
    source: IpAddr,
    transport: Transport,
    octets: Vec<u8>,
    since: Instant,
}

/// Serves `listeners` until `drain` is ready and every question that had come is answered, which takes no longer than
/// name servers are waited for. To stop at once, drop the future.
///
/// # Errors
/// Sockets that the runtime does not take.
pub async fn serve(listeners: Listeners, setup: Setup, drain: impl Future<Output = ()>) -> io::Result<()> {
    run(listeners, setup, mpsc::channel(MOST_EVENTS), drain).await
}

/// [`serve`], with reports that others may send as well.
pub(super) async fn run(
    listeners: Listeners,
    setup: Setup,
    (events, mut reports): (mpsc::Sender<Event>, mpsc::Receiver<Event>),
    drain: impl Future<Output = ()>,
) -> io::Result<()> {
    // Dropped to tell connections of the drain.
    let (draining, drain_seen) = watch::channel(());
    let mut draining = Some(draining);
    let mut accepting = JoinSet::new();
    let (accepted, mut connecting) = mpsc::channel(1);
    for socket in listeners.udp {
        socket.set_nonblocking(true)?;
        accepting.spawn(receive(Arc::new(UdpSocket::from_std(socket)?), events.clone()));
    }
    for listener in listeners.tcp {
        listener.set_nonblocking(true)?;
        accepting.spawn(accept(TcpListener::from_std(listener)?, accepted.clone()));
    }
    let mut connections = JoinSet::new();
    let mut next_connection = 0_u64;
    let mut mesh = setup.mesh.clone();
    let mut mesh_changes = true;
    let mut server = Server::new(setup, events.clone());
    let mut drain = std::pin::pin!(drain);
    loop {
        if draining.is_none() && server.is_idle() && connections.is_empty() && reports.is_empty() {
            return Ok(());
        }
        let deadline = server.deadline();
        tokio::select! {
            Some(event) = reports.recv() => server.handle(event),
            Some((stream, peer)) = connecting.recv(), if draining.is_some() => {
                if connections.len() < MOST_CONNECTIONS {
                    next_connection += 1;
                    let connection = Connection {
                        id: next_connection,
                        peer,
                        events: events.clone(),
                        drain: drain_seen.clone(),
                    };
                    connections.spawn(connection.run(stream));
                }
            }
            Some(_) = connections.join_next() => {}
            changed = mesh.changed(), if mesh_changes => {
                mesh_changes = changed.is_ok();
                mesh.mark_unchanged();
                server.unpark();
            }
            () = sleep_until(deadline), if server.waits() => server.handle_timeout(),
            () = &mut drain, if draining.is_some() => {
                accepting.abort_all();
                draining = None;
            }
        }
    }
}

thread_local! {
    /// Where datagrams are read into, by all sockets of a thread in turn: a node has two for every pod.
    static DATAGRAM: RefCell<Vec<u8>> = RefCell::new(vec![0; usize::from(u16::MAX)]);
}

/// A datagram that has come, and whose it is.
async fn datagram(socket: &UdpSocket) -> io::Result<(Vec<u8>, SocketAddr)> {
    loop {
        socket.readable().await?;
        let received = DATAGRAM.with_borrow_mut(|buffer| {
            let (length, from) = socket.try_recv_from(buffer)?;
            Ok((buffer.get(..length).unwrap_or_default().to_vec(), from))
        });
        match received {
            Err(error) if io::Error::kind(&error) == io::ErrorKind::WouldBlock => {}
            received => return received,
        }
    }
}

async fn receive(socket: Arc<UdpSocket>, events: mpsc::Sender<Event>) {
    loop {
        let (octets, from) = match datagram(&socket).await {
            Ok(received) => received,
            Err(error) => {
                tracing::warn!(target: "dns", %error, "receive failed");
                tokio::time::sleep(PAUSE).await;
                continue;
            }
        };
        let client = ReplyTo::Udp { socket: Arc::clone(&socket), to: from };
        let event = Event::Asked { client, source: from.ip(), octets, transport: Transport::Udp };
        if events.send(event).await.is_err() {
            return;
        }
    }
}

async fn accept(listener: TcpListener, accepted: mpsc::Sender<(tokio::net::TcpStream, IpAddr)>) {
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => {
                if accepted.send((stream, peer.ip())).await.is_err() {
                    return;
                }
            }
            Err(error) => {
                tracing::warn!(target: "dns", %error, "accept failed");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

struct Server {
    setup: Setup,
    start: tokio::time::Instant,
    forwarder: Forwarder,
    rng: Rng,
    entropy: Entropy,
    events: mpsc::Sender<Event>,
    next: u64,
    waiting: BTreeMap<QueryId, Waiting>,
    attempts: BTreeMap<QueryId, Vec<AbortHandle>>,
    parked: VecDeque<Parked>,
}

impl Drop for Server {
    fn drop(&mut self) {
        for task in self.attempts.values().flatten() {
            task.abort();
        }
    }
}

/// Message ids that nobody can foretell: a keyed hash (SipHash, keyed by the system) of a counter.
#[derive(Default)]
struct Entropy {
    keys: RandomState,
    drawn: u64,
}

impl Entropy {
    fn draw(&mut self) -> u64 {
        self.drawn = self.drawn.wrapping_add(1);
        self.keys.hash_one(self.drawn)
    }

    #[expect(clippy::cast_possible_truncation, reason = "16 of 64 random bits")]
    fn id(&mut self) -> u16 {
        self.draw() as u16
    }
}

impl Server {
    fn new(setup: Setup, events: mpsc::Sender<Event>) -> Self {
        let mut entropy = Entropy::default();
        Self {
            start: tokio::time::Instant::now(),
            forwarder: Forwarder::new(setup.forwarder.clone()),
            rng: Rng::new(entropy.draw()),
            entropy,
            setup,
            events,
            next: 0,
            waiting: BTreeMap::new(),
            attempts: BTreeMap::new(),
            parked: VecDeque::new(),
        }
    }

    fn now(&self) -> Instant {
        Instant::ZERO + self.start.elapsed()
    }

    fn is_idle(&self) -> bool {
        self.waiting.is_empty() && self.parked.is_empty()
    }

    fn waits(&self) -> bool {
        self.next_deadline().is_some()
    }

    fn next_deadline(&self) -> Option<Instant> {
        let parked = self.parked.front().map(|parked| parked.since + self.setup.patience);
        self.forwarder.poll_deadline().into_iter().chain(parked).min()
    }

    /// When [`handle_timeout`](Self::handle_timeout) is due; any time if it is not.
    fn deadline(&self) -> tokio::time::Instant {
        let after = self.next_deadline().map(|at| Duration::from_nanos(at.as_nanos()));
        self.start + after.unwrap_or_default()
    }

    fn handle(&mut self, event: Event) {
        let now = self.now();
        match event {
            Event::Asked { client, source, octets, transport } => {
                self.ask(Parked { client, source, transport, octets, since: now });
            }
            Event::Sought { client, octets, transport, scope } => {
                let sought = Parked { client, source: OURSELVES, transport, octets, since: now };
                match scope {
                    NameScope::Workload => self.ask(sought),
                    NameScope::Outside | NameScope::Machine => self.relay_unasked(&sought),
                }
            }
            Event::Responded { attempt, from, octets, written } => {
                self.forwarder.handle_response(now, attempt, from, octets, &mut || self.entropy.id());
                self.act(Some(written));
            }
            Event::Failed(attempt) => {
                self.forwarder.handle_failure(now, attempt, &mut || self.entropy.id());
                self.act(None);
            }
            Event::Left(connection) => {
                self.parked.retain(|parked| !parked.client.is_of(connection));
                let gone = self.waiting.iter().filter(|(_, waiting)| waiting.client.is_of(connection));
                let gone: Vec<QueryId> = gone.map(|(query, _)| *query).collect();
                for query in gone {
                    self.forwarder.handle_gone(query);
                }
                self.act(None);
            }
        }
    }

    fn handle_timeout(&mut self) {
        let now = self.now();
        while self.parked.front().is_some_and(|parked| parked.since + self.setup.patience <= now) {
            if let Some(parked) = self.parked.pop_front() {
                let LocalWorkload { namespace, name, .. } = &self.setup.subject;
                tracing::debug!(target: "dns", "no workload {namespace}/{name} in the mesh");
                finish(&parked.client, Some(encode::failure(&parked.octets, Rcode::ServerFailure)));
            }
        }
        self.forwarder.handle_timeout(now, &mut || self.entropy.id());
        self.act(None);
    }

    /// The mesh has changed: whoever waits for its workload may ask again.
    fn unpark(&mut self) {
        if self.workload().is_some() {
            for parked in std::mem::take(&mut self.parked) {
                self.decide(parked);
            }
        }
    }

    fn mesh(&self) -> Arc<Mesh> {
        Arc::clone(&self.setup.mesh.borrow())
    }

    fn workload(&self) -> Option<Arc<Workload>> {
        self.setup.subject.found_in(&self.mesh()).cloned()
    }

    /// A client's message has come.
    fn ask(&mut self, asked: Parked) {
        let query = match Query::parse(&asked.octets) {
            Ok(query) => query,
            Err(error) => {
                tracing::debug!(target: "dns", %error, client = %asked.source, "not a query");
                let answer = error.is_answered().then(|| encode::failure(&asked.octets, Rcode::FormatError));
                finish(&asked.client, answer);
                return;
            }
        };
        let workload = self.workload();
        let labels = Asked {
            record_type: query.record_type(),
            transport: asked.transport,
            source: workload.as_deref(),
        };
        (self.setup.observer)(&labels, DnsObserved::Request);
        if workload.is_some() || !Resolver::concerns(&query) {
            self.decide(asked);
        } else if self.parked.len() < MOST_PARKED {
            self.parked.push_back(asked);
        } else {
            finish(&asked.client, Some(encode::failure(&asked.octets, Rcode::ServerFailure)));
        }
    }

    /// Answers a query, or relays it.
    fn decide(&mut self, asked: Parked) {
        let Ok(query) = Query::parse(&asked.octets) else { return };
        let workload = self.workload();
        let resolution = match &workload {
            Some(workload) => {
                let mesh = self.mesh();
                let domain = &self.setup.resolver.cluster_domain;
                let kubernetes =
                    self.setup.search.is_none().then(|| kubernetes_search(&workload.namespace, domain));
                let search = kubernetes.as_ref().map_or(self.setup.search.as_deref(), |search| Some(search));
                let client = Client::new(workload, search.unwrap_or_default());
                self.setup.resolver.resolve(&mesh, &client, &query, &mut self.rng)
            }
            None => Resolution::Forward(NotOurs::Kind),
        };
        log(&query, workload.as_deref(), &resolution);
        match resolution {
            Resolution::Answer(answer) => {
                let message = encode::answer(&query, &answer, query.limit(asked.transport));
                finish(&asked.client, Some(message));
            }
            Resolution::Forward(_) => self.relay(&query, &asked, workload),
        }
    }

    /// Relays a query whatever the mesh would say.
    fn relay_unasked(&mut self, asked: &Parked) {
        match Query::parse(&asked.octets) {
            Ok(query) => self.relay(&query, asked, None),
            Err(_) => finish(&asked.client, Some(encode::failure(&asked.octets, Rcode::FormatError))),
        }
    }

    fn relay(&mut self, query: &Query<'_>, asked: &Parked, workload: Option<Arc<Workload>>) {
        let now = self.now();
        let id = QueryId(self.next);
        self.next = self.next.wrapping_add(1);
        let waiting = Waiting {
            client: asked.client.clone(),
            transport: asked.transport,
            record_type: query.record_type(),
            workload,
            since: asked.since,
        };
        self.observe(&waiting, DnsObserved::UpstreamRequest);
        let entropy = &mut || self.entropy.id();
        match self.forwarder.handle_query(now, id, asked.source, asked.transport, query, entropy) {
            Ok(()) => {
                self.waiting.insert(id, waiting);
                self.act(None);
            }
            Err(error) => {
                tracing::debug!(target: "dns", %error, client = %asked.source, "not relayed");
                self.observe_failure(&waiting, error);
                finish(&waiting.client, Some(encode::failure(query.octets(), Rcode::ServerFailure)));
            }
        }
    }

    /// Does what the machine asks for; `written` goes with the message that it is about.
    fn act(&mut self, mut written: Option<oneshot::Sender<()>>) {
        while let Some(action) = self.forwarder.poll_action() {
            match action {
                ForwardAction::Send { attempt, server, transport, message } => {
                    let egress = Arc::clone(&self.setup.egress);
                    let upstream = Upstream { attempt, server, egress, events: self.events.clone() };
                    let task = tokio::spawn(upstream.run(transport, message)).abort_handle();
                    self.attempts.entry(attempt.query).or_default().push(task);
                }
                ForwardAction::Reply { query, message, outcome, last } => {
                    let Some(waiting) = self.waiting.get(&query) else { continue };
                    match outcome {
                        Outcome::Answered { .. } => {
                            let took = self.now().saturating_since(waiting.since);
                            self.observe(waiting, DnsObserved::UpstreamAnswered { took });
                        }
                        Outcome::Failed(error) => self.observe_failure(waiting, error),
                    }
                    waiting.client.send(Reply { message: Some(message), last, written: written.take() });
                    if last {
                        self.waiting.remove(&query);
                    }
                }
                ForwardAction::Close { query } => {
                    for task in self.attempts.remove(&query).into_iter().flatten() {
                        task.abort();
                    }
                    if let Some(waiting) = self.waiting.remove(&query) {
                        finish(&waiting.client, None);
                    }
                }
            }
        }
    }

    fn observe(&self, waiting: &Waiting, observed: DnsObserved) {
        let Waiting { record_type, transport, workload, .. } = waiting;
        let labels = Asked { record_type: *record_type, transport: *transport, source: workload.as_deref() };
        (self.setup.observer)(&labels, observed);
    }

    fn observe_failure(&self, waiting: &Waiting, error: ForwardError) {
        let took = self.now().saturating_since(waiting.since);
        self.observe(waiting, DnsObserved::UpstreamFailed { took, error });
    }
}

/// The only or last message to a question.
fn finish(client: &ReplyTo, message: Option<Vec<u8>>) {
    client.send(Reply { message, last: true, written: None });
}

/// One line per decision (interfaces §6).
fn log(query: &Query<'_>, workload: Option<&Workload>, resolution: &Resolution) {
    if !tracing::enabled!(target: "dns", tracing::Level::DEBUG) {
        return;
    }
    let domain = query.question().map(|question| question.to_string()).unwrap_or_default();
    let (result, endpoints) = match resolution {
        Resolution::Answer(Answer { addresses, .. }) => ("success", format!("{addresses:?}")),
        Resolution::Forward(why) => (why.label(), "forwarded".to_owned()),
    };
    tracing::debug!(
        target: "dns",
        {
            src.workload = workload.map(|workload| &*workload.name),
            src.namespace = workload.map(|workload| &*workload.namespace),
            query = query.record_type().label(),
            domain = domain,
            result = result,
            endpoints = endpoints,
        },
        "DNS question"
    );
}
