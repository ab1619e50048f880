//! The driver of [`adit_core::xds::Client`]: one task that holds the stream, the writer and the timer.
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::future::{Future, pending};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use adit_core::mesh::Mesh;
use adit_core::xds::{Client, Config, Ending, Event, Request, ResourceType, StreamId, Waiter};
use bytes::Bytes;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};

use super::demand::{Demanded, QUEUE, Waiting};
use super::inflow::{Inflow, InflowError, Piece};
use super::{Demands, MeshSink, Stats, Writer};
use crate::grpc::{Channel, Connector, Octets, call};
use crate::proto::discovery::{DeltaDiscoveryRequest, Node, Status};

/// Requests on their way to the server.
const REQUESTS: usize = 100;
/// How long tables wait for policies that their workloads list. istiod gathers changes for 100 ms, and may be busy.
const PATIENCE: Duration = Duration::from_secs(5);
/// Delta ADS.
const METHOD: &str = "/envoy.service.discovery.v3.AggregatedDiscoveryService/DeltaAggregatedResources";

/// What a client of a control plane needs.
#[derive(Debug)]
pub struct Settings {
    /// Where the control plane is, and how it is spoken to.
    pub connector: Connector,
    /// Who we are: [`node`](super::node()).
    pub node: Node,
    /// What is subscribed, and how delays are spread.
    pub machine: Config,
}

type Opening = Pin<Box<dyn Future<Output = Result<Octets, tonic::Status>> + Send>>;
type Connecting = Pin<Box<dyn Future<Output = Option<Channel>> + Send>>;

/// Where the one stream is.
enum Link {
    Down,
    /// A connection is made.
    Connecting(StreamId, Connecting),
    /// Requests go out, response headers have not come.
    Opening(StreamId, mpsc::Sender<DeltaDiscoveryRequest>, Opening),
    Open(StreamId, mpsc::Sender<DeltaDiscoveryRequest>, Octets, Inflow),
}

/// A client of a control plane; nothing happens until it is [run](Xds::run).
pub struct Xds<S> {
    settings: Settings,
    machine: Client,
    writer: Writer<S>,
    stats: Arc<Stats>,
    started: Instant,
    link: Link,
    demands: mpsc::Receiver<Demanded>,
    waiting: BTreeMap<Waiter, Waiting>,
    next_waiter: u64,
    /// Until when tables are held back, if they are.
    held: Option<Instant>,
}

/// What woke the task.
enum Wake {
    Connected(Option<Channel>),
    Opened(Result<Octets, tonic::Status>),
    Octets(Result<Option<Bytes>, tonic::Status>),
    MaySend,
    Demand(Demanded),
    Timeout,
}

impl<S: MeshSink> Xds<S> {
    /// A client that starts from `mesh` and gives every new one to `sink`; with it, how to demand names and what it counts.
    #[must_use]
    pub fn new(settings: Settings, mesh: Mesh, sink: S) -> (Self, Demands, Arc<Stats>) {
        let (sender, demands) = mpsc::channel(QUEUE);
        let stats = Arc::new(Stats::default());
        let client = Self {
            machine: Client::new(&settings.machine, adit_core::time::Instant::ZERO),
            settings,
            writer: Writer::new(mesh, sink),
            stats: Arc::clone(&stats),
            started: Instant::now(),
            link: Link::Down,
            demands,
            waiting: BTreeMap::new(),
            next_waiter: 0,
            held: None,
        };
        (client, Demands(sender), stats)
    }

    /// Follows the control plane for ever, on a tokio runtime. Tables are kept whatever happens to the connection.
    pub async fn run(mut self) -> Infallible {
        loop {
            self.settle();
            match self.wake().await {
                Wake::Connected(channel) => self.connected(channel),
                Wake::Opened(opened) => self.opened(opened),
                Wake::Octets(octets) => self.octets(octets),
                Wake::MaySend => self.send(),
                Wake::Demand(demanded) => self.demand(demanded),
                Wake::Timeout => {
                    self.machine.handle_timeout(self.now());
                    self.release();
                }
            }
        }
    }

