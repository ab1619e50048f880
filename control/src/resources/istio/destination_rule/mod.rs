//! `DestinationRule`: how endpoints of a host are chosen, how much they bear, and how they are connected to (waypoint.md §13).
mod policy;
mod spec;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use adit_core::l7::upstream::{Destination, Destinations, PortPolicies, Selector};

use self::policy::Blocks;
use super::super::gateway::ISTIO_GROUP;
use super::super::{Objects, Problems, Severity, World};
use super::values::{Reader, full_host, is_exported};

/// What is said of a host or a subset: of all ports, and of some.
#[derive(Clone, Default)]
struct Said {
    all: Blocks,
    ports: BTreeMap<u16, Blocks>,
}

/// What is said of one host by the rules of one namespace.
#[derive(Clone, Default)]
struct Host {
    policy: Option<Said>,
    subsets: BTreeMap<Arc<str>, (Selector, Option<Said>)>,
}

/// Translates all `DestinationRule`s that the waypoint may see.
pub(in super::super) fn translate(objects: &Objects, world: &World, problems: &mut Problems) -> Destinations {
    let mut hosts: BTreeMap<(Arc<str>, Arc<str>), Host> = BTreeMap::new();
    for object in objects.by_age(ISTIO_GROUP, "DestinationRule") {
        let Some(spec) = object.spec::<spec::Spec>(problems) else { continue };
        let mut reader = Reader { object, problems };
        if spec.workload_selector.is_some() {
            let text = "rules with a workloadSelector are for sidecars; at a waypoint this one has no effect";
            reader.tell(Severity::Note, "spec.workloadSelector", text);
            continue;
        }
        if !is_exported(&spec.export_to, &object.namespace, world) {
            continue;
        }
        let host = full_host(&spec.host, &object.namespace, world);
        if host.contains('*') && &*host != "*" && !host.starts_with("*.") {
            let text = format!("{host:?} is no host: expected a name, *.DOMAIN or *");
            reader.tell(Severity::Malformed, "spec.host", text);
            continue;
        }
        add(&mut reader, hosts.entry((Arc::clone(&object.namespace), host)).or_default(), &spec);
    }
    let mut destinations = Destinations::new(Arc::clone(&world.namespace), Arc::clone(&world.root_namespace));
    for ((namespace, name), host) in hosts {
        destinations.insert(namespace, &name, host.into_destination());
    }
    destinations
}

/// Adds what one more rule says of a host.
fn add(reader: &mut Reader<'_>, host: &mut Host, spec: &spec::Spec) {
    if let Some(policy) = &spec.traffic_policy {
        let said = said(reader, "spec.trafficPolicy", policy);
        if host.policy.is_some() {
            let text = "an older DestinationRule of this namespace has the trafficPolicy of this host; only the subsets of this one count";
            reader.tell(Severity::Conflict, "spec.trafficPolicy", text);
        } else {
            host.policy = Some(said);
        }
    }
    for (index, subset) in spec.subsets.iter().enumerate() {
        let field = format!("spec.subsets[{index}]");
        let selector = Selector::new(subset.labels.iter().map(|(key, value)| (&**key, &**value)));
        if let Selector::Unknown(key) = &selector {
            let text = "the mesh's tables do not tell who has this label, so nobody is in the subset and its requests get status 503; \
                        use version (service.istio.io/canonical-revision) or app (service.istio.io/canonical-name)";
            reader.unsupported(&format!("{field}.labels.{key}"), text);
        }
        let policy = subset.traffic_policy.as_ref();
        let said = policy.map(|policy| said(reader, &format!("{field}.trafficPolicy"), policy));
        if host.subsets.contains_key(&*subset.name) {
            let text = format!("subset {} of this host is there already; the first one counts", subset.name);
            reader.tell(Severity::Conflict, &format!("{field}.name"), text);
            continue;
        }
        host.subsets.insert(subset.name.as_str().into(), (selector, said));
    }
}

fn said(reader: &mut Reader<'_>, field: &str, policy: &spec::Policy) -> Said {
    let all = Blocks::of_policy(reader, field, policy);
    let mut ports = BTreeMap::new();
    for (index, settings) in policy.port_level_settings.iter().enumerate() {
        let field = format!("{field}.portLevelSettings[{index}]");
        let blocks = Blocks::of_port(reader, &field, settings);
        match &settings.port {
            None => reader.tell(
                Severity::Malformed,
                &field,
                "port.number is missing: it says which port these are for",
            ),
            Some(port) if ports.contains_key(&port.number) => {
                let text = format!("port {} is there already; the first one counts", port.number);
                reader.tell(Severity::Malformed, &field, text);
            }
            Some(port) => {
                ports.insert(port.number, blocks);
            }
        }
    }
    Said { all, ports }
}

impl Host {
    fn into_destination(self) -> Destination {
        let Self { policy, subsets } = self;
        let policy = policy.unwrap_or_default();
        let settle = |subset: Option<&Said>, port: Option<u16>| {
            let named = |said: &Said| port.and_then(|port| said.ports.get(&port)).cloned();
            // What is said of a port is all there is for it: nothing comes from what is said of all.
            let base = named(&policy).unwrap_or_else(|| policy.all.clone());
            let blocks = match subset {
                None => base,
                Some(said) => match named(said) {
                    Some(own) => base.overridden(&own, true),
                    None => base.overridden(&said.all, false),
                },
            };
            Arc::new(blocks.into_policy())
        };
        let policies = |subset: Option<&Said>| {
            let own = subset.into_iter().flat_map(|said| said.ports.keys());
            let ports: BTreeSet<u16> = policy.ports.keys().chain(own).copied().collect();
            PortPolicies {
                others: settle(subset, None),
                named: ports.into_iter().map(|port| (port, settle(subset, Some(port)))).collect(),
            }
        };
        Destination {
            policies: policies(None),
            subsets: subsets
                .iter()
                .map(|(name, (selector, said))| {
                    (Arc::clone(name), (selector.clone(), policies(said.as_ref())))
                })
                .collect(),
        }
    }
}
