//! Which names a hostname may stand for, and the service or pod that has one of them (datapath §7.2).

use alloc::format;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::cmp::Reverse;

use super::resolver::Client;
use crate::mesh::{Mesh, Service, Workload};

/// A name that a hostname may stand for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Alias {
    /// In lower case, without the last dot.
    pub(super) name: String,
    /// Labels of the hostname that are left when a search domain is taken off its end; `None` if none was.
    pub(super) stripped: Option<usize>,
}

/// What a hostname leads to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Found<'m> {
    pub(super) service: &'m Arc<Service>,
    /// One pod of that service, where the hostname names it.
    pub(super) pod: Option<&'m Arc<Workload>>,
    /// As [`Alias::stripped`], but only where the name was met exactly.
    pub(super) stripped: Option<usize>,
}

/// What names mean to one client.
pub(super) struct Names<'a> {
    pub(super) client: &'a Client<'a>,
    /// Domain of the cluster, such as `cluster.local`.
    pub(super) domain: &'a str,
    /// Namespace preferred where neither the client's nor a canonical one has the name.
    pub(super) preferred: Option<&'a str>,
}

impl Names<'_> {
    /// Every name that `hostname` may stand for, best first: itself, its Kubernetes forms, then both again for what is
    /// left of it without each search domain.
    pub(super) fn aliases(&self, hostname: &str) -> Vec<Alias> {
        let mut aliases = Vec::<Alias>::new();
        let mut add = |name: &str, stripped| {
            let forms = [String::from(name)].into_iter().chain(kubernetes_forms(
                name,
                self.client.namespace,
                self.domain,
            ));
            for name in forms {
                if aliases.iter().all(|alias| alias.name != name) {
                    aliases.push(Alias { name, stripped });
                }
            }
        };
        add(hostname, None);
        for domain in self.client.search {
            if let Some(rest) = strip_domain(hostname, domain) {
                add(rest, Some(labels(rest)));
            }
        }
        aliases
    }

    /// The service or pod that the client means by `hostname`, which is in lower case and without the last dot.
    pub(super) fn find<'m>(&self, mesh: &'m Mesh, hostname: &str) -> Option<Found<'m>> {
        for Alias { name, stripped } in self.aliases(hostname) {
            if let Some(service) = self.service(mesh, &name) {
                return Some(Found { service, pod: None, stripped });
            }
            if let Some((service, pod)) = self.pod(mesh, &name) {
                return Some(Found { service, pod: Some(pod), stripped });
            }
            if let Some(service) = wildcards(&name).find_map(|wildcard| self.service(mesh, &wildcard)) {
                return Some(Found { service, pod: None, stripped: None });
            }
        }
        None
    }

    /// The service of this hostname that the client may see and we can answer for: its own namespace's before a
    /// canonical one, before the preferred namespace's, before the first.
    fn service<'m>(&self, mesh: &'m Mesh, hostname: &str) -> Option<&'m Arc<Service>> {
        let usable = mesh
            .services_by_hostname(hostname)
            .filter(|service| service.is_visible_to(self.client.namespace) && self.is_usable(service));
        // `min_by_key` keeps the first of equals.
        usable.min_by_key(|service| {
            let namespace = &*service.name.namespace;
            Reverse((
                namespace == self.client.namespace,
                service.canonical,
                Some(namespace) == self.preferred,
            ))
        })
    }

    /// The pod that `<pod>.<service>.<namespace>.svc.<domain>` names, where the service is headless. Of several (one per
    /// cluster) one of the client's cluster and namespace, then of its cluster, then of its namespace.
    fn pod<'m>(&self, mesh: &'m Mesh, hostname: &str) -> Option<(&'m Arc<Service>, &'m Arc<Workload>)> {
        let (pod, service) = hostname.split_once('.')?;
        if !self.is_kubernetes(service) {
            return None;
        }
        let service = self.service(mesh, service).filter(|service| vips(service).next().is_none())?;
        let named = mesh.endpoints(&service.name).iter().filter(|workload| &*workload.name == pod);
        let best = named.min_by_key(|workload| {
            let cluster = &*workload.cluster == self.client.cluster;
            Reverse((cluster, &*workload.namespace == self.client.namespace))
        });
        best.map(|pod| (service, pod))
    }

    /// Whether it has addresses that we may give out. Without virtual addresses only a Kubernetes service does (it is
    /// headless); any other is an outside host, whose addresses its own name servers know.
    fn is_usable(&self, service: &Service) -> bool {
        vips(service).next().is_some() || self.is_kubernetes(&service.name.hostname)
    }

    fn is_kubernetes(&self, hostname: &str) -> bool {
        strip_domain(hostname, self.domain).is_some_and(|rest| rest.ends_with(".svc"))
    }
}

/// Virtual addresses that stand for one address, with their networks; ranges are never given out.
pub(super) fn vips(service: &Service) -> impl Iterator<Item = (&str, core::net::IpAddr)> {
    let exact = service.addresses.iter().map(|vip| (&*vip.network, vip.address));
    let full = service.cidrs.iter().filter(|range| range.cidr.prefix_len() == range.cidr.max_prefix_len());
    exact.chain(full.map(|range| (&*range.network, range.cidr.addr())))
}

/// What a name without the cluster's domain may be short for, by its number of labels.
fn kubernetes_forms(name: &str, namespace: &str, domain: &str) -> Vec<String> {
    let is_svc = name.ends_with(".svc");
    match labels(name) {
        1 => alloc::vec![format!("{name}.{namespace}.svc.{domain}")],
        2 => alloc::vec![format!("{name}.svc.{domain}"), format!("{name}.{namespace}.svc.{domain}")],
        3 if is_svc => alloc::vec![format!("{name}.{domain}"), format!("{name}.svc.{domain}")],
        3 => alloc::vec![format!("{name}.svc.{domain}")],
        4 if is_svc => alloc::vec![format!("{name}.{domain}")],
        _ => Vec::new(),
    }
}

/// `*.` and ever less of the name's end, down to its last label.
fn wildcards(name: &str) -> impl Iterator<Item = String> {
    let mut rest = name;
    core::iter::from_fn(move || {
        (_, rest) = rest.split_once('.')?;
        Some(format!("*.{rest}"))
    })
}

/// What stands before `.domain` at the end of `name`; `None` where nothing would be left, and for a domain that is
/// empty or has a wildcard.
fn strip_domain<'n>(name: &'n str, domain: &str) -> Option<&'n str> {
    let domain = domain.strip_suffix('.').unwrap_or(domain);
    if domain.is_empty() || domain.starts_with('*') {
        return None;
    }
    let split = name.len().checked_sub(domain.len())?;
    let (rest, end) = name.split_at_checked(split)?;
    let rest = rest.strip_suffix('.')?;
    (end.eq_ignore_ascii_case(domain) && !rest.is_empty()).then_some(rest)
}

fn labels(name: &str) -> usize {
    name.split('.').count()
}

#[cfg(test)]
mod tests;
