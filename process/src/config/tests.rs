//! Defaults, every variable, and every refusal of the configuration.
use adit_core::proxy::LocalWorkload;

use super::*;

const FOUR: Cpus = Cpus(NonZeroUsize::new(4).unwrap());

/// The least that starts a proxy, plus `more`.
fn vars(more: &[(&str, &str)]) -> BTreeMap<String, String> {
    let least = [
        ("LOCAL_XDS_PATH", "/mesh.yaml"),
        ("PROXY_MODE", "dedicated"),
        ("PROXY_WORKLOAD_INFO", "shop/echo-1/echo"),
        ("FAKE_CA", "true"),
    ];
    least.iter().chain(more).map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

fn read(more: &[(&str, &str)]) -> Config {
    Config::from_vars(&vars(more), FOUR).unwrap_or_else(|errors| panic!("{more:?}: {errors}"))
}

#[test]
fn defaults_are_upstreams() {
    let config = read(&[]);
    let any = |port| SocketAddr::from((Ipv6Addr::UNSPECIFIED, port));
    let seconds = Duration::from_secs;
    let expected = Config {
        mesh: Some(MeshSource::File("/mesh.yaml".into())),
        mode: Mode::Dedicated(LocalWorkload {
            namespace: "shop".into(),
            name: "echo-1".into(),
            service_account: "echo".into(),
        }),
        network: "".into(),
        trust_domain: None,
        authority: Authority::BuiltIn { directory: None },
        crl: None,
        decisions: Decisions::Quiet,
        listen: Listen {
            outbound: any(15001),
            inbound_plain: any(15006),
            hbone: any(15008),
            socks5: None,
            readiness: any(15021),
            stats: any(15020),
            admin: SocketAddr::from(([127, 0, 0, 1], 15000)),
            loopback: [127, 0, 0, 1].into(),
            ipv6: true,
        },
        handover: None,
        entries: Vec::new(),
        sockets: SocketOptions {
            nodelay: true,
            keepalive: Some(Keepalive { time: seconds(180), interval: seconds(180), retries: 9 }),
            user_timeout: false,
            mark: None,
        },
        transparency: Transparency::Try,
        deadlines: Deadlines {
            certificate: seconds(10),
            dial: seconds(10),
            handshake: seconds(10),
            connect: seconds(20),
            half_closed_idle: seconds(300),
        },
        pool: Pool { max_streams: 100, idle: seconds(300) },
        http2: Http2 { stream_window: 4_194_304, connection_window: 16_777_216, frame_size: 1_048_576 },
        limits: Limits {
            buffered_per_tunnel: 20 << 20,
            buffered_per_identity: 64 << 20,
            buffered: 256 << 20,
            inbound_tunnels: 16_384,
            outbound_tunnels: 16_384,
            connections: 65_536,
            handshakes: 1024,
        },
        drain: seconds(5),
        threads: NonZeroUsize::new(2).unwrap(),
        response_baggage: true,
        localhost_app_tunnel: true,
        record: None,
        records: RecordMode::InPlace,
        resets_as_fin: false,
        runtime: Runtime::Tokio,
        metrics: Bounds { series: 10_000, idle: seconds(3600) },
        istio_version: "unknown".to_owned(),
        // Tested beside them.
        control: config.control.clone(),
        dns: config.dns.clone(),
        warnings: config.warnings.clone(),
    };
    assert_eq!(config, expected);
    assert!(
        matches!(config.warnings.as_slice(), [ca] if ca.contains("Not fit for production")),
        "{config:?}"
    );
    assert_eq!(
        LogConfig::from_vars(&BTreeMap::new()),
        LogConfig { filter: "info".to_owned(), format: Format::Plain }
    );
}

#[test]
fn every_variable_is_heard() {
    type Check = fn(&Config) -> bool;
    let cases: &[(&[(&str, &str)], Check)] = &[
        (&[("NETWORK", "n1")], |c| &*c.network == "n1"),
        (&[("TRUST_DOMAIN", "td")], |c| c.trust_domain.as_deref() == Some("td")),
        (&[("LOCAL_CA_DIR", "/ca")], |c| c.authority == Authority::BuiltIn { directory: Some("/ca".into()) }),
        (&[("CRL_PATH", "/crl")], |c| c.crl.as_deref() == Some("/crl".as_ref())),
        (&[("XDS_ADDRESS", "https://istiod:15012")], |c| c.control.xds.is_some() && c.mesh.is_some()),
        (&[("ISTIO_META_DNS_CAPTURE", "false")], |c| c.dns.listen.is_none()),
        (&[("AUTHZ_POLICY_INFO_LOGGING", "true")], |c| c.decisions == Decisions::Loud),
        (&[("XDS_ON_DEMAND", "true"), ("ISTIO_META_DNS_CAPTURE", "false"), ("XDS_ADDRESS", "a:1")], |c| {
            c.control.on_demand
        }),
        (&[("IPV6_ENABLED", "false")], |c| c.listen.hbone == SocketAddr::from(([0, 0, 0, 0], 15008))),
        (&[("ADIT_BIND_ADDRESS", "127.0.0.2")], |c| {
            c.listen.outbound == SocketAddr::from(([127, 0, 0, 2], 15001))
        }),
        (&[("ADIT_OUTBOUND_PORT", "1")], |c| c.listen.outbound.port() == 1),
        (&[("ADIT_INBOUND_PORT", "2")], |c| c.listen.inbound_plain.port() == 2),
        (&[("ADIT_ENTRY", "127.0.0.1:1=10.0.0.1:2,[::1]:3=[::2]:4")], |c| c.entries.len() == 2),
        (&[("ADIT_HBONE_PORT", "3")], |c| c.listen.hbone.port() == 3),
        (&[("ADIT_READINESS_PORT", "0")], |c| c.listen.readiness.port() == 0),
        (&[("ADIT_STATS_PORT", "4")], |c| c.listen.stats.port() == 4),
        (&[("ADIT_ADMIN_PORT", "5")], |c| c.listen.admin == SocketAddr::from(([127, 0, 0, 1], 5))),
        (&[("ADIT_BIND_ADDRESS", "127.0.0.9")], |c| c.listen.admin.ip() == IpAddr::from([127, 0, 0, 9])),
        (&[("ADIT_BIND_ADDRESS", "10.0.0.1")], |c| c.listen.admin.ip().is_loopback()),
        (&[("PROXY_CONFIG", "{statsPort: 6, proxyAdminPort: 7, concurrency: 9}")], |c| {
            (c.listen.stats.port(), c.listen.admin.port(), c.threads.get()) == (6, 7, 9)
        }),
        (&[("PROXY_CONFIG", "concurrency: 9"), ("ZTUNNEL_WORKER_THREADS", "3")], |c| c.threads.get() == 3),
        (&[("ADIT_METRICS_MAX_SERIES", "7")], |c| c.metrics.series == 7),
        (&[("ADIT_METRICS_IDLE", "1m")], |c| c.metrics.idle == Duration::from_secs(60)),
        (&[("ISTIO_META_ISTIO_VERSION", "1.30.0")], |c| c.istio_version == "1.30.0"),
        (&[("UNSTABLE_ENABLE_SOCKS5", "true")], |c| c.listen.socks5 == Some(([127, 0, 0, 1], 15080).into())),
        (
            &[
                ("UNSTABLE_ENABLE_SOCKS5", "true"),
                ("ADIT_BIND_ADDRESS", "127.0.0.9"),
                ("ADIT_SOCKS5_PORT", "7"),
            ],
            |c| c.listen.socks5 == Some(([127, 0, 0, 9], 7).into()),
        ),
        (&[("UNSTABLE_ENABLE_SOCKS5", "true"), ("ADIT_BIND_ADDRESS", "10.0.0.1")], |c| {
            c.listen.socks5 == Some(([127, 0, 0, 1], 15080).into())
        }),
        (&[("UNSTABLE_ENABLE_SOCKS5", "true"), ("ADIT_SOCKS5_BIND_ADDRESS", "::1")], |c| {
            c.listen.socks5 == Some((Ipv6Addr::LOCALHOST, 15080).into())
        }),
        (&[("PACKET_MARK", "1337")], |c| c.sockets.mark == Some(1337)),
        (&[("ENABLE_ORIG_SRC", "true")], |c| c.transparency == Transparency::Force),
        (&[("ENABLE_ORIG_SRC", "false")], |c| c.transparency == Transparency::Never),
        (&[("KEEPALIVE_ENABLED", "false")], |c| c.sockets.keepalive.is_none()),
        (&[("KEEPALIVE_TIME", "10s"), ("KEEPALIVE_INTERVAL", "2s"), ("KEEPALIVE_RETRIES", "3")], |c| {
            c.sockets.keepalive
                == Some(Keepalive {
                    time: Duration::from_secs(10),
                    interval: Duration::from_secs(2),
                    retries: 3,
                })
        }),
        (&[("USER_TIMEOUT_ENABLED", "true")], |c| c.sockets.user_timeout),
        (&[("POOL_MAX_STREAMS_PER_CONNECTION", "7")], |c| c.pool.max_streams == 7),
        (&[("POOL_UNUSED_RELEASE_TIMEOUT", "1m")], |c| c.pool.idle == Duration::from_secs(60)),
        (&[("HTTP2_STREAM_WINDOW_SIZE", "65535")], |c| c.http2.stream_window == 65535),
        (&[("HTTP2_CONNECTION_WINDOW_SIZE", "70000")], |c| c.http2.connection_window == 70000),
        (&[("HTTP2_FRAME_SIZE", "16384")], |c| c.http2.frame_size == 16384),
        (&[("CONNECTION_TERMINATION_DEADLINE", "1s")], |c| c.drain == Duration::from_secs(1)),
        (&[("TERMINATION_GRACE_PERIOD_SECONDS", "30")], |c| c.drain == Duration::from_secs(25)),
        (&[("TERMINATION_GRACE_PERIOD_SECONDS", "10")], |c| c.drain == Duration::from_secs(9)),
        (&[("TERMINATION_GRACE_PERIOD_SECONDS", "0")], |c| c.drain == Duration::from_secs(1)),
        (&[("TERMINATION_GRACE_PERIOD_SECONDS", "30"), ("CONNECTION_TERMINATION_DEADLINE", "2s")], |c| {
            c.drain == Duration::from_secs(2)
        }),
        (&[("ZTUNNEL_WORKER_THREADS", "3")], |c| c.threads.get() == 3),
        (&[("ENABLE_RESPONSE_BAGGAGE", "false")], |c| !c.response_baggage),
        (&[("LOCALHOST_APP_TUNNEL", "false")], |c| !c.localhost_app_tunnel),
        (&[("ADIT_CERTIFICATE_TIMEOUT", "1s")], |c| c.deadlines.certificate == Duration::from_secs(1)),
        (&[("ADIT_DIAL_TIMEOUT", "1s")], |c| c.deadlines.dial == Duration::from_secs(1)),
        (&[("ADIT_HANDSHAKE_TIMEOUT", "1s")], |c| c.deadlines.handshake == Duration::from_secs(1)),
        (&[("ADIT_CONNECT_TIMEOUT", "1s")], |c| c.deadlines.connect == Duration::from_secs(1)),
        (&[("ADIT_HALF_CLOSED_IDLE", "1s")], |c| c.deadlines.half_closed_idle == Duration::from_secs(1)),
        (&[("ADIT_MAX_BUFFERED_PER_TUNNEL", "1Mi")], |c| c.limits.buffered_per_tunnel == 1 << 20),
        (&[("ADIT_MAX_BUFFERED_PER_IDENTITY", "2Mi")], |c| c.limits.buffered_per_identity == 2 << 20),
        (&[("ADIT_MAX_BUFFERED", "3Mi")], |c| c.limits.buffered == 3 << 20),
        (&[("ADIT_MAX_INBOUND_TUNNELS", "1")], |c| c.limits.inbound_tunnels == 1),
        (&[("ADIT_MAX_OUTBOUND_TUNNELS", "2")], |c| c.limits.outbound_tunnels == 2),
        (&[("ADIT_MAX_CONNECTIONS", "4")], |c| c.limits.connections == 4),
        (&[("ADIT_MAX_HANDSHAKES", "3")], |c| c.limits.handshakes == 3),
        (&[("ADIT_RECORD", "/tmp/r")], |c| {
            c.record.as_deref() == Some("/tmp/r".as_ref()) && c.warnings.iter().any(|w| w.contains("payload"))
        }),
        (&[("ADIT_HANDOVER_PATH", "/run/a/b")], |c| c.handover.as_deref() == Some("/run/a/b".as_ref())),
        (&[("ADIT_RECORDS", "rustls")], |c| c.records == RecordMode::Rustls),
        (&[("ADIT_RECORDS", "in-place")], |c| c.records == RecordMode::InPlace),
        (&[("ADIT_RESETS_AS_FIN", "true")], |c| c.resets_as_fin),
        (&[("ADIT_RUNTIME", "smol")], |c| c.runtime == Runtime::Smol),
        // Set to what changes nothing.
        (&[("XDS_ADDRESS", ""), ("TLS12_ENABLED", "false"), ("ENABLE_PROXY", "true")], |c| {
            c.warnings.len() == 1
        }),
    ];
    for (more, check) in cases {
        assert!(check(&read(more)), "{more:?}");
    }
}

#[test]
fn yaml_may_be_inline() {
    let mut vars = vars(&[("LOCAL_XDS", "workloads: []")]);
    vars.remove("LOCAL_XDS_PATH");
    let config = Config::from_vars(&vars, FOUR).unwrap();
    assert_eq!(config.mesh, Some(MeshSource::Inline("workloads: []".to_owned())));
}

#[test]
fn each_bad_value_is_named_with_what_was_expected() {
    let cases = [
        ("LOCAL_XDS", "x", "both are set"),
        ("PROXY_MODE", "sidecar", "`shared` or `dedicated`"),
        ("PROXY_WORKLOAD_INFO", "a/b", "namespace/name/service-account"),
        ("FAKE_CA", "yes", "`true` or `false`"),
        ("IPV6_ENABLED", "TRUE", "`true` or `false`"),
        ("KEEPALIVE_TIME", "5", "a duration"),
        ("KEEPALIVE_RETRIES", "-1", "a whole number"),
        ("ADIT_BIND_ADDRESS", "localhost", "an IP address"),
        ("ADIT_HBONE_PORT", "65536", "a port number"),
        ("ADIT_HBONE_PORT", "", "a port number"),
        ("ADIT_ENTRY", "127.0.0.1:1", "127.0.0.1:8080=10.0.0.7:80"),
        ("ADIT_DIAL_TIMEOUT", "0s", "longer than zero"),
        ("ADIT_MAX_BUFFERED", "0", "more than zero"),
        ("ADIT_MAX_BUFFERED", "10M", "16Mi"),
        ("ADIT_MAX_CONNECTIONS", "0", "from 1 to"),
        ("ADIT_MAX_HANDSHAKES", "0", "from 1 to"),
        ("ADIT_RECORDS", "inplace", "`in-place` or `rustls`"),
        ("ADIT_HBONE_PROT", "1", "perhaps ADIT_HBONE_PORT"),
        ("HTTP2_FRAME_SIZE", "16383", "from 16384 to 16777215"),
        ("HTTP2_CONNECTION_WINDOW_SIZE", "2147483648", "from 65535 to 2147483647"),
        ("POOL_MAX_STREAMS_PER_CONNECTION", "0", "from 1 to"),
        ("ZTUNNEL_WORKER_THREADS", "many", "a number of threads"),
        ("ZTUNNEL_CPU_LIMIT", "1 core", "a CPU quantity"),
        ("COMPLIANCE_POLICY", "fips", "`pqc`"),
        ("TLS12_ENABLED", "true", "not supported"),
        ("XDS_ON_DEMAND", "true", "ISTIO_META_DNS_CAPTURE=false"),
        ("ENABLE_PROXY", "false", "`true`"),
        ("PROXY_CONFIG", "statsPort: many", "statsPort"),
        ("ADIT_METRICS_MAX_SERIES", "0", "from 1 to"),
        ("ADIT_METRICS_IDLE", "0s", "longer than zero"),
        ("AUTHZ_POLICY_INFO_LOGGING", "yes", "`true` or `false`"),
    ];
    for (name, value, expected) in cases {
        let error = Config::from_vars(&vars(&[(name, value)]), FOUR).expect_err(name);
        let text = error.to_string();
        let first = error.iter().next().expect("never empty");
        let about_both = name == "LOCAL_XDS";
        assert!(about_both || first.variable == name, "{name}={value}: {text}");
        assert!(about_both || first.value.as_deref().unwrap_or_default() == value, "{name}={value}: {text}");
        assert!(text.contains(expected), "{name}={value}: {text}");
        assert_eq!(error.iter().count(), 1, "{name}={value}: {text}");
    }
}

/// Whatever can be wrong is refused by its name: no variable takes nonsense for its default.
#[test]
fn every_variable_refuses_nonsense() {
    // Any text is a name or a path; whether it exists is seen later (tests/startup.rs). RUST_LOG is judged there too, and
    // LOG_FORMAT knows one word, as upstream.
    const TEXT: [&str; 22] = [
        "ADIT_HANDOVER_PATH",
        "INPOD_UDS",
        "SERVICE_ACCOUNT",
        "LOCAL_XDS",
        "LOCAL_XDS_PATH",
        "ISTIO_META_ISTIO_VERSION",
        "ADIT_RECORD",
        "AUTH_TOKEN",
        "CA_ROOT_CA",
        "CLUSTER_DOMAIN",
        "CLUSTER_ID",
        "CRL_PATH",
        "LOCAL_CA_DIR",
        "NETWORK",
        "NODE_NAME",
        "POD_NAME",
        "POD_NAMESPACE",
        "PREFERED_SERVICE_NAMESPACE",
        "TRUST_DOMAIN",
        "XDS_ROOT_CA",
        "RUST_LOG",
        "LOG_FORMAT",
    ];
    let (mut refused, mut taken) = (0, Vec::new());
    for name in variables() {
        // Beside a control plane, and beside a file and the built-in authority: some are read in one case only.
        let mut served = vars(&[(name, "~nonsense~")]);
        served.retain(|name, value| value == "~nonsense~" || name.starts_with("PROXY_"));
        let errors = [served, vars(&[(name, "~nonsense~")])].map(|vars| Config::from_vars(&vars, FOUR).err());
        match errors.into_iter().flatten().next() {
            None => taken.push(name),
            // Refused, but for what a local file goes without, or for LOCAL_XDS_PATH beside it.
            Some(_) if name.starts_with("LOCAL_XDS") => taken.push(name),
            Some(errors) => {
                let text = errors.to_string();
                assert!(text.contains(&format!("{name}: read \"~nonsense~\"")), "{name}: {text}");
                refused += 1;
            }
        }
    }
    taken.sort_unstable();
    taken.dedup();
    let mut text = TEXT;
    text.sort_unstable();
    assert_eq!(taken, text);
    assert!(refused > 30, "only {refused} variables were tried");
}

#[test]
fn an_empty_environment_is_that_of_a_node_in_a_mesh() {
    let config = Config::from_vars(&BTreeMap::new(), FOUR).unwrap();
    assert!(config.mode.shared().is_some() && config.control.xds.is_some());
    assert!(matches!(config.authority, Authority::Istio { .. }), "{config:?}");
    // datapath §1.4: without its mark a proxy in a pod would capture itself. Our own namespace is not captured.
    assert_eq!((config.sockets.mark, config.control_mark()), (Some(1337), None));
    assert_eq!(config.warnings, Vec::<String>::new());
}

#[test]
fn what_is_for_one_workload_alone_is_refused_in_shared_mode() {
    let mut vars = vars(&[("PROXY_MODE", "shared"), ("PACKET_MARK", "7")]);
    let config = Config::from_vars(&vars, FOUR).unwrap();
    assert_eq!(config.sockets.mark, Some(7));
    let warning = config.warnings.iter().find(|w| w.contains("no effect")).unwrap();
    assert!(warning.ends_with(": PROXY_WORKLOAD_INFO"), "{warning}");
    vars.insert("ADIT_ENTRY".to_owned(), "127.0.0.1:1=10.0.0.7:80".to_owned());
    let error = Config::from_vars(&vars, FOUR).unwrap_err().to_string();
    assert!(error.contains("ADIT_ENTRY: ") && error.contains("shared mode"), "{error}");
    vars.insert("ADIT_HBONE_PORT".to_owned(), "0".to_owned());
    let error = Config::from_vars(&vars, FOUR).unwrap_err().to_string();
    assert!(error.contains("ADIT_HBONE_PORT: read \"0\", expected the same port"), "{error}");
}

#[test]
fn without_a_file_the_control_plane_is_asked() {
    let mut vars = vars(&[]);
    vars.remove("LOCAL_XDS_PATH");
    vars.remove("FAKE_CA");
    let config = Config::from_vars(&vars, FOUR).unwrap();
    assert!(config.mesh.is_none() && config.control.xds.is_some());
    assert!(matches!(config.authority, Authority::Istio { .. }), "{config:?}");
    assert!(config.warnings.is_empty(), "{config:?}");
    vars.insert("XDS_ADDRESS".to_owned(), String::new());
    let error = Config::from_vars(&vars, FOUR).unwrap_err().to_string();
    assert!(error.contains("XDS_ADDRESS") && error.contains("LOCAL_XDS_PATH"), "{error}");
}

#[test]
fn what_has_no_effect_is_said() {
    let more = [
        ("POD_NAME", "p"),
        ("CA_HEADER_X", "y"),
        ("ISTIO_META_FOO", "z"),
        ("ISTIO_META_DNS_CAPTURE", "true"),
        ("INPOD_UDS", "/sock"),
    ];
    let config = read(&more);
    let warning = config.warnings.iter().find(|w| w.contains("no effect")).unwrap();
    assert!(warning.ends_with(": INPOD_UDS, POD_NAME, ISTIO_META_FOO, CA_HEADER_X"), "{warning}");
    let asked = read(&[&more[..], &[("XDS_ADDRESS", "a:1")]].concat());
    let warning = asked.warnings.iter().find(|w| w.contains("no effect")).unwrap();
    assert!(warning.ends_with(": INPOD_UDS, CA_HEADER_X"), "{warning}");
    let warnings = read(&[("PROXY_CONFIG", "{tracing: {}, proxyMetadata: {A: b}}")]).warnings;
    assert!(warnings.iter().any(|w| w.ends_with("no effect: tracing, A")), "{warnings:?}");
}

#[test]
fn a_long_value_is_cut_in_errors() {
    let long = "é".repeat(500);
    let error = Config::from_vars(&vars(&[("TLS12_ENABLED", &long)]), FOUR).unwrap_err().to_string();
    assert!(error.chars().count() < 400 && error.contains('…'), "{error}");
}
