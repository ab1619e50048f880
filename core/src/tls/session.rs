//! One TLS connection from its first record to its last.
use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;

use rustls::crypto::SecureRandom;

use super::handshake::{Complete, Handshake, RustlsHandshake};
use super::post_handshake::{Message, PostHandshake, key_update};
use super::records::{LEGACY_VERSION, RecordLayer, content};
use super::symbolic::{SymbolicHandshake, SymbolicOptions};
use super::{
    Alert, Budgets, Flood, HEADROOM, Input, MAX_RECORD, PeerChain, Side, TAILROOM, TlsContext, TlsError,
    TlsPorts, TlsSettings,
};
use crate::identity::{Identity, IdentitySet};

/// Records kept back below a key's limit so that a KeyUpdate and alerts can still be sealed.
const RESERVED: u64 = 4;

/// Where the connection stands.
pub(super) enum Stage {
    Handshake(Box<dyn Handshake>),
    Established(Box<dyn RecordLayer>),
    /// Failed or closed before it was established: nothing can be sealed.
    Over,
}

/// What will be sealed at the next `poll_transmit`. Not sealed earlier, because the caller may be in the middle of a
/// batch of records which must leave first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(super) struct Due {
    /// A KeyUpdate; several requests are answered by one (RFC 8446 §4.6.3). The value asks the peer for its own.
    pub(super) key_update: Option<bool>,
    pub(super) alert: Option<Alert>,
}

/// What is left of the budgets, and what earns it back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(super) struct Spent {
    key_updates: u32,
    empty_records: u32,
    tickets: u32,
    warnings: u32,
    towards_refill: u32,
}

impl Spent {
    pub(super) const NOTHING: Self =
        Self { key_updates: 0, empty_records: 0, tickets: 0, warnings: 0, towards_refill: 0 };

    /// Application data arrived.
    fn refill(&mut self) {
        self.empty_records = 0;
        if self.key_updates > 0 {
            self.towards_refill = self.towards_refill.saturating_add(1);
            if self.towards_refill >= Budgets::REFILL {
                self.towards_refill = 0;
                self.key_updates = self.key_updates.saturating_sub(1);
            }
        }
    }
}

/// Spends one of a budget.
fn spend(spent: &mut u32, budget: u32, flood: Flood) -> Result<(), TlsError> {
    if *spent >= budget {
        return Err(TlsError::Flood(flood));
    }
    *spent = spent.saturating_add(1);
    Ok(())
}

/// One TLS connection: first the handshake, then records. Never reads a clock or a socket.
pub struct Session {
    pub(super) side: Side,
    pub(super) stage: Stage,
    pub(super) peer: Option<Identity>,
    /// Until it is taken.
    pub(super) peer_chain: Option<Box<PeerChain>>,
    /// Whole records ready to leave: handshake flights.
    pub(super) outgoing: Vec<u8>,
    pub(super) due: Due,
    pub(super) post: PostHandshake,
    pub(super) spent: Spent,
    pub(super) budgets: Budgets,
    pub(super) key_update_after: u64,
    /// We have queued close_notify or ended before establishment.
    pub(super) closed: bool,
    /// The peer's close_notify arrived.
    pub(super) peer_closed: bool,
    pub(super) failure: Option<TlsError>,
    /// Where random octets come from; a symbolic session has none.
    pub(super) entropy: Option<&'static dyn SecureRandom>,
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let stage = match self.stage {
            Stage::Handshake(_) => "handshake",
            Stage::Established(_) => "established",
            Stage::Over => "over",
        };
        f.debug_struct("Session")
            .field("side", &self.side)
            .field("stage", &stage)
            .field("peer", &self.peer)
            .field("outgoing", &self.outgoing.len())
            .field("due", &self.due)
            .field("closed", &self.closed)
            .field("peer_closed", &self.peer_closed)
            .field("failure", &self.failure)
            .finish_non_exhaustive()
    }
}

