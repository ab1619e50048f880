//! What requests are told apart by (Envoy: `RateLimit.Action`), and what a waypoint knows besides.
use alloc::borrow::Cow;
use alloc::boxed::Box;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::net::IpAddr;

use ipnet::IpNet;

use crate::identity::Identity;
use crate::l7::facts::{header, parameter};
use crate::l7::jwt::Authenticated;
use crate::l7::{Named, Request};
use crate::mesh::ServiceName;

/// A request that asks to pass.
#[derive(Clone, Copy, Debug)]
pub struct Asking<'a, R> {
    /// The request.
    pub request: &'a R,
    /// Who calls, verified by mTLS.
    pub source: Option<&'a Identity>,
    /// The cluster of who calls, if it is known.
    pub source_cluster: Option<&'a str>,
    /// Whose request it is, behind proxies that are trusted.
    pub client: IpAddr,
    /// What its token says, if it had one.
    pub auth: Option<&'a Authenticated>,
    /// The service that is asked.
    pub destination: &'a ServiceName,
}

/// How much of an address counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Masked {
    /// Bits of an IPv4 address; 32: all.
    pub v4: u8,
    /// Bits of an IPv6 address; 128: all.
    pub v6: u8,
}

/// One thing that requests are told apart by: an entry of a descriptor, or a part of a key.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Part {
    /// `generic_key`: the same for all.
    Generic {
        /// Name of the entry.
        key: Box<str>,
        /// Its value.
        value: Box<str>,
    },
    /// `request_headers`: the value of a header.
    Header {
        /// Name of the entry.
        key: Box<str>,
        /// Of the header, in lower case.
        name: Box<str>,
        /// Without it, this entry alone is left out, and not the descriptor.
        optional: bool,
    },
    /// `query_parameters`: the value of a query parameter.
    Query {
        /// Name of the entry.
        key: Box<str>,
        /// Of the parameter.
        name: Box<str>,
        /// As for headers.
        optional: bool,
    },
    /// `header_value_match`: there if headers are so, or are not.
    HeaderMatch {
        /// Name of the entry: `header_match`.
        key: Box<str>,
        /// Its value.
        value: Box<str>,
        /// What headers must be.
        headers: Vec<Named>,
        /// Whether they must be so, or must not.
        expect: bool,
    },
    /// `query_parameter_value_match`: as [`HeaderMatch`](Self::HeaderMatch).
    QueryMatch {
        /// Name of the entry: `query_match`.
        key: Box<str>,
        /// Its value.
        value: Box<str>,
        /// What parameters must be.
        parameters: Vec<Named>,
        /// Whether they must be so, or must not.
        expect: bool,
    },
    /// `remote_address`: the client's address.
    RemoteAddress,
    /// `masked_remote_address`: its network.
    MaskedAddress(Masked),
    /// `source_cluster`: the cluster of who calls.
    SourceCluster,
    /// `destination_cluster`: the hostname of the service.
    Destination,
    /// `source_principal`: the identity of who calls.
    Principal,
    /// `source_namespace`: its namespace.
    Namespace,
    /// `jwt_claim`: a claim of the token, which must be a text (or list of texts, of which the first counts).
    Claim {
        /// Name of the entry.
        key: Box<str>,
        /// The claim: its name, and of what it has inside.
        path: Vec<Box<str>>,
    },
    /// `grpc_method`: `SERVICE/METHOD`.
    GrpcMethod,
    /// `method`: the method.
    Method,
    /// `path`: the path without query.
    Path,
}

/// What a part comes to.
pub(super) enum Entry<'a> {
    /// This.
    There(&'a str, Cow<'a, str>),
    /// Nothing, and that is well.
    Left,
    /// Nothing, so the whole descriptor is nothing.
    Missing,
}

impl Part {
    /// What it comes to for a request.
    pub(super) fn entry<'a>(&'a self, asking: &Asking<'a, impl Request>) -> Entry<'a> {
        let there = |key: &'a str, value: Option<Cow<'a, str>>, optional: bool| match value {
            Some(value) => Entry::There(key, value),
            None if optional => Entry::Left,
            None => Entry::Missing,
        };
        let request = asking.request;
        match self {
            Self::Generic { key, value } => Entry::There(key, value.as_ref().into()),
            Self::Header { key, name, optional } => there(key, header(request, name).map(text), *optional),
            Self::Query { key, name, optional } => {
                there(key, parameter(request.query(), name).map(text), *optional)
            }
            Self::HeaderMatch { key, value, headers, expect } => {
                let right = headers.iter().all(|named| named.holds_header(request)) == *expect;
                there(key, right.then(|| value.as_ref().into()), false)
            }
            Self::QueryMatch { key, value, parameters, expect } => {
                let right = parameters.iter().all(|named| named.holds_query(request)) == *expect;
                there(key, right.then(|| value.as_ref().into()), false)
            }
            Self::RemoteAddress => {
                Entry::There("remote_address", asking.client.to_canonical().to_string().into())
            }
            Self::MaskedAddress(masked) => {
                let ip = asking.client.to_canonical();
                let bits = if ip.is_ipv4() { masked.v4 } else { masked.v6 };
                let network = IpNet::new(ip, bits).ok().map(|net| net.trunc().to_string().into());
                there("masked_remote_address", network, false)
            }
            Self::SourceCluster => there("source_cluster", asking.source_cluster.map(Into::into), false),
            Self::Destination => Entry::There("destination_cluster", (&*asking.destination.hostname).into()),
            Self::Principal => {
                there("source_principal", asking.source.map(|source| source.to_string().into()), false)
            }
            Self::Namespace => {
                there("source_namespace", asking.source.map(|it| it.namespace().into()), false)
            }
            Self::Claim { key, path } => {
                there(key, asking.auth.and_then(|auth| auth.claim(path).next()).map(Into::into), false)
            }
            Self::GrpcMethod => there("grpc_method", grpc_method(request), false),
            Self::Method => Entry::There("method", owned(request.method())),
            Self::Path => Entry::There("path", owned(request.path())),
        }
    }
}

fn owned<'a>(text: &str) -> Cow<'a, str> {
    Cow::Owned(text.into())
}

/// Octets that are no text are told apart by what is left of them as text.
fn text<'a>(octets: Cow<'_, [u8]>) -> Cow<'a, str> {
    Cow::Owned(String::from_utf8_lossy(&octets).into_owned())
}

fn grpc_method<'a>(request: &impl Request) -> Option<Cow<'a, str>> {
    let is_grpc = header(request, "content-type").is_some_and(|it| it.starts_with(b"application/grpc"));
    let (service, method) = request.path().strip_prefix('/')?.split_once('/')?;
    is_grpc.then(|| Cow::Owned(format!("{service}/{method}")))
}
