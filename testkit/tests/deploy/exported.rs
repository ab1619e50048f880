//! Every metric that a proxy exports, with its labels and their values: a registry in which all has happened once, read back
//! from its text.
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use adit_core::dns::forward::ForwardError;
use adit_core::dns::{Asked, DnsObserved, RecordType, Transport};
use adit_core::identity::Identity;
use adit_core::mesh::Workload;
use adit_core::proxy::Observed;
use adit_core::proxy::observed::{Carrier, Connection, Direction, Flag, Names, Party, Traffic};
use adit_core::time::UnixTime;
use adit_core::xds::Reason;
use adit_ops::metrics::{Bounds, CertificateFigures, HeldCertificates, Metrics, XdsFigures};

/// Labels that Prometheus adds to whatever it scrapes from a pod.
pub(crate) const TARGET: [&str; 4] = ["pod", "namespace", "instance", "job"];

/// What is exported: metric, its labels, the values seen of each.
#[derive(Debug, Default)]
pub(crate) struct Exported(BTreeMap<String, BTreeMap<String, BTreeSet<String>>>);

struct Figures;

impl XdsFigures for Figures {
    fn terminations(&self, _: Reason) -> u64 {
        1
    }

    fn messages(&self) -> Vec<(&'static str, u64, u64)> {
        vec![("type.googleapis.com/istio.workload.Address", 1, 1)]
    }

    fn staleness(&self) -> Duration {
        Duration::ZERO
    }
}

impl CertificateFigures for Figures {
    fn issued(&self) -> u64 {
        1
    }

    fn failed(&self) -> u64 {
        1
    }

    fn unreadable_lists(&self) -> u64 {
        1
    }

    fn held(&self) -> HeldCertificates {
        HeldCertificates { available: 1, initializing: 1, unavailable: 1, soonest_expiry: Some(UnixTime(1)) }
    }
}

fn connection(direction: Direction, carrier: Carrier) -> Arc<Connection> {
    let party = || Party::new(Some("10.0.0.1:1".parse().expect("an address")), Names::default());
    Arc::new(Connection {
        id: 1,
        direction,
        source: party(),
        destination: party(),
        hbone_authority: None,
        service: None,
        carrier,
        target: None,
        forwarded_host: None,
        trace: None,
        traffic: Traffic::default(),
    })
}

/// Tells `metrics` of all that can happen to connections and tunnels that are opened in `direction`.
fn traffic(metrics: &Metrics, direction: Direction) {
    for carrier in [Carrier::Tcp, Carrier::Hbone] {
        for flag in Flag::ALL {
            let connection = connection(direction, carrier);
            metrics.observe(&Observed::ConnectionOpened(Arc::clone(&connection)));
            metrics.observe(&Observed::ConnectionClosed {
                connection,
                bytes_sent: 0,
                bytes_received: 0,
                duration: Duration::ZERO,
                error: None,
                flag,
            });
            metrics.observe(&Observed::EarlyDenied {
                source: None,
                destination: None,
                direction,
                error: String::new(),
                flag,
            });
        }
    }
    let peer = Identity::new("cluster.local", "shop", "web").expect("an identity");
    let address = "10.0.0.1:15008".parse().expect("an address");
    metrics.observe(&Observed::TunnelOpened { id: 1, direction, peer, address });
    let (reason, attack) = ("flood", true);
    metrics.observe(&Observed::TunnelClosed { id: 1, direction, reason, attack, streams_served: 0 });
    let connection = connection(direction, Carrier::Tcp);
    metrics.observe(&Observed::Resolved { connection, hostname: "db.example".into() });
    metrics.certificates.untracked(direction);
}

impl Exported {
    /// Of a proxy on tokio with a control plane, to which everything has happened.
    pub(crate) fn new() -> Self {
        let metrics = Metrics::new("1.30.0", Bounds::default());
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        metrics.runtimes.add(runtime.handle().clone());
        metrics.xds.tell(Figures);
        metrics.certificates.tell(Figures);
        metrics.pods.set(1, 1);
        for direction in [Direction::Inbound, Direction::Outbound] {
            traffic(&metrics, direction);
        }
        let identity = Identity::new("cluster.local", "shop", "web").expect("an identity");
        let source = Workload::new("uid", "web-1", identity);
        let asked = Asked { record_type: RecordType::A, transport: Transport::Udp, source: Some(&source) };
        let took = Duration::ZERO;
        for what in [
            DnsObserved::Request,
            DnsObserved::UpstreamRequest,
            DnsObserved::UpstreamAnswered { took },
            DnsObserved::UpstreamFailed { took, error: ForwardError::NoServers },
        ] {
            metrics.dns.observe(&asked, what);
        }
        Self::read(&metrics.text())
    }

    /// From OpenMetrics text.
    fn read(text: &str) -> Self {
        let mut exported = Self::default();
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            let (series, _) = line.rsplit_once(' ').expect("a value");
            let (name, labels) = series.split_once('{').unwrap_or((series, "}"));
            let known = exported.0.entry(name.to_owned()).or_default();
            // None of our values holds a quote.
            let mut rest = labels.trim_end_matches('}');
            while let Some((label, after)) = rest.split_once("=\"") {
                let (value, after) = after.split_once('"').expect("a closing quote");
                known.entry(label.to_owned()).or_default().insert(value.to_owned());
                rest = after.trim_start_matches(',');
            }
        }
        exported
    }

    /// The labels of a metric with the values they can have.
    pub(crate) fn labels(&self, metric: &str) -> Option<&BTreeMap<String, BTreeSet<String>>> {
        self.0.get(metric)
    }
}

#[test]
fn everything_that_can_be_exported_is() {
    let exported = Exported::new();
    let families = exported.0.len();
    assert!(families > 40, "{families}: {:?}", exported.0.keys());
    assert_eq!(exported.labels("istio_tcp_connections_failed_total").expect("it")["response_flags"].len(), 7);
    assert_eq!(exported.labels("adit_tunnels_open").expect("it")["reporter"].len(), 2);
}
