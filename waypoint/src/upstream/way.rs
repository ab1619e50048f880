//! How endpoints of a cluster are spoken to, beside HTTP: TLS of their own, a PROXY header, and how long connections live.
use std::sync::Arc;

use adit_core::l7::upstream::{ConnectionSettings, ProxyProtocol, TrafficPolicy, UpstreamTls};
use adit_core::l7::{BackendTls, Snapshot, Target};

/// TLS that an endpoint wants for itself, inside of the mesh's.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Tls {
    /// As a `BackendTLSPolicy` says.
    Policy(Arc<BackendTls>),
    /// As a `DestinationRule` says, for a service of this hostname.
    Rule(Arc<UpstreamTls>, Arc<str>),
    /// In a way that cannot be: then nothing is sent.
    Impossible(Arc<str>),
}

/// How endpoints are spoken to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Way {
    pub(crate) tls: Option<Tls>,
    pub(crate) proxy_protocol: Option<ProxyProtocol>,
    pub(crate) connections: ConnectionSettings,
}

impl Way {
    /// That to `target`, of which `policy` is in force. What a `BackendTLSPolicy` says goes before the rule.
    pub(crate) fn of(snapshot: &Snapshot, target: &Target, policy: &TrafficPolicy) -> Arc<Self> {
        let ruled = || {
            policy.tls.as_ref().map(|tls| match tls {
                Ok(tls) => Tls::Rule(Arc::clone(tls), Arc::clone(&target.service.hostname)),
                Err(why) => Tls::Impossible(Arc::clone(why)),
            })
        };
        let tls = match snapshot.backend_tls.of(target) {
            Some(Ok(tls)) => Some(Tls::Policy(Arc::clone(tls))),
            Some(Err(why)) => Some(Tls::Impossible(Arc::clone(why))),
            None => ruled(),
        };
        Arc::new(Self { tls, proxy_protocol: policy.proxy_protocol, connections: policy.connections })
    }
}