impl Session {
    /// A client that accepts exactly the peers in `expected`. Its first flight is ready to be sent.
    ///
    /// # Errors
    /// When the provider fails, for example for want of random octets.
    pub fn client(context: &Arc<TlsContext>, expected: &IdentitySet) -> Result<Self, TlsError> {
        let mut outgoing = Vec::new();
        let handshake = RustlsHandshake::client(context, expected, &mut outgoing)?;
        Ok(Self::new(Side::Client, Box::new(handshake), outgoing, context.settings())
            .with_entropy(context.ports()))
    }

    /// A server that demands a client certificate of its own trust domain.
    ///
    /// # Errors
    /// When the provider does not fit TLS 1.3.
    pub fn server(context: &Arc<TlsContext>) -> Result<Self, TlsError> {
        let handshake = RustlsHandshake::server(context)?;
        Ok(Self::new(Side::Server, Box::new(handshake), Vec::new(), context.settings())
            .with_entropy(context.ports()))
    }

    /// A session without cryptography for models and fuzzing: records carry a counter and plaintext. The handshake
    /// takes the same flights as a real one; it presents `local` and accepts exactly `peer`.
    #[must_use]
    pub fn symbolic(side: Side, local: Identity, peer: Identity) -> Self {
        Self::symbolic_with(side, local, peer, SymbolicOptions::default())
    }

    /// [`Self::symbolic`] with options, such as presenting a bad certificate.
    #[must_use]
    pub fn symbolic_with(side: Side, local: Identity, peer: Identity, options: SymbolicOptions) -> Self {
        let mut outgoing = Vec::new();
        let handshake = SymbolicHandshake::new(side, local, peer, options.bad_certificate, &mut outgoing);
        let settings = TlsSettings { key_update_after: options.key_update_after, ..TlsSettings::default() };
        Self::new(side, Box::new(handshake), outgoing, &settings)
    }

    fn new(side: Side, handshake: Box<dyn Handshake>, outgoing: Vec<u8>, settings: &TlsSettings) -> Self {
        Self {
            side,
            stage: Stage::Handshake(handshake),
            peer: None,
            peer_chain: None,
            outgoing,
            due: Due::default(),
            post: PostHandshake::default(),
            spent: Spent::NOTHING,
            budgets: settings.budgets,
            key_update_after: settings.key_update_after,
            closed: false,
            peer_closed: false,
            failure: None,
            entropy: None,
        }
    }

    fn with_entropy(self, ports: &TlsPorts) -> Self {
        Self { entropy: Some(ports.provider.secure_random), ..self }
    }

    /// Octets that the peer cannot guess, from the provider's random source. A symbolic session has no secrets: its nonces
    /// are all the same, which keeps models and replays in step.
    ///
    /// # Errors
    /// When the random source fails.
    pub fn nonce(&self) -> Result<[u8; 8], TlsError> {
        let mut nonce = [0; 8];
        match self.entropy {
            Some(entropy) => entropy.fill(&mut nonce).map(|()| nonce),
            None => Ok(nonce),
        }
        .map_err(|_| TlsError::Crypto("the random source failed"))
    }

    /// The length of the whole record at the start of `bytes` (header included), `None` while it is incomplete
    /// (fewer than 5 octets, or fewer than the header says).
    ///
    /// # Errors
    /// `NotTls`, `RecordVersion` and `RecordTooLong` as soon as the octets that tell are there. So that the peer learns
    /// of it, hand what is there to [`Self::handle_record`], which fails with the same error and queues the alert.
    pub fn record_len(bytes: &[u8]) -> Result<Option<usize>, TlsError> {
        if let Some(&first) = bytes.first()
            && !(content::CHANGE_CIPHER_SPEC..=content::APPLICATION_DATA).contains(&first)
        {
            return Err(TlsError::NotTls(first));
        }
        let Some(&[_, major, minor, high, low]) = bytes.first_chunk::<HEADROOM>() else {
            return Ok(None);
        };
        if major != 3 {
            return Err(TlsError::RecordVersion(u16::from_be_bytes([major, minor])));
        }
        let whole = HEADROOM.saturating_add(usize::from(u16::from_be_bytes([high, low])));
        if whole > MAX_RECORD {
            return Err(TlsError::RecordTooLong(whole));
        }
        Ok((bytes.len() >= whole).then_some(whole))
    }

