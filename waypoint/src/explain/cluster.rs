//! A cluster as a report tells of it: what is configured, and its endpoints as they are now.
use adit_core::l7::upstream::{Balancer, ClusterView, HashTable, KeySource, Settled};
use adit_core::l7::{Limits, OutlierDetection, Protocol};
use adit_core::time::Instant;

use super::report::{ClusterReport, EndpointReport, LeftOutReport};
use super::{milliseconds, protocol};
use crate::shared::ClusterKey;

/// The report of a cluster that looks like `view`.
pub(crate) fn report(
    now: Instant,
    key: &ClusterKey,
    speaks: Protocol,
    settled: &Settled<'_>,
    view: ClusterView,
) -> ClusterReport {
    let policy = settled.policy;
    let Limits { connections, pending, requests } = view.limits;
    ClusterReport {
        name: key.name(true),
        protocol: protocol(speaks).to_owned(),
        balancer: balancer(&policy.balancer),
        limits: [connections, pending, requests],
        under_way: view.under_way,
        exchanges: [view.exchanges.0, view.exchanges.1],
        outlier_detection: policy.outliers.as_ref().map(outliers),
        connect_timeout_ms: milliseconds(policy.connections.connect_timeout),
        open: view.levels.iter().map(|level| level.open).sum(),
        endpoints: view
            .endpoints
            .iter()
            .map(|endpoint| EndpointReport {
                uid: endpoint.workload.uid.to_string(),
                address: endpoint.workload.addresses.first().map(ToString::to_string),
                port: endpoint.port,
                weight: endpoint.weight,
                level: endpoint.level,
                outstanding: endpoint.outstanding,
                ejected_ms: endpoint.ejected.map(|until| milliseconds(until.saturating_since(now))),
                share: endpoint.share,
            })
            .collect(),
        left_out: view
            .left_out
            .iter()
            .map(|left| LeftOutReport { uid: left.uid.to_string(), why: left.why.to_string() })
            .collect(),
    }
}

fn balancer(balancer: &Balancer) -> String {
    let (key, table) = match balancer {
        Balancer::LeastRequest => return "least request".to_owned(),
        Balancer::RoundRobin => return "round robin".to_owned(),
        Balancer::Random => return "random".to_owned(),
        Balancer::Hash { key, table } => (key, table),
    };
    let key = match key {
        KeySource::Header(name) => format!("header {name}"),
        KeySource::Cookie(cookie) => format!("cookie {}", cookie.name),
        KeySource::SourceIp => "the client's address".to_owned(),
        KeySource::Query(name) => format!("query parameter {name}"),
    };
    match table {
        HashTable::Ring { minimum } => format!("hash of {key}, on a ring of at least {minimum} points"),
        HashTable::Maglev { size } => format!("hash of {key}, in a Maglev table of {size}"),
    }
}

fn outliers(settings: &OutlierDetection) -> String {
    let counted = [
        ("5xx", settings.consecutive_5xx),
        ("gateway errors", settings.consecutive_gateway_errors),
        ("local failures", settings.consecutive_local_failures),
    ];
    let counted: Vec<_> = counted
        .into_iter()
        .filter(|(_, count)| *count > 0)
        .map(|(what, count)| format!("{count} {what} in a row"))
        .collect();
    format!(
        "after {}; for {} ms and longer each time, at most {} % of them",
        if counted.is_empty() { "nothing".to_owned() } else { counted.join(" or ") },
        milliseconds(settings.base_ejection_time),
        settings.max_ejection_percent,
    )
}
