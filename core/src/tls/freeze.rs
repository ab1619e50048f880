//! An established session as data, for another process to go on with (design D11).
use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;

use serde::{Deserialize, Serialize};

use super::post_handshake::PostHandshake;
use super::records::{
    Direction, FrozenDirection, FrozenRecords, InPlaceRecords, RecordLayer, SymbolicRecords, tls13_suite,
};
use super::session::{Due, Session, Spent, Stage};
use super::{Budgets, Side, TlsError, TlsPorts};
use crate::identity::Identity;

/// Goes up when the meaning of a field changes.
const VERSION: u16 = 1;

/// A session as data: both traffic secrets, sequence numbers, an incomplete message, who the peer is, and what waits to
/// be sent. Serialisable; its secrets are zeroised on drop. Whoever serialises it must zeroise the octets.
#[derive(Serialize, Deserialize)]
pub struct FrozenSession {
    version: u16,
    side: Side,
    pub(super) records: FrozenRecords,
    peer: Identity,
    outgoing: Vec<u8>,
    due: Due,
    post: PostHandshake,
    spent: Spent,
    budgets: Budgets,
    key_update_after: u64,
    closed: bool,
    peer_closed: bool,
}

impl fmt::Debug for FrozenSession {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FrozenSession")
            .field("version", &self.version)
            .field("side", &self.side)
            .field("peer", &self.peer)
            .finish_non_exhaustive()
    }
}

impl Session {
    /// The session as data (design D11): only established in-place or symbolic sessions can be frozen. Once the data is
    /// thawed, this session must not seal anything any more, or a nonce is used twice: drop it.
    ///
    /// # Errors
    /// `NotFreezable`, with the reason.
    pub fn freeze(&self) -> Result<FrozenSession, TlsError> {
        if self.failure.is_some() {
            return Err(TlsError::NotFreezable("it has failed"));
        }
        let (Stage::Established(records), Some(peer)) = (&self.stage, &self.peer) else {
            return Err(TlsError::NotFreezable("its handshake is not complete"));
        };
        Ok(FrozenSession {
            version: VERSION,
            side: self.side,
            records: records.freeze()?,
            peer: peer.clone(),
            outgoing: self.outgoing.clone(),
            due: self.due,
            post: self.post,
            spent: self.spent,
            budgets: self.budgets,
            key_update_after: self.key_update_after,
            closed: self.closed,
            peer_closed: self.peer_closed,
        })
    }

    /// Goes on where a real session was frozen. The provider is needed too, for the keys after the next KeyUpdate.
    ///
    /// # Errors
    /// `BadFrozen` for another version or a symbolic session, `Crypto` when the ports do not support its suite.
    pub fn thaw(frozen: FrozenSession, ports: &TlsPorts) -> Result<Self, TlsError> {
        let FrozenRecords::InPlace { suite, send, receive } = &frozen.records else {
            return Err(TlsError::BadFrozen("it is symbolic"));
        };
        let suite = tls13_suite(&ports.provider, *suite)
            .ok_or(TlsError::Crypto("provider lacks the cipher suite of the frozen session"))?;
        let direction =
            |frozen: &FrozenDirection| Direction::new(suite, frozen.secret.clone(), frozen.sequence);
        let records = InPlaceRecords::new(direction(send)?, direction(receive)?, Arc::clone(&ports.aead))?;
        let mut session = Self::resume(frozen, Box::new(records))?;
        session.entropy = Some(ports.provider.secure_random);
        Ok(session)
    }

    /// Goes on where a symbolic session was frozen.
    ///
    /// # Errors
    /// `BadFrozen` for another version or a real session.
    pub fn thaw_symbolic(frozen: FrozenSession) -> Result<Self, TlsError> {
        let FrozenRecords::Symbolic { side, send, receive } = frozen.records else {
            return Err(TlsError::BadFrozen("it is not symbolic"));
        };
        Self::resume(frozen, Box::new(SymbolicRecords::resume(side, send, receive)))
    }

    fn resume(frozen: FrozenSession, records: Box<dyn RecordLayer>) -> Result<Self, TlsError> {
        if frozen.version != VERSION {
            return Err(TlsError::BadFrozen("it is of another version"));
        }
        Ok(Self {
            side: frozen.side,
            stage: Stage::Established(records),
            peer: Some(frozen.peer),
            peer_chain: None,
            outgoing: frozen.outgoing,
            due: frozen.due,
            post: frozen.post,
            spent: frozen.spent,
            budgets: frozen.budgets,
            key_update_after: frozen.key_update_after,
            closed: frozen.closed,
            peer_closed: frozen.peer_closed,
            failure: None,
            entropy: None,
        })
    }
}
