//! What policies are for: `targetRefs`, and what waypoints make of `selector` (waypoint.md §11.1).
use std::sync::Arc;

use adit_core::l7::authz::Target;
use serde::Deserialize;
use serde_json::Value;

use super::super::gateway::{GATEWAY_GROUP, ISTIO_GROUP};
use super::super::problem::{Problems, Severity};
use super::super::services::{Presence, Services};
use super::super::{Object, World};

/// Targets of a policy, at most.
const MAX_TARGETS: usize = 16;
/// Istio's own class.
const ISTIO_CLASS: &str = "istio-waypoint";

/// One of the targets.
#[derive(Debug, Deserialize)]
pub(super) struct TargetRef {
    #[serde(default)]
    group: String,
    kind: String,
    name: String,
    namespace: Option<String>,
}

/// The fields that say what a policy is for.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Refs {
    selector: Option<Value>,
    target_ref: Option<Value>,
    target_refs: Option<Vec<Value>>,
}

/// What a policy is for.
#[derive(Debug, PartialEq)]
pub(super) struct Attached {
    /// Those of its targets that are ours; empty: it is none of our business.
    pub(super) targets: Vec<Target>,
    /// Whether something about that makes no sense, so that nobody can tell what was meant.
    pub(super) malformed: bool,
}

/// Reads what `object` is for, if that is a waypoint's business at all.
pub(super) fn attached(
    object: &Object,
    world: &World,
    services: &Services,
    problems: &mut Problems,
) -> Attached {
    let nothing = Attached { targets: Vec::new(), malformed: false };
    let body = object.body();
    let Some(spec) = body.get("spec").filter(|spec| !spec.is_null()) else {
        problems.push(object.id(), "spec", Severity::Note, UNTARGETED);
        return nothing;
    };
    // Only these three fields: the rest is read by whoever knows the kind.
    let Ok(refs) = Refs::deserialize(spec) else {
        let text = "targetRefs must be a list of objects: everything in reach of the policy is refused until they are";
        problems.push(object.id(), "spec.targetRefs", Severity::Malformed, text);
        return Attached { targets: everything(object, world), malformed: true };
    };
    let single = refs.target_ref.filter(|target| !target.is_null());
    let list = refs.target_refs.unwrap_or_default();
    let mut all: Vec<(String, &Value)> = Vec::new();
    all.extend(single.iter().map(|target| ("spec.targetRef".to_owned(), target)));
    all.extend(list.iter().enumerate().map(|(place, target)| (format!("spec.targetRefs[{place}]"), target)));
    if all.is_empty() {
        let field =
            if refs.selector.is_some_and(|selector| !selector.is_null()) { "spec.selector" } else { "spec" };
        problems.push(object.id(), field, Severity::Note, UNTARGETED);
        return nothing;
    }
    let mut found = nothing;
    let mut wrong = |field: &str, text: &str, problems: &mut Problems| {
        problems.push(object.id(), field, Severity::Malformed, text);
        found.malformed = true;
    };
    if spec.get("selector").is_some_and(|selector| !selector.is_null()) {
        wrong("spec.selector", "a policy has a selector or targetRefs, not both", problems);
    }
    if single.is_some() && !list.is_empty() {
        wrong("spec.targetRef", "a policy has targetRef or targetRefs, not both", problems);
    }
    if list.len() > MAX_TARGETS {
        let text = format!("{} targets, but at most {MAX_TARGETS} are allowed", list.len());
        wrong("spec.targetRefs", &text, problems);
    }
    for (field, value) in all {
        let before = problems.count();
        let target = object.read::<TargetRef>(&field, value, problems);
        if problems.count() > before {
            found.malformed = true;
        }
        match target {
            Some(target) => found.targets.extend(resolve(object, &field, &target, world, services, problems)),
            None => found.targets.extend(everything(object, world)),
        }
    }
    found
}

const UNTARGETED: &str = "waypoints take no notice of a policy without targetRefs: ztunnel does, as far as it can; name what it is for in targetRefs if a waypoint shall";

/// All that a policy of this namespace could be for.
fn everything(object: &Object, world: &World) -> Vec<Target> {
    let mut all = vec![Target::Namespace(Arc::clone(&object.namespace))];
    if object.namespace == world.namespace || object.namespace == world.root_namespace {
        all.push(Target::Gateway);
    }
    all
}

fn resolve(
    object: &Object,
    field: &str,
    target: &TargetRef,
    world: &World,
    services: &Services,
    problems: &mut Problems,
) -> Option<Target> {
    let mut told = |field: String, severity, text: String| problems.push(object.id(), field, severity, text);
    if let Some(namespace) = target.namespace.as_deref().filter(|namespace| !namespace.is_empty()) {
        let text = format!(
            "a policy is for what is in its own namespace: it has no effect on {} in {namespace}",
            target.name
        );
        told(format!("{field}.namespace"), Severity::Malformed, text);
        return None;
    }
    let (namespace, name) = (&object.namespace, target.name.as_str());
    match (&*target.group, &*target.kind) {
        ("" | "core", "Service") => {
            let service = world.service(namespace, name);
            if services.presence(&service, None) == Presence::Missing {
                let text = format!("no Service {name} is given in namespace {namespace}");
                told(field.to_owned(), Severity::Unresolved, text);
            }
            Some(Target::Service(service))
        }
        (ISTIO_GROUP, "ServiceEntry") => {
            Some(Target::ServiceEntry { namespace: Arc::clone(namespace), name: name.into() })
        }
        // Another waypoint's are that one's business.
        (GATEWAY_GROUP, "Gateway") => world.is_gateway(namespace, name).then_some(Target::Gateway),
        (GATEWAY_GROUP, "GatewayClass") if *namespace != world.root_namespace => {
            let text =
                format!("only policies of namespace {} may be for a whole class", world.root_namespace);
            told(field.to_owned(), Severity::Malformed, text);
            None
        }
        (GATEWAY_GROUP, "GatewayClass") if world.classes.contains(name) => Some(Target::Class),
        (GATEWAY_GROUP, "GatewayClass") => {
            if name == ISTIO_CLASS {
                let text = format!("has no effect here: this waypoint is of class {}", World::CLASS);
                told(format!("{field}.name"), Severity::Note, text);
            }
            None
        }
        (group, kind) => {
            let text = format!(
                "{kind} of group {group:?} is nothing that a policy can be for: expected Service, ServiceEntry, Gateway or GatewayClass"
            );
            told(format!("{field}.kind"), Severity::Unsupported, text);
            None
        }
    }
}
