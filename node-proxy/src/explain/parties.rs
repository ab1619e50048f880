//! Who is meant by `--from` and `--to`.
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;
use std::sync::Arc;

use adit_core::dns::{Answer, Client, Resolver, kubernetes_search};
use adit_core::mesh::{Mesh, Workload};
use adit_core::rng::Rng;
use adit_ops::admin::undump::Undumped;
use serde::Serialize;

/// How many of several workloads of one name are listed.
const MAX_LISTED: usize = 5;
/// As in the resolver configuration of Kubernetes pods: names with fewer dots are first tried with search domains.
const DOTS: usize = 5;

/// Why `--from` is nobody.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FromError {
    /// Nobody is called that.
    #[error(
        "{0:?}: no workload has this uid, namespace/name or address; `istioctl ztunnel-config workloads` lists them"
    )]
    Nobody(String),
    /// Nobody in this network has the address.
    #[error("{address}: no workload of network {network:?} owns this address{}", Others(.others))]
    NoOwner {
        /// The address.
        address: IpAddr,
        /// The network.
        network: String,
        /// Uids of workloads that have it all the same: of other networks, or on their nodes' network.
        others: Vec<String>,
    },
    /// Several are called that.
    #[error("{name:?} is the name of several workloads: give the uid of one{}", Others(.uids))]
    Several {
        /// The name.
        name: String,
        /// Their uids.
        uids: Vec<String>,
    },
}

/// A tail for error texts.
struct Others<'a>(&'a [String]);

impl fmt::Display for Others<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, uid) in self.0.iter().take(MAX_LISTED).enumerate() {
            write!(f, "{}{uid}", if position == 0 { "; there is " } else { ", " })?;
        }
        if self.0.len() > MAX_LISTED { write!(f, " and {} more", self.0.len() - MAX_LISTED) } else { Ok(()) }
    }
}

/// The workload that connects.
#[derive(Debug)]
pub(super) struct Source<'a> {
    pub(super) workload: &'a Workload,
    /// Its address, if that is how it was named.
    address: Option<IpAddr>,
}

impl Source<'_> {
    /// The address it connects from to `target`: the one it was named by, else its first of that family, else its
    /// first. The unspecified address if it has none.
    pub(super) fn client(&self, target: IpAddr) -> IpAddr {
        let own = || self.workload.addresses.iter().map(IpAddr::to_canonical);
        let alike = own().find(|address| address.is_ipv4() == target.is_ipv4());
        let none = IpAddr::from([0, 0, 0, 0]);
        self.address.or(alike).or_else(|| own().next()).unwrap_or(none)
    }
}

/// The workload of this uid, `namespace/name`, address, or `network/address`.
pub(super) fn source<'a>(mesh: &'a Mesh, from: &str) -> Result<Source<'a>, FromError> {
    if let Some(workload) = mesh.workload(from) {
        return Ok(Source { workload, address: None });
    }
    if let Ok(address) = from.parse() {
        return owner(mesh, mesh.network(), address);
    }
    let (before, after) = from.rsplit_once('/').ok_or_else(|| FromError::Nobody(from.to_owned()))?;
    if let Ok(address) = after.parse() {
        return owner(mesh, before, address);
    }
    let named =
        mesh.workloads().filter(|workload| &*workload.namespace == before && &*workload.name == after);
    match named.collect::<Vec<_>>()[..] {
        [] => Err(FromError::Nobody(from.to_owned())),
        [workload] => Ok(Source { workload, address: None }),
        ref several => Err(FromError::Several { name: from.to_owned(), uids: uids(several.iter().copied()) }),
    }
}

fn uids<'a>(workloads: impl Iterator<Item = &'a Arc<Workload>>) -> Vec<String> {
    workloads.map(|workload| workload.uid.to_string()).collect()
}

fn owner<'a>(mesh: &'a Mesh, network: &str, address: IpAddr) -> Result<Source<'a>, FromError> {
    let address = address.to_canonical();
    if let Some(workload) = mesh.workload_by_address(network, address) {
        return Ok(Source { workload, address: Some(address) });
    }
    let has = |workload: &&Arc<Workload>| workload.addresses.iter().any(|own| own.to_canonical() == address);
    let others = uids(mesh.workloads().filter(has));
    Err(FromError::NoOwner { address, network: network.to_owned(), others })
}

/// Where it connects to: `HOST:PORT` or `IP:PORT`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum To {
    /// An address.
    Address(SocketAddr),
    /// A name, in lower case, and a port.
    Name(String, u16),
}

