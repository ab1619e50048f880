//! Policies of our own, for what neither Gateway API nor Istio has a resource: rate limits and faults.
mod fault;
mod rate_limit;
mod target;
#[cfg(test)]
mod tests;

use adit_core::l7::rate::RatePolicy;
use adit_core::l7::{FaultPolicy, Scoped};

use super::istio::values::Reader;
use super::services::Services;
use super::{Objects, Problems, World};

/// The group of our policies; their version is `v1alpha1`.
pub(super) const GROUP: &str = "adit.dev";
/// Kinds of it.
pub(super) const KINDS: [&str; 2] = ["FaultPolicy", "RateLimitPolicy"];

/// Translates all `RateLimitPolicy` objects.
pub(super) fn rates(
    objects: &Objects,
    world: &World,
    services: &Services,
    problems: &mut Problems,
) -> Scoped<RatePolicy> {
    let mut scoped = Scoped::default();
    for object in objects.of(GROUP, "RateLimitPolicy") {
        let mut reader = Reader { object, problems };
        rate_limit::read(&mut reader, world, services, &mut scoped);
    }
    scoped
}

/// Translates all `FaultPolicy` objects.
pub(super) fn faults(
    objects: &Objects,
    world: &World,
    services: &Services,
    problems: &mut Problems,
) -> Scoped<FaultPolicy> {
    let mut scoped = Scoped::default();
    for object in objects.of(GROUP, "FaultPolicy") {
        let mut reader = Reader { object, problems };
        fault::read(&mut reader, world, services, &mut scoped);
    }
    scoped
}
