//! Whom CUSTOM policies ask (`MeshConfig.extensionProviders`, waypoint.md §11.11).
use alloc::boxed::Box;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::time::Duration;

use super::pattern::Pattern;

/// An authorizer outside, under the name that policies use.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Provider {
    /// Its name (`CUSTOM` policies: `provider.name`).
    pub name: Arc<str>,
    /// `service`: its host.
    pub host: Box<str>,
    /// `service`: the namespace to look for the host in, where it was written as `namespace/host`.
    pub namespace: Option<Box<str>>,
    /// `port`.
    pub port: u16,
    /// `timeout`; Istio's default is 600 s.
    pub timeout: Duration,
    /// `failOpen`: let requests pass that it could not be asked about. Default: no.
    pub fail_open: bool,
    /// `statusOnError`: the status of requests that it could not be asked about; default 403.
    pub status_on_error: u16,
    /// `includeRequestBodyInCheck`.
    pub body: Option<BodyInCheck>,
    /// What is spoken with it.
    pub protocol: Protocol,
}

impl Provider {
    /// `timeout` where none is given.
    pub const TIMEOUT: Duration = Duration::from_secs(600);
    /// `statusOnError` where none is given.
    pub const STATUS_ON_ERROR: u16 = 403;
}

/// How much of a request's body it is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct BodyInCheck {
    /// Octets.
    pub max: u32,
    /// Longer bodies are cut off; otherwise such a request gets status 413.
    pub allow_partial: bool,
    /// As octets, where text is expected otherwise.
    pub as_bytes: bool,
}

/// What is spoken with a provider.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Protocol {
    /// `envoyExtAuthzGrpc`: `envoy.service.auth.v3.Authorization/Check`. All headers go.
    Grpc,
    /// `envoyExtAuthzHttp`: the request, without most of its headers. Status 200 allows.
    Http(HttpCheck),
}

/// Fields of `envoyExtAuthzHttp` alone. Names of headers are compared in any case.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct HttpCheck {
    /// `pathPrefix`: stands before the request's path.
    pub path_prefix: Box<str>,
    /// `includeRequestHeadersInCheck`: which headers go, besides `Host`, method, path, `Content-Length` and `Authorization`.
    pub request_headers: Vec<Pattern>,
    /// `includeAdditionalHeadersInCheck`: headers of fixed value, in lower case.
    pub additional_headers: Vec<(Box<str>, Box<str>)>,
    /// `headersToUpstreamOnAllow`: from its answer to the backend, in place of those the request has.
    pub upstream_on_allow: Vec<Pattern>,
    /// `headersToDownstreamOnAllow`: from its answer to the client, with the backend's.
    pub downstream_on_allow: Vec<Pattern>,
    /// `headersToDownstreamOnDeny`: from its refusal to the client; where none is given, all.
    pub downstream_on_deny: Vec<Pattern>,
}

/// Why a CUSTOM policy has nobody to ask. It refuses what it matches.
#[derive(Clone, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Unusable {
    /// There is no provider of this name.
    #[error(
        "MeshConfig.extensionProviders has no provider {0:?}: requests that the policy matches are denied"
    )]
    Unknown(Box<str>),
    /// The policy names none.
    #[error("a CUSTOM policy must name a provider: requests that it matches are denied")]
    Unnamed,
    /// What is configured for it makes no sense.
    #[error("provider {name:?} cannot be used: {problem}; requests that the policy matches are denied")]
    Broken {
        /// Its name.
        name: Box<str>,
        /// What is wrong.
        problem: String,
    },
    /// It is asked by HTTP about something that is no HTTP.
    #[error(
        "provider {0:?} speaks HTTP and cannot be asked about plain TCP: connections that the policy matches are denied"
    )]
    NeedsHttp(Arc<str>),
}
