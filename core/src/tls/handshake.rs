//! The handshake by rustls, fed one record at a time. All use of rustls's unbuffered API is in this file.
//!
//! Traps this file exists to avoid: more than one record per call lets rustls decrypt application data and keep it;
//! after an error rustls may panic unless only its queued alert is taken; tickets would use up sequence numbers.
use alloc::boxed::Box;
use alloc::format;
use alloc::sync::Arc;
use alloc::vec::Vec;

use once_cell::race::OnceBox;
use rustls::client::UnbufferedClientConnection;
use rustls::pki_types::ServerName;
use rustls::server::UnbufferedServerConnection;
use rustls::unbuffered::{
    ConnectionState, EncodeError, EncodeTlsData, InsufficientSizeError, UnbufferedConnectionCommon,
    UnbufferedStatus,
};
use rustls::{AlertDescription, CommonState, Error, KeyLog};

use super::alert::Alert;
use super::context::TlsContext;
use super::records::{Direction, InPlaceRecords, Kernel, RecordLayer, RustlsRecords, Secret};
use super::verify::{PeerVerifier, Verified};
use super::{RecordMode, Side, TlsError};
use crate::identity::IdentitySet;

/// The most octets of records a peer may send before the handshake is complete. A chain of 24 KB in records of 64
/// octets is 36 KB.
const MAX_HANDSHAKE: usize = 96 * 1024;
/// The most states rustls may go through for one record; it needs about ten.
const MAX_STEPS: usize = 64;

/// A handshake in progress: what [`Session`](super::Session) needs to know of it.
pub(super) trait Handshake: Send {
    /// Handles one whole record and appends what must be sent, also on error (the alert).
    fn handle_record(&mut self, record: &[u8], out: &mut Vec<u8>) -> Result<Option<Complete>, TlsError>;
}

/// What a handshake ends with.
pub(super) struct Complete {
    pub(super) records: Box<dyn RecordLayer>,
    pub(super) peer: Verified,
}

/// Catches the two application traffic secrets of one connection.
///
/// rustls asks for a `Sync` log, so these are set-once cells without a lock.
#[derive(Debug, Default)]
pub(super) struct SecretTap {
    client: OnceBox<Secret>,
    server: OnceBox<Secret>,
}

impl SecretTap {
    fn cell(&self, label: &str) -> Option<&OnceBox<Secret>> {
        match label {
            "CLIENT_TRAFFIC_SECRET_0" => Some(&self.client),
            "SERVER_TRAFFIC_SECRET_0" => Some(&self.server),
            _ => None,
        }
    }
}

impl KeyLog for SecretTap {
    fn log(&self, label: &str, _client_random: &[u8], secret: &[u8]) {
        if let Some(cell) = self.cell(label) {
            // rustls logs each label once per connection, and this tap serves one connection.
            let _ = cell.set(Box::new(Secret::new(secret)));
        }
    }

    fn will_log(&self, label: &str) -> bool {
        self.cell(label).is_some()
    }
}

enum Connection {
    Client(UnbufferedClientConnection),
    Server(UnbufferedServerConnection),
}

impl Connection {
    /// Lets rustls see `input`; on `Ok(true)` the handshake is complete.
    fn drive(&mut self, input: &mut Vec<u8>, out: &mut Vec<u8>) -> Result<bool, Failure> {
        match self {
            Self::Client(connection) => drive(connection, |c, i| c.process_tls_records(i), input, out),
            Self::Server(connection) => drive(connection, |c, i| c.process_tls_records(i), input, out),
        }
    }

    fn common(&self) -> &CommonState {
        match self {
            Self::Client(connection) => connection,
            Self::Server(connection) => connection,
        }
    }

    /// Ends rustls's part; it keeps only what leads to the next keys.
    fn into_records(self) -> Result<RustlsRecords, TlsError> {
        let extracted = match self {
            Self::Client(connection) => connection
                .dangerous_into_kernel_connection()
                .map(|(secrets, kernel)| (secrets, Kernel::Client(kernel))),
            Self::Server(connection) => connection
                .dangerous_into_kernel_connection()
                .map(|(secrets, kernel)| (secrets, Kernel::Server(kernel))),
        };
        let (secrets, kernel) = extracted.map_err(|error| handshake_error(&error))?;
        RustlsRecords::new(secrets, kernel)
    }
}

