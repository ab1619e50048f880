//! Istio's own resources.
mod authorization_policy;
pub(super) mod destination_rule;
mod duration;
mod ext_authz;
pub mod mesh_config;
mod request_authentication;
mod target;
pub(super) mod telemetry;
#[cfg(test)]
mod tests;
pub(super) mod values;
pub(super) mod virtual_service;

use adit_core::l7::authz::Policies;
use adit_core::l7::jwt::Authentications;

use self::mesh_config::MeshConfig;
use super::problem::{Problems, Severity};
use super::services::Services;
use super::{Objects, World};

/// The group of Istio's policies.
pub(super) const SECURITY_GROUP: &str = "security.istio.io";
/// Kinds of it that are read.
pub(super) const SECURITY_KINDS: [&str; 2] = [authorization_policy::KIND, request_authentication::KIND];

/// What Istio's policies come to.
#[derive(Debug, Default)]
pub(super) struct Security {
    pub(super) policies: Policies,
    pub(super) authentications: Authentications,
    pub(super) trusted_hops: u32,
}

/// Translates Istio's policies.
pub(super) fn security(
    objects: &Objects,
    world: &World,
    services: &Services,
    config: &MeshConfig,
    problems: &mut Problems,
) -> Security {
    let mut policies = authorization_policy::translate(objects, world, services, config, problems);
    let (authentications, refusals) = request_authentication::translate(objects, world, services, problems);
    policies.extend(refusals);
    Security {
        policies: Policies::new(policies),
        authentications: Authentications::new(authentications),
        trusted_hops: trusted_hops(config, problems),
    }
}

/// `defaultConfig.gatewayTopology.numTrustedProxies`.
fn trusted_hops(config: &MeshConfig, problems: &mut Problems) -> u32 {
    let path = ["defaultConfig", "gatewayTopology", "numTrustedProxies"];
    let Some(value) = config.get(&path) else { return 0 };
    let hops = value.as_u64().and_then(|hops| u32::try_from(hops).ok());
    hops.unwrap_or_else(|| {
        let text = "expected a whole number: nobody is trusted to name clients but the last proxy";
        config.tell(MeshConfig::field(&path), Severity::Malformed, text, problems);
        0
    })
}
