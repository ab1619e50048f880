//! The mesh from a local YAML file (`LOCAL_XDS_PATH`; the schema is interfaces §7.3).
//!
//! ```yaml
//! workloads:
//! - name: echo
//!   namespace: default
//!   workloadIps: [127.0.0.3]
//!   protocol: HBONE
//!   services: { "default/echo.default.svc.cluster.local": { 80: 8080 } }
//! services:
//! - name: echo
//!   namespace: default
//!   hostname: echo.default.svc.cluster.local
//!   vips: [/127.1.0.1]
//!   ports: { 80: 8080 }
//! policies:
//! - name: only-curl
//!   namespace: default
//!   scope: Namespace
//!   action: Allow
//!   rules: [[[{ principals: [{ Exact: cluster.local/ns/default/sa/curl }] }]]]
//! ```
//!
//! Nothing in a file is ignored: unknown keys, malformed values and things that Adit cannot do yet are errors which
//! name the entry, the field and what was expected, all of them at once.

mod error;
mod policies;
mod schema;
mod services;
mod values;
mod workloads;

pub use error::{Entry, LocalError, Problem};

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use adit_core::mesh::{Authorization, Mesh, PolicyScope, Service, Workload};

/// Reads `file` and builds the tables of a proxy in `network` (empty for a mesh of one network).
///
/// # Errors
/// The file cannot be read, or see [`parse`].
pub fn load(file: &Path, network: &str) -> Result<Mesh, LocalError> {
    let text = std::fs::read_to_string(file)
        .map_err(|source| LocalError::Read { file: file.into(), source: Arc::new(source) })?;
    parse(file, &text, network)
}

/// Builds the tables of a proxy in `network` from YAML `text`; `file` only names it in errors.
///
/// # Errors
/// The text is no YAML of this schema, its values make no sense, or it asks for something that is not supported yet.
pub fn parse(file: &Path, text: &str, network: &str) -> Result<Mesh, LocalError> {
    let (workloads, services, policies) = entries(file, text)?;
    let problems = unknown_policies(&workloads, &policies);
    if !problems.is_empty() {
        return Err(LocalError::Invalid { file: file.into(), problems });
    }
    warn_of_no_effect(file, &workloads, &services, &policies);
    Mesh::new(network.into(), workloads, services, policies)
        .map_err(|source| LocalError::Inconsistent { file: file.into(), source })
}

type Entries = (Vec<Workload>, Vec<Service>, Vec<Authorization>);

fn entries(file: &Path, text: &str) -> Result<Entries, LocalError> {
    // A file of nothing but comments is an empty mesh.
    let parsed: Option<schema::File> = serde_yaml_ng::from_str(text)
        .map_err(|error| LocalError::Syntax { file: file.into(), message: error.to_string() })?;
    let parsed = parsed.unwrap_or_default();
    let mut problems = Vec::new();
    let workloads = convert(parsed.workloads, workloads::workload, &mut problems);
    let services = convert(parsed.services, services::service, &mut problems);
    let policies = convert(parsed.policies, policies::policy, &mut problems);
    if problems.is_empty() {
        Ok((workloads, services, policies))
    } else {
        Err(LocalError::Invalid { file: file.into(), problems })
    }
}

/// Converts all entries and collects what is wrong with any of them.
fn convert<T, U>(
    entries: Vec<T>,
    convert: impl Fn(usize, T) -> Result<U, Problem>,
    problems: &mut Vec<Problem>,
) -> Vec<U> {
    let mut converted = Vec::with_capacity(entries.len());
    for (position, entry) in entries.into_iter().enumerate() {
        match convert(position, entry) {
            Ok(entry) => converted.push(entry),
            Err(problem) => problems.push(problem),
        }
    }
    converted
}

/// Policies which workloads list and nobody defines. The core would refuse every connection to such a workload; in a
/// file that is all there is, it can only be a mistake.
fn unknown_policies(workloads: &[Workload], policies: &[Authorization]) -> Vec<Problem> {
    let known: BTreeSet<String> = policies.iter().map(Authorization::key).collect();
    let mut problems = Vec::new();
    for (position, workload) in workloads.iter().enumerate() {
        let entry = Entry::workload(position, &workload.name);
        for key in workload.authorization_policies.iter().filter(|key| !known.contains(&***key)) {
            let expected = "the namespace/name of an entry of policies";
            problems.push(entry.value("authorizationPolicies", key, expected));
        }
    }
    problems
}

/// Says what is well-formed and yet does nothing, as it is probably not what was meant.
fn warn_of_no_effect(file: &Path, workloads: &[Workload], services: &[Service], policies: &[Authorization]) {
    let file = file.display();
    let known: BTreeSet<_> = services.iter().map(|service| &service.name).collect();
    for workload in workloads {
        for name in workload.services.keys().filter(|name| !known.contains(name)) {
            tracing::warn!(
                "{file}: workload {} is an endpoint of {name}, which is not in services",
                workload.uid
            );
        }
    }
    let listed: BTreeSet<&str> =
        workloads.iter().flat_map(|w| w.authorization_policies.iter().map(|key| &**key)).collect();
    for policy in policies {
        if policy.scope == PolicyScope::WorkloadSelector && !listed.contains(policy.key().as_str()) {
            tracing::warn!(
                "{file}: policy {} has scope WorkloadSelector, but no workload lists it",
                policy.key()
            );
        }
    }
}

#[cfg(test)]
mod tests;
