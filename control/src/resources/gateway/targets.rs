//! What policies of backends are for (`targetRefs`): services of their own namespace, or one port of them.
use std::sync::Arc;

use adit_core::mesh::ServiceName;
use serde::Deserialize;

use super::super::Object;
use super::super::problem::ObjectName;
use super::super::services::Presence;
use super::super::status::ParentRef;
use super::ISTIO_GROUP;
use super::reading::Context;

/// What a policy is for.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct TargetRef {
    group: String,
    kind: String,
    name: String,
    section_name: Option<String>,
}

/// The part of a service that a policy is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Section {
    /// All ports of which nothing else is said.
    All,
    /// This one.
    Port(u16),
    /// A port whose number nobody tells.
    Unknown,
}

/// Services, each with the part that is meant.
type Services = Vec<(ServiceName, Section)>;

/// What a target is.
#[derive(Debug)]
pub(super) struct Targets {
    /// As it is told of.
    pub(super) of: ParentRef,
    /// The services, and what of them is not among the resources: they count all the same, as what is given may not be all.
    /// Or why it is none.
    pub(super) found: Result<(Services, Option<String>), String>,
}

/// Looks up a target of a policy.
pub(super) fn resolve(object: &Object, target: &TargetRef, context: Context<'_>) -> Targets {
    let name = ObjectName {
        group: target.group.as_str().into(),
        kind: target.kind.as_str().into(),
        namespace: Arc::clone(&object.namespace),
        name: target.name.as_str().into(),
    };
    let section = target.section_name.as_deref().map(Into::into);
    let of = ParentRef { object: name, section, port: None };
    let found = services(&of, context);
    Targets { of, found }
}

fn services(of: &ParentRef, context: Context<'_>) -> Result<(Services, Option<String>), String> {
    let object = &of.object;
    let services = match (&*object.group, &*object.kind) {
        ("" | "core", "Service") => vec![context.world.service(&object.namespace, &object.name)],
        (ISTIO_GROUP, "ServiceEntry") => {
            let hosts = context.services.entry_hosts(&object.namespace, &object.name);
            hosts.ok_or_else(|| format!("{object} is not among the resources"))?.to_vec()
        }
        _ => return Err(format!("{object} is no target: expected a Service or a ServiceEntry")),
    };
    let (mut found, mut missing) = (Vec::new(), None);
    for service in services {
        let presence = context.services.presence(&service, None);
        if presence == Presence::Missing {
            missing = Some(format!("{object} is not among the resources"));
        }
        let section = match of.section.as_deref() {
            None => Section::All,
            Some(name) => match context.services.port(&service, name) {
                Some(port) => Section::Port(port),
                None if matches!(presence, Presence::Unknown | Presence::Missing) => Section::Unknown,
                None => return Err(format!("{object} has no port of the name {name}")),
            },
        };
        found.push((service, section));
    }
    Ok((found, missing))
}
