//! Routes as they are given: whose they are, which service they are for, and their rules (Gateway API: `HTTPRoute`,
//! `GRPCRoute`).
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;

use super::backends::Backends;
use super::fault::Faults;
use super::filters::{Cors, HeaderChanges, Mirror, Redirect, Rewrite};
use super::matching::RouteMatch;
use super::persistence::Persistence;
use super::retry::RetryPolicy;
use crate::mesh::ServiceName;
use crate::time::UnixTime;

/// What a route is about. On one port of a service only routes of one kind count: the greatest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// `TCPRoute`.
    Tcp,
    /// `TLSRoute`.
    Tls,
    /// `VirtualService` of Istio: gives way to Gateway API's.
    Virtual,
    /// `HTTPRoute`.
    Http,
    /// `GRPCRoute`.
    Grpc,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tcp => "TCPRoute",
            Self::Tls => "TLSRoute",
            Self::Virtual => "VirtualService",
            Self::Http => "HTTPRoute",
            Self::Grpc => "GRPCRoute",
        })
    }
}

/// Names a route.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RouteId {
    /// Its kind.
    pub kind: Kind,
    /// Its namespace.
    pub namespace: Arc<str>,
    /// Its name.
    pub name: Arc<str>,
}

impl fmt::Display for RouteId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}/{}", self.kind, self.namespace, self.name)
    }
}

/// A service that a route is for (Gateway API: `parentRefs`).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Parent {
    /// The service.
    pub service: ServiceName,
    /// The port of the service; `None`: all of them.
    pub port: Option<u16>,
}

/// A route.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// Its name.
    pub id: RouteId,
    /// When it was made, as far as that is known: the older of two goes first.
    pub created: UnixTime,
    /// What it is for.
    pub parents: Vec<Parent>,
    /// Its rules, in their order.
    pub rules: Vec<Rule>,
}

/// What is done with some requests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// Its own name, if it has one.
    pub name: Option<Arc<str>>,
    /// Which requests: those that any of these is for.
    pub matches: Vec<RouteMatch>,
    /// Changes of the answer's headers; of answers of ours as well.
    pub response: HeaderChanges,
    /// What pages of other origins may do.
    pub cors: Option<Cors>,
    /// What becomes of the request.
    pub action: Action,
}

/// What becomes of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// It is sent on.
    Forward(Forward),
    /// The client is sent elsewhere.
    Redirect(Redirect),
    /// The client gets this answer.
    Direct(Direct),
    /// The rule says something that we cannot do, and is not done in part: status 500. This is what it is.
    Invalid(Arc<str>),
}

/// An answer of ours (Istio: `HTTPDirectResponse`).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Direct {
    /// The status.
    pub status: u16,
    /// The body; `text/plain` if there is any.
    pub body: Arc<[u8]>,
}

/// How a request is sent on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Forward {
    /// Changes of its headers.
    pub request: HeaderChanges,
    /// Changes of its path or host.
    pub rewrite: Rewrite,
    /// Faults put in on purpose, before anything is sent.
    pub faults: Faults,
    /// Who gets copies.
    pub mirrors: Vec<Mirror>,
    /// Where it goes.
    pub backends: Backends,
    /// How often it is tried, and how long that may take.
    pub retry: Arc<RetryPolicy>,
    /// Whether clients stay with the endpoint that answered them first.
    pub persistence: Option<Arc<Persistence>>,
}