    /// Handles exactly one whole record, opening it in place. After an error only `poll_transmit` (the alert) is of use;
    /// the same error is given again.
    ///
    /// # Errors
    /// Whatever ends the session; [`TlsError::alert`] says what the peer is told.
    pub fn handle_record(&mut self, record: &mut [u8]) -> Result<Input, TlsError> {
        if let Some(failure) = &self.failure {
            return Err(failure.clone());
        }
        if self.peer_closed {
            // RFC 8446 §6.1: what follows a close_notify is ignored.
            return Ok(Input::Nothing);
        }
        let answer = match (&mut self.stage, Self::record_len(record)) {
            (Stage::Over, _) => return Err(TlsError::Closed),
            (_, Ok(length)) if length != Some(record.len()) => return Err(TlsError::NotOneRecord),
            // A header that cannot be right goes to the handshake too: only it can send an alert now.
            (Stage::Handshake(handshake), header) => {
                let answer = handshake.handle_record(record, &mut self.outgoing);
                header.and(answer).map(|complete| self.progress(complete))
            }
            (Stage::Established(_), Err(error)) => Err(error),
            (Stage::Established(_), Ok(_)) => self.handle_protected(record),
        };
        answer.inspect_err(|error| self.fail(error))
    }

    fn progress(&mut self, complete: Option<Complete>) -> Input {
        let Some(Complete { records, peer }) = complete else {
            return Input::Nothing;
        };
        self.stage = Stage::Established(records);
        self.peer = Some(peer.identity);
        self.peer_chain = peer.chain;
        Input::Established
    }

    fn fail(&mut self, error: &TlsError) {
        self.failure = Some(error.clone());
        match self.stage {
            // The handshake has queued its own alert.
            Stage::Handshake(_) => self.stage = Stage::Over,
            Stage::Established(_) | Stage::Over => {
                // Nothing but the alert leaves now; after our own close_notify not even that (RFC 8446 §6.1).
                self.due = Due {
                    key_update: None,
                    alert: error.alert().filter(|_| !self.closed).or(self.due.alert),
                };
            }
        }
    }

    fn handle_protected(&mut self, record: &mut [u8]) -> Result<Input, TlsError> {
        let Stage::Established(records) = &mut self.stage else {
            return Err(TlsError::NotEstablished);
        };
        let Some(&[outer, major, minor, _, _]) = record.first_chunk::<HEADROOM>() else {
            return Err(TlsError::NotOneRecord);
        };
        // RFC 8446 §5: after the handshake nothing is unprotected, not even change_cipher_spec.
        if outer != content::APPLICATION_DATA {
            return Err(TlsError::UnexpectedRecord(outer));
        }
        let version = u16::from_be_bytes([major, minor]);
        if version != LEGACY_VERSION {
            return Err(TlsError::RecordVersion(version));
        }
        let opened = records.open(record)?;
        let payload = record.get(opened.payload.clone()).ok_or(TlsError::BadRecord)?;
        match opened.content_type {
            content::ALERT => self.handle_alert(payload),
            content::HANDSHAKE => self.handle_messages(payload),
            content::APPLICATION_DATA if self.post.is_partial() => {
                Err(TlsError::Interleaved(opened.content_type))
            }
            content::APPLICATION_DATA if payload.is_empty() => {
                spend(&mut self.spent.empty_records, self.budgets.empty_records, Flood::EmptyRecords)?;
                Ok(Input::Nothing)
            }
            content::APPLICATION_DATA => {
                self.spent.refill();
                Ok(Input::Data(opened.payload))
            }
            other => Err(TlsError::UnexpectedRecord(other)),
        }
    }

