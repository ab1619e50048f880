//! Labels of the traffic metrics: which connections share a series, and how its labels are written (interfaces §5.1).
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use adit_core::identity::Identity;
use adit_core::proxy::observed::{Carrier, Connection, Direction, Flag, Labels, Party};
use prometheus_client::encoding::{EncodeLabel, EncodeLabelSet, LabelSetEncoder};

/// What a label says when there is nothing to say.
const UNKNOWN: &str = "unknown";
/// What every label of the series for the rest says.
const OTHER: &str = "other";

/// How many flags there are.
pub(super) const FLAGS: usize = 8;

/// Place of a flag in tables, and the word for it (datapath §8.5).
pub(super) const fn flag(flag: Flag) -> (usize, &'static str) {
    match flag {
        Flag::None => (0, NO_FLAG),
        Flag::Deny => (1, "DENY"),
        Flag::Connect => (2, "CONNECT"),
        Flag::TlsFailure => (3, "TLS_FAILURE"),
        Flag::Http2HandshakeFailure => (4, "H2_HANDSHAKE_FAILURE"),
        Flag::NetworkPolicy => (5, "NETWORK_POLICY"),
        Flag::IdentityError => (6, "IDENTITY_ERROR"),
        Flag::CertRevoked => (7, "CERT_REVOKED"),
    }
}

/// The word for "it went well".
pub(super) const NO_FLAG: &str = "-";

/// All flags, each at its place.
pub(super) const ALL_FLAGS: [Flag; FLAGS] = [
    Flag::None,
    Flag::Deny,
    Flag::Connect,
    Flag::TlsFailure,
    Flag::Http2HandshakeFailure,
    Flag::NetworkPolicy,
    Flag::IdentityError,
    Flag::CertRevoked,
];

/// The word for a direction in metrics: which end of the connection tells.
pub(super) const fn reporter(direction: Direction) -> &'static str {
    match direction {
        Direction::Inbound => "destination",
        Direction::Outbound => "source",
    }
}

/// Which connections share a series.
#[derive(Clone, Debug)]
pub(super) enum Key {
    /// Those whose labels are this connection's. Holding it costs no allocation.
    Like(Arc<Connection>),
    /// Those that came when there were too many series.
    Other(Direction, Security),
}

/// `connection_security_policy`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Security {
    MutualTls,
    Unknown,
}

impl Security {
    pub(super) const fn of(carrier: Carrier) -> Self {
        match carrier {
            Carrier::Hbone | Carrier::DoubleHbone => Self::MutualTls,
            Carrier::Tcp => Self::Unknown,
        }
    }

    const fn word(self) -> &'static str {
        match self {
            Self::MutualTls => "mutual_tls",
            Self::Unknown => UNKNOWN,
        }
    }
}

/// The parts of a connection that are labels, for comparing.
type Parts<'a> = (Direction, Security, [PartyParts<'a>; 2], [Option<&'a str>; 3]);
type PartyParts<'a> = ([Option<&'a str>; 8], Option<&'a Identity>);

fn party<'a>(party: &'a Party, principal: Option<&'a Identity>) -> PartyParts<'a> {
    let Labels { workload, canonical_service, revision, app, region, zone, principal: _ } = &party.labels;
    let texts = [workload, canonical_service, revision, app, region, zone, &party.namespace, &party.cluster];
    (texts.map(|text| text.as_deref().filter(|text| !text.is_empty())), principal)
}

/// The client's identity counts only when it was proven, the server's is what the tables say.
fn parts(connection: &Connection) -> Parts<'_> {
    let Connection { source, destination, .. } = connection;
    let service = connection.service.as_ref();
    (
        connection.direction,
        Security::of(connection.carrier),
        [party(source, source.identity.as_ref()), party(destination, destination.labels.principal.as_ref())],
        [
            service.map(|service| &*service.hostname),
            service.map(|service| &*service.name),
            service.map(|service| &*service.namespace),
        ],
    )
}

impl Hash for Key {
    fn hash<H: Hasher>(&self, state: &mut H) {
        match self {
            Self::Like(connection) => parts(connection).hash(state),
            Self::Other(direction, security) => (direction, security).hash(state),
        }
    }
}

impl PartialEq for Key {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Like(a), Self::Like(b)) => Arc::ptr_eq(a, b) || parts(a) == parts(b),
            (Self::Other(a, x), Self::Other(b, y)) => (a, x) == (b, y),
            _ => false,
        }
    }
}

impl Eq for Key {}

/// Writes labels one after the other.
struct Writer<'a, 'b>(&'a mut LabelSetEncoder<'b>);

impl Writer<'_, '_> {
    fn text(&mut self, name: &str, value: Option<&str>) -> fmt::Result {
        let value = value.filter(|value| !value.is_empty()).unwrap_or(UNKNOWN);
        (name, value).encode(self.0.encode_label())
    }

    fn source(&mut self, party: &Party) -> fmt::Result {
        let Labels { workload, canonical_service, revision, app, .. } = &party.labels;
        self.text("source_workload", workload.as_deref())?;
        self.text("source_canonical_service", canonical_service.as_deref())?;
        self.text("source_canonical_revision", revision.as_deref())?;
        self.text("source_workload_namespace", party.namespace.as_deref())?;
        self.identity("source_principal", party.identity.as_ref())?;
        self.text("source_app", app.as_deref())?;
        self.text("source_version", revision.as_deref())?;
        self.text("source_cluster", party.cluster.as_deref())
    }