/// Why a text is no [`To`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[error("expected HOST:PORT, such as echo.default:80, 10.0.0.1:80 or [fd00::1]:80")]
pub struct ToSyntax;

impl FromStr for To {
    type Err = ToSyntax;

    fn from_str(text: &str) -> Result<Self, ToSyntax> {
        if let Ok(address) = text.parse() {
            return Ok(Self::Address(address));
        }
        let (host, port) = text.rsplit_once(':').ok_or(ToSyntax)?;
        if host.is_empty() || host.contains([':', '/', '[', ']', ' ']) {
            return Err(ToSyntax);
        }
        Ok(Self::Name(host.to_ascii_lowercase(), port.parse().map_err(|_| ToSyntax)?))
    }
}

/// Why `--to` is nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ToError {
    /// The mesh does not have the name.
    #[error(
        "{0:?}: no service of the mesh that the workload may see has this name; give an address for what is outside"
    )]
    Unknown(String),
    /// The name has no address.
    #[error("{name:?} is service {service}, which has no address in the workload's network; give an address")]
    NoAddress {
        /// The name.
        name: String,
        /// `namespace/hostname`
        service: String,
    },
}

/// A name that was looked up.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Asked {
    /// As it was given.
    pub(super) name: String,
    /// The service it means, `namespace/hostname`.
    pub(super) service: String,
    /// The addresses that the DNS proxy would answer with, of one family.
    pub(super) addresses: Vec<IpAddr>,
}

/// The address that `workload` would connect to; names are looked up as the DNS proxy does.
pub(super) fn target(
    dump: &Undumped,
    workload: &Workload,
    to: &To,
    rng: &mut Rng,
) -> Result<(SocketAddr, Option<Asked>), ToError> {
    let (name, port) = match to {
        To::Address(address) => return Ok((*address, None)),
        To::Name(name, port) => (name, *port),
    };
    let settings = &dump.settings;
    let resolver = Resolver {
        cluster_domain: Arc::clone(&settings.cluster_domain),
        ipv6: settings.ipv6,
        preferred_namespace: settings.preferred_namespace.clone(),
    };
    let search = kubernetes_search(&workload.namespace, &settings.cluster_domain);
    let client = Client::new(workload, &search);
    let mut unusable = None;
    for candidate in candidates(name, &search) {
        for wants_v6 in [false, true] {
            let answer = resolver.addresses(&dump.mesh, &client, &candidate, wants_v6, rng);
            let Some(Answer { service, addresses, .. }) = answer else { continue };
            let service = service.to_string();
            match addresses.first() {
                Some(address) => {
                    let target = SocketAddr::new(*address, port);
                    return Ok((target, Some(Asked { name: name.clone(), service, addresses })));
                }
                None => unusable = unusable.or(Some(service)),
            }
        }
    }
    Err(match unusable {
        Some(service) => ToError::NoAddress { name: name.clone(), service },
        None => ToError::Unknown(name.clone()),
    })
}

/// The names that a pod's resolver asks for, in its order.
fn candidates(name: &str, search: &[Arc<str>]) -> Vec<String> {
    if let Some(absolute) = name.strip_suffix('.') {
        return vec![absolute.to_owned()];
    }
    let mut names: Vec<_> = search.iter().map(|domain| format!("{name}.{domain}")).collect();
    let dots = name.bytes().filter(|octet| *octet == b'.').count();
    let place = if dots < DOTS { names.len() } else { 0 };
    names.insert(place, name.to_owned());
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_connected_to() {
        let name = |name: &str, port| Ok(To::Name(name.to_owned(), port));
        assert_eq!("Echo.Default:80".parse(), name("echo.default", 80));
        assert_eq!("[fd00::1]:80".parse(), Ok(To::Address("[fd00::1]:80".parse().unwrap())));
        assert_eq!("10.0.0.1:80".parse(), Ok(To::Address("10.0.0.1:80".parse().unwrap())));
        for bad in ["echo", "echo:", "echo:http", ":80", "fd00::1:80", "http://echo:80", "echo:65536", ""] {
            assert_eq!(bad.parse::<To>(), Err(ToSyntax), "{bad}");
        }
    }

    #[test]
    fn names_are_tried_as_a_pods_resolver_does() {
        let search = kubernetes_search("n", "d");
        assert_eq!(candidates("a", &search), ["a.n.svc.d", "a.svc.d", "a.d", "a"]);
        assert_eq!(candidates("a.b.", &search), ["a.b"]);
        assert_eq!(candidates("a.b.c.d.e.f", &search)[0], "a.b.c.d.e.f");
    }
}
