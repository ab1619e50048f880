//! A small mesh for tests: workloads by name, certificates from an in-memory CA.
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::sync::Arc;

use adit_control::ca::{CertificateStore, LocalCa};
use adit_control::local;
use adit_core::mesh::Mesh;
use adit_core::proxy::{Listener, LocalWorkload, Shard, ShardConfig};
use adit_core::route::RouteConfig;
use adit_core::time::{Instant, UnixTime, WallClock};
use adit_core::tls::{RecordMode, TlsPorts};

use super::{Certificates, NodeId, Room, Weather};

/// Reads a mesh from YAML; panics with the loader's own words when the test wrote nonsense.
#[must_use]
pub fn parse(yaml: &str) -> Arc<Mesh> {
    match local::parse(Path::new("test.yaml"), yaml, "") {
        Ok(mesh) => Arc::new(mesh),
        Err(error) => panic!("{error}"),
    }
}

/// Certificates of one in-memory CA for whoever asks.
#[must_use]
pub fn certificates(mode: RecordMode) -> Certificates {
    let clock = Arc::new(WallClock::default());
    let now =
        std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0, |now| now.as_secs());
    clock.set(UnixTime(now));
    let ports =
        TlsPorts { provider: adit_runtime::crypto::provider(), aead: adit_runtime::crypto::aead(), clock };
    let ca = LocalCa::in_memory("cluster.local").expect("an in-memory CA");
    let store = CertificateStore::new(ca, ports, mode);
    Box::new(move |identity| store.get(identity).map_err(|error| Arc::from(error.to_string())))
}

/// A room whose nodes share one CA.
#[must_use]
pub fn room(seed: u64, weather: Weather) -> Room {
    Room::new(seed, weather, certificates(RecordMode::InPlace))
}

/// The configuration of a shard for `namespace/name/account`.
#[must_use]
pub fn config(namespace: &str, name: &str, account: &str) -> ShardConfig {
    let local =
        LocalWorkload { namespace: namespace.into(), name: name.into(), service_account: account.into() };
    ShardConfig::new(local, RouteConfig::default(), 7)
}

/// Adds the proxy of a workload at `ip`, with upstream's ports.
pub fn add(room: &mut Room, config: ShardConfig, mesh: &Arc<Mesh>, ip: IpAddr) -> NodeId {
    let shard = Shard::new(Arc::new(config), Arc::clone(mesh), Instant::from_millis(1));
    room.add_node(
        shard,
        &[
            (SocketAddr::new(ip, 15_008), Listener::InboundHbone),
            (SocketAddr::new(ip, 15_006), Listener::InboundPlain),
        ],
    )
}
