//! The certificate authority of a scripted istiod: gRPC over TLS; signs requests with a root of its own, fails, waits, or
//! answers something else than it was asked for.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use adit_control::proto::istio::auth::{IstioCertificateRequest, IstioCertificateResponse};
use bytes::{BufMut as _, Bytes, BytesMut};
use http::{HeaderMap, Request, Response};
use prost::Message as _;
use prost_types::value::Kind;
use rcgen::{
    BasicConstraints, CertificateParams, CertificateSigningRequestParams, DnType, ExtendedKeyUsagePurpose,
    IsCa, Issuer, KeyPair, SanType,
};
use rustls::ServerConfig;
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;

use super::{Bind, LOOPBACK, here, listen};

/// The name in the server's certificate.
pub const NAME: &str = "istiod.istio-system.svc";

/// What is done with requests for an identity.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Behaviour {
    /// Sign.
    #[default]
    Sign,
    /// Refuse with this gRPC status.
    Fail(u8, String),
    /// Do not answer until [`ScriptedCa::release`].
    Hold,
    /// Sign for this SPIFFE URI instead.
    SignFor(String),
    /// Sign a key of our own instead of the caller's.
    OtherKey,
    /// Leave the roots out.
    NoRoots,
    /// An answer without certificates.
    Empty,
    /// Valid for this long from now, and for as long before.
    Valid(Duration),
    /// Sign, but for so long only: the authority's own idea of how long certificates should live.
    Short(Duration),
}

/// One request as it came.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    /// Headers, those of gRPC included.
    pub headers: BTreeMap<String, String>,
    /// `ImpersonatedIdentity` of the metadata.
    pub impersonated: Option<String>,
    /// `CertSigner` of the metadata.
    pub signer: Option<String>,
    /// URI SANs of the CSR.
    pub sans: Vec<String>,
    /// Seconds.
    pub validity: i64,
}

#[derive(Default)]
struct State {
    behaviours: BTreeMap<String, Behaviour>,
    otherwise: Behaviour,
    seen: Vec<Seen>,
    in_flight: usize,
    most_in_flight: usize,
    connections: usize,
}

struct Signer {
    issuer: Issuer<'static, KeyPair>,
    root: String,
}

struct Shared {
    state: Mutex<State>,
    signers: Vec<Signer>,
    tls: Mutex<Arc<ServerConfig>>,
    released: watch::Sender<u64>,
    /// Counts servers' certificates; connections of an older one are closed.
    generation: watch::Sender<u64>,
}

/// A running authority. It ends with the runtime it was started on.
#[derive(Clone)]
pub struct ScriptedCa {
    shared: Arc<Shared>,
    address: SocketAddr,
}

impl ScriptedCa {
    /// Starts one on loopback, on the tokio runtime this is called on; answers also the PEM of the root that vouches for
    /// its server certificate.
    ///
    /// # Errors
    /// No socket is to be had.
    ///
    /// # Panics
    /// When no key can be made.
    pub async fn start() -> io::Result<(Self, String)> {
        Self::start_at(LOOPBACK, &here()).await
    }

    /// Starts one at `address`, with a socket that `bind` makes; otherwise as [`start`](Self::start).
    ///
    /// # Errors
    /// No socket is to be had.
    ///
    /// # Panics
    /// When no key can be made.
    pub async fn start_at(address: SocketAddr, bind: &Bind) -> io::Result<(Self, String)> {
        let (tls, root) = server_config();
        let shared = Arc::new(Shared {
            state: Mutex::default(),
            signers: vec![signer("intermediate authority"), signer("mesh root")],
            tls: Mutex::new(tls),
            released: watch::Sender::new(0),
            generation: watch::Sender::new(0),
        });
        let listener = listen(bind, address)?;
        let ca = Self { address: listener.local_addr()?, shared };
        let this = ca.clone();
        tokio::spawn(async move {
            while let Ok((tcp, _)) = listener.accept().await {
                // A client that goes away in the middle is its own business.
                let this = this.clone();
                tokio::spawn(async move { drop(this.serve(tcp).await) });
            }
        });
        Ok((ca, root))
    }

    /// Where it listens.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// From now on, for this SPIFFE URI.
    pub fn behave(&self, identity: &str, behaviour: Behaviour) {
        self.state().behaviours.insert(identity.to_owned(), behaviour);
    }

