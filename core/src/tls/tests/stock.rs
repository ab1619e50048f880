//! Unmodified rustls connections as foreign peers.
use std::io::{ErrorKind, Read, Write};
use std::sync::Arc;
use std::vec;
use std::vec::Vec;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{ClientConfig, ClientConnection};
use rustls::crypto::{CryptoProvider, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::server::{ServerConfig, ServerConnection, WebPkiClientVerifier};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{Connection, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};

use super::support::*;
use crate::tls::{Input, Session, TlsError};

/// Accepts any server: a stock verifier cannot take certificates that have only a URI.
#[derive(Debug)]
struct Permissive(Arc<CryptoProvider>);

impl ServerCertVerifier for Permissive {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: rustls::pki_types::UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }
    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        unreachable!("TLS 1.3 only")
    }
    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, cert, dss, &self.0.signature_verification_algorithms)
    }
    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

/// Presents a certificate without looking at it, unlike rustls's ordinary ways.
fn present(chain: Vec<CertificateDer<'static>>, key: PrivateKeyDer<'static>) -> Arc<SingleCertAndKey> {
    let key = rustls::crypto::aws_lc_rs::sign::any_supported_type(&key).unwrap();
    Arc::new(SingleCertAndKey::from(CertifiedKey::new(chain, key)))
}

/// How a stock peer differs from the usual.
pub(super) struct Stock {
    pub(super) provider: Arc<CryptoProvider>,
    pub(super) chain: Vec<CertificateDer<'static>>,
    pub(super) key: Option<PrivateKeyDer<'static>>,
    pub(super) fragment: Option<usize>,
    pub(super) alpn: Vec<Vec<u8>>,
}

impl Stock {
    /// A peer with ordinary credentials.
    pub(super) fn of(provider: Arc<CryptoProvider>, name: &str) -> Self {
        let credentials = ca().credentials(&identity(name));
        Self {
            provider,
            chain: credentials.chain,
            key: Some(credentials.key),
            fragment: None,
            alpn: vec![b"h2".to_vec()],
        }
    }

    pub(super) fn client(self) -> Connection {
        let builder = ClientConfig::builder_with_provider(Arc::clone(&self.provider))
            .with_safe_default_protocol_versions()
            .unwrap()
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Permissive(self.provider)));
        let mut config = match self.key {
            Some(key) => builder.with_client_cert_resolver(present(self.chain, key)),
            None => builder.with_no_client_auth(),
        };
        config.alpn_protocols = self.alpn;
        config.max_fragment_size = self.fragment;
        ClientConnection::new(Arc::new(config), "server.example".try_into().unwrap()).unwrap().into()
    }

    pub(super) fn server(self) -> Connection {
        let mut roots = RootCertStore::empty();
        roots.add(ca().certificate.clone()).unwrap();
        let verifier =
            WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&self.provider))
                .build()
                .unwrap();
        let mut config = ServerConfig::builder_with_provider(self.provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_client_cert_verifier(verifier)
            .with_cert_resolver(present(self.chain, self.key.unwrap()));
        config.alpn_protocols = self.alpn;
        config.max_fragment_size = self.fragment;
        ServerConnection::new(Arc::new(config)).unwrap().into()
    }
}

/// Our session with the bytes that are not a whole record yet.
pub(super) struct Ours {
    pub(super) session: Session,
    buffer: Vec<u8>,
    pub(super) data: Vec<u8>,
    pub(super) closed: bool,
    pub(super) error: Option<TlsError>,
}

impl Ours {
    pub(super) fn new(session: Session) -> Self {
        Self { session, buffer: Vec::new(), data: Vec::new(), closed: false, error: None }
    }

    pub(super) fn feed(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
        while self.error.is_none() {
            let (length, bad) = match Session::record_len(&self.buffer) {
                Ok(None) => return,
                Ok(Some(length)) => (length, None),
                Err(error) => (self.buffer.len(), Some(error)),
            };
            let mut record: Vec<u8> = self.buffer.drain(..length).collect();
            match self.session.handle_record(&mut record) {
                Ok(Input::Data(range)) => self.data.extend_from_slice(&record[range]),
                Ok(Input::CloseNotify) => self.closed = true,
                Ok(Input::Nothing | Input::Established) => {}
                Err(error) => self.error = Some(error),
            }
            assert!(bad.is_none() || bad == self.error, "a bad header fails with its own error");
        }
    }
}

/// What a stock peer saw.
#[derive(Debug, Default)]
pub(super) struct Seen {
    pub(super) data: Vec<u8>,
    pub(super) error: Option<Error>,
    pub(super) closed: bool,
}

/// Exchanges everything both want to send, in pieces of `step()` octets, until both are silent.
pub(super) fn exchange(
    ours: &mut Ours,
    stock: &mut Connection,
    seen: &mut Seen,
    mut step: impl FnMut() -> usize,
) {
    for _ in 0..200 {
        let mut wire = Vec::new();
        ours.session.poll_transmit(&mut wire);
        let mut back = Vec::new();
        while stock.wants_write() {
            stock.write_tls(&mut back).unwrap();
        }
        if wire.is_empty() && back.is_empty() {
            return;
        }
        let mut rest = &wire[..];
        while !rest.is_empty() && seen.error.is_none() {
            let (piece, next) = rest.split_at(step().clamp(1, rest.len()));
            give(stock, piece, seen);
            rest = next;
        }
        let mut rest = &back[..];
        while !rest.is_empty() {
            let (piece, next) = rest.split_at(step().clamp(1, rest.len()));
            ours.feed(piece);
            rest = next;
        }
    }
    panic!("peers never fall silent");
}

/// Gives octets to a stock connection and takes what it opened.
pub(super) fn give(stock: &mut Connection, mut piece: &[u8], seen: &mut Seen) {
    while !piece.is_empty() && seen.error.is_none() {
        stock.read_tls(&mut piece).unwrap();
        match stock.process_new_packets() {
            Ok(state) => seen.closed |= state.peer_has_closed(),
            Err(error) => seen.error = Some(error),
        }
        match stock.reader().read_to_end(&mut seen.data) {
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(error) => panic!("{error}"),
        }
    }
}

/// Lets a stock connection seal `data`.
pub(super) fn write(stock: &mut Connection, data: &[u8]) -> Vec<u8> {
    let mut wire = Vec::new();
    let mut rest = data;
    while !rest.is_empty() {
        rest = &rest[stock.writer().write(rest).unwrap()..];
        while stock.wants_write() {
            stock.write_tls(&mut wire).unwrap();
        }
    }
    wire
}

/// Small, seeded and good enough for choosing test inputs (xorshift64*).
pub(super) struct Random(u64);

impl Random {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub(super) fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// Less than `bound`.
    pub(super) fn below(&mut self, bound: usize) -> usize {
        usize::try_from((self.next() >> 33) % bound as u64).unwrap()
    }
}
