//! The proxies of a shard: one for each workload it serves (in-pod mode), or the one it was made with (dedicated mode).
//!
//! Everything that belongs to a workload alone hangs on its proxy: who it is, whom the policies let in, and by
//! [`ProxyId`] its connections, tunnels and questions. Buffers, limits, timers and the tables are the shard's.
use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use alloc::vec::Vec;

use super::policies::Policies;
use super::shares::{Full, Usage, admit};
use super::state::Failure;
use super::{Action, LocalWorkload, Shard, TRIM_INTERVAL, report};
use crate::identity::Identity;
use crate::mesh::Workload;
use crate::time::Instant;
use crate::tls::TlsContext;

/// Names one proxy of a shard. Chosen by whoever adds it, the same in all shards of a process; never used again for
/// another, so that what is said of one that is gone reaches no stranger.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ProxyId(pub u32);

impl ProxyId {
    /// The proxy that a shard has from its start when [`ShardConfig::local`](super::ShardConfig::local) is set.
    pub const OWN: Self = Self(0);
}

/// One proxy.
#[derive(Debug, Default)]
pub(super) struct Proxy {
    /// Whom it stands for.
    pub(super) local: LocalWorkload,
    /// Its entry in the tables, if there is one now.
    pub(super) workload: Option<Arc<Workload>>,
    /// Who the workload is, or was when last known.
    pub(super) identity: Option<Identity>,
    pub(super) policies: Policies,
    /// What it has of what all share.
    usage: Usage,
}

/// The certificate of an identity, for all proxies that have it.
#[derive(Debug, Default)]
pub(super) struct Credential {
    pub(super) context: Option<Arc<TlsContext>>,
    /// It was asked for, and there is no answer yet.
    pub(super) asked: bool,
}

/// All proxies of a shard, and the certificates they need.
#[derive(Debug, Default)]
pub(super) struct Proxies {
    // Boxed, because a node of the map has room for eleven, and a dedicated shard has one.
    all: BTreeMap<ProxyId, Box<Proxy>>,
    credentials: BTreeMap<Identity, Credential>,
}

impl Proxies {
    pub(super) fn contains(&self, id: ProxyId) -> bool {
        self.all.contains_key(&id)
    }

    pub(super) fn get(&self, id: ProxyId) -> Option<&Proxy> {
        self.all.get(&id).map(|proxy| &**proxy)
    }

    pub(super) fn get_mut(&mut self, id: ProxyId) -> Option<&mut Proxy> {
        self.all.get_mut(&id).map(|proxy| &mut **proxy)
    }

    pub(super) fn ids(&self) -> Vec<ProxyId> {
        self.all.keys().copied().collect()
    }

    pub(super) fn len(&self) -> usize {
        self.all.len()
    }

    /// How many certificates are kept or waited for.
    pub(super) fn credentials(&self) -> usize {
        self.credentials.len()
    }

    /// Who `id` is, as last known.
    pub(super) fn identity(&self, id: ProxyId) -> Option<&Identity> {
        self.get(id)?.identity.as_ref()
    }

    /// What is known of the certificate of `identity`, if a proxy has it.
    pub(super) fn credential_mut(&mut self, identity: &Identity) -> Option<&mut Credential> {
        self.credentials.get_mut(identity)
    }

    /// The certificate of `identity`, once it is there.
    pub(super) fn context(&self, identity: &Identity) -> Option<&Arc<TlsContext>> {
        self.credentials.get(identity)?.context.as_ref()
    }

    /// Keeps room for the certificates that some proxy needs, and for no other.
    fn settle_credentials(&mut self) {
        let Self { all, credentials } = self;
        let used = |identity: &Identity| all.values().any(|proxy| proxy.identity.as_ref() == Some(identity));
        credentials.retain(|identity, _| used(identity));
        for identity in all.values().filter_map(|proxy| proxy.identity.as_ref()) {
            if !credentials.contains_key(identity) {
                credentials.insert(identity.clone(), Credential::default());
            }
        }
    }
}

impl Shard {
    // ---- commands

    /// From now on the shard serves `local` as well, under the name `id`. While the tables do not know it, whoever connects
    /// waits ([`ShardConfig::local_timeout`](super::ShardConfig::local_timeout)). A name that is in use is left as it is.
    pub fn add_proxy(&mut self, now: Instant, id: ProxyId, local: LocalWorkload) {
        if self.proxies.contains(id) {
            return;
        }
        let proxy = Proxy { local, ..Proxy::default() };
        self.proxies.all.insert(id, Box::new(proxy));
        self.look_up(now, id);
        self.work(now);
    }

