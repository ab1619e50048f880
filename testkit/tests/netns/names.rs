//! Names: questions to any name server come to the proxy, which answers what it knows and relays the rest as it is.
use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use adit_testkit::netns::{Backend, HarnessError, Host, Result, Runtime};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::cluster::{Cluster, app, bind_in, who_am_i};
use crate::resources::{hostname, pod, server, service, vip};
use crate::world::{APP, FAMILIES, SERVICE};

const PORT: u16 = 53;
const PATIENCE: Duration = Duration::from_secs(15);
pub(crate) const A: u16 = 1;
const AAAA: u16 = 28;
/// A type that nobody gave a meaning.
const PRIVATE: u16 = 65_280;

/// How an application may ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum By {
    Udp,
    Tcp,
}

/// A question as it came to the name server.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Asked {
    by: By,
    client: IpAddr,
    octets: Vec<u8>,
}

/// A name server that gives every question the same kind of answer, and that nothing but octets can be known of.
struct NameServer {
    asked: Arc<Mutex<Vec<Asked>>>,
}

impl NameServer {
    fn start(cluster: &Cluster, host: &Host) -> Result<Self> {
        let asked = Arc::<Mutex<Vec<Asked>>>::default();
        let _entered = cluster.tasks.enter();
        let bind = bind_in(host.namespace());
        let address = SocketAddr::new(host.address(false), PORT);
        let failed = |error| HarnessError::io(format!("a name server on {address}"))(error);
        let datagrams = host.namespace().enter(|| UdpSocket::bind(address))?.map_err(failed)?;
        datagrams.set_nonblocking(true).map_err(failed)?;
        let datagrams = tokio::net::UdpSocket::from_std(datagrams).map_err(failed)?;
        let record = {
            let asked = Arc::clone(&asked);
            move |by, client: SocketAddr, octets: &[u8]| {
                let octets = octets.to_vec();
                let mut asked = asked.lock().unwrap_or_else(PoisonError::into_inner);
                asked.push(Asked { by, client: client.ip(), octets });
            }
        };
        let by_udp = record.clone();
        cluster.tasks.spawn(async move {
            let mut octets = [0; 4096];
            while let Ok((length, client)) = datagrams.recv_from(&mut octets).await {
                by_udp(By::Udp, client, &octets[..length]);
                let _ = datagrams.send_to(&answer(&octets[..length], By::Udp), client).await;
            }
        });
        let listener = bind(address).and_then(|listener| {
            listener.set_nonblocking(true)?;
            tokio::net::TcpListener::from_std(listener)
        });
        let listener = listener.map_err(failed)?;
        cluster.tasks.spawn(async move {
            while let Ok((mut stream, client)) = listener.accept().await {
                let Ok(length) = stream.read_u16().await else { continue };
                let mut octets = vec![0; length.into()];
                if stream.read_exact(&mut octets).await.is_ok() {
                    record(By::Tcp, client, &octets);
                    let _ = stream.write_all(&framed(&answer(&octets, By::Tcp))).await;
                }
            }
        });
        Ok(Self { asked })
    }

