//! The decision for one question: the mesh's addresses, or somebody else's to answer (datapath §7.2–7.4).

use alloc::format;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::net::IpAddr;

use super::lookup::{Names, vips};
use super::message::{CLASS_INTERNET, Query, RecordType, Tail};
use crate::mesh::{IpFamilies, Mesh, ServiceName, Workload};
use crate::rng::Rng;

/// Who asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Client<'a> {
    /// Its namespace: short names mean services there.
    pub namespace: &'a str,
    /// Its network: virtual addresses of others are of no use to it.
    pub network: &'a str,
    /// Its cluster: of equally named pods, those of the same cluster are preferred.
    pub cluster: &'a str,
    /// Domains that its resolver appends to names, in the order in which it does.
    pub search: &'a [Arc<str>],
}

impl<'a> Client<'a> {
    /// `workload` as a client with these search domains.
    #[must_use]
    pub fn new(workload: &'a Workload, search: &'a [Arc<str>]) -> Self {
        Self {
            namespace: &workload.namespace,
            network: &workload.network,
            cluster: &workload.cluster,
            search,
        }
    }
}

/// The search domains that Kubernetes gives pods of `namespace` by default; a pod's own `dnsConfig` is not known to us.
#[must_use]
pub fn kubernetes_search(namespace: &str, cluster_domain: &str) -> [Arc<str>; 3] {
    [
        format!("{namespace}.svc.{cluster_domain}").into(),
        format!("svc.{cluster_domain}").into(),
        cluster_domain.into(),
    ]
}

/// Why a question is not ours to answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum NotOurs {
    /// Anything but one plain question of class IN for A or AAAA.
    Kind,
    /// A name that no hostname in the mesh can have.
    Name,
    /// No service, or none that this client may see or that has addresses for us to give out.
    Unknown,
}

impl NotOurs {
    /// A short phrase for logs.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Kind => "not a question for an address",
            Self::Name => "not a hostname",
            Self::Unknown => "not in the mesh",
        }
    }
}

/// What the mesh says to a question.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Answer {
    /// The service that was meant.
    pub service: ServiceName,
    /// Addresses of the family asked for, shuffled; none means that the name is known and has no such address.
    pub addresses: Vec<IpAddr>,
    /// When the name was understood without its search domain: how many of its labels remain. The addresses then
    /// belong to that shorter name, and a CNAME leads there.
    pub canonical_labels: Option<usize>,
}

/// What to do with a question.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Resolution {
    /// Answer it with this.
    Answer(Answer),
    /// Relay it to a name server.
    Forward(NotOurs),
}

/// Decides about questions; the same for all clients of a proxy.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Resolver {
    /// Domain of the cluster (`CLUSTER_DOMAIN`), such as `cluster.local`; lower case, no dot at its end.
    pub cluster_domain: Arc<str>,
    /// Whether IPv6 addresses are given out (`IPV6_ENABLED`).
    pub ipv6: bool,
    /// Namespace preferred where neither the client's nor a canonical one has the name (`PREFERED_SERVICE_NAMESPACE`).
    pub preferred_namespace: Option<Arc<str>>,
}

impl Resolver {
    /// Whether the mesh can have a say: one plain question for the address of something that looks like a hostname.
    /// The rest is relayed, whoever asks.
    #[must_use]
    pub fn concerns(query: &Query<'_>) -> bool {
        let Some(question) = query.question() else { return false };
        query.opcode() == 0
            && matches!(query.tail(), Tail::Plain(_))
            && question.class == CLASS_INTERNET
            && matches!(question.record_type, RecordType::A | RecordType::AAAA)
    }

    /// What to do with `query`, which `client` asks.
    #[must_use]
    pub fn resolve(&self, mesh: &Mesh, client: &Client<'_>, query: &Query<'_>, rng: &mut Rng) -> Resolution {
        let Some(question) = query.question().filter(|_| Self::concerns(query)) else {
            return Resolution::Forward(NotOurs::Kind);
        };
        let Some(hostname) = question.hostname() else { return Resolution::Forward(NotOurs::Name) };
        let wants_v6 = question.record_type == RecordType::AAAA;
        match self.addresses(mesh, client, &hostname, wants_v6, rng) {
            Some(answer) => Resolution::Answer(answer),
            None => Resolution::Forward(NotOurs::Unknown),
        }
    }

    /// What `client` is told when it asks for the addresses of `hostname` (lower case, no dot at its end), of one
    /// family. `None`: no service, or none that this client may see or that has addresses for us to give out.
    #[must_use]
    pub fn addresses(
        &self,
        mesh: &Mesh,
        client: &Client<'_>,
        hostname: &str,
        wants_v6: bool,
        rng: &mut Rng,
    ) -> Option<Answer> {
        let names =
            Names { client, domain: &self.cluster_domain, preferred: self.preferred_namespace.as_deref() };
        let found = names.find(mesh, hostname)?;
        let service = found.service;
        let family = |address: &IpAddr| address.is_ipv6() == wants_v6;
        let mut addresses: Vec<IpAddr> = if !self.gives(service.ip_families, wants_v6) {
            Vec::new()
        } else if let Some(pod) = found.pod {
            first(pod, family).into_iter().collect()
        } else if vips(service).next().is_none() {
            mesh.endpoints(&service.name).iter().filter_map(|endpoint| first(endpoint, family)).collect()
        } else {
            let near = vips(service).filter(|(network, _)| *network == client.network);
            near.map(|(_, address)| address.to_canonical()).filter(family).collect()
        };
        // Equal records make no set (RFC 2181 §5); pods on their nodes' network share addresses.
        addresses.sort_unstable();
        addresses.dedup();
        shuffle(&mut addresses, rng);
        Some(Answer { service: service.name.clone(), addresses, canonical_labels: found.stripped })
    }

    const fn gives(&self, families: IpFamilies, v6: bool) -> bool {
        match families {
            IpFamilies::Ipv4 => !v6,
            IpFamilies::Ipv6 => v6 && self.ipv6,
            IpFamilies::Automatic | IpFamilies::Dual => !v6 || self.ipv6,
        }
    }
}

/// The workload's first address of a family.
fn first(workload: &Workload, family: impl Fn(&IpAddr) -> bool) -> Option<IpAddr> {
    workload.addresses.iter().map(IpAddr::to_canonical).find(family)
}

/// Fisher and Yates.
fn shuffle(addresses: &mut [IpAddr], rng: &mut Rng) {
    for end in (1..addresses.len()).rev() {
        let bound = u64::try_from(end).unwrap_or(u64::MAX).saturating_add(1);
        addresses.swap(end, usize::try_from(rng.below(bound)).unwrap_or(0));
    }
}

#[cfg(test)]
mod tests;
