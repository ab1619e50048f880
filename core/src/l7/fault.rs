//! Faults put in on purpose, to see how clients bear them (Istio: `HTTPFaultInjection`).
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::time::Duration;

use super::filters::Fraction;
use super::matching::Named;
use super::rate::Asking;
use super::request::Request;
use super::text::TextMatch;
use crate::rng::Rng;
use crate::time::UnixTime;

/// How a request is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Abort {
    /// With this status.
    Status(u16),
    /// With this status of gRPC.
    Grpc(u16),
}

/// Faults of a rule. Each has its own dice.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Faults {
    /// Some requests wait so long first (flag `DI`).
    pub delay: Option<(Duration, Fraction)>,
    /// Some are refused (flag `FI`), after the delay if they have one.
    pub abort: Option<(Abort, Fraction)>,
}

/// What befalls one request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Injected {
    /// The wait.
    pub delay: Option<Duration>,
    /// The refusal.
    pub abort: Option<Abort>,
}

impl Faults {
    /// Throws the dice for a request.
    pub fn draw(&self, rng: &mut Rng) -> Injected {
        Injected {
            delay: self.delay.filter(|(_, fraction)| fraction.draw(rng)).map(|(delay, _)| delay),
            abort: self.abort.filter(|(_, fraction)| fraction.draw(rng)).map(|(abort, _)| abort),
        }
    }
}

/// Faults for some requests, until a time (`FaultPolicy`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FaultPolicy {
    /// Its `namespace/name`.
    pub name: Arc<str>,
    /// The faults.
    pub faults: Faults,
    /// Headers that a request must have.
    pub headers: Vec<Named>,
    /// Identities of whom one must call; empty: anybody.
    pub principals: Vec<TextMatch>,
    /// From this time on it has no effect: nobody forgets to end an experiment.
    pub expires: UnixTime,
}

impl FaultPolicy {
    /// Throws the dice for a request; `None`: the policy is not for it, or is over.
    pub fn draw(&self, asking: &Asking<'_, impl Request>, now: UnixTime, rng: &mut Rng) -> Option<Injected> {
        let source = || asking.source.map(alloc::string::ToString::to_string);
        let called = |by: &str| self.principals.iter().any(|one| one.matches(by.as_bytes()));
        let applies = now < self.expires
            && self.headers.iter().all(|named| named.holds_header(asking.request))
            && (self.principals.is_empty() || source().is_some_and(|source| called(&source)));
        applies.then(|| self.faults.draw(rng))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_and_refusals_come_each_with_its_own_chance() {
        let half = Fraction { numerator: 50, denominator: 100 };
        let delay = Some((Duration::from_secs(1), half));
        let faults = Faults { delay, abort: Some((Abort::Status(418), half)) };
        let (mut rng, mut counts) = (Rng::new(5), [0_u32; 4]);
        for _ in 0..4000 {
            let Injected { delay, abort } = faults.draw(&mut rng);
            counts[usize::from(delay.is_some()) * 2 + usize::from(abort.is_some())] += 1;
        }
        assert!(counts.iter().all(|count| (850..1150).contains(count)), "{counts:?}");
        assert_eq!(Faults::default().draw(&mut rng), Injected::default());
        let always = Faults { delay: None, abort: Some((Abort::Grpc(14), Fraction::ALL)) };
        assert_eq!(always.draw(&mut rng).abort, Some(Abort::Grpc(14)));
    }

    #[test]
    fn a_policy_is_for_some_requests_until_its_time_is_over() {
        use super::super::rate::Asking;
        use super::super::tests::Asked;
        let abort = Some((Abort::Status(503), Fraction::ALL));
        let exact = |text: &str| TextMatch::Exact(text.into());
        let policy = FaultPolicy {
            name: "shop/p".into(),
            faults: Faults { delay: None, abort },
            headers: alloc::vec![Named { name: "x".into(), value: exact("1") }],
            principals: alloc::vec![exact("spiffe://td/ns/a/sa/b")],
            expires: UnixTime(100),
        };
        let service = crate::mesh::ServiceName { namespace: "shop".into(), hostname: "web".into() };
        let (right, other) = (Asked::get("/").with("x", "1"), Asked::get("/"));
        let identity = |account| crate::identity::Identity::new("td", "a", account).unwrap();
        let (caller, stranger) = (identity("b"), identity("c"));
        let drawn = |request, source, now| {
            let client = "10.0.0.1".parse().unwrap();
            let asking =
                Asking { request, source, source_cluster: None, client, auth: None, destination: &service };
            policy.draw(&asking, UnixTime(now), &mut Rng::new(1)).is_some_and(|it| it.abort.is_some())
        };
        assert!(drawn(&right, Some(&caller), 99));
        assert!(!drawn(&right, Some(&caller), 100) && !drawn(&other, Some(&caller), 99));
        assert!(!drawn(&right, Some(&stranger), 99) && !drawn(&right, None, 99));
    }
}
