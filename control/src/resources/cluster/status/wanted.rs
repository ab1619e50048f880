//! What is to be said of every object of a cluster, from what it comes to: by its kind, and as far as it is this waypoint's.
use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::super::super::gateway::{GATEWAY_GROUP, ISTIO_GROUP};
use super::super::super::problem::{ObjectName, Problem, Severity};
use super::super::super::status::{Condition, Reason, Status};
use super::super::super::{Compiled, Object, Objects, World};
use super::super::kinds::{Shape, shape};
use super::binding::{Bindings, Owner, text};
use super::patch::{Wanted, Wish, key};

/// The condition of kinds whose status is not ours alone.
const OURS: &str = "adit.dev/Accepted";

/// What is to be said, for each object that something may be said of.
pub(super) fn wanted(objects: &Objects, compiled: &Compiled, world: &World) -> BTreeMap<ObjectName, Wanted> {
    let mut statuses: BTreeMap<&ObjectName, Vec<&Status>> = BTreeMap::new();
    for status in &compiled.statuses {
        statuses.entry(&status.object).or_default().push(status);
    }
    let mut problems: BTreeMap<&ObjectName, Vec<&Problem>> = BTreeMap::new();
    for problem in compiled.problems.iter().filter(|problem| problem.severity > Severity::Note) {
        problems.entry(&problem.object).or_default().push(problem);
    }
    let bindings = Bindings { objects, world };
    let mut wanted = BTreeMap::new();
    for object in objects.iter() {
        let shape = shape(&object.group, &object.kind);
        if shape == Shape::None {
            continue;
        }
        let name = object.id();
        let told = Told {
            object,
            body: object.body(),
            bindings,
            statuses: statuses.get(&name).map_or(&[], Vec::as_slice),
            problems: problems.get(&name).map_or(&[], Vec::as_slice),
        };
        let said = match shape {
            Shape::None => None,
            Shape::Parents => Some(told.entries("parentRefs")),
            Shape::Ancestors => Some(told.entries("targetRefs")),
            Shape::Conditions => told.conditions(),
            Shape::Gateway => told.gateway(),
            Shape::Class => told.class(),
        };
        wanted.extend(said.map(|said| (name, said)));
    }
    wanted
}

/// All that is told of an object.
struct Told<'a> {
    object: &'a Object,
    /// Its document.
    body: Value,
    bindings: Bindings<'a>,
    statuses: &'a [&'a Status],
    problems: &'a [&'a Problem],
}

fn list<'a>(body: &'a Value, field: &str) -> impl Iterator<Item = &'a Value> + use<'a> {
    let list = body.get("spec").and_then(|spec| spec.get(field)).and_then(Value::as_array);
    list.into_iter().flatten()
}

