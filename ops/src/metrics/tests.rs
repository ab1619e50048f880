//! Golden text of the metrics, the bound on their number, and octets of connections that are still open.
use std::time::Duration;

use adit_core::dns::forward::ForwardError;
use adit_core::dns::{Asked, DnsObserved, RecordType, Transport};
use adit_core::identity::Identity;
use adit_core::mesh::Workload;
use adit_core::proxy::observed::{Carrier, Direction, Labels, Names, Party, ServiceLabels};

use adit_core::time::UnixTime;
use adit_core::xds::Reason;

use super::*;

fn workload(service: &str) -> Workload {
    let identity = Identity::new("cluster.local", "shop", "web").unwrap();
    let mut workload = Workload::new("u", "web-1", identity);
    workload.canonical_name = service.into();
    workload
}

fn labels(workload: &str, region: &str, identity: &Identity) -> Labels {
    Labels {
        workload: Some(workload.into()),
        canonical_service: Some(format!("{workload}-svc").into()),
        revision: Some("v1".into()),
        app: Some(format!("{workload}-svc").into()),
        region: Some(region.into()),
        zone: Some("".into()),
        principal: Some(identity.clone()),
    }
}

fn connection(client: &str, carrier: Carrier) -> Arc<Connection> {
    let identity = |account| Identity::new("cluster.local", "shop", account).unwrap();
    let (web, echo) = (identity("web"), identity("echo"));
    let party = |name: &str, region, identity: &Identity| {
        let names = Names {
            workload: Some(format!("{name}-1").into()),
            namespace: Some("shop".into()),
            identity: (carrier != Carrier::Tcp).then(|| identity.clone()),
            cluster: Some("Kubernetes".into()),
            labels: labels(name, region, identity),
        };
        Party::new(Some("10.0.0.1:1".parse().unwrap()), names)
    };
    Arc::new(Connection {
        id: 1,
        direction: Direction::Outbound,
        source: party(client, "", &web),
        destination: party("echo", if carrier == Carrier::Tcp { "" } else { "eu" }, &echo),
        hbone_authority: None,
        service: Some(ServiceLabels {
            hostname: "echo.shop.svc".into(),
            name: "echo".into(),
            namespace: "shop".into(),
        }),
        carrier,
        target: None,
        forwarded_host: None,
        trace: None,
        traffic: adit_core::proxy::observed::Traffic::default(),
    })
}

fn closed(connection: &Arc<Connection>, flag: Flag) -> Observed {
    Observed::ConnectionClosed {
        connection: Arc::clone(connection),
        bytes_sent: 0,
        bytes_received: 0,
        duration: Duration::ZERO,
        error: None,
        flag,
    }
}

/// The lines of the metrics called `name`.
fn lines<'a>(text: &'a str, name: &str) -> Vec<&'a str> {
    text.lines().filter(|line| line.starts_with(name)).collect()
}

const SOURCE: &str = "source_workload=\"web\",source_canonical_service=\"web-svc\",source_canonical_revision=\"v1\",\
                      source_workload_namespace=\"shop\",\
                      source_principal=\"spiffe://cluster.local/ns/shop/sa/web\",source_app=\"web-svc\",\
                      source_version=\"v1\",source_cluster=\"Kubernetes\"";
const DESTINATION: &str = "destination_service=\"echo.shop.svc\",destination_service_namespace=\"shop\",\
                           destination_service_name=\"echo\",destination_workload=\"echo\",\
                           destination_canonical_service=\"echo-svc\",destination_canonical_revision=\"v1\",\
                           destination_workload_namespace=\"shop\",\
                           destination_principal=\"spiffe://cluster.local/ns/shop/sa/echo\",\
                           destination_app=\"echo-svc\",destination_version=\"v1\",\
                           destination_cluster=\"Kubernetes\"";

