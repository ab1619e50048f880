//! Reads a `/config_dump`, ours or ztunnel's, back into tables (interfaces §4.2).
//!
//! What a dump of ours carries comes back as it was. What no dump carries, and what ztunnel's does not:
//!
//! - a reference to a gateway by a hostname that reads as an IP address comes back as that address;
//! - ztunnel leaves out own ports of endpoints that are not healthy, and match entries of policies that it could not
//!   read; ours has `servicePorts` and `unreadable` for them, keys that istioctl ignores;
//! - subject alternative names that are no SPIFFE identities, which accept nobody, are not kept.

mod error;
mod policy;
mod service;
mod settings;
mod value;
mod workload;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use adit_core::mesh::{Change, Memberships, Mesh, PortMap, ServiceName, Workload};
use serde::Deserializer;
use serde::de::{DeserializeSeed, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::Value;

pub use self::error::{Problem, UndumpError};
pub use self::settings::{Certificate, Gap, Settings};
use self::value::{Wrong, step};

/// What a dump says.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Undumped {
    /// The tables.
    pub mesh: Mesh,
    /// The proxy's configuration.
    pub settings: Settings,
    /// The certificates it keeps.
    pub certificates: Vec<Certificate>,
    /// What is wrong with entries. Each is missing, but for policies of which at least the name is known: these are in
    /// force, at their strictest.
    pub problems: Vec<Problem>,
}

/// Reads a dump.
///
/// Unknown keys are ignored. Lists of workloads, services and policies may be maps, as in older dumps.
///
/// # Errors
/// The text is no JSON, or not that of a dump. A bad entry is no error: see [`Undumped::problems`].
pub fn read(text: &[u8]) -> Result<Undumped, UndumpError> {
    let mut parts = Parts::default();
    let mut json = serde_json::Deserializer::from_slice(text);
    let parsed = json.deserialize_map(TopLevel(&mut parts)).and_then(|()| json.end());
    parsed.map_err(|error| UndumpError::Json(error.to_string()))?;
    if !parts.is_dump {
        return Err(UndumpError::NotADump);
    }
    Ok(parts.finish())
}

/// What has been read, until workloads and the endpoints at services can be put together.
#[derive(Default)]
struct Parts {
    is_dump: bool,
    config: Value,
    certificates: Vec<Certificate>,
    changes: Vec<(String, Change)>,
    workloads: Vec<(String, workload::Read)>,
    /// By uid: where it is listed as an endpoint, of which service, with which ports.
    endpoints: BTreeMap<Arc<str>, Vec<(String, ServiceName, PortMap)>>,
    problems: Vec<Problem>,
}

/// The lists that are read entry by entry, so that a large dump is never in memory as a whole.
#[derive(Clone, Copy)]
enum List {
    Workloads,
    Services,
    Policies,
    Staged,
    Certificates,
}

impl List {
    fn of(key: &str) -> Option<Self> {
        Some(match key {
            "workloads" => Self::Workloads,
            "services" => Self::Services,
            "policies" => Self::Policies,
            "stagedServices" => Self::Staged,
            "certificates" => Self::Certificates,
            _ => return None,
        })
    }

    const fn key(self) -> &'static str {
        match self {
            Self::Workloads => "workloads",
            Self::Services => "services",
            Self::Policies => "policies",
            Self::Staged => "stagedServices",
            Self::Certificates => "certificates",
        }
    }
}

impl Parts {
    /// Takes one entry; `path` is its place behind the list's key.
    fn entry(&mut self, list: List, path: &str, key: Option<&str>, value: &Value) {
        let place = format!("{}{path}", list.key());
        if let Err(wrong) = self.read(list, &place, key, value) {
            self.problems.push(Problem::new(&place, wrong));
        }
    }

    fn read(&mut self, list: List, place: &str, key: Option<&str>, value: &Value) -> Result<(), Wrong> {
        match list {
            List::Workloads => self.workloads.push((place.to_owned(), workload::workload(value)?)),
            List::Services => {
                let (service, endpoints) = service::service(value)?;
                self.endpoints(&format!("{place}.endpoints"), &service.name, endpoints);
                self.changes.push((place.to_owned(), Change::Service(service)));
            }
            List::Policies => {
                let (policy, wrong) = policy::policy(value)?;
                self.problems.extend(wrong.into_iter().map(|wrong| Problem::new(place, wrong)));
                self.changes.push((place.to_owned(), Change::Policy(policy)));
            }
            List::Staged => {
                let name = key.and_then(value::name_of);
                let name = name.ok_or_else(|| Wrong::new(&key.into(), value::NAMESPACE_HOSTNAME))?;
                self.endpoints(place, &name, service::endpoints(value)?);
            }
            List::Certificates => self.certificates.push(settings::certificate(value)?),
        }
        Ok(())
    }

    fn endpoints(&mut self, place: &str, service: &ServiceName, endpoints: Vec<service::Endpoint>) {
        for (uid, ports) in endpoints {
            let path = format!("{place}{}", step(&uid));
            self.endpoints.entry(uid).or_default().push((path, service.clone(), ports));
        }
    }

    fn finish(mut self) -> Undumped {
        let settings = settings::settings(&self.config, &mut self.problems);
        let mut mesh = Mesh::empty(Arc::clone(&settings.network));
        for (place, mut read) in self.workloads {
            let listed = self.endpoints.remove(&read.workload.uid).unwrap_or_default();
            if !read.has_ports {
                join(&mut read.workload, listed);
            }
            self.changes.push((place, Change::Workload(read.workload)));
        }
        for (place, change) in self.changes {
            if let Err(cause) = mesh.add(change) {
                self.problems.push(Problem::Refused { path: place, cause });
            }
        }
        let left = self.endpoints.into_values().flatten();
        self.problems.extend(left.map(|(path, ..)| Problem::NoWorkload { path }));
        Undumped { mesh, settings, certificates: self.certificates, problems: self.problems }
    }
}

/// Makes `workload` a member of the services that list it, with the ports they say.
fn join(workload: &mut Workload, listed: Vec<(String, ServiceName, PortMap)>) {
    let known: BTreeSet<&ServiceName> = listed.iter().map(|(_, name, _)| name).collect();
    let alone = workload.services.keys().filter(|name| !known.contains(name));
    let alone: Vec<_> = alone.map(|name| (name.clone(), PortMap::default())).collect();
    let listed = listed.into_iter().map(|(_, name, ports)| (name, ports));
    workload.services = alone.into_iter().chain(listed).collect::<Memberships>();
}

/// The object that the whole dump is.
struct TopLevel<'a>(&'a mut Parts);

impl<'de> Visitor<'de> for TopLevel<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(key) = map.next_key::<String>()? {
            if let Some(list) = List::of(&key) {
                self.0.is_dump |= matches!(list, List::Workloads | List::Services | List::Policies);
                map.next_value_seed(Entries { parts: &mut *self.0, list })?;
            } else if key == "config" {
                self.0.config = map.next_value()?;
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(())
    }
}

/// The entries of one list.
struct Entries<'a> {
    parts: &'a mut Parts,
    list: List,
}

impl<'de> DeserializeSeed<'de> for Entries<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Entries<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a list in `{}`", self.list.key())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut entries: A) -> Result<(), A::Error> {
        let mut position = 0usize;
        while let Some(value) = entries.next_element::<Value>()? {
            self.parts.entry(self.list, &format!("[{position}]"), None, &value);
            position += 1;
        }
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<(), A::Error> {
        while let Some((key, value)) = entries.next_entry::<String, Value>()? {
            self.parts.entry(self.list, &step(&key), Some(&key), &value);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