impl Told<'_> {
    /// Problems in one text.
    fn text(&self) -> String {
        let texts: Vec<_> =
            self.problems.iter().map(|problem| format!("{}: {}", problem.field, problem.text)).collect();
        texts.join("; ")
    }

    fn wish(&self, kind: &str, holds: bool, reason: impl ToString, message: String) -> Wish {
        Wish {
            kind: kind.to_owned(),
            holds,
            reason: reason.to_string(),
            message,
            generation: self.object.generation,
        }
    }

    /// As it was computed; where all is well as a whole, what is wrong with a part is told there.
    fn wishes(&self, conditions: &[Condition]) -> Vec<Wish> {
        let wish = |condition: &Condition| {
            let message = match condition.message.as_str() {
                "" if condition.reason == Reason::Accepted => self.text(),
                message => message.to_owned(),
            };
            self.wish(&condition.kind.to_string(), condition.holds, condition.reason, message)
        };
        conditions.iter().map(wish).collect()
    }

    /// One entry for each reference that leads to something of ours.
    fn entries(&self, field: &str) -> Wanted {
        let namespace = &*self.object.namespace;
        let (mut entries, mut left) = (Vec::new(), Vec::new());
        for reference in list(&self.body, field) {
            let (group, kind, of, name, section, port) = key(reference, namespace);
            let owner = self.bindings.owner(&group, &kind, &of, &name);
            // Of a target only these fields are references of a status.
            let reference = match field {
                "parentRefs" => reference.clone(),
                _ if section.is_empty() => {
                    json!({"group": group, "kind": kind, "namespace": of, "name": name})
                }
                _ => {
                    json!({"group": group, "kind": kind, "namespace": of, "name": name, "sectionName": section})
                }
            };
            let same = |status: &&&Status| {
                status.parent.as_ref().is_some_and(|parent| {
                    let object = &parent.object;
                    let theirs = match &*object.group {
                        "core" => "",
                        group => group,
                    };
                    (theirs, &*object.kind, &*object.namespace, &*object.name)
                        == (group.as_str(), kind.as_str(), of.as_str(), name.as_str())
                        && parent.section.as_deref().unwrap_or_default() == section
                        && i64::from(parent.port.unwrap_or_default()) == port
                })
            };
            let status = self.statuses.iter().find(same);
            match (owner, status) {
                (Owner::Us, Some(status)) => entries.push((reference, self.wishes(&status.conditions))),
                // It cannot be read at all.
                (Owner::Us, None) if self.statuses.is_empty() && !self.problems.is_empty() => {
                    let reason =
                        if field == "parentRefs" { Reason::UnsupportedValue } else { Reason::Invalid };
                    entries.push((reference, vec![self.wish("Accepted", false, reason, self.text())]));
                }
                (Owner::Another, _) => left.push(reference),
                (Owner::Us | Owner::Nobody, _) => {}
            }
        }
        Wanted::Entries { entries, left }
    }

    /// One condition beside those of others; `None`: another waypoint says it.
    fn conditions(&self) -> Option<Wanted> {
        let wishes = match self.whose() {
            Owner::Another => return None,
            Owner::Nobody => Vec::new(),
            Owner::Us => {
                let worst = self.problems.iter().map(|problem| problem.severity).max();
                let (holds, reason) = match worst {
                    None | Some(Severity::Note) => (true, "Accepted"),
                    Some(Severity::Conflict) => (false, "Conflicted"),
                    Some(Severity::Unresolved) => (false, "TargetNotFound"),
                    Some(Severity::Unsupported) => (false, "UnsupportedValue"),
                    Some(Severity::Malformed) => (false, "Invalid"),
                };
                vec![self.wish(OURS, holds, reason, self.text())]
            }
        };
        Some(Wanted::Conditions { ours: &[OURS], wishes })
    }

    /// Whose a policy is: that of any of its targets, ours first.
    fn whose(&self) -> Owner {
        let object = self.object;
        let single = self.body.pointer("/spec/targetRef").filter(|target| !target.is_null());
        let targets = list(&self.body, "targetRefs").chain(single).map(|target| self.target(target));
        let owner = targets.max();
        let spec = |field: &str| self.body.get("spec").and_then(|spec| spec.get(field));
        match (&*object.kind, owner) {
            (_, Some(owner)) => owner,
            ("DestinationRule", _) => self.hosts(spec("host").into_iter()),
            ("VirtualService", _) => self.hosts(list(&self.body, "hosts")),
            // For all waypoints of its namespace, or of the mesh; ztunnel reads none of them.
            ("Telemetry", _) if spec("selector").is_none_or(Value::is_null) => {
                let ours = [&self.bindings.world.namespace, &self.bindings.world.root_namespace];
                if ours.contains(&&object.namespace) { Owner::Us } else { Owner::Another }
            }
            // Selectors and whole namespaces are for ztunnel.
            (_, None) => Owner::Nobody,
        }
    }

    /// Whose a target of a policy is, which is in the policy's namespace.
    fn target(&self, target: &Value) -> Owner {
        let text = |field: &str| target.get(field).and_then(Value::as_str).unwrap_or_default();
        let (group, kind, namespace, name) =
            (text("group"), text("kind"), &*self.object.namespace, text("name"));
        match (group, kind) {
            (GATEWAY_GROUP, "HTTPRoute" | "GRPCRoute") => {
                let Some(route) = self.bindings.objects.get(group, kind, namespace, name) else {
                    return Owner::Nobody;
                };
                let body = route.body();
                let parents = list(&body, "parentRefs").map(|parent| {
                    let (group, kind, namespace, name, ..) = key(parent, namespace);
                    self.bindings.owner(&group, &kind, &namespace, &name)
                });
                parents.max().unwrap_or(Owner::Nobody)
            }
            (ISTIO_GROUP, "VirtualService") => {
                let service = self.bindings.objects.get(group, kind, namespace, name);
                service.map_or(Owner::Nobody, |service| self.hosts(list(&service.body(), "hosts")))
            }
            _ => self.bindings.owner(group, kind, namespace, name),
        }
    }

    /// Whose the services of these hosts are; of a host that is no Service's nobody here can tell.
    fn hosts<'b>(&self, hosts: impl Iterator<Item = &'b Value>) -> Owner {
        let world = self.bindings.world;
        let suffix = format!(".svc.{}", world.cluster_domain);
        let owners = hosts.filter_map(Value::as_str).map(|host| {
            let host = host.strip_suffix(&suffix).or_else(|| host.strip_suffix(".svc")).unwrap_or(host);
            let (name, namespace) = host.split_once('.').unwrap_or((host, &self.object.namespace));
            match self.bindings.objects.get("", "Service", namespace, name) {
                Some(_) => self.bindings.owner("", "Service", namespace, name),
                None => Owner::Another,
            }
        });
        owners.max().unwrap_or(Owner::Nobody)
    }

    /// Our own Gateway, if its class is ours; a Gateway of Istio's class is istiod's to write of.
    fn gateway(&self) -> Option<Wanted> {
        let (object, world) = (self.object, self.bindings.world);
        let own = (&object.namespace, &object.name) == (&world.namespace, &world.gateway);
        let status = self
            .statuses
            .first()
            .filter(|_| own && self.bindings.is_ours(text(&self.body, "/spec/gatewayClassName")))?;
        let mut wishes = self.wishes(&status.conditions);
        let accepted = wishes.iter().find(|wish| wish.kind == "Accepted")?.clone();
        let programmed = |accepted: &Wish| match accepted.holds {
            true => self.wish("Programmed", true, "Programmed", String::new()),
            false => self.wish("Programmed", false, "Invalid", accepted.message.clone()),
        };
        wishes.push(programmed(&accepted));
        let listeners = list(&self.body, "listeners").filter_map(|listener| {
            let name = listener.get("name")?.as_str()?.to_owned();
            let resolved = self.wish("ResolvedRefs", true, "ResolvedRefs", String::new());
            Some((name, vec![accepted.clone(), programmed(&accepted), resolved]))
        });
        let given: Vec<_> = list(&self.body, "addresses").cloned().collect();
        let host = format!("{}.{}.svc.{}", object.name, object.namespace, world.cluster_domain);
        let addresses = match given.is_empty() {
            true => json!([{"type": "Hostname", "value": host}]),
            false => given.into(),
        };
        Some(Wanted::Gateway { listeners: listeners.collect(), wishes, addresses })
    }

    /// A class of ours.
    fn class(&self) -> Option<Wanted> {
        let ours = text(&self.body, "/spec/controllerName") == super::CONTROLLER;
        let wish = || self.wish("Accepted", true, Reason::Accepted, String::new());
        ours.then(|| Wanted::Conditions { ours: &["Accepted"], wishes: vec![wish()] })
    }
}

#[cfg(test)]
mod tests;
