//! What a route is for (GAMMA, GEP-1294): services, by reference to a `Service` or a `ServiceEntry`.
use adit_core::l7::Parent;
use adit_core::mesh::ServiceName;
use serde::Deserialize;
use serde_json::Value;

use super::super::problem::ObjectName;
use super::super::services::Presence;
use super::super::status::{ParentRef, Reason, Status};
use super::reading::Reading;
use super::{GATEWAY_GROUP, ISTIO_GROUP};

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Reference {
    group: Option<String>,
    kind: Option<String>,
    namespace: Option<String>,
    name: String,
    section_name: Option<String>,
    port: Option<u16>,
}

/// The parents of a route, and what of them is told in its status.
#[derive(Debug, Default)]
pub(super) struct Parents {
    /// References and what they are to.
    pub(super) attached: Vec<(ParentRef, Vec<Parent>)>,
    /// Those to what is not among the resources. They are honoured all the same: what is given may not be all.
    pub(super) missing: Vec<(ParentRef, Vec<Parent>, String)>,
    /// References that are none.
    pub(super) refused: Vec<(ParentRef, String)>,
}

impl Parents {
    /// All that it attaches to, each once.
    pub(super) fn all(&self) -> Vec<Parent> {
        let missing = self.missing.iter().map(|(_, parents, _)| parents);
        let attached = self.attached.iter().map(|(_, parents)| parents);
        let mut all: Vec<_> = attached.chain(missing).flatten().cloned().collect();
        all.sort();
        all.dedup();
        all
    }

    /// What is said of the route, once it has been read; each with the parents that it is about.
    pub(super) fn statuses(self, reading: &Reading<'_>) -> Vec<(Status, Vec<Parent>)> {
        let attached = self.attached.into_iter().map(|(of, parents)| (reading.accepted(of), parents));
        let missing = self.missing.into_iter();
        let missing = missing.map(|(of, parents, why)| (reading.refused(of, why), parents));
        let refused = self.refused.into_iter().map(|(of, why)| (reading.refused(of, why), Vec::new()));
        attached.chain(missing).chain(refused).collect()
    }
}

/// Reads `spec.parentRefs`.
pub(super) fn read(reading: &mut Reading<'_>, references: &[Value]) -> Parents {
    let mut parents = Parents::default();
    for (index, value) in references.iter().enumerate() {
        let field = format!("spec.parentRefs[{index}]");
        let Some(reference) = reading.read::<Reference>(&field, value) else { continue };
        let own = reading.object;
        let object = ObjectName {
            group: reference.group.as_deref().unwrap_or(GATEWAY_GROUP).into(),
            kind: reference.kind.as_deref().unwrap_or("Gateway").into(),
            namespace: reference.namespace.as_deref().unwrap_or(&own.namespace).into(),
            name: reference.name.as_str().into(),
        };
        let of = ParentRef {
            object,
            section: reference.section_name.as_deref().map(Into::into),
            port: reference.port,
        };
        match attach(reading, &of) {
            Ok(Some((found, None))) => parents.attached.push((of, found)),
            Ok(Some((found, Some(why)))) => {
                reading.problem(&field, Reason::NoMatchingParent, &why);
                parents.missing.push((of, found, why));
            }
            Ok(None) => reading.note(
                &field,
                format!("{} is no mesh parent and not ours: left to its own controller", of.object),
            ),
            Err(why) => {
                reading.problem(&field, Reason::NoMatchingParent, &why);
                parents.refused.push((of, why));
            }
        }
    }
    if references.is_empty() {
        reading.note("spec.parentRefs", "is empty: the route is for nothing and has no effect");
    }
    parents
}

/// What a reference is to, and what of that is not among the resources.
type Found = (Vec<Parent>, Option<String>);

/// What a reference is to. `None`: to something that is not for us.
fn attach(reading: &Reading<'_>, of: &ParentRef) -> Result<Option<Found>, String> {
    let context = reading.context;
    let ParentRef { object, section, .. } = of;
    let services: Vec<ServiceName> = match (&*object.group, &*object.kind) {
        ("" | "core", "Service") => vec![context.world.service(&object.namespace, &object.name)],
        (ISTIO_GROUP, "ServiceEntry") => {
            let hosts = context.services.entry_hosts(&object.namespace, &object.name);
            let missing = || format!("{object} is not among the resources, so its hosts are unknown; add it");
            hosts.ok_or_else(missing)?.to_vec()
        }
        (GATEWAY_GROUP, "Gateway") => {
            if !context.world.is_gateway(&object.namespace, &object.name) {
                return Ok(None);
            }
            let text = "routes attach to the services behind a waypoint, not to its Gateway: refer to a Service (group \"\")";
            return Err(text.to_owned());
        }
        _ => return Ok(None),
    };
    let (mut parents, mut missing) = (Vec::new(), None);
    for service in services {
        match (context.services.presence(&service, of.port), of.port) {
            (Presence::External, _) => {
                return Err(format!(
                    "{object} stands for a name elsewhere (ExternalName) and can be no parent"
                ));
            }
            (Presence::Missing, Some(port)) => {
                missing = Some(format!("{object} with port {port} is not among the resources"));
            }
            (Presence::Missing, None) => missing = Some(format!("{object} is not among the resources")),
            (Presence::There | Presence::Unknown, _) => {}
        }
        if context.services.is_headless(&service) {
            return Err(format!(
                "{object} is headless: its clients ask for pods, and no route can be for those"
            ));
        }
        let port = match section {
            None => of.port,
            Some(name) => match context.services.port(&service, name) {
                Some(port) if of.port.is_none_or(|asked| asked == port) => Some(port),
                Some(port) => {
                    return Err(format!(
                        "port {name} of {object} is {port}, not the one that is asked for as well"
                    ));
                }
                None => {
                    return Err(format!(
                        "no port of the name {name} is known of {object}; add the Service to the resources or give the port's number"
                    ));
                }
            },
        };
        parents.push(Parent { service, port });
    }
    Ok(Some((parents, missing)))
}
