//! `Telemetry`: which metrics, access logs and spans are made of requests (waypoint.md §18), with the providers that the mesh's
//! settings define.
//!
//! Policies lie in layers, of which a later one overrides an earlier: the mesh's (root namespace), our namespace's, that of the
//! service's namespace, and those with `targetRefs`: to our class, to our Gateway, to the service.
mod logging;
mod metrics;
mod spec;
#[cfg(test)]
mod tests;
mod tracing;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use adit_core::l7::telemetry::{MetricRules, Telemetries, Telemetry};
use adit_core::mesh::ServiceName;

use self::spec::TargetRef;
use super::super::gateway::{GATEWAY_GROUP, ISTIO_GROUP};
use super::super::services::Services;
use super::super::{Objects, Problems, Severity, World};
use super::mesh_config::MeshConfig;
use super::values::Reader;

/// The API group.
pub(in super::super) const GROUP: &str = "telemetry.istio.io";

/// A policy that has been read.
struct Policy {
    metrics: Vec<metrics::Entry>,
    logging: Vec<logging::Entry>,
    tracing: Vec<tracing::Entry>,
}

/// What a policy is for.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Scope {
    /// A namespace; the root's is the mesh.
    Namespace(Arc<str>),
    /// All Gateways of our class.
    Class,
    /// Our Gateway.
    Gateway,
    /// A service.
    Service(ServiceName),
}

/// All policies by what they are for, each list in the order in which they count.
type Policies = BTreeMap<Scope, Vec<Arc<Policy>>>;

/// Translates all `Telemetry` objects.
pub(in super::super) fn translate(
    objects: &Objects,
    world: &World,
    services: &Services,
    mesh: &MeshConfig,
    problems: &mut Problems,
) -> Telemetries {
    let policies = read(objects, world, services, mesh, problems);
    metrics::check_defaults(mesh, problems);
    let defaults = Defaults {
        logging: logging::Defaults::new(mesh, problems),
        tracing: tracing::Defaults::new(mesh, problems),
    };
    let namespaces: BTreeSet<&Arc<str>> = policies
        .keys()
        .filter_map(|scope| match scope {
            Scope::Namespace(namespace) => Some(namespace),
            Scope::Class | Scope::Gateway | Scope::Service(_) => None,
        })
        .collect();
    let services = policies.keys().filter_map(|scope| match scope {
        Scope::Service(service) => Some(service),
        Scope::Class | Scope::Gateway | Scope::Namespace(_) => None,
    });
    let of = |namespace: Option<&Arc<str>>, service: Option<&ServiceName>| {
        Arc::new(defaults.merged(&layers(&policies, world, namespace, service)))
    };
    let elsewhere = namespaces.into_iter().filter(|name| !is_ours(name, world));
    Telemetries {
        default: of(None, None),
        namespaces: elsewhere.map(|name| (Arc::clone(name), of(Some(name), None))).collect(),
        services: services.map(|name| (name.clone(), of(Some(&name.namespace), Some(name)))).collect(),
    }
}

/// Whether what is said for a namespace holds for all that we do.
fn is_ours(namespace: &Arc<str>, world: &World) -> bool {
    *namespace == world.root_namespace || *namespace == world.namespace
}

/// The policies for a service, or of a service of a namespace: in the order in which they count.
fn layers<'a>(
    policies: &'a Policies,
    world: &World,
    namespace: Option<&Arc<str>>,
    service: Option<&ServiceName>,
) -> Vec<&'a Policy> {
    let mut scopes = vec![Scope::Namespace(Arc::clone(&world.root_namespace))];
    if world.namespace != world.root_namespace {
        scopes.push(Scope::Namespace(Arc::clone(&world.namespace)));
    }
    scopes.extend(
        namespace.filter(|name| !is_ours(name, world)).map(|name| Scope::Namespace(Arc::clone(name))),
    );
    scopes.extend([Scope::Class, Scope::Gateway]);
    scopes.extend(service.map(|service| Scope::Service(service.clone())));
    scopes.iter().filter_map(|scope| policies.get(scope)).flatten().map(Arc::as_ref).collect()
}

struct Defaults {
    logging: logging::Defaults,
    tracing: tracing::Defaults,
}

