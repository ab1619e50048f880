//! The proxies of this process and their open connections as JSON (datapath §8.4).
use std::net::SocketAddr;
use std::sync::Arc;

use adit_core::proxy::observed::{Carrier, Connection, Direction, Party};
use serde::Serialize;

use crate::admin::{ProxyState, ProxyStatus};

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct InboundEntry {
    src: Option<SocketAddr>,
    /// The service's hostname, if the client's proxy named one.
    original_dst: Option<Arc<str>>,
    actual_dst: Option<SocketAddr>,
    protocol: &'static str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct OutboundEntry {
    src: Option<SocketAddr>,
    original_dst: Option<SocketAddr>,
    actual_dst: Option<SocketAddr>,
    protocol: &'static str,
}

#[derive(Default, Serialize)]
struct Connections {
    inbound: Vec<InboundEntry>,
    outbound: Vec<OutboundEntry>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Info {
    name: Arc<str>,
    namespace: Arc<str>,
    service_account: Arc<str>,
}

/// One of `workloadState`.
#[derive(Serialize)]
pub(super) struct ProxyEntry {
    state: ProxyStatus,
    #[serde(skip_serializing_if = "Option::is_none")]
    connections: Option<Connections>,
    info: Info,
}

const fn protocol(carrier: Carrier) -> &'static str {
    match carrier {
        Carrier::Tcp => "TCP",
        Carrier::Hbone => "HBONE",
        Carrier::DoubleHbone => "DOUBLEHBONE",
    }
}

/// The side of a connection that this process stands for.
const fn own(connection: &Connection) -> &Party {
    match connection.direction {
        Direction::Inbound => &connection.destination,
        Direction::Outbound => &connection.source,
    }
}

impl ProxyEntry {
    /// `all`: the connections of every proxy; those of this one are picked by its workload.
    pub(super) fn new(proxy: ProxyState, all: &[Arc<Connection>]) -> Self {
        let is_of = |party: &Party| {
            party.workload.as_ref() == Some(&proxy.name) && party.namespace.as_ref() == Some(&proxy.namespace)
        };
        let connections = (proxy.status == ProxyStatus::Up).then(|| {
            let mut connections = Connections::default();
            for connection in all.iter().filter(|connection| is_of(own(connection))) {
                let (src, protocol) = (connection.source.address, protocol(connection.carrier));
                match connection.direction {
                    Direction::Inbound => connections.inbound.push(InboundEntry {
                        src,
                        original_dst: connection.forwarded_host.clone(),
                        actual_dst: connection.target,
                        protocol,
                    }),
                    Direction::Outbound => connections.outbound.push(OutboundEntry {
                        src,
                        original_dst: connection.target,
                        actual_dst: connection.destination.address,
                        protocol,
                    }),
                }
            }
            connections.inbound.sort_by_key(|entry| (entry.src, entry.actual_dst));
            connections.outbound.sort_by_key(|entry| (entry.src, entry.actual_dst));
            connections
        });
        let ProxyState { status, name, namespace, service_account, .. } = proxy;
        Self { state: status, connections, info: Info { name, namespace, service_account } }
    }
}
