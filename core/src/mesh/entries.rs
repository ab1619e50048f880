//! What the tables are ordered by.

use alloc::sync::Arc;
use core::cmp::{Ordering, Reverse};
use core::net::IpAddr;

use ipnet::IpNet;

use super::endpoints::Member;
use super::index::{Entry, Index};
use super::keyed::{Order, Shared};
use super::{Authorization, PolicyScope, Service, ServiceName, TunnelProtocol, Workload};
use crate::identity::Identity;

impl Shared for Identity {
    fn holders(&self) -> usize {
        Self::holders(self)
    }
}

/// Workloads by uid.
pub(super) enum ByUid {}

impl Order for ByUid {
    type Value = Arc<Workload>;
    const HASHED: usize = 1;

    fn key(workload: &Arc<Workload>) -> [&str; 5] {
        [&workload.uid, "", "", "", ""]
    }
}

/// Workloads by namespace, name and service account; of equal ones the lowest uid first.
pub(super) enum ByName {}

impl Order for ByName {
    type Value = Arc<Workload>;
    const HASHED: usize = 3;

    fn key(workload: &Arc<Workload>) -> [&str; 5] {
        let account = workload.identity_ref().service_account();
        [&workload.namespace, &workload.name, account, &workload.uid, ""]
    }
}

/// Workloads by node, then by identity.
pub(super) enum ByNode {}

impl Order for ByNode {
    type Value = Arc<Workload>;
    const HASHED: usize = 1;

    fn key(workload: &Arc<Workload>) -> [&str; 5] {
        let identity = workload.identity_ref();
        [
            &workload.node,
            identity.trust_domain(),
            identity.namespace(),
            identity.service_account(),
            &workload.uid,
        ]
    }
}

/// Workloads that have a hostname, by namespace and hostname.
pub(super) enum ByOwnHostname {}

impl Order for ByOwnHostname {
    type Value = Arc<Workload>;
    const HASHED: usize = 2;

    fn key(workload: &Arc<Workload>) -> [&str; 5] {
        [&workload.namespace, &workload.hostname, &workload.uid, "", ""]
    }
}

/// A service, if it is known, and the workloads that name it.
#[derive(Clone, Debug)]
pub(super) struct Backed {
    pub(super) name: ServiceName,
    /// `None` while only its endpoints have come.
    pub(super) service: Option<Arc<Service>>,
    pub(super) members: Index<Member>,
}

/// Services by namespace and hostname, also those of which only endpoints have come.
pub(super) enum ByServiceName {}

impl Order for ByServiceName {
    type Value = Backed;
    const HASHED: usize = 2;

    fn key(backed: &Backed) -> [&str; 5] {
        [&backed.name.namespace, &backed.name.hostname, "", "", ""]
    }
}

/// Services by hostname, then by namespace.
pub(super) enum ByHostname {}

impl Order for ByHostname {
    type Value = Arc<Service>;
    const HASHED: usize = 1;

    fn key(service: &Arc<Service>) -> [&str; 5] {
        [&service.name.hostname, &service.name.namespace, "", "", ""]
    }
}

/// Policies by namespace and name.
pub(super) enum ByPolicyName {}

impl Order for ByPolicyName {
    type Value = Arc<Authorization>;
    const HASHED: usize = 2;

    fn key(policy: &Arc<Authorization>) -> [&str; 5] {
        [&policy.namespace, &policy.name, "", "", ""]
    }
}

/// Policies by what they apply to, see [`scope_key`].
pub(super) enum ByScope {}

impl Order for ByScope {
    type Value = Arc<Authorization>;
    const HASHED: usize = 2;

    fn key(policy: &Arc<Authorization>) -> [&str; 5] {
        let [kind, of] = scope_key(policy.scope, &policy.namespace);
        [kind, of, &policy.namespace, &policy.name, ""]
    }
}

