//! The one writer of the tables: applies a response as a whole, then publishes.
use std::sync::Arc;

use adit_core::mesh::{Change, Mesh, PolicyName, ServiceName};
use adit_core::xds::{Received, ResourceType, Response};

use super::decode::{Rejection, address, authorization};
use super::stats::Counts;
use crate::proto::discovery::{DeltaDiscoveryResponse, Resource};

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
}

impl<S: MeshSink> Writer<S> {
    /// Starts from `mesh`: empty tables of the own network, or those of a local file.
    #[must_use]
    pub const fn new(mesh: Mesh, sink: S) -> Self {
        Self { mesh, sink }
    }

    /// Applies what can be applied: all resources in order, then removals; publishes once, and says how it went.
    ///
    /// A rejected resource leaves the copy before it in place.
    pub fn write(&mut self, message: DeltaDiscoveryResponse) -> (Response, Counts) {
        let kind = ResourceType::from_url(&message.type_url);
        let mut counts = Counts { messages: 1, ..Counts::default() };
        let mut resources = Vec::with_capacity(message.resources.len());
        for resource in message.resources {
            let payload = resource.resource.as_ref().map_or(0, |any| any.value.len());
            counts.bytes = counts.bytes.saturating_add(payload as u64);
            let outcome = match kind {
                Some(kind) => self.put(kind, &resource),
                None => Ok(()),
            };
            if let Err(rejection) = &outcome {
                counts.rejected = counts.rejected.saturating_add(1);
                tracing::warn!(resource = %resource.name, url = %message.type_url, %rejection, "resource rejected");
            }
            resources.push(Received {
                name: resource.name.into(),
                version: resource.version.into(),
                aliases: resource.aliases.into_iter().map(Into::into).collect(),
                outcome: outcome.map_err(|rejection| rejection.to_string()),
            });
        }
        if let Some(kind) = kind {
            for name in &message.removed_resources {
                self.remove(kind, name);
            }
            self.sink.publish(Arc::new(self.mesh.clone()));
        } else {
            tracing::warn!(url = %message.type_url, "message of a type that was not asked for");
        }
        let response = Response {
            type_url: message.type_url.into(),
            nonce: message.nonce.into(),
            resources,
            removed: message.removed_resources.into_iter().map(Into::into).collect(),
        };
        (response, counts)
    }

    fn put(&mut self, kind: ResourceType, resource: &Resource) -> Result<(), Rejection> {
        let any = resource.resource.as_ref().ok_or(Rejection::MissingPayload)?;
        let change = match kind {
            ResourceType::Address => address(&resource.name, &any.value)?,
            ResourceType::Authorization => authorization(&resource.name, &any.value)?,
        };
        Ok(self.mesh.apply(change)?)
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
            (ResourceType::Authorization, Some((namespace, name))) => {
                Change::RemovePolicy(PolicyName { namespace: namespace.into(), name: name.into() })
            }
            _ => return,
        };
        if let Err(error) = self.mesh.apply(change) {
            tracing::warn!(%name, %error, "removal refused by the tables");
        }
    }
}