    fn now(&self) -> adit_core::time::Instant {
        adit_core::time::Instant::ZERO + self.started.elapsed()
    }

    /// Does what the machine wants, until it wants nothing.
    fn settle(&mut self) {
        while let Some(event) = self.machine.poll_event() {
            match event {
                Event::Synced => tracing::info!("the mesh is known: the control plane has sent every type"),
                Event::Answered { waiter, answer } => {
                    if let Some(waiting) = self.waiting.remove(&waiter) {
                        waiting.send(Ok(answer));
                    }
                }
                Event::Ended { reason, retry_in } => {
                    self.stats.ended(reason);
                    tracing::info!(%reason, ?retry_in, "stream from the control plane ended; tables are kept");
                }
            }
        }
        if let Some(id) = self.machine.poll_open() {
            let connector = self.settings.connector.clone();
            let connecting = async move {
                match connector.connect().await {
                    Ok(channel) => Some(channel),
                    Err(error) => {
                        tracing::warn!(%error, "no connection to the control plane");
                        None
                    }
                }
            };
            self.link = Link::Connecting(id, Box::pin(connecting));
        }
        let (at, now) = (Instant::now(), self.now());
        self.stats.state(at, self.machine.is_synced(), self.machine.staleness(now));
    }

    async fn wake(&mut self) -> Wake {
        let timeout = self
            .machine
            .poll_timeout()
            .map(|at| self.started + at.saturating_since(adit_core::time::Instant::ZERO))
            .into_iter()
            .chain(self.held)
            .min();
        let (has_request, wants_response) = (self.machine.has_request(), self.machine.wants_response());
        let link = async {
            match &mut self.link {
                Link::Down => pending().await,
                Link::Connecting(_, connecting) => Wake::Connected(connecting.await),
                Link::Opening(_, requests, opening) => tokio::select! {
                    opened = opening => Wake::Opened(opened),
                    () = may_send(requests), if has_request => Wake::MaySend,
                },
                Link::Open(_, requests, responses, _) => tokio::select! {
                    octets = responses.next(), if wants_response => Wake::Octets(octets),
                    () = may_send(requests), if has_request => Wake::MaySend,
                    else => pending().await,
                },
            }
        };
        tokio::select! {
            wake = link => wake,
            Some(demanded) = self.demands.recv() => Wake::Demand(demanded),
            () = async { match timeout {
                Some(at) => sleep_until(at).await,
                None => pending().await,
            } } => Wake::Timeout,
        }
    }

    fn connected(&mut self, channel: Option<Channel>) {
        let Link::Connecting(id, _) = &self.link else { return };
        let id = *id;
        let Some(channel) = channel else { return self.ended(Ending::CouldNotOpen) };
        let (requests, outgoing) = mpsc::channel(REQUESTS);
        let opening = call(channel, METHOD, outgoing);
        self.link = Link::Opening(id, requests, Box::pin(opening));
        // Before the headers of the response: servers may send them only after the first request.
        self.machine.handle_connected(self.now(), id);
    }

    fn opened(&mut self, opened: Result<Octets, tonic::Status>) {
        match (opened, std::mem::replace(&mut self.link, Link::Down)) {
            (Ok(responses), Link::Opening(id, requests, _)) => {
                self.link = Link::Open(id, requests, responses, Inflow::default());
            }
            (Err(status), link) => {
                self.link = link;
                tracing::warn!(code = ?status.code(), message = status.message(), "the control plane refuses the stream");
                self.ended(Ending::CouldNotOpen);
            }
            (Ok(_), link) => self.link = link,
        }
    }

    fn octets(&mut self, octets: Result<Option<Bytes>, tonic::Status>) {
        let octets = match octets {
            Ok(Some(octets)) => octets,
            Ok(None) => return self.ended(Ending::Complete),
            Err(status) => {
                tracing::warn!(code = ?status.code(), message = status.message(), "the control plane ends the stream");
                let code = i32::from(status.code());
                return self.ended(Ending::Status { code, message: status.message() });
            }
        };
        if let Err(error) = self.pieces(&octets) {
            tracing::error!(%error, "the stream from the control plane cannot be read on");
            let code = i32::from(tonic::Code::Internal);
            self.ended(Ending::Status { code, message: &error.to_string() });
        }
    }