    fn destination(&mut self, connection: &Connection) -> fmt::Result {
        let service = connection.service.as_ref();
        let party = &connection.destination;
        let Labels { workload, canonical_service, revision, app, principal, .. } = &party.labels;
        self.text("destination_service", service.map(|service| &*service.hostname))?;
        self.text("destination_service_namespace", service.map(|service| &*service.namespace))?;
        self.text("destination_service_name", service.map(|service| &*service.name))?;
        self.text("destination_workload", workload.as_deref())?;
        self.text("destination_canonical_service", canonical_service.as_deref())?;
        self.text("destination_canonical_revision", revision.as_deref())?;
        self.text("destination_workload_namespace", party.namespace.as_deref())?;
        self.identity("destination_principal", principal.as_ref())?;
        self.text("destination_app", app.as_deref())?;
        self.text("destination_version", revision.as_deref())?;
        self.text("destination_cluster", party.cluster.as_deref())
    }

    fn identity(&mut self, name: &str, identity: Option<&Identity>) -> fmt::Result {
        self.text(name, identity.map(ToString::to_string).as_deref())
    }

    /// The last labels, written only when one of them is known.
    fn localities(&mut self, source: &Labels, destination: &Labels) -> fmt::Result {
        let all = [
            ("source_region", &source.region),
            ("source_zone", &source.zone),
            ("destination_region", &destination.region),
            ("destination_zone", &destination.zone),
        ];
        if all.iter().all(|(_, value)| value.as_deref().is_none_or(str::is_empty)) {
            return Ok(());
        }
        all.iter().try_for_each(|(name, value)| self.text(name, value.as_deref()))
    }
}

/// The labels between `reporter` and `request_protocol`, for a series that stands for many.
const COLLAPSED: [&str; 19] = [
    "source_workload",
    "source_canonical_service",
    "source_canonical_revision",
    "source_workload_namespace",
    "source_principal",
    "source_app",
    "source_version",
    "source_cluster",
    "destination_service",
    "destination_service_namespace",
    "destination_service_name",
    "destination_workload",
    "destination_canonical_service",
    "destination_canonical_revision",
    "destination_workload_namespace",
    "destination_principal",
    "destination_app",
    "destination_version",
    "destination_cluster",
];

/// A series' labels with a flag.
pub(super) struct Row<'a> {
    pub(super) key: &'a Key,
    pub(super) flag: &'static str,
}

impl EncodeLabelSet for Row<'_> {
    fn encode(&self, encoder: &mut LabelSetEncoder<'_>) -> fmt::Result {
        let mut writer = Writer(encoder);
        let (direction, security) = match self.key {
            Key::Like(connection) => (connection.direction, Security::of(connection.carrier)),
            Key::Other(direction, security) => (*direction, *security),
        };
        writer.text("reporter", Some(reporter(direction)))?;
        match self.key {
            Key::Like(connection) => {
                writer.source(&connection.source)?;
                writer.destination(connection)?;
            }
            Key::Other(..) => COLLAPSED.iter().try_for_each(|name| writer.text(name, Some(OTHER)))?,
        }
        writer.text("request_protocol", Some("tcp"))?;
        writer.text("response_flags", Some(self.flag))?;
        writer.text("connection_security_policy", Some(security.word()))?;
        match self.key {
            Key::Like(connection) => {
                writer.localities(&connection.source.labels, &connection.destination.labels)
            }
            Key::Other(..) => Ok(()),
        }
    }
}

/// The labels of `istio_on_demand_dns_total`: a client and the name it had resolved.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct OnDemand {
    texts: [Box<str>; 9],
}

impl OnDemand {
    const NAMES: [&'static str; 9] = [
        "source_workload",
        "source_canonical_service",
        "source_canonical_revision",
        "source_workload_namespace",
        "source_principal",
        "source_app",
        "source_version",
        "source_cluster",
        "hostname",
    ];

    pub(super) fn new(source: &Party, hostname: &str) -> Self {
        let Labels { workload, canonical_service, revision, app, principal, .. } = &source.labels;
        let identity = principal.as_ref().map(ToString::to_string);
        let texts = [
            workload.as_deref(),
            canonical_service.as_deref(),
            revision.as_deref(),
            source.namespace.as_deref(),
            identity.as_deref(),
            app.as_deref(),
            revision.as_deref(),
            source.cluster.as_deref(),
            Some(hostname),
        ];
        Self { texts: texts.map(|text| text.unwrap_or_default().into()) }
    }

    pub(super) fn other() -> Self {
        Self { texts: [OTHER; 9].map(Into::into) }
    }
}

impl EncodeLabelSet for OnDemand {
    fn encode(&self, encoder: &mut LabelSetEncoder<'_>) -> fmt::Result {
        let mut writer = Writer(encoder);
        Self::NAMES.iter().zip(&self.texts).try_for_each(|(name, text)| writer.text(name, Some(text)))
    }
}
