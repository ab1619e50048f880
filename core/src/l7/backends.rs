//! Where a request goes: backends and their weights (Gateway API: `HTTPBackendRef`).
use alloc::sync::Arc;
use alloc::vec::Vec;

use super::filters::HeaderChanges;
use crate::mesh::ServiceName;
use crate::rng::Rng;

/// A service and its port.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Target {
    /// The service.
    pub service: ServiceName,
    /// The service's port, not its pods'; or [`SAME_PORT`](Self::SAME_PORT).
    pub port: u16,
}

impl Target {
    /// Stands for the port that the request came to (Istio: a `destination` without `port`).
    pub const SAME_PORT: u16 = 0;

    /// With its port, for a request that came to this one.
    #[must_use]
    pub fn at(&self, port: u16) -> Self {
        let own = self.port != Self::SAME_PORT;
        Self { service: self.service.clone(), port: if own { self.port } else { port } }
    }
}

/// One of the backends of a rule.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Backend {
    /// Where it is, or why the reference is none: the service is unknown, say.
    pub target: Result<Target, Arc<str>>,
    /// Which of the service's endpoints, if not all (Istio: `DestinationRule.subsets`).
    pub subset: Option<Arc<str>>,
    /// Its share of requests is this of the sum. Zero: none.
    pub weight: u32,
    /// Changes of the request for it alone.
    pub request: HeaderChanges,
    /// Changes of its answers.
    pub response: HeaderChanges,
}

/// Why a request that was matched goes nowhere; the client gets status 500.
#[derive(Clone, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum NoBackend {
    /// It fell to the share of a backend that is none.
    #[error("this request's share belongs to a backend that is none: {0}")]
    Invalid(Arc<str>),
    /// No backend has any weight, or there is none.
    #[error("the rule has no backend with a weight above 0")]
    Weightless,
}

/// The backends of a rule.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Backends(pub Vec<Backend>);

impl Backends {
    /// Draws one. Those that are no services keep their share, and what falls to it fails (Gateway API: `backendRefs`).
    ///
    /// # Errors
    /// Nobody is to be asked.
    pub fn draw(&self, rng: &mut Rng) -> Result<(&Backend, &Target), NoBackend> {
        let backend =
            rng.weighted(&self.0, |backend| u64::from(backend.weight)).ok_or(NoBackend::Weightless)?;
        match &backend.target {
            Ok(target) => Ok((backend, target)),
            Err(why) => Err(NoBackend::Invalid(Arc::clone(why))),
        }
    }
}

#[cfg(test)]
mod tests {
    use alloc::collections::BTreeMap;
    use alloc::vec;

    use super::*;

    fn backend(name: &str, weight: u32) -> Backend {
        let service = ServiceName { namespace: "ns".into(), hostname: name.into() };
        Backend {
            target: if name.is_empty() { Err("gone".into()) } else { Ok(Target { service, port: 80 }) },
            subset: None,
            weight,
            request: HeaderChanges::default(),
            response: HeaderChanges::default(),
        }
    }

    fn drawn(backends: Vec<Backend>) -> BTreeMap<Arc<str>, u32> {
        let (backends, mut rng) = (Backends(backends), Rng::new(7));
        let mut counts = BTreeMap::new();
        for _ in 0..10_000 {
            let name = match backends.draw(&mut rng) {
                Ok((_, target)) => Arc::clone(&target.service.hostname),
                Err(NoBackend::Invalid(why)) => why,
                Err(NoBackend::Weightless) => "none".into(),
            };
            *counts.entry(name).or_default() += 1;
        }
        counts
    }

    #[test]
    fn shares_are_those_of_the_weights_and_stay_where_they_lead_nowhere() {
        let counts = drawn(vec![backend("v1", 70), backend("v2", 20), backend("", 10), backend("v3", 0)]);
        assert!((6700..7300).contains(&counts["v1"]), "{counts:?}");
        assert!((1800..2200).contains(&counts["v2"]), "{counts:?}");
        assert!((800..1200).contains(&counts["gone"]), "{counts:?}");
        assert_eq!(counts.len(), 3);
    }

    #[test]
    fn without_any_weight_there_is_nobody() {
        for backends in [vec![], vec![backend("v1", 0), backend("", 0)]] {
            assert_eq!(drawn(backends).into_keys().collect::<Vec<_>>(), ["none".into()]);
        }
    }
}
