//! New revocation lists and tunnels that are open: whose peer's certificate is revoked ends (datapath §4.5).
//!
//! Tunnels are looked at by slices, as connections are when policies change. A list that comes while a handshake is under
//! way is asked when the tunnel is ready. Only lists cut: roots that have changed bear on new tunnels alone.
use alloc::sync::Arc;
use alloc::vec::Vec;

use super::interned::Interned;
use super::rounds::Rounds;
use super::state::TunnelRef;
use super::{Shard, report};
use crate::hbone::TunnelError;
use crate::proxy::observed::Direction;
use crate::time::Instant;
use crate::tls::{Revocations, Side, TlsError, VerifyError};

/// Tunnels looked at in one go: some microseconds each, and a fifth of a millisecond where one is revoked.
const SLICE: usize = 32;

/// What a shard knows of revocation.
#[derive(Debug, Default)]
pub(super) struct Revocation {
    /// The newest lists.
    lists: Option<Arc<Revocations>>,
    pub(super) issuers: Interned<[u8]>,
    pub(super) rounds: Rounds,
}

impl Shard {
    /// A certificate came, with lists to check peers by: if they are others, live tunnels are looked at again.
    pub(super) fn lists_came(&mut self, now: Instant, lists: Option<Arc<Revocations>>) {
        let newest = &mut self.revocation.lists;
        if lists.as_ref().map(Arc::as_ptr) == newest.as_ref().map(Arc::as_ptr) {
            return;
        }
        *newest = lists;
        self.revocation.rounds.begin(self.tunnels.slots());
        self.check_tunnels(now);
    }

    /// Looks at the next slice of tunnels.
    pub(super) fn check_tunnels(&mut self, now: Instant) {
        let runs = self.revocation.rounds.turn(now, self.tunnels.slots(), SLICE);
        let keys = runs.into_iter().flat_map(|(first, count)| self.tunnels.keys_within(first, count));
        let revoked: Vec<_> = keys.filter(|id| self.is_revoked(*id)).collect();
        for id in revoked {
            self.close_tunnel(now, id, VerifyError::Revoked.reason(), report::revoked());
        }
    }

    /// A tunnel is about to be ready: keeps what is needed to look at it again. False when it was revoked since its
    /// handshake, and has failed.
    pub(super) fn stands(&mut self, now: Instant, id: TunnelRef) -> bool {
        let Some(slot) = self.tunnels.get_mut(id) else { return false };
        slot.chain = slot.tunnel.as_mut().and_then(|tunnel| tunnel.take_peer_chain());
        if let Some(chain) = &mut slot.chain {
            chain.share_issuers(|issuer| self.revocation.issuers.share(issuer));
        }
        if self.is_revoked(id) {
            self.tunnel_failed(now, id, &TunnelError::Tls(TlsError::Peer(VerifyError::Revoked)));
            return false;
        }
        true
    }

    /// Whether the newest lists revoke its peer; not asked of those that were checked by these very lists.
    fn is_revoked(&self, id: TunnelRef) -> bool {
        let Some(slot) = self.tunnels.get(id) else { return false };
        let (Some(chain), Some(context), Some(lists)) = (&slot.chain, &slot.context, &self.revocation.lists)
        else {
            return false;
        };
        let checked = context.revocations().is_some_and(|checked| Arc::ptr_eq(checked, lists));
        let side = match slot.direction {
            Direction::Inbound => Side::Server,
            Direction::Outbound => Side::Client,
        };
        slot.closing.is_none() && !checked && context.is_revoked(side, chain, lists)
    }
}