#[test]
fn traffic_has_upstreams_names_and_labels_in_their_order() {
    let metrics = Metrics::new("1.30.0", Bounds::default());
    let tunnelled = connection("web", Carrier::Hbone);
    metrics.observe(&Observed::ConnectionOpened(Arc::clone(&tunnelled)));
    metrics.observe(&closed(&tunnelled, Flag::Deny));
    let text = metrics.text();
    let row = |flag: &str| {
        format!(
            "{{reporter=\"source\",{SOURCE},{DESTINATION},request_protocol=\"tcp\",response_flags=\"{flag}\",\
             connection_security_policy=\"mutual_tls\",source_region=\"unknown\",source_zone=\"unknown\",\
             destination_region=\"eu\",destination_zone=\"unknown\"}}"
        )
    };
    let expected = [
        format!("istio_tcp_connections_opened_total{} 1", row("-")),
        format!("istio_tcp_connections_closed_total{} 1", row("DENY")),
        format!("istio_tcp_received_bytes_total{} 0", row("-")),
        format!("istio_tcp_sent_bytes_total{} 0", row("-")),
        format!("istio_tcp_connections_failed_total{} 1", row("DENY")),
    ];
    let values: Vec<_> =
        lines(&text, "istio_tcp_").into_iter().filter(|line| !line.contains("sockets")).collect();
    assert_eq!(values, expected);
    assert_eq!(
        lines(&text, "istio_tcp_sockets_open"),
        [
            "istio_tcp_sockets_open{reporter=\"source\"} 0",
            "istio_tcp_sockets_open{reporter=\"destination\"} 0"
        ]
    );
    assert!(text.contains("# TYPE istio_tcp_connections_opened counter\n"), "{text}");
    assert!(
        text.contains("# HELP istio_tcp_connections_opened The total number of TCP connections opened.\n"),
        "{text}"
    );
    assert!(text.ends_with("# EOF\n"), "{text}");
}

#[test]
fn what_is_not_known_says_so_and_localities_are_left_out() {
    let metrics = Metrics::new("1.30.0", Bounds::default());
    let mut plain = Arc::unwrap_or_clone(connection("web", Carrier::Tcp));
    plain.source = Party::default();
    plain.direction = Direction::Inbound;
    plain.service = None;
    metrics.observe(&Observed::ConnectionOpened(Arc::new(plain)));
    let text = metrics.text();
    let [opened] = lines(&text, "istio_tcp_connections_opened_total")[..] else { panic!("{text}") };
    assert!(opened.contains("{reporter=\"destination\",source_workload=\"unknown\","), "{opened}");
    assert!(opened.contains("source_principal=\"unknown\""), "{opened}");
    assert!(
        opened.contains("destination_service=\"unknown\",destination_service_namespace=\"unknown\""),
        "{opened}"
    );
    // The server's identity is what the tables say, even in plain text; the policy says that nothing was proven.
    assert!(opened.contains("destination_principal=\"spiffe://cluster.local/ns/shop/sa/echo\""), "{opened}");
    assert!(opened.ends_with("connection_security_policy=\"unknown\"} 1"), "{opened}");
    assert_eq!(lines(&text, "istio_tcp_sockets_open{reporter=\"destination\"}")[0].chars().last(), Some('1'));
}

#[test]
fn equal_labels_share_a_series_and_every_flag_is_its_own_line() {
    let metrics = Metrics::new("x", Bounds::default());
    let all: Vec<_> = (0..3).map(|_| connection("web", Carrier::Hbone)).collect();
    for one in &all {
        metrics.observe(&Observed::ConnectionOpened(Arc::clone(one)));
    }
    metrics.observe(&closed(&all[0], Flag::None));
    metrics.observe(&closed(&all[1], Flag::Connect));
    // Said twice: counted once.
    metrics.observe(&closed(&all[1], Flag::Connect));
    let text = metrics.text();
    assert!(lines(&text, "istio_tcp_connections_opened_total")[0].ends_with("} 3"), "{text}");
    assert_eq!(lines(&text, "istio_tcp_connections_closed_total").len(), 2, "{text}");
    let [failed] = lines(&text, "istio_tcp_connections_failed_total")[..] else { panic!("{text}") };
    assert!(failed.contains("response_flags=\"CONNECT\"") && failed.ends_with("} 1"), "{failed}");
    assert_eq!(metrics.connections(), [Arc::clone(&all[2])]);
    assert!(text.contains("istio_tcp_sockets_open{reporter=\"source\"} 1\n"), "{text}");
    assert!(text.contains("\nadit_metrics_series 1\n"), "{text}");
}

