//! A DNS proxy with its mesh, name servers that do what a test says, and a client.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use adit_control::dns::{Direct, ListenOptions, Listeners, Setup, serve};
use adit_core::dns::{ForwarderConfig, Resolver, Transport};
use adit_core::identity::Identity;
use adit_core::mesh::{Mesh, NetworkAddress, Service, ServiceName, Workload};
use adit_core::proxy::LocalWorkload;
use hickory_proto::op::Message;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::timeout;

/// Longer than anything here may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// One message that a name server got.
pub(crate) struct Call<'a> {
    pub(crate) transport: Transport,
    pub(crate) octets: &'a [u8],
    pub(crate) from: SocketAddr,
}

/// What a name server sends back, in order.
pub(crate) type Script = Arc<dyn Fn(&Call<'_>) -> Vec<Vec<u8>> + Send + Sync>;

pub(crate) fn script(says: impl Fn(&Call<'_>) -> Vec<Vec<u8>> + Send + Sync + 'static) -> Script {
    Arc::new(says)
}

/// Never says anything.
pub(crate) fn silent() -> Script {
    script(|_| vec![])
}

/// The query as a response with these flags and octets behind it.
pub(crate) fn response(query: &[u8], flags: u16, tail: &[u8]) -> Vec<u8> {
    let mut octets = query.to_vec();
    octets[2..4].copy_from_slice(&flags.to_be_bytes());
    octets.extend_from_slice(tail);
    octets
}

/// NXDOMAIN for everything.
pub(crate) fn knows_nothing() -> Script {
    script(|call| vec![response(call.octets, 0x8183, &[])])
}

/// Starts a name server on one port of both kinds.
pub(crate) async fn name_server(says: Script) -> SocketAddr {
    let (udp, tcp) = loop {
        let udp = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        if let Ok(tcp) = TcpListener::bind(udp.local_addr().unwrap()).await {
            break (udp, tcp);
        }
    };
    let address = udp.local_addr().unwrap();
    let over_tcp = Arc::clone(&says);
    tokio::spawn(async move {
        let mut buffer = vec![0; 65_535];
        while let Ok((length, from)) = udp.recv_from(&mut buffer).await {
            let call = Call { transport: Transport::Udp, octets: &buffer[..length], from };
            for message in says(&call) {
                udp.send_to(&message, from).await.unwrap();
            }
        }
    });
    tokio::spawn(async move {
        while let Ok((mut stream, from)) = tcp.accept().await {
            let says = Arc::clone(&over_tcp);
            tokio::spawn(async move {
                while let Some(octets) = read_message(&mut stream).await {
                    let call = Call { transport: Transport::Tcp, octets: &octets, from };
                    for message in says(&call) {
                        let _ = stream.write_all(&framed(&message)).await;
                    }
                }
            });
        }
    });
    address
}

pub(crate) fn framed(message: &[u8]) -> Vec<u8> {
    let mut octets = u16::try_from(message.len()).unwrap().to_be_bytes().to_vec();
    octets.extend_from_slice(message);
    octets
}

pub(crate) async fn read_message(stream: &mut TcpStream) -> Option<Vec<u8>> {
    let length = stream.read_u16().await.ok()?;
    let mut octets = vec![0; length.into()];
    stream.read_exact(&mut octets).await.ok()?;
    Some(octets)
}

/// A running proxy.
pub(crate) struct Proxy {
    pub(crate) udp: SocketAddr,
    pub(crate) tcp: SocketAddr,
    pub(crate) mesh: watch::Sender<Arc<Mesh>>,
    /// What the observer heard.
    pub(crate) observed: Heard,
    pub(crate) drain: Option<oneshot::Sender<()>>,
    pub(crate) task: JoinHandle<std::io::Result<()>>,
}

impl Proxy {
    pub(crate) fn start(mesh: Mesh, servers: Vec<SocketAddr>) -> Self {
        Self::start_with(mesh, servers, "127.0.0.1:0", |_| ())
    }

    pub(crate) fn start_with(
        mesh: Mesh,
        servers: Vec<SocketAddr>,
        listen: &str,
        change: impl FnOnce(&mut Setup),
    ) -> Self {
        let listeners = Listeners::bind(listen.parse().unwrap(), ListenOptions::default()).unwrap();
        let udp = listeners.udp[0].local_addr().unwrap();
        let tcp = listeners.tcp[0].local_addr().unwrap();
        let (sender, mut setup, observed) = setup(mesh, servers);
        change(&mut setup);
        let (drain, drained) = oneshot::channel();
        let task = tokio::spawn(async move {
            serve(listeners, setup, async {
                let _ = drained.await;
            })
            .await
        });
        Self { udp, tcp, mesh: sender, observed, drain: Some(drain), task }
    }

    /// Asks over a datagram.
    pub(crate) async fn ask_udp(&self, query: &[u8]) -> Vec<u8> {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        socket.connect((std::net::Ipv4Addr::LOCALHOST, self.udp.port())).await.unwrap();
        socket.send(query).await.unwrap();
        receive(&socket).await
    }

    /// Asks over a connection of its own.
    pub(crate) async fn ask_tcp(&self, query: &[u8]) -> Vec<u8> {
        let mut stream = self.connect().await;
        stream.write_all(&framed(query)).await.unwrap();
        timeout(PATIENCE, read_message(&mut stream)).await.unwrap().expect("an answer")
    }

    pub(crate) async fn connect(&self) -> TcpStream {
        TcpStream::connect((std::net::Ipv4Addr::LOCALHOST, self.tcp.port())).await.unwrap()
    }

    pub(crate) async fn ask(&self, transport: Transport, query: &[u8]) -> Vec<u8> {
        match transport {
            Transport::Udp => self.ask_udp(query).await,
            Transport::Tcp => self.ask_tcp(query).await,
        }
    }
}

/// What an observer heard.
pub(crate) type Heard = Arc<Mutex<Vec<String>>>;

/// How a proxy in this mesh with these name servers is set up; with it, what changes the mesh and what the observer hears.
pub(crate) fn setup(mesh: Mesh, servers: Vec<SocketAddr>) -> (watch::Sender<Arc<Mesh>>, Setup, Heard) {
    let (sender, receiver) = watch::channel(Arc::new(mesh));
    let observed = Heard::default();
    let heard = Arc::clone(&observed);
    let setup = Setup {
        resolver: Resolver { cluster_domain: "cluster.local".into(), ipv6: true, preferred_namespace: None },
        subject: LocalWorkload {
            namespace: "ns1".into(),
            name: "client".into(),
            service_account: "app".into(),
        },
        search: None,
        forwarder: ForwarderConfig { timeout: Duration::from_millis(100), ..ForwarderConfig::new(servers) },
        egress: Arc::new(Direct::default()),
        observer: Arc::new(move |asked, observed| {
            let text = format!("{observed:?}");
            let kind = text.split([' ', '{']).next().unwrap_or_default();
            let source = asked.source.map_or("?", |workload| &workload.name);
            let (record_type, transport) = (asked.record_type.label(), asked.transport.label());
            heard.lock().unwrap().push(format!("{kind} {record_type} {transport} {source}"));
        }),
        patience: PATIENCE,
        mesh: receiver,
    };
    (sender, setup, observed)
}

pub(crate) async fn receive(socket: &UdpSocket) -> Vec<u8> {
    let mut buffer = vec![0; 65_535];
    let length = timeout(PATIENCE, socket.recv(&mut buffer)).await.expect("an answer in time").unwrap();
    buffer.truncate(length);
    buffer
}

/// A query with id 0x1234 and recursion desired.
pub(crate) fn query(name: &str, record_type: u16) -> Vec<u8> {
    let mut message = vec![0x12, 0x34, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    for label in name.split('.') {
        message.push(label.len() as u8);
        message.extend_from_slice(label.as_bytes());
    }
    message.push(0);
    message.extend_from_slice(&record_type.to_be_bytes());
    message.extend_from_slice(&[0, 1]);
    message
}

/// The same with an OPT record.
pub(crate) fn query_with_edns(name: &str, record_type: u16, payload: u16) -> Vec<u8> {
    let mut message = query(name, record_type);
    message[11] = 1;
    message.extend_from_slice(&[0, 0, 41]);
    message.extend_from_slice(&payload.to_be_bytes());
    message.extend_from_slice(&[0; 6]);
    message
}

/// An answer as text: who answers, how, and the records in order of their data.
pub(crate) fn describe(octets: &[u8]) -> String {
    let message = Message::from_vec(octets).expect("a readable answer");
    let mut records: Vec<String> =
        message.answers.iter().map(|record| format!(" {} {}", record.name, record.data)).collect();
    records.sort_by_key(|record| record.split(' ').next_back().map(str::to_owned));
    let by = if message.metadata.authoritative { "ours" } else { "theirs" };
    format!("{by} {:?}{}", message.metadata.response_code, records.concat())
}

/// A mesh with the client and these services (`namespace/hostname`, addresses).
pub(crate) fn mesh(services: &[(&str, &[&str])]) -> Mesh {
    let services = services.iter().map(|(name, addresses)| {
        let (namespace, hostname) = name.split_once('/').unwrap();
        let mut service =
            Service::new(ServiceName { namespace: namespace.into(), hostname: hostname.into() });
        let vip =
            |address: &&str| NetworkAddress { network: Arc::default(), address: address.parse().unwrap() };
        service.addresses = addresses.iter().map(vip).collect();
        service
    });
    let identity = Identity::new("cluster.local", "ns1", "app").unwrap();
    let client = Workload::new("c//Pod/ns1/client", "client", identity);
    Mesh::new(Arc::default(), vec![client], services.collect(), vec![]).unwrap()
}
