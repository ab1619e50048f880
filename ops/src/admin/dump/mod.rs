//! `/config_dump`: the whole state as one JSON object (interfaces §4.2), made piece by piece.

mod connection;
pub(super) mod match_list;
mod policy;
mod service;
mod workload;

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use adit_core::mesh::{Mesh, ServiceName};
use serde::Serialize;

use self::connection::ProxyEntry;
use self::policy::PolicyEntry;
use self::service::{EndpointEntry, ServiceEntry};
use self::workload::WorkloadEntry;
use super::AdminState;

/// About how long a piece is; an entry is never cut.
const PIECE: usize = 64 * 1024;

/// Makes one entry of a list at a time.
type Entries = Box<dyn Iterator<Item = Vec<u8>> + Send>;

/// Part of the dump.
enum Section {
    /// Rendered already.
    Whole(Vec<u8>),
    /// A list that may be long.
    List(Entries),
}

/// The dump, in pieces of some 64 KiB. It shows the state of the moment it was made.
pub struct Dump {
    /// Keys in alphabetical order.
    sections: std::vec::IntoIter<(&'static str, Section)>,
    /// The list that is being written, and whether it has had an entry.
    list: Option<(Entries, bool)>,
    state: State,
}

impl std::fmt::Debug for Dump {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Dump").finish_non_exhaustive()
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Begin,
    More,
    Ended,
}

impl Dump {
    /// The dump of `state`.
    #[must_use]
    pub fn of(state: &impl AdminState) -> Self {
        let mesh = state.mesh();
        let mut certificates = state.certificates();
        certificates.sort_by_key(|status| status.identity.to_string());
        let connections = state.connections();
        let proxies: BTreeMap<Arc<str>, ProxyEntry> = state
            .proxies()
            .into_iter()
            .map(|proxy| (Arc::clone(&proxy.uid), ProxyEntry::new(proxy, &connections)))
            .collect();
        let fixed = state.static_mesh().map(|mesh| StaticConfig::of(&mesh)).unwrap_or_default();
        let sections = vec![
            ("certificates", Section::Whole(render(&certificates, 2))),
            ("config", Section::Whole(render(&state.config(), 2))),
            ("policies", Section::List(policies(&mesh))),
            ("services", Section::List(services(&mesh))),
            ("stagedServices", Section::Whole(render(&staged(&mesh), 2))),
            ("staticConfig", Section::Whole(render(&fixed, 2))),
            ("version", Section::Whole(render(&state.version(), 2))),
            ("workloadState", Section::Whole(render(&proxies, 2))),
            ("workloads", Section::List(workloads(&mesh))),
        ];
        Self { sections: sections.into_iter(), list: None, state: State::Begin }
    }

    /// Writes the next part; `false` when there is none.
    fn step(&mut self, out: &mut Vec<u8>) -> bool {
        if let Some((entries, any)) = &mut self.list {
            match entries.next() {
                Some(entry) => {
                    out.extend_from_slice(if std::mem::replace(any, true) { b",\n    " } else { b"\n    " });
                    out.extend_from_slice(&entry);
                }
                None => {
                    out.extend_from_slice(if *any { b"\n  ]" } else { b"]" });
                    self.list = None;
                }
            }
            return true;
        }
        match (self.state, self.sections.next()) {
            (State::Ended, _) => return false,
            (State::Begin | State::More, None) => {
                out.extend_from_slice(b"\n}\n");
                self.state = State::Ended;
            }
            (state, Some((key, section))) => {
                out.extend_from_slice(if state == State::Begin { b"{\n  \"" } else { b",\n  \"" });
                out.extend_from_slice(key.as_bytes());
                out.extend_from_slice(b"\": ");
                self.state = State::More;
                match section {
                    Section::Whole(text) => out.extend_from_slice(&text),
                    Section::List(entries) => {
                        out.push(b'[');
                        self.list = Some((entries, false));
                    }
                }
            }
        }
        true
    }
}

impl Iterator for Dump {
    type Item = Vec<u8>;

    fn next(&mut self) -> Option<Vec<u8>> {
        let mut out = Vec::new();
        while out.len() < PIECE && self.step(&mut out) {}
        (!out.is_empty()).then_some(out)
    }
}

/// `value` as indented JSON, for a place that is `indent` columns in.
fn render(value: &impl Serialize, indent: usize) -> Vec<u8> {
    let mut out = Vec::new();
    // Neither writing to memory nor our own types can fail; a piece that did would be missing visibly.
    if serde_json::to_writer_pretty(Indented { out: &mut out, indent }, value).is_err() {
        return b"null".to_vec();
    }
    out
}

/// Puts spaces behind each line break. There is none inside a JSON string.
struct Indented<'a> {
    out: &'a mut Vec<u8>,
    indent: usize,
}

impl io::Write for Indented<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        for octet in bytes {
            self.out.push(*octet);
            if *octet == b'\n' {
                self.out.resize(self.out.len() + self.indent, b' ');
            }
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Ordered by uid.
fn workloads(mesh: &Mesh) -> Entries {
    let all: Vec<_> = mesh.workloads().cloned().collect();
    Box::new(all.into_iter().map(|workload| render(&WorkloadEntry::new(&workload), 4)))
}

/// Ordered by hostname.
fn services(mesh: &Arc<Mesh>) -> Entries {
    let mut all: Vec<_> = mesh.services().cloned().collect();
    all.sort_by(|a, b| (&a.name.hostname, &a.name.namespace).cmp(&(&b.name.hostname, &b.name.namespace)));
    let mesh = Arc::clone(mesh);
    Box::new(all.into_iter().map(move |service| render(&ServiceEntry::new(&mesh, &service), 4)))
}

/// Ordered by key.
fn policies(mesh: &Mesh) -> Entries {
    let all: Vec<_> = mesh.policies().cloned().collect();
    Box::new(all.into_iter().map(|policy| render(&PolicyEntry::new(&policy), 4)))
}

/// Endpoints of services that nobody has told us about yet.
fn staged(mesh: &Mesh) -> BTreeMap<String, BTreeMap<Arc<str>, EndpointEntry>> {
    let mut staged: BTreeMap<String, BTreeMap<_, _>> = BTreeMap::new();
    for workload in mesh.workloads() {
        let unknown = |name: &&ServiceName| mesh.service(name).is_none();
        for name in workload.services.keys().filter(unknown) {
            let endpoint = EndpointEntry::staged(workload, name);
            staged.entry(name.to_string()).or_default().insert(Arc::clone(&workload.uid), endpoint);
        }
    }
    staged
}

/// The tables of the local file.
#[derive(Default, Serialize)]
struct StaticConfig {
    workloads: Vec<WorkloadEntry>,
    policies: Vec<PolicyEntry>,
    services: Vec<ServiceEntry>,
}

impl StaticConfig {
    fn of(mesh: &Mesh) -> Self {
        Self {
            workloads: mesh.workloads().map(|workload| WorkloadEntry::new(workload)).collect(),
            policies: mesh.policies().map(|policy| PolicyEntry::new(policy)).collect(),
            services: mesh.services().map(|service| ServiceEntry::new(mesh, service)).collect(),
        }
    }
}