    /// From now on, for whoever has no behaviour of its own.
    pub fn behave_otherwise(&self, behaviour: Behaviour) {
        self.state().otherwise = behaviour;
    }

    /// Answers what is held.
    pub fn release(&self) {
        self.shared.released.send_modify(|count| *count += 1);
    }

    /// Takes another server certificate by another root, whose PEM this answers, and closes all connections.
    ///
    /// # Panics
    /// When no key can be made.
    #[must_use]
    pub fn rotate(&self) -> String {
        let (tls, root) = server_config();
        *self.shared.tls.lock().unwrap_or_else(PoisonError::into_inner) = tls;
        self.shared.generation.send_modify(|count| *count += 1);
        root
    }

    /// All requests so far.
    #[must_use]
    pub fn seen(&self) -> Vec<Seen> {
        self.state().seen.clone()
    }

    /// Requests that wait for an answer.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        self.state().in_flight
    }

    /// The most requests that ever waited together.
    #[must_use]
    pub fn most_in_flight(&self) -> usize {
        self.state().most_in_flight
    }

    /// Connections with a TLS handshake that worked.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.state().connections
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.shared.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn serve(&self, tcp: TcpStream) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        let mut generation = self.shared.generation.subscribe();
        let tls = Arc::clone(&self.shared.tls.lock().unwrap_or_else(PoisonError::into_inner));
        let tls = TlsAcceptor::from(tls).accept(tcp).await?;
        let mut connection = h2::server::handshake(tls).await?;
        self.state().connections += 1;
        loop {
            let accepted = tokio::select! {
                accepted = connection.accept() => accepted,
                _ = generation.changed() => return Ok(()),
            };
            let Some(accepted) = accepted else { return Ok(()) };
            let (request, respond) = accepted?;
            let this = self.clone();
            tokio::spawn(async move { drop(this.answer(request, respond).await) });
        }
    }

    async fn answer(
        &self,
        request: Request<h2::RecvStream>,
        mut respond: h2::server::SendResponse<Bytes>,
    ) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        {
            let mut state = self.state();
            state.in_flight += 1;
            state.most_in_flight = state.most_in_flight.max(state.in_flight);
        }
        let result = self.judge(request).await;
        self.state().in_flight -= 1;
        let mut trailers = HeaderMap::new();
        let response = Response::builder().header("content-type", "application/grpc").body(())?;
        let mut stream = respond.send_response(response, false)?;
        match result {
            Ok(answer) => {
                let mut frame = BytesMut::new();
                frame.put_u8(0);
                frame.put_u32(u32::try_from(answer.encoded_len())?);
                answer.encode(&mut frame)?;
                stream.send_data(frame.freeze(), false)?;
                trailers.insert("grpc-status", "0".parse()?);
            }
            Err((code, message)) => {
                trailers.insert("grpc-status", code.to_string().parse()?);
                trailers.insert("grpc-message", message.parse()?);
            }
        }
        Ok(stream.send_trailers(trailers)?)
    }

    async fn judge(
        &self,
        request: Request<h2::RecvStream>,
    ) -> Result<IstioCertificateResponse, (u8, String)> {
        let bad = |what: &str| (3, what.to_owned());
        if request.uri().path() != "/istio.v1.auth.IstioCertificateService/CreateCertificate" {
            return Err((12, "no such method".to_owned()));
        }
        let headers: BTreeMap<_, _> = request
            .headers()
            .iter()
            .map(|(name, value)| (name.to_string(), String::from_utf8_lossy(value.as_bytes()).into_owned()))
            .collect();
        let mut body = request.into_body();
        let mut octets = Vec::new();
        while let Some(piece) = body.data().await {
            let piece = piece.map_err(|_| bad("body"))?;
            let _ = body.flow_control().release_capacity(piece.len());
            octets.extend_from_slice(&piece);
        }
        let message = octets.get(5..).ok_or_else(|| bad("frame"))?;
        let request = IstioCertificateRequest::decode(message).map_err(|_| bad("message"))?;
        let csr = CertificateSigningRequestParams::from_pem(&request.csr).map_err(|_| bad("csr"))?;
        let sans: Vec<_> = csr
            .params
            .subject_alt_names
            .iter()
            .filter_map(|san| if let SanType::URI(uri) = san { Some(uri.to_string()) } else { None })
            .collect();
        let field = |name: &str| {
            let value = request.metadata.as_ref()?.fields.get(name)?;
            if let Some(Kind::StringValue(text)) = &value.kind { Some(text.clone()) } else { None }
        };
        let identity = sans.first().cloned().unwrap_or_default();
        let seen = Seen {
            headers,
            impersonated: field("ImpersonatedIdentity"),
            signer: field("CertSigner"),
            sans,
            validity: request.validity_duration,
        };
        let mut behaviour = {
            let mut state = self.state();
            state.seen.push(seen);
            state.behaviours.get(&identity).unwrap_or(&state.otherwise).clone()
        };
        if behaviour == Behaviour::Hold {
            let mut released = self.shared.released.subscribe();
            let _ = released.changed().await;
            behaviour = Behaviour::Sign;
        }
        self.sign(csr, behaviour, request.validity_duration)
    }

    fn sign(
        &self,
        mut csr: CertificateSigningRequestParams,
        behaviour: Behaviour,
        validity: i64,
    ) -> Result<IstioCertificateResponse, (u8, String)> {
        let failed = |error: rcgen::Error| (13, error.to_string());
        let now = SystemTime::now();
        let mut back = Duration::from_secs(120);
        let mut ahead = Duration::from_secs(validity.unsigned_abs());
        match behaviour {
            Behaviour::Valid(each) => (back, ahead) = (each, each),
            // A second before, for times in certificates are whole seconds.
            Behaviour::Short(life) => (back, ahead) = (Duration::from_secs(1), life),
            _ => {}
        }
        (csr.params.not_before, csr.params.not_after) = ((now - back).into(), (now + ahead).into());
        csr.params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ClientAuth, ExtendedKeyUsagePurpose::ServerAuth];
        let [signer, root] = &self.shared.signers[..] else { return Err((13, "no signers".to_owned())) };
        // Both authorities sign for themselves; the bundle of roots has both, so it is one with several.
        let roots = format!("{}{}", root.root, signer.root);
        let leaf = match behaviour {
            Behaviour::Fail(code, message) => return Err((code, message)),
            Behaviour::Empty => return Ok(IstioCertificateResponse { cert_chain: Vec::new() }),
            Behaviour::SignFor(other) => {
                csr.params.subject_alt_names = vec![SanType::URI(other.try_into().map_err(failed)?)];
                csr.signed_by(&signer.issuer).map_err(failed)?
            }
            Behaviour::OtherKey => {
                let key = KeyPair::generate().map_err(failed)?;
                csr.params.signed_by(&key, &signer.issuer).map_err(failed)?
            }
            Behaviour::NoRoots => {
                let leaf = csr.signed_by(&signer.issuer).map_err(failed)?;
                return Ok(IstioCertificateResponse { cert_chain: vec![leaf.pem()] });
            }
            Behaviour::Sign | Behaviour::Hold | Behaviour::Valid(_) | Behaviour::Short(_) => {
                csr.signed_by(&signer.issuer).map_err(failed)?
            }
        };
        Ok(IstioCertificateResponse { cert_chain: vec![leaf.pem(), roots] })
    }
}

fn authority(name: &str) -> (Issuer<'static, KeyPair>, rcgen::Certificate) {
    let key = KeyPair::generate().expect("a key");
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.distinguished_name.push(DnType::CommonName, name);
    let certificate = params.self_signed(&key).expect("a root certificate");
    (Issuer::new(params, key), certificate)
}

fn signer(name: &str) -> Signer {
    let (issuer, certificate) = authority(name);
    Signer { issuer, root: certificate.pem() }
}

/// A server certificate for [`NAME`] by a new root, and that root in PEM.
fn server_config() -> (Arc<ServerConfig>, String) {
    let (issuer, root) = authority("control plane root");
    let key = KeyPair::generate().expect("a key");
    let params = CertificateParams::new(vec![NAME.to_owned()]).expect("a name");
    let certificate = params.signed_by(&key, &issuer).expect("a certificate");
    let chain: Vec<CertificateDer<'static>> = vec![certificate.der().clone()];
    let key = PrivatePkcs8KeyDer::from(key.serialize_der()).into();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .expect("TLS 1.3")
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .expect("a usable certificate");
    config.alpn_protocols = vec![b"h2".to_vec()];
    (Arc::new(config), root.pem())
}