/// Why the drive stopped.
enum Failure {
    Rustls(Error),
    /// rustls is in a state that one record at a time must not lead to.
    State(&'static str),
}

/// One role's way into rustls; a plain function so that it holds for all lifetimes.
type Process<D> =
    for<'c, 'i> fn(&'c mut UnbufferedConnectionCommon<D>, &'i mut [u8]) -> UnbufferedStatus<'c, 'i, D>;

fn drive<D>(
    connection: &mut UnbufferedConnectionCommon<D>,
    process: Process<D>,
    input: &mut Vec<u8>,
    out: &mut Vec<u8>,
) -> Result<bool, Failure> {
    for _ in 0..MAX_STEPS {
        let UnbufferedStatus { discard, state } = process(connection, input);
        let step = match state {
            Ok(ConnectionState::EncodeTlsData(data)) => encode(data, out).map(|()| None),
            Ok(ConnectionState::TransmitTlsData(data)) => {
                data.done();
                Ok(None)
            }
            Ok(ConnectionState::BlockedHandshake) => Ok(Some(false)),
            Ok(ConnectionState::WriteTraffic(_)) => Ok(Some(true)),
            Ok(ConnectionState::PeerClosed | ConnectionState::Closed) => {
                Err(Failure::Rustls(Error::AlertReceived(AlertDescription::CloseNotify)))
            }
            Ok(_) => Err(Failure::State("unexpected state of the TLS library")),
            Err(error) => {
                take_alert(connection, process, out);
                Err(Failure::Rustls(error))
            }
        };
        let step = step?;
        input.drain(..discard.min(input.len()));
        if let Some(complete) = step {
            return Ok(complete);
        }
    }
    Err(Failure::State("TLS library makes no progress"))
}

/// After an error only what is queued may be taken: rustls hands it out before it looks at any input.
fn take_alert<D>(connection: &mut UnbufferedConnectionCommon<D>, process: Process<D>, out: &mut Vec<u8>) {
    for _ in 0..MAX_STEPS {
        if !connection.wants_write() {
            return;
        }
        let UnbufferedStatus { state: Ok(ConnectionState::EncodeTlsData(data)), .. } =
            process(connection, &mut [])
        else {
            return;
        };
        if encode(data, out).is_err() {
            return;
        }
    }
}

fn encode<D>(mut data: EncodeTlsData<'_, D>, out: &mut Vec<u8>) -> Result<(), Failure> {
    const ERROR: Failure = Failure::State("TLS library did not encode its data");
    // An empty buffer makes rustls tell the size; nothing it encodes is empty.
    let Err(EncodeError::InsufficientSize(InsufficientSizeError { required_size })) = data.encode(&mut [])
    else {
        return Err(ERROR);
    };
    let start = out.len();
    out.resize(start.saturating_add(required_size), 0);
    let room = out.get_mut(start..).ok_or(ERROR)?;
    data.encode(room).map(drop).map_err(|_| ERROR)
}

/// A handshake by rustls.
pub(super) struct RustlsHandshake {
    /// `None` once the handshake is complete.
    connection: Option<Connection>,
    context: Arc<TlsContext>,
    tap: Arc<SecretTap>,
    verifier: Arc<PeerVerifier>,
    /// Records rustls has not let go of: the parts of an incomplete message.
    input: Vec<u8>,
    received: usize,
}

impl RustlsHandshake {
    /// A client that wants one of `expected`; appends its first flight to `out`.
    pub(super) fn client(
        context: &Arc<TlsContext>,
        expected: &IdentitySet,
        out: &mut Vec<u8>,
    ) -> Result<Self, TlsError> {
        let tap = Arc::new(SecretTap::default());
        let (config, verifier) = context.client_config(expected, Arc::clone(&tap) as _);
        // Never sent (SNI is off) and never compared: identities are URIs.
        let name = ServerName::try_from("0.0.0.0").map_err(|_| TlsError::Crypto("server name"))?;
        let connection = UnbufferedClientConnection::new(Arc::new(config), name)
            .map_err(|error| handshake_error(&error))?;
        let mut this = Self::new(context, Connection::Client(connection), tap, verifier);
        this.advance(out)?;
        Ok(this)
    }

    /// A server that accepts clients of its own trust domain.
    pub(super) fn server(context: &Arc<TlsContext>) -> Result<Self, TlsError> {
        let tap = Arc::new(SecretTap::default());
        let (config, verifier) =
            context.server_config(Arc::clone(&tap) as _).map_err(|error| handshake_error(&error))?;
        let connection =
            UnbufferedServerConnection::new(Arc::new(config)).map_err(|error| handshake_error(&error))?;
        Ok(Self::new(context, Connection::Server(connection), tap, verifier))
    }

