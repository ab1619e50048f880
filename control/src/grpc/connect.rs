//! Opening a connection: address, TCP, TLS, HTTP/2.
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use adit_core::dns::NameScope;
use http::uri::Authority;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use rustls::ClientConfig;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{DigitallySignedStruct, NamedGroup, SignatureScheme};
use socket2::{SockRef, TcpKeepalive};
use tokio::net::{TcpSocket, TcpStream, lookup_host};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use super::{Auth, Channel, Roots, RootsError};
use crate::dns;

/// Within this the name is resolved and TCP is connected.
const TCP_TIMEOUT: Duration = Duration::from_secs(5);
/// Within this TLS and HTTP/2 are set up.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
const KEEPALIVE_IDLE: Duration = Duration::from_secs(300);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(75);
const KEEPALIVE_PROBES: u32 = 9;
const PING_INTERVAL: Duration = Duration::from_secs(30);
const PING_TIMEOUT: Duration = Duration::from_secs(10);
/// Octets that a server may send ahead: the first push of a large mesh shall not wait for round trips.
const WINDOW: u32 = 4 << 20;

/// A control plane's address: `https://host:port`, where `https://` may be left out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Server {
    authority: Authority,
    host: String,
    name: ServerName<'static>,
    port: u16,
}

impl std::fmt::Display for Server {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "https://{}", self.authority)
    }
}

/// Why a text is no address of a control plane.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{text:?} is no address of a control plane: {problem}; expected something like https://istiod.istio-system.svc:15012"
)]
pub struct ServerError {
    text: String,
    problem: &'static str,
}

impl FromStr for Server {
    type Err = ServerError;

    fn from_str(text: &str) -> Result<Self, ServerError> {
        let wrong = |problem| ServerError { text: text.to_owned(), problem };
        let rest = match text.split_once("://") {
            Some(("https", rest)) => rest,
            Some(_) => return Err(wrong("only https is spoken")),
            None => text,
        };
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        let authority: Authority = rest.parse().map_err(|_| wrong("it is not of the form host:port"))?;
        let host = authority.host().trim_start_matches('[').trim_end_matches(']').to_owned();
        let name = ServerName::try_from(host.clone()).map_err(|_| wrong("the host is no name or address"))?;
        let port = authority.port_u16().unwrap_or(443);
        Ok(Self { authority, host, name, port })
    }
}

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// No roots to recognise the server by.
    #[error(transparent)]
    Roots(#[from] RootsError),
    /// TLS cannot be configured.
    #[error("cannot set TLS up: {0}")]
    Tls(String),
    /// No TCP connection.
    #[error("cannot reach {server}: {source}")]
    Tcp {
        /// The address.
        server: Authority,
        /// What the system says.
        source: std::io::Error,
    },
    /// The server is not who it must be, or speaks no TLS.
    #[error("TLS handshake with {server} failed: {source}")]
    Handshake {
        /// The address.
        server: Authority,
        /// What TLS says.
        source: std::io::Error,
    },
    /// It speaks no HTTP/2.
    #[error("HTTP/2 with {server} failed: {source}")]
    Http {
        /// The address.
        server: Authority,
        /// What hyper says.
        source: hyper::Error,
    },
    /// It takes too long.
    #[error("{server} did not answer within {within:?}")]
    Timeout {
        /// The address.
        server: Authority,
        /// How long we waited.
        within: Duration,
    },
}

/// What is needed to open connections to one control plane.
#[derive(Clone, Debug)]
pub struct Connector {
    /// Where it is.
    pub server: Server,
    /// Who vouches for it.
    pub roots: Roots,
    /// Another name that its certificate may have (`ALT_XDS_HOSTNAME`, `ALT_CA_HOSTNAME`).
    pub alternative_name: Option<ServerName<'static>>,
    /// What proves who we are.
    pub auth: Arc<Auth>,
    /// Only key exchange that withstands quantum computers (`COMPLIANCE_POLICY=pqc`).
    pub post_quantum_only: bool,
    /// Mark of packets (`SO_MARK`, needs `CAP_NET_ADMIN`), so that redirection leaves them alone: else a proxy that shares
    /// the namespace of what it captures calls itself. `None` where nothing redirects.
    pub mark: Option<u32>,
    /// Who looks the server's name up where the machine's resolver would be redirected to ourselves. What it does not know,
    /// as what stands in the hosts file, is left to the machine.
    pub names: Option<dns::Names>,
}

impl Connector {
    /// Opens a connection; must be called on a tokio runtime, where the connection lives on as a task.
    ///
    /// # Errors
    /// Says at which step it failed.
    pub async fn connect(&self) -> Result<Channel, ConnectError> {
        let Server { authority, host, name, port } = &self.server;
        let server = || authority.clone();
        let late = |within| move |_| ConnectError::Timeout { server: server(), within };
        let tls = TlsConnector::from(Arc::new(self.tls()?));

        let tcp = timeout(TCP_TIMEOUT, reach(host, *port, self.names.as_ref(), self.mark)).await;
        let tcp = tcp.map_err(late(TCP_TIMEOUT))?.and_then(|tcp| keep_alive(&tcp).map(|()| tcp));
        let tcp = tcp.map_err(|source| ConnectError::Tcp { server: server(), source })?;

        let handshakes = async {
            let tls = tls.connect(name.clone(), tcp).await;
            let tls = tls.map_err(|source| ConnectError::Handshake { server: server(), source })?;
            hyper::client::conn::http2::Builder::new(TokioExecutor::new())
                .timer(TokioTimer::new())
                .initial_stream_window_size(WINDOW)
                .initial_connection_window_size(WINDOW)
                .keep_alive_interval(PING_INTERVAL)
                .keep_alive_timeout(PING_TIMEOUT)
                .keep_alive_while_idle(true)
                .handshake(TokioIo::new(tls))
                .await
                .map_err(|source| ConnectError::Http { server: server(), source })
        };
        let connected = timeout(HANDSHAKE_TIMEOUT, handshakes).await;
        let (sender, connection) = connected.map_err(late(HANDSHAKE_TIMEOUT))??;
        tokio::spawn(async move {
            // Whoever uses the connection sees its error on his stream.
            if let Err(error) = connection.await {
                tracing::debug!(%error, "connection to the control plane ended");
            }
        });
        Ok(Channel::new(sender, authority.clone(), Arc::clone(&self.auth)))
    }

