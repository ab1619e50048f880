//! A handshake without cryptography: marker records in the order of TLS 1.3's flights, for models and fuzzing.
use alloc::boxed::Box;
use alloc::format;
use alloc::string::ToString;
use alloc::vec::Vec;

use super::handshake::{Complete, Handshake};
use super::records::{RecordLayer, SymbolicRecords, content};
use super::session::seal_message;
use super::verify::{SanFault, Verified, VerifyError};
use super::{Alert, HEADROOM, Side, TlsError, TlsSettings};
use crate::identity::{Identity, IdentitySet};

/// Choices for [`Session::symbolic_with`](super::Session::symbolic_with).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SymbolicOptions {
    /// Present a certificate that the peer refuses with `bad_certificate`.
    pub bad_certificate: bool,
    /// Records sealed under one key before a KeyUpdate is sent.
    pub key_update_after: u64,
}

impl Default for SymbolicOptions {
    fn default() -> Self {
        Self { bad_certificate: false, key_update_after: TlsSettings::KEY_UPDATE_AFTER }
    }
}

/// A flight of the handshake, by its first octet.
const CLIENT_HELLO: u8 = 1;
const SERVER_FLIGHT: u8 = 2;
const CLIENT_FLIGHT: u8 = 3;

/// Which flight is awaited.
#[derive(Clone, Copy)]
enum Awaiting {
    ClientHello,
    ServerFlight,
    ClientFlight,
}

/// Client: hello, server: identity, client: identity. As in TLS 1.3 the client is done before the server has judged it.
pub(super) struct SymbolicHandshake {
    side: Side,
    local: Identity,
    peer: Identity,
    bad_certificate: bool,
    awaiting: Awaiting,
}

impl SymbolicHandshake {
    /// A client's hello is appended to `out`.
    pub(super) fn new(
        side: Side,
        local: Identity,
        peer: Identity,
        bad_certificate: bool,
        out: &mut Vec<u8>,
    ) -> Self {
        let awaiting = match side {
            Side::Client => {
                append(out, content::HANDSHAKE, &[CLIENT_HELLO]);
                Awaiting::ServerFlight
            }
            Side::Server => Awaiting::ClientHello,
        };
        Self { side, local, peer, bad_certificate, awaiting }
    }

    /// The flight that presents our identity.
    fn present(&self, flight: u8, out: &mut Vec<u8>) {
        let text = self.local.to_string();
        let mut body = Vec::with_capacity(text.len().saturating_add(2));
        body.extend([flight, u8::from(self.bad_certificate)]);
        body.extend_from_slice(text.as_bytes());
        append(out, content::HANDSHAKE, &body);
    }

    /// Judges the identity that the peer presents.
    fn judge(&self, presented: &[u8]) -> Result<(), TlsError> {
        let (bad, text) = presented.split_first().ok_or_else(malformed)?;
        if *bad != 0 {
            return Err(VerifyError::Malformed.into());
        }
        let text = core::str::from_utf8(text).map_err(|_| malformed())?;
        let identity: Option<Identity> = text.parse().ok();
        if identity.as_ref() == Some(&self.peer) {
            return Ok(());
        }
        let fault = if identity.is_some() { SanFault::Other } else { SanFault::NotSpiffe };
        let expected = IdentitySet::from_iter([self.peer.clone()]);
        Err(VerifyError::UnexpectedSan { expected, got: format!("{}", text.escape_default()).into(), fault }
            .into())
    }

    fn complete(&self) -> Complete {
        let peer = Verified { identity: self.peer.clone(), chain: None };
        Complete { records: Box::new(SymbolicRecords::new(self.side)), peer }
    }

    fn advance(&mut self, body: &[u8], out: &mut Vec<u8>) -> Result<Option<Complete>, TlsError> {
        match (self.awaiting, body) {
            (Awaiting::ClientHello, [CLIENT_HELLO]) => {
                self.present(SERVER_FLIGHT, out);
                self.awaiting = Awaiting::ClientFlight;
                Ok(None)
            }
            (Awaiting::ServerFlight, [SERVER_FLIGHT, presented @ ..]) => {
                self.judge(presented)?;
                self.present(CLIENT_FLIGHT, out);
                Ok(Some(self.complete()))
            }
            (Awaiting::ClientFlight, [CLIENT_FLIGHT, presented @ ..]) => {
                self.judge(presented)?;
                Ok(Some(self.complete()))
            }
            _ => Err(malformed()),
        }
    }
}

impl Handshake for SymbolicHandshake {
    fn handle_record(&mut self, record: &[u8], out: &mut Vec<u8>) -> Result<Option<Complete>, TlsError> {
        let (header, body) = record.split_at_checked(HEADROOM).ok_or_else(malformed)?;
        let answer = match header.first() {
            Some(&content::HANDSHAKE) => self.advance(body, out),
            Some(&content::ALERT) => match body {
                &[_, description] => return Err(TlsError::AlertReceived(Alert(description))),
                _ => Err(TlsError::MalformedAlert),
            },
            other => Err(TlsError::UnexpectedRecord(other.copied().unwrap_or_default())),
        };
        answer.inspect_err(|error| {
            let Some(alert) = error.alert() else { return };
            // A server that has sent its flight speaks under its traffic key already.
            match self.awaiting {
                Awaiting::ClientFlight => {
                    let mut records = SymbolicRecords::new(self.side);
                    // The first record of a key cannot be refused.
                    let _ = seal_message(
                        &mut records as &mut dyn RecordLayer,
                        content::ALERT,
                        &alert.encode(),
                        out,
                    );
                }
                Awaiting::ClientHello | Awaiting::ServerFlight => {
                    append(out, content::ALERT, &alert.encode())
                }
            }
        })
    }
}

fn malformed() -> TlsError {
    TlsError::Handshake { alert: Some(Alert::DECODE_ERROR), detail: "malformed symbolic handshake".into() }
}

/// Appends a record that is not protected.
fn append(out: &mut Vec<u8>, content_type: u8, body: &[u8]) {
    // Identities are far shorter than a record; were one not, the peer would see a malformed flight.
    let length = u16::try_from(body.len()).unwrap_or(u16::MAX).to_be_bytes();
    out.extend([content_type, 3, 3]);
    out.extend(length);
    out.extend_from_slice(body);
}