    fn new(
        context: &Arc<TlsContext>,
        connection: Connection,
        tap: Arc<SecretTap>,
        verifier: Arc<PeerVerifier>,
    ) -> Self {
        Self {
            connection: Some(connection),
            context: Arc::clone(context),
            tap,
            verifier,
            input: Vec::new(),
            received: 0,
        }
    }

    fn advance(&mut self, out: &mut Vec<u8>) -> Result<bool, TlsError> {
        let connection = self.connection.as_mut().ok_or(TlsError::NotOneRecord)?;
        connection.drive(&mut self.input, out).map_err(|failure| match failure {
            Failure::State(state) => TlsError::Crypto(state),
            Failure::Rustls(error) => match self.verifier.verdict() {
                Some(Err(refusal)) => TlsError::Peer(refusal.clone()),
                Some(Ok(_)) | None => handshake_error(&error),
            },
        })
    }

    fn complete(&mut self) -> Result<Complete, TlsError> {
        let Some(Ok(peer)) = self.verifier.verdict() else {
            return Err(TlsError::Crypto("peer was not verified"));
        };
        let peer = peer.clone();
        let connection = self.connection.take().ok_or(TlsError::NotOneRecord)?;
        let records: Box<dyn RecordLayer> = match self.context.settings().mode {
            RecordMode::InPlace => Box::new(self.own_records(&connection)?),
            RecordMode::Rustls => Box::new(connection.into_records()?),
        };
        Ok(Complete { records, peer })
    }

    fn own_records(&self, connection: &Connection) -> Result<InPlaceRecords, TlsError> {
        const SECRETS: TlsError = TlsError::Crypto("TLS library did not reveal the traffic secrets");
        let suite = connection
            .common()
            .negotiated_cipher_suite()
            .and_then(|suite| suite.tls13())
            .ok_or(TlsError::Crypto("no TLS 1.3 cipher suite"))?;
        let client = self.tap.client.get().ok_or(SECRETS)?.clone();
        let server = self.tap.server.get().ok_or(SECRETS)?.clone();
        let (send, receive) = match connection {
            Connection::Client(_) => (client, server),
            Connection::Server(_) => (server, client),
        };
        // Sequence 0 in both directions: no tickets are sent, and nothing but the handshake was received.
        let send = Direction::new(suite, send, 0)?;
        let receive = Direction::new(suite, receive, 0)?;
        InPlaceRecords::new(send, receive, Arc::clone(&self.context.ports().aead))
    }
}

impl Handshake for RustlsHandshake {
    fn handle_record(&mut self, record: &[u8], out: &mut Vec<u8>) -> Result<Option<Complete>, TlsError> {
        self.received = self.received.saturating_add(record.len());
        if self.received > MAX_HANDSHAKE {
            return Err(TlsError::HandshakeTooLong(MAX_HANDSHAKE));
        }
        self.input.extend_from_slice(record);
        if !self.advance(out)? {
            return Ok(None);
        }
        if !self.input.is_empty() {
            return Err(TlsError::Crypto("TLS library left part of the handshake unread"));
        }
        self.complete().map(Some)
    }
}

/// rustls's failure with the alert that it sends for it.
fn handshake_error(error: &Error) -> TlsError {
    #[expect(clippy::wildcard_enum_match_arm, reason = "rustls's list grows; the alert itself is rustls's")]
    let alert = match error {
        Error::AlertReceived(alert) => return TlsError::AlertReceived(Alert(u8::from(*alert))),
        Error::InvalidCertificate(error) => Some(AlertDescription::from(error.clone())),
        Error::InvalidMessage(error) => Some(AlertDescription::from(*error)),
        Error::InappropriateMessage { .. } | Error::InappropriateHandshakeMessage { .. } => {
            Some(AlertDescription::UnexpectedMessage)
        }
        Error::NoCertificatesPresented => Some(AlertDescription::CertificateRequired),
        Error::NoApplicationProtocol => Some(AlertDescription::NoApplicationProtocol),
        Error::DecryptError => Some(AlertDescription::BadRecordMac),
        Error::PeerSentOversizedRecord => Some(AlertDescription::RecordOverflow),
        _ => None,
    };
    TlsError::Handshake {
        alert: alert.map(|alert| Alert(u8::from(alert))),
        detail: format!("{error}").into(),
    }
}

impl Side {
    /// The other end.
    #[must_use]
    pub const fn peer(self) -> Self {
        match self {
            Self::Client => Self::Server,
            Self::Server => Self::Client,
        }
    }
}
