//! What is sent and received, in words of the machine (`DeltaDiscoveryRequest` and `DeltaDiscoveryResponse`).

use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;

use super::Version;

/// A type of resources (interfaces §1.3); on each stream they are asked for in the order of [`ResourceType::ALL`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ResourceType {
    /// Workloads and services: `istio.workload.Address`.
    Address,
    /// Policies: `istio.security.Authorization`.
    Authorization,
}

impl ResourceType {
    /// All types, in the order in which a stream asks for them.
    pub const ALL: [Self; 2] = [Self::Address, Self::Authorization];

    /// Its name on the wire.
    #[must_use]
    pub const fn url(self) -> &'static str {
        match self {
            Self::Address => "type.googleapis.com/istio.workload.Address",
            Self::Authorization => "type.googleapis.com/istio.security.Authorization",
        }
    }

    /// The type of this name on the wire, if it is one of ours.
    #[must_use]
    pub fn from_url(url: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.url() == url)
    }
}

/// A request to be sent; fields that are empty are left out on the wire.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Request {
    /// The type on the wire (`type_url`).
    pub type_url: Arc<str>,
    /// It is the first of its type on the stream and carries the node (`node`).
    pub first: bool,
    /// Names wanted from now on (`resource_names_subscribe`).
    pub subscribe: Vec<Arc<str>>,
    /// Names not wanted (`resource_names_unsubscribe`).
    pub unsubscribe: Vec<Arc<str>>,
    /// What is retained from earlier streams (`initial_resource_versions`).
    pub initial_versions: BTreeMap<Arc<str>, Version>,
    /// The response that is answered (`response_nonce`).
    pub nonce: Arc<str>,
    /// Why resources of that response were rejected (`error_detail.message`); none: all are accepted.
    pub error: Option<String>,
}

/// A response after the driver has decoded and applied it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Response {
    /// The type on the wire (`type_url`).
    pub type_url: Arc<str>,
    /// What the answer must name (`nonce`).
    pub nonce: Arc<str>,
    /// New and changed resources, in order, but for those that [`Client::handle_resource`](super::Client::handle_resource)
    /// has been told of.
    pub resources: Vec<Received>,
    /// Names that are gone or do not exist (`removed_resources`); applied after all resources.
    pub removed: Vec<Arc<str>>,
}

/// One resource of a response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Received {
    /// Its name (`name`).
    pub name: Arc<str>,
    /// Its version (`version`); may be empty.
    pub version: Version,
    /// Other names it can be demanded by (`aliases`).
    pub aliases: Vec<Arc<str>>,
    /// Whether it could be decoded and applied; else why not, for the server's log.
    pub outcome: Result<(), String>,
}
