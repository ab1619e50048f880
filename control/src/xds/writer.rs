//! The one writer of the tables: applies a response piece by piece, and publishes when all of it has come.
use std::sync::Arc;

use adit_core::mesh::{Change, Mesh, PolicyName, ServiceName};
use adit_core::xds::{Received, ResourceType, Response};

use super::decode::{Rejection, address, authorization};
use super::hold::Hold;
use super::inflow::Tail;
use super::stats::Counts;
use crate::proto::discovery::Resource;

/// Where new tables go.
pub trait MeshSink {
    /// `mesh` replaces everything that was published before.
    fn publish(&mut self, mesh: Arc<Mesh>);
}

impl<F: FnMut(Arc<Mesh>)> MeshSink for F {
    fn publish(&mut self, mesh: Arc<Mesh>) {
        self(mesh);
    }
}

/// The tables as the control plane last told them.
#[derive(Debug)]
pub struct Writer<S> {
    mesh: Mesh,
    sink: S,
    counts: Counts,
    hold: Hold,
    /// Whether the tables are newer than what was published.
    held: bool,
}

impl<S: MeshSink> Writer<S> {
    /// Starts from `mesh`: empty tables of the own network, or those of a local file.
    #[must_use]
    pub fn new(mesh: Mesh, sink: S) -> Self {
        Self { mesh, sink, counts: Counts::default(), hold: Hold::default(), held: false }
    }

    /// Applies one resource, which is not published yet, and says how it went; `None` for a type nobody asked for.
    ///
    /// A rejected resource leaves the copy before it in place.
    pub fn put(&mut self, resource: Resource) -> Option<(ResourceType, Received)> {
        let Resource { name, version, aliases, resource: payload, .. } = resource;
        self.counts.bytes =
            self.counts.bytes.saturating_add(payload.as_ref().map_or(0, |any| any.value.len()) as u64);
        let kind = match &payload {
            Some(any) => ResourceType::from_url(&any.type_url)?,
            // What is empty can only be told by its name, of which addresses have more forms.
            None => ResourceType::Address,
        };
        let outcome =
            payload.ok_or(Rejection::MissingPayload).and_then(|any| self.apply(kind, &name, &any.value));
        if let Err(rejection) = &outcome {
            self.counts.rejected = self.counts.rejected.saturating_add(1);
            tracing::warn!(resource = %name, url = kind.url(), %rejection, "resource rejected");
        }
        let received = Received {
            name: self.name(&name),
            version: version.as_str().into(),
            aliases: aliases.into_iter().map(Into::into).collect(),
            outcome: outcome.map_err(|rejection| rejection.to_string()),
        };
        Some((kind, received))
    }

    /// Ends a response: removes what it removes, publishes once, and says what the machine needs to know. If it `may_wait`,
    /// what lacks a policy that is listed is held back until that has come, or [`release`](Self::release).
    pub fn end(&mut self, tail: Tail, may_wait: bool) -> (Response, Counts) {
        if let Some(kind) = ResourceType::from_url(&tail.type_url) {
            for name in &tail.removed {
                self.remove(kind, name);
            }
            self.held = true;
            if !may_wait || self.hold.is_over(&self.mesh) {
                self.release();
            }
        } else {
            tracing::warn!(url = %tail.type_url, "message of a type that was not asked for");
        }
        let response = Response {
            type_url: tail.type_url.into(),
            nonce: tail.nonce.into(),
            resources: Vec::new(),
            removed: tail.removed.into_iter().map(Into::into).collect(),
        };
        (response, Counts { messages: 1, ..std::mem::take(&mut self.counts) })
    }

    /// Whether tables are held back.
    #[must_use]
    pub const fn is_holding(&self) -> bool {
        self.held
    }

    /// Publishes what is held back, complete or not; the policies that were waited for in vain.
    pub fn release(&mut self) -> Vec<Arc<str>> {
        if std::mem::take(&mut self.held) {
            self.sink.publish(Arc::new(self.mesh.clone()));
        }
        self.hold.give_up().collect()
    }

    /// The text that the tables hold already, if they do.
    fn name(&self, name: &str) -> Arc<str> {
        self.mesh.workload(name).map_or_else(|| name.into(), |workload| Arc::clone(&workload.uid))
    }

    fn apply(&mut self, kind: ResourceType, name: &str, value: &[u8]) -> Result<(), Rejection> {
        let change = match kind {
            ResourceType::Address => address(name, value)?,
            ResourceType::Authorization => authorization(name, value)?,
        };
        let listing = match &change {
            Change::Workload(workload) if !workload.authorization_policies.is_empty() => {
                Some((Arc::clone(&workload.uid), self.mesh.workload(&workload.uid).cloned()))
            }
            _ => None,
        };
        self.mesh.apply(change)?;
        if let Some((uid, before)) = listing
            && let Some(now) = self.mesh.workload(&uid)
        {
            self.hold.listed(&self.mesh, before.as_deref(), now);
        }
        Ok(())
    }

    /// What is not known, or is no name of anything, needs no removal.
    fn remove(&mut self, kind: ResourceType, name: &str) {
        let change = match (kind, name.split_once('/')) {
            (ResourceType::Address, _) if self.mesh.workload(name).is_some() => {
                Change::RemoveWorkload(name.into())
            }
            (ResourceType::Address, Some((namespace, hostname))) if !hostname.contains('/') => {
                Change::RemoveService(ServiceName { namespace: namespace.into(), hostname: hostname.into() })
            }
            (ResourceType::Authorization, Some((namespace, policy))) => {
                self.hold.removed(name);
                Change::RemovePolicy(PolicyName { namespace: namespace.into(), name: policy.into() })
            }
            _ => return,
        };
        if let Err(error) = self.mesh.apply(change) {
            tracing::warn!(%name, %error, "removal refused by the tables");
        }
    }
}

#[cfg(test)]
mod tests;
