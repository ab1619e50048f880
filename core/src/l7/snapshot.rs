//! All that a waypoint decides by, as it was at one time: made from resources elsewhere, whole, and exchanged whole.
use super::authz::Policies;
use super::frontends::Frontends;
use super::jwt::Authentications;

/// What is configured. A change of resources makes a new one; what is under way goes on by the one it began with.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    /// Which rules requests to a service meet.
    pub frontends: Frontends,
    /// Who may ask what of whom (`AuthorizationPolicy`).
    pub policies: Policies,
    /// Which tokens are accepted (`RequestAuthentication`).
    pub authentications: Authentications,
    /// How many proxies before us may be believed about whose request it is (Istio: `numTrustedProxies`), for
    /// [`client_ip`](super::authz::client_ip).
    pub trusted_hops: u32,
}