    /// Forgets the proxy `id` and closes all that is its own, at once: nobody is told to go away first, because the workload
    /// and its network are usually gone already (datapath §8.1). The driver closes the listening sockets. This looks at
    /// every connection, which is rare enough to need no index.
    pub fn remove_proxy(&mut self, now: Instant, id: ProxyId) {
        if self.proxies.all.remove(&id).is_none() {
            return;
        }
        let conns = self.conns.iter().filter(|(_, conn)| conn.proxy == id);
        for conn in conns.map(|(key, _)| key).collect::<Vec<_>>() {
            self.cut_conn(now, conn, &report::drained());
        }
        let tunnels = self.tunnels.iter().filter(|(_, slot)| slot.proxy == id);
        for tunnel in tunnels.map(|(key, _)| key).collect::<Vec<_>>() {
            self.drop_tunnel(now, tunnel, "removed", report::drained());
        }
        self.waits.forget(id);
        self.proxies.settle_credentials();
        self.parties.loosen();
        self.revocation.issuers.loosen();
        self.trim_at = Some(now + TRIM_INTERVAL);
        self.work(now);
    }

    // ---- inside

    /// Changes what `proxy` and all together have.
    pub(super) fn count(&mut self, proxy: ProxyId, change: fn(&mut Usage)) {
        change(&mut self.usage);
        // One that is being removed is there no more.
        if let Some(proxy) = self.proxies.get_mut(proxy) {
            change(&mut proxy.usage);
        }
    }

    /// Whether there is room for one more inbound tunnel to `proxy`.
    pub(super) fn admits_tunnel(&self, proxy: ProxyId) -> Result<(), Full> {
        let (own, alone) = self.usage_of(proxy);
        admit(own.handshakes, self.usage.handshakes, self.config.max_handshakes, alone)?;
        admit(own.tunnels, self.usage.tunnels, self.config.max_inbound_tunnels, alone)
    }

    /// Whether there is room for one more user connection of `proxy`.
    pub(super) fn admits_connection(&self, proxy: ProxyId) -> Result<(), Full> {
        let (own, alone) = self.usage_of(proxy);
        admit(own.connections, self.usage.connections, self.config.max_connections, alone)
    }

    /// What `proxy` has, and whether it shares with nobody.
    fn usage_of(&self, proxy: ProxyId) -> (Usage, bool) {
        (self.proxies.get(proxy).map(|proxy| proxy.usage).unwrap_or_default(), self.proxies.len() <= 1)
    }

    /// The tables have changed: looks every proxy's workload up again.
    pub(super) fn look_up_all(&mut self, now: Instant) {
        let mut judge = false;
        for id in self.proxies.ids() {
            judge |= self.look_up(now, id);
        }
        if judge {
            self.judging.begin(self.conns.slots());
            self.judge_again(now);
        }
    }

    /// Looks up the workload of `id`, and does what follows from its being another. True: its connections are to be judged
    /// again.
    fn look_up(&mut self, now: Instant, id: ProxyId) -> bool {
        let Some(proxy) = self.proxies.get_mut(id) else { return false };
        let found = proxy.local.found_in(&self.mesh).cloned();
        let identity = found.as_ref().map(|workload| workload.identity());
        proxy.workload = found;
        if identity.is_some() && identity != proxy.identity {
            proxy.identity = identity;
            self.proxies.settle_credentials();
            self.identity_changed(now, id);
        }
        self.policies_changed(id)
    }

    /// The workload of `id`, if the tables know it.
    pub(super) fn local(&self, id: ProxyId) -> Option<Arc<Workload>> {
        self.proxies.get(id)?.workload.clone()
    }

    /// Why a connection of `id` fails whose workload nobody knows.
    pub(super) fn no_local(&self, id: ProxyId) -> Failure {
        match self.proxies.get(id) {
            Some(proxy) => report::no_local_workload(&proxy.local),
            None => report::drained(),
        }
    }

    /// The certificate of `identity`; it is asked for unless that is done.
    pub(super) fn certificate_of(&mut self, identity: &Identity) -> Option<Arc<TlsContext>> {
        let credential = self.proxies.credential_mut(identity)?;
        if credential.context.is_none() && !core::mem::replace(&mut credential.asked, true) {
            self.actions.push_back(Action::NeedCertificate { identity: identity.clone() });
        }
        credential.context.clone()
    }
}