    /// What came since the last time.
    fn asked(&self) -> Vec<Asked> {
        std::mem::take(&mut self.asked.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// The question with a strange answer: an opaque record in every section, all flags that exist. By UDP it is said to be cut.
fn answer(question: &[u8], by: By) -> Vec<u8> {
    let flags: [u8; 2] = if by == By::Udp { [0x87, 0xb3] } else { [0x85, 0xb3] };
    let opaque = |octet: u8| [&[0xc0, 12, 0xff, 0, 0, 1, 0, 0, 0, octet, 0, 3][..], &[octet; 3]].concat();
    let (id, rest) = question.split_at(2);
    let end = rest.len() - OPT.len();
    [id, &flags, &[0, 1, 0, 1, 0, 1, 0, 2], &rest[10..end], &opaque(1), &opaque(2), &opaque(3), &OPT].concat()
}

/// EDNS with an option that nobody gave a meaning.
const OPT: [u8; 18] = [0, 0, 41, 4, 208, 0, 0, 0, 0, 0, 7, 255, 222, 0, 3, 1, 2, 3];

/// A question, with EDNS.
pub(crate) fn question(id: u16, name: &str, kind: u16) -> Vec<u8> {
    let mut octets = id.to_be_bytes().to_vec();
    octets.extend([1, 0x10, 0, 1, 0, 0, 0, 0, 0, 1]);
    for label in name.split('.') {
        octets.push(u8::try_from(label.len()).expect("a label"));
        octets.extend(label.as_bytes());
    }
    octets.push(0);
    octets.extend(kind.to_be_bytes());
    octets.extend([0, 1]);
    octets.extend(OPT);
    octets
}

fn framed(message: &[u8]) -> Vec<u8> {
    let length = u16::try_from(message.len()).expect("a short message");
    [&length.to_be_bytes(), message].concat()
}

/// What the application on `host` hears from whom it takes for `server`.
pub(crate) fn ask(host: &Host, server: IpAddr, by: By, question: &[u8]) -> Result<Vec<u8>> {
    let failed = || HarnessError::io(format!("asking {server} by {by:?}"));
    let server = SocketAddr::new(server, PORT);
    if by == By::Tcp {
        let mut stream = host.connect(server)?;
        stream.write_all(&framed(question)).map_err(failed())?;
        let mut length = [0; 2];
        stream.read_exact(&mut length).map_err(failed())?;
        let mut octets = vec![0; u16::from_be_bytes(length).into()];
        stream.read_exact(&mut octets).map_err(failed())?;
        return Ok(octets);
    }
    let asked = host.namespace().enter(|| {
        let socket = UdpSocket::bind(SocketAddr::new(host.address(server.is_ipv6()), 0))?;
        // An answer counts only if it comes from where the question went.
        socket.connect(server)?;
        socket.set_read_timeout(Some(PATIENCE))?;
        socket.send(question)?;
        let mut octets = vec![0; 4096];
        let length = socket.recv(&mut octets)?;
        octets.truncate(length);
        Ok(octets)
    })?;
    asked.map_err(failed())
}

/// Names of the mesh are answered, other names relayed octet for octet, both by UDP and TCP, whoever is asked.
pub(crate) fn redirected(runtime: Runtime, backend: Backend) -> Result<()> {
    let mut cluster = Cluster::new(runtime, backend)?;
    let (client, pod_of_server) = (cluster.pod("client")?, cluster.pod("server")?);
    let outside = cluster.host("nameserver")?;
    client.namespace().set_resolv_conf(&format!(
        "nameserver {}\nsearch default.svc.cluster.local\noptions timeout:2 attempts:1\n",
        outside.address(false)
    ))?;
    let name_server = NameServer::start(&cluster, &outside)?;
    cluster.push(
        [pod("client", &client), server("server", &pod_of_server)],
        [service("server", 1, (SERVICE, APP))],
        [],
    );
    let client_node = cluster.node("client", &client)?;
    let _server_node = cluster.node("server", &pod_of_server)?;
    let _app = app(&pod_of_server)?;

    // Nobody has these addresses, and nobody needs to.
    for server in [IpAddr::from([10, 96, 0, 10]), IpAddr::from([0xfd96, 0, 0, 0, 0, 0, 0, 10])] {
        for by in [By::Udp, By::Tcp] {
            for (ipv6, kind) in FAMILIES.into_iter().zip([A, AAAA]) {
                let answer = ask(&client, server, by, &question(0x1234, &hostname("server"), kind))?;
                let address = match vip(1, ipv6) {
                    IpAddr::V4(ip) => ip.octets().to_vec(),
                    IpAddr::V6(ip) => ip.octets().to_vec(),
                };
                let context = format!("{server} {by:?} {kind}: {answer:?}");
                // Ours, a response with authority, one answer, and in it the address.
                assert_eq!(
                    (&answer[..2], answer[2] & 0x84, &answer[6..8]),
                    (&[0x12, 0x34][..], 0x84, &[0, 1][..]),
                    "{context}"
                );
                assert!(answer.windows(address.len()).any(|octets| octets == address), "{context}");
            }
            assert_eq!(name_server.asked(), [], "a name of the mesh was relayed");

            let asked = question(0x4321, "www.outside.example", PRIVATE);
            let heard = ask(&client, server, by, &asked)?;
            assert_eq!(heard, answer(&asked, by), "{server} {by:?}");
            let relayed = name_server.asked();
            // Once: what the proxy relays does not come back to it.
            let [Asked { by: relayed_by, client: from, octets }] = &relayed[..] else {
                panic!("{relayed:?}");
            };
            // The message id is the relay's own.
            assert_eq!((*relayed_by, *from, &octets[2..]), (by, client.address(false), &asked[2..]));
        }
    }
    // And a name leads to where its address does.
    assert!(who_am_i(&client, (vip(1, false), SERVICE))?.is_some());
    let complaints = client_node.complaints();
    assert!(complaints.is_empty(), "{complaints:#?}");
    Ok(())
}