    /// Takes what these octets complete.
    fn pieces(&mut self, octets: &[u8]) -> Result<(), InflowError> {
        let Link::Open(id, _, _, inflow) = &mut self.link else { return Ok(()) };
        let id = *id;
        inflow.push(octets);
        while let Some(piece) = inflow.poll()? {
            match piece {
                Piece::Resource(resource) => {
                    if let Some((kind, received)) = self.writer.put(resource) {
                        self.machine.handle_resource(id, kind, &received);
                    }
                }
                Piece::End(tail) => {
                    let url = ResourceType::from_url(&tail.type_url).map_or("unknown", ResourceType::url);
                    // The first tables need no care, as nobody uses any before them; and whoever demands a name wants to
                    // find it.
                    let may_wait = self.machine.is_synced() && self.waiting.is_empty();
                    let (response, counts) = self.writer.end(tail, may_wait);
                    let until = self.held.unwrap_or_else(|| Instant::now() + PATIENCE);
                    self.held = self.writer.is_holding().then_some(until);
                    self.stats.message(url, counts);
                    let now = adit_core::time::Instant::ZERO + self.started.elapsed();
                    self.machine.handle_response(now, id, response);
                }
            }
        }
        Ok(())
    }

    /// Publishes tables that have waited long enough.
    fn release(&mut self) {
        if self.held.is_some_and(|until| until <= Instant::now()) {
            self.held = None;
            let lacking = self.writer.release();
            tracing::warn!(
                ?lacking,
                "workloads list policies that do not come: their connections are refused"
            );
        }
    }

    fn ended(&mut self, ending: Ending<'_>) {
        let now = self.now();
        match std::mem::replace(&mut self.link, Link::Down) {
            Link::Down => {}
            Link::Connecting(id, _) | Link::Opening(id, ..) | Link::Open(id, ..) => {
                self.machine.handle_closed(now, id, ending);
            }
        }
    }

    /// As much as there is room for.
    fn send(&mut self) {
        let (Link::Opening(_, requests, _) | Link::Open(_, requests, ..)) = &self.link else { return };
        while let Ok(permit) = requests.try_reserve() {
            let Some(request) = self.machine.poll_request() else { return };
            permit.send(message(request, &self.settings.node));
        }
    }

    fn demand(&mut self, demanded: Demanded) {
        // Whoever waits no longer makes room for others.
        let gone: Vec<Waiter> =
            self.waiting.iter().filter(|(_, answer)| answer.is_closed()).map(|(waiter, _)| *waiter).collect();
        for waiter in gone {
            self.waiting.remove(&waiter);
            self.machine.cancel(waiter);
        }
        let waiter = Waiter(self.next_waiter);
        self.next_waiter = self.next_waiter.wrapping_add(1);
        match self.machine.demand(&demanded.key, waiter) {
            Ok(()) => drop(self.waiting.insert(waiter, demanded.answer)),
            Err(error) => demanded.answer.send(Err(error)),
        }
    }
}

/// There is room for a request. When the stream is over there never is: its end is told by the responses.
async fn may_send(requests: &mpsc::Sender<DeltaDiscoveryRequest>) {
    if requests.reserve().await.is_err() {
        pending().await
    }
}

fn message(request: Request, node: &Node) -> DeltaDiscoveryRequest {
    let texts = |names: Vec<Arc<str>>| names.iter().map(|name| name.as_ref().into()).collect();
    let versions = request.initial_versions.iter();
    DeltaDiscoveryRequest {
        node: request.first.then(|| node.clone()),
        type_url: request.type_url.as_ref().into(),
        resource_names_subscribe: texts(request.subscribe),
        resource_names_unsubscribe: texts(request.unsubscribe),
        initial_resource_versions: versions
            .map(|(name, version)| (name.as_ref().into(), version.to_string()))
            .collect(),
        response_nonce: request.nonce.as_ref().into(),
        error_detail: request.error.map(|message| Status { code: 0, message, details: Vec::new() }),
    }
}