impl Defaults {
    fn merged(&self, layers: &[&Policy]) -> Telemetry {
        let mut rules = MetricRules::default();
        for entry in layers.iter().flat_map(|policy| &policy.metrics) {
            entry.apply(&mut rules);
        }
        let logging: Vec<&[logging::Entry]> = layers.iter().map(|policy| &*policy.logging).collect();
        Telemetry {
            metrics: Arc::new(rules),
            access_logs: self.logging.merged(&logging),
            tracing: self.tracing.merged(layers.iter().flat_map(|policy| &policy.tracing)),
        }
    }
}

fn read(
    objects: &Objects,
    world: &World,
    services: &Services,
    mesh: &MeshConfig,
    problems: &mut Problems,
) -> Policies {
    let mut policies = Policies::new();
    for object in objects.by_age(GROUP, "Telemetry") {
        let Some(mut spec) = object.spec::<spec::Spec>(problems) else { continue };
        let mut reader = Reader { object, problems };
        let selects = spec.selector.take().is_some_and(|selector| !selector.match_labels.is_empty());
        let targets: Vec<TargetRef> =
            spec.target_ref.take().into_iter().chain(std::mem::take(&mut spec.target_refs)).collect();
        if selects {
            let text = "a waypoint follows policies with targetRefs or without selector; this one has no effect on it";
            reader.tell(Severity::Note, "spec.selector", text);
            continue;
        }
        let mut scopes = BTreeSet::new();
        for (place, target) in targets.iter().enumerate() {
            scopes.extend(aimed(&mut reader, services, world, place, target));
        }
        if targets.is_empty() {
            let scope = Scope::Namespace(Arc::clone(&object.namespace));
            if policies.contains_key(&scope) {
                let text = "an older policy is for the same namespace already; this one has no effect";
                reader.tell(Severity::Conflict, "metadata.name", text);
                continue;
            }
            scopes.insert(scope);
        }
        // Also when it is for nobody here: what is wrong with it is told.
        let policy = Arc::new(Policy {
            metrics: metrics::read(&mut reader, mesh, &spec.metrics),
            logging: logging::read(&mut reader, mesh, &spec.access_logging),
            tracing: tracing::read(&mut reader, mesh, &spec.tracing),
        });
        for scope in scopes {
            policies.entry(scope).or_default().push(Arc::clone(&policy));
        }
    }
    policies
}

/// What a target of a policy is, as far as that concerns us.
fn aimed(
    reader: &mut Reader<'_>,
    services: &Services,
    world: &World,
    place: usize,
    target: &TargetRef,
) -> Vec<Scope> {
    let field = format!("spec.targetRefs[{place}]");
    let namespace = Arc::clone(&reader.object.namespace);
    if target.namespace.as_ref().is_some_and(|other| **other != *namespace) {
        let text = "a policy is for objects of its own namespace only; this target has no effect";
        reader.tell(Severity::Malformed, &format!("{field}.namespace"), text);
        return Vec::new();
    }
    match (&*target.group, &*target.kind) {
        (GATEWAY_GROUP, "Gateway") => {
            world.is_gateway(&namespace, &target.name).then_some(Scope::Gateway).into_iter().collect()
        }
        (GATEWAY_GROUP, "GatewayClass") => {
            if namespace != world.root_namespace {
                let text =
                    format!("policies for a class belong to the root namespace, {}", world.root_namespace);
                reader.tell(Severity::Malformed, &field, text);
                return Vec::new();
            }
            world.classes.contains(&*target.name).then_some(Scope::Class).into_iter().collect()
        }
        ("" | "core", "Service") => vec![Scope::Service(world.service(&namespace, &target.name))],
        (ISTIO_GROUP, "ServiceEntry") => {
            let Some(hosts) = services.entry_hosts(&namespace, &target.name) else {
                let text = format!("there is no ServiceEntry {namespace}/{} that can be read", target.name);
                reader.tell(Severity::Unresolved, &field, text);
                return Vec::new();
            };
            hosts.iter().cloned().map(Scope::Service).collect()
        }
        (group, kind) => {
            let text = format!(
                "{kind:?} of group {group:?} cannot be a target: Gateway, GatewayClass, Service and ServiceEntry can"
            );
            reader.unsupported(&field, text);
            Vec::new()
        }
    }
}