#[test]
fn too_many_series_collapse_and_idle_ones_make_room() {
    let bounds = Bounds { series: 2, idle: Duration::from_secs(60) };
    let traffic = Traffic::new(bounds);
    let start = Instant::now();
    let open = |at, connection: &Arc<Connection>| {
        traffic.observe(at, &Observed::ConnectionOpened(Arc::clone(connection)));
    };
    let [a, b, c] = ["a", "b", "c"].map(|client| connection(client, Carrier::Hbone));
    open(start, &a);
    open(start, &b);
    open(start, &c);
    let mut registry = Registry::default();
    registry.register_collector(Box::new(traffic.clone()));
    let text = || {
        let mut text = String::new();
        text::encode(&mut text, &registry).unwrap();
        text
    };
    let now = text();
    assert!(now.contains("source_workload=\"other\"") && !now.contains("source_workload=\"c\""), "{now}");
    assert!(now.contains("reporter=\"source\",source_workload=\"other\""), "{now}");
    assert!(now.contains("\nadit_metrics_collapsed_connections_total 1\n"), "{now}");
    // The ends of all three are counted, where their beginnings were.
    for one in [&a, &b, &c] {
        traffic.observe(start, &closed(one, Flag::None));
    }
    assert_eq!(lines(&text(), "istio_tcp_connections_closed_total").len(), 3);
    // A minute later they have been idle for long enough, and c finds room.
    open(start + Duration::from_secs(60), &c);
    let later = text();
    assert!(later.contains("source_workload=\"c\"") && !later.contains("source_workload=\"a\""), "{later}");
    assert!(later.contains("\nadit_metrics_expired_series_total 3\n"), "{later}");
}

#[test]
fn series_of_a_workload_that_is_gone_outlive_it_by_some_scrapes() {
    let traffic = Traffic::new(Bounds { series: 10, idle: Duration::from_secs(3600) });
    let start = Instant::now();
    let open = |at, connection: &Arc<Connection>| {
        traffic.observe(at, &Observed::ConnectionOpened(Arc::clone(connection)));
    };
    let [a, b] = ["a", "b"].map(|client| connection(client, Carrier::Hbone));
    for one in [&a, &b] {
        open(start, one);
        traffic.observe(start, &closed(one, Flag::None));
    }
    let mut registry = Registry::default();
    registry.register_collector(Box::new(traffic.clone()));
    let shown = |at| {
        traffic.expire(at);
        let mut text = String::new();
        text::encode(&mut text, &registry).unwrap();
        ["a", "b"].map(|client| text.contains(&format!("source_workload=\"{client}\"")))
    };
    // Whom our workloads speak to is not ours to forget.
    traffic.forget(start, "shop", "echo");
    traffic.forget(start, "shop", "a");
    assert_eq!(shown(start + Duration::from_secs(100)), [true, true]);
    assert_eq!(shown(start + Duration::from_secs(200)), [false, true]);
    // It has come back in the meantime.
    traffic.forget(start, "shop", "b");
    open(start, &b);
    traffic.observe(start, &closed(&b, Flag::None));
    assert_eq!(shown(start + Duration::from_secs(200)), [false, true]);
}

