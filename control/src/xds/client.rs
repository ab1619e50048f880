//! The driver of [`adit_core::xds::Client`]: one task that holds the stream, the writer and the timer.
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::future::{Future, pending};
use std::pin::Pin;
use std::sync::Arc;

use adit_core::mesh::Mesh;
use adit_core::xds::{Client, Config, DemandError, Ending, Event, Request, ResourceType, StreamId, Waiter};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep_until};
use tokio_stream::Stream;
use tonic::Streaming;

use super::demand::{Demanded, QUEUE};
use super::{Demands, MeshSink, Stats, Writer};
use crate::grpc::{Channel, Connector};
use crate::proto::discovery::aggregated_discovery_service_client::AggregatedDiscoveryServiceClient;
use crate::proto::discovery::{DeltaDiscoveryRequest, DeltaDiscoveryResponse, Node, Status};

/// Requests on their way to the server.
const REQUESTS: usize = 100;
/// Octets of a message.
const MAX_MESSAGE: usize = 200 << 20;

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

type Answered = oneshot::Sender<Result<adit_core::xds::Answer, DemandError>>;
type Opening = Pin<Box<dyn Future<Output = Result<Streaming<DeltaDiscoveryResponse>, tonic::Status>> + Send>>;
type Connecting = Pin<Box<dyn Future<Output = Option<Channel>> + Send>>;

/// Where the one stream is.
enum Link {
    Down,
    /// A connection is made.
    Connecting(StreamId, Connecting),
    /// Requests go out, response headers have not come.
    Opening(StreamId, mpsc::Sender<DeltaDiscoveryRequest>, Opening),
    Open(StreamId, mpsc::Sender<DeltaDiscoveryRequest>, Box<Streaming<DeltaDiscoveryResponse>>),
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
    waiting: BTreeMap<Waiter, Answered>,
    next_waiter: u64,
}

/// What woke the task.
enum Wake {
    Connected(Option<Channel>),
    Opened(Result<Box<Streaming<DeltaDiscoveryResponse>>, tonic::Status>),
    Message(Result<Option<DeltaDiscoveryResponse>, tonic::Status>),
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
                Wake::Message(message) => self.message(message),
                Wake::MaySend => self.send(),
                Wake::Demand(demanded) => self.demand(demanded),
                Wake::Timeout => self.machine.handle_timeout(self.now()),
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
                    if let Some(answered) = self.waiting.remove(&waiter) {
                        // Nobody may be waiting any more.
                        let _ = answered.send(Ok(answer));
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
            .map(|at| self.started + at.saturating_since(adit_core::time::Instant::ZERO));
        let (has_request, wants_response) = (self.machine.has_request(), self.machine.wants_response());
        let link = async {
            match &mut self.link {
                Link::Down => pending().await,
                Link::Connecting(_, connecting) => Wake::Connected(connecting.await),
                Link::Opening(_, requests, opening) => tokio::select! {
                    opened = opening => Wake::Opened(opened.map(Box::new)),
                    () = may_send(requests), if has_request => Wake::MaySend,
                },
                Link::Open(_, requests, responses) => tokio::select! {
                    message = responses.message(), if wants_response => Wake::Message(message),
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
        let opening = async move {
            let mut client =
                AggregatedDiscoveryServiceClient::new(channel).max_decoding_message_size(MAX_MESSAGE);
            let stream = client.delta_aggregated_resources(Outgoing(outgoing)).await?;
            Ok(stream.into_inner())
        };
        self.link = Link::Opening(id, requests, Box::pin(opening));
        // Before the headers of the response: servers may send them only after the first request.
        self.machine.handle_connected(self.now(), id);
    }

    fn opened(&mut self, opened: Result<Box<Streaming<DeltaDiscoveryResponse>>, tonic::Status>) {
        match (opened, std::mem::replace(&mut self.link, Link::Down)) {
            (Ok(responses), Link::Opening(id, requests, _)) => {
                self.link = Link::Open(id, requests, responses)
            }
            (Err(status), link) => {
                self.link = link;
                tracing::warn!(code = ?status.code(), message = status.message(), "the control plane refuses the stream");
                self.ended(Ending::CouldNotOpen);
            }
            (Ok(_), link) => self.link = link,
        }
    }

    fn message(&mut self, message: Result<Option<DeltaDiscoveryResponse>, tonic::Status>) {
        let message = match message {
            Ok(Some(message)) => message,
            Ok(None) => return self.ended(Ending::Complete),
            Err(status) => {
                tracing::warn!(code = ?status.code(), message = status.message(), "the control plane ends the stream");
                let code = i32::from(status.code());
                return self.ended(Ending::Status { code, message: status.message() });
            }
        };
        let Link::Open(id, ..) = self.link else { return };
        if self.machine.is_current(id) {
            let url = ResourceType::from_url(&message.type_url).map_or("unknown", ResourceType::url);
            let (response, counts) = self.writer.write(message);
            self.stats.message(url, counts);
            self.machine.handle_response(self.now(), id, response);
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
        let (Link::Opening(_, requests, _) | Link::Open(_, requests, _)) = &self.link else { return };
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
            Err(error) => drop(demanded.answer.send(Err(error))),
        }
    }
}

/// Requests as the stream that tonic sends.
struct Outgoing(mpsc::Receiver<DeltaDiscoveryRequest>);

impl Stream for Outgoing {
    type Item = DeltaDiscoveryRequest;

    fn poll_next(
        mut self: Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<DeltaDiscoveryRequest>> {
        self.0.poll_recv(cx)
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
            .map(|(name, version)| (name.as_ref().into(), version.as_ref().into()))
            .collect(),
        response_nonce: request.nonce.as_ref().into(),
        error_detail: request.error.map(|message| Status { code: 0, message, details: Vec::new() }),
    }
}