    fn handle_alert(&mut self, payload: &[u8]) -> Result<Input, TlsError> {
        let &[_level, description] = payload else {
            return Err(match payload {
                [] => TlsError::EmptyRecord(content::ALERT),
                _ => TlsError::MalformedAlert,
            });
        };
        // RFC 8446 §6: the level is not looked at; all but two are fatal.
        match Alert(description) {
            Alert::CLOSE_NOTIFY | Alert::USER_CANCELED if self.post.is_partial() => {
                Err(TlsError::Interleaved(content::ALERT))
            }
            Alert::CLOSE_NOTIFY => {
                self.peer_closed = true;
                Ok(Input::CloseNotify)
            }
            Alert::USER_CANCELED => {
                spend(&mut self.spent.warnings, self.budgets.warnings, Flood::Warnings)?;
                Ok(Input::Nothing)
            }
            fatal => Err(TlsError::AlertReceived(fatal)),
        }
    }

    fn handle_messages(&mut self, mut payload: &[u8]) -> Result<Input, TlsError> {
        if payload.is_empty() {
            return Err(TlsError::EmptyRecord(content::HANDSHAKE));
        }
        while !payload.is_empty() {
            match self.post.next(self.side, &mut payload)? {
                None => {}
                Some(Message::Ticket) => {
                    spend(&mut self.spent.tickets, self.budgets.tickets, Flood::Tickets)?
                }
                Some(Message::KeyUpdate { .. }) if !payload.is_empty() => {
                    return Err(TlsError::KeyUpdateNotLast);
                }
                Some(Message::KeyUpdate { requested }) => {
                    spend(&mut self.spent.key_updates, self.budgets.key_updates, Flood::KeyUpdates)?;
                    if let Stage::Established(records) = &mut self.stage {
                        records.update_receive()?;
                    }
                    if requested && !self.closed {
                        // An answer must not ask again (RFC 8446 §4.6.3); a question already due stays one.
                        self.due.key_update.get_or_insert(false);
                    }
                }
            }
        }
        Ok(Input::Nothing)
    }

    /// Appends whole records that must leave before anything sealed later: handshake flights, alerts, KeyUpdate.
    /// Call it before each batch of `seal`. Returns the number of octets appended.
    pub fn poll_transmit(&mut self, out: &mut Vec<u8>) -> usize {
        let start = out.len();
        out.append(&mut self.outgoing);
        self.outgoing = Vec::new();
        if self.wants_key_update() {
            self.due.key_update.get_or_insert(false);
        }
        let due = core::mem::take(&mut self.due);
        if let Stage::Established(records) = &mut self.stage {
            let sent = transmit(&mut **records, due, out);
            if let Err(error) = sent {
                self.failure.get_or_insert(error);
            }
        }
        out.len().saturating_sub(start)
    }

    /// Whether `poll_transmit` has something.
    #[must_use]
    pub fn wants_transmit(&self) -> bool {
        !self.outgoing.is_empty() || self.due != Due::default() || self.wants_key_update()
    }

    /// Whether so much was sealed that a new key is wanted.
    fn wants_key_update(&self) -> bool {
        match &self.stage {
            Stage::Established(records) => {
                !self.closed && self.failure.is_none() && records.sealed() >= self.key_update_after.max(1)
            }
            Stage::Handshake(_) | Stage::Over => false,
        }
    }

