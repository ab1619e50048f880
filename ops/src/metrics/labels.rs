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
pub(super) const FLAGS: usize = Flag::ALL.len();

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

impl Key {
    /// Whether it is what our proxy counts for this workload, as opposed to those that it speaks to.
    pub(super) fn is_of(&self, namespace: &str, workload: &str) -> bool {
        let Self::Like(connection) = self else { return false };
        let own = match connection.direction {
            Direction::Inbound => &connection.destination,
            Direction::Outbound => &connection.source,
        };
        own.namespace.as_deref() == Some(namespace) && own.labels.workload.as_deref() == Some(workload)
    }
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

/// The labels that tell of a client, in the order in which they are written.
const SOURCE: [&str; 8] = [
    "source_workload",
    "source_canonical_service",
    "source_canonical_revision",
    "source_workload_namespace",
    "source_principal",
    "source_app",
    "source_version",
    "source_cluster",
];

/// The labels that tell of the service called and of the server; the latter in the order of [`SOURCE`].
const DESTINATION: [&str; 11] = [
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

/// What the labels of one end say, in the order of [`SOURCE`].
fn values<'a>(party: &'a Party, principal: Option<&'a str>) -> [Option<&'a str>; 8] {
    let Labels { workload, canonical_service, revision, app, .. } = &party.labels;
    let revision = revision.as_deref();
    [
        workload.as_deref(),
        canonical_service.as_deref(),
        revision,
        party.namespace.as_deref(),
        principal,
        app.as_deref(),
        revision,
        party.cluster.as_deref(),
    ]
}

/// Writes labels one after the other.
struct Writer<'a, 'b>(&'a mut LabelSetEncoder<'b>);

impl Writer<'_, '_> {
    fn text(&mut self, name: &str, value: Option<&str>) -> fmt::Result {
        let value = value.filter(|value| !value.is_empty()).unwrap_or(UNKNOWN);
        (name, value).encode(self.0.encode_label())
    }

    fn texts<'t>(
        &mut self,
        names: &[&str],
        values: impl IntoIterator<Item = Option<&'t str>>,
    ) -> fmt::Result {
        names.iter().zip(values).try_for_each(|(name, value)| self.text(name, value))
    }

    fn source(&mut self, party: &Party) -> fmt::Result {
        let principal = party.identity.as_ref().map(ToString::to_string);
        self.texts(&SOURCE, values(party, principal.as_deref()))
    }

    fn destination(&mut self, connection: &Connection) -> fmt::Result {
        let service = connection.service.as_ref();
        let service = [
            service.map(|service| &*service.hostname),
            service.map(|service| &*service.namespace),
            service.map(|service| &*service.name),
        ];
        let party = &connection.destination;
        let principal = party.labels.principal.as_ref().map(ToString::to_string);
        self.texts(&DESTINATION, service.into_iter().chain(values(party, principal.as_deref())))
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
            Key::Other(..) => {
                SOURCE.iter().chain(&DESTINATION).try_for_each(|name| writer.text(name, Some(OTHER)))?;
            }
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
    /// In the order of [`SOURCE`].
    source: [Box<str>; 8],
    hostname: Box<str>,
}

impl OnDemand {
    pub(super) fn new(source: &Party, hostname: &str) -> Self {
        let principal = source.labels.principal.as_ref().map(ToString::to_string);
        let source = values(source, principal.as_deref()).map(|text| text.unwrap_or_default().into());
        Self { source, hostname: hostname.into() }
    }

    /// Whether the client is this workload.
    pub(super) fn is_of(&self, namespace: &str, workload: &str) -> bool {
        let named: [(&str, &str); 2] =
            [("source_workload", workload), ("source_workload_namespace", namespace)];
        let texts = || SOURCE.iter().zip(&self.source);
        named.iter().all(|(name, wanted)| texts().any(|(label, text)| label == name && **text == **wanted))
    }

    pub(super) fn other() -> Self {
        Self { source: [OTHER; 8].map(Into::into), hostname: OTHER.into() }
    }
}

impl EncodeLabelSet for OnDemand {
    fn encode(&self, encoder: &mut LabelSetEncoder<'_>) -> fmt::Result {
        let mut writer = Writer(encoder);
        writer.texts(&SOURCE, self.source.iter().map(|text| Some(&**text)))?;
        writer.text("hostname", Some(&self.hostname))
    }
}