#[test]
fn connections_of_the_same_parties_share_a_series_unless_another_label_differs() {
    let bounds = Bounds { series: 9, idle: Duration::from_secs(60) };
    let traffic = Traffic::new(bounds);
    let start = Instant::now();
    let first = connection("web", Carrier::Hbone);
    // As a shard gives them: the very same names.
    let like = |change: fn(&mut Connection)| {
        let mut like = Connection::clone(&first);
        change(&mut like);
        Arc::new(like)
    };
    let second = like(|_| ());
    let others = [
        like(|other| other.carrier = Carrier::Tcp),
        like(|other| other.direction = Direction::Inbound),
        like(|other| other.service = None),
        like(|other| other.source.names = Arc::default()),
        like(|other| other.destination.names = Arc::default()),
    ];
    let all = || [&first, &second].into_iter().chain(&others);
    for one in all() {
        traffic.observe(start, &Observed::ConnectionOpened(Arc::clone(one)));
    }
    let mut registry = Registry::default();
    registry.register_collector(Box::new(traffic.clone()));
    let opened = || {
        let mut text = String::new();
        text::encode(&mut text, &registry).unwrap();
        let lines = lines(&text, "istio_tcp_connections_opened_total");
        lines.iter().map(|line| line.rsplit_once(' ').unwrap().1.to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(opened(), ["2", "1", "1", "1", "1", "1"]);
    for one in all() {
        traffic.observe(start, &closed(one, Flag::None));
    }
    // Nobody counts in a series that is gone.
    traffic.expire(start + Duration::from_secs(60));
    traffic.observe(start, &Observed::ConnectionOpened(second.clone()));
    assert_eq!(opened(), ["1"]);
}

/// What a client of a control plane and a manager of certificates would tell.
struct Figures;

impl XdsFigures for Figures {
    fn terminations(&self, reason: Reason) -> u64 {
        u64::from(reason == Reason::Reconnect)
    }

    fn messages(&self) -> Vec<(&'static str, u64, u64)> {
        vec![("type.googleapis.com/istio.workload.Address", 2, 120)]
    }

    fn staleness(&self) -> Duration {
        Duration::from_secs(9)
    }
}

impl CertificateFigures for Figures {
    fn issued(&self) -> u64 {
        3
    }

    fn failed(&self) -> u64 {
        2
    }

    fn unreadable_lists(&self) -> u64 {
        1
    }

    fn held(&self) -> HeldCertificates {
        HeldCertificates {
            available: 5,
            initializing: 1,
            unavailable: 0,
            soonest_expiry: Some(UnixTime(1_800_000_000)),
        }
    }
}

#[test]
fn control_metrics_have_upstreams_names() {
    let metrics = Metrics::new("1.30.0", Bounds::default());
    let url = "type.googleapis.com/istio.workload.Address";
    metrics.xds.tell(Figures);
    metrics.certificates.tell(Figures);
    let source = workload("web");
    let asked = Asked { record_type: RecordType::AAAA, transport: Transport::Udp, source: Some(&source) };
    let took = Duration::from_micros(800);
    for what in [
        DnsObserved::Request,
        DnsObserved::UpstreamRequest,
        DnsObserved::UpstreamAnswered { took },
        DnsObserved::UpstreamRequest,
        DnsObserved::UpstreamFailed { took, error: ForwardError::NoServers },
    ] {
        metrics.dns.observe(&asked, what);
    }
    let connection = connection("web", Carrier::Tcp);
    metrics.observe(&Observed::Resolved { connection, hostname: "db.example".into() });
    metrics.pods.set(3, 1);
    metrics.pods.set_uncaptured(2);
    metrics.pods.started();
    for flag in [Flag::CertRevoked, Flag::TlsFailure] {
        metrics.observe(&Observed::EarlyDenied {
            source: None,
            destination: None,
            direction: Direction::Inbound,
            error: String::new(),
            flag,
        });
    }
    let text = metrics.text();
    let query = "request_query_type=\"aaaa\",request_protocol=\"udp\",source_canonical_service=\"web\",\
                 source_canonical_revision=\"unknown\"";
    for line in [
        "istio_build{component=\"ztunnel\",tag=\"1.30.0\"} 1".to_owned(),
        format!("istio_xds_message_total{{url=\"{url}\"}} 2"),
        format!("istio_xds_message_bytes_total{{url=\"{url}\"}} 120"),
        "istio_xds_connection_terminations_total{reason=\"Reconnect\"} 1".to_owned(),
        format!("istio_dns_requests_total{{{query}}} 1"),
        format!("istio_dns_upstream_requests_total{{{query}}} 2"),
        format!("istio_dns_upstream_failures_total{{{query}}} 1"),
        format!("istio_dns_upstream_request_duration_seconds_bucket{{le=\"0.0005\",{query}}} 0"),
        format!("istio_dns_upstream_request_duration_seconds_bucket{{le=\"0.001\",{query}}} 1"),
        format!("istio_dns_upstream_request_duration_seconds_bucket{{le=\"5.0\",{query}}} 1"),
        "workload_manager_active_proxy_count 3".to_owned(),
        "workload_manager_pending_proxy_count 1".to_owned(),
        "workload_manager_proxies_started_total 1".to_owned(),
        "workload_manager_proxies_stopped_total 0".to_owned(),
        "adit_capture_missing_pods 2".to_owned(),
        "istio_crl_policy_rejections_total{reporter=\"destination\"} 1".to_owned(),
        "adit_certificate_requests_total{result=\"ok\"} 3".to_owned(),
        "adit_certificate_requests_total{result=\"error\"} 2".to_owned(),
        "adit_crl_read_failures_total 1".to_owned(),
        "adit_certificates{state=\"available\"} 5".to_owned(),
        "adit_certificates{state=\"unavailable\"} 0".to_owned(),
        "adit_certificate_soonest_expiry_timestamp_seconds 1800000000".to_owned(),
        "adit_xds_staleness_seconds 9.0".to_owned(),
    ] {
        assert!(text.lines().any(|found| found == line), "{line} missing in\n{text}");
    }
    assert!(text.contains("istio_on_demand_dns_total{source_workload=\"web\","), "{text}");
    assert!(text.contains("source_cluster=\"Kubernetes\",hostname=\"db.example\"} 1\n"), "{text}");
    for name in ["open_fds", "max_fds", "resident_memory_bytes", "threads", "cpu_seconds_total"] {
        assert!(text.contains(&format!("\nprocess_{name} ")), "{name} missing in {text}");
    }
    assert!(!text.contains("tokio_"), "no runtime was named");
}

#[test]
fn label_sets_of_hooks_are_bounded() {
    let metrics = Metrics::new("x", Bounds::default());
    for n in 0..1100 {
        let source = workload(&format!("web-{n}"));
        let asked = Asked { record_type: RecordType::A, transport: Transport::Tcp, source: Some(&source) };
        metrics.dns.observe(&asked, DnsObserved::Request);
    }
    let text = metrics.text();
    assert_eq!(lines(&text, "istio_dns_requests_total").len(), 1001);
    assert!(text.contains("request_query_type=\"other\",request_protocol=\"tcp\""), "{text}");
}

#[test]
fn names_that_a_workload_asked_for_are_forgotten_some_scrapes_after_it_is_gone() {
    let (start, metrics) = (Instant::now(), Metrics::new("x", Bounds::default()));
    let ask = |name: &str| {
        let source = workload(name);
        let asked = Asked { record_type: RecordType::A, transport: Transport::Tcp, source: Some(&source) };
        metrics.dns.observe(&asked, DnsObserved::Request);
        metrics.dns.observe(&asked, DnsObserved::UpstreamAnswered { took: Duration::ZERO });
        metrics.dns.on_demand(&connection(name, Carrier::Tcp).source, "db.example");
    };
    ["web", "back", "stays"].iter().for_each(|name| ask(name));
    for name in ["web", "back"] {
        metrics.dns.forget(start, "shop", name);
        metrics.dns.forget_service_at(start, name, "");
    }
    metrics.dns.forget(start, "elsewhere", "stays");
    let told = |after: u64| {
        metrics.dns.expire(start + Duration::from_secs(after));
        let text = metrics.text();
        ["web", "back", "stays"].map(|name| {
            ["source_canonical_service", "source_workload"]
                .map(|label| text.matches(&format!("{label}=\"{name}\"")).count())
        })
    };
    let whole = told(149)[0];
    assert!(whole[0] > 2 && whole[1] == 1, "{whole:?}");
    assert_eq!(told(149), [whole; 3]);
    // It has come back meanwhile.
    ask("back");
    assert_eq!(told(150), [[0, 0], whole, whole]);
    // Those that follow find room again.
    for n in 0..998 {
        ask(&format!("web-{n}"));
    }
    assert!(!metrics.text().contains("\"other\""));
}

#[test]
fn workers_are_told_of_when_a_runtime_is_named() {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let metrics = Metrics::new("x", Bounds::default());
    metrics.runtimes.add(runtime.handle().clone());
    let text = metrics.text();
    assert!(text.contains("\ntokio_num_workers 1\n"), "{text}");
    for name in [
        "tokio_worker_total_busy_duration_seconds_total",
        "tokio_worker_park_count_total",
        "tokio_worker_park_unpark_count_total",
    ] {
        assert!(text.contains(&format!("\n{name}{{worker=\"0\"}} ")), "{name} missing in {text}");
    }
}

#[test]
fn tunnels_are_counted_by_direction_and_by_what_ended_them() {
    let metrics = Metrics::new("x", Bounds::default());
    let peer = Identity::new("cluster.local", "shop", "web").unwrap();
    let address = "10.0.0.1:15008".parse().unwrap();
    for (id, direction) in [(1, Direction::Inbound), (2, Direction::Inbound), (3, Direction::Outbound)] {
        metrics.observe(&Observed::TunnelOpened { id, direction, peer: peer.clone(), address });
    }
    let closed = |id, reason, attack| Observed::TunnelClosed {
        id,
        direction: Direction::Inbound,
        reason,
        attack,
        streams_served: 0,
    };
    metrics.observe(&closed(1, "ping flood", true));
    metrics.observe(&Observed::EarlyDenied {
        source: None,
        destination: None,
        direction: Direction::Inbound,
        error: String::new(),
        flag: Flag::TlsFailure,
    });
    let text = metrics.text();
    for line in [
        "adit_tunnels_opened_total{reporter=\"source\"} 1",
        "adit_tunnels_opened_total{reporter=\"destination\"} 2",
        "adit_tunnels_open{reporter=\"source\"} 1",
        "adit_tunnels_open{reporter=\"destination\"} 1",
        "adit_tunnels_over_budget_total{reporter=\"destination\",reason=\"ping flood\"} 1",
        "adit_early_denials_total{reporter=\"destination\",response_flags=\"TLS_FAILURE\"} 1",
    ] {
        assert!(text.lines().any(|found| found == line), "{line} missing in\n{text}");
    }
    metrics.observe(&closed(2, "goaway", false));
    let later = metrics.text();
    assert!(later.contains("adit_tunnels_open{reporter=\"destination\"} 0\n"), "{later}");
    assert_eq!(lines(&later, "adit_tunnels_over_budget_total").len(), 1, "{later}");
}