    /// Seals application data in place: `record` is HEADROOM + payload_len + TAILROOM octets, the payload in the middle;
    /// afterwards all of it is one record to send.
    ///
    /// # Errors
    /// `NotEstablished`, `Closed` and `RecordSpace` are the caller's; `KeyLimit` when `poll_transmit` was not called for
    /// millions of records; else the failure that ended the session.
    pub fn seal(&mut self, record: &mut [u8]) -> Result<(), TlsError> {
        if let Some(failure) = &self.failure {
            return Err(failure.clone());
        }
        if self.closed {
            return Err(TlsError::Closed);
        }
        let Stage::Established(records) = &mut self.stage else {
            return Err(TlsError::NotEstablished);
        };
        if records.sealed() >= records.limit().saturating_sub(RESERVED) {
            return Err(TlsError::KeyLimit);
        }
        records.seal(content::APPLICATION_DATA, record)
    }

    /// Queues a KeyUpdate, with the request for the peer's own if `ask_peer`. The session sends them by itself well
    /// before a key wears out, so this is for tests and operators.
    ///
    /// # Errors
    /// `NotEstablished` or `Closed`; else the failure that ended the session.
    pub fn update_keys(&mut self, ask_peer: bool) -> Result<(), TlsError> {
        if let Some(failure) = &self.failure {
            return Err(failure.clone());
        }
        if self.closed {
            return Err(TlsError::Closed);
        }
        if !self.is_established() {
            return Err(TlsError::NotEstablished);
        }
        self.due.key_update = Some(ask_peer || self.due.key_update == Some(true));
        Ok(())
    }

    /// True once application data may be sealed. A client's is true before the server has judged its certificate
    /// (design D9).
    #[must_use]
    pub const fn is_established(&self) -> bool {
        matches!(self.stage, Stage::Established(_))
    }

    /// The verified peer, once established.
    #[must_use]
    pub const fn peer(&self) -> Option<&Identity> {
        self.peer.as_ref()
    }

    /// The chain by which the peer was accepted, once, after the session is established; only where revocation is
    /// checked. Whoever takes it is to ask [`TlsContext::is_revoked`] when there are new lists. It does not take part in
    /// [`Self::freeze`].
    pub const fn take_peer_chain(&mut self) -> Option<Box<PeerChain>> {
        self.peer_chain.take()
    }

    /// Why the session failed, if it did.
    #[must_use]
    pub const fn failure(&self) -> Option<&TlsError> {
        self.failure.as_ref()
    }

    /// Queues close_notify. Nothing can be sealed afterwards; the peer may still send. Before the handshake is complete
    /// nothing is sent, the session is simply over.
    pub fn close(&mut self) {
        if self.closed || self.failure.is_some() {
            return;
        }
        self.closed = true;
        match self.stage {
            Stage::Established(_) => self.due = Due { key_update: None, alert: Some(Alert::CLOSE_NOTIFY) },
            Stage::Handshake(_) | Stage::Over => {
                self.stage = Stage::Over;
                self.outgoing = Vec::new();
            }
        }
    }
}

/// Seals what is due, KeyUpdate first: the alert may be the last record.
fn transmit(records: &mut dyn RecordLayer, due: Due, out: &mut Vec<u8>) -> Result<(), TlsError> {
    if let Some(ask_peer) = due.key_update {
        seal_message(records, content::HANDSHAKE, &key_update(ask_peer), out)?;
        records.update_send()?;
    }
    if let Some(alert) = due.alert {
        seal_message(records, content::ALERT, &alert.encode(), out)?;
    }
    Ok(())
}

/// Appends one sealed record; on error nothing is appended.
pub(super) fn seal_message(
    records: &mut dyn RecordLayer,
    content_type: u8,
    message: &[u8],
    out: &mut Vec<u8>,
) -> Result<(), TlsError> {
    let start = out.len();
    out.resize(start.saturating_add(HEADROOM), 0);
    out.extend_from_slice(message);
    out.resize(out.len().saturating_add(TAILROOM), 0);
    let sealed = match out.get_mut(start..) {
        Some(record) => records.seal(content_type, record),
        None => Err(TlsError::RecordSpace(0)),
    };
    sealed.inspect_err(|_| out.truncate(start))
}
