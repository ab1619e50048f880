//! Services that are given among the resources (`Service`, `ServiceEntry`): names of their ports and what is spoken there.
//!
//! Where services are, and whether they are there at all, the mesh's own tables say; what is given here only helps to
//! read and to warn.
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use adit_core::l7::{Protocol, Protocols};
use adit_core::mesh::ServiceName;
use serde::Deserialize;

use super::gateway::ISTIO_GROUP;
use super::problem::{Problems, Severity};
use super::{Object, Objects, World};

/// A port of a service.
#[derive(Clone, Debug)]
struct Port {
    name: Arc<str>,
    number: u16,
    protocol: Protocol,
}

/// A service, as far as it is of use here.
#[derive(Clone, Debug)]
struct Known {
    external: bool,
    headless: bool,
    ports: Vec<Port>,
}

/// What is known of a port of a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Presence {
    /// It is there.
    There,
    /// Services of this namespace are given, and it is none of them, or has no such port.
    Missing,
    /// It is there and stands for a name elsewhere (`type: ExternalName`).
    External,
    /// Nothing is given that would tell.
    Unknown,
}

/// The services that are given.
#[derive(Clone, Debug, Default)]
pub(super) struct Services {
    known: BTreeMap<ServiceName, Known>,
    /// Hosts of each `ServiceEntry`, by namespace and name.
    entries: BTreeMap<(Arc<str>, Arc<str>), Vec<ServiceName>>,
    /// Namespaces of which any `Service` is given.
    told: BTreeSet<Arc<str>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ServiceSpec {
    #[serde(default)]
    ports: Vec<ServicePort>,
    r#type: Option<String>,
    #[serde(rename = "clusterIP")]
    cluster_ip: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ServicePort {
    #[serde(default)]
    name: String,
    port: u16,
    protocol: Option<String>,
    app_protocol: Option<String>,
}

#[derive(Deserialize)]
struct EntrySpec {
    hosts: Vec<String>,
    #[serde(default)]
    ports: Vec<EntryPort>,
}

#[derive(Deserialize)]
struct EntryPort {
    #[serde(default)]
    name: String,
    number: u16,
    protocol: Option<String>,
}

impl Services {
    /// Those among `objects`.
    pub(super) fn new(objects: &Objects, world: &World, problems: &mut Problems) -> Self {
        let mut this = Self::default();
        for object in objects.of("", "Service") {
            this.told.insert(Arc::clone(&object.namespace));
            let Some(spec) = object.excerpt::<ServiceSpec>(problems) else { continue };
            let ports = spec.ports.iter().map(|port| {
                let udp =
                    port.protocol.as_deref().is_some_and(|protocol| protocol.eq_ignore_ascii_case("UDP"));
                let protocol = Protocol::of_port(&port.name, port.app_protocol.as_deref(), udp, port.port);
                Port { name: port.name.as_str().into(), number: port.port, protocol }
            });
            let known = Known {
                external: spec.r#type.as_deref() == Some("ExternalName"),
                headless: spec.cluster_ip.as_deref() == Some("None"),
                ports: ports.collect(),
            };
            this.known.insert(world.service(&object.namespace, &object.name), known);
        }
        for object in objects.of(ISTIO_GROUP, "ServiceEntry") {
            this.entry(object, problems);
        }
        this
    }

    fn entry(&mut self, object: &Object, problems: &mut Problems) {
        let Some(spec) = object.excerpt::<EntrySpec>(problems) else { return };
        let ports: Vec<_> = spec
            .ports
            .iter()
            .map(|port| {
                let protocol = Protocol::of_port(&port.name, port.protocol.as_deref(), false, port.number);
                Port { name: port.name.as_str().into(), number: port.number, protocol }
            })
            .collect();
        let mut hosts = Vec::new();
        for host in &spec.hosts {
            let name = ServiceName {
                namespace: Arc::clone(&object.namespace),
                hostname: host.to_ascii_lowercase().into(),
            };
            let known = Known { external: false, headless: false, ports: ports.clone() };
            if self.known.insert(name.clone(), known).is_some() {
                let text = format!(
                    "{host} is also the host of another object of this namespace; this one's ports count"
                );
                problems.push(object.id(), "spec.hosts", Severity::Conflict, text);
            }
            hosts.push(name);
        }
        self.entries.insert((Arc::clone(&object.namespace), Arc::clone(&object.name)), hosts);
    }

    /// What is spoken on all ports.
    pub(super) fn protocols(&self) -> Protocols {
        let mut protocols = Protocols::default();
        for (service, known) in &self.known {
            for port in &known.ports {
                protocols.insert(service.clone(), port.number, port.protocol);
            }
        }
        protocols
    }

    /// Whether a service is there, with this port if one is asked for.
    pub(super) fn presence(&self, service: &ServiceName, port: Option<u16>) -> Presence {
        match self.known.get(service) {
            Some(known) if known.external => Presence::External,
            Some(known) => {
                let there = |port| known.ports.iter().any(|known| known.number == port);
                if port.is_none_or(there) { Presence::There } else { Presence::Missing }
            }
            None if self.told.contains(&service.namespace) => Presence::Missing,
            None => Presence::Unknown,
        }
    }

    /// Whether a service is known to have no address of its own.
    pub(super) fn is_headless(&self, service: &ServiceName) -> bool {
        self.known.get(service).is_some_and(|known| known.headless)
    }

    /// The port of a name.
    pub(super) fn port(&self, service: &ServiceName, name: &str) -> Option<u16> {
        let ports = &self.known.get(service)?.ports;
        ports.iter().find(|port| *port.name == *name).map(|port| port.number)
    }

    /// The port of a service that has one alone.
    pub(super) fn only_port(&self, service: &ServiceName) -> Option<u16> {
        match &*self.known.get(service)?.ports {
            [port] => Some(port.number),
            _ => None,
        }
    }

    /// The hosts of a `ServiceEntry`.
    pub(super) fn entry_hosts(&self, namespace: &str, name: &str) -> Option<&[ServiceName]> {
        self.entries.get(&(namespace.into(), name.into())).map(Vec::as_slice)
    }

    /// The service that an object of `namespace` means by a hostname in full: the known one of this name, preferably that of the
    /// namespace. Where nothing tells who defines it, the name does if it is of the cluster, and else the namespace.
    pub(super) fn named(&self, hostname: &str, namespace: &str, world: &World) -> ServiceName {
        let own = ServiceName { namespace: namespace.into(), hostname: hostname.into() };
        let mut all = self.known.keys().filter(|name| *name.hostname == *hostname);
        let known = self.known.get_key_value(&own).map(|(name, _)| name).or_else(|| all.next());
        known.cloned().unwrap_or_else(|| {
            let suffix = format!(".svc.{}", world.cluster_domain);
            let name = hostname.strip_suffix(&*suffix).and_then(|name| name.split_once('.'));
            ServiceName { namespace: name.map_or(namespace, |(_, owner)| owner).into(), ..own }
        })
    }
}