    /// TLS 1.3, the server proves who it is, we do not.
    fn tls(&self) -> Result<ClientConfig, ConnectError> {
        let wrong = |error: &dyn std::fmt::Display| ConnectError::Tls(error.to_string());
        let mut provider = aws_lc_rs::default_provider();
        if self.post_quantum_only {
            provider.kx_groups.retain(|group| group.name() == NamedGroup::X25519MLKEM768);
        }
        let provider = Arc::new(provider);
        let roots = Arc::new(self.roots.load()?);
        let verifier = WebPkiServerVerifier::builder_with_provider(roots, Arc::clone(&provider))
            .build()
            .map_err(|error| wrong(&error))?;
        let verifier =
            Names { verifier, alternative: self.alternative_name.clone(), provider: Arc::clone(&provider) };
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])
            .map_err(|error| wrong(&error))?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(verifier))
            .with_no_client_auth();
        config.alpn_protocols = vec![b"h2".to_vec()];
        Ok(config)
    }
}

/// Connects to a host by name or address. `names` and `mark` as in [`Connector`].
pub(crate) async fn reach(
    host: &str,
    port: u16,
    names: Option<&dns::Names>,
    mark: Option<u32>,
) -> std::io::Result<TcpStream> {
    if let Some(names) = names.filter(|_| host.parse::<IpAddr>().is_err()) {
        match names.resolve(host, NameScope::Machine).await {
            Ok(found) => {
                let found: Vec<_> = found.into_iter().map(|ip| SocketAddr::new(ip, port)).collect();
                return dial(&found, mark).await;
            }
            Err(error) => tracing::debug!(%host, %error, "left to the machine's resolver"),
        }
    }
    let found: Vec<_> = lookup_host((host, port)).await?.collect();
    dial(&found, mark).await
}

/// Connects to the first address that takes the connection.
async fn dial(addresses: &[SocketAddr], mark: Option<u32>) -> std::io::Result<TcpStream> {
    let mut last = None;
    for &address in addresses {
        let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
        if let Some(mark) = mark {
            SockRef::from(&socket).set_mark(mark)?;
        }
        match socket.connect(address).await {
            Ok(tcp) => return Ok(tcp),
            Err(error) => last = Some(error),
        }
    }
    Err(last.unwrap_or_else(|| std::io::Error::other("the name has no addresses")))
}

fn keep_alive(tcp: &TcpStream) -> std::io::Result<()> {
    tcp.set_nodelay(true)?;
    let keepalive = TcpKeepalive::new()
        .with_time(KEEPALIVE_IDLE)
        .with_interval(KEEPALIVE_INTERVAL)
        .with_retries(KEEPALIVE_PROBES);
    SockRef::from(tcp).set_tcp_keepalive(&keepalive)
}

/// The standard judgement, for the server's name and, if that fails, for the alternative one.
#[derive(Debug)]
struct Names {
    verifier: Arc<WebPkiServerVerifier>,
    alternative: Option<ServerName<'static>>,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Names {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let judged = self.verifier.verify_server_cert(leaf, intermediates, name, ocsp, now);
        match (&judged, &self.alternative) {
            (Err(_), Some(other)) => self.verifier.verify_server_cert(leaf, intermediates, other, ocsp, now),
            _ => judged,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.verifier.verify_tls12_signature(message, leaf, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.verifier.verify_tls13_signature(message, leaf, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_with_and_without_a_scheme() {
        for text in ["https://istiod.istio-system.svc:15012", "istiod.istio-system.svc:15012/"] {
            let server: Server = text.parse().unwrap();
            assert_eq!((server.host.as_str(), server.port), ("istiod.istio-system.svc", 15012));
        }
        let server: Server = "https://[::1]:15012".parse().unwrap();
        assert_eq!((server.host.as_str(), server.authority.as_str()), ("::1", "[::1]:15012"));
        assert_eq!("istiod".parse::<Server>().unwrap().port, 443);
    }

    #[tokio::test]
    async fn connections_have_the_mark_from_the_first_packet() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        for mark in [None, Some(1337)] {
            match dial(&[([127, 0, 0, 1], port).into()], mark).await {
                Ok(tcp) => assert_eq!(SockRef::from(&tcp).mark().unwrap(), mark.unwrap_or_default()),
                // Without the capability there is no connection: an unmarked one would come back to us.
                Err(error) => {
                    assert_eq!((mark, error.kind()), (Some(1337), std::io::ErrorKind::PermissionDenied));
                }
            }
        }
    }

    #[test]
    fn other_addresses_are_refused_with_a_reason() {
        for (text, problem) in
            [("http://istiod:15010", "only https"), ("a b", "host:port"), ("", "host:port")]
        {
            let error = text.parse::<Server>().unwrap_err().to_string();
            assert!(error.contains(problem), "{error}");
        }
    }
}
