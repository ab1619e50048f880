//! What stands behind a gateway's proxy, or in the way, and carries connections on: played by the test itself, inside a pod.
use std::io::{Error, ErrorKind, Result as IoResult};
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use adit_testkit::netns::{HarnessError, Namespace, Result, enter};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::runtime::Runtime;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep_until};

use crate::cluster::bind_in;

/// How a PROXY header of version 2 begins.
const SIGNATURE: [u8; 12] = *b"\r\n\r\n\0\r\nQUIT\n";
/// The field with the client's identity (datapath §5.4).
const IDENTITY: u8 = 0xd0;

/// What a PROXY header says of a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) source: IpAddr,
    pub(crate) destination: SocketAddr,
    pub(crate) identity: String,
}

/// How connections are carried.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Way {
    /// As they are.
    Plain,
    /// Each begins with a PROXY header, which is taken from its front and says where it goes.
    Headers,
    /// Each octet takes so long, one way.
    Long(Duration),
}

/// A running relay; when it is dropped, it takes no more connections and cuts off those it has.
pub(crate) struct Relay {
    seen: Arc<Mutex<Vec<Header>>>,
    _ends: watch::Sender<()>,
}

/// Where connections go on to.
type Route = Arc<dyn Fn(SocketAddr) -> SocketAddr + Send + Sync>;

/// What one connection needs.
#[derive(Clone)]
struct Carrier {
    way: Way,
    namespace: String,
    route: Route,
    seen: Arc<Mutex<Vec<Header>>>,
}

impl Relay {
    /// Listens on `addresses` inside `namespace`. `route` is asked where to go from the destination of the header, if there is
    /// to be one, and otherwise from the address that was called.
    pub(crate) fn start(
        tasks: &Runtime,
        namespace: &Namespace,
        addresses: [SocketAddr; 2],
        way: Way,
        route: impl Fn(SocketAddr) -> SocketAddr + Send + Sync + 'static,
    ) -> Result<Self> {
        let (ends, ended) = watch::channel(());
        let seen = Arc::default();
        let carrier = Carrier {
            way,
            namespace: namespace.name().to_owned(),
            route: Arc::new(route),
            seen: Arc::clone(&seen),
        };
        let (bind, _entered) = (bind_in(namespace), tasks.enter());
        for address in addresses {
            let listener = bind(address).and_then(|listener| {
                listener.set_nonblocking(true)?;
                TcpListener::from_std(listener)
            });
            let listener = listener.map_err(HarnessError::io(format!("listening on {address}")))?;
            let (carrier, mut ended) = (carrier.clone(), ended.clone());
            tasks.spawn(async move {
                loop {
                    let accepted = tokio::select! {
                        accepted = listener.accept() => accepted,
                        _ = ended.changed() => return,
                    };
                    let Ok((stream, _)) = accepted else { return };
                    let (carrier, mut ended) = (carrier.clone(), ended.clone());
                    tokio::spawn(async move {
                        // Whoever is cut off shows it to the test at both ends.
                        tokio::select! {
                            _ = carrier.carry(stream) => {}
                            _ = ended.changed() => {}
                        }
                    });
                }
            });
        }
        Ok(Self { seen, _ends: ends })
    }

    /// The headers of all connections so far.
    pub(crate) fn seen(&self) -> Vec<Header> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Carrier {
    async fn carry(self, mut stream: TcpStream) -> IoResult<()> {
        let mut called = stream.local_addr()?;
        if matches!(self.way, Way::Headers) {
            let header = header(&mut stream).await?;
            called = header.destination;
            self.seen.lock().unwrap_or_else(PoisonError::into_inner).push(header);
        }
        let to = (self.route)(called);
        let socket =
            enter(&self.namespace, || if to.is_ipv6() { TcpSocket::new_v6() } else { TcpSocket::new_v4() });
        let mut onward = socket.map_err(Error::other)??.connect(to).await?;
        let Way::Long(delay) = self.way else {
            return copy_bidirectional(&mut stream, &mut onward).await.map(drop);
        };
        let ((near, nearer), (far, farther)) = (stream.split(), onward.split());
        tokio::try_join!(late(near, farther, delay), late(far, nearer, delay)).map(drop)
    }
}

/// Carries octets, each of which arrives so much later than it came.
async fn late(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    delay: Duration,
) -> IoResult<()> {
    /// Pieces on the way: enough for any window.
    const PIECES: usize = 4096;
    let (set_out, mut arrive) = mpsc::channel(PIECES);
    let setting_out = async move {
        loop {
            let mut piece = Vec::with_capacity(16 << 10);
            if from.read_buf(&mut piece).await? == 0 {
                return Ok(());
            }
            // Fails only with the other half, whose error it is then.
            let _ = set_out.send((Instant::now() + delay, piece)).await;
        }
    };
    let arriving = async {
        while let Some((at, piece)) = arrive.recv().await {
            sleep_until(at).await;
            to.write_all(&piece).await?;
        }
        to.shutdown().await
    };
    tokio::try_join!(setting_out, arriving).map(drop)
}

/// Reads a PROXY header of version 2 and nothing beyond it.
async fn header(stream: &mut TcpStream) -> IoResult<Header> {
    let mut fixed = [0; 16];
    stream.read_exact(&mut fixed).await?;
    let wrong = || Error::new(ErrorKind::InvalidData, "no PROXY header");
    let (start, rest) = fixed.split_first_chunk().ok_or_else(wrong)?;
    let [version, family, high, low] = *rest else { return Err(wrong()) };
    let length = u16::from_be_bytes([high, low]);
    let mut body = vec![0; length.into()];
    stream.read_exact(&mut body).await?;
    if *start != SIGNATURE || version != 0x21 {
        return Err(wrong());
    }
    let mut body = Octets(&body);
    let parsed = match family {
        0x11 => body.ends::<4>(),
        0x21 => body.ends::<16>(),
        _ => None,
    };
    let (source, destination) = parsed.ok_or_else(wrong)?;
    while let Some([kind, high, low]) = body.take() {
        let value = body.slice(u16::from_be_bytes([high, low]).into()).ok_or_else(wrong)?;
        if kind == IDENTITY {
            let identity = String::from_utf8_lossy(value).into_owned();
            return Ok(Header { source, destination, identity });
        }
    }
    Err(wrong())
}

/// What is left to read.
struct Octets<'a>(&'a [u8]);

impl<'a> Octets<'a> {
    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.slice(N)?.try_into().ok()
    }

    fn slice(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }

    /// Source and destination.
    fn ends<const N: usize>(&mut self) -> Option<(IpAddr, SocketAddr)>
    where
        IpAddr: From<[u8; N]>,
    {
        let (source, destination): ([u8; N], [u8; N]) = (self.take()?, self.take()?);
        let [_, port] = [u16::from_be_bytes(self.take()?), u16::from_be_bytes(self.take()?)];
        Some((source.into(), (IpAddr::from(destination), port).into()))
    }
}