/// Under what the policies of a scope are found.
pub(super) const fn scope_key(scope: PolicyScope, namespace: &str) -> [&str; 2] {
    match scope {
        PolicyScope::Global => ["global", ""],
        PolicyScope::Namespace => ["namespace", namespace],
        PolicyScope::WorkloadSelector => ["selector", ""],
    }
}

/// An address as two numbers, low half first; both notations of an IPv4 address are the same.
pub(super) type Halves = (u64, u64);

pub(super) fn halves(address: IpAddr) -> Halves {
    let octets = match address {
        IpAddr::V4(v4) => v4.to_ipv6_mapped().octets(),
        IpAddr::V6(v6) => v6.octets(),
    };
    let number = u128::from_be_bytes(octets);
    #[expect(clippy::cast_possible_truncation, reason = "the two halves")]
    let halves = (number as u64, (number >> 64) as u64);
    halves
}

/// A workload at one of its addresses; the one that counts there comes first.
#[derive(Clone, Debug)]
pub(super) struct Located {
    pub(super) address: Halves,
    pub(super) workload: Arc<Workload>,
}

impl Located {
    fn key(&self) -> (Halves, &str, Reverse<(bool, bool)>, &str) {
        (self.address, &self.workload.network, Reverse(address_rank(&self.workload)), &self.workload.uid)
    }

    /// Compares the place with another.
    pub(super) fn place(&self, address: Halves, network: &str) -> Ordering {
        (self.address, &*self.workload.network).cmp(&(address, network))
    }
}

/// Which of several workloads on one address counts (datapath §2.3).
fn address_rank(workload: &Workload) -> (bool, bool) {
    (workload.uid.contains("//Pod/"), workload.protocol == TunnelProtocol::Hbone)
}

/// A service at one of its virtual addresses, ordered by service.
#[derive(Clone, Debug)]
pub(super) struct Vip {
    pub(super) address: Halves,
    pub(super) network: Arc<str>,
    pub(super) service: Arc<Service>,
}

impl Vip {
    fn key(&self) -> (Halves, &str, &ServiceName) {
        (self.address, &self.network, &self.service.name)
    }

    /// Compares the place with another.
    pub(super) fn place(&self, address: Halves, network: &str) -> Ordering {
        (self.address, &*self.network).cmp(&(address, network))
    }
}

/// A service at one of its ranges, the longest prefixes of a network and family first.
#[derive(Clone, Debug)]
pub(super) struct Range {
    pub(super) network: Arc<str>,
    /// Without host bits.
    pub(super) cidr: IpNet,
    pub(super) service: Arc<Service>,
}

/// All ranges of a network and family with prefixes of one length: how many bits are not in the prefix comes last.
pub(super) type Class<'a> = (&'a str, bool, u8);

impl Range {
    pub(super) fn class(&self) -> Class<'_> {
        let wildcard = self.cidr.max_prefix_len().saturating_sub(self.cidr.prefix_len());
        (&self.network, self.cidr.addr().is_ipv6(), wildcard)
    }

    fn key(&self) -> (Class<'_>, IpAddr, &ServiceName) {
        (self.class(), self.cidr.addr(), &self.service.name)
    }
}

/// An entry that is ordered by its `key()`.
macro_rules! ordered {
    ($($entry:ty: |$this:ident| $mark:expr;)*) => {$(
        impl PartialEq for $entry {
            fn eq(&self, other: &Self) -> bool {
                self.key() == other.key()
            }
        }

        impl Eq for $entry {}

        impl PartialOrd for $entry {
            fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
                Some(self.cmp(other))
            }
        }

        impl Ord for $entry {
            fn cmp(&self, other: &Self) -> Ordering {
                self.key().cmp(&other.key())
            }
        }

        impl Entry for $entry {
            fn mark(&self) -> u64 {
                let $this = self;
                $mark
            }
        }
    )*};
}

ordered! {
    Located: |this| this.address.0;
    Vip: |this| this.address.0;
    // There are few, and no number orders them.
    Range: |_this| 0;
}
