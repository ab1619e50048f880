//! What stands behind a gateway's proxy and carries connections on: played by the test itself, inside a pod.
use std::io::{Error, ErrorKind, Result as IoResult};
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};

use adit_testkit::netns::{HarnessError, Namespace, Result, enter};
use tokio::io::{AsyncReadExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::runtime::Runtime;

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

/// A running relay; it ends with the runtime.
pub(crate) struct Relay {
    seen: Arc<Mutex<Vec<Header>>>,
}

/// Where connections go on to.
type Route = Arc<dyn Fn(SocketAddr) -> SocketAddr + Send + Sync>;

impl Relay {
    /// Listens on `addresses` inside `namespace`. With `headers` each connection must begin with a PROXY header, and `route`
    /// is asked for its destination; otherwise for the address that was called.
    pub(crate) fn start(
        tasks: &Runtime,
        namespace: &Namespace,
        addresses: [SocketAddr; 2],
        headers: bool,
        route: impl Fn(SocketAddr) -> SocketAddr + Send + Sync + 'static,
    ) -> Result<Self> {
        let (route, seen): (Route, _) = (Arc::new(route), Arc::default());
        let (bind, _entered) = (bind_in(namespace), tasks.enter());
        for address in addresses {
            let listener = bind(address).and_then(|listener| {
                listener.set_nonblocking(true)?;
                TcpListener::from_std(listener)
            });
            let listener = listener.map_err(HarnessError::io(format!("listening on {address}")))?;
            let (route, seen) = (Arc::clone(&route), headers.then(|| Arc::clone(&seen)));
            let name = namespace.name().to_owned();
            tasks.spawn(async move {
                while let Ok((stream, _)) = listener.accept().await {
                    // Whoever is cut off shows it to the test at both ends.
                    tokio::spawn(carry(stream, name.clone(), Arc::clone(&route), seen.clone()));
                }
            });
        }
        Ok(Self { seen })
    }

    /// The headers of all connections so far.
    pub(crate) fn seen(&self) -> Vec<Header> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

async fn carry(
    mut stream: TcpStream,
    namespace: String,
    route: Route,
    seen: Option<Arc<Mutex<Vec<Header>>>>,
) -> IoResult<()> {
    let mut called = stream.local_addr()?;
    if let Some(seen) = seen {
        let header = header(&mut stream).await?;
        called = header.destination;
        seen.lock().unwrap_or_else(PoisonError::into_inner).push(header);
    }
    let to = route(called);
    let socket = enter(&namespace, || if to.is_ipv6() { TcpSocket::new_v6() } else { TcpSocket::new_v4() });
    let mut onward = socket.map_err(Error::other)??.connect(to).await?;
    copy_bidirectional(&mut stream, &mut onward).await.map(drop)
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
