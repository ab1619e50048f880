//! All that a waypoint decides by, as it was at one time: made from resources elsewhere, whole, and exchanged whole.
use super::authz::Policies;
use super::backend_tls::BackendTlsRules;
use super::backends::Target;
use super::fault::FaultPolicy;
use super::frontends::Frontends;
use super::jwt::Authentications;
use super::protocol::{Protocol, Protocols};
use super::rate::RatePolicy;
use super::scope::Scoped;
use super::telemetry::Telemetries;
use super::upstream::Destinations;
use crate::route::Fronted;

/// What is configured. A change of resources makes a new one; what is under way goes on by the one it began with.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    /// Which rules requests and connections to a service meet.
    pub frontends: Frontends,
    /// Who may ask what of whom (`AuthorizationPolicy`).
    pub policies: Policies,
    /// Which tokens are accepted (`RequestAuthentication`).
    pub authentications: Authentications,
    /// How many proxies before us may be believed about whose request it is (Istio: `numTrustedProxies`), for
    /// [`client_ip`](super::authz::client_ip).
    pub trusted_hops: u32,
    /// Whether backends are told who calls: `x-forwarded-client-cert` names the client and us (Istio: the Gateway's annotation
    /// `ambient.istio.io/xfcc-include-client-identity`). A client's own word for it never counts.
    pub client_identity: bool,
    /// What services speak on their ports.
    pub protocols: Protocols,
    /// Backends that want TLS of their own, inside of the mesh's.
    pub backend_tls: BackendTlsRules,
    /// How endpoints are chosen, and how much they bear (`DestinationRule`).
    pub destinations: Destinations,
    /// Faults put in on purpose; the nearest to a request counts.
    pub faults: Scoped<FaultPolicy>,
    /// Rate limits.
    pub rates: Scoped<RatePolicy>,
    /// What is told of requests: metrics, log lines, spans (`Telemetry`).
    pub telemetry: Telemetries,
}

impl Snapshot {
    /// What is said to be spoken on a `port` of whoever is asked for. Of a workload's own ports nobody says: their numbers count.
    #[must_use]
    pub fn protocol(&self, asked: &Fronted, port: u16) -> Protocol {
        match asked.service() {
            Some(service) => self.protocols.of(&Target { service: service.name.clone(), port }),
            None => Protocol::of_number(port),
        }
    }
}
