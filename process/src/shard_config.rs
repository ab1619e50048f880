//! From the process's configuration to one shard's: limits of the process are shared out evenly.
use std::sync::Arc;

use adit_core::hbone::TunnelConfig;
use adit_core::hbone::establish::EstablishLimits;
use adit_core::http2;
use adit_core::pool::PoolConfig;
use adit_core::proxy::shard::ShardConfig;
use adit_core::route::RouteConfig;

use crate::config::Config;

/// The ports the listeners got, where the configuration said 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Ports {
    /// Captured outbound.
    pub outbound: u16,
    /// Captured inbound plaintext.
    pub inbound_plain: u16,
    /// HBONE.
    pub hbone: u16,
    /// SOCKS5, if it listens.
    pub socks5: Option<u16>,
}

/// The configuration of one of `config.threads` shards; each gets its own `seed`.
#[must_use]
pub fn shard_config(config: &Config, ports: Ports, seed: u64) -> ShardConfig {
    let shards = config.threads.get();
    let share = |whole: usize| whole.div_ceil(shards);
    let mut illegal_ports = vec![ports.hbone, ports.inbound_plain, ports.outbound];
    illegal_ports.extend(ports.socks5);
    let route = RouteConfig {
        hbone_port: ports.hbone,
        illegal_ports,
        localhost_app_tunnel: config.localhost_app_tunnel,
    };
    let deadlines = config.deadlines;
    ShardConfig {
        client: Arc::new(tunnel(TunnelConfig::client(), config)),
        server: Arc::new(tunnel(TunnelConfig::server(), config)),
        pool: PoolConfig {
            max_streams: config.pool.max_streams,
            idle: config.pool.idle,
            max_tunnels: share(config.limits.outbound_tunnels),
        },
        establish: EstablishLimits {
            certificate: deadlines.certificate,
            dial: deadlines.dial,
            handshake: deadlines.handshake,
        },
        connect_timeout: deadlines.connect,
        dial_timeout: deadlines.dial,
        half_closed_idle: deadlines.half_closed_idle,
        drain_grace: config.drain,
        resets_as_fin: config.resets_as_fin,
        baggage: config.response_baggage,
        max_handshakes: share(config.limits.handshakes),
        max_inbound_tunnels: share(config.limits.inbound_tunnels),
        max_connections: share(config.limits.connections),
        max_held_per_identity: share(config.limits.buffered_per_identity),
        max_held: share(config.limits.buffered),
        network: Arc::clone(&config.network),
        on_demand: config.control.on_demand && config.control.xds.is_some(),
        ..ShardConfig::new(config.mode.own().cloned(), route, seed)
    }
}

fn tunnel(defaults: TunnelConfig, config: &Config) -> TunnelConfig {
    let http2 = http2::Config {
        initial_window: config.http2.stream_window,
        connection_window: config.http2.connection_window,
        max_frame_size: config.http2.frame_size,
        ..defaults.http2
    };
    TunnelConfig { http2, max_held: config.limits.buffered_per_tunnel, ..defaults }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::num::NonZeroUsize;
    use std::time::Duration;

    use super::*;
    use crate::config::Cpus;

    #[test]
    fn everything_arrives_and_limits_are_shared_out() {
        let vars = [
            ("LOCAL_XDS", "workloads: []"),
            ("PROXY_MODE", "dedicated"),
            ("PROXY_WORKLOAD_INFO", "a/b/c"),
            ("FAKE_CA", "true"),
            ("ZTUNNEL_WORKER_THREADS", "3"),
            ("HTTP2_STREAM_WINDOW_SIZE", "70001"),
            ("HTTP2_CONNECTION_WINDOW_SIZE", "70002"),
            ("HTTP2_FRAME_SIZE", "20000"),
            ("ADIT_MAX_BUFFERED", "10"),
            ("ADIT_MAX_BUFFERED_PER_IDENTITY", "9"),
            ("ADIT_MAX_BUFFERED_PER_TUNNEL", "8"),
            ("ADIT_MAX_CONNECTIONS", "7"),
            ("ADIT_MAX_HANDSHAKES", "1"),
            ("ADIT_MAX_INBOUND_TUNNELS", "4"),
            ("ADIT_MAX_OUTBOUND_TUNNELS", "5"),
            ("ADIT_CERTIFICATE_TIMEOUT", "1s"),
            ("ADIT_DIAL_TIMEOUT", "2s"),
            ("ADIT_HANDSHAKE_TIMEOUT", "3s"),
            ("ADIT_CONNECT_TIMEOUT", "4s"),
            ("ADIT_HALF_CLOSED_IDLE", "5s"),
            ("CONNECTION_TERMINATION_DEADLINE", "6s"),
            ("POOL_MAX_STREAMS_PER_CONNECTION", "7"),
            ("POOL_UNUSED_RELEASE_TIMEOUT", "8s"),
            ("ENABLE_RESPONSE_BAGGAGE", "false"),
            ("LOCALHOST_APP_TUNNEL", "false"),
            ("ADIT_RESETS_AS_FIN", "true"),
            ("NETWORK", "n"),
        ];
        let vars: BTreeMap<_, _> = vars.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        let config = Config::from_vars(&vars, Cpus(NonZeroUsize::MIN)).unwrap();
        let ports = Ports { outbound: 1, inbound_plain: 2, hbone: 3, socks5: Some(4) };
        let shard = shard_config(&config, ports, 99);
        let illegal_ports = vec![3, 2, 1, 4];
        assert_eq!(shard.route, RouteConfig { hbone_port: 3, illegal_ports, localhost_app_tunnel: false });
        assert_eq!((shard.max_held, shard.max_held_per_identity), (4, 3));
        assert_eq!((shard.max_handshakes, shard.max_inbound_tunnels, shard.pool.max_tunnels), (1, 2, 2));
        assert_eq!(shard.max_connections, 3);
        assert_eq!((shard.pool.max_streams, shard.pool.idle), (7, Duration::from_secs(8)));
        let establish = shard.establish;
        let waits = [establish.certificate, establish.dial, establish.handshake, shard.connect_timeout];
        assert_eq!(waits, [1, 2, 3, 4].map(Duration::from_secs));
        let waits = [shard.dial_timeout, shard.half_closed_idle, shard.drain_grace];
        assert_eq!(waits, [2, 5, 6].map(Duration::from_secs));
        for tunnel in [&shard.client, &shard.server] {
            let http2 = &tunnel.http2;
            let sizes =
                (http2.initial_window, http2.connection_window, http2.max_frame_size, tunnel.max_held);
            assert_eq!(sizes, (70_001, 70_002, 20_000, 8));
        }
        assert_eq!(
            (shard.client.http2.max_concurrent_streams, shard.server.http2.max_concurrent_streams),
            (0, 200)
        );
        assert_eq!((shard.baggage, shard.resets_as_fin, &*shard.network, shard.seed), (false, true, "n", 99));
    }
}
