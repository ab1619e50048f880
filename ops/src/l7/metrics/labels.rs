//! Which exchanges share a series, and what its labels say (waypoint.md §19.2, §19.3).
use std::borrow::Cow;
use std::sync::Arc;

use adit_core::l7::telemetry::{Metric, MetricRules, Tag};
use adit_core::proxy::observed::ServiceLabels;

use super::super::record::{Exchange, Peer, Protocol, ResponseFlags, Security};

/// What a label says when there is nothing to say.
const UNKNOWN: &str = "unknown";
/// What a revision says then.
const LATEST: &str = "latest";
/// What labels of the series for the rest say.
const OTHER: &str = "other";
/// What an added label may have, in octets.
const MAX_TAG: usize = 256;

/// What exchanges have in common that share a series.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Key {
    /// These labels.
    Like(Box<Like>),
    /// Labels that say `other`.
    Other(Protocol, Security),
}

/// The parts that labels are made of.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Like {
    pub(super) source: Option<Arc<Peer>>,
    pub(super) destination: Option<Arc<Peer>>,
    pub(super) service: Option<Arc<ServiceLabels>>,
    pub(super) protocol: Protocol,
    pub(super) status: u16,
    pub(super) grpc: Option<u32>,
    pub(super) flags: ResponseFlags,
    pub(super) security: Security,
    /// Values of the rules' expressions, in their order.
    pub(super) computed: Box<[Box<str>]>,
}

impl Like {
    pub(super) fn of(rules: &MetricRules, exchange: &Exchange<'_>) -> Self {
        let text = |text: String| -> Box<str> {
            text.get(..text.floor_char_boundary(MAX_TAG)).unwrap_or_default().into()
        };
        Self {
            source: exchange.source.cloned(),
            destination: exchange.destination.cloned(),
            service: exchange.service.cloned(),
            protocol: exchange.protocol,
            status: exchange.http.status,
            grpc: exchange.http.grpc.and_then(|grpc| grpc.status),
            flags: exchange.flags,
            security: exchange.security,
            computed: rules.expressions.iter().map(|one| text(one.text(exchange))).collect(),
        }
    }

    /// Whether the workload is one of its ends.
    pub(super) fn is_of(&self, namespace: &str, workload: &str) -> bool {
        let ends = [&self.source, &self.destination];
        ends.into_iter().flatten().any(|peer| *peer.namespace == *namespace && *peer.workload == *workload)
    }
}

/// A label.
pub(super) type Label<'a> = (&'a str, Cow<'a, str>);

/// The standard labels of one end, behind `source_` or `destination_`; those of the service come between.
const SOURCE: [&str; 8] = [
    "source_workload",
    "source_workload_namespace",
    "source_principal",
    "source_app",
    "source_version",
    "source_canonical_service",
    "source_canonical_revision",
    "source_cluster",
];
const DESTINATION: [&str; 11] = [
    "destination_workload",
    "destination_workload_namespace",
    "destination_principal",
    "destination_app",
    "destination_version",
    "destination_service",
    "destination_service_name",
    "destination_service_namespace",
    "destination_canonical_service",
    "destination_canonical_revision",
    "destination_cluster",
];

fn or<'a>(text: &'a str, otherwise: &'a str) -> Cow<'a, str> {
    Cow::Borrowed(if text.is_empty() { otherwise } else { text })
}

/// What the labels of an end say, in the order of [`SOURCE`].
fn end(peer: Option<&Peer>) -> [Cow<'_, str>; 8] {
    let Some(peer) = peer else {
        let unknown = || Cow::Borrowed(UNKNOWN);
        let latest = Cow::Borrowed(LATEST);
        return [unknown(), unknown(), unknown(), unknown(), unknown(), unknown(), latest, unknown()];
    };
    let principal = peer.principal.as_ref().map(|principal| Cow::Owned(principal.to_string()));
    [
        or(&peer.workload, UNKNOWN),
        or(&peer.namespace, UNKNOWN),
        principal.unwrap_or(Cow::Borrowed(UNKNOWN)),
        or(&peer.app, UNKNOWN),
        or(&peer.version, UNKNOWN),
        or(&peer.canonical_service, UNKNOWN),
        or(&peer.canonical_revision, LATEST),
        or(&peer.cluster, UNKNOWN),
    ]
}

/// The labels of a series in a metric; `http`: it has those of HTTP.
pub(super) fn labels<'a>(key: &'a Key, rules: &'a MetricRules, metric: Metric) -> Vec<Label<'a>> {
    let mut labels: Vec<Label<'a>> = Vec::with_capacity(28);
    labels.push(("reporter", "waypoint".into()));
    let (protocol, security) = match key {
        Key::Other(protocol, security) => {
            labels.extend(SOURCE.iter().chain(&DESTINATION).map(|name| (*name, OTHER.into())));
            (*protocol, *security)
        }
        Key::Like(like) => {
            labels.extend(SOURCE.into_iter().zip(end(like.source.as_deref())));
            let [workload, namespace, principal, app, version, canonical, revision, cluster] =
                end(like.destination.as_deref());
            let service = like.service.as_deref();
            let [hostname, name, home] =
                service.map_or([""; 3], |service| [&*service.hostname, &*service.name, &*service.namespace]);
            let service = [hostname, name, home].map(|text| or(text, UNKNOWN));
            let values = [workload, namespace, principal, app, version].into_iter().chain(service);
            labels.extend(DESTINATION.into_iter().zip(values.chain([canonical, revision, cluster])));
            (like.protocol, like.security)
        }
    };
    labels.push(("request_protocol", protocol.as_str().into()));
    if !is_tcp(metric) {
        let (code, grpc) = match key {
            Key::Other(..) => (OTHER.into(), OTHER.into()),
            Key::Like(like) => {
                let grpc = like.grpc.map(|status| status.to_string().into());
                (like.status.to_string().into(), grpc.unwrap_or_default())
            }
        };
        labels.push(("response_code", code));
        labels.push(("grpc_response_status", grpc));
    }
    let flags = match key {
        Key::Other(..) => OTHER.into(),
        Key::Like(like) => like.flags.to_string().into(),
    };
    labels.push(("response_flags", flags));
    labels.push(("connection_security_policy", security.as_str().into()));
    changed(&mut labels, key, rules, metric);
    labels
}

/// Does to labels what the rules say.
fn changed<'a>(labels: &mut Vec<Label<'a>>, key: &'a Key, rules: &'a MetricRules, metric: Metric) {
    let Some(rule) = rules.of(metric) else { return };
    for (name, tag) in &rule.tags {
        match tag {
            Tag::Remove => labels.retain(|(known, _)| **known != **name),
            Tag::Set(number) => {
                let value = match key {
                    Key::Other(..) => OTHER,
                    Key::Like(like) => like.computed.get(*number).map_or(UNKNOWN, |value| value),
                };
                match labels.iter_mut().find(|(known, _)| **known == **name) {
                    Some((_, said)) => *said = value.into(),
                    None => labels.push((name, value.into())),
                }
            }
        }
    }
}

/// Whether it is about connections, whose series have no labels of HTTP.
pub(super) const fn is_tcp(metric: Metric) -> bool {
    match metric {
        Metric::TcpOpened | Metric::TcpClosed | Metric::TcpSent | Metric::TcpReceived => true,
        Metric::RequestCount
        | Metric::RequestDuration
        | Metric::RequestSize
        | Metric::ResponseSize
        | Metric::GrpcRequests
        | Metric::GrpcResponses => false,
    }
}
